//! The leveled style: few runs and little space, by levels that grow tenfold.
//!
//! ```text
//!   level 0   ▪▪▪▪▪▪▪▪        tables as flushed; 8 to 12 of them go down together
//!   level 5   ▭▭▭▭            at most a tenth of the level below
//!   level 6   ▭▭▭▭▭▭▭▭▭▭▭▭▭▭  the bottom: nearly all rows
//! ```
//!
//! Levels are made from the bottom upward, and only when one is needed: level 0 is merged straight
//! into the first level that holds tables while that is at most [`WORTH`] times as large. Else a
//! new level is begun above it. A tree of less than some 5 GB, at default options, is levels 0
//! and 6; and tiny flushes never rewrite a large level.
//!
//! # Invariants
//!
//! - A level above its target, a tenth of the next one, gives away the tables that overlap the
//!   next level least for their length.
//! - In a tree of several levels all that lies above the bottom is kept below 0.14 of it, so that
//!   space stays within 1.15 times the live rows.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::picker::{Plan, Policy, Reason, Situation};
use super::quiet::WORTH;
use super::selection::Selection;
use super::shape::{Level, Shape, Span, total_len};
use crate::format::manifest::TableRecord;

/// How many times a level is as large as the one above it.
const RATIO: u64 = 10;

/// How many tables of level 0 ask for a merge: the more, the larger the level that they meet, so
/// that it is rewritten less often. Writers are slowed from 16.
const ZERO_TRIGGER: RangeInclusive<u64> = 8..=12;

/// With so many tables, level 0 does not wait for a job below it.
const ZERO_PRESSURE: usize = 14;

/// What may lie above the bottom, in thousandths of it.
const UPPER_PART: u64 = 140;

/// The part of the bottom, in thousandths, that a level must have to be pushed down for space:
/// a smaller one would cost more writing than space is worth.
const LEAST_PART: u64 = 50;

/// A score at which there is something to do: the limits are kept in thousandths.
const DUE: u64 = 1_000;

/// The next plan by score: the part that most exceeds its limit goes down first.
pub(super) fn pick(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    let zero = [(zero_score(shape), None, Reason::LevelZero)];
    let pairs = shape.deeper().iter().zip(shape.deeper().iter().skip(1));
    let levels = pairs.map(|(level, next)| {
        let (score, reason) = level_score(shape, situation, level, next);
        (score, Some((level, next)), reason)
    });
    let mut due: Vec<_> = zero.into_iter().chain(levels).filter(|part| part.0 >= DUE).collect();
    due.sort_by_key(|part| Reverse(part.0));
    due.into_iter().find_map(|(_, levels, reason)| match levels {
        None => down_from_zero(shape, policy, situation),
        Some((level, next)) => down(shape, policy, situation, level, next, reason),
    })
}

/// How full level 0 is.
fn zero_score(shape: &Shape<'_>) -> u64 {
    let zero = shape.level_zero();
    let (count, len) = (zero.len() as u64, total_len(zero));
    let first = shape.deeper().first().map_or(0, |level| level.len);
    // So many tables are half of the level that they meet.
    let worth = first / 2 / (len / count.max(1)).max(1);
    let trigger = worth.clamp(*ZERO_TRIGGER.start(), *ZERO_TRIGGER.end());
    thousandths(count, trigger)
}

/// How full a level is, and what it is full by. What a job is taking away does not count.
fn level_score(
    shape: &Shape<'_>,
    situation: &Situation<'_>,
    level: &Level<'_>,
    next: &Level<'_>,
) -> (u64, Reason) {
    let is_free = |table: &&&TableRecord| !situation.is_input(table);
    let free: Vec<_> = level.tables.iter().filter(is_free).copied().collect();
    let len = total_len(&free);
    let by_size = thousandths(len.saturating_mul(RATIO), next.len);
    if shape.below(next.number).is_some() || thousandths(len, next.len) < LEAST_PART {
        return (by_size, Reason::Size);
    }
    let busy = level.len.saturating_sub(len);
    let upper = shape.len_down_to(level.number).saturating_sub(busy);
    let by_space = thousandths(upper, next.len).saturating_mul(DUE) / UPPER_PART;
    // Space can wait for what is due otherwise: level 0 holds writers back.
    if by_space >= DUE && by_size < DUE { (DUE, Reason::Space) } else { (by_size, Reason::Size) }
}

/// Brings the oldest tables of level 0 down.
fn down_from_zero(shape: &Shape<'_>, policy: &Policy, situation: &Situation<'_>) -> Option<Plan> {
    let Some(first) = shape.deeper().first().map(|level| level.number) else {
        return zero_plan(shape, policy, situation, policy.bottom());
    };
    let group = Selection::oldest(shape, policy, first)?;
    let is_worth = group.len() <= group.len_above(first).saturating_mul(WORTH);
    let above = (first > 1).then(|| first - 1);
    let (wanted, other) = match above {
        Some(above) if !is_worth => (above, None),
        _ if shape.level_zero().len() >= ZERO_PRESSURE => (first, above),
        _ => (first, None),
    };
    let mut outputs = [Some(wanted), other].into_iter().flatten();
    outputs.find_map(|output_level| zero_plan(shape, policy, situation, output_level))
}

fn zero_plan(
    shape: &Shape<'_>,
    policy: &Policy,
    situation: &Situation<'_>,
    output_level: u32,
) -> Option<Plan> {
    let group = Selection::oldest(shape, policy, output_level)?;
    let output_level = deepest_free(shape, &group, output_level);
    let is_free = group.is_free(shape, situation, output_level);
    is_free.then(|| group.plan(shape, policy, output_level, Reason::LevelZero))
}

/// The deepest level that a single table can go to as it is; `from` for what is merged.
fn deepest_free(shape: &Shape<'_>, group: &Selection<'_>, from: u32) -> u32 {
    if !group.is_single() {
        return from;
    }
    let lower = shape.levels(from + 1, u32::MAX);
    let free = lower.take_while(|level| level.overlapping(group.span).is_empty());
    free.last().map_or(from, |level| level.number)
}

/// Brings tables of a level to the next one: the table that overlaps least there for its length,
/// and its neighbors that cost nothing more.
fn down(
    shape: &Shape<'_>,
    policy: &Policy,
    situation: &Situation<'_>,
    level: &Level<'_>,
    next: &Level<'_>,
    reason: Reason,
) -> Option<Plan> {
    let mut tables = level.tables.clone();
    tables.sort_by_cached_key(|table| {
        let overlap = total_len(next.overlapping(Span::of(table)));
        thousandths(overlap, table.file_len)
    });
    tables.into_iter().find_map(|table| {
        let chosen = Selection::closed(shape, &[table], next.number, next.number)?;
        let span = chosen.span;
        let covered = |table: &&&TableRecord| {
            span.smallest <= table.smallest.as_slice() && table.largest.as_slice() <= span.largest
        };
        let inside = level.overlapping(span).iter().filter(covered).copied().collect::<Vec<_>>();
        let chosen = Selection::closed(shape, &inside, next.number, next.number)?;
        let is_free = chosen.is_free(shape, situation, next.number);
        is_free.then(|| chosen.plan(shape, policy, next.number, reason))
    })
}

/// A part of a whole, in thousandths.
fn thousandths(part: u64, whole: u64) -> u64 {
    let thousandths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(thousandths).unwrap_or(u64::MAX)
}
