//! Scheduling: which job runs when, and who is told how it ended.
//!
//! ```text
//!   pick ─▶ claim: its tables are taken ─▶ run, without any lock ─▶ release, wake those who wait
//! ```
//!
//! A background thread picks while there is something to do; the calls of `calls.rs` do jobs in the
//! caller's thread, and without background threads nobody else does.
//!
//! # Invariants
//!
//! - The inputs of running jobs are disjoint, and so are outputs in one level: the picker sees the
//!   running ones, under the lock of `tree`.
//! - A claim ends when it is dropped, also by a panic.
//! - A failed job is tried again only when somebody asks: the next flush, `compact` or `wait_idle`.
//!   Until a retry succeeds, they return its error; a write once.
//!
//! Spec: none. I/O: through jobs. Unsafe: none.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::deleted;
use super::job::{Counts, Job};
use super::picker::{self, Plan, Policy, Running, Shape, Situation};
use crate::engine::inspect::{JobStats, RunningJob};
use crate::engine::{Engine, Tree, lock};
use crate::error::{Error, Result};
use crate::options::CompactionStyle;
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, wait_at_most};

/// How many finished jobs are remembered.
const REMEMBERED_JOBS: usize = 16;

/// What is known of compactions; part of the tree.
#[derive(Debug, Default)]
pub(in crate::engine) struct Compactions {
    pub(super) running: Vec<(u64, Running, Arc<Job>)>,
    next_id: u64,
    /// A `compact` wants all tables: no other job starts.
    pub(super) is_exclusive: bool,
    /// Callers of `wait_idle`, for whom every merge is due that would wait for a rest.
    pub(in crate::engine) idle_waiters: usize,
    /// Why the last job failed; gone when one succeeds.
    pub(super) failure: Option<Error>,
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

impl Engine {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            style: self.options.compaction,
            memtable_size: self.options.memtable_size as u64,
            table_size: self.options.table_size,
        }
    }

    /// What the picker says of this moment.
    pub(super) fn pick(&self, tree: &Tree, is_quiet: bool, read_credit: u64) -> Option<Plan> {
        let view = self.view.load();
        let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
        let running: Vec<_> =
            tree.compactions.running.iter().map(|(_, running, _)| running.clone()).collect();
        let (version, policy) = (&view.version, self.policy());
        let situation = Situation { running: &running, is_quiet, read_credit };
        let is_automatic = policy.style != CompactionStyle::Manual;
        let covered = is_automatic.then(|| deleted::pick_whole(version, &running)).flatten();
        covered
            .or_else(|| picker::pick(&shape, &policy, &situation))
            .or_else(|| deleted::pick_partly(&shape, &policy, &situation, version.covered()))
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
        let compactions = &tree.compactions;
        let has_failed = compactions.failure.is_some() && !compactions.may_retry;
        if has_failed || compactions.is_exclusive || !compactions.running.is_empty() {
            self.meter.want(None);
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

    pub(super) fn claim(&self, tree: &mut Tree, plan: Plan) -> Option<Claim<'_>> {
        let job = Job::of(plan, &self.view.load().version)?;
        let smallest = job.inputs.iter().map(|table| &table.record.smallest).min()?.clone();
        let largest = job.inputs.iter().map(|table| &table.record.largest).max()?.clone();
        self.meter.want(None);
        Some(self.announce(tree, job, smallest, largest))
    }

    /// Lets others know of a job whose outputs will lie between these keys.
    pub(super) fn announce(
        &self,
        tree: &mut Tree,
        job: Job,
        smallest: Vec<u8>,
        largest: Vec<u8>,
    ) -> Claim<'_> {
        let job = Arc::new(job);
        let (inputs, output_level) = (job.plan.inputs.clone(), job.plan.output_level);
        let id = tree.compactions.next_id;
        tree.compactions.next_id += 1;
        let running = Running { inputs, output_level, smallest, largest };
        tree.compactions.running.push((id, running, Arc::clone(&job)));
        Claim { engine: self, id, job }
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
                if !job.plan.is_move && !job.plan.is_drop {
                    self.meter.spend(job.input_len());
                }
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

    /// Waits for a change of the tree.
    pub(in crate::engine) fn wait_for_change<'t>(
        &self,
        tree: MutexGuard<'t, Tree>,
    ) -> MutexGuard<'t, Tree> {
        self.changed.wait(tree).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of the tree; true if none came for so long.
    pub(in crate::engine) fn wait_at_most<'t>(
        &'t self,
        tree: MutexGuard<'t, Tree>,
        time: Duration,
    ) -> (MutexGuard<'t, Tree>, bool) {
        wait_at_most(&self.changed, &self.tree, tree, time)
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
        rows_hidden: counts.dropped.hidden,
        tombstones_dropped: counts.dropped.spent,
        rows_expired: counts.dropped.expired,
        rows_removed: counts.dropped.removed,
        rows_covered: counts.dropped.covered,
        operands_folded: counts.dropped.folded,
        duration,
    }
}
