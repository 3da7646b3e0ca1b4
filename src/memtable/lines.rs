//! Words in whole lines of the cache, zero until they are written.
//!
//! # Invariants
//!
//! - They cost no memory until they are touched: the system zeroes a page when it is first used.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::atomic::AtomicU64;

use zerocopy::FromZeros;

/// Bytes of a line of the cache.
pub(super) const LINE_LEN: usize = 64;
/// Words in a line.
const WORD_COUNT: usize = LINE_LEN / size_of::<AtomicU64>();

/// Lines of words; none if there is no memory for them.
#[derive(Debug)]
pub(super) struct Lines {
    words: Box<[AtomicU64]>,
    /// Where the first whole line begins.
    start: usize,
    count: usize,
}

impl Lines {
    /// So many lines, or none if there is no memory for them.
    pub(super) fn new(count: usize) -> Self {
        // An allocator that has to align the words would zero them itself, and so take the
        // memory at once. So there is a line to spare instead.
        let len = count.saturating_add(1).saturating_mul(WORD_COUNT);
        let words = <[AtomicU64]>::new_box_zeroed_with_elems(len).unwrap_or_default();
        let start = words.as_ptr().align_offset(LINE_LEN);
        let count = words.len().saturating_sub(start) / WORD_COUNT;
        Self { words, start, count }
    }

    /// How many lines there are.
    #[inline]
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// `len` words from the word `at` on; fewer if there are not so many.
    #[inline]
    pub(super) fn words(&self, at: usize, len: usize) -> &[AtomicU64] {
        let behind = self.words.get(self.start.saturating_add(at)..).unwrap_or_default();
        behind.get(..len).unwrap_or(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_whole_and_zero() {
        for count in [0, 1, 2, 100, 5_000] {
            let lines = Lines::new(count);
            assert!((count..=count + 1).contains(&lines.count()));
            for line in 0..lines.count() {
                let words = lines.words(line * WORD_COUNT, WORD_COUNT);
                assert_eq!(words.len(), WORD_COUNT, "line {line} of {count}");
                assert!(std::ptr::from_ref(&words[0]).addr().is_multiple_of(LINE_LEN));
                assert!(
                    words.iter().all(|word| word.load(std::sync::atomic::Ordering::Relaxed) == 0)
                );
            }
        }
    }

    #[test]
    fn without_memory_there_are_no_lines() {
        let lines = Lines::new(usize::MAX);
        assert_eq!(lines.count(), 0);
        assert!(lines.words(0, 8).is_empty());
    }
}
