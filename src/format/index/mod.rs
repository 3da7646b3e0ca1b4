//! The sparse index: which block of a table can hold a key.
//!
//! One *separator* a block, and of each separator a *head*: eight of its bytes as a number. Heads
//! stand in a static search tree of 16-way nodes (an S+-tree), so a lookup compares numbers in a
//! few cache lines and reads separators only where heads tie.
//!
//! ```text
//!  ┌────────┬────────┬───────────────┬───────┬───────────────┬───────────────────┬────────────┐
//!  │ header │ prefix │ upper levels  │ heads │ block_offsets │ separator_offsets │ separators │
//!  │ 64 B   │        │ u64s, 16-way  │ u64s  │ packed files  │ u32s              │            │
//!  └────────┴────────┴───────────────┴───────┴───────────────┴───────────────────┴────────────┘
//!                     each level padded to 128 B with u64::MAX; both twice if separators tie
//! ```
//!
//! The *prefix* is what all keys of the file share. A separator is stored without it, and its head
//! is the big-endian number of 8 bytes of `prefix ++ separator` at `head_offset`, zero-padded:
//! zero-padding keeps the order, since different heads decide and equal ones go to the separators.
//!
//! # Invariants
//!
//! - Separator `i` is the shortest that is above the last key of block `i - 1` and not above the
//!   first key of block `i`; where one key spans both blocks, it is that key. The first is empty.
//! - [`Index::parse`] takes any bytes, is O(1), and proves every array to lie in the region.
//! - A search clamps what it reads, so unsorted heads give a wrong block, never a panic.
//!
//! Source: "Static search trees: 40x faster than binary search" for the tree. Spec:
//! `format-spec/05-index.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::error::rules;

mod builder;
mod parts;
mod search;
mod ties;
mod view;

pub use builder::{IndexBuilder, shortest_separator};
pub use search::Search;
pub use view::{Index, IndexLayout};

rules! { RULES:
    HEADER = "I1", "the region starts with the 64-byte header and its magic TDIX";
    RESERVED = "I2", "flags have no unknown bit, and reserved bytes are zero";
    BLOCKS = "I3", "block_count is at least 1";
    LEVELS = "I4", "level_count is the number of 16-way levels that block_count heads need";
    FIT = "I5", "the arrays together have the region's length";
    HEAD = "I6", "head_offset is at most prefix_len; tie_offset is at least prefix_len with flag bit 2, else 0";
    SEPARATOR = "I7", "separator offsets start at 0, do not go down, and end at separators_len";
    BLOCK_SIZE = "I8", "block_size of a uniform file is a power of two from 1 KiB to 64 KiB, else 0";
    OFFSETS = "I9", "block offsets start at 0, go up and end at the data region's length";
    SORTED = "I10", "heads, tie heads and upper levels are those of the separators, padded with the largest u64";
    ORDER = "I11", "separators ascend from an empty one; two are equal only where one key spans blocks";
    BETWEEN = "I12", "a separator is the shortest between its block and the block before";
    PREFIX = "I13", "the prefix is the longest that all keys start with, and head_offset the smaller of its length and that of the shortest key less 8, at least 0";
    CONTINUED = "I14", "flag bit 1 is set exactly if some block says that its last key goes on";
    TIES = "I15", "flag bit 2 is set exactly if different separators share a head, and tie_offset is the shortest length that those of a tie share";
}

/// The first 64 bytes of the index region.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IndexHeader {
    /// Always [`MAGIC`].
    pub magic: [u8; 4],
    /// Data blocks in the table.
    pub block_count: U32,
    /// Bytes that all keys of the table start with.
    pub prefix_len: U16,
    /// Where in a key the eight bytes of its head start.
    pub head_offset: U16,
    /// The `FLAG_` bits.
    pub flags: u8,
    /// Levels of the search tree, the heads included.
    pub level_count: u8,
    /// Where in a key the eight bytes of its tie head start; 0 without ties.
    pub tie_offset: U16,
    /// Bytes from one block to the next in a uniform file; 0 in a packed one.
    pub block_size: U32,
    /// Bytes of all separators together.
    pub separators_len: U32,
    /// Zero.
    pub reserved_tail: [U64; 5],
}

/// Bytes of an [`IndexHeader`].
pub const HEADER_LEN: usize = 64;
const _: () = assert!(size_of::<IndexHeader>() == HEADER_LEN, "05-index.md fixes this size");

/// The first bytes of an index region.
pub const MAGIC: [u8; 4] = *b"TDIX";
/// Entries of a node of the search tree.
pub const FANOUT: usize = 16;
/// Bytes of a node.
pub const NODE_LEN: usize = 8 * FANOUT;
/// Bit 0 of `flags`: block `i` stands at `i * block_size`; without it there are block offsets.
pub const FLAG_UNIFORM: u8 = 1;
/// Bit 1 of `flags`: some key goes on in the next block.
pub const FLAG_CONTINUED: u8 = 2;
/// Bit 2 of `flags`: different separators share a head, so there are tie heads.
pub const FLAG_TIES: u8 = 4;
/// Block offsets of a packed file count units of this many bytes.
pub const OFFSET_UNIT: u64 = 64;

/// The head of a key: eight of its bytes from `head_offset`, as a big-endian number.
#[inline]
#[must_use]
pub fn head_of(key: &[u8], head_offset: usize) -> u64 {
    let rest = key.get(head_offset..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => zerocopy::byteorder::big_endian::U64::from_bytes(*bytes).get(),
        None => rest
            .iter()
            .fold(0, |head, byte| (head << 8) | u64::from(*byte))
            .checked_shl(8 * (8 - u32::try_from(rest.len()).unwrap_or(8)))
            .unwrap_or(0),
    }
}

/// How many entries each level of the tree has, from the heads up to a level of one node.
pub(crate) fn level_lens(block_count: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(block_count), |len| (*len > FANOUT).then(|| len.div_ceil(FANOUT)))
}

#[cfg(test)]
mod tests;
