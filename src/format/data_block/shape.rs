//! The shape of a block: which columns its rows ask for, how wide they are, how long it is.
//!
//! It is kept up to date row by row, so a builder knows how long the block would be with one more.
//!
//! Spec: `format-spec/04-data-block.md`, "The one encoding". I/O: none. Unsafe: none.

use super::{CONSTANT, HEADER_LEN, MAX_BLOCK_LEN, VARIABLE_KEYS, VARIABLE_VALUES};
use crate::format::row::{Kind, Row};

/// The smallest and the largest number of a column so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) min: u64,
    max: u64,
}

impl Span {
    const EMPTY: Self = Self { min: u64::MAX, max: 0 };

    fn with(self, number: u64) -> Self {
        Self { min: self.min.min(number), max: self.max.max(number) }
    }

    /// The smallest width code that holds every difference to the minimum plus `extra`.
    fn width(self, extra: u64) -> u8 {
        match (self.max - self.min).saturating_add(extra) {
            0..=0xFF => 0,
            0x100..=0xFFFF => 1,
            0x1_0000..=0xFFFF_FFFF => 2,
            _ => 3,
        }
    }
}

/// What the encoding depends on, kept up to date row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) row_count: usize,
    pub(super) prefix_len: usize,
    key_bytes: usize,
    pub(super) value_bytes: usize,
    key_len: Option<usize>,
    value_len: Option<usize>,
    pub(super) seqnos: Span,
    pub(super) has_kinds: bool,
    pub(super) expiries: Span,
    some_never_expire: bool,
}

impl Shape {
    pub(super) const EMPTY: Self = Self {
        row_count: 0,
        prefix_len: 0,
        key_bytes: 0,
        value_bytes: 0,
        key_len: None,
        value_len: None,
        seqnos: Span::EMPTY,
        has_kinds: false,
        expiries: Span::EMPTY,
        some_never_expire: false,
    };

    /// The shape with one more row, whose key shares `shared_len` bytes with the first key.
    pub(super) fn with(mut self, row: &Row<'_>, out_of_line: bool, shared_len: usize) -> Self {
        let same = |old: Option<usize>, new: usize| {
            (self.row_count == 0 || old == Some(new)).then_some(new)
        };
        self.key_len = same(self.key_len, row.key.len());
        self.value_len = same(self.value_len, row.value.len());
        self.prefix_len =
            if self.row_count == 0 { row.key.len() } else { self.prefix_len.min(shared_len) };
        self.row_count += 1;
        self.key_bytes += row.key.len();
        self.value_bytes += row.value.len();
        self.seqnos = self.seqnos.with(row.seqno);
        self.has_kinds |= out_of_line || row.kind != Kind::Put;
        if row.expires_at == 0 {
            self.some_never_expire = true;
        } else {
            self.expiries = self.expiries.with(row.expires_at);
        }
        self
    }

    pub(super) fn key_heap_len(&self) -> usize {
        self.key_bytes - self.row_count * self.prefix_len
    }

    pub(super) fn key_stride(&self) -> u16 {
        let suffix_len = self.key_len.map(|len| len - self.prefix_len);
        suffix_len.and_then(|len| u16::try_from(len).ok()).unwrap_or(VARIABLE_KEYS)
    }

    pub(super) fn value_stride(&self) -> u32 {
        self.value_len.and_then(|len| u32::try_from(len).ok()).unwrap_or(VARIABLE_VALUES)
    }

    pub(super) fn seqno_width(&self) -> Option<u8> {
        match self.seqnos {
            Span { max: 0, .. } => None,
            Span { min, max } if min == max => Some(CONSTANT),
            span => Some(span.width(0)),
        }
    }

    pub(super) fn expiry_width(&self) -> Option<u8> {
        match self.expiries {
            Span { max: 0, .. } => None,
            Span { min, max } if min == max && !self.some_never_expire => Some(CONSTANT),
            span => Some(span.width(1)),
        }
    }

    pub(super) fn is_wide(&self) -> bool {
        self.key_heap_len().max(self.value_bytes) > usize::from(u16::MAX)
    }

    /// Bytes of the block, padded to a multiple of 64.
    pub(super) fn len(&self) -> usize {
        let offsets_len = (self.row_count + 1) << if self.is_wide() { 2 } else { 1 };
        let numbers_len = |width: Option<u8>| match width {
            None => 0,
            Some(CONSTANT) => 8,
            Some(width) => 8 + (self.row_count << width),
        };
        let len = HEADER_LEN
            + self.row_count.next_multiple_of(16)
            + if self.key_stride() == VARIABLE_KEYS { offsets_len } else { 0 }
            + if self.value_stride() == VARIABLE_VALUES { offsets_len } else { 0 }
            + self.prefix_len
            + numbers_len(self.seqno_width())
            + if self.has_kinds { self.row_count } else { 0 }
            + numbers_len(self.expiry_width())
            + self.key_heap_len()
            + self.value_bytes;
        len.next_multiple_of(64)
    }

    /// The same, if there can be such a block.
    pub(super) fn possible_len(&self) -> Option<usize> {
        let len = self.len();
        let possible = u16::try_from(self.row_count).is_ok() && len as u64 <= MAX_BLOCK_LEN;
        possible.then_some(len)
    }
}
