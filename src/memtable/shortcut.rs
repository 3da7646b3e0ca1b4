//! The short way to a row: filter and hash index, as large as the memtable.
//!
//! Both have a fixed length. What a large memtable needs would be too much for a small one, so there
//! is a small shortcut at first, and once the memtable is large another one is made from the list.
//!
//! # Invariants
//!
//! - A shortcut that readers have knows all rows that were there when it was made; of those that are
//!   inserted later only the newest shortcut knows. It is there before these become visible: so
//!   whoever reads at a seqno, and asks for the shortcut only then, has one that knows all rows up to
//!   that seqno.
//! - Filter and index stand in one memory.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::hash_index::{ENTRY_LEN, HashIndex};
use super::key_filter::KeyFilter;
use super::lines::Lines;
use crate::storage::Pages;
use crate::sync::OnceLock;

/// The hash index has an entry for so many bytes of a full memtable. No row counts less than 96
/// bytes, and one with a value of 100 bytes takes about 230: so it is a third full with such
/// rows, and has room for nearly all of the shortest ones.
const BYTES_PER_ENTRY: usize = 80;
/// The filter has a byte for so many bytes of a full memtable: 14 bits for a row of 230 bytes.
const BYTES_PER_FILTER_BYTE: usize = 128;
/// An index is not smaller than this.
const MIN_ENTRY_COUNT: usize = if cfg!(loom) { 8 } else { 256 };
/// A memtable of so many bytes is large, if it is meant to become much larger.
const LARGE_LEN: usize = 2 << 20;
/// So many bytes come between two steps towards its large shortcut: more than a batch, most often.
const STEP_LEN: usize = 64 << 10;
/// Memtables that are meant to become so long are made of huge pages where they are large: then the
/// last page of each part, which may be nearly empty, is little.
const MIN_HUGE_SIZE: usize = 16 << 20;

/// A filter and an index over the same rows.
#[derive(Debug)]
pub(super) struct Shortcut {
    pub(super) filter: KeyFilter,
    pub(super) index: HashIndex,
}

impl Shortcut {
    fn new(memtable_size: usize, pages: Pages) -> Self {
        let filter_len = KeyFilter::line_count(memtable_size / BYTES_PER_FILTER_BYTE);
        let entry_count = (memtable_size / BYTES_PER_ENTRY).max(MIN_ENTRY_COUNT);
        let [filter, index] = Lines::new([filter_len, HashIndex::line_count(entry_count)], pages);
        Self { filter: KeyFilter::new(filter), index: HashIndex::new(index) }
    }
}

/// The shortcut of a memtable, whatever its size.
#[derive(Debug)]
pub(super) struct Shortcuts {
    small: Shortcut,
    large: OnceLock<Shortcut>,
}

impl Shortcuts {
    /// For a memtable that is meant to become so long.
    pub(super) fn new(memtable_size: usize) -> Self {
        let grows = pages_for(memtable_size) == Pages::Huge;
        let small_size = if grows { LARGE_LEN } else { memtable_size };
        let small = Shortcut::new(small_size, Pages::Small);
        Self { small, large: OnceLock::new() }
    }

    /// The newest one.
    #[inline]
    pub(super) fn get(&self) -> &Shortcut {
        self.large.get().unwrap_or(&self.small)
    }

    /// Whether the newest one is as large as the memtable will be.
    #[cfg(test)]
    pub(super) fn is_large(&self) -> bool {
        self.large.get().is_some()
    }

    /// Puts a larger shortcut in the place of the small one. It has to know of each key the hash and
    /// the place of the newest row.
    #[cold]
    pub(super) fn grow(&self, large: Shortcut, keys: impl Iterator<Item = (u64, u32)>) {
        for (hash, place) in keys {
            large.filter.add(hash);
            // Without room for it, the list is searched.
            let _ = large.index.add(hash, place);
        }
        // There is one writer: nobody else has made one.
        let _ = self.large.set(large);
    }
}

/// The large shortcut while it is got ready: a huge page at a time, as it may take the system
/// milliseconds to find one.
#[derive(Debug)]
pub(super) struct Growth {
    memtable_size: usize,
    next: Option<Shortcut>,
    page_count: usize,
    /// At which length of the memtable there is something to do.
    due: usize,
}

impl Growth {
    /// For a memtable that is meant to become so long.
    pub(super) fn new(memtable_size: usize) -> Self {
        let grows = pages_for(memtable_size) == Pages::Huge;
        let due = if grows { LARGE_LEN } else { usize::MAX };
        Self { memtable_size, next: None, page_count: 0, due }
    }

    /// Does what is due when the memtable is so long; gives the shortcut when it is ready.
    #[inline]
    pub(super) fn go_on(&mut self, memory_len: usize) -> Option<Shortcut> {
        if memory_len < self.due { None } else { self.next_step(memory_len) }
    }

    #[cold]
    fn next_step(&mut self, memory_len: usize) -> Option<Shortcut> {
        let size = self.memtable_size;
        let next = self.next.get_or_insert_with(|| Shortcut::new(size, Pages::Huge));
        if next.index.take_page(self.page_count) {
            self.page_count += 1;
            self.due = memory_len.saturating_add(STEP_LEN);
            return None;
        }
        self.due = usize::MAX;
        // Without memory for it the small one has to do.
        self.next.take().filter(|next| next.index.has_room())
    }
}

/// Which pages the large parts of a memtable are made of that is meant to become so long.
pub(super) const fn pages_for(memtable_size: usize) -> Pages {
    if memtable_size < MIN_HUGE_SIZE { Pages::Small } else { Pages::Huge }
}

/// The length of rows with their part of the shortcut, as a full memtable needs of it.
pub(super) const fn with_shortcut(len: usize) -> usize {
    len + len / (BYTES_PER_ENTRY / ENTRY_LEN) + len / BYTES_PER_FILTER_BYTE
}
