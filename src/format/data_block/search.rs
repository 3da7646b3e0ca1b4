//! Finding a row of a block: by fingerprint for a lookup, by key order for a seek; and reading a
//! plain one whole, for a scan.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::cmp::Ordering;
use std::ops::Range;

use super::{COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, DataBlock, FINGERPRINTS, VARIABLE_KEYS};
use crate::format::error::FormatError;

impl<'a> DataBlock<'a> {
    /// Key suffix, seqno and value range of a row in a block that has neither kinds nor expiries:
    /// what a scan asks for most, without an error to carry. `None`: ask for the parts.
    #[inline]
    #[must_use]
    pub fn plain_row(&self, row: u32) -> Option<(&'a [u8], u64, Range<usize>)> {
        let layout = &self.layout;
        if layout.columns & (COLUMN_KIND | COLUMN_EXPIRY) != 0 || row >= layout.row_count {
            return None;
        }
        let (start, end) = self.suffix_range(row)?;
        let suffix = self.part(layout.keys + start, end - start)?;
        let seqno = if layout.columns & COLUMN_SEQNO == 0 {
            0
        } else {
            let (base, delta) = self.number(layout.seqnos, layout.widths & 7, row)?;
            base.checked_add(delta)?
        };
        Some((suffix, seqno, self.value_range(row).ok()?))
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
    /// # Errors
    ///
    /// As [`find_ahead`](Self::find_ahead).
    pub fn find(
        &self,
        key: &[u8],
        fingerprint: u8,
        seqno: u64,
    ) -> Result<Option<u32>, FormatError> {
        self.find_ahead(key, fingerprint, seqno, |_, _| {})
    }

    /// As [`find`](Self::find), for whoever can ask for memory before it is needed.
    ///
    /// `ahead` is told of each row that is about to be compared, so that its lines can be asked
    /// for. `fingerprint` is that of the key's hash. Compares a byte a row, eight rows at a time.
    ///
    /// # Errors
    ///
    /// A rule of chapter 04 that a row on the way breaks.
    #[inline]
    pub fn find_ahead(
        &self,
        key: &[u8],
        fingerprint: u8,
        seqno: u64,
        ahead: impl Fn(&Self, u32),
    ) -> Result<Option<u32>, FormatError> {
        let row_count = self.layout.row_count;
        let padded = self.part(FINGERPRINTS, row_count.next_multiple_of(16));
        let (words, _) = padded.unwrap_or_default().as_chunks::<8>();
        // 64 rows are compared before any of them is looked at: stopping at the first match would
        // be a branch that nobody can predict, with a cache miss behind it.
        for (group, words) in (0..).zip(words.chunks(8)) {
            let first_row = group * 64;
            let mark = |word: &[u8; 8]| matching_bytes(*word, fingerprint);
            let marks = words.iter().enumerate();
            let mut marks =
                marks.fold(0, |marks, (index, word)| marks | (mark(word) << (8 * index)));
            let rest = row_count - first_row;
            if rest < 64 {
                marks &= (1 << rest) - 1;
            }
            while marks != 0 {
                let row = first_row + marks.trailing_zeros();
                marks &= marks - 1;
                ahead(self, row);
                if self.key_equals(row, key)? && (seqno == u64::MAX || self.seqno(row)? <= seqno) {
                    return Ok(Some(row));
                }
            }
        }
        Ok(None)
    }

    /// Where the suffix of `row`'s key starts, in bytes from the start of the block; a hint for
    /// prefetching, which may lie outside.
    #[inline]
    #[must_use]
    pub fn suffix_hint(&self, row: u32) -> usize {
        let start = match self.layout.key_stride {
            VARIABLE_KEYS => self.layout.key_heap_len / self.layout.row_count * row,
            stride => u32::from(stride) * row,
        };
        self.layout.keys as usize + start as usize
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

/// One bit for each byte of `word` that equals `byte`, the first byte's the lowest.
///
/// Source: Warren, "Hacker's Delight", 6-1 (finding zero bytes) and 7-4 (compressing bits).
#[inline]
const fn matching_bytes(word: [u8; 8], byte: u8) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const REST: u64 = LOW * 0x7f;
    let differs = u64::from_le_bytes(word) ^ (LOW * byte as u64);
    // The highest bit of a byte is set exactly if the byte is zero.
    let zeros = !(((differs & REST) + REST) | differs | REST);
    (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
