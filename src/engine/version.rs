//! The version: which tables form the tree, at one moment.
//!
//! # Invariants
//!
//! - A version never changes; the next one shares the handles of the tables that stay.
//! - Tables are listed from the newest rows of a key to the oldest: level 0 newest first, then the
//!   deeper levels. The first hit on that way is the newest version.
//! - A read asks one table of each sorted run: a table of level 0 is a run, and so is each deeper
//!   level, whose tables hold disjoint ranges of keys.
//! - A table is opened when it is first needed, so opening a database costs the same whatever its
//!   size; its descriptor is closed once it is mapped.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `storage`, to open a table. Unsafe: none.

use std::ops::Range;
use std::sync::Arc;

use super::access::AccessControl;
use super::compaction::{Covered, covered_of};
use super::fences::Fences;
use super::range_deletes::{live_among, range_tombstones_of};
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::{RANGE_TOMBSTONES, TableRecord};
use crate::format::table_file;
use crate::options::{ChecksumPolicy, ReadMode};
use crate::range_tombstones::RangeTombstones;
use crate::storage::Storage;
use crate::sync::OnceLock;
use crate::table::Table;

/// The tables of a tree.
#[derive(Debug, Default)]
pub(crate) struct Version {
    tables: Vec<Arc<TableHandle>>,
    /// Which tables form the sorted runs: each table of level 0, then each deeper level.
    runs: Vec<Range<usize>>,
    fences: Fences,
    /// The largest seqno of any row or range tombstone.
    max_seqno: u64,
    /// Whether a table has range tombstones.
    deletes_ranges: bool,
    /// Whether the tables' maps are guarded.
    is_guarded: bool,
    /// Those of them that may cover a row of a table; made when they are first asked for.
    range_tombstones: OnceLock<Arc<RangeTombstones>>,
    /// The tables that they cover in part; made when it is first asked for.
    covered: OnceLock<Vec<Covered>>,
}

impl Version {
    /// A version of these tables, in any order.
    pub(super) fn new(mut tables: Vec<Arc<TableHandle>>) -> Self {
        tables.sort_by(|a, b| {
            let (a, b) = (&a.record, &b.record);
            a.level.cmp(&b.level).then_with(|| {
                if a.level == 0 {
                    (b.max_seqno, b.file_number).cmp(&(a.max_seqno, a.file_number))
                } else {
                    a.smallest.cmp(&b.smallest)
                }
            })
        });
        mutant!(OldestTableFirst, {
            let count = tables.partition_point(|table| table.record.level == 0);
            tables.get_mut(..count).unwrap_or_default().reverse();
        });
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut level_before = 0;
        for (index, table) in tables.iter().enumerate() {
            let level = table.record.level;
            match runs.last_mut() {
                Some(run) if level > 0 && level == level_before => run.end = index + 1,
                _ => runs.push(index..index + 1),
            }
            level_before = level;
        }
        let deletes_ranges = tables.iter().any(|table| table.record.range_tombstone_count > 0);
        let is_guarded = tables.iter().any(|table| table.read_mode == ReadMode::Guarded);
        let max_seqno = tables.iter().map(|table| table.record.max_seqno).max().unwrap_or(0);
        let records = tables.iter().map(|table| &table.record);
        let fences = Fences::new(records.map(|record| (&*record.smallest, &*record.largest)));
        let (range_tombstones, covered) = (OnceLock::new(), OnceLock::new());
        Self {
            tables,
            runs,
            fences,
            max_seqno,
            deletes_ranges,
            is_guarded,
            range_tombstones,
            covered,
        }
    }

    /// The version without the tables of these files, and with others.
    pub(super) fn edited(
        &self,
        removed: &[u64],
        added: impl IntoIterator<Item = Arc<TableHandle>>,
    ) -> Self {
        let stays = |table: &&Arc<TableHandle>| !removed.contains(&table.record.file_number);
        Self::new(self.tables.iter().filter(stays).cloned().chain(added).collect())
    }

    /// The largest seqno of any row or range tombstone; 0 if all are settled.
    #[inline]
    pub(crate) const fn max_seqno(&self) -> u64 {
        self.max_seqno
    }

    /// Whether a table has range tombstones.
    #[inline]
    pub(crate) const fn deletes_ranges(&self) -> bool {
        self.deletes_ranges
    }

    /// Whether the tables' maps are guarded: then no slice of them is believed.
    #[inline]
    pub(crate) const fn is_guarded(&self) -> bool {
        self.is_guarded
    }

    /// The range tombstones of all tables that may cover a row of one.
    ///
    /// # Cost
    ///
    /// When first asked for, if there are any: opens the tables that have some.
    ///
    /// # Errors
    ///
    /// As opening a table.
    pub(crate) fn range_tombstones(&self) -> Result<&Arc<RangeTombstones>> {
        if let Some(list) = self.range_tombstones.get() {
            return Ok(list);
        }
        let all = range_tombstones_of(&self.tables)?;
        let live = live_among(&all, self.tables.iter().map(|table| &table.record));
        Ok(self.range_tombstones.get_or_init(|| Arc::new(live)))
    }

    /// The tables that deleted ranges cover in part.
    ///
    /// # Cost
    ///
    /// When first asked for, if there are range tombstones: two index searches for each and each
    /// table that it covers. A table that can't be opened ends the list: whoever needs it is told.
    pub(super) fn covered(&self) -> &[Covered] {
        self.covered.get_or_init(|| covered_of(self).unwrap_or_default())
    }

    /// How many tables level 0 has.
    #[inline]
    pub(crate) fn level_0_count(&self) -> usize {
        self.tables.partition_point(|table| table.record.level == 0)
    }

    /// How many sorted runs there are: a read may have to look into each.
    #[inline]
    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Of each sorted run, from the newest rows to the oldest, the table that may hold `key`.
    #[inline]
    pub(crate) fn candidates(&self, key: &[u8]) -> impl Iterator<Item = &Arc<TableHandle>> {
        let head = self.fences.head(key);
        let find = move |run: &Range<usize>| self.candidate(run, key, head?);
        self.runs.iter().filter_map(find)
    }

    /// Of a sorted run, the table that may hold the key with this head.
    #[inline]
    fn candidate(&self, run: &Range<usize>, key: &[u8], head: u64) -> Option<&Arc<TableHandle>> {
        let table = if run.len() == 1 {
            self.fences.may_cover(run.start, head).then_some(run.start)
        } else {
            let is_below = |table: usize| {
                self.tables.get(table).is_some_and(|table| table.record.largest.as_slice() < key)
            };
            self.fences.find(run, head, is_below)
        };
        self.tables.get(table?)
    }

    /// The table, if there is just one.
    #[inline]
    pub(crate) fn only_table(&self) -> Option<&Arc<TableHandle>> {
        if let [only] = self.tables.as_slice() { Some(only) } else { None }
    }

    /// Which tables form each run, as places in [`tables`](Self::tables).
    pub(crate) fn run_ranges(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// The tables, from the newest rows to the oldest.
    #[inline]
    pub(crate) fn tables(&self) -> &[Arc<TableHandle>] {
        &self.tables
    }
}

/// A table of a version, open or not.
#[derive(Debug)]
pub(crate) struct TableHandle {
    pub(crate) record: TableRecord,
    storage: Arc<dyn Storage>,
    read_mode: ReadMode,
    checksums: ChecksumPolicy,
    access: Arc<AccessControl>,
    table: OnceLock<Arc<Table>>,
}

impl TableHandle {
    pub(super) fn new(
        record: TableRecord,
        storage: Arc<dyn Storage>,
        read_mode: ReadMode,
        checksums: ChecksumPolicy,
        access: Arc<AccessControl>,
    ) -> Self {
        Self { record, storage, read_mode, checksums, access, table: OnceLock::new() }
    }

    /// The same table, open if this one is, at another level.
    pub(super) fn moved(&self, level: u32) -> Self {
        Self {
            record: TableRecord { level, ..self.record.clone() },
            storage: Arc::clone(&self.storage),
            read_mode: self.read_mode,
            checksums: self.checksums,
            access: Arc::clone(&self.access),
            table: self.table.clone(),
        }
    }

    /// The table, if it was needed before.
    #[inline]
    pub(crate) fn opened(&self) -> Option<&Arc<Table>> {
        self.table.get()
    }

    /// The table, opened now if need be.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is not the one that the manifest speaks of; `Io`.
    #[inline]
    pub(crate) fn table(&self) -> Result<&Arc<Table>> {
        match self.table.get() {
            Some(table) => Ok(table),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&Arc<Table>> {
        match self.open_file() {
            // Two readers may open it at once; the second one's map is dropped again.
            Ok(table) => Ok(self.table.get_or_init(|| {
                self.access.join(&table);
                table
            })),
            // A merge may have opened it meanwhile, replaced it, and taken the name away.
            Err(error) => self.table.get().ok_or(error),
        }
    }

    fn open_file(&self) -> Result<Arc<Table>> {
        let name = FileName::Table(self.record.file_number);
        let region = self.storage.open_region(name, self.read_mode)?;
        let broken = |error| Error::corrupt(&self.storage.path(name), 0, error);
        if region.len() != self.record.file_len {
            let error = table_file::FOOTER_FILE.found(0, self.record.file_len, region.len());
            return Err(broken(error));
        }
        region.advise_huge();
        let table = Table::open(region, self.checksums)?;
        if table.file_id() != self.record.file_id {
            let error = table_file::FOOTER_FILE.found(32, self.record.file_id, table.file_id());
            return Err(broken(error));
        }
        // Tables that have none by their record are never asked for any.
        let (expected, found) = (self.record.range_tombstone_count, table.range_tombstone_count());
        if expected != found {
            return Err(broken(RANGE_TOMBSTONES.found(0, expected, found)));
        }
        Ok(Arc::new(table))
    }
}
