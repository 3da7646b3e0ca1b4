//! Scheduling: which job runs when, and who is told how it ended.
//!
//! ```text
//!   pick ─▶ claim: its tables are taken ─▶ run, without any lock ─▶ release, wake those who wait
//! ```
//!
//! A background thread picks while there is something to do; `compact`, `compact_range` and
//! `wait_idle` do jobs in the caller's thread, and without background threads nobody else does.
//!
//! # Invariants
//!
//! - The inputs of running jobs are disjoint, and so are outputs in one level: the picker sees the
//!   running ones, under the lock of `tree`.
//! - A claim ends when it is dropped, also by a panic.
//! - A failed job is tried again only when somebody asks: the next flush, write, `compact` or
//!   `wait_idle`. Until a retry succeeds, they return its error; a write once.
//!
//! Spec: none. I/O: through jobs. Unsafe: none.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::inspect::{JobStats, RunningJob};
use super::super::{Engine, Tree, lock};
use super::job::{Counts, Job};
use super::picker::{self, Plan, Policy, Running, Shape, Situation};
use crate::error::{Error, Result};
use crate::range::KeyRange;

/// How many finished jobs are remembered.
const REMEMBERED_JOBS: usize = 16;

/// What is known of compactions; part of the tree.
#[derive(Debug, Default)]
pub(in crate::engine) struct Compactions {
    running: Vec<(u64, Running, Arc<Job>)>,
    next_id: u64,
    /// A `compact` wants all tables: no other job starts.
    is_exclusive: bool,
    /// Callers of `wait_idle`, for whom every merge is due that would wait for a rest.
    pub(in crate::engine) idle_waiters: usize,
    /// Why the last job failed; gone when one succeeds.
    failure: Option<Error>,
    failure_was_told: bool,
    may_retry: bool,
    pub(in crate::engine) finished: VecDeque<JobStats>,
}

/// A job whose tables are taken; they are free again when it is dropped.
pub(in crate::engine) struct Claim<'e> {
    engine: &'e Engine,
    id: u64,
    job: Arc<Job>,
}

impl Compactions {
    /// Whether the last job failed: then level 0 may stay as it is for long.
    pub(in crate::engine) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether a `compact` holds back the jobs that would make level 0 smaller.
    pub(in crate::engine) fn are_held_back(&self) -> bool {
        self.is_exclusive
    }

    /// Whether a job runs.
    pub(in crate::engine) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.engine.tree).compactions.running.retain(|(id, ..)| *id != self.id);
        self.engine.changed.notify_all();
    }
}

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
    fn policy(&self) -> Policy {
        Policy {
            style: self.options.compaction,
            memtable_size: self.options.memtable_size as u64,
            table_size: self.options.table_size,
        }
    }

    /// What the picker says of this moment.
    fn pick(&self, tree: &Tree, is_quiet: bool, read_credit: u64) -> Option<Plan> {
        let view = self.view.load();
        let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
        let running: Vec<_> =
            tree.compactions.running.iter().map(|(_, running, _)| running.clone()).collect();
        let situation = Situation { running: &running, is_quiet, read_credit };
        picker::pick(&shape, &self.policy(), &situation)
    }

    /// Takes the tables of the next job that a background thread should do. `is_quiet` tells
    /// whether writes rest.
    pub(in crate::engine) fn claim_next(
        &self,
        tree: &mut Tree,
        is_quiet: bool,
    ) -> Option<Claim<'_>> {
        let compactions = &tree.compactions;
        let max_jobs = self.options.background_threads.saturating_sub(1).max(1);
        let must_wait = compactions.is_exclusive
            || compactions.running.len() >= max_jobs
            || (compactions.failure.is_some() && !compactions.may_retry);
        if must_wait {
            return None;
        }
        let is_quiet = is_quiet || compactions.idle_waiters > 0;
        let plan = self.pick(tree, is_quiet, self.meter.credit())?;
        tree.compactions.may_retry = false;
        self.claim(tree, plan)
    }

    /// Whether there is something to do as soon as writes rest; also says for how much read credit
    /// the next merge waits.
    pub(in crate::engine) fn waits_for_rest(&self, tree: &Tree) -> bool {
        if tree.compactions.failure.is_some() || !tree.compactions.running.is_empty() {
            return false;
        }
        let is_due = self.pick(tree, true, self.meter.credit()).is_some();
        let unpaid = if is_due { None } else { self.pick(tree, true, u64::MAX) };
        self.meter.want(unpaid.map(|plan| self.input_len(&plan)));
        is_due
    }

    fn input_len(&self, plan: &Plan) -> u64 {
        let view = self.view.load();
        let tables = view.version.tables().iter().map(|table| &table.record);
        tables.filter(|t| plan.inputs.contains(&t.file_number)).map(|t| t.file_len).sum()
    }

    fn claim(&self, tree: &mut Tree, plan: Plan) -> Option<Claim<'_>> {
        let job = Arc::new(Job::of(plan, &self.view.load().version)?);
        let smallest = job.inputs.iter().map(|table| &table.record.smallest).min()?.clone();
        let largest = job.inputs.iter().map(|table| &table.record.largest).max()?.clone();
        let (inputs, output_level) = (job.plan.inputs.clone(), job.plan.output_level);
        let id = tree.compactions.next_id;
        tree.compactions.next_id += 1;
        let running = Running { inputs, output_level, smallest, largest };
        tree.compactions.running.push((id, running, Arc::clone(&job)));
        Some(Claim { engine: self, id, job })
    }

    /// Does a job, without any lock, and keeps how it ended.
    pub(in crate::engine) fn run_claim(&self, claim: &Claim<'_>) -> Result<()> {
        let job = &claim.job;
        #[expect(clippy::disallowed_types, reason = "how long jobs take is measured here")]
        let start = std::time::Instant::now();
        let done = self.run_job(job);
        let duration = start.elapsed();
        let mut tree = lock(&self.tree);
        let compactions = &mut tree.compactions;
        match done {
            Ok(counts) => {
                compactions.failure = None;
                self.meter.spend(job.input_len());
                compactions.finished.push_back(job_stats(job, &counts, duration));
                if compactions.finished.len() > REMEMBERED_JOBS {
                    compactions.finished.pop_front();
                }
                Ok(())
            }
            // A close ends jobs; that is no failure.
            Err(Error::Closed) => Err(Error::Closed),
            Err(error) => {
                compactions.failure = Some(error.clone());
                compactions.failure_was_told = false;
                Err(error)
            }
        }
    }

    /// What a failed job has to say to a caller other than a write; it is tried again then.
    pub(in crate::engine) fn tell_compaction_failure(&self) -> Result<()> {
        let mut tree = lock(&self.tree);
        let Some(error) = tree.compactions.failure.clone() else { return Ok(()) };
        tree.compactions.failure_was_told = true;
        tree.compactions.may_retry = true;
        self.changed.notify_all();
        Err(error)
    }

    /// What a failed job has to say to a write: once, as the write itself could go on.
    pub(in crate::engine) fn tell_write(tree: &mut Tree) -> Result<()> {
        let compactions = &mut tree.compactions;
        if compactions.failure_was_told {
            return Ok(());
        }
        let Some(error) = compactions.failure.clone() else { return Ok(()) };
        compactions.failure_was_told = true;
        Err(error)
    }

    /// Merges everything into one sorted run that holds nothing droppable, on return.
    ///
    /// # Errors
    ///
    /// As a flush; [`Error::Corrupt`] if a table can't be read: then all tables stay.
    pub(crate) fn compact(&self) -> Result<()> {
        self.flush_memtables()?;
        let _exclusive = self.be_alone()?;
        let plan = {
            let view = self.view.load();
            let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
            picker::pick_all(&shape, &self.policy()).or_else(|| self.rewrite_of_one_run())
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
        loop {
            let plan = {
                let view = self.view.load();
                let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
                picker::pick_range(&shape, &self.policy(), range.start(), range.end())
            };
            if plan.is_none() {
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
                None if tree.compactions.running.is_empty() && !tree.compactions.is_exclusive => {
                    return Ok(());
                }
                None => drop(self.wait_for_change(tree)),
            }
        }
    }

    /// Waits until no other job runs, and lets none start.
    fn be_alone(&self) -> Result<Exclusive<'_>> {
        let mut tree = lock(&self.tree);
        while tree.compactions.is_exclusive && !tree.closing {
            tree = self.wait_for_change(tree);
        }
        tree.compactions.is_exclusive = true;
        while !tree.compactions.running.is_empty() {
            tree = self.wait_for_change(tree);
        }
        drop(tree);
        let exclusive = Exclusive(self);
        self.check_open()?;
        self.check_poison()?;
        Ok(exclusive)
    }

    fn run_alone(&self, plan: Option<Plan>) -> Result<()> {
        let claim = {
            let mut tree = lock(&self.tree);
            plan.and_then(|plan| self.claim(&mut tree, plan))
        };
        claim.map_or(Ok(()), |claim| self.run_claim(&claim))
    }

    /// The plan that rewrites a single run, if it may hold something droppable.
    fn rewrite_of_one_run(&self) -> Option<Plan> {
        let view = self.view.load();
        let tables = view.version.tables();
        // What a merge into the last level leaves has no seqnos.
        let is_clean = tables.iter().all(|table| table.record.max_seqno == 0);
        let level = match tables.last()?.record.level {
            0 => self.policy().bottom(),
            level => level,
        };
        let inputs = tables.iter().map(|table| table.record.file_number).collect();
        (!is_clean).then(|| Plan::rewrite(inputs, level))
    }

    /// Waits for a change of the tree.
    pub(in crate::engine) fn wait_for_change<'t>(
        &self,
        tree: MutexGuard<'t, Tree>,
    ) -> MutexGuard<'t, Tree> {
        self.changed.wait(tree).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of the tree; true if none came for so long.
    pub(in crate::engine) fn wait_at_most<'t>(
        &self,
        tree: MutexGuard<'t, Tree>,
        time: Duration,
    ) -> (MutexGuard<'t, Tree>, bool) {
        let waited = self.changed.wait_timeout(tree, time);
        let (tree, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (tree, timeout.timed_out())
    }

    /// Jobs that run now, for `stats`.
    pub(in crate::engine) fn running_jobs(tree: &Tree) -> Vec<RunningJob> {
        let jobs = tree.compactions.running.iter().map(|(_, running, job)| RunningJob {
            reason: job.plan.reason.to_string(),
            output_level: running.output_level,
            input_tables: running.inputs.len() as u64,
            input_bytes: job.input_len(),
            input_rows: job.row_count(),
            rows_done: job.rows_done.load(Ordering::Relaxed),
        });
        jobs.collect()
    }

    /// Why the last job failed, for `stats`.
    pub(in crate::engine) fn compaction_failure(tree: &Tree) -> Option<String> {
        tree.compactions.failure.as_ref().map(ToString::to_string)
    }

    /// Lets a failed job be tried again.
    pub(in crate::engine) fn allow_retry(tree: &mut Tree) {
        tree.compactions.may_retry = true;
    }
}

fn job_stats(job: &Job, counts: &Counts, duration: Duration) -> JobStats {
    JobStats {
        reason: job.plan.reason.to_string(),
        is_move: job.plan.is_move,
        output_level: job.plan.output_level,
        input_tables: job.inputs.len() as u64,
        input_bytes: job.input_len(),
        output_bytes: counts.bytes_out,
        rows_in: counts.rows_in,
        rows_out: counts.rows_out,
        rows_hidden: counts.hidden,
        tombstones_dropped: counts.spent,
        duration,
    }
}
