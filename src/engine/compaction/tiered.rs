//! The size-tiered style: few bytes written, as SlateDB's compactor does it.
//!
//! Each table of level 0 is a run, and each deeper level is one. Four to eight neighboring runs of
//! like size become one.
//!
//! ```text
//!   level 0    ▪▪▪▪            four or more become a run above the first level
//!   level 61   ▭▭▭▭       ┐
//!   level 62   ▭▭▭▭▭      ├    a series: each at most four times the smallest above it
//!   level 63   ▭▭▭▭▭▭▭▭▭▭ ┘
//! ```
//!
//! # Invariants
//!
//! - Only neighbors are merged, and into the place of the oldest of them.
//! - Level 0 waits while its output would join a series that is long enough already.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::picker::{Plan, Policy, Reason, Situation};
use super::selection::Selection;
use super::shape::{Level, Shape, total_len};
use crate::format::manifest::TableRecord;

/// How many runs a merge takes at least.
const FEWEST: usize = 4;

/// How many runs a merge takes at most.
const MOST: usize = 8;

/// How many times as large as the smallest run of a series the next one may be.
const LIKE: u64 = 4;

/// The first level that level 0 does not begin a new run on: below it there is room for others.
const LAST_RESORT: u32 = 2;

/// The next plan: level 0 first, then the newest series of runs.
pub(super) fn pick(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    from_level_zero(shape, policy, situation).or_else(|| from_levels(shape, policy, situation))
}

fn from_level_zero(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    if shape.level_zero().len() < FEWEST {
        return None;
    }
    let oldest = shape.oldest(MOST);
    let len = total_len(oldest);
    let levels = shape.deeper();
    let (chosen, output_level) = if let Some((group, output_level)) = shareless(shape, policy) {
        (group, output_level)
    } else {
        match levels.first() {
            None => (Selection::of(oldest.to_vec())?, policy.bottom()),
            Some(first) if first.number > LAST_RESORT => {
                if first.len <= len.saturating_mul(LIKE) && series(levels).len() >= MOST {
                    return None;
                }
                (Selection::of(oldest.to_vec())?, first.number - 1)
            }
            Some(_) => with_levels(oldest.to_vec(), len, levels)?,
        }
    };
    let is_free = chosen.is_free(shape, situation, output_level);
    is_free.then(|| chosen.plan(shape, policy, output_level, Reason::LevelZero))
}

/// The oldest table of level 0 and the deepest run that it can join as it is: keys that are
/// written in their order need no merge.
fn shareless<'t>(shape: &Shape<'t>, policy: &Policy) -> Option<(Selection<'t>, u32)> {
    let group = Selection::oldest(shape, policy, 0).filter(Selection::is_single)?;
    let levels = shape.deeper();
    let Some(first) = levels.first() else { return Some((group, policy.bottom())) };
    let free = levels.iter().take_while(|level| level.overlapping(group.span).is_empty());
    let output_level = free.last()?.number.max(first.number);
    Some((group, output_level))
}

/// The tables with the levels that they must be merged with where no level is left above: all that
/// are no larger than what is taken already, and at least the first.
fn with_levels<'t>(
    mut tables: Vec<&'t TableRecord>,
    mut len: u64,
    levels: &[Level<'t>],
) -> Option<(Selection<'t>, u32)> {
    let mut output_level = None;
    for level in levels {
        if output_level.is_some() && level.len > len {
            break;
        }
        tables.extend(&level.tables);
        len = len.saturating_add(level.len);
        output_level = Some(level.number);
    }
    Some((Selection::of(tables)?, output_level?))
}

fn from_levels(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    let levels = shape.deeper();
    (0..levels.len()).find_map(|start| {
        let series = series(levels.get(start..)?);
        let is_blocked =
            |level: &Level<'_>| level.tables.iter().any(|table| situation.is_input(table));
        let free = series.iter().position(is_blocked).unwrap_or(series.len());
        // The oldest of them, as in level 0.
        let chosen = series.get(free.saturating_sub(MOST)..free)?;
        let output_level = chosen.last().filter(|_| chosen.len() >= FEWEST)?.number;
        let tables = chosen.iter().flat_map(|level| &level.tables).copied().collect();
        let chosen = Selection::of(tables)?;
        let is_free = chosen.is_free(shape, situation, output_level);
        is_free.then(|| chosen.plan(shape, policy, output_level, Reason::Size))
    })
}

/// The longest series of runs of like size that begins with the first level.
fn series<'l, 't>(levels: &'l [Level<'t>]) -> &'l [Level<'t>] {
    let mut smallest = u64::MAX;
    let end = levels.iter().position(|level| {
        let is_unlike = level.len > smallest.saturating_mul(LIKE);
        smallest = smallest.min(level.len);
        is_unlike
    });
    levels.get(..end.unwrap_or(levels.len())).unwrap_or_default()
}
