//! Places: where tables go that come from outside and hold the newest rows of their keys.
//!
//! ```text
//!   level 0   ▪  ▪▪            a newcomer that shares keys with one of these joins them
//!   level 4            new     over level 5 only: it begins a run above, or joins the one there
//!   level 5     ▭▭▭▭▭▭▭▭
//!   level 6   ▭▭▭▭▭▭▭▭▭▭  new  over nothing: the deepest level
//! ```
//!
//! Tables of level 0 reach over wide ranges, as writes fall anywhere, so there the keys themselves count;
//! deeper ones are taken by their ranges.
//!
//! # Invariants
//!
//! - A table never gets below an older row of one of its keys, nor over a table of its level; also
//!   not by jobs that run, or that start before it is part of the version.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: opens tables of level 0. Unsafe: none.

use std::sync::Arc;

use super::job::Job;
use super::picker::{Plan, Policy, Reason, Running, Shape};
use super::schedule::Claim;
use super::shape::{Level, Span};
use crate::cursor::Cursor;
use crate::engine::version::Version;
use crate::engine::{Engine, Tree, lock};
use crate::error::Result;
use crate::format::manifest::TableRecord;
use crate::table::TableCursor;

impl Engine {
    /// Gives each of these tables its level. No two of them share a key, and none holds a row that is
    /// older than one in the tree.
    ///
    /// Until what is returned is dropped no job comes in their way. The caller holds the publisher's
    /// lock, so the version stays.
    ///
    /// # Errors
    ///
    /// As reading tables of level 0.
    pub(in crate::engine) fn take_places(
        &self,
        records: &mut [TableRecord],
    ) -> Result<Vec<Claim<'_>>> {
        let view = self.view.load();
        let met = records.iter().map(|record| meets_level_zero(&view.version, Span::of(record)));
        let met = met.collect::<Result<Vec<_>>>()?;
        let shape = Shape::of(view.version.tables().iter().map(|table| &table.record));
        let mut tree = lock(&self.tree);
        let running: Vec<_> =
            tree.compactions.running.iter().map(|(_, running, _)| running.clone()).collect();
        // A call that merges everything decides without the lock, and level 0 is never in its way.
        let is_closed = tree.compactions.are_held_back();
        for (record, is_met) in records.iter_mut().zip(met) {
            let found = level_for(&shape, &self.policy(), &running, Span::of(record));
            record.level = if is_closed || is_met { 0 } else { found };
        }
        let placed = records.iter().filter(|record| record.level > 0);
        Ok(placed.map(|record| self.announce_newcomer(&mut tree, record)).collect())
    }

    fn announce_newcomer(&self, tree: &mut Tree, record: &TableRecord) -> Claim<'_> {
        let plan = Plan { reason: Reason::Ingest, ..Plan::rewrite(Vec::new(), record.level) };
        let (inputs, below) = (Vec::new(), Vec::new());
        let job = Job { plan, inputs, below, rows_done: Arc::default() };
        self.announce(tree, job, record.smallest.clone(), record.largest.clone())
    }
}

/// Whether a table of level 0 holds a key between these.
fn meets_level_zero(version: &Version, span: Span<'_>) -> Result<bool> {
    for handle in version.tables().iter().take(version.level_0_count()) {
        if Span::of(&handle.record).overlaps(span) {
            let mut rows = TableCursor::new(Arc::clone(handle.table()?));
            rows.seek(span.smallest, u64::MAX)?;
            if rows.valid() && rows.key() <= span.largest {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The level for a table with these keys, of which level 0 has none, that is newer than all others:
/// the deepest of those that are used and that it can reach, else the one above them.
pub(super) fn level_for(
    shape: &Shape<'_>,
    policy: &Policy,
    running: &[Running],
    span: Span<'_>,
) -> u32 {
    // Some job may bring a table over these keys in there.
    let is_open = |level: u32| {
        !running.iter().any(|job| {
            let job_span = Span { smallest: &job.smallest, largest: &job.largest };
            (1..=level).contains(&job.output_level) && job_span.overlaps(span)
        })
    };
    let can_hold = |level: &&Level<'_>| level.overlapping(span).is_empty() && is_open(level.number);
    let reached = shape.deeper().iter().take_while(can_hold).last();
    let above = match shape.deeper().first() {
        Some(first) => first.number.saturating_sub(1),
        None => policy.bottom(),
    };
    reached.map_or(if is_open(above) { above } else { 0 }, |level| level.number)
}
