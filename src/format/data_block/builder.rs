//! Building a block, row by row, in the one encoding that its rows have.
//!
//! The builder knows after every row how long the block would be ([`BlockBuilder::len_with`]), so
//! a table writer can fill a block to its last byte without building it twice.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::shape::Shape;
use super::{
    BlockHeader, COLUMN_CONTINUES, COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, COLUMN_WIDE_OFFSETS,
    CONSTANT, HEADER_LEN, KIND_OUT_OF_LINE, VARIABLE_KEYS, VARIABLE_VALUES,
};
use crate::format::checksum::{checksum, fingerprint};
use crate::format::row::{Row, shared_len};

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
        let seed = mutant!(UnboundBlocks, 0, else file_id ^ offset);
        head.copy_from_slice(U64::new(checksum(body, seed)).as_bytes());
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
