//! The hash index of a memtable: from a key's hash to its newest row, in one line of the cache.
//!
//! An open hash table of a fixed length. A hash names the line where its entry belongs; if that
//! is full, the entry stands in one of the next few, and if those are full, too, the key has no
//! entry and the skip list must be searched.
//!
//! ```text
//!   line  │ entry │ entry │ entry │   0   │   0   │   0   │   0   │   0   │   64 bytes
//!
//!   entry │ low half of the hash, u32 │ place of the newest row, u32 │    0: none
//! ```
//!
//! # Invariants
//!
//! - One writer at a time; a read takes no lock.
//! - A key has at most one entry. An entry never goes away and never moves; it only changes from
//!   one row of its key to a newer one. So before a free entry stands all that a hash may mean.
//! - An entry is written after its row was linked, with release order.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::lines::{LINE_LEN, Lines};
use crate::storage::HUGE_LEN;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::zeros::AtomicU64;

/// What an entry takes.
pub(super) const ENTRY_LEN: usize = size_of::<AtomicU64>();
/// Entries in a line of the cache.
const LINE_ENTRY_COUNT: usize = LINE_LEN / ENTRY_LEN;
/// A key may have its entry in so many lines, one behind the other.
const PROBE_LINE_COUNT: usize = 4;
/// An entry that no key has taken.
const FREE: u64 = 0;

/// What the index knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    /// The newest row.
    Newest(T),
    /// It has no row.
    Absent,
    /// It may have rows: there was no room for all keys.
    Nothing,
}

/// The newest row of each key, by the key's hash.
#[derive(Debug)]
pub(super) struct HashIndex {
    lines: Lines,
}

impl HashIndex {
    /// An index in these lines, which are zero.
    pub(super) const fn new(lines: Lines) -> Self {
        Self { lines }
    }

    /// How many lines an index with about so many entries takes.
    pub(super) const fn line_count(entry_count: usize) -> usize {
        entry_count.div_ceil(LINE_ENTRY_COUNT)
    }

    /// Looks a key up: `row_of_key` gives the row at a place if it is one of the key's.
    #[inline]
    pub(super) fn find<T>(&self, hash: u64, row_of_key: impl Fn(u32) -> Option<T>) -> Known<T> {
        for entry in self.entries_for(hash) {
            let entry = entry.load(Acquire);
            if entry == FREE {
                return Known::Absent;
            }
            if is_for(entry, hash)
                && let Some(row) = row_of_key(place_of(entry))
            {
                return Known::Newest(row);
            }
        }
        Known::Nothing
    }

    /// Asks for the line of a hash, so that it is on its way while other work is done.
    #[inline]
    pub(super) fn touch(&self, hash: u64) {
        if let Some(entry) = self.entries_for(hash).first() {
            std::hint::black_box(entry.load(Relaxed));
        }
    }

    /// Whether there is room for any entry.
    pub(super) const fn has_room(&self) -> bool {
        self.lines.count() > 0
    }

    /// Takes memory for the entries of a huge page, which nobody knows yet; false if there are none.
    pub(super) fn take_page(&self, number: usize) -> bool {
        let first = number.saturating_mul(HUGE_LEN / ENTRY_LEN);
        // A load would be answered without memory, and of a change that changes nothing the
        // compiler leaves a load.
        let entry = self.lines.words(first, 1).first();
        entry.inspect(|entry| entry.store(FREE, Relaxed)).is_some()
    }

    /// Gives a key that had no row an entry; false if there is no room.
    pub(super) fn add(&self, hash: u64, place: u32) -> bool {
        self.change(hash, FREE, entry_of(hash, place))
    }

    /// Leads from a key to a newer row than the newest one that it had, if it has an entry.
    pub(super) fn replace(&self, hash: u64, old: u32, new: u32) {
        self.change(hash, entry_of(hash, old), entry_of(hash, new));
    }

    /// Puts `new` in the place of the first entry that is `old`.
    fn change(&self, hash: u64, old: u64, new: u64) -> bool {
        let entry = self.entries_for(hash).iter().find(|entry| entry.load(Relaxed) == old);
        entry.inspect(|entry| entry.store(new, Release)).is_some()
    }

    /// The places where a key may have its entry, in the order in which they are taken.
    #[inline]
    fn entries_for(&self, hash: u64) -> &[AtomicU64] {
        // The high bits choose the line, because an entry holds the low ones.
        let product = u128::from(hash) * self.lines.count() as u128;
        let line = usize::try_from(product >> u64::BITS).unwrap_or_default();
        self.lines.words(line * LINE_ENTRY_COUNT, PROBE_LINE_COUNT * LINE_ENTRY_COUNT)
    }
}

const fn entry_of(hash: u64, place: u32) -> u64 {
    (hash << u32::BITS) | place as u64
}

/// Whether an entry holds the low half of this hash.
#[inline]
const fn is_for(entry: u64, hash: u64) -> bool {
    (entry ^ (hash << u32::BITS)) >> u32::BITS == 0
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
const fn place_of(entry: u64) -> u32 {
    entry as u32
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::storage::Pages;

    /// Hashes that all belong in one line.
    fn in_one_line(low: u64) -> u64 {
        (7 << 60) | low
    }

    fn index(entry_count: usize) -> HashIndex {
        let [lines] = Lines::new([HashIndex::line_count(entry_count)], Pages::Small);
        HashIndex::new(lines)
    }

    fn only(wanted: u32) -> impl Fn(u32) -> Option<u32> {
        move |place| (place == wanted).then_some(place)
    }

    #[test]
    fn an_entry_leads_to_the_newest_row_of_its_key() {
        let index = index(256);
        assert_eq!(index.find(9, Some), Known::Absent);
        assert!(index.add(9, 1));
        assert_eq!(index.find(9, only(1)), Known::Newest(1));
        index.replace(9, 1, 2);
        assert_eq!(index.find(9, only(2)), Known::Newest(2));
        assert_eq!(index.find(9, only(1)), Known::Absent);
        assert_eq!(index.find(10, Some), Known::Absent, "another hash in the same line");
    }

    #[test]
    fn keys_with_equal_hashes_have_entries_of_their_own() {
        let index = index(256);
        assert!((1..=5).all(|number| index.add(u64::MAX >> 1, number)));
        for number in 1..=5 {
            assert_eq!(index.find(u64::MAX >> 1, only(number)), Known::Newest(number));
        }
        assert_eq!(index.find(u64::MAX >> 1, |_| None::<u32>), Known::Absent);
    }

    #[test]
    fn of_a_key_without_room_nothing_is_known() {
        let index = index(256);
        let room = u32::try_from(PROBE_LINE_COUNT * LINE_ENTRY_COUNT).unwrap();
        for number in 1..=room {
            assert!(index.add(in_one_line(u64::from(number)), number));
        }
        let hash = in_one_line(u64::from(room) + 1);
        assert!(!index.add(hash, room + 1));
        index.replace(hash, room + 1, room + 2);
        assert_eq!(index.find(hash, Some), Known::Nothing);
        assert_eq!(index.find(in_one_line(3), Some), Known::Newest(3), "the others stay");
    }

    #[test]
    fn every_hash_has_a_place_whatever_the_length() {
        for entry_count in [8, 9, 15, 256, 1_000, 100_000] {
            let index = index(entry_count);
            for hash in [0, 1, u64::MAX >> 1, u64::MAX] {
                let places = index.entries_for(hash).len();
                let most = PROBE_LINE_COUNT * LINE_ENTRY_COUNT;
                assert!((LINE_ENTRY_COUNT..=most).contains(&places), "{entry_count}, {hash:x}");
            }
        }
    }

    #[test]
    fn an_index_without_memory_knows_nothing() {
        let index = index(usize::MAX);
        assert!(!index.add(1, 1));
        assert_eq!(index.find(1, Some), Known::Nothing);
    }
}
