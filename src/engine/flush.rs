//! The flush: the oldest frozen memtable becomes tables of level 0.
//!
//! ```text
//!   rows ─▶ TMP-n … TABLE-n ─▶ sync directory ─▶ manifest ─▶ new version ─▶ remove old logs
//! ```
//!
//! Usually one table; more if the rows fill more than `table_size`, or a key is too long for the
//! slots of the table before it. A key's versions are never split.
//!
//! # Invariants
//!
//! - One flush at a time, oldest memtable first: so the tables of level 0 are ordered by seqno and
//!   logs become obsolete in order.
//! - A failed flush changes nothing: its files are removed, and the retry uses new numbers.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::version::TableHandle;
use super::view::View;
use super::{Engine, Frozen, Publisher, lock};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::format::checksum::checksum;
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, TableRecord};
use crate::format::row::Row;
use crate::manifest;
use crate::memtable::{Memtable, MemtableCursor};
use crate::table::{TableInfo, TableSettings, TableWriter};

impl Engine {
    /// Turns the memtable into tables, on return.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed); [`Error::Poisoned`](crate::Error::Poisoned); `Io`
    /// from writing.
    pub(crate) fn flush(&self) -> Result<()> {
        {
            let mut writer = lock(&self.writer);
            self.check_open()?;
            self.check_poison()?;
            if !writer.memtable.is_empty() {
                self.freeze(&mut writer)?;
            }
        }
        self.flush_frozen()
    }

    /// Flushes until no memtable is frozen.
    pub(super) fn flush_frozen(&self) -> Result<()> {
        while self.flush_oldest()? {}
        Ok(())
    }

    /// Flushes the oldest frozen memtable; false if there is none.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let mut publisher = lock(&self.publisher);
        let Some(frozen) = lock(&self.tree).frozen.front().cloned() else { return Ok(false) };
        // A close that has ended gave the lock away: nothing may be written after it.
        self.check_open()?;
        self.check_poison()?;
        let flushed = self.flush_memtable(&mut publisher, &frozen);
        lock(&self.tree).failure = flushed.as_ref().err().cloned();
        self.changed.notify_all();
        flushed.map(|()| true)
    }

    fn flush_memtable(&self, publisher: &mut Publisher, frozen: &Frozen) -> Result<()> {
        let infos = self.write_tables(&frozen.memtable)?;
        let outcome = self.storage.sync_dir().and_then(|()| {
            let records = infos.iter().cloned().map(record_of);
            let data = ManifestData {
                manifest_number: self.take_file_number(),
                last_seqno: publisher.manifest.last_seqno.max(frozen.memtable.max_seqno()),
                oldest_log: frozen.log_number.saturating_add(1),
                next_file_number: self.next_file_number.load(Ordering::Relaxed),
                tables: publisher.manifest.tables.iter().cloned().chain(records).collect(),
                ..publisher.manifest.clone()
            };
            self.publish(publisher, data)
        });
        if let Err(error) = outcome {
            if self.poison.get().is_none() {
                self.remove_tables(&infos);
            }
            return Err(error);
        }
        self.install_flushed(frozen.log_number, infos);
        self.clean_up(publisher);
        Ok(())
    }

    /// Makes `data` the newest version on disk.
    pub(super) fn publish(&self, publisher: &mut Publisher, data: ManifestData) -> Result<()> {
        if let Err(failed) = manifest::publish(&*self.storage, &data) {
            if failed.rename_began {
                // Whether the new version is the newest one after a crash can't be known.
                self.poison(&failed.error);
            }
            return Err(failed.error);
        }
        publisher.previous_manifest = Some(publisher.manifest.manifest_number);
        self.manifest_number.store(data.manifest_number, Ordering::Release);
        publisher.manifest = data;
        Ok(())
    }

    fn install_flushed(&self, log_number: u64, infos: Vec<TableInfo>) {
        // The log is obsolete now: nobody needs to sync it any more.
        lock(&self.older_logs).retain(|log| log.number() != log_number);
        let mut tree = lock(&self.tree);
        tree.frozen.pop_front();
        let old = self.view.load();
        let handles = infos.into_iter().map(|info| self.handle_of(record_of(info)));
        let version = Arc::new(old.version.with(handles));
        let view = View::of(&tree, Arc::clone(&old.active), version);
        self.install(&tree, view);
    }

    /// The handle of a table of this database.
    pub(super) fn handle_of(&self, record: TableRecord) -> Arc<TableHandle> {
        let (mode, checksums) = (self.options.read_mode, self.options.checksums);
        Arc::new(TableHandle::new(record, Arc::clone(&self.storage), mode, checksums))
    }

    /// Writes all rows of a memtable. On an error nothing of it is left.
    pub(super) fn write_tables(&self, memtable: &Arc<Memtable>) -> Result<Vec<TableInfo>> {
        let mut infos = Vec::new();
        let mut writer = None;
        let written = self.write_rows(memtable, &mut writer, &mut infos);
        let finished = written.and_then(|()| match writer.take() {
            Some(writer) => self.finish_table(writer, &mut infos),
            None => Ok(()),
        });
        if let Err(error) = finished {
            if let Some(writer) = writer {
                writer.abandon(&*self.storage);
            }
            self.remove_tables(&infos);
            return Err(error);
        }
        Ok(infos)
    }

    fn write_rows(
        &self,
        memtable: &Arc<Memtable>,
        open: &mut Option<TableWriter>,
        infos: &mut Vec<TableInfo>,
    ) -> Result<()> {
        let mut rows = MemtableCursor::new(Arc::clone(memtable));
        let mut last_key = Vec::new();
        rows.seek_first()?;
        while rows.valid() {
            let row = Row {
                key: rows.key(),
                seqno: rows.seqno(),
                kind: rows.kind(),
                expires_at: rows.expires_at(),
                value: rows.value(),
            };
            let new_key = open.is_none() || last_key != row.key;
            let full = |writer: &mut TableWriter| {
                writer.len() >= self.options.table_size || !writer.takes_key_of(row.key.len())
            };
            if new_key && let Some(writer) = open.take_if(full) {
                self.finish_table(writer, infos)?;
            }
            let writer = match open {
                Some(writer) => writer,
                None => open.insert(self.create_table()?),
            };
            writer.add(&*self.storage, &row)?;
            if new_key {
                last_key.clear();
                last_key.extend_from_slice(row.key);
            }
            rows.next()?;
        }
        Ok(())
    }

    fn create_table(&self) -> Result<TableWriter> {
        let settings = TableSettings {
            block_size: self.options.block_size,
            filter: self.options.filter,
            database_id: self.database_id,
            hash_seed: self.hash_seed,
            operator: self.merge_operator.clone().unwrap_or_default(),
        };
        let (file_number, spool_number) = (self.take_file_number(), self.take_file_number());
        let file_id = checksum(&file_number.to_le_bytes(), self.database_id);
        TableWriter::create(&*self.storage, &settings, file_number, spool_number, file_id)
    }

    fn finish_table(&self, writer: TableWriter, infos: &mut Vec<TableInfo>) -> Result<()> {
        infos.push(writer.finish(&*self.storage)?);
        Ok(())
    }

    fn remove_tables(&self, infos: &[TableInfo]) {
        for info in infos {
            // What can't be removed now is removed when the database is opened next.
            let _ = self.storage.remove(FileName::Table(info.file_number));
        }
    }
}

/// What the manifest says of a table of level 0.
pub(super) fn record_of(info: TableInfo) -> TableRecord {
    TableRecord {
        tree_id: 0,
        level: 0,
        file_number: info.file_number,
        file_id: info.file_id,
        file_len: info.file_len,
        checksum: info.checksum,
        row_count: info.row_count,
        min_seqno: info.min_seqno,
        max_seqno: info.max_seqno,
        smallest: info.smallest,
        largest: info.largest,
    }
}
