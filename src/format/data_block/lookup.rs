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

use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};

use super::{
    BlockHeader, COLUMN_CONTINUES, COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, COLUMN_WIDE_OFFSETS,
    CONSTANT, DataBlock, HEADER_LEN, VARIABLE_KEYS, VARIABLE_VALUES,
};
use crate::cpu::{matching_bytes, prefetch};
use crate::format::short_bytes::short_equal;

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
    lookup_compiled(bytes, key, fingerprint, seqno)
}

/// As [`lookup`], compiled into its caller.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
pub(crate) fn lookup_compiled<'a>(
    bytes: &'a [u8],
    key: &[u8],
    fingerprint: u8,
    seqno: u64,
) -> Lookup<'a> {
    let Ok((header, behind)) = BlockHeader::ref_from_prefix(bytes) else { return Lookup::Broken };
    let row_count = usize::from(header.row_count.get());
    let mut first_row = 0;
    // As many rows are compared as a block mostly has before any of them is looked at: where to stop
    // would be a branch that nobody can predict, with a cache miss behind it.
    while first_row < row_count {
        let mut marks = marks(behind, first_row, row_count, fingerprint);
        while marks != 0 {
            let row = first_row + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            match match_row::<false>(bytes, header, row, key, seqno) {
                Some(None) => {}
                Some(Some(value)) => {
                    let is_plain = header.columns & (COLUMN_KIND | COLUMN_EXPIRY) == 0;
                    #[expect(clippy::cast_possible_truncation, reason = "a block has fewer rows")]
                    return Lookup::Found { row: row as u32, plain: is_plain.then_some(value) };
                }
                None => return Lookup::Broken,
            }
        }
        first_row += MARKED_ROWS;
    }
    Lookup::Absent { continues: header.columns & COLUMN_CONTINUES != 0 }
}

/// So many fingerprints are compared at once: those of a block of 8 KiB, if its rows have the
/// usual length.
const MARKED_ROWS: usize = 128;

/// One bit for each of up to 128 rows from `first_row` on: whether the fingerprint is theirs.
/// `behind` is what follows the header: the fingerprints come first.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn marks(behind: &[u8], first_row: usize, row_count: usize, fingerprint: u8) -> u128 {
    let middle = first_row + MARKED_ROWS / 2;
    let low = half_of_marks(behind, first_row, row_count, fingerprint);
    let high =
        if middle < row_count { half_of_marks(behind, middle, row_count, fingerprint) } else { 0 };
    u128::from(low) | u128::from(high) << 64
}

/// Of up to 64 rows.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn half_of_marks(behind: &[u8], first_row: usize, row_count: usize, fingerprint: u8) -> u64 {
    let bytes = behind.get(first_row..).unwrap_or_default();
    let marks = match bytes.first_chunk::<64>() {
        Some(bytes) => {
            let (groups, _) = bytes.as_chunks::<16>();
            let [a, b, c, d] = groups else { return 0 };
            let quarter = |group| u32::from(matching_bytes(group, fingerprint));
            // In pairs, so that the compiler compares 32 bytes at a time where it can.
            let (low, high) = (quarter(a) | quarter(b) << 16, quarter(c) | quarter(d) << 16);
            u64::from(low) | u64::from(high) << 32
        }
        None => marks_of_few(bytes, fingerprint),
    };
    // What follows the fingerprints was compared too.
    match row_count - first_row {
        rest @ ..64 => marks & ((1 << rest) - 1),
        _ => marks,
    }
}

/// As [`matching_bytes`], for a block so small that no 64 bytes follow its header.
#[cold]
#[inline(never)]
fn marks_of_few(bytes: &[u8], fingerprint: u8) -> u64 {
    let marks = (0..64).zip(bytes).filter(|(_, byte)| **byte == fingerprint);
    marks.fold(0, |marks, (row, _)| marks | 1 << row)
}

/// Asks for keys and values of the rows that have this fingerprint. Of other bytes than those that
/// [`lookup`] takes, it asks for nonsense.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
pub(crate) fn prefetch_matches(bytes: &[u8], fingerprint: u8) {
    let Ok((header, behind)) = BlockHeader::ref_from_prefix(bytes) else { return };
    let row_count = usize::from(header.row_count.get());
    let mut first_row = 0;
    while first_row < row_count {
        let mut marks = marks(behind, first_row, row_count, fingerprint);
        while marks != 0 {
            let row = first_row + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            let _ = match_row::<true>(bytes, header, row, &[], 0);
        }
        first_row += MARKED_ROWS;
    }
}

/// The value of `row` if it has this key and is not too new; `None` if it is broken.
///
/// Key and value are far apart. Asked for together they arrive together; else the value would wait
/// until the key was compared. `ONLY_ASKS` to do no more than that.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
#[expect(clippy::option_option, reason = "broken or not, then found or not")]
fn match_row<'a, const ONLY_ASKS: bool>(
    bytes: &'a [u8],
    header: &BlockHeader,
    row: usize,
    key: &[u8],
    seqno: u64,
) -> Option<Option<&'a [u8]>> {
    let columns = Columns::of(header);
    let (key_stride, value_stride) = (header.key_stride.get(), header.value_stride.get());
    let (has_key_offsets, has_value_offsets) =
        (key_stride == VARIABLE_KEYS, value_stride == VARIABLE_VALUES);
    if has_key_offsets {
        prefetch(bytes, columns.key_offsets + 2 * row);
    }
    if has_value_offsets {
        prefetch(bytes, columns.value_offsets + 2 * row);
    }
    let suffix = if has_key_offsets {
        columns.range(bytes, columns.key_offsets, row, header.key_heap_len.get())?
    } else {
        let stride = usize::from(key_stride);
        row * stride..(row + 1) * stride
    };
    let suffix = columns.keys + suffix.start..columns.keys + suffix.end;
    prefetch(bytes, suffix.start);
    // If it is broken that matters only for the row that is sought.
    let value = if has_value_offsets {
        columns.range(bytes, columns.value_offsets, row, header.value_heap_len.get())
    } else {
        let stride = value_stride as usize;
        Some(row * stride..(row + 1) * stride)
    };
    let value = value.and_then(|range| {
        bytes.get(columns.values.wrapping_add(range.start)..columns.values.checked_add(range.end)?)
    });
    if let Some(value) = value {
        prefetch(value, 0);
        prefetch(value, value.len().saturating_sub(1));
    }
    if ONLY_ASKS {
        return Some(None);
    }
    let suffix = bytes.get(suffix)?;
    let prefix =
        bytes.get(columns.prefix..columns.prefix + usize::from(header.prefix_len.get()))?;
    let Some((head, tail)) = key.split_at_checked(prefix.len()) else { return Some(None) };
    if !short_equal(tail, suffix) || !short_equal(head, prefix) {
        return Some(None);
    }
    if seqno != u64::MAX && seqno_of(bytes, row)? > seqno {
        return Some(None);
    }
    value.map(Some)
}

/// The bytes of the columns that a block has if its rows are not all alike.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn optional_len(header: &BlockHeader, row_count: usize) -> usize {
    let number_len = |column, width| match width {
        _ if header.columns & column == 0 => 0,
        CONSTANT => 8,
        width => 8 + (row_count << width),
    };
    let kinds_len = if header.columns & COLUMN_KIND == 0 { 0 } else { row_count };
    number_len(COLUMN_SEQNO, header.widths & 7)
        + kinds_len
        + number_len(COLUMN_EXPIRY, (header.widths >> 3) & 7)
}

/// The seqno of a row; `None` if it is broken.
#[inline(never)]
fn seqno_of(bytes: &[u8], row: usize) -> Option<u64> {
    DataBlock::parse_again(bytes)?.seqno(u32::try_from(row).ok()?).ok()
}

/// Where those columns of a block are that a lookup reads, in bytes from its start: what
/// [`Layout`](super::Layout) says, without what it says of the others.
struct Columns {
    key_offsets: usize,
    value_offsets: usize,
    prefix: usize,
    keys: usize,
    values: usize,
    /// Whether offsets have four bytes.
    is_wide: bool,
}

impl Columns {
    /// Of a block that was proved no sum overflows.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn of(header: &BlockHeader) -> Self {
        let row_count = usize::from(header.row_count.get());
        let is_wide = header.columns & COLUMN_WIDE_OFFSETS != 0;
        let key_offsets = HEADER_LEN + ((row_count + 15) & !15);
        let (mut value_offsets, mut prefix) = (key_offsets, key_offsets);
        let has_key_offsets = header.key_stride.get() == VARIABLE_KEYS;
        let has_value_offsets = header.value_stride.get() == VARIABLE_VALUES;
        if has_key_offsets || has_value_offsets {
            let offsets_len = (row_count + 1) << if is_wide { 2 } else { 1 };
            value_offsets += if has_key_offsets { offsets_len } else { 0 };
            prefix = value_offsets + if has_value_offsets { offsets_len } else { 0 };
        }
        let mut keys = prefix + usize::from(header.prefix_len.get());
        if header.columns & (COLUMN_SEQNO | COLUMN_KIND | COLUMN_EXPIRY) != 0 {
            keys += optional_len(header, row_count);
        }
        let values = keys.wrapping_add(header.key_heap_len.get() as usize);
        Self { key_offsets, value_offsets, prefix, keys, values, is_wide }
    }

    /// What the offsets of `row` say: a range of its heap, which has `heap_len` bytes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn range(
        &self,
        bytes: &[u8],
        offsets: usize,
        row: usize,
        heap_len: u32,
    ) -> Option<Range<usize>> {
        let (start, end) = if self.is_wide {
            let pair = bytes.get(offsets + 4 * row..)?;
            let ([start, end], _) = <[U32; 2]>::ref_from_prefix(pair).ok()?;
            (start.get(), end.get())
        } else {
            let pair = bytes.get(offsets + 2 * row..)?;
            let ([start, end], _) = <[U16; 2]>::ref_from_prefix(pair).ok()?;
            (u32::from(start.get()), u32::from(end.get()))
        };
        (start <= end && end <= heap_len).then_some(start as usize..end as usize)
    }
}
