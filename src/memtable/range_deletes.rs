//! The range tombstones of a memtable: a list beside the rows, which a delete replaces as a whole.
//!
//! # Invariants
//!
//! - A list that was taken never changes. Readers find it in their view, and take no lock for it.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::{Arc, PoisonError};

use super::Memtable;
use crate::format::range_tombstone::RangeTombstone;
use crate::range_tombstones::RangeTombstones;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

impl Memtable {
    /// Deletes the older rows of ranges of keys, here and elsewhere. These become visible together,
    /// and after all that is there.
    ///
    /// # Cost
    ///
    /// O(n log n) for n range tombstones, O(n) for a single new one: the list is made anew, as others
    /// may read the one before.
    pub(crate) fn delete_ranges(&self, tombstones: &[RangeTombstone<'_>]) {
        if tombstones.is_empty() {
            return;
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.range_tombstones().unwrap_or_default();
        let list = match tombstones {
            [only] => before.with(*only),
            many => before.with_all(&RangeTombstones::newest_of(many.iter().copied())),
        };
        let others = self.memory_len().saturating_sub(before.memory_len());
        self.memory_len.store(others + list.memory_len(), Relaxed);
        *self.lock_range_tombstones() = Some(Arc::new(list));
        self.deletes_ranges.store(true, Release);
    }

    /// Whether there are range tombstones.
    #[inline]
    pub(crate) fn deletes_ranges(&self) -> bool {
        self.deletes_ranges.load(Acquire)
    }

    /// The range tombstones; `None` if there are none.
    pub(crate) fn range_tombstones(&self) -> Option<Arc<RangeTombstones>> {
        if self.deletes_ranges() { self.lock_range_tombstones().clone() } else { None }
    }

    fn lock_range_tombstones(&self) -> MutexGuard<'_, Option<Arc<RangeTombstones>>> {
        self.range_tombstones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest seqno of any row or range tombstone; 0 if there are none.
    pub(crate) fn last_seqno(&self) -> u64 {
        let list = self.range_tombstones();
        self.max_seqno().max(list.map_or(0, |list| list.max_seqno()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_taken_stays_as_it_is() {
        let memtable = Memtable::new();
        assert!(memtable.is_empty() && memtable.range_tombstones().is_none());
        let delete = |start: &str, end: Option<&str>, seqno| {
            let end = end.map(str::as_bytes);
            memtable.delete_ranges(&[RangeTombstone { start: start.as_bytes(), end, seqno }]);
        };
        delete("b", Some("d"), 5);
        let (before, memory_len) = (memtable.range_tombstones().unwrap(), memtable.memory_len());
        delete("c", None, 9);
        assert!(!memtable.is_empty() && memtable.deletes_ranges());
        assert!(memtable.memory_len() > memory_len && memory_len > 0);
        let list = memtable.range_tombstones().unwrap();
        let newest = |key: &str, snapshot| list.newest_over(key.as_bytes(), snapshot);
        assert_eq!(["a", "b", "c", "d"].map(|key| newest(key, 9)), [0, 5, 9, 9]);
        assert_eq!(["a", "b", "c", "d"].map(|key| newest(key, 8)), [0, 5, 5, 0]);
        assert_eq!(before.newest_over(b"d", 9), 0);
        assert_eq!((memtable.last_seqno(), memtable.max_seqno(), memtable.len()), (9, 0, 0));
    }
}
