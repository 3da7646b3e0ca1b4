//! The order of tables that no manifest puts in order: which of them hold the newer rows.
//!
//! A reader takes the first version of a key that it meets, so of two tables that share a key the one
//! with the newer version has to come first. Seqnos say which: those of whole tables, or where these
//! cross, those of the rows, which are then all walked once.
//!
//! ```text
//!   TABLE-9   a … m   seqnos 20 to 60 ┐ cross: the rows are asked     ─▶ level 5   TABLE-9
//!   TABLE-7   c … z   seqnos 10 to 70 ┘   c 55 in 9, c 12 in 7        ─▶ level 6   TABLE-7  TABLE-4
//!   TABLE-4   a … b   seqnos  1 to  5     older than both
//! ```
//!
//! # Invariants
//!
//! - Every table sinks as deep as older ones that it overlaps let it; the deepest level is used first.
//!   On level 0 are only tables whose seqnos lie above those of all that are not.
//! - A table goes only if each of its rows stands in another one that stays.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: maps tables that were read before. Unsafe: none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::survey::Found;
use crate::cursor::{Cursor, MergingCursor};
use crate::error::Result;
use crate::format::checksum::checksum;
use crate::format::file_name::FileName;
use crate::format::manifest::MAX_LEVEL_COUNT;
use crate::options::{ChecksumPolicy, ReadMode};
use crate::storage::Storage;
use crate::table::{Table, TableCursor};

/// The deepest level of a tree of few runs.
const USUAL_BOTTOM: u32 = 6;

/// Where tables belong. Tables are meant by their places in what was asked about.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The level of each table.
    pub(super) levels: Vec<u32>,
    /// Tables without a row of their own: others hold the same.
    pub(super) spare: Vec<usize>,
    /// Pairs, the newer first, that share keys and whose seqnos cross.
    pub(super) crossing: Vec<(usize, usize)>,
    /// Pairs of which each holds versions that are newer than the other's, or that hold the same
    /// version: not both are part of one version of the database.
    pub(super) clashing: Vec<(usize, usize)>,
    /// The tables of those pairs and what they overlap, directly or through others: no order makes
    /// readers see the newest rows of all of them.
    pub(super) disordered: Vec<usize>,
}

impl Order {
    /// Finds the order of these tables.
    ///
    /// # Cost
    ///
    /// O(n²) for n tables; and reads all rows of tables that overlap in keys and seqnos.
    ///
    /// # Errors
    ///
    /// As reading a table.
    pub(super) fn of(storage: &dyn Storage, tables: &[&Found]) -> Result<Self> {
        let mut order = Self { levels: vec![0; tables.len()], ..Self::default() };
        let crossing = pairs(tables).filter(|(a, b)| crosses(tables, *a, *b));
        order.crossing = crossing.collect();
        let evidence = Evidence::gather(storage, tables, entangled(tables, &order.crossing))?;
        order.spare = evidence.spare(tables);
        let (sorted, broken) = sort(tables, &evidence, &order.spare);
        let same = evidence.alike.keys().filter_map(|group| {
            let stays = group.iter().filter(|table| !order.spare.contains(table));
            let stays: Vec<usize> = stays.copied().collect();
            stays.first().copied().zip(stays.get(1).copied())
        });
        let clashing = broken.into_iter().chain(evidence.clashes.iter().copied()).chain(same);
        // Each pair once, whichever way.
        let clashing: BTreeSet<_> = clashing.map(|(a, b)| (a.max(b), a.min(b))).collect();
        order.clashing = clashing.into_iter().collect();
        let is_spare = |table: usize| order.spare.contains(&table);
        order.crossing.retain(|(a, b)| !is_spare(*a) && !is_spare(*b));
        order.clashing.retain(|(a, b)| !is_spare(*a) && !is_spare(*b));
        order.sink(tables, &sorted);
        let disordered = entangled(tables, &order.clashing).into_iter();
        order.disordered = disordered.filter(|table| !order.spare.contains(table)).collect();
        Ok(order)
    }

    /// Gives levels to tables that are sorted from the newest to the oldest.
    fn sink(&mut self, tables: &[&Found], sorted: &[usize]) {
        // How many tables lie below each, one on the other.
        let mut heights: BTreeMap<usize, u32> = BTreeMap::new();
        for table in sorted.iter().rev() {
            let below = heights.iter().filter(|(other, _)| overlap(tables, *table, **other));
            let height = below.map(|(_, height)| height + 1).max().unwrap_or(0);
            heights.insert(*table, height);
        }
        let height = |table: &usize| heights.get(table).copied().unwrap_or(0);
        let may_be_zero = strictly_newer(tables, sorted);
        let deeper = sorted.get(may_be_zero..).unwrap_or_default();
        let needed = deeper.iter().map(|table| height(table) + 1).max().unwrap_or(0);
        let bottom = needed.clamp(USUAL_BOTTOM, MAX_LEVEL_COUNT - 1);
        for (place, table) in sorted.iter().enumerate() {
            let level = bottom.saturating_sub(height(table));
            if let Some(place) = self.levels.get_mut(*table) {
                *place = level;
            }
            if level == 0 && place >= may_be_zero {
                // More runs than there are levels: level 0 goes by seqno alone.
                let next = sorted.get(place + 1).copied().unwrap_or(*table);
                self.clashing.push((*table, next));
            }
        }
    }
}

/// The rows of tables that were read before, by their numbers: of two rows with the same key and seqno
/// that of the table named first comes first.
///
/// # Errors
///
/// As opening a table.
pub(super) fn rows_of(
    storage: &dyn Storage,
    numbers: impl Iterator<Item = u64>,
) -> Result<MergingCursor<TableCursor>> {
    let mut cursors = Vec::new();
    for number in numbers {
        // Mapped, for there may be more tables than files can be open.
        let region = storage.open_region(FileName::Table(number), ReadMode::Mmap)?;
        let table = Table::open(region, ChecksumPolicy::Once)?;
        cursors.push(TableCursor::new(Arc::new(table)));
    }
    Ok(MergingCursor::new(cursors))
}

/// What the rows say.
#[derive(Debug, Default)]
struct Evidence {
    /// The tables whose rows were asked.
    walked: BTreeSet<usize>,
    /// Pairs of which the first holds a newer version of some key.
    above: BTreeSet<(usize, usize)>,
    /// How many rows stand just so in all tables of a group, which is sorted.
    alike: BTreeMap<Vec<usize>, u64>,
    /// Pairs, the table with the larger number first, that give one version other contents.
    clashes: BTreeSet<(usize, usize)>,
}

/// The walk over rows that gathers evidence.
#[derive(Debug, Default)]
struct Walk {
    evidence: Evidence,
    key: Vec<u8>,
    seqno: u64,
    /// Who holds the version of the key before this one.
    newer: Vec<usize>,
    /// Who holds this version, and what it contains.
    here: Vec<(usize, u64)>,
}

impl Evidence {
    fn gather(storage: &dyn Storage, tables: &[&Found], walked: BTreeSet<usize>) -> Result<Self> {
        let mut children: Vec<(usize, u64)> = walked
            .iter()
            .filter_map(|table| Some((*table, tables.get(*table)?.record.file_number)))
            .collect();
        // Of two tables with the same version the one with the larger number comes first.
        children.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
        let mut rows = rows_of(storage, children.iter().map(|(_, number)| *number))?;
        let mut walk = Walk::default();
        rows.seek_first()?;
        while rows.valid() {
            let content = checksum(rows.value(), rows.kind() as u64 ^ (rows.expires_at() << 2));
            if let Some((table, _)) = children.get(rows.child_index()) {
                walk.row(*table, rows.key(), rows.seqno(), content);
            }
            rows.next()?;
        }
        walk.end_version();
        Ok(Self { walked, ..walk.evidence })
    }

    /// Tables of which each row stands in another one that stays: the later ones first, as a merge
    /// that did not end leaves them.
    fn spare(&self, tables: &[&Found]) -> Vec<usize> {
        let mut candidates: BTreeSet<(u64, usize)> = BTreeSet::new();
        for table in self.alike.keys().flatten() {
            if let Some(found) = tables.get(*table) {
                candidates.insert((found.record.file_number, *table));
            }
        }
        let mut spare = Vec::new();
        for (_, table) in candidates.into_iter().rev() {
            let is_elsewhere = |group: &&Vec<usize>| {
                group.contains(&table)
                    && group.iter().any(|other| *other != table && !spare.contains(other))
            };
            let groups = self.alike.iter().filter(|(group, _)| is_elsewhere(group));
            let count: u64 = groups.map(|(_, count)| count).sum();
            let Some(found) = tables.get(table) else { continue };
            let list = &found.range_tombstones;
            // Range tombstones have to stand in another one too, just so.
            let has_same = |(other, found): (usize, &&Found)| {
                other != table && !spare.contains(&other) && found.range_tombstones == *list
            };
            let is_spare = list.is_empty() || tables.iter().enumerate().any(has_same);
            if is_spare && found.record.row_count == count {
                spare.push(table);
            }
        }
        spare
    }
}

impl Walk {
    fn row(&mut self, table: usize, key: &[u8], seqno: u64, content: u64) {
        let is_same_key = !self.here.is_empty() && self.key == key;
        if !is_same_key || self.seqno != seqno {
            self.end_version();
            self.seqno = seqno;
        }
        if !is_same_key {
            self.newer.clear();
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        self.here.push((table, content));
    }

    fn end_version(&mut self) {
        let pairs = self.here.iter().flat_map(|(table, _)| {
            let newer = self.newer.iter().filter(move |newer| *newer != table);
            newer.map(move |newer| (*newer, *table))
        });
        self.evidence.above.extend(pairs);
        if let [(first, content), others @ ..] = self.here.as_slice()
            && !others.is_empty()
        {
            let differs = others.iter().filter(|(_, other)| other != content);
            let clashes: Vec<_> = differs.map(|(other, _)| (*first, *other)).collect();
            if clashes.is_empty() {
                let mut group: Vec<usize> = self.here.iter().map(|(table, _)| *table).collect();
                group.sort_unstable();
                *self.evidence.alike.entry(group).or_default() += 1;
            }
            self.evidence.above.extend(&clashes);
            self.evidence.clashes.extend(clashes);
        }
        self.newer.clear();
        self.newer.extend(self.here.iter().map(|(table, _)| *table));
        self.here.clear();
    }
}

/// Sorts the tables from the newest to the oldest, but for spare ones; also gives the pairs that are
/// not in order then, because each holds newer rows than the other.
fn sort(
    tables: &[&Found],
    evidence: &Evidence,
    spare: &[usize],
) -> (Vec<usize>, Vec<(usize, usize)>) {
    let is_above = |a: usize, b: usize| {
        if evidence.walked.contains(&a) && evidence.walked.contains(&b) {
            // Ranges of keys may overlap without a key that is in both.
            return evidence.above.contains(&(a, b));
        }
        overlap(tables, a, b) && is_newer(tables, a, b)
    };
    let stays = |table: &usize| !spare.contains(table);
    let mut above: BTreeMap<usize, BTreeSet<usize>> =
        (0..tables.len()).filter(stays).map(|table| (table, BTreeSet::new())).collect();
    for (a, b) in pairs(tables).filter(|(a, b)| stays(a) && stays(b)) {
        for (upper, lower) in [(a, b), (b, a)] {
            if is_above(upper, lower)
                && let Some(uppers) = above.get_mut(&lower)
            {
                uppers.insert(upper);
            }
        }
    }
    let age = |table: &usize| {
        tables.get(*table).map(|found| (found.record.max_seqno, found.record.file_number))
    };
    let (mut sorted, mut broken) = (Vec::new(), Vec::new());
    while !above.is_empty() {
        let free = above.iter().filter(|(_, uppers)| uppers.is_empty()).map(|(table, _)| *table);
        let next = free.max_by_key(age).or_else(|| above.keys().copied().max_by_key(age));
        let Some(next) = next else { break };
        let uppers = above.remove(&next).unwrap_or_default();
        broken.extend(uppers.into_iter().map(|upper| (upper, next)));
        for uppers in above.values_mut() {
            uppers.remove(&next);
        }
        sorted.push(next);
    }
    (sorted, broken)
}

/// How many tables at the start of a sorted list are newer, each with all its rows, than all that
/// follow it.
fn strictly_newer(tables: &[&Found], sorted: &[usize]) -> usize {
    let mut newest_behind = None;
    let mut count = sorted.len();
    for (place, table) in sorted.iter().enumerate().rev() {
        let Some(record) = tables.get(*table).map(|found| &found.record) else { continue };
        if newest_behind >= Some(record.min_seqno) {
            count = place;
        }
        newest_behind = newest_behind.max(Some(record.max_seqno));
    }
    count
}

/// The tables that overlap a table of these pairs, directly or through others.
fn entangled(tables: &[&Found], pairs: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let mut asked: Vec<usize> = found.iter().copied().collect();
    while let Some(table) = asked.pop() {
        let more = (0..tables.len()).filter(|other| overlap(tables, table, *other));
        asked.extend(more.filter(|other| found.insert(*other)));
    }
    found
}

/// All pairs of tables.
fn pairs(tables: &[&Found]) -> impl Iterator<Item = (usize, usize)> {
    let count = tables.len();
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// Whether two tables may share a key.
fn overlap(tables: &[&Found], a: usize, b: usize) -> bool {
    let (a, b) = (tables.get(a), tables.get(b));
    a.zip(b).is_some_and(|(a, b)| a.overlaps(&b.record))
}

/// Whether all rows of the first are newer than those of the second.
fn is_newer(tables: &[&Found], a: usize, b: usize) -> bool {
    let (a, b) = (tables.get(a), tables.get(b));
    a.zip(b).is_some_and(|(a, b)| a.record.min_seqno > b.record.max_seqno)
}

/// Whether two tables may share a key, and neither is newer than the other.
fn crosses(tables: &[&Found], a: usize, b: usize) -> bool {
    overlap(tables, a, b) && !is_newer(tables, a, b) && !is_newer(tables, b, a)
}
