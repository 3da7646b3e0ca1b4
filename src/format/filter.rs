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
    KEY_COUNT = "X6", "key_count is that of the table";
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

    /// Different user keys that were added, as the header says.
    #[must_use]
    pub fn key_count(&self) -> Option<u64> {
        FilterHeader::ref_from_prefix(self.bytes).ok().map(|(header, _)| header.key_count.get())
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

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more precision than these tests have"
)]
mod tests {
    use bloomfilter::Bloom;

    use super::*;
    use crate::format::checksum::hash_key;

    /// The oracle's two hash functions differ only if the halves of its seed do.
    const SEED: [u8; 32] = *b"sixteen bytes, sixteen others!!!";

    fn hash(number: u64) -> u64 {
        hash_key(format!("key{number:010}").as_bytes(), 42)
    }

    /// A filter of `count` keys, which must all be found, and its rate of false positives.
    #[track_caller]
    fn check(count: u64, bit_count: u64) -> f64 {
        let hashes: Vec<u64> = (0..count).map(hash).collect();
        let bytes = build(&hashes, bit_count);
        let filter = Filter::parse(&bytes).unwrap();
        let block_count = bit_count.div_ceil(256).max(1);
        assert_eq!(u64::from(filter.block_count()), block_count);
        assert_eq!(bytes.len() as u64, 64 + 32 * block_count);
        let lost = (0..count).find(|number| !filter.may_contain(hash(*number)));
        assert_eq!(lost, None, "a key of the filter is denied");
        let probes = count..count + if cfg!(miri) { 100 } else { 50_000 };
        let probe_count = probes.end - probes.start;
        let hits = probes.filter(|number| filter.may_contain(hash(*number))).count();
        hits as f64 / probe_count as f64
    }

    #[test]
    fn no_key_is_lost_however_small_the_filter() {
        for bit_count in [0, 1, 256, 257, 1000, 100_000] {
            check(if cfg!(miri) { 20 } else { 1000 }, bit_count);
        }
        check(0, 0);
        check(1, 10);
    }

    #[test]
    #[cfg_attr(miri, ignore = "rates need more keys than can be interpreted")]
    fn more_bits_give_fewer_false_positives() {
        #[rustfmt::skip]
        let cases = [
            // bits a key, what theory says
            (4,  0.3258),
            (8,  0.0332),
            (10, 0.0126),
            (12, 0.0054),
            (16, 0.0013),
        ];
        for (bits, want) in cases {
            let rate = check(20_000, 20_000 * bits);
            assert!(rate < 1.3 * want && rate > 0.7 * want, "{bits} bits a key: {rate}");
        }
    }

    /// The crate's formula sizes a classic filter, which spreads the bits of a key over all of it.
    /// Ours keeps them in one cache line and pays with a rate that is up to twice as high.
    #[test]
    #[cfg_attr(miri, ignore = "rates need more keys than can be interpreted")]
    fn a_filter_sized_for_a_rate_has_about_that_rate() {
        let count = 20_000;
        for rate in [0.1, 0.03, 0.01, 0.003] {
            let byte_count = Bloom::<[u8]>::compute_bitmap_size(20_000, rate);
            let found = check(count, byte_count as u64 * 8);
            let mut oracle = Bloom::new_with_seed(byte_count, 20_000, &SEED).unwrap();
            (0..count).for_each(|number| oracle.set(&hash(number)));
            let hits = (count..count + 50_000).filter(|number| oracle.check(&hash(*number)));
            let oracle_rate = hits.count() as f64 / 50_000.0;
            println!("wanted {rate}, classic {oracle_rate}, split-block {found}");
            assert!(oracle_rate < 1.2 * rate, "the oracle has {oracle_rate}");
            assert!(found < 2.3 * rate, "wanted {rate}, found {found}");
        }
    }

    #[test]
    fn masks_and_blocks_are_those_of_the_spec() {
        #[rustfmt::skip]
        let cases = [
            // hash, block of 1000, bit of each word
            (0x0000_0000_0000_0000, 0,   [ 0,  0,  0,  0,  0,  0,  0,  0]),
            (0x0000_0000_0000_0001, 0,   [ 8,  8, 17, 20, 14,  5, 19, 11]),
            (0x8000_0000_ffff_ffff, 500, [23, 23, 14, 11, 17, 26, 12, 20]),
            (0xffff_ffff_1234_5678, 999, [12, 29, 23,  2, 15, 10,  4,  2]),
        ];
        for (hash, block, bits) in cases {
            assert_eq!(block_of(hash, 1000), block, "{hash:#x}");
            assert_eq!(mask(hash).map(u32::trailing_zeros), bits, "{hash:#x}");
            assert!(mask(hash).iter().all(|word| word.is_power_of_two()));
        }
    }

    #[test]
    fn the_last_block_is_the_last_one() {
        for block_count in [1, 2, 3, 1000, u32::MAX] {
            assert_eq!(block_of(u64::MAX, block_count), block_count as usize - 1);
        }
    }

    #[track_caller]
    fn check_broken(id: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = build(&[hash(1), hash(2)], 600);
        change(&mut bytes);
        let error = Filter::parse(&bytes).unwrap_err();
        assert_eq!(error.rule().id, id, "{error}");
    }

    #[test]
    fn each_broken_rule_is_named() {
        check_broken("X1", |bytes| bytes[0] = b'X');
        check_broken("X1", |bytes| bytes.truncate(63));
        check_broken("X2", |bytes| bytes[4] = 2);
        check_broken("X3", |bytes| bytes[8] = 0);
        check_broken("X3", |bytes| bytes[8] = 4);
        check_broken("X3", |bytes| bytes[11] = 0xFF);
        check_broken("X3", |bytes| bytes.push(0));
        check_broken("X4", |bytes| bytes[12] = 1);
        check_broken("X4", |bytes| bytes[63] = 1);
    }

    #[test]
    fn every_truncation_is_an_error_and_denies_nothing() {
        let bytes = build(&[hash(1), hash(2)], 600);
        let block_count = Filter::parse(&bytes).unwrap().block_count();
        for len in 0..bytes.len() {
            assert!(Filter::parse(&bytes[..len]).is_err(), "cut to {len} bytes");
            let cut = Filter::with_block_count(&bytes[..len], block_count);
            assert!(cut.may_contain(hash(1)) && cut.may_contain(hash(2)));
        }
    }

    #[test]
    fn every_bit_flip_is_read_without_a_panic() {
        let bytes = build(&[hash(1), hash(2)], 600);
        for bit in (0..bytes.len() * 8).step_by(if cfg!(miri) { 31 } else { 1 }) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The count of keys is checked against the table, the bits by chunk checksums.
            let behind_the_check = (16..24).contains(&(bit / 8)) || bit / 8 >= HEADER_LEN;
            let parsed = Filter::parse(&flipped);
            assert_eq!(parsed.is_ok(), behind_the_check, "bit {bit}");
            if let Ok(filter) = parsed {
                (0..20).for_each(|number| _ = filter.may_contain(hash(number)));
            }
        }
    }
}
