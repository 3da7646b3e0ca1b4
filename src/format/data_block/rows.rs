//! Walking the rows of a block: what a scan reads of each, with as few instructions as there can be.
//!
//! [`Rows`] keeps where the columns are, in bytes from the start of whatever the block lies in, so that
//! a step adds and loads and computes no position twice. It carries no errors: where a row is broken,
//! or is one that a scan has to look at closer, it says nothing, and [`DataBlock`] says why.
//!
//! # Invariants
//!
//! - What it says of a row, the methods of [`DataBlock`] say.
//! - Other bytes than those of its block read as nonsense, or as nothing.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{
    COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, COLUMN_WIDE_OFFSETS, CONSTANT, DataBlock,
    VARIABLE_KEYS, VARIABLE_VALUES,
};
use crate::format::row::Kind;

/// The columns of a block whose rows don't expire, for a walk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows {
    /// Whether there are rows: else nothing is to be read.
    is_walkable: bool,
    has_kinds: bool,
    kinds: usize,
    seqnos: Seqnos,
    keys: Heap,
    values: Heap,
}

/// A seqno a row: a base, and a delta of so many bytes each.
#[derive(Clone, Copy, Debug, Default)]
struct Seqnos {
    base: u64,
    deltas: usize,
    delta_len: u8,
}

/// Where the key suffixes or the values are.
#[derive(Clone, Copy, Debug, Default)]
struct Heap {
    start: usize,
    len: u32,
    /// The length of each entry, if there are no offsets.
    stride: u32,
    /// Bytes of an offset; 0 if all entries have the same length.
    offset_len: u8,
    offsets: usize,
}

/// A row of a walk: where its parts are, as starts and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkedRow {
    /// The key without the block's prefix.
    pub suffix: (usize, usize),
    /// The value.
    pub value: (usize, usize),
    /// The kind; its value lies in the block.
    pub kind: Kind,
}

impl Rows {
    /// The rows of `block`, which stands at `start` of what will be read; `None` if some expire, or
    /// if a seqno may be broken: then each has to be looked at.
    #[must_use]
    pub fn of(block: &DataBlock<'_>, start: usize) -> Option<Self> {
        let layout = block.layout();
        if layout.columns & COLUMN_EXPIRY != 0 {
            return None;
        }
        let at = |column: u32| start.checked_add(column as usize);
        let (base, delta_len) = block.sound_seqnos()?;
        let seqnos = Seqnos { base, deltas: at(layout.seqnos)?.checked_add(8)?, delta_len };
        let offset_len = if layout.columns & COLUMN_WIDE_OFFSETS == 0 { 2 } else { 4 };
        let keys = Heap {
            start: at(layout.keys)?,
            len: layout.key_heap_len,
            stride: u32::from(layout.key_stride),
            offset_len: if layout.key_stride == VARIABLE_KEYS { offset_len } else { 0 },
            offsets: at(layout.key_offsets)?,
        };
        let values = Heap {
            start: at(layout.values)?,
            len: layout.value_heap_len,
            stride: layout.value_stride,
            offset_len: if layout.value_stride == VARIABLE_VALUES { offset_len } else { 0 },
            offsets: at(layout.value_offsets)?,
        };
        Some(Self {
            is_walkable: true,
            has_kinds: layout.columns & COLUMN_KIND != 0,
            kinds: at(layout.kinds)?,
            seqnos,
            keys,
            values,
        })
    }

    /// Whether there are rows, and every one is a put.
    #[inline]
    #[must_use]
    pub fn are_puts(&self) -> bool {
        self.is_walkable && !self.has_kinds
    }

    /// The seqno of a row of the block.
    #[inline]
    #[must_use]
    pub fn seqno(&self, bytes: &[u8], row: u32) -> u64 {
        let Seqnos { base, deltas, delta_len } = self.seqnos;
        let at = deltas.wrapping_add(usize::from(delta_len).wrapping_mul(row as usize));
        let bytes = bytes.get(at..).unwrap_or_default();
        let delta = match delta_len {
            0 => return base,
            1 => bytes.first().map(|delta| u64::from(*delta)),
            2 => U16::read_from_prefix(bytes).ok().map(|(delta, _)| u64::from(delta.get())),
            4 => U32::read_from_prefix(bytes).ok().map(|(delta, _)| u64::from(delta.get())),
            _ => U64::read_from_prefix(bytes).ok().map(|(delta, _)| delta.get()),
        };
        delta.map_or(u64::MAX, |delta| base.wrapping_add(delta))
    }

    /// How far it is from a row's suffix and value to the next row's, if all rows are puts with
    /// suffixes of one length and values of one length.
    #[must_use]
    pub fn strides(&self) -> Option<(usize, usize)> {
        let is_even = self.are_puts() && self.keys.offset_len == 0 && self.values.offset_len == 0;
        is_even.then_some((self.keys.stride as usize, self.values.stride as usize))
    }

    /// A row of the block; `None` if it is broken or lies out of line.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a step of a scan is not to be a call")]
    #[must_use]
    pub fn row(&self, bytes: &[u8], row: u32) -> Option<WalkedRow> {
        if !self.is_walkable {
            return None;
        }
        let kind = if self.has_kinds {
            Kind::from_u8(*bytes.get(self.kinds.wrapping_add(row as usize))?)?
        } else {
            Kind::Put
        };
        let (suffix, value) = (self.keys.entry(bytes, row)?, self.values.entry(bytes, row)?);
        Some(WalkedRow { suffix, value, kind })
    }
}

impl Heap {
    /// Where an entry starts, and its length.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn entry(&self, bytes: &[u8], row: u32) -> Option<(usize, usize)> {
        let row = row as usize;
        let (start, len) = match self.offset_len {
            // No product overflows: it is at most the heap's length.
            0 => (row.wrapping_mul(self.stride as usize), self.stride as usize),
            2 => {
                let pair = bytes.get(self.offsets.wrapping_add(2 * row)..)?;
                let ([start, end], _) = <[U16; 2]>::ref_from_prefix(pair).ok()?;
                self.between(u32::from(start.get()), u32::from(end.get()))?
            }
            _ => {
                let pair = bytes.get(self.offsets.wrapping_add(4 * row)..)?;
                let ([start, end], _) = <[U32; 2]>::ref_from_prefix(pair).ok()?;
                self.between(start.get(), end.get())?
            }
        };
        Some((self.start.wrapping_add(start), len))
    }

    #[inline]
    fn between(&self, start: u32, end: u32) -> Option<(usize, usize)> {
        (start <= end && end <= self.len).then(|| (start as usize, (end - start) as usize))
    }
}

impl DataBlock<'_> {
    /// The base of all seqnos, and how many bytes each delta has; `None` if a sum could overflow.
    fn sound_seqnos(&self) -> Option<(u64, u8)> {
        if self.layout.columns & COLUMN_SEQNO == 0 {
            return Some((0, 0));
        }
        let width = self.layout.widths & 7;
        let (delta_len, max_delta) = match width {
            CONSTANT => (0, 0),
            width => (1 << width.min(3), u64::MAX >> (64 - (8 << width.min(3)))),
        };
        let (base, _) = self.number(self.layout.seqnos, width, 0)?;
        base.checked_add(max_delta).map(|_| (base, delta_len))
    }
}
