//! The picker: from the shape of a tree to the next plan, or none.
//!
//! # Invariants
//!
//! - The same arguments give the same plan.
//! - A plan's inputs are free: no running job reads them, and none brings tables to where the plan
//!   passes. At most one job takes tables out of level 0.
//! - Unless the tree changes otherwise, plans that are carried out come to an end.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::ops::Bound;

use super::selection::Selection;
pub(crate) use super::shape::Shape;
use super::{leveled, quiet, tiered};
use crate::format::manifest::TableRecord;
use crate::options::CompactionStyle;

/// The deepest level of leveled trees.
const LEVELED_BOTTOM: u32 = 6;

/// The deepest level of size-tiered trees, whose runs grow upward from it.
const TIERED_BOTTOM: u32 = 63;

/// What the options say about compaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) style: CompactionStyle,
    pub(crate) memtable_size: u64,
    pub(crate) table_size: u64,
}

/// A job that runs: its inputs stay where they are until it ends.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Its inputs' file numbers.
    pub(crate) inputs: Vec<u64>,
    pub(crate) output_level: u32,
    /// The smallest key of all inputs.
    pub(crate) smallest: Vec<u8>,
    /// The largest key of all inputs.
    pub(crate) largest: Vec<u8>,
}

/// What goes on besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'s> {
    pub(crate) running: &'s [Running],
    /// Nothing was written for a while, or somebody waits for the tree to settle.
    pub(crate) is_quiet: bool,
    /// Bytes of merging that reads which had to look into several runs have paid for.
    pub(crate) read_credit: u64,
}

/// What to do next: these tables become new ones on that level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The inputs' file numbers, newest rows first.
    pub(crate) inputs: Vec<u64>,
    pub(crate) output_level: u32,
    /// The one input changes its level and nothing else.
    pub(crate) is_move: bool,
    /// The inputs hold nothing that is not deleted, and go.
    pub(crate) is_drop: bool,
    pub(crate) reason: Reason,
    /// Keys at which an output ends, ascending: the next one would overlap too much of the level
    /// below.
    pub(crate) cuts: Vec<Vec<u8>>,
}

/// Why a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Level 0 has many tables.
    LevelZero,
    /// A level, or a series of runs, is large for its place.
    Size,
    /// The upper levels hide much of the bottom.
    Space,
    /// Reads looked into several runs often enough to pay for merging them.
    Reads,
    /// Writes rest, and fewer runs are cheap.
    Quiet,
    /// A call asked for it.
    Manual,
    /// A table can go down as it is.
    Move,
    /// A range was deleted.
    RangeDelete,
    /// Nothing is merged: tables from outside are about to join the tree.
    Ingest,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LevelZero => "level-0",
            Self::Size => "size",
            Self::Space => "space",
            Self::Reads => "reads",
            Self::Quiet => "quiet",
            Self::Manual => "manual",
            Self::Move => "move",
            Self::RangeDelete => "range-delete",
            Self::Ingest => "ingest",
        })
    }
}

impl Plan {
    /// The plan that merges these tables into that level because a call asked for it.
    pub(crate) fn rewrite(inputs: Vec<u64>, output_level: u32) -> Self {
        let (is_move, is_drop) = (false, false);
        Self { inputs, output_level, is_move, is_drop, reason: Reason::Manual, cuts: Vec::new() }
    }
}

impl Policy {
    /// The level that a tree of this style fills first.
    pub(super) fn bottom(&self) -> u32 {
        match self.style {
            CompactionStyle::SizeTiered => TIERED_BOTTOM,
            CompactionStyle::Leveled | CompactionStyle::Manual => LEVELED_BOTTOM,
        }
    }

    /// The level that holds, or will hold, the oldest rows. A tree that another style has left may
    /// reach deeper than this one would.
    fn deepest(&self, shape: &Shape<'_>) -> u32 {
        let used = shape.deeper().last().map(|level| level.number);
        match self.style {
            CompactionStyle::SizeTiered => used.unwrap_or(TIERED_BOTTOM),
            CompactionStyle::Leveled | CompactionStyle::Manual => {
                used.unwrap_or_default().max(LEVELED_BOTTOM)
            }
        }
    }
}

impl Situation<'_> {
    /// Whether a running job reads this table.
    pub(super) fn is_input(&self, table: &TableRecord) -> bool {
        self.running.iter().any(|job| job.inputs.contains(&table.file_number))
    }
}

/// The next plan that keeps the tree in shape; none if it is.
pub(crate) fn pick(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    let by_style = match policy.style {
        CompactionStyle::Leveled => leveled::pick,
        CompactionStyle::SizeTiered => tiered::pick,
        CompactionStyle::Manual => return None,
    };
    // The quiet plan merges at once what the others would merge in several steps.
    quiet::pick(shape, policy, situation).or_else(|| by_style(shape, policy, situation))
}

/// The plan that makes one run of all tables; none if they are one.
pub(crate) fn pick_all(shape: &Shape<'_>, policy: &Policy) -> Option<Plan> {
    if shape.run_count() < 2 {
        return None;
    }
    let all = Selection::of(shape.tables().collect())?;
    Some(all.plan(shape, policy, policy.deepest(shape), Reason::Manual))
}

/// The next plan that brings tables with keys of a range to the bottom; none if all are there.
pub(crate) fn pick_range(
    shape: &Shape<'_>,
    policy: &Policy,
    start: Bound<&[u8]>,
    end: Bound<&[u8]>,
) -> Option<Plan> {
    let bottom = policy.deepest(shape);
    let zero = shape.level_zero();
    let chosen = if let Some(newest) = zero.iter().position(|table| is_in_range(table, start, end))
    {
        Selection::closed(shape, shape.oldest(zero.len() - newest), 1, bottom)
    } else {
        let upper = shape.deeper().iter().filter(|level| level.number < bottom);
        let seed = upper
            .flat_map(|level| &level.tables)
            .copied()
            .find(|table| is_in_range(table, start, end))?;
        Selection::closed(shape, &[seed], seed.level, bottom)
    };
    // Whoever asks wants rows cleaned, so one table is rewritten too.
    let plan = chosen?.plan(shape, policy, bottom, Reason::Manual);
    Some(Plan { is_move: false, reason: Reason::Manual, ..plan })
}

fn is_in_range(table: &TableRecord, start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    let reaches_start = match start {
        Bound::Included(key) => key <= table.largest.as_slice(),
        Bound::Excluded(key) => key < table.largest.as_slice(),
        Bound::Unbounded => true,
    };
    let reaches_end = match end {
        Bound::Included(key) => table.smallest.as_slice() <= key,
        Bound::Excluded(key) => table.smallest.as_slice() < key,
        Bound::Unbounded => true,
    };
    reaches_start && reaches_end
}
