//! The survey: every file of the directory is read, and is whole or is not.
//!
//! Files are read to the heap, never mapped: what a failing disk can't give is an error then, and
//! no signal.
//!
//! Spec: `format-spec/`, every rule. I/O: reads through `storage`. Unsafe: none.

use std::collections::BTreeMap;
use std::path::Path;

use super::logs::{LogHead, read_head};
use crate::engine::outputs::record_of;
use crate::engine::range_deletes::covers_all_of;
use crate::engine::verify::Problem;
use crate::error::{Error, Result};
use crate::format::file_name::{self, FileName};
use crate::format::manifest::{ManifestData, TableRecord};
use crate::format::range_tombstones::RangeTombstoneRegion;
use crate::manifest;
use crate::options::{ChecksumPolicy, ReadMode};
use crate::range_tombstones::RangeTombstones;
use crate::storage::{Listing, Storage};
use crate::table::{Table, TableInfo};

/// Why a file of another database is not used.
const FOREIGN: &str = "it belongs to another database";

/// What the directory holds.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) identity: Identity,
    /// The newest manifest that can be read.
    pub(super) manifest: Option<ManifestData>,
    /// There is or was a newer one: its file can't be read, or a log was made under it.
    pub(super) lacks_newer: bool,
    /// The tables of this database that are whole, by file number.
    pub(super) tables: BTreeMap<u64, Found>,
    /// What the headers of this database's logs say, where they are whole.
    pub(super) heads: BTreeMap<u64, LogHead>,
    /// What can't be used, and why.
    pub(super) unusable: Vec<Unusable>,
}

/// Which database it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) database_id: u64,
    pub(super) hash_seed: u64,
    pub(super) merge_operator: Option<String>,
}

/// A table that is whole.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What a manifest would say of it, on level 0.
    pub(super) record: TableRecord,
    /// The smallest seqno of its rows and range tombstones.
    pub(super) oldest: u64,
    /// The largest one.
    pub(super) newest: u64,
    pub(super) range_tombstones: RangeTombstones,
    /// Whether it says that an ingest wrote it.
    is_ingested: bool,
    /// The number that its name had when it was written.
    written_as: u64,
    identity: Identity,
}

/// A file that can't be used, and why.
#[derive(Clone, Debug)]
pub(super) struct Unusable {
    pub(super) name: FileName,
    pub(super) problem: Problem,
}

impl Unusable {
    pub(super) fn new(storage: &dyn Storage, name: FileName, rule: impl Into<String>) -> Self {
        let problem = Problem { path: storage.path(name), offset: 0, rule: rule.into() };
        Self { name, problem }
    }
}

impl Survey {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if no file tells which database it is; [`Error::UnsupportedFormat`] of a
    /// newer build's file; `Io` from opening one.
    pub(super) fn of(storage: &dyn Storage, listing: Listing) -> Result<Self> {
        let mut unusable = Vec::new();
        let (mut manifests, mut tables, mut heads) = Default::default();
        for name in &listing.files {
            match *name {
                FileName::Manifest(number) => {
                    let read = manifest::load(storage, number);
                    keep(storage, *name, read, &mut manifests, &mut unusable)?;
                }
                FileName::Table(number) => {
                    let read = read_table(storage, number);
                    keep(storage, *name, read, &mut tables, &mut unusable)?;
                }
                // Damage in a log is judged later; its header may be whole all the same.
                FileName::Log(number) => {
                    keep(storage, *name, read_head(storage, number), &mut heads, &mut Vec::new())?;
                }
                FileName::Lock | FileName::Tmp(_) => {}
            }
        }
        let mut heads: BTreeMap<u64, LogHead> = heads.into_iter().filter_map(whole).collect();
        let votes = votes(&tables, &heads);
        let (manifest, identity) = choose_identity(&manifests, &tables, &heads, &votes)
            .ok_or_else(|| nothing_to_go_by(storage, &listing))?;
        let id = identity.database_id;
        let foreign = |name| Unusable::new(storage, name, FOREIGN);
        for (number, _) in manifests.iter().filter(|(_, data)| data.database_id != id) {
            unusable.push(foreign(FileName::Manifest(*number)));
        }
        for (number, _) in tables.iter().filter(|(_, table)| table.identity.database_id != id) {
            unusable.push(foreign(FileName::Table(*number)));
        }
        tables.retain(|_, table| table.identity.database_id == id);
        for (number, _) in heads.iter().filter(|(_, head)| head.database_id != id) {
            unusable.push(foreign(FileName::Log(*number)));
        }
        heads.retain(|_, head| head.database_id == id);
        let newest = manifest.as_ref().map_or(0, |data| data.manifest_number);
        let is_newer =
            |file: &Unusable| matches!(file.name, FileName::Manifest(number) if number > newest);
        let lacks_newer = unusable.iter().any(is_newer)
            || heads.values().any(|head| head.manifest_number > newest);
        Ok(Self { listing, identity, manifest, lacks_newer, tables, heads, unusable })
    }

    /// The number of the table that this one is a copy of, if it is one.
    pub(super) fn original_of(&self, found: &Found) -> Option<u64> {
        let original = self.tables.get(&found.written_as)?;
        let is_copy = original.record.file_number != found.record.file_number
            && original.record.file_id == found.record.file_id;
        is_copy.then_some(found.written_as)
    }

    /// Whether a table comes of an ingest of which nothing shows that it was finished. Its seqno was
    /// drawn from the future, and stayed there: a finished one begins a log behind it.
    pub(super) fn is_unfinished_ingest(&self, found: &Found) -> bool {
        let has_no_trace = self.heads.values().all(|head| head.first_seqno <= found.newest)
            && self.tables.values().all(|table| table.is_ingested || table.newest <= found.newest);
        // Without any log and manifest, a lost log may have told.
        let is_log = |name: &FileName| matches!(name, FileName::Log(_));
        let is_told = self.manifest.is_some() || self.listing.files.iter().any(is_log);
        found.is_ingested && has_no_trace && is_told
    }

    /// Whether this file is another database's.
    pub(super) fn is_foreign(&self, name: FileName) -> bool {
        self.unusable.iter().any(|file| file.name == name && file.problem.rule == FOREIGN)
    }

    /// Whether this file is known to be of no use.
    pub(super) fn is_unusable(&self, name: FileName) -> bool {
        self.unusable.iter().any(|file| file.name == name)
    }
}

impl Found {
    /// A table that was just written for this database, with these range tombstones.
    pub(super) fn written(
        info: TableInfo,
        range_tombstones: RangeTombstones,
        identity: &Identity,
    ) -> Self {
        let written_as = info.file_number;
        Self::new(record_of(info, 0, 0), range_tombstones, written_as, identity.clone())
    }

    /// What a table says of itself.
    ///
    /// # Errors
    ///
    /// As its properties.
    pub(super) fn of(table: &Table, number: u64) -> Result<Self> {
        let record = record_of(table.info(number)?, 0, 0);
        let (written_as, database_id, operator) = table.with_properties(|properties| {
            let header = properties.header;
            let operator = properties.operator.to_owned();
            (header.file_number.get(), header.database_id.get(), operator)
        })?;
        let list = table.range_tombstones();
        let list = RangeTombstones::new(list.iter().flat_map(RangeTombstoneRegion::iter));
        let merge_operator = Some(operator).filter(|name| !name.is_empty());
        let identity = Identity { database_id, hash_seed: table.hash_seed(), merge_operator };
        let is_ingested = table.is_ingested();
        Ok(Self { is_ingested, ..Self::new(record, list, written_as, identity) })
    }

    pub(super) fn database_id(&self) -> u64 {
        self.identity.database_id
    }

    fn new(
        record: TableRecord,
        range_tombstones: RangeTombstones,
        written_as: u64,
        identity: Identity,
    ) -> Self {
        let oldest = range_tombstones.newest().map(|tombstone| tombstone.seqno).min();
        Self {
            oldest: oldest.unwrap_or(u64::MAX).min(record.min_seqno),
            newest: range_tombstones.max_seqno().max(record.max_seqno),
            record,
            range_tombstones,
            is_ingested: false,
            written_as,
            identity,
        }
    }

    /// Whether the rows of a table may share a key with this one's.
    pub(super) fn overlaps(&self, other: &TableRecord) -> bool {
        self.record.smallest <= other.largest && other.smallest <= self.record.largest
    }

    /// Whether it is the table that a manifest speaks of.
    pub(super) fn is(&self, record: &TableRecord) -> bool {
        let facts = |table: &TableRecord| {
            (table.file_id, table.file_len, table.checksum, table.range_tombstone_count)
        };
        facts(&self.record) == facts(record)
    }

    /// Whether its range tombstones cover all rows of a table.
    pub(super) fn deletes_all_of(&self, record: &TableRecord) -> bool {
        covers_all_of(&self.range_tombstones, record)
    }
}

/// Keeps what was read of a file, or why it can't be.
fn keep<T>(
    storage: &dyn Storage,
    name: FileName,
    read: Result<T>,
    found: &mut BTreeMap<u64, T>,
    unusable: &mut Vec<Unusable>,
) -> Result<()> {
    match usable(&storage.path(name), read)? {
        Ok(read) => {
            found.insert(name.number().unwrap_or(0), read);
        }
        Err(problem) => unusable.push(Unusable { name, problem }),
    }
    Ok(())
}

/// Tells damage from what a repair can do nothing about: that ends it.
pub(super) fn usable<T>(path: &Path, read: Result<T>) -> Result<Result<T, Problem>> {
    match read {
        Err(error @ (Error::Corrupt { .. } | Error::Io { op: "read", .. })) => {
            Ok(Err(Problem::of(path, &error)))
        }
        Err(error) => Err(error),
        Ok(read) => Ok(Ok(read)),
    }
}

fn whole((number, head): (u64, Option<LogHead>)) -> Option<(u64, LogHead)> {
    Some((number, head?))
}

/// Reads and checks all of a table.
fn read_table(storage: &dyn Storage, number: u64) -> Result<Found> {
    let region = storage.open_region(FileName::Table(number), ReadMode::Heap)?;
    let table = Table::open(region, ChecksumPolicy::Once)?;
    table.verify()?;
    Found::of(&table, number)
}

/// How many tables and logs each database has, and the largest number of one.
fn votes(
    tables: &BTreeMap<u64, Found>,
    heads: &BTreeMap<u64, LogHead>,
) -> BTreeMap<u64, (usize, u64)> {
    let of_tables = tables.iter().map(|(number, table)| (table.identity.database_id, *number));
    let of_logs = heads.iter().map(|(number, head)| (head.database_id, *number));
    let mut votes = BTreeMap::new();
    for (id, number) in of_tables.chain(of_logs) {
        let (count, newest) = votes.entry(id).or_insert((0, 0));
        *count += 1;
        *newest = number.max(*newest);
    }
    votes
}

/// The newest manifest that a file of the directory belongs to, and whose database it is. Without
/// one, the database that most files belong to.
fn choose_identity(
    manifests: &BTreeMap<u64, ManifestData>,
    tables: &BTreeMap<u64, Found>,
    heads: &BTreeMap<u64, LogHead>,
    votes: &BTreeMap<u64, (usize, u64)>,
) -> Option<(Option<ManifestData>, Identity)> {
    let belongs = |data: &&ManifestData| votes.is_empty() || votes.contains_key(&data.database_id);
    let manifest = manifests.values().rev().find(belongs);
    let database_id = match manifest {
        Some(data) => data.database_id,
        None => *votes.iter().max_by_key(|(_, votes)| **votes)?.0,
    };
    let head = heads.values().rev().find(|head| head.database_id == database_id);
    let own = || tables.values().rev().filter(|table| table.identity.database_id == database_id);
    let hash_seed = (manifest.map(|data| data.hash_seed))
        .or_else(|| head.map(|head| head.hash_seed))
        .or_else(|| own().next().map(|table| table.identity.hash_seed))?;
    let merge_operator = (manifest.and_then(|data| data.merge_operator.clone()))
        .or_else(|| head.and_then(|head| head.merge_operator.clone()))
        .or_else(|| own().find_map(|table| table.identity.merge_operator.clone()));
    Some((manifest.cloned(), Identity { database_id, hash_seed, merge_operator }))
}

/// No file says which database this is.
fn nothing_to_go_by(storage: &dyn Storage, listing: &Listing) -> Error {
    let orphan = listing.files.iter().find(|name| **name != FileName::Lock);
    let orphan = orphan.copied().unwrap_or(FileName::Lock);
    Error::corrupt(&storage.path(orphan), 0, file_name::MANIFEST.broken(0))
}
