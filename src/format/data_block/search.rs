//! Finding a row of a block: by fingerprint for a lookup, by key order for a seek.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::cmp::Ordering;

use super::{DataBlock, FINGERPRINTS};
use crate::cpu::prefetch;
use crate::format::error::FormatError;

impl DataBlock<'_> {
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
    /// `fingerprint` is that of the key's hash. `lookup` finds the same, faster.
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

    /// Asks for the memory that a search of the keys may read, as far as that is not much.
    pub(crate) fn prefetch_keys(&self) {
        const MAX_LINES: usize = 16;
        let start = self.layout.keys as usize;
        let len = self.layout.key_heap_len as usize;
        for line in (0..len.div_ceil(64)).take(MAX_LINES) {
            prefetch(self.bytes, start + 64 * line);
        }
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
