//! The filter of a memtable: says of most absent keys that they are absent, out of the nearest
//! cache.
//!
//! The hash index knows as much, but it is thirteen times as large: each look into it waits for
//! memory. This is the split-block Bloom filter that tables have, of a fixed length.
//!
//! # Invariants
//!
//! - One writer at a time; a read takes no lock.
//! - A key's bits are set before its first row is linked, and are never cleared.
//!
//! Source: as for `format::filter`. Spec: none. I/O: none. Unsafe: none.

use super::lines::{LINE_LEN, Lines};
use crate::format::filter::{BLOCK_LEN, block_of, mask};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::zeros::AtomicU64;

/// Words of a filter block: each holds two of the format's.
const BLOCK_WORD_COUNT: usize = BLOCK_LEN / size_of::<AtomicU64>();
/// Filter blocks in a line of the cache.
const LINE_BLOCK_COUNT: usize = LINE_LEN / BLOCK_LEN;

/// A filter over the keys of a memtable.
#[derive(Debug)]
pub(super) struct KeyFilter {
    lines: Lines,
    block_count: u32,
}

impl KeyFilter {
    /// A filter in these lines, which are zero.
    pub(super) fn new(lines: Lines) -> Self {
        let block_count = u32::try_from(lines.count() * LINE_BLOCK_COUNT).unwrap_or(u32::MAX);
        Self { lines, block_count }
    }

    /// How many lines a filter of about so many bytes takes.
    pub(super) fn line_count(len: usize) -> usize {
        (len / LINE_LEN).max(1)
    }

    /// Notes a key.
    pub(super) fn add(&self, hash: u64) {
        for (word, bits) in self.block(hash).iter().zip(wide_mask(hash)) {
            word.store(word.load(Relaxed) | bits, Relaxed);
        }
    }

    /// Whether a key with this hash may have been noted; `false` is certain.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let words = self.block(hash).iter().zip(wide_mask(hash));
        words.fold(0, |missing, (word, bits)| missing | (bits & !word.load(Relaxed))) == 0
    }

    #[inline]
    fn block(&self, hash: u64) -> &[AtomicU64] {
        let block = block_of(hash, self.block_count);
        self.lines.words(block * BLOCK_WORD_COUNT, BLOCK_WORD_COUNT)
    }
}

/// The bits of a key, two words of the format in each.
#[inline]
fn wide_mask(hash: u64) -> [u64; BLOCK_WORD_COUNT] {
    let bits = mask(hash);
    std::array::from_fn(|word| {
        let bits_of = |half: usize| bits.get(2 * word + half).copied().map_or(0, u64::from);
        bits_of(0) | (bits_of(1) << u32::BITS)
    })
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::format::checksum::hash_key;
    use crate::storage::Pages;

    fn filter(len: usize) -> KeyFilter {
        let [lines] = Lines::new([KeyFilter::line_count(len)], Pages::Small);
        KeyFilter::new(lines)
    }

    fn hash(number: u32) -> u64 {
        hash_key(&number.to_le_bytes(), 3)
    }

    #[test]
    fn no_key_is_lost_and_most_others_are_denied() {
        for len in [0, 64, 100, 4096, 16 << 10] {
            let filter = filter(len);
            assert!(!filter.may_contain(hash(0)), "an empty filter denies all");
            (0..1_000).for_each(|number| filter.add(hash(number)));
            assert!((0..1_000).all(|number| filter.may_contain(hash(number))), "{len} bytes");
            let wrong = (1_000..11_000).filter(|number| filter.may_contain(hash(*number))).count();
            // 16 KiB are 131 bits a key; 4096 bytes are 33; the small ones are full.
            assert!(len < 4096 || wrong < 10, "{len} bytes: {wrong} of 10,000");
        }
    }

    #[test]
    fn a_filter_without_memory_denies_nothing() {
        let filter = filter(usize::MAX);
        assert!(filter.may_contain(hash(1)));
        filter.add(hash(1));
        assert!(filter.may_contain(hash(1)));
    }
}
