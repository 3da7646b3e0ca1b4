//! Finding a row of a block: by fingerprint for a lookup, by key order for a seek; and reading a
//! plain one whole, for a scan.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::cmp::Ordering;
use std::ops::Range;

use super::{COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, CONSTANT, DataBlock, FINGERPRINTS};
use crate::format::error::FormatError;

impl DataBlock<'_> {
    /// Whether the block has neither kinds nor expiries, and no seqno can overflow: then
    /// [`plain_row`](Self::plain_row) and [`seqno`](Self::seqno) are all there is to a row.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let width = self.layout.widths & 7;
        let max_delta = match width {
            CONSTANT => 0,
            width => u64::MAX >> (64 - (8 << width.min(3))),
        };
        let has_plain_seqnos = self.layout.columns & COLUMN_SEQNO == 0
            || self
                .number(self.layout.seqnos, width, 0)
                .is_some_and(|(base, _)| base.checked_add(max_delta).is_some());
        self.layout.columns & (COLUMN_KIND | COLUMN_EXPIRY) == 0 && has_plain_seqnos
    }

    /// Where the key suffix and the value of a row are, in bytes from the start of the block:
    /// what a scan asks for most, without an error to carry. `None`: ask for the parts.
    #[inline]
    #[must_use]
    pub fn plain_row(&self, row: u32) -> Option<(Range<usize>, Range<usize>)> {
        if row >= self.layout.row_count {
            return None;
        }
        let (start, end) = self.suffix_range(row)?;
        let at = |offset| self.layout.keys.wrapping_add(offset) as usize;
        Some((at(start)..at(end), self.value_range(row).ok()?))
    }

    /// Compares the key of `row` with `key`.
    ///
    /// # Errors
    ///
    /// As [`suffix`](Self::suffix).
    pub fn compare_key(&self, row: u32, key: &[u8]) -> Result<Ordering, FormatError> {
        let prefix = self.prefix();
        let suffix = self.suffix(row)?;
        Ok(match key.split_at_checked(prefix.len()) {
            Some((head, tail)) => prefix.cmp(head).then_with(|| suffix.cmp(tail)),
            // A key that is shorter than the prefix and equal so far sorts before the row.
            None => prefix.cmp(key),
        })
    }

    /// Whether `row` has exactly this key.
    #[inline]
    fn key_equals(&self, row: u32, key: &[u8]) -> Result<bool, FormatError> {
        let suffix = self.suffix(row)?;
        Ok(match key.split_at_checked(self.layout.prefix_len as usize) {
            Some((head, tail)) => tail == suffix && head == self.prefix(),
            None => false,
        })
    }

    /// Finds the newest version of `key` with a seqno of at most `seqno`.
    ///
    /// `fingerprint` is that of the key's hash. [`lookup`](super::lookup) finds the same, faster.
    ///
    /// # Errors
    ///
    /// A rule of chapter 04 that a row on the way breaks.
    pub fn find(
        &self,
        key: &[u8],
        fingerprint: u8,
        seqno: u64,
    ) -> Result<Option<u32>, FormatError> {
        let fingerprints = self.part(FINGERPRINTS, self.layout.row_count).unwrap_or_default();
        for (row, byte) in (0..).zip(fingerprints) {
            if *byte == fingerprint
                && self.key_equals(row, key)?
                && (seqno == u64::MAX || self.seqno(row)? <= seqno)
            {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The first row at or after the internal key (`key`, `seqno`); `row_count` if there is none.
    ///
    /// # Errors
    ///
    /// A rule of chapter 04 that a row on the way breaks.
    pub fn lower_bound(&self, key: &[u8], seqno: u64) -> Result<u32, FormatError> {
        let (mut low, mut high) = (0, self.layout.row_count);
        while low < high {
            let middle = low.midpoint(high);
            let before = match self.compare_key(middle, key)? {
                Ordering::Less => true,
                Ordering::Equal => seqno < u64::MAX && self.seqno(middle)? > seqno,
                Ordering::Greater => false,
            };
            if before { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// Whether two rows next to each other have the same key.
    ///
    /// # Errors
    ///
    /// As [`suffix`](Self::suffix).
    #[inline]
    pub fn same_key(&self, row: u32, other: u32) -> Result<bool, FormatError> {
        Ok(self.suffix(row)? == self.suffix(other)?)
    }
}
