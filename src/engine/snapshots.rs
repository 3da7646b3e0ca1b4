//! The list of live snapshots, for the compaction filter.
//!
//! Nothing else needs it, as a snapshot keeps the view that it reads. But the filter must not be
//! asked about a row that a live snapshot can see, so a database that has a filter keeps this list.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lock;
use crate::sync::Mutex;

/// How many live snapshots there are at each seqno.
#[derive(Debug, Default)]
pub(super) struct SnapshotList {
    counts: Mutex<BTreeMap<u64, usize>>,
}

impl SnapshotList {
    /// Notes a snapshot at a seqno for as long as the result lives.
    pub(super) fn enter(self: &Arc<Self>, seqno: u64) -> Listed {
        *lock(&self.counts).entry(seqno).or_default() += 1;
        Listed { list: Arc::clone(self), seqno }
    }

    /// Whether a live snapshot can see a row with this seqno, if that is the newest of its key.
    pub(super) fn can_see(&self, seqno: u64) -> bool {
        lock(&self.counts).last_key_value().is_some_and(|(newest, _)| seqno <= *newest)
    }
}

/// One live snapshot on the list.
#[derive(Debug)]
pub(crate) struct Listed {
    list: Arc<SnapshotList>,
    seqno: u64,
}

impl Clone for Listed {
    fn clone(&self) -> Self {
        self.list.enter(self.seqno)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut counts = lock(&self.list.counts);
        if let Some(count) = counts.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.seqno);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_seen_by_the_newest_snapshot_that_lives() {
        let list = Arc::new(SnapshotList::default());
        assert!(!list.can_see(0));
        let old = list.enter(5);
        let new = list.enter(9);
        let copy = new.clone();
        assert!(list.can_see(9) && !list.can_see(10));
        drop(new);
        assert!(list.can_see(9), "its copy lives");
        drop(copy);
        assert!(list.can_see(5) && !list.can_see(6));
        drop(old);
        assert!(!list.can_see(0) && lock(&list.counts).is_empty());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use ::loom::thread;

    use super::*;
    use crate::sync::explore;

    #[test]
    fn loom_a_snapshot_that_lives_is_on_the_list() {
        explore(9, || {
            let list = Arc::new(SnapshotList::default());
            let other = thread::spawn({
                let list = Arc::clone(&list);
                move || {
                    let listed = list.enter(5);
                    let copy = listed.clone();
                    drop(listed);
                    assert!(list.can_see(5));
                    drop(copy);
                }
            });
            let listed = list.enter(5);
            assert!(list.can_see(5) && !list.can_see(6));
            drop(listed);
            other.join().unwrap();
            assert!(lock(&list.counts).is_empty());
        });
    }
}
