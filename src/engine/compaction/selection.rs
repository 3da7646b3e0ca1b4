//! A selection: tables that may be merged together without harm.
//!
//! Tables of level 0 or of one level are chosen; what must go with them follows from their keys.
//!
//! ```text
//!   chosen, level 0      ├────────┤
//!   level 5                   ├───────┤    ├──┤       overlaps: goes along, and widens the span
//!   level 6            ├───┤  ├──┤ ├──┤ ├────┤        of keys, and so on, until nothing overlaps
//!                      └──────── span ──────┘
//! ```
//!
//! # Invariants
//!
//! - No table between the newest level and the output level overlaps the span and is left out: the
//!   outputs neither meet a table of their level nor sink below older rows.
//! - Tables of level 0 are the oldest ones, without a gap.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::picker::{Plan, Policy, Reason, Situation};
use super::shape::{Level, Shape, Span, total_len};
use crate::format::manifest::TableRecord;

/// How many times the length of a table an output may overlap the level below its own. A table
/// that overlaps more would make a later merge a long one.
const MOST_OVERLAP: u64 = 10;

/// A table shorter than this part of a memtable is not moved alone while others wait with it:
/// small tables would pile up.
const SMALL_PART: u64 = 8;

/// Tables that may be merged together, newest rows first.
#[derive(Clone, Debug)]
pub(super) struct Selection<'t> {
    pub(super) tables: Vec<&'t TableRecord>,
    pub(super) span: Span<'t>,
}

impl<'t> Selection<'t> {
    /// These tables and nothing else; none if there is no table.
    pub(super) fn of(tables: Vec<&'t TableRecord>) -> Option<Self> {
        let span = Span::over(tables.iter().copied())?;
        Some(Self { tables, span })
    }

    /// The seeds, and what of the levels from `first` to `last` overlaps their span, and so on.
    /// Seeds on these levels are found like the rest.
    pub(super) fn closed(
        shape: &Shape<'t>,
        seeds: &[&'t TableRecord],
        first: u32,
        last: u32,
    ) -> Option<Self> {
        let mut span = Span::over(seeds.iter().copied())?;
        loop {
            let ends = shape.levels(first, last).flat_map(|level| {
                let found = level.overlapping(span);
                found.first().into_iter().chain(found.last())
            });
            let wider = ends.map(|table| Span::of(table)).fold(span, Span::join);
            if wider == span {
                break;
            }
            span = wider;
        }
        let seeds = seeds.iter().filter(|seed| !(first..=last).contains(&seed.level));
        let found = shape.levels(first, last).flat_map(|level| level.overlapping(span));
        Some(Self { tables: seeds.chain(found).copied().collect(), span })
    }

    /// The oldest table of level 0 with all that its rows may share a key with, in level 0 and
    /// down to `last`: alone if it may be moved there.
    pub(super) fn oldest(shape: &Shape<'t>, policy: &Policy, last: u32) -> Option<Self> {
        let zero = shape.level_zero();
        let is_small =
            zero.last().is_some_and(|table| table.file_len < policy.memtable_size / SMALL_PART);
        let mut count = if is_small { zero.len() } else { 1 };
        loop {
            let group = Self::closed(shape, shape.oldest(count), 1, last)?;
            let newest = zero.iter().position(|table| Span::of(table).overlaps(group.span));
            let wanted = zero.len() - newest.unwrap_or(zero.len()).min(zero.len());
            if wanted <= count {
                return Some(group);
            }
            count = wanted;
        }
    }

    /// Bytes of its tables.
    pub(super) fn len(&self) -> u64 {
        total_len(&self.tables)
    }

    /// Bytes of its tables that lie above `level`.
    pub(super) fn len_above(&self, level: u32) -> u64 {
        let above = self.tables.iter().filter(|table| table.level < level);
        above.fold(0, |sum, table| sum.saturating_add(table.file_len))
    }

    /// Whether it is one table, which may go down as it is.
    pub(super) fn is_single(&self) -> bool {
        self.tables.len() == 1
    }

    /// Whether no running job stands in the way of bringing it to `output_level`.
    pub(super) fn is_free(
        &self,
        shape: &Shape<'_>,
        situation: &Situation<'_>,
        output_level: u32,
    ) -> bool {
        let newest = self.tables.iter().map(|table| table.level).min().unwrap_or_default();
        if newest == 0 && shape.level_zero().iter().any(|table| situation.is_input(table)) {
            return false;
        }
        let is_crossed = situation.running.iter().any(|job| {
            // A job that ends between the levels may bring rows in there that this selection,
            // made before, would pass on its way.
            let is_on_the_way = newest < job.output_level && job.output_level <= output_level;
            let span = Span { smallest: &job.smallest, largest: &job.largest };
            is_on_the_way && span.overlaps(self.span)
        });
        !is_crossed && !self.tables.iter().any(|table| situation.is_input(table))
    }

    /// The plan that brings it to `output_level`: a move, if it is one table and that does not
    /// make a later merge a long one.
    pub(super) fn plan(
        &self,
        shape: &Shape<'_>,
        policy: &Policy,
        output_level: u32,
        reason: Reason,
    ) -> Plan {
        let most = policy.table_size.saturating_mul(MOST_OVERLAP);
        let below = shape.below(output_level);
        let overlap = below.map_or(0, |level| total_len(level.overlapping(self.span)));
        let is_move = self.is_single() && overlap <= most;
        let inputs = self.tables.iter().map(|table| table.file_number).collect();
        let plan = Plan::rewrite(inputs, output_level);
        if is_move {
            return Plan { is_move, reason: Reason::Move, ..plan };
        }
        let cuts = below.map_or_else(Vec::new, |level| cuts(level, self.span, most));
        Plan { reason, cuts, ..plan }
    }
}

/// The keys at which an output over `span` should end, so that none overlaps much more than `most`
/// bytes of the level below.
fn cuts(below: &Level<'_>, span: Span<'_>, most: u64) -> Vec<Vec<u8>> {
    let mut cuts = Vec::new();
    let mut overlap = 0_u64;
    for table in below.overlapping(span) {
        if overlap > most {
            cuts.push(table.smallest.clone());
            overlap = 0;
        }
        overlap = overlap.saturating_add(table.file_len);
    }
    cuts
}
