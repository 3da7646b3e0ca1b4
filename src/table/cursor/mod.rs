//! Walking a table: a block at a time, a row at a time, both ways.
//!
//! The cursor keeps the columns of its block and the key of its row; the key's prefix stays in the
//! buffer while the block lasts, so a step copies the suffix alone. Unless the rows of a block expire
//! or a value lies out of line, that and finding the value is all that a step does ([`Walk`]). While
//! the rows of a block are walked, the lines of the next one are asked for, a few with every fourth
//! row: columns that lie apart would otherwise each wait for memory.
//!
//! # Invariants
//!
//! - A value out of line is verified when the cursor moves onto its row, so `value` can't fail.
//!
//! Spec: `format-spec/03-table.md`, "Scan". I/O: through a `Region`. Unsafe: none.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::reader::Table;
use crate::error::Result;
use crate::format::data_block::DataBlock;
use crate::format::row::Kind;
use crate::storage::Slice;

mod ahead;
mod key;
mod rows;
mod walk;

pub(crate) use walk::Walk;

use ahead::Ahead;

/// What the cursor is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// No row.
    Nothing,
    /// A row that the walk read.
    Walked,
    /// A row that had to be looked at.
    Looked(Looked),
}

/// What only a closer look tells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looked {
    seqno: u64,
    expires_at: u64,
    is_long: bool,
}

/// A value out of line.
#[derive(Clone, Debug)]
enum LongValue {
    /// In the mapped file.
    File(Range<usize>),
    /// Read to the heap.
    Heap(Bytes),
}

/// Which way the cursor goes: prefetching goes ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// A position in a table.
#[derive(Clone, Debug)]
pub(crate) struct TableCursor {
    table: Arc<Table>,
    walk: Walk,
    on: On,
    /// The value of a row that was looked at and has it out of line.
    long_value: Option<LongValue>,
    /// Where the block starts in the file.
    base: u64,
    block_index: usize,
    direction: Direction,
    ahead: Ahead,
    /// Nobody asks for the values of Puts: those out of line are not read.
    keys_only: bool,
}

impl TableCursor {
    /// A cursor off its rows.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        let mut walk = Walk::default();
        if let Some(data) = table.data.as_ref().filter(|_| !table.reads_copies()) {
            walk.piece = data.clone();
            walk.mapped_at = Some(table.data_offset);
        }
        Self {
            table,
            walk,
            on: On::Nothing,
            long_value: None,
            base: 0,
            block_index: 0,
            direction: Direction::Forward,
            ahead: Ahead::default(),
            keys_only: false,
        }
    }

    /// The same, off its rows, for somebody who asks for no value of a Put.
    pub(crate) fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    fn block_count(&self) -> usize {
        self.table.index_layout.block_count()
    }

    fn leave(&mut self) {
        self.walk.leave();
        self.on = On::Nothing;
        self.long_value = None;
    }

    /// Enters a block, on no row yet.
    fn enter(&mut self, block_index: usize) -> Result<()> {
        let offset = self.table.block_offset(block_index)?;
        self.base = self.table.data_offset + offset;
        self.block_index = block_index;
        if self.table.is_beyond_memory() {
            let place = self.table.block_place(block_index)?;
            if let Some(part) = self.ahead.enter(place, self.direction) {
                self.table.need_data(part);
            }
        }
        if self.walk.mapped_at.is_some() {
            let layout = *self.table.mapped_block(block_index)?.layout();
            self.walk.enter(layout, usize::try_from(offset).unwrap_or(usize::MAX));
        } else {
            let block = self.table.heap_block(block_index)?;
            self.walk.piece = block.bytes;
            self.walk.enter(block.layout, 0);
        }
        Ok(())
    }

    /// Has the lines of the neighboring block asked for while the rest of this one is walked.
    fn plan_ahead(&mut self, row: u32) {
        let Walk { start, layout: Some(layout), mapped_at: Some(_), .. } = self.walk else {
            return;
        };
        let block_len = layout.block_len();
        // Slots are a little longer than their blocks: the estimate need not be exact.
        let slot = self.table.index_layout.block_size();
        let slot = slot.map_or(block_len, |slot| slot as usize);
        match self.direction {
            Direction::Forward => {
                let next = start.saturating_add(slot);
                let rows_left = self.walk.row_count.saturating_sub(row);
                self.walk.plan_ahead(next..next.saturating_add(block_len), rows_left);
            }
            Direction::Backward => {
                let before = start.saturating_sub(slot);
                self.walk.plan_ahead(before..before + block_len.min(start), row + 1);
            }
        }
    }

    /// Moves onto a row of the current block and reads what every caller wants of it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a step of a scan is not to be a call")]
    fn step_to(&mut self, row: u32) -> Result<()> {
        if self.walk.step_to(row) {
            self.on = On::Walked;
            return Ok(());
        }
        self.look_at(row)
    }

    /// Moves onto a row that expires, has a value out of line, or is broken.
    #[inline(never)]
    fn look_at(&mut self, row: u32) -> Result<()> {
        let looked = self.try_look_at(row);
        if looked.is_err() {
            self.leave();
        }
        looked
    }

    fn try_look_at(&mut self, row: u32) -> Result<()> {
        let Walk { piece, start, layout: Some(layout), key, .. } = &mut self.walk else {
            return Ok(());
        };
        let bytes = piece.get(*start..).unwrap_or_default();
        let view = DataBlock::with_layout(bytes, *layout);
        let mut read = || {
            key.set_any_suffix(view.suffix_of_key(row)?);
            let (kind, out_of_line) = view.kind(row)?;
            Ok((kind, out_of_line, view.seqno(row)?, view.expires_at(row)?, view.value_range(row)?))
        };
        let (kind, is_long, seqno, expires_at, value) = match read() {
            Ok(row) => row,
            Err(error) => return Err(self.table.corrupt(self.base, error)),
        };
        self.long_value = if is_long && !(self.keys_only && kind == Kind::Put) {
            let reference = bytes.get(value.clone()).unwrap_or_default();
            Some(long_value(&self.table, reference, self.base)?)
        } else {
            None
        };
        self.walk.row = row;
        self.walk.kind = kind;
        self.walk.value = (self.walk.start + value.start, value.len());
        self.on = On::Looked(Looked { seqno, expires_at, is_long });
        Ok(())
    }

    /// Enters the next block on its first row, or leaves the table.
    #[inline(never)]
    fn next_block(&mut self) -> Result<()> {
        let next = self.block_index + 1;
        if self.walk.layout.is_none() || next >= self.block_count() {
            self.leave();
            return Ok(());
        }
        self.direction = Direction::Forward;
        self.go_to(next, |_| 0)
    }

    /// Enters the block before on its last row, or leaves the table.
    #[inline(never)]
    fn prev_block(&mut self) -> Result<()> {
        let before = self.block_index.checked_sub(1).filter(|_| self.walk.layout.is_some());
        let Some(before) = before else {
            self.leave();
            return Ok(());
        };
        self.direction = Direction::Backward;
        self.go_to(before, |row_count| row_count.saturating_sub(1))
    }

    fn go_to(&mut self, block: usize, row: impl FnOnce(u32) -> u32) -> Result<()> {
        if let Err(error) = self.enter(block) {
            self.leave();
            return Err(error);
        }
        let row = row(self.walk.row_count);
        self.plan_ahead(row);
        self.step_to(row)
    }

    /// The first row at or after the internal key, from `block` on.
    fn seek_from(&mut self, block: usize, key: &[u8], seqno: u64) -> Result<()> {
        self.direction = Direction::Forward;
        self.enter(block)?;
        loop {
            let Some(view) = self.walk.block() else { return Ok(()) };
            let (row_count, continues) = (view.layout().row_count(), view.layout().continues());
            view.prefetch_keys();
            let bound = view.lower_bound(key, seqno);
            let row = bound.map_err(|error| self.table.corrupt(self.base, error))?;
            if row < row_count {
                self.plan_ahead(row);
                return self.step_to(row);
            }
            if !continues {
                return self.next_block();
            }
            // The key's versions go on in the next block: search there too.
            if self.block_index + 1 >= self.block_count() {
                self.leave();
                return Ok(());
            }
            self.enter(self.block_index + 1)?;
        }
    }
}

/// The value that a reference in the block at `base` speaks of, verified.
#[cold]
fn long_value(table: &Table, reference: &[u8], base: u64) -> Result<LongValue> {
    Ok(match table.long_value(reference, base)? {
        Slice::Owned(bytes) => LongValue::Heap(bytes),
        Slice::Borrowed(bytes) => {
            let file = table.region.bytes().unwrap_or_default();
            let start = bytes.as_ptr().addr().saturating_sub(file.as_ptr().addr());
            LongValue::File(start..start + bytes.len())
        }
    })
}
