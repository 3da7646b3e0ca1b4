//! The calls that compact: `compact`, `compact_range` and `wait_idle`, in the caller's thread.
//!
//! # Invariants
//!
//! - While a call merges all it wants, no other job runs.
//! - A call ends, however much is written meanwhile, but for `wait_idle`: that waits for rest.
//!
//! Spec: none. I/O: through jobs. Unsafe: none.

use super::deleted;
use super::picker::{self, Plan, Shape};
use crate::engine::version::TableHandle;
use crate::engine::{Engine, lock};
use crate::error::{Error, Result};
use crate::format::manifest::TableRecord;
use crate::hooks::now_secs;
use crate::range::KeyRange;
use crate::sync::atomic::Ordering;

/// No other job starts while this lives.
struct Exclusive<'e>(&'e Engine);

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        lock(&self.0.tree).compactions.is_exclusive = false;
        self.0.changed.notify_all();
    }
}

/// A caller waits for rest.
struct IdleWaiter<'e>(&'e Engine);

impl Drop for IdleWaiter<'_> {
    fn drop(&mut self) {
        lock(&self.0.tree).compactions.idle_waiters -= 1;
    }
}

impl Engine {
    /// Merges everything into one sorted run that holds nothing droppable, on return.
    ///
    /// # Errors
    ///
    /// As a flush; [`Error::Corrupt`] if a table can't be read: then all tables stay.
    pub(crate) fn compact(&self) -> Result<()> {
        self.flush_memtables()?;
        let _exclusive = self.be_alone()?;
        self.drop_covered()?;
        let plan = {
            let view = self.view.load();
            let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
            let plan = picker::pick_all(&shape, &self.policy());
            plan.map_or_else(|| self.rewrite_of_one_run(), |plan| Ok(Some(plan)))?
        };
        self.run_alone(plan)
    }

    /// Pushes all tables that may hold keys of a range down to the last level, on return.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub(crate) fn compact_range(&self, range: &impl KeyRange) -> Result<()> {
        self.flush_memtables()?;
        let _exclusive = self.be_alone()?;
        self.drop_covered()?;
        // What is flushed from now on is not part of it: else it might never end. Nothing that comes
        // to level 0 later is older than what is there, whatever the numbers of the files are.
        let newest = self.visible.load(Ordering::Acquire);
        let is_old = |table: &&TableRecord| table.level > 0 || table.max_seqno <= newest;
        loop {
            let plan = {
                let view = self.view.load();
                let tables = view.version.tables().iter().map(|table| &table.record);
                let shape = Shape::of(tables.filter(is_old));
                picker::pick_range(&shape, &self.policy(), range.start(), range.end())
            };
            if plan.is_none() {
                self.forget_failure();
                return Ok(());
            }
            self.run_alone(plan)?;
        }
    }

    /// Waits until no flush and no merge is due; does what is due.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub(crate) fn wait_idle(&self) -> Result<()> {
        lock(&self.tree).compactions.idle_waiters += 1;
        let _waiter = IdleWaiter(self);
        loop {
            self.check_open()?;
            self.check_poison()?;
            self.flush_frozen()?;
            let mut tree = lock(&self.tree);
            let claim = if tree.compactions.is_exclusive {
                None
            } else {
                self.pick(&tree, true, self.meter.credit())
                    .and_then(|plan| self.claim(&mut tree, plan))
            };
            match claim {
                Some(claim) => {
                    drop(tree);
                    self.run_claim(&claim)?;
                }
                None if !tree.compactions.is_running() && !tree.compactions.is_exclusive => {
                    drop(tree);
                    return self.tell_compaction_failure();
                }
                None => drop(self.wait_for_change(tree)),
            }
        }
    }

    /// Does the merge that is due while writes go on; whether there was one.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub(crate) fn merge_once(&self) -> Result<bool> {
        self.check_open()?;
        self.check_poison()?;
        let mut tree = lock(&self.tree);
        if tree.compactions.is_exclusive {
            return Ok(false);
        }
        let plan = self.pick(&tree, false, self.meter.credit());
        let claim = plan.and_then(|plan| self.claim(&mut tree, plan));
        drop(tree);
        claim.map_or(Ok(false), |claim| self.run_claim(&claim).map(|()| true))
    }

    /// Waits until no other job runs, and lets none start.
    fn be_alone(&self) -> Result<Exclusive<'_>> {
        let mut tree = lock(&self.tree);
        while tree.compactions.is_exclusive && !tree.closing {
            tree = self.wait_for_change(tree);
        }
        // Whoever is alone may go on for a while, until the close has got to it.
        if tree.closing {
            return Err(Error::Closed);
        }
        tree.compactions.is_exclusive = true;
        while tree.compactions.is_running() {
            tree = self.wait_for_change(tree);
        }
        drop(tree);
        let exclusive = Exclusive(self);
        self.check_open()?;
        self.check_poison()?;
        Ok(exclusive)
    }

    /// Takes out the tables whose rows were all deleted with their range: the merge need not read
    /// them, and damage in them is no matter any more.
    fn drop_covered(&self) -> Result<()> {
        let plan = deleted::pick_whole(&self.view.load().version, &[]);
        plan.map_or(Ok(()), |plan| self.run_alone(Some(plan)))
    }

    /// There is nothing left to do, so nothing is left that fails.
    fn forget_failure(&self) {
        lock(&self.tree).compactions.failure = None;
    }

    fn run_alone(&self, plan: Option<Plan>) -> Result<()> {
        if plan.is_none() {
            self.forget_failure();
        }
        let claim = {
            let mut tree = lock(&self.tree);
            plan.and_then(|plan| self.claim(&mut tree, plan))
        };
        claim.map_or(Ok(()), |claim| self.run_claim(&claim))
    }

    /// The plan that rewrites a single run, if it may hold something droppable.
    fn rewrite_of_one_run(&self) -> Result<Option<Plan>> {
        let view = self.view.load();
        let tables = view.version.tables();
        let Some(last) = tables.last() else { return Ok(None) };
        let now = now_secs(&*self.options.clock);
        let mut is_clean = self.options.compaction_filter.is_none();
        for handle in tables {
            // What a merge into the last level leaves has no seqnos.
            let has_expired = |earliest: u64| earliest != 0 && earliest <= now;
            is_clean &= handle.record.range_tombstone_count == 0
                && handle.record.max_seqno == 0
                && !has_expired(earliest_expiry(handle)?);
        }
        let level = match last.record.level {
            0 => self.policy().bottom(),
            level => level,
        };
        let inputs = tables.iter().map(|table| table.record.file_number).collect();
        Ok((!is_clean).then(|| Plan::rewrite(inputs, level)))
    }
}

/// When the first row of a table expires, in seconds since 1970; 0 if none does.
fn earliest_expiry(handle: &TableHandle) -> Result<u64> {
    handle.table()?.with_properties(|properties| properties.header.min_expiry.get())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::options::Options;
    use crate::storage::SimDisk;

    /// Two that were alone at once gave a manifest that no open could read.
    #[test]
    fn while_one_is_alone_a_close_lets_nobody_else_be() {
        let options = Options::new().background_threads(0);
        let engine = Engine::open(Arc::new(SimDisk::new(1)), options).unwrap();
        let alone = engine.be_alone().unwrap();
        lock(&engine.tree).closing = true;
        assert!(matches!(engine.compact(), Err(Error::Closed)));
        assert!(lock(&engine.tree).compactions.is_exclusive, "the first one still is");
        drop(alone);
        assert!(!lock(&engine.tree).compactions.is_exclusive);
    }
}
