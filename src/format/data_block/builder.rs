//! Building a block, row by row, in the one encoding that its rows have.
//!
//! The builder knows after every row how long the block would be ([`BlockBuilder::len_with`]), so
//! a table writer can fill a block to its last byte without building it twice.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{
    BlockHeader, COLUMN_CONTINUES, COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, COLUMN_WIDE_OFFSETS,
    CONSTANT, HEADER_LEN, KIND_OUT_OF_LINE, MAX_BLOCK_LEN, VARIABLE_KEYS, VARIABLE_VALUES,
};
use crate::format::checksum::{checksum, fingerprint};
use crate::format::row::{Kind, Row, shared_len};

/// The smallest and the largest number of a column so far.
#[derive(Clone, Copy, Debug)]
struct Span {
    min: u64,
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
struct Shape {
    row_count: usize,
    prefix_len: usize,
    key_bytes: usize,
    value_bytes: usize,
    key_len: Option<usize>,
    value_len: Option<usize>,
    seqnos: Span,
    has_kinds: bool,
    expiries: Span,
    some_never_expire: bool,
}

impl Shape {
    const EMPTY: Self = Self {
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
    fn with(mut self, row: &Row<'_>, out_of_line: bool, shared_len: usize) -> Self {
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

    fn key_heap_len(&self) -> usize {
        self.key_bytes - self.row_count * self.prefix_len
    }

    fn key_stride(&self) -> u16 {
        let suffix_len = self.key_len.map(|len| len - self.prefix_len);
        suffix_len.and_then(|len| u16::try_from(len).ok()).unwrap_or(VARIABLE_KEYS)
    }

    fn value_stride(&self) -> u32 {
        self.value_len.and_then(|len| u32::try_from(len).ok()).unwrap_or(VARIABLE_VALUES)
    }

    fn seqno_width(&self) -> Option<u8> {
        match self.seqnos {
            Span { max: 0, .. } => None,
            Span { min, max } if min == max => Some(CONSTANT),
            span => Some(span.width(0)),
        }
    }

    fn expiry_width(&self) -> Option<u8> {
        match self.expiries {
            Span { max: 0, .. } => None,
            Span { min, max } if min == max && !self.some_never_expire => Some(CONSTANT),
            span => Some(span.width(1)),
        }
    }

    fn is_wide(&self) -> bool {
        self.key_heap_len().max(self.value_bytes) > usize::from(u16::MAX)
    }

    /// Bytes of the block, padded to a multiple of 64.
    fn len(&self) -> usize {
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
    fn possible_len(&self) -> Option<usize> {
        let len = self.len();
        let possible = u16::try_from(self.row_count).is_ok() && len as u64 <= MAX_BLOCK_LEN;
        possible.then_some(len)
    }
}

/// Builds one block after the other; its buffers are kept.
///
/// They stay as small as the block: however long a prefix its keys share, it is held once.
#[derive(Debug)]
pub struct BlockBuilder {
    shape: Shape,
    first_key: Vec<u8>,
    /// Of each key what comes after the prefix that the block had when the key was added. The
    /// prefix only ever gets shorter, so what is missing at the end stands in the first key.
    suffixes: Vec<u8>,
    values: Vec<u8>,
    rows: Vec<Added>,
}

/// What a row is besides its key and its value.
#[derive(Clone, Copy, Debug)]
struct Added {
    /// Where its suffix ends.
    suffix_end: usize,
    /// How much of its key the suffix lacks.
    skipped_len: usize,
    /// Where its value ends.
    value_end: usize,
    seqno: u64,
    expires_at: u64,
    kind: u8,
    fingerprint: u8,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self {
            shape: Shape::EMPTY,
            first_key: Vec::new(),
            suffixes: Vec::new(),
            values: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl BlockBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows so far.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.shape.row_count
    }

    /// Whether there is no row yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.row_count == 0
    }

    /// Bytes of the block as it is; 0 without rows.
    #[must_use]
    pub fn block_len(&self) -> usize {
        if self.is_empty() { 0 } else { self.shape.len() }
    }

    /// Bytes of the block with one more row; `None` if a block can't hold that row as well.
    #[must_use]
    pub fn len_with(&self, row: &Row<'_>, out_of_line: bool) -> Option<usize> {
        self.shape.with(row, out_of_line, self.shared_len(row.key)).possible_len()
    }

    /// The key of the last row, in `buffer`; empty without rows.
    pub fn read_last_key(&self, buffer: &mut Vec<u8>) {
        let start = self.rows.iter().rev().nth(1).map_or(0, |before| before.suffix_end);
        let skipped_len = self.rows.last().map_or(0, |last| last.skipped_len);
        buffer.clear();
        buffer.extend_from_slice(self.first_key.get(..skipped_len).unwrap_or_default());
        buffer.extend_from_slice(self.suffixes.get(start..).unwrap_or_default());
    }

    /// How much of the prefix a key has.
    fn shared_len(&self, key: &[u8]) -> usize {
        shared_len(self.prefix(), key)
    }

    /// Bytes that the builder holds of keys and values.
    #[cfg(test)]
    pub(super) fn held_len(&self) -> usize {
        self.first_key.len() + self.suffixes.len() + self.values.len()
    }

    fn prefix(&self) -> &[u8] {
        self.first_key.get(..self.shape.prefix_len).unwrap_or_default()
    }

    /// Adds a row that [`len_with`](Self::len_with) has a length for.
    ///
    /// Rows must come in the order of their internal keys.
    /// `hash` is that of the key; with `out_of_line` the value is a reference of chapter 03.
    pub fn push(&mut self, row: &Row<'_>, out_of_line: bool, hash: u64) {
        let shape = self.shape.with(row, out_of_line, self.shared_len(row.key));
        self.push_shaped(shape, row, out_of_line, hash);
    }

    /// As [`push`](Self::push), if the block is no longer than `most_len` then, or has no row yet;
    /// whether the row was added.
    pub fn push_within(
        &mut self,
        row: &Row<'_>,
        out_of_line: bool,
        hash: u64,
        most_len: usize,
    ) -> bool {
        let shape = self.shape.with(row, out_of_line, self.shared_len(row.key));
        let fits = self.is_empty() || shape.possible_len().is_some_and(|len| len <= most_len);
        if fits {
            self.push_shaped(shape, row, out_of_line, hash);
        }
        fits
    }

    /// Adds a row with which the block has this shape.
    #[inline]
    fn push_shaped(&mut self, shape: Shape, row: &Row<'_>, out_of_line: bool, hash: u64) {
        self.shape = shape;
        if shape.row_count == 1 {
            self.first_key.extend_from_slice(row.key);
        }
        let skipped_len = shape.prefix_len;
        self.suffixes.extend_from_slice(row.key.get(skipped_len..).unwrap_or_default());
        self.values.extend_from_slice(row.value);
        self.rows.push(Added {
            suffix_end: self.suffixes.len(),
            skipped_len,
            value_end: self.values.len(),
            seqno: row.seqno,
            expires_at: row.expires_at,
            kind: row.kind as u8 | if out_of_line { KIND_OUT_OF_LINE } else { 0 },
            fingerprint: fingerprint(hash),
        });
    }

    /// Appends the block to `out` and forgets its rows. The checksum is left zero for [`seal`].
    ///
    /// `continues` says that the next block goes on with the last key of this one.
    pub fn finish(&mut self, continues: bool, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let start = out.len();
        out.extend_from_slice(self.header(continues).as_bytes());
        out.extend(self.rows.iter().map(|row| row.fingerprint));
        out.resize(start + HEADER_LEN + self.shape.row_count.next_multiple_of(16), 0);
        let prefix_len = self.shape.prefix_len;
        if self.shape.key_stride() == VARIABLE_KEYS {
            let ends = self.rows.iter().scan(0, |regained_len, row| {
                *regained_len += row.skipped_len - prefix_len;
                Some(*regained_len + row.suffix_end)
            });
            push_offsets(out, ends, self.shape.is_wide());
        }
        if self.shape.value_stride() == VARIABLE_VALUES {
            let ends = self.rows.iter().map(|row| row.value_end);
            push_offsets(out, ends, self.shape.is_wide());
        }
        out.extend_from_slice(self.prefix());
        if let Some(width) = self.shape.seqno_width() {
            let base = self.shape.seqnos.min;
            push_numbers(out, base, width, self.rows.iter().map(|row| row.seqno - base));
        }
        if self.shape.has_kinds {
            out.extend(self.rows.iter().map(|row| row.kind));
        }
        if let Some(width) = self.shape.expiry_width() {
            let base = self.shape.expiries.min;
            let delta = |row: &Added| match row.expires_at {
                0 => 0,
                expiry => expiry - base + 1,
            };
            push_numbers(out, base, width, self.rows.iter().map(delta));
        }
        let mut start_of_suffix = 0;
        for row in &self.rows {
            let regained = self.first_key.get(prefix_len..row.skipped_len);
            out.extend_from_slice(regained.unwrap_or_default());
            let suffix = self.suffixes.get(start_of_suffix..row.suffix_end);
            out.extend_from_slice(suffix.unwrap_or_default());
            start_of_suffix = row.suffix_end;
        }
        out.extend_from_slice(&self.values);
        out.resize(start + self.shape.len(), 0);
        self.clear();
    }

    #[expect(clippy::cast_possible_truncation, reason = "a block is at most MAX_BLOCK_LEN long")]
    fn header(&self, continues: bool) -> BlockHeader {
        let shape = &self.shape;
        let seqno_width = shape.seqno_width();
        let expiry_width = shape.expiry_width();
        let mut columns = 0;
        for (present, bit) in [
            (shape.is_wide(), COLUMN_WIDE_OFFSETS),
            (seqno_width.is_some(), COLUMN_SEQNO),
            (shape.has_kinds, COLUMN_KIND),
            (expiry_width.is_some(), COLUMN_EXPIRY),
            (continues, COLUMN_CONTINUES),
        ] {
            columns |= if present { bit } else { 0 };
        }
        BlockHeader {
            checksum: U64::new(0),
            block_len: U32::new(shape.len() as u32),
            row_count: U16::new(shape.row_count as u16),
            prefix_len: U16::new(shape.prefix_len as u16),
            key_heap_len: U32::new(shape.key_heap_len() as u32),
            value_heap_len: U32::new(shape.value_bytes as u32),
            value_stride: U32::new(shape.value_stride()),
            key_stride: U16::new(shape.key_stride()),
            columns,
            widths: seqno_width.unwrap_or(0) | (expiry_width.unwrap_or(0) << 3),
        }
    }

    fn clear(&mut self) {
        self.shape = Shape::EMPTY;
        self.first_key.clear();
        self.suffixes.clear();
        self.values.clear();
        self.rows.clear();
    }
}

/// Writes the checksum of a finished block that will stand at `offset` of the file `file_id`.
pub fn seal(block: &mut [u8], file_id: u64, offset: u64) {
    if let Some((head, body)) = block.split_at_mut_checked(8) {
        head.copy_from_slice(U64::new(checksum(body, file_id ^ offset)).as_bytes());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the width was chosen to hold the largest")]
fn push_offsets(out: &mut Vec<u8>, ends: impl Iterator<Item = usize>, wide: bool) {
    for end in std::iter::once(0).chain(ends) {
        if wide {
            out.extend_from_slice(U32::new(end as u32).as_bytes());
        } else {
            out.extend_from_slice(U16::new(end as u16).as_bytes());
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the width was chosen to hold the largest")]
fn push_numbers(out: &mut Vec<u8>, base: u64, width: u8, deltas: impl Iterator<Item = u64>) {
    out.extend_from_slice(U64::new(base).as_bytes());
    if width == CONSTANT {
        return;
    }
    for delta in deltas {
        match width {
            0 => out.push(delta as u8),
            1 => out.extend_from_slice(U16::new(delta as u16).as_bytes()),
            2 => out.extend_from_slice(U32::new(delta as u32).as_bytes()),
            _ => out.extend_from_slice(U64::new(delta).as_bytes()),
        }
    }
}
