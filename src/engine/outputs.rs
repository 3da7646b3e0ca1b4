//! Outputs: sorted rows become tables, as many as their size asks for.
//!
//! A flush and a compaction write the same way: row after row into one table, a new one when it is
//! full, and nothing is left if anything fails.
//!
//! # Invariants
//!
//! - A key's versions are never split between two tables.
//! - Until [`finish`](Outputs::finish) returned, no file is part of any version; dropped before
//!   that, the files are removed.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::sync::Arc;

use super::Engine;
use crate::error::Result;
use crate::format::checksum::checksum;
use crate::format::file_name::FileName;
use crate::format::manifest::TableRecord;
use crate::format::row::Row;
use crate::format::table_file::INGESTED;
use crate::range_tombstones::RangeTombstones;
use crate::table::{TableInfo, TableSettings, TableWriter};

/// Tables in the making.
pub(super) struct Outputs<'e> {
    engine: &'e Engine,
    /// Keys at which a table ends if it has rows, ascending.
    cuts: std::vec::IntoIter<Vec<u8>>,
    next_cut: Option<Vec<u8>>,
    writer: Option<TableWriter>,
    infos: Vec<TableInfo>,
    /// What the first table gets besides rows.
    range_tombstones: Option<Arc<RangeTombstones>>,
    features_optional: u32,
}

impl<'e> Outputs<'e> {
    /// No table yet; one will end before the first key at or after each of `cuts`.
    pub(super) fn new(engine: &'e Engine, cuts: Vec<Vec<u8>>) -> Self {
        let mut cuts = cuts.into_iter();
        let next_cut = cuts.next();
        Self {
            engine,
            cuts,
            next_cut,
            writer: None,
            infos: Vec::new(),
            range_tombstones: None,
            features_optional: 0,
        }
    }

    /// The same, before its first row, for the rows of an ingest: its tables say so.
    pub(super) fn ingested(mut self) -> Self {
        self.features_optional |= INGESTED;
        self
    }

    /// Keeps the newest of these for each key in the first table, whatever its keys: a range
    /// tombstone counts wherever it lies.
    pub(super) fn set_range_tombstones(&mut self, list: Arc<RangeTombstones>) {
        mutant!(LoseRangeTombstones, return);
        self.range_tombstones = Some(list).filter(|list| !list.is_empty());
    }

    /// Whether there are range tombstones that no table has got yet, because there was no row.
    pub(super) fn lacks_row(&self) -> bool {
        self.range_tombstones.is_some()
    }

    /// Adds a row. Rows come in the order of their internal keys, no two alike.
    ///
    /// # Errors
    ///
    /// `Io` from writing.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<()> {
        if self.may_end_before(row.key) && self.has_not(row.key) {
            self.finish_table()?;
        }
        let writer = if let Some(writer) = &mut self.writer {
            writer
        } else {
            let writer = self.writer.insert(create_table(self.engine, self.features_optional)?);
            if let Some(list) = self.range_tombstones.take() {
                writer.set_range_tombstones(list.newest());
            }
            writer
        };
        writer.add(&*self.engine.storage, row)
    }

    /// Whether the key of the last row is another one.
    fn has_not(&self, key: &[u8]) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.largest() != key)
    }

    /// Whether the open table ends before a key, if that is a new one. A cut is met by the first
    /// row of a key only.
    fn may_end_before(&mut self, key: &[u8]) -> bool {
        let mut is_cut = false;
        while self.next_cut.as_deref().is_some_and(|cut| cut <= key) {
            self.next_cut = self.cuts.next();
            is_cut = true;
        }
        let table_size = self.engine.options.table_size;
        self.writer.as_ref().is_some_and(|writer| {
            is_cut || writer.len() >= table_size || !writer.takes_key_of(key.len())
        })
    }

    fn finish_table(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.infos.push(writer.finish(&*self.engine.storage)?);
        }
        Ok(())
    }

    /// Completes the last table and makes the names of all durable.
    ///
    /// # Errors
    ///
    /// `Io` from writing; nothing is left then.
    pub(super) fn finish(mut self) -> Result<Vec<TableInfo>> {
        self.finish_table()?;
        let names: Vec<_> =
            self.infos.iter().map(|info| FileName::Table(info.file_number)).collect();
        mutant!(SkipTableNameSync, Ok(()), else self.engine.storage.sync_names(&names))?;
        Ok(std::mem::take(&mut self.infos))
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abandon(&*self.engine.storage);
        }
        remove_tables(self.engine, &self.infos);
    }
}

/// Removes tables that no version names.
pub(super) fn remove_tables(engine: &Engine, infos: &[TableInfo]) {
    mutant!(KeepFailedTables, return);
    for info in infos {
        // What can't be removed now is removed when the database is opened next.
        let _ = engine.storage.remove(FileName::Table(info.file_number));
    }
}

fn create_table(engine: &Engine, features_optional: u32) -> Result<TableWriter> {
    let settings = TableSettings {
        block_size: engine.options.block_size,
        filter: engine.options.filter,
        database_id: engine.database_id,
        hash_seed: engine.hash_seed,
        operator: engine.merge_operator.clone().unwrap_or_default(),
        features_optional,
    };
    let (file_number, spool_number) = (engine.take_file_number(), engine.take_file_number());
    let file_id = checksum(&file_number.to_le_bytes(), engine.database_id);
    TableWriter::create(&*engine.storage, &settings, file_number, spool_number, file_id)
}

/// What the manifest says of a table at `level`.
/// `cleared_seqno`: no range tombstone up to it covers a row of the table.
pub(super) fn record_of(info: TableInfo, level: u32, cleared_seqno: u64) -> TableRecord {
    TableRecord {
        tree_id: 0,
        level,
        file_number: info.file_number,
        file_id: info.file_id,
        file_len: info.file_len,
        checksum: info.checksum,
        row_count: info.row_count,
        min_seqno: info.min_seqno,
        max_seqno: info.max_seqno,
        range_tombstone_count: info.range_tombstone_count,
        cleared_seqno,
        smallest: info.smallest,
        largest: info.largest,
    }
}
