//! The filter: a split-block Bloom filter that says of most absent keys that they are absent.
//!
//! A key's hash picks one 32-byte block and one bit in each of its eight words, so a probe costs
//! one cache line and is read in place: nothing is decoded and nothing is copied.
//!
//! ```text
//!  ┌────────┬─────────┬─────────┬───┐      block = (hash >> 32) * block_count >> 32
//!  │ header │ block 0 │ block 1 │ … │      bit of word i = (low half of hash * SALT[i]) >> 27
//!  │ 64 B   │ 8 × u32 │ 8 × u32 │   │
//!  └────────┴─────────┴─────────┴───┘
//! ```
//!
//! Source: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters"; the salts
//! are those of the Parquet format. Spec: `format-spec/06-filter.md`. I/O: none. Unsafe: none.

use std::ops::Range;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::error::{FormatError, rules};

rules! { RULES:
    HEADER = "X1", "the region starts with the 64-byte header and its magic TDBF";
    ALGORITHM = "X2", "algorithm is 1, a split-block Bloom filter";
    FIT = "X3", "the region has 64 bytes and 32 for each of at least one block";
    RESERVED = "X4", "reserved bytes are zero";
    MEMBER = "X5", "the filter holds every key of the table";
}

/// The first 64 bytes of the filter region.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FilterHeader {
    /// Always [`MAGIC`].
    pub magic: [u8; 4],
    /// Always [`SPLIT_BLOCK_BLOOM`].
    pub algorithm: U32,
    /// Blocks of 32 bytes.
    pub block_count: U32,
    /// Zero.
    pub reserved: U32,
    /// Different user keys that were added.
    pub key_count: U64,
    /// Zero.
    pub reserved_tail: [U64; 5],
}

/// Bytes of a [`FilterHeader`].
pub const HEADER_LEN: usize = 64;
const _: () = assert!(size_of::<FilterHeader>() == HEADER_LEN, "06-filter.md fixes this size");

/// The first bytes of a filter region.
pub const MAGIC: [u8; 4] = *b"TDBF";
/// The one algorithm there is.
pub const SPLIT_BLOCK_BLOOM: u32 = 1;
/// Bytes of a filter block.
pub const BLOCK_LEN: usize = 32;
/// The multipliers that pick one bit in each word of a block.
pub const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The bits that a key's hash sets, one a word.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the low half of the hash is wanted")]
pub fn mask(hash: u64) -> [u32; 8] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// The block that a key's hash picks.
#[inline]
#[must_use]
pub fn block_of(hash: u64, block_count: u32) -> usize {
    (((hash >> 32) * u64::from(block_count)) >> 32) as usize
}

/// A filter region, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    bytes: &'a [u8],
    block_count: u32,
}

impl<'a> Filter<'a> {
    /// Reads the header of a filter region. O(1); checks no checksum.
    ///
    /// # Errors
    ///
    /// The rule of chapter 06 that is broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((header, blocks)) = FilterHeader::ref_from_prefix(bytes) else {
            return Err(HEADER.found(0, HEADER_LEN as u64, bytes.len() as u64));
        };
        if header.magic != MAGIC {
            return Err(HEADER.broken(0));
        }
        if header.algorithm.get() != SPLIT_BLOCK_BLOOM {
            let found = u64::from(header.algorithm.get());
            return Err(ALGORITHM.found(4, u64::from(SPLIT_BLOCK_BLOOM), found));
        }
        if header.reserved.get() != 0 || header.reserved_tail.iter().any(|word| word.get() != 0) {
            return Err(RESERVED.broken(12));
        }
        let block_count = header.block_count.get();
        let blocks_len = u64::from(block_count) * BLOCK_LEN as u64;
        if block_count == 0 || blocks_len != blocks.len() as u64 {
            return Err(FIT.found(8, blocks_len, blocks.len() as u64));
        }
        Ok(Self { bytes, block_count })
    }

    /// A filter of a region that [`parse`](Self::parse) found to have `block_count` blocks.
    #[inline]
    #[must_use]
    pub fn with_block_count(bytes: &'a [u8], block_count: u32) -> Self {
        Self { bytes, block_count }
    }

    /// Blocks of 32 bytes; at least one.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.block_count
    }

    /// Where the block of a key's hash is, in bytes from the start of the region.
    #[inline]
    #[must_use]
    pub fn block_range(&self, hash: u64) -> Range<usize> {
        let start = HEADER_LEN + block_of(hash, self.block_count) * BLOCK_LEN;
        start..start + BLOCK_LEN
    }

    /// Whether the table may hold a key with this hash; `false` is certain.
    #[inline]
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        let Some(block) = self.bytes.get(self.block_range(hash)) else { return true };
        let Ok(words) = <[U32; 8]>::ref_from_bytes(block) else { return true };
        let missing = mask(hash)
            .iter()
            .zip(words)
            .fold(0, |missing, (bit, word)| missing | (bit & !word.get()));
        missing == 0
    }
}

/// Builds a filter region from the hashes of all keys, for about `bit_count` bits.
#[must_use]
pub fn build(hashes: &[u64], bit_count: u64) -> Vec<u8> {
    let block_bits = BLOCK_LEN as u64 * 8;
    let block_count = bit_count.div_ceil(block_bits).clamp(1, u64::from(u32::MAX));
    let block_count = u32::try_from(block_count).unwrap_or(u32::MAX);
    let header = FilterHeader {
        magic: MAGIC,
        algorithm: U32::new(SPLIT_BLOCK_BLOOM),
        block_count: U32::new(block_count),
        reserved: U32::new(0),
        key_count: U64::new(hashes.len() as u64),
        reserved_tail: [U64::new(0); 5],
    };
    let mut blocks = vec![[0_u32; 8]; block_count as usize];
    for hash in hashes {
        if let Some(block) = blocks.get_mut(block_of(*hash, block_count)) {
            for (word, bit) in block.iter_mut().zip(mask(*hash)) {
                *word |= bit;
            }
        }
    }
    let mut out = Vec::with_capacity(HEADER_LEN + blocks.len() * BLOCK_LEN);
    out.extend_from_slice(header.as_bytes());
    for word in blocks.iter().flatten() {
        out.extend_from_slice(U32::new(*word).as_bytes());
    }
    out
}
