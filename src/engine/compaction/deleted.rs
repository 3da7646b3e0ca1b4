//! Deleted ranges: tables that they cover, whole or in part.
//!
//! A table that a range tombstone covers whole goes at once, without being read. One that is covered
//! in part is written anew when writes rest, without the rows that are deleted: so their space comes
//! back although nobody writes into its range any more. So is one that carries range tombstones
//! which cover nothing any longer: while they stand there, every read looks for them.
//!
//! # Invariants
//!
//! - A table that was written anew remembers it (`cleared_seqno`), and is not picked again for the
//!   same range tombstones: so plans come to an end.
//! - Tables of level 0 are left to the other plans: older rows may lie beside them.
//!
//! Spec: `format-spec/09-range-tombstones.md`. I/O: opens tables. Unsafe: none.

use super::picker::{Plan, Policy, Reason, Running, Situation};
use super::quiet::{SMALL_TREE, WORTH};
use super::selection::Selection;
use super::shape::Shape;
use crate::engine::range_deletes::{covers_all_of, live_among, range_tombstones_of};
use crate::engine::version::Version;
use crate::error::Result;
use crate::options::CompactionStyle;

/// A table with something that a range tombstone covers, or was to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) file_number: u64,
    /// About how many bytes of it are covered.
    pub(crate) len: u64,
}

/// The plan that takes out tables whose rows were all deleted with their range, if there are some:
/// they need not be read.
pub(super) fn pick_whole(version: &Version, running: &[Running]) -> Option<Plan> {
    if !version.deletes_ranges() {
        return None;
    }
    // If they can't be opened, a read or a compaction that needs them will tell.
    let list = version.range_tombstones().ok()?;
    let is_taken = |number| running.iter().any(|job| job.inputs.contains(&number));
    let covered = version.tables().iter().map(|table| &table.record).filter(|record| {
        record.range_tombstone_count == 0
            && !is_taken(record.file_number)
            && covers_all_of(list, record)
    });
    let inputs: Vec<u64> = covered.map(|record| record.file_number).collect();
    let plan = Plan::rewrite(inputs, 0);
    let is_useful = !plan.inputs.is_empty();
    is_useful.then_some(Plan { is_drop: true, reason: Reason::RangeDelete, ..plan })
}

/// The plan that writes the table anew of which most is covered, if writes rest and that is worth
/// it: the tree is small, or a fair part of the table is covered, or reads have paid for it.
pub(super) fn pick_partly(
    shape: &Shape<'_>,
    policy: &Policy,
    situation: &Situation<'_>,
    covered: &[Covered],
) -> Option<Plan> {
    if !situation.is_quiet || policy.style == CompactionStyle::Manual {
        return None;
    }
    let is_small = shape.len_down_to(u32::MAX) <= SMALL_TREE;
    let worth = covered.iter().filter_map(|covered| {
        let table = shape.tables().find(|table| table.file_number == covered.file_number)?;
        let is_worth = is_small
            || covered.len.saturating_mul(WORTH) >= table.file_len
            || table.file_len <= situation.read_credit;
        let alone = Selection::of(vec![table])?;
        let is_free = alone.is_free(shape, situation, table.level);
        (is_worth && is_free && table.level > 0).then_some((covered.len, table))
    });
    let (_, table) = worth.max_by_key(|(len, _)| *len)?;
    let plan = Plan::rewrite(vec![table.file_number], table.level);
    Some(Plan { reason: Reason::RangeDelete, ..plan })
}

/// The tables of a version below level 0 that range tombstones cover in part, and those whose own
/// cover nothing any more.
///
/// # Errors
///
/// As opening the tables.
pub(crate) fn covered_of(version: &Version) -> Result<Vec<Covered>> {
    let mut all = Vec::new();
    if !version.deletes_ranges() {
        return Ok(all);
    }
    let list = version.range_tombstones()?;
    let records = || version.tables().iter().map(|table| &table.record);
    for handle in version.tables().iter().filter(|handle| handle.record.level > 0) {
        let record = &handle.record;
        let over_it = live_among(list, [record]);
        let mut len = 0;
        for tombstone in over_it.newest() {
            len += handle.table()?.len_between(tombstone.start, tombstone.end)?;
        }
        let is_spent = || {
            let own = range_tombstones_of(std::slice::from_ref(handle))?;
            Ok(live_among(&own, records()).is_empty())
        };
        if !over_it.is_empty() || (record.range_tombstone_count > 0 && is_spent()?) {
            all.push(Covered { file_number: record.file_number, len });
        }
    }
    Ok(all)
}
