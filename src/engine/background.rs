//! Background threads: they flush frozen memtables, and sleep otherwise.
//!
//! # Invariants
//!
//! - An idle database uses no CPU: a thread waits until a memtable is frozen, a write asks for a
//!   retry, or the database closes.
//! - A thread that panics ends the database's writes, not the process: the failure is told by the
//!   next write.
//!
//! Spec: none. I/O: through a flush. Unsafe: none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use super::{Engine, lock};
use crate::error::{Error, Result};

impl Engine {
    /// Starts the threads that the options ask for. Flushes follow each other, so today more than
    /// one thread would find nothing to do.
    pub(super) fn start_threads(self: &Arc<Self>) -> Result<()> {
        if self.options.background_threads == 0 {
            return Ok(());
        }
        let engine = Arc::clone(self);
        let builder = thread::Builder::new().name("tinydb-flush".into());
        #[expect(clippy::disallowed_methods, reason = "the engine's threads start here")]
        let started = builder.spawn(move || engine.work());
        let thread =
            started.map_err(|error| Error::io("start a thread for", self.storage.root(), error))?;
        lock(&self.threads).push(thread);
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
        while self.wait_for_work() {
            let flushed = catch_unwind(AssertUnwindSafe(|| self.flush_oldest()));
            if flushed.is_err() {
                let error = Error::Poisoned { reason: "the flushing thread panicked".into() };
                self.poison(&error);
                lock(&self.tree).failure = Some(error);
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Sleeps until there is a memtable to flush; false if the database closes.
    fn wait_for_work(&self) -> bool {
        let mut tree = lock(&self.tree);
        // After a failure the next try waits for somebody who asks for it.
        let mut may_retry = tree.failure.is_none();
        loop {
            if tree.closing {
                return false;
            }
            if !tree.frozen.is_empty() && may_retry && self.poison.get().is_none() {
                return true;
            }
            tree = match self.changed.wait(tree) {
                Ok(tree) => tree,
                Err(poisoned) => poisoned.into_inner(),
            };
            may_retry = true;
        }
    }
}
