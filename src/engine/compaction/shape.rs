//! The shape of a tree: which tables lie on which level, over which keys.
//!
//! # Invariants
//!
//! - Level 0 is listed newest first, and each of its tables is a run of its own.
//! - A deeper level is one run: its tables ascend by key and share none. Only levels that hold a
//!   table are listed, ascending.
//!
//! Spec: none. I/O: none. Unsafe: none.

use crate::format::manifest::TableRecord;

/// The tables of one tree.
#[derive(Debug, Default)]
pub(crate) struct Shape<'t> {
    level_zero: Vec<&'t TableRecord>,
    deeper: Vec<Level<'t>>,
}

/// A level below level 0: one sorted run.
#[derive(Debug)]
pub(super) struct Level<'t> {
    pub(super) number: u32,
    pub(super) tables: Vec<&'t TableRecord>,
    /// Bytes of its tables.
    pub(super) len: u64,
}

/// A range of keys, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span<'t> {
    pub(super) smallest: &'t [u8],
    pub(super) largest: &'t [u8],
}

impl<'t> Shape<'t> {
    /// The shape that these tables form, which are given in the order of a version: level 0 newest
    /// first, then the deeper levels by key.
    pub(crate) fn of(tables: impl Iterator<Item = &'t TableRecord>) -> Self {
        let mut shape = Self::default();
        for table in tables {
            match shape.deeper.last_mut() {
                _ if table.level == 0 => shape.level_zero.push(table),
                Some(level) if level.number == table.level => {
                    level.tables.push(table);
                    level.len = level.len.saturating_add(table.file_len);
                }
                _ => shape.deeper.push(Level {
                    number: table.level,
                    tables: vec![table],
                    len: table.file_len,
                }),
            }
        }
        shape
    }

    /// The tables of level 0, newest first.
    pub(super) fn level_zero(&self) -> &[&'t TableRecord] {
        &self.level_zero
    }

    /// The oldest tables of level 0, newest first.
    pub(super) fn oldest(&self, count: usize) -> &[&'t TableRecord] {
        let from = self.level_zero.len().saturating_sub(count);
        self.level_zero.get(from..).unwrap_or_default()
    }

    /// The levels below level 0 that hold a table.
    pub(super) fn deeper(&self) -> &[Level<'t>] {
        &self.deeper
    }

    /// The tables, from the newest rows of a key to the oldest.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'t TableRecord> {
        let deeper = self.deeper.iter().flat_map(|level| &level.tables);
        self.level_zero.iter().chain(deeper).copied()
    }

    /// How many sorted runs a reader finds.
    pub(super) fn run_count(&self) -> usize {
        self.level_zero.len() + self.deeper.len()
    }

    /// Bytes of level 0 and of the levels down to `level`.
    pub(super) fn len_down_to(&self, level: u32) -> u64 {
        let levels = self.deeper.iter().filter(|deeper| deeper.number <= level);
        let lens = levels.map(|level| level.len);
        lens.fold(total_len(&self.level_zero), u64::saturating_add)
    }

    /// The levels that hold a table, from `first` to `last`.
    pub(super) fn levels(&self, first: u32, last: u32) -> impl Iterator<Item = &Level<'t>> {
        self.deeper.iter().filter(move |level| (first..=last).contains(&level.number))
    }

    /// The next deeper level that holds a table.
    pub(super) fn below(&self, level: u32) -> Option<&Level<'t>> {
        self.deeper.iter().find(|deeper| deeper.number > level)
    }
}

impl<'t> Level<'t> {
    /// Its tables that may hold a key of `span`.
    pub(super) fn overlapping(&self, span: Span<'_>) -> &[&'t TableRecord] {
        let start = self.tables.partition_point(|table| table.largest.as_slice() < span.smallest);
        let end = self.tables.partition_point(|table| table.smallest.as_slice() <= span.largest);
        self.tables.get(start..end).unwrap_or_default()
    }
}

impl<'t> Span<'t> {
    /// The keys of a table.
    pub(super) fn of(table: &'t TableRecord) -> Self {
        Self { smallest: &table.smallest, largest: &table.largest }
    }

    /// The keys of tables and all between them; none if there is no table.
    pub(super) fn over(tables: impl IntoIterator<Item = &'t TableRecord>) -> Option<Self> {
        tables.into_iter().map(Self::of).reduce(Self::join)
    }

    /// The keys of both and all between them.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            smallest: self.smallest.min(other.smallest),
            largest: self.largest.max(other.largest),
        }
    }

    /// Whether a key lies in both.
    pub(super) fn overlaps(self, other: Span<'_>) -> bool {
        self.smallest <= other.largest && other.smallest <= self.largest
    }
}

/// Bytes of tables.
pub(super) fn total_len(tables: &[&TableRecord]) -> u64 {
    tables.iter().fold(0, |sum, table| sum.saturating_add(table.file_len))
}
