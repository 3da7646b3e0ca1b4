//! Words in whole lines of the cache, zero until they are written.
//!
//! # Invariants
//!
//! - They cost no memory until they are touched: the system zeroes a page when it is first used.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

pub(super) use crate::storage::LINE_LEN;
use crate::storage::{Pages, Zeroed};
use crate::sync::zeros::AtomicU64;

/// Words in a line.
const WORD_COUNT: usize = LINE_LEN / size_of::<AtomicU64>();

/// Lines of words; none if there is no memory for them.
#[derive(Debug)]
pub(super) struct Lines {
    memory: Option<Arc<Zeroed<AtomicU64>>>,
    /// The first word.
    start: usize,
    count: usize,
}

impl Lines {
    /// Several times so many lines, side by side in one memory; none at all if it is not to be had.
    pub(super) fn new<const N: usize>(counts: [usize; N], pages: Pages) -> [Self; N] {
        let word_count = |count: usize| count.saturating_mul(WORD_COUNT);
        let sum = counts.iter().fold(0_usize, |sum, count| sum.saturating_add(word_count(*count)));
        let memory = Zeroed::new(sum, pages).map(Arc::new);
        let mut start = 0;
        counts.map(|count| {
            let count = if memory.is_some() { count } else { 0 };
            let lines = Self { memory: memory.clone(), start, count };
            start += word_count(count);
            lines
        })
    }

    /// How many lines there are.
    #[inline]
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// `len` words from the word `at` on; fewer if there are not so many.
    #[inline]
    pub(super) fn words(&self, at: usize, len: usize) -> &[AtomicU64] {
        let all = self.memory.as_ref().map_or(&[][..], |memory| memory);
        let all = all.get(..self.start + self.count * WORD_COUNT).unwrap_or_default();
        let behind = all.get(self.start.saturating_add(at)..).unwrap_or_default();
        behind.get(..len).unwrap_or(behind)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn lines_are_aligned_whole_and_zero_and_their_own() {
        for counts in [[0, 0], [1, 0], [2, 1], [100, 7], [0, 5_000], [40_000, 3]] {
            let both = Lines::new(counts, Pages::Huge);
            assert_eq!(both.each_ref().map(Lines::count), counts);
            for lines in &both {
                for line in 0..lines.count() {
                    let words = lines.words(line * WORD_COUNT, WORD_COUNT);
                    assert_eq!(words.len(), WORD_COUNT, "line {line} of {counts:?}");
                    assert!(std::ptr::from_ref(&words[0]).addr().is_multiple_of(LINE_LEN));
                    assert!(words.iter().all(|word| word.swap(1, Relaxed) == 0));
                }
                let end = lines.count() * WORD_COUNT;
                for (at, len, want) in [(0, end, end), (0, end + 1, end), (end, 1, 0)] {
                    assert_eq!(lines.words(at, len).len(), want, "{counts:?}");
                }
                assert!(lines.words(usize::MAX, 8).is_empty());
            }
        }
    }

    #[test]
    fn without_memory_there_are_no_lines() {
        for counts in [[usize::MAX, 1], [1, usize::MAX / 64]] {
            for lines in Lines::new(counts, Pages::Small) {
                assert_eq!(lines.count(), 0);
                assert!(lines.words(0, 8).is_empty());
            }
        }
    }
}
