//! The walk: the part of a table's cursor that a step touches, and nothing else.
//!
//! A cursor stands on a tower: the visible cursor, the run, the table, the block. For most rows each
//! floor would only say that it has nothing to add. So the walk through a block is a thing of its
//! own that the table's cursor can lend to whoever holds the tower: while it is lent, a step is one
//! function, and the tower is asked again when the block ends.
//!
//! ```text
//!   ScanCursor ─ VisibleCursor ─ TableCursor ─ Walk        a step through all of it
//!   Scan ─ Walk                                            a step while it is lent
//! ```
//!
//! # Invariants
//!
//! - A walk is only lent while all rows of its block are visible puts, each of another key.
//! - A step that does not succeed changes nothing.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: page faults of maps. Unsafe: none.

use std::ops::Range;

use bytes::Bytes;

use super::key::{KeyBuffer, SHORT_SUFFIX};
use crate::cpu::prefetch;
use crate::cursor::Location;
use crate::format::data_block::{DataBlock, Layout, Rows};
use crate::format::row::Kind;
use crate::value::{INLINE_LEN, Value};

/// Of so many rows one asks for lines of the next block.
const ROWS_A_PREFETCH: u32 = 8;
/// So many lines are asked for at once, at the most: about as many as can be on their way.
const MAX_LINES_A_PREFETCH: usize = 16;
/// Bytes of a line of the cache.
const LINE_LEN: usize = 64;

/// A position among the rows of a block.
///
/// Places are counted from the start of the *piece* that the block lies in: the data region of a
/// mapped table, or what was read to the heap.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(super) piece: Bytes,
    /// Where the piece starts in a mapped file.
    pub(super) mapped_at: Option<u64>,
    /// Where the block starts in the piece.
    pub(super) start: usize,
    pub(super) layout: Option<Layout>,
    /// The columns that a step reads; none if each row has to be looked at.
    pub(super) rows: Rows,
    /// Rows of the block; 0 off the rows.
    pub(super) row_count: u32,
    pub(super) row: u32,
    pub(super) key: KeyBuffer,
    pub(super) kind: Kind,
    /// How far the next suffix and the next value are, if rows follow each other evenly.
    strides: Option<(usize, usize)>,
    /// Where the suffix of the key starts in the piece.
    suffix_start: usize,
    /// Where the value starts in the piece, and its length.
    pub(super) value: (usize, usize),
    /// What of the neighboring block is still to be asked for, in the piece.
    ahead: Range<usize>,
    /// Bytes to ask for at once.
    ahead_step: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            piece: Bytes::new(),
            mapped_at: None,
            start: 0,
            layout: None,
            rows: Rows::default(),
            row_count: 0,
            row: 0,
            key: KeyBuffer::default(),
            kind: Kind::Put,
            strides: None,
            suffix_start: 0,
            value: (0, 0),
            ahead: 0..0,
            ahead_step: 0,
        }
    }
}

impl Walk {
    /// Whether all rows of the block are puts that a step can read.
    pub(super) fn are_puts(&self) -> bool {
        self.rows.are_puts()
    }

    /// Moves to the next row of the block; false if there is none, or if it has to be looked at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a step of a scan is not to be a call")]
    pub(crate) fn next(&mut self) -> bool {
        let next = self.row + 1;
        if next >= self.row_count {
            return false;
        }
        match self.strides {
            Some((key, value)) => self.step_evenly(
                next,
                self.suffix_start.wrapping_add(key),
                self.value.0.wrapping_add(value),
            ),
            None => self.step_to(next),
        }
    }

    /// Moves to the row before; false if there is none, or if it has to be looked at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) fn prev(&mut self) -> bool {
        let Some(before) = self.row.checked_sub(1) else { return false };
        match self.strides {
            Some((key, value)) => self.step_evenly(
                before,
                self.suffix_start.wrapping_sub(key),
                self.value.0.wrapping_sub(value),
            ),
            None => self.step_to(before),
        }
    }

    /// Moves to a neighbor, where rows differ in nothing but where they start and what they say.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn step_evenly(&mut self, row: u32, suffix_start: usize, value_start: usize) -> bool {
        if row.is_multiple_of(ROWS_A_PREFETCH) {
            self.prefetch_ahead();
        }
        let suffix = self.piece.get(suffix_start..).and_then(<[u8]>::first_chunk::<SHORT_SUFFIX>);
        let Some(suffix) = suffix else { return self.step_to(row) };
        self.key.replace_short(suffix);
        self.row = row;
        self.suffix_start = suffix_start;
        self.value.0 = value_start;
        true
    }

    /// Moves to a row of the block; false if it has to be looked at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(super) fn step_to(&mut self, row: u32) -> bool {
        if row.is_multiple_of(ROWS_A_PREFETCH) {
            self.prefetch_ahead();
        }
        let Self { piece, rows, key, .. } = self;
        let Some(walked) = rows.row(piece, row) else { return false };
        if !key.set_suffix(piece, walked.suffix) {
            return false;
        }
        self.row = row;
        self.kind = walked.kind;
        self.suffix_start = walked.suffix.0;
        self.value = walked.value;
        true
    }

    /// The key of the row.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// The value of the row.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        let (start, len) = self.value;
        match self.piece.get(start..start.wrapping_add(len)) {
            Some(value) => value,
            None => super::key::empty(),
        }
    }

    /// The seqno of the row.
    #[inline]
    pub(crate) fn seqno(&self) -> u64 {
        self.rows.seqno(&self.piece, self.row)
    }

    /// Where the value lies.
    #[inline]
    pub(crate) fn location(&self) -> Location {
        match (self.mapped_at, u32::try_from(self.value.1)) {
            (Some(at), Ok(len)) => Location::File { offset: at + self.value.0 as u64, len },
            _ => Location::Cursor,
        }
    }

    /// The value as something that outlives the walk.
    pub(crate) fn owned_value(&self) -> Value<'static> {
        let value = self.value();
        if value.len() <= INLINE_LEN {
            return Value::copied(value);
        }
        let (start, len) = self.value;
        Value::shared(self.piece.slice(start..start + len))
    }

    /// The block, if the walk is in one.
    pub(super) fn block(&self) -> Option<DataBlock<'_>> {
        let bytes = self.piece.get(self.start..).unwrap_or_default();
        self.layout.map(|layout| DataBlock::with_layout(bytes, layout))
    }

    /// Enters the block that starts at `start` of the piece, on no row yet.
    pub(super) fn enter(&mut self, layout: Layout, start: usize) {
        let bytes = self.piece.get(start..).unwrap_or_default();
        let block = DataBlock::with_layout(bytes, layout);
        self.start = start;
        self.layout = Some(layout);
        self.rows = Rows::of(&block, start).unwrap_or_default();
        self.row_count = layout.row_count();
        self.key.set_prefix(block.prefix());
        let last = self.rows.row(&self.piece, self.row_count.saturating_sub(1));
        let has_room = last.is_some_and(|last| {
            let behind = self.piece.get(last.suffix.0..);
            behind.is_some_and(|bytes| bytes.len() >= SHORT_SUFFIX)
        });
        let strides = self.rows.strides();
        self.strides = strides.filter(|(suffix, _)| has_room && self.key.takes_short(*suffix));
    }

    /// Leaves the rows.
    pub(super) fn leave(&mut self) {
        self.layout = None;
        self.rows = Rows::default();
        self.row_count = 0;
        self.row = 0;
        self.key.clear();
        self.kind = Kind::Put;
        self.strides = None;
        self.value = (0, 0);
    }

    /// Spreads the lines of a neighboring block over so many rows that are left of this one. They are
    /// asked for from the block's start on, also if it will be walked from its end: the processor
    /// then helps with those that follow (13 ns a row; from the end on it took 17).
    pub(super) fn plan_ahead(&mut self, block: Range<usize>, rows_left: u32) {
        let lines = block.len().div_ceil(LINE_LEN);
        let lines = lines.div_ceil(rows_left.div_ceil(ROWS_A_PREFETCH).max(1) as usize);
        self.ahead_step = LINE_LEN * lines.min(MAX_LINES_A_PREFETCH);
        self.ahead = block;
    }

    #[inline]
    fn prefetch_ahead(&mut self) {
        let Range { start, end } = self.ahead;
        let end = start.saturating_add(self.ahead_step).min(end);
        let (lines, rest) = self.piece.get(start..end).unwrap_or_default().as_chunks::<LINE_LEN>();
        for line in lines {
            prefetch(line, 0);
        }
        prefetch(rest, 0);
        self.ahead.start = end;
    }
}
