//! The lookup: from a key to its row's value with as few instructions as the format allows.
//!
//! [`DataBlock::find`] says what a lookup finds; this does the same for a block that was verified,
//! in one function that keeps its numbers in registers and carries no errors. Each step asks for
//! the memory of the next: fingerprints, then key and value of a row at once.
//!
//! # Invariants
//!
//! - It finds what `find` finds. Where `find` gives an error, or the value of the row that it finds
//!   is broken, it says [`Lookup::Broken`].
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use super::{COLUMN_EXPIRY, COLUMN_KIND, DataBlock, FINGERPRINTS, VARIABLE_KEYS, VARIABLE_VALUES};
use crate::cpu::{matching_bytes, prefetch};

/// What a [`lookup`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The newest visible version is this row.
    Found {
        /// The row's place in the block.
        row: u32,
        /// The value, if the block has neither kinds nor expiries: then there is no more to know.
        plain: Option<&'a [u8]>,
    },
    /// No row of this block.
    Absent {
        /// Whether the next block goes on with the last key of this one.
        continues: bool,
    },
    /// A row on the way breaks a rule; [`DataBlock::find`], or the row's value, says which.
    Broken,
}

/// Finds the newest version of `key` with a seqno of at most `seqno` in the block that `bytes`
/// start with, which [`DataBlock::parse`] took before.
///
/// `fingerprint` is that of the key's hash. Of other bytes the answer is nonsense.
#[must_use]
pub fn lookup<'a>(bytes: &'a [u8], key: &[u8], fingerprint: u8, seqno: u64) -> Lookup<'a> {
    let Some(block) = DataBlock::parse_again(bytes) else { return Lookup::Broken };
    // 64 rows are compared before any of them is looked at: stopping at the first match would be
    // a branch that nobody can predict, with a cache miss behind it.
    for first_row in (0..block.layout.row_count).step_by(64) {
        let mut marks = block.marks(first_row, fingerprint);
        while marks != 0 {
            let row = first_row + marks.trailing_zeros();
            marks &= marks - 1;
            match block.match_row(row, key, seqno) {
                Some(None) => {}
                Some(Some(value)) => {
                    let is_plain = block.layout.columns & (COLUMN_KIND | COLUMN_EXPIRY) == 0;
                    return Lookup::Found { row, plain: is_plain.then_some(value) };
                }
                None => return Lookup::Broken,
            }
        }
    }
    Lookup::Absent { continues: block.layout.continues() }
}

impl<'a> DataBlock<'a> {
    /// One bit for each of up to 64 rows from `first_row` on: whether the fingerprint is theirs.
    #[inline]
    fn marks(&self, first_row: u32, fingerprint: u8) -> u64 {
        let bytes = self.bytes.get((FINGERPRINTS + first_row) as usize..).unwrap_or_default();
        let marks = match bytes.first_chunk::<64>() {
            Some(bytes) => {
                let (groups, _) = bytes.as_chunks::<16>();
                groups.iter().rev().fold(0, |marks, group| {
                    marks << 16 | u64::from(matching_bytes(group, fingerprint))
                })
            }
            None => marks_of_few(bytes, fingerprint),
        };
        // What follows the fingerprints was compared too.
        match self.layout.row_count - first_row {
            rest @ ..64 => marks & ((1 << rest) - 1),
            _ => marks,
        }
    }

    /// The value of `row` if it has this key and is not too new; `None` if it is broken.
    #[inline]
    #[expect(clippy::option_option, reason = "broken or not, then found or not")]
    fn match_row(&self, row: u32, key: &[u8], seqno: u64) -> Option<Option<&'a [u8]>> {
        let layout = &self.layout;
        // Key and value are far apart. Asked for together they arrive together; else the value
        // would wait until the key was compared.
        if layout.key_stride == VARIABLE_KEYS || layout.value_stride == VARIABLE_VALUES {
            self.prefetch_offsets(row);
        }
        let (start, end) = self.suffix_range(row)?;
        let suffix_start = layout.keys.wrapping_add(start);
        prefetch(self.bytes, suffix_start as usize);
        // If it is broken that matters only for the row that is sought.
        let range = self.value_range(row).ok();
        if let Some(range) = &range {
            prefetch(self.bytes, range.start);
            prefetch(self.bytes, range.end.saturating_sub(1));
        }
        let suffix = self.part(suffix_start, end - start)?;
        let Some((head, tail)) = key.split_at_checked(layout.prefix_len as usize) else {
            return Some(None);
        };
        if tail != suffix || head != self.part(layout.prefix, layout.prefix_len)? {
            return Some(None);
        }
        if seqno != u64::MAX && self.seqno(row).ok()? > seqno {
            return Some(None);
        }
        self.bytes.get(range?).map(Some)
    }

    #[inline]
    fn prefetch_offsets(&self, row: u32) {
        let entry = row as usize * 2;
        prefetch(self.bytes, self.layout.key_offsets as usize + entry);
        prefetch(self.bytes, self.layout.value_offsets as usize + entry);
    }
}

/// As [`matching_bytes`], for a block so small that no 64 bytes follow its header.
#[cold]
fn marks_of_few(bytes: &[u8], fingerprint: u8) -> u64 {
    let marks = (0..64).zip(bytes).filter(|(_, byte)| **byte == fingerprint);
    marks.fold(0, |marks, (row, _)| marks | 1 << row)
}
