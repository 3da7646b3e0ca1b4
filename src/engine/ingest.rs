//! The ingest: tables that were written outside become part of the database, all at once.
//!
//! ```text
//!   lone tables ─▶ read and checked ─▶ written anew, with one seqno ─▶ memtables flushed ─▶ manifest
//!                  └────────────── writers go on ───────────────┘     └─── writers wait ──┘
//! ```
//!
//! The rows have to be newer than all others, and so their seqno larger. It is drawn before they are
//! written, from the future: as far ahead as writers can't get meanwhile. Should they get there, all
//! is written again while they wait.
//!
//! # Invariants
//!
//! - When the rows become visible every memtable is flushed and its log obsolete: so tables are older
//!   than memtables, and the seqnos of a log continue those of the tables, as ever.
//! - Before the manifest names them nothing has changed, after it everything.
//! - What was finished shows without that manifest: there is a log then that begins behind the rows. So
//!   an open misses a manifest that is lost, and a repair tells these tables from left over ones.
//! - What is read is the caller's: it is never mapped, and nothing of it is believed.
//!
//! Spec: `format-spec/03-table.md`. I/O: reads the caller's files; through `storage`. Unsafe: none.

use std::path::Path;

use super::outputs::{Outputs, record_of, remove_tables};
use super::publish::Edit;
use super::{Engine, Writer, lock};
use crate::error::{Error, Result};
use crate::format::row::{Kind, Row};
use crate::options::ReadMode;
use crate::storage::Disk;
use crate::sync::atomic::Ordering;
use crate::table::{LoneTable, TableInfo};

/// How many seqnos writers have at least for what they write meanwhile; they get one more for each
/// row that is read.
const SEQNOS_FOR_WRITERS: u64 = 1 << 16;
/// After so many rows it is looked whether the database closes.
const CANCEL_INTERVAL: u64 = 1024;

/// Tables of this database that no version names yet; dropped, they are removed.
struct Copies<'e> {
    engine: &'e Engine,
    infos: Vec<TableInfo>,
    seqno: u64,
    user_bytes: u64,
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        remove_tables(self.engine, &self.infos);
    }
}

impl Engine {
    /// Takes in the rows of these files: all or none, newer than everything before, and durable.
    ///
    /// # Errors
    ///
    /// Those of a write; [`Error::InvalidArgument`] if the tables share a range of keys, or if one is no
    /// lone table; [`Error::Corrupt`] or [`Error::UnsupportedFormat`] by file; `Io`.
    pub(crate) fn ingest<'p>(&self, files: impl Iterator<Item = &'p Path>) -> Result<()> {
        self.check_open()?;
        self.check_poison()?;
        let tables = open_disjoint(files)?;
        if tables.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.ingesting);
        self.make_room(0)?;
        let row_count = tables.iter().fold(0_u64, |sum, t| sum.saturating_add(t.row_count()));
        let ahead = row_count.saturating_add(SEQNOS_FOR_WRITERS);
        let seqno = lock(&self.writer).next_seqno.saturating_add(ahead);
        let mut copies = self.copy(&tables, seqno)?;
        // What writers wait for below is short then.
        self.flush_memtables()?;
        let mut writer = lock(&self.writer);
        if writer.next_seqno > seqno {
            copies = self.copy(&tables, writer.next_seqno)?;
        }
        self.bring_in(&mut writer, copies)
    }

    /// Writes the rows of the tables, which ascend, into tables of this database.
    fn copy(&self, tables: &[LoneTable], seqno: u64) -> Result<Copies<'_>> {
        let mut outputs = Outputs::new(self, Vec::new()).ingested();
        let (mut row_count, mut user_bytes) = (0_u64, 0);
        for table in tables {
            table.read_all(|row| {
                if row_count.is_multiple_of(CANCEL_INTERVAL) {
                    self.check_open()?;
                }
                row_count += 1;
                user_bytes += (row.key.len() + row.value.len()) as u64;
                // A lone table says that it has nothing but puts; if it lies, the end of it tells.
                outputs.add(&Row { seqno, kind: Kind::Put, expires_at: 0, ..*row })
            })?;
        }
        Ok(Copies { engine: self, infos: outputs.finish()?, seqno, user_bytes })
    }

    /// Makes the copies part of the newest version, above all that was written before.
    fn bring_in(&self, writer: &mut Writer, mut copies: Copies<'_>) -> Result<()> {
        self.check_open()?;
        self.check_poison()?;
        self.freeze(writer)?;
        self.flush_frozen()?;
        let seqno = copies.seqno;
        let next_seqno = seqno.checked_add(1);
        let next_seqno = next_seqno.ok_or_else(|| Error::invalid("no sequence number is left"))?;
        let records = copies.infos.iter().cloned().map(|info| record_of(info, 0, seqno));
        let mut records: Vec<_> = records.collect();
        let written = records.iter().map(|record| record.file_len).sum();
        let mut publisher = lock(&self.publisher);
        let places = self.take_places(&mut records)?;
        let added = records.into_iter().map(|record| self.handle_of(record)).collect();
        let edit = Edit { added, last_seqno: seqno, ..Edit::default() };
        let outcome = self.publish_edit(&mut publisher, edit);
        if outcome.is_ok() || self.poison.get().is_some() {
            // A manifest names them, or may do so.
            copies.infos.clear();
        }
        outcome?;
        writer.next_seqno = next_seqno;
        // Only now does anybody see a row of them.
        self.visible.store(seqno, Ordering::Release);
        drop((publisher, places));
        // The ingest did succeed, whatever becomes of the log.
        let _ = self.begin_log(writer);
        self.changed.notify_all();
        self.counters.ingested.fetch_add(written, Ordering::Relaxed);
        self.counters.user.fetch_add(copies.user_bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Opens the tables and puts them in the order of their keys.
fn open_disjoint<'p>(files: impl Iterator<Item = &'p Path>) -> Result<Vec<LoneTable>> {
    let open = |path| LoneTable::open(Disk::open_path(path, ReadMode::Heap)?);
    let mut tables = files.map(open).collect::<Result<Vec<_>>>()?;
    tables.sort_by(|a, b| a.smallest().cmp(b.smallest()));
    for pair in tables.windows(2) {
        if let [before, after] = pair
            && before.largest() >= after.smallest()
        {
            let (before, after) = (before.path().display(), after.path().display());
            return Err(Error::invalid(format!("the keys of {before} and of {after} overlap")));
        }
    }
    Ok(tables)
}
