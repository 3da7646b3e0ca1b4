//! The columnar data block: a batch of sorted rows, one column per field.
//!
//! The unit of search inside a table. A lookup compares one byte a row, the *fingerprint* of the
//! key's hash, and touches a key only where it matches; an ordered seek searches the key column.
//! Neither reads a value that it does not return: that is why there are columns, not rows.
//!
//! ```text
//!  ┌────────┬──────────────┬─────────────┬───────────────┬────────┬────────┬───────┬────────┬──────┬────────┬─────────┐
//!  │ header │ fingerprints │ key_offsets │ value_offsets │ prefix │ seqnos │ kinds │ expiry │ keys │ values │ padding │
//!  │ 32 B   │ n, to 16     │ (n+1) × w   │ (n+1) × w     │        │ 8+n×w  │ n     │ 8+n×w  │      │        │ to 64 B │
//!  └────────┴──────────────┴─────────────┴───────────────┴────────┴────────┴───────┴────────┴──────┴────────┴─────────┘
//!               key i = prefix ++ keys[key_offsets[i] .. key_offsets[i+1]]
//! ```
//!
//! A column whose content is constant is left out: equal lengths become a stride in the header,
//! seqnos that are all zero, kinds that are all `Put` and rows that never expire cost nothing.
//!
//! # Invariants
//!
//! - Rows ascend by user key, then *descend* by seqno: the newest version comes first.
//! - [`DataBlock::parse`] takes any bytes, is O(1), and proves every column to lie in the block.
//! - What a row's offsets say is checked when the row is read: a wrong one is an error, never a
//!   panic. [`DataBlock::verify`] checks every row.
//! - One content has one encoding, so golden files are exact to the byte.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::error::rules;

mod builder;
mod columns;
mod fields;
mod lookup;
mod rows;
mod search;
mod shape;
mod verify;
mod view;

pub use builder::{BlockBuilder, seal};
pub use lookup::{Lookup, lookup};
pub(crate) use lookup::{lookup_compiled, prefetch_matches};
pub use rows::{Rows, WalkedRow};
pub use view::{DataBlock, Layout};

rules! { RULES:
    HEADER = "B1", "a block starts at a multiple of 64 and its 32-byte header lies in the data region";
    LEN = "B2", "block_len is a multiple of 64, from 64 to 16 MiB, and the block lies in the data region";
    CHECKSUM = "B3", "checksum is xxh3_64 of the block after this field, seeded with file_id ^ offset";
    ROWS = "B4", "row_count is at least 1";
    COLUMNS = "B5", "reserved bits of columns are zero";
    WIDTHS = "B6", "widths are 0 to 3 or 7, and zero for a column that is absent";
    FIT = "B7", "all columns together fit into block_len";
    STRIDES = "B8", "row_count times a stride is the length of its heap";
    KEY_OFFSET = "B9", "key offsets start at 0, do not go down, and end at key_heap_len";
    VALUE_OFFSET = "B10", "value offsets start at 0, do not go down, and end at value_heap_len";
    KIND = "B11", "a kind is 0, 1 or 2, with bit 4 for a value out of line, and other bits zero";
    TOMBSTONE = "B12", "a tombstone has an empty value and no expiry";
    ORDER = "B13", "rows ascend by key and, within a key, descend by seqno";
    FINGERPRINT = "B14", "a fingerprint is bits 32 to 39 of the hash of its key";
    PADDING = "B15", "padding is zero";
    CANONICAL = "B16", "the block is the one that the encoding rules give for its rows";
    EXPIRY = "B17", "an expiry is at most 2^48 seconds since 1970";
    SEQNO = "B18", "a seqno does not overflow 64 bits";
    VALUE_REF = "B19", "a value out of line is given by a reference of 24 bytes";
    KEY_LEN = "B20", "a key has at most 65,535 bytes";
}

/// The first 32 bytes of a data block.
///
/// ```text
///  0          8           12          14           16             20
///  │ checksum │ block_len │ row_count │ prefix_len │ key_heap_len │ value_heap_len │
///  24             28           30        31       32
///  │ value_stride │ key_stride │ columns │ widths │
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BlockHeader {
    /// XXH3 of the block from byte 8 on, seeded with `file_id ^ block offset in the file`.
    pub checksum: U64,
    /// Bytes of the block, header and padding included; a multiple of 64.
    pub block_len: U32,
    /// Rows in the block, 1 to 65,535.
    pub row_count: U16,
    /// Bytes that every key of the block starts with: the longest such prefix.
    pub prefix_len: U16,
    /// Bytes of all key suffixes together.
    pub key_heap_len: U32,
    /// Bytes of all values together.
    pub value_heap_len: U32,
    /// The length of every value, or [`VARIABLE_VALUES`].
    pub value_stride: U32,
    /// The length of every key suffix, or [`VARIABLE_KEYS`].
    pub key_stride: U16,
    /// Which columns there are: the `COLUMN_` bits.
    pub columns: u8,
    /// Bits 0–2: log2 of the seqno width, or [`CONSTANT`]; bits 3–5: of the expiry width.
    pub widths: u8,
}

/// Bytes of a [`BlockHeader`].
pub const HEADER_LEN: usize = 32;
const _: () = assert!(size_of::<BlockHeader>() == HEADER_LEN, "04-data-block.md fixes this size");

/// Where the fingerprints start, in bytes from the start of the block.
const FINGERPRINTS: u32 = 32;
const _: () = assert!(FINGERPRINTS as usize == HEADER_LEN, "they follow the header");

/// `value_stride` of a block with value offsets.
pub const VARIABLE_VALUES: u32 = u32::MAX;
/// `key_stride` of a block with key offsets.
pub const VARIABLE_KEYS: u16 = u16::MAX;
/// Bit 0 of `columns`: offsets have four bytes, as a heap is longer than 65,535 bytes.
pub const COLUMN_WIDE_OFFSETS: u8 = 1;
/// Bit 1 of `columns`: there is a seqno column; without it all seqnos are zero.
pub const COLUMN_SEQNO: u8 = 2;
/// Bit 2 of `columns`: there is a kind column; without it all rows are plain puts.
pub const COLUMN_KIND: u8 = 4;
/// Bit 3 of `columns`: there is an expiry column; without it no row expires.
pub const COLUMN_EXPIRY: u8 = 8;
/// Bit 4 of `columns`: the next block goes on with the last user key of this one.
pub const COLUMN_CONTINUES: u8 = 16;
/// The bits of `columns` that have a meaning.
pub const COLUMNS_KNOWN: u8 = 31;
/// The width code of a column that holds one number for all rows.
pub const CONSTANT: u8 = 7;
/// Bit 4 of a kind: the value lies out of line, in the value region.
pub const KIND_OUT_OF_LINE: u8 = 16;
/// The largest block, in bytes.
pub const MAX_BLOCK_LEN: u64 = 16 << 20;

/// Rounds up to a multiple of `unit`, a power of two.
pub(crate) const fn round_up(len: u64, unit: u64) -> u64 {
    len.saturating_add(unit - 1) & !(unit - 1)
}

#[cfg(test)]
mod tests;
