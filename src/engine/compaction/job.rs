//! The job: the tables of a plan become new tables and a new version.
//!
//! ```text
//!   inputs, mapped ─▶ merge ─▶ retention ─▶ outputs ─▶ read again and checked ─▶ manifest ─▶ install
//! ```
//!
//! # Invariants
//!
//! - Whatever fails, the inputs stay: a block that can't be read ends the job with an error that
//!   names file and offset, and is never skipped.
//! - Every row that goes in is carried on or dropped for a reason that is counted; the counts have
//!   to agree with what the manifest says of the inputs. Rows that range tombstones cover may be
//!   passed by without being counted one by one: where there are such, fewer may come than are said.
//! - No output becomes part of a version before it was read back: order, counts, keys, seqnos.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::sync::Arc;

use super::picker::Plan;
use crate::cursor::{ConcatCursor, Cursor, MergingCursor};
use crate::engine::Engine;
use crate::engine::lock;
use crate::engine::outputs::{Outputs, record_of, remove_tables};
use crate::engine::publish::Edit;
use crate::engine::range_deletes::RangeDeletes;
use crate::engine::retention::{self, Retention, Sink};
use crate::engine::run::{LevelTables, PlainRun, RunCursor, Wanted};
use crate::engine::version::{TableHandle, Version};
use crate::error::{Error, Result};
use crate::format::data_block;
use crate::format::file_name::FileName;
use crate::format::manifest::{self, TableRecord};
use crate::format::row::{Row, compare};
use crate::hooks::now_secs;
use crate::range_tombstones::{Mask, RangeTombstones};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::table::{Table, TableCursor, TableInfo};

/// After so many rows a job looks whether the database closes.
const CANCEL_INTERVAL: u64 = 1024;

/// A plan with the tables that it speaks of.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    /// In the order of the version.
    pub(super) inputs: Vec<Arc<TableHandle>>,
    /// Tables below the outputs, which may hold older versions, by level and key.
    pub(super) below: Vec<Arc<TableHandle>>,
    /// Rows that were read so far.
    pub(super) rows_done: Arc<AtomicU64>,
}

/// What a job did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows_in: u64,
    pub(super) rows_out: u64,
    pub(super) dropped: retention::Counts,
    pub(super) bytes_out: u64,
}

impl Job {
    /// The job of a plan, or `None` if the version lacks a table that it names.
    pub(super) fn of(plan: Plan, version: &Version) -> Option<Self> {
        let is_input = |table: &&Arc<TableHandle>| plan.inputs.contains(&table.record.file_number);
        let tables = version.tables();
        let inputs: Vec<_> = tables.iter().filter(is_input).cloned().collect();
        let is_below =
            |table: &&Arc<TableHandle>| table.record.level > plan.output_level && !is_input(table);
        let below = tables.iter().filter(is_below).cloned().collect();
        let is_whole = inputs.len() == plan.inputs.len() && !inputs.is_empty();
        is_whole.then(|| Self { plan, inputs, below, rows_done: Arc::default() })
    }

    /// Bytes of the inputs.
    pub(super) fn input_len(&self) -> u64 {
        self.inputs.iter().map(|table| table.record.file_len).sum()
    }

    /// Rows of the inputs, as the manifest says.
    pub(super) fn row_count(&self) -> u64 {
        self.inputs.iter().map(|table| table.record.row_count).sum()
    }

    /// One cursor over the rows of all inputs that `mask` does not cover.
    fn merged(&self, mask: Option<&Arc<Mask>>) -> Result<MergingCursor<RunCursor>> {
        let mut cursors = Vec::new();
        for run in
            self.inputs.chunk_by(|a, b| a.record.level > 0 && a.record.level == b.record.level)
        {
            // Opened now, so that readers of older versions can read a file whose name is gone.
            for table in run {
                table.table()?;
            }
            let run = match run {
                [only] => PlainRun::Table(Box::new(TableCursor::new(Arc::clone(only.table()?)))),
                run => PlainRun::Level(Box::new(ConcatCursor::new(LevelTables::new(
                    run.to_vec(),
                    Wanted::Entries,
                )))),
            };
            cursors.push(run.masked(mask));
        }
        Ok(MergingCursor::new(cursors))
    }
}

/// Tells of ascending keys whether an older table may hold them.
struct Below<'j> {
    /// The tables of each level, by key, that do not lie below the last key.
    levels: Vec<&'j [Arc<TableHandle>]>,
}

impl<'j> Below<'j> {
    fn of(job: &'j Job) -> Self {
        Self { levels: job.below.chunk_by(|a, b| a.record.level == b.record.level).collect() }
    }

    fn may_hold(&mut self, key: &[u8]) -> bool {
        self.levels.iter_mut().any(|tables| {
            while let Some((first, rest)) = tables.split_first()
                && first.record.largest.as_slice() < key
            {
                *tables = rest;
            }
            tables.first().is_some_and(|table| table.record.smallest.as_slice() <= key)
        })
    }
}

/// Where the rows of a job go.
struct Target<'j, 'e> {
    below: Below<'j>,
    /// Range tombstones that will still be there: a seqno says which rows they cover.
    range_tombstones: RangeTombstones,
    outputs: Outputs<'e>,
    rows_out: u64,
}

impl Sink for Target<'_, '_> {
    fn nothing_below(&mut self, key: &[u8]) -> bool {
        mutant!(DropTombstones, return true);
        mutant!(KeepTombstones, return false);
        !self.below.may_hold(key) && self.range_tombstones.newest_over(key, u64::MAX) == 0
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        self.rows_out += 1;
        self.outputs.add(row)
    }
}

impl Engine {
    /// Does what the plan says and makes it the newest version.
    pub(super) fn run_job(&self, job: &Job) -> Result<Counts> {
        if job.plan.is_drop {
            return self.run_drop(job);
        }
        if job.plan.is_move {
            // Two handles will share the table: opened now, readers of either keep it when the other
            // one's file is removed.
            for table in &job.inputs {
                table.table()?;
            }
            let moved = job.inputs.iter().map(|table| Arc::new(table.moved(job.plan.output_level)));
            let edit = Edit {
                removed: job.plan.inputs.clone(),
                added: moved.collect(),
                ..Edit::default()
            };
            self.publish_edit(&mut lock(&self.publisher), edit)?;
            return Ok(Counts::default());
        }
        let mut counts = Counts::default();
        let (infos, cleared_seqno) = self.merge(job, &mut counts)?;
        mutant!(
            RemoveInputsEarly,
            for input in &job.plan.inputs {
                self.storage.remove(FileName::Table(*input))?;
            }
        );
        let published = self.check_outputs(job, &infos, cleared_seqno).and_then(|added| {
            let edit = Edit { removed: job.plan.inputs.clone(), added, ..Edit::default() };
            self.publish_edit(&mut lock(&self.publisher), edit)
        });
        if published.is_err() && self.poison.get().is_none() {
            remove_tables(self, &infos);
        }
        counts.bytes_out = infos.iter().map(|info| info.file_len).sum();
        self.counters.compacted.fetch_add(counts.bytes_out, Ordering::Relaxed);
        published.map(|()| counts)
    }

    /// Takes tables out of the tree whose rows are all deleted; none of these is read.
    fn run_drop(&self, job: &Job) -> Result<Counts> {
        // Readers of older versions may want them later, when the names are gone. What is damaged can
        // not be read by then either.
        for table in &job.inputs {
            match table.table() {
                Err(Error::Corrupt { .. }) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        let edit = Edit { removed: job.plan.inputs.clone(), ..Edit::default() };
        self.publish_edit(&mut lock(&self.publisher), edit)?;
        let covered = job.row_count();
        let dropped = retention::Counts { covered, ..retention::Counts::default() };
        Ok(Counts { dropped, ..Counts::default() })
    }

    /// Writes the outputs; also tells up to which seqno range tombstones were applied.
    fn merge(&self, job: &Job, counts: &mut Counts) -> Result<(Vec<TableInfo>, u64)> {
        let deletes = RangeDeletes::of(&job.inputs, &self.view.load().version)?;
        let mut outputs = Outputs::new(self, job.plan.cuts.clone());
        outputs.set_range_tombstones(deletes.carried);
        let (below, range_tombstones) = (Below::of(job), deletes.remaining);
        let mut target = Target { below, range_tombstones, outputs, rows_out: 0 };
        let mut retention = Retention::new(self.hooks(true), now_secs(&*self.options.clock));
        let mut rows = job.merged(deletes.mask.as_ref())?;
        let mut last: Option<(Vec<u8>, u64)> = None;
        rows.seek_first()?;
        while rows.valid() {
            if counts.rows_in.is_multiple_of(CANCEL_INTERVAL) {
                self.check_open()?;
                job.rows_done.store(counts.rows_in, Ordering::Relaxed);
            }
            let (key, seqno) = (rows.key(), rows.seqno());
            match &mut last {
                Some((last_key, last_seqno)) => {
                    if compare(last_key, *last_seqno, key, seqno).is_ge() {
                        return Err(self.disorder(job, rows.child_index()));
                    }
                    last_key.clear();
                    last_key.extend_from_slice(key);
                    *last_seqno = seqno;
                }
                None => last = Some((key.to_vec(), seqno)),
            }
            counts.rows_in += 1;
            let row = Row {
                key,
                seqno,
                kind: rows.kind(),
                expires_at: rows.expires_at(),
                value: rows.value(),
            };
            retention.add(&row, &mut target)?;
            rows.next()?;
        }
        job.rows_done.store(counts.rows_in, Ordering::Relaxed);
        // What range tombstones cover is passed by, partly without being looked at.
        let covered = job.row_count().checked_sub(counts.rows_in);
        let Some(covered) = covered.filter(|count| *count == 0 || deletes.mask.is_some()) else {
            return Err(self.disorder(job, 0));
        };
        counts.dropped = retention.finish(&mut target)?;
        counts.dropped.covered = covered;
        if target.outputs.lacks_row() {
            // No table is without rows. The newest row of the first key was left out with all older
            // ones, so a tombstone in its place says what is so.
            let mut rows = job.merged(None)?;
            rows.seek_first()?;
            target.add(&Row::tombstone(rows.key(), rows.seqno()))?;
        }
        counts.rows_out = target.rows_out;
        target.outputs.finish().map(|infos| (infos, deletes.cleared_seqno))
    }

    /// An input does not hold the rows that the manifest says, or not in order.
    #[cold]
    fn disorder(&self, job: &Job, run: usize) -> Error {
        let table = job.inputs.get(run).or(job.inputs.first());
        let number = table.map_or(0, |table| table.record.file_number);
        Error::corrupt(&self.storage.path(FileName::Table(number)), 0, data_block::ORDER.broken(0))
    }

    /// Opens the outputs and reads them back.
    fn check_outputs(
        &self,
        job: &Job,
        infos: &[TableInfo],
        cleared_seqno: u64,
    ) -> Result<Vec<Arc<TableHandle>>> {
        let inputs = || job.inputs.iter().map(|table| &table.record);
        let smallest = inputs().map(|input| &input.smallest).min();
        let largest = inputs().map(|input| &input.largest).max();
        let min_seqno = inputs().map(|input| input.min_seqno).min().unwrap_or(0);
        let max_seqno = inputs().map(|input| input.max_seqno).max().unwrap_or(0);
        let mut handles = Vec::new();
        for info in infos {
            self.check_open()?;
            let record = record_of(info.clone(), job.plan.output_level, cleared_seqno);
            let handle = self.handle_of(record);
            let record = &handle.record;
            let seqnos_fit = |seqno| seqno == 0 || (min_seqno <= seqno && seqno <= max_seqno);
            let fits = smallest <= Some(&record.smallest)
                && Some(&record.largest) <= largest
                && record.max_seqno <= max_seqno
                && check_rows(handle.table()?, record, seqnos_fit)?;
            if !fits {
                let path = self.storage.path(FileName::Table(info.file_number));
                return Err(Error::corrupt(&path, 0, manifest::TABLE.broken(0)));
            }
            handles.push(handle);
        }
        Ok(handles)
    }
}

/// Reads every row of a table and says whether they are those of its record. This also verifies
/// every block, so that readers need not.
fn check_rows(
    table: &Arc<Table>,
    record: &TableRecord,
    seqno_fits: impl Fn(u64) -> bool,
) -> Result<bool> {
    let mut rows = TableCursor::new(Arc::clone(table));
    let mut last: (Vec<u8>, u64) = (Vec::new(), 0);
    let mut row_count = 0;
    rows.seek_first()?;
    let mut is_sound = rows.key() == record.smallest;
    while rows.valid() {
        let (key, seqno) = (rows.key(), rows.seqno());
        is_sound &= row_count == 0 || compare(&last.0, last.1, key, seqno).is_lt();
        is_sound &= seqno_fits(seqno);
        last.0.clear();
        last.0.extend_from_slice(key);
        last.1 = seqno;
        row_count += 1;
        rows.next()?;
    }
    Ok(is_sound && row_count == record.row_count && last.0 == record.largest)
}
