//! Background threads: they flush and compact, and sleep otherwise.
//!
//! # Invariants
//!
//! - An idle database uses no CPU: a thread waits until a memtable is frozen, a write asks for a
//!   retry, reads have paid for a merge, or the database closes. It waits for a time only while there
//!   is a merge to do as soon as writes rest, or while nobody knows whether the data fits into memory.
//! - Flushes come first: of two and more threads one never compacts.
//! - A thread never waits for a writer, as writers wait for threads.
//! - A thread that panics ends the database's writes, not the process: the failure is told by the
//!   next write.
//!
//! Spec: none. I/O: through flushes and compactions. Unsafe: none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use super::compaction::Claim;
use super::{Engine, lock};
use crate::error::{Error, Result};
use crate::sync::atomic::Ordering;
use crate::sync::thread;

/// Writes rest if none came for so long.
const REST: Duration = Duration::from_millis(500);
/// So often it is observed whether data that may fit into memory stays there.
const OBSERVE: Duration = Duration::from_secs(5);

/// What a thread does next.
enum Work<'e> {
    /// Freezes the active memtable if it is the one that lies there.
    Freeze(usize),
    Flush,
    Compact(Claim<'e>),
}

impl Engine {
    /// Starts the threads that the options ask for.
    pub(super) fn start_threads(self: &Arc<Self>) -> Result<()> {
        for _ in 0..self.options.background_threads {
            let engine = Arc::clone(self);
            let builder = thread::Builder::new().name("tinydb".into());
            #[expect(clippy::disallowed_methods, reason = "the engine's threads start here")]
            let started = builder.spawn(move || engine.work());
            match started {
                Ok(thread) => lock(&self.threads).push(thread),
                Err(error) => {
                    lock(&self.tree).closing = true;
                    self.changed.notify_all();
                    self.join_threads();
                    return Err(Error::io("start a thread for", self.storage.root(), error));
                }
            }
        }
        Ok(())
    }

    /// Waits for the threads to end; `closing` was told them.
    pub(super) fn join_threads(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic was caught and kept as the failure of its flush.
            let _ = thread.join();
        }
    }

    fn work(&self) {
        while let Some(work) = self.wait_for_work() {
            let is_flush = matches!(work, Work::Flush);
            let done = catch_unwind(AssertUnwindSafe(|| match work {
                Work::Freeze(address) => self.freeze_memtable_at(address),
                // Failures are kept in the tree.
                Work::Flush => drop(self.flush_oldest()),
                Work::Compact(claim) => drop(self.run_claim(&claim)),
            }));
            let mut tree = lock(&self.tree);
            tree.flush_is_claimed &= !is_flush;
            if done.is_err() {
                let error = Error::Poisoned { reason: "a background thread panicked".into() };
                self.poison(&error);
                tree.failure = Some(error);
                drop(tree);
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Sets the active memtable aside, if it is still the one that a reader asked for. A thread never
    /// waits for a writer here: that one may stand still until a thread has flushed.
    fn freeze_memtable_at(&self, address: usize) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.meter.leave_to_writer(address),
        };
        if Arc::as_ptr(&writer.memtable).addr() == address && self.check_open().is_ok() {
            // A failure poisons the database and is told by the next write.
            let _ = self.freeze(&mut writer);
        }
    }

    /// Sleeps until there is something to do; `None` if the database closes.
    fn wait_for_work(&self) -> Option<Work<'_>> {
        let mut tree = lock(&self.tree);
        let mut rested_at = None;
        loop {
            if tree.closing {
                return None;
            }
            let is_poisoned = self.poison.get().is_some();
            // After a failure the next try waits for somebody who asks for it.
            let may_flush = tree.failure.is_none() || tree.flush_may_retry;
            if !tree.frozen.is_empty() && may_flush && !is_poisoned && !tree.flush_is_claimed {
                tree.flush_is_claimed = true;
                tree.flush_may_retry = false;
                return Some(Work::Flush);
            }
            if let Some(address) = self.meter.take_fold_request().filter(|_| !is_poisoned) {
                return Some(Work::Freeze(address));
            }
            let visible = self.visible.load(Ordering::Acquire);
            let is_quiet = rested_at == Some(visible) && tree.frozen.is_empty();
            if !is_poisoned && let Some(claim) = self.claim_next(&mut tree, is_quiet) {
                return Some(Work::Compact(claim));
            }
            let may_rest = !is_poisoned && !is_quiet && tree.failure.is_none();
            if may_rest && self.waits_for_rest(&tree) {
                let (woken, timed_out) = self.wait_at_most(tree, REST);
                tree = woken;
                let now = self.visible.load(Ordering::Acquire);
                rested_at = (timed_out && now == visible).then_some(now);
            } else if self.observes_access() {
                drop(self.wait_at_most(tree, OBSERVE));
                self.review_access();
                tree = lock(&self.tree);
            } else {
                tree = self.wait_for_change(tree);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::options::Options;
    use crate::storage::SimDisk;

    /// The only thread waited for a writer that stood still until it had flushed.
    #[test]
    fn a_thread_that_is_asked_to_fold_does_not_wait_for_a_writer() {
        let options = Options::new().background_threads(0);
        let engine = Engine::open(Arc::new(SimDisk::new(1)), options).unwrap();
        let write = || {
            let mut batch = WriteBatch::new();
            engine.write(batch.put("key", "value"), None).unwrap();
        };
        write();
        let memtable = || engine.pin().unwrap().view.active.clone();
        let before = memtable();
        let writer = lock(&engine.writer);
        engine.freeze_memtable_at(Arc::as_ptr(&before).addr());
        drop(writer);
        assert!(Arc::ptr_eq(&before, &memtable()));
        write();
        assert!(!Arc::ptr_eq(&before, &memtable()), "the writer has set it aside");
        let next = memtable();
        write();
        assert!(Arc::ptr_eq(&next, &memtable()), "once");
    }
}
