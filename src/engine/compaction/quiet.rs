//! The quiet plan: when writes rest, the fewest runs that are cheap to reach.
//!
//! Tables that share keys, directly or through others, form a group, which is merged at once into
//! the deepest level that is worth it. A table that shares none is moved. So a loaded tree ends in
//! one run by one merge, and one that was loaded in the order of its keys without any.
//!
//! # Invariants
//!
//! - A merge is cheap: the tree down to its output is small, or the rows that go down are a fair
//!   part of it, or reads have paid for it.
//! - Each plan empties a part of the upper runs; one run is left as it is.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::picker::{Plan, Policy, Reason, Situation};
use super::selection::Selection;
use super::shape::Shape;

/// A tree that is as small as this is merged whatever its levels.
pub(super) const SMALL_TREE: u64 = 512 << 20;

/// How many bytes a merge may rewrite for each byte that goes down.
pub(super) const WORTH: u64 = 16;

/// The next plan towards fewer runs; none if it is not quiet, or nothing cheap is left.
pub(super) fn pick(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    if !situation.is_quiet || shape.run_count() < 2 {
        return None;
    }
    let used = shape.deeper().iter().rev().map(|level| level.number);
    // Where no level is worth it, the tables of level 0 can still become one run above the levels.
    let above = match shape.deeper().first() {
        Some(first) => first.number - 1,
        None => policy.bottom(),
    };
    let is_useful = above > 0 && shape.level_zero().len() > 1;
    used.chain(is_useful.then_some(above)).find_map(|output_level| {
        let goal = Goal { shape, policy, situation, output_level };
        goal.level_zero_plan().or_else(|| goal.levels_plan())
    })
}

/// A level that all runs above it shall go to.
struct Goal<'g, 't> {
    shape: &'g Shape<'t>,
    policy: &'g Policy,
    situation: &'g Situation<'g>,
    output_level: u32,
}

impl Goal<'_, '_> {
    fn level_zero_plan(&self) -> Option<Plan> {
        self.plan(&Selection::oldest(self.shape, self.policy, self.output_level)?)
    }

    fn levels_plan(&self) -> Option<Plan> {
        let upper = self.shape.deeper().iter().filter(|level| level.number < self.output_level);
        for level in upper {
            let mut seen: Option<&[u8]> = None;
            for table in &level.tables {
                if seen.is_some_and(|seen| table.smallest.as_slice() <= seen) {
                    continue; // of the group before, which was not worth it
                }
                let (first, last) = (level.number, self.output_level);
                let group = Selection::closed(self.shape, &[table], first, last)?;
                if let Some(plan) = self.plan(&group) {
                    return Some(plan);
                }
                seen = Some(group.span.largest);
            }
        }
        None
    }

    /// The plan for a group, if it is free and worth it.
    fn plan(&self, group: &Selection<'_>) -> Option<Plan> {
        let reason = self.reason(group)?;
        let is_free = group.is_free(self.shape, self.situation, self.output_level);
        is_free.then(|| group.plan(self.shape, self.policy, self.output_level, reason))
    }

    fn reason(&self, group: &Selection<'_>) -> Option<Reason> {
        let len = group.len();
        // The whole tree counts, not the group: many small merges are a large one.
        let is_small = self.shape.len_down_to(self.output_level) <= SMALL_TREE;
        let worth = group.len_above(self.output_level).saturating_mul(WORTH);
        if is_small || len <= worth {
            Some(Reason::Quiet)
        } else if len <= self.situation.read_credit {
            Some(Reason::Reads)
        } else {
            None
        }
    }
}
