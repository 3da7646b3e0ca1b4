//! The rescue of a damaged table: what can still be read of it becomes a table again.
//!
//! Blocks verify one by one, so damage costs a few rows and not a table. It is written anew because no
//! part of a damaged file is ever read again.
//!
//! # Invariants
//!
//! - The tables that were written go again unless a manifest may name them.
//!
//! Spec: none. I/O: through `storage`. Unsafe: none.

use std::cell::{Cell, RefCell};

use super::order::rows_of;
use super::survey::{Found, Identity, usable};
use super::tell::AGAIN;
use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::engine::outputs::{Outputs, remove_tables};
use crate::error::Result;
use crate::format::file_name::FileName;
use crate::format::range_tombstone::RangeTombstone;
use crate::format::row::Row;
use crate::options::{ChecksumPolicy, ReadMode};
use crate::range_tombstones::RangeTombstones;
use crate::table::{Salvage, Table, TableInfo};

/// Writes tables of what damaged ones still hold.
pub(super) struct Rescuer<'e> {
    pub(super) engine: &'e Engine,
    pub(super) identity: &'e Identity,
    written: RefCell<Vec<TableInfo>>,
    is_kept: Cell<bool>,
}

/// What becomes of a damaged table.
#[derive(Debug)]
pub(super) enum Remains {
    /// What could be read of it is a table again, or several.
    Rescued(Rescued),
    /// Nothing tells where its rows are.
    Nothing,
    /// It is another database's, or its rows are known to stand elsewhere.
    Unneeded,
}

/// What could be read of a damaged table.
#[derive(Debug)]
pub(super) struct Rescued {
    pub(super) tables: Vec<Found>,
    salvage: Salvage,
}

impl Remains {
    /// The tables that were made of it.
    pub(super) fn tables(&self) -> &[Found] {
        match self {
            Self::Rescued(rescued) => &rescued.tables,
            Self::Nothing | Self::Unneeded => &[],
        }
    }
}

impl Rescued {
    /// What is lost, in words; `None` if nothing is.
    pub(super) fn loss(&self) -> Option<String> {
        let Salvage { row_count, expected, after, before, .. } = &self.salvage;
        let lost = expected.checked_sub(*row_count).filter(|lost| *lost > 0)?;
        let key = |key: &[u8]| format!("\"{}\"", key.escape_ascii());
        let start = after.as_deref().map_or_else(|| "the start".to_owned(), key);
        let end = before.as_deref().map_or_else(|| "the end".to_owned(), key);
        Some(format!(
            "is damaged; {lost} of its {expected} rows, with keys between {start} and {end}, are lost: \
             {AGAIN}"
        ))
    }
}

impl<'e> Rescuer<'e> {
    pub(super) fn new(engine: &'e Engine, identity: &'e Identity) -> Self {
        Self { engine, identity, written: RefCell::default(), is_kept: Cell::new(false) }
    }

    /// Keeps what was written, whatever happens from now on.
    pub(super) fn keep(&self) {
        self.is_kept.set(true);
    }

    /// Keeps these tables as long as the others.
    pub(super) fn note(&self, infos: &[TableInfo]) {
        self.written.borrow_mut().extend_from_slice(infos);
    }

    /// Rescues a table if it is the database's, has this identity, and is wanted.
    ///
    /// # Errors
    ///
    /// `Io` from writing.
    pub(super) fn rescue(
        &self,
        number: u64,
        file_id: Option<u64>,
        is_wanted: impl Fn(&Found) -> bool,
    ) -> Result<Remains> {
        let storage = &*self.engine.storage;
        let name = FileName::Table(number);
        let opened = storage.open_region(name, ReadMode::Heap).and_then(|region| {
            let table = Table::open(region, ChecksumPolicy::Once)?;
            Ok((Found::of(&table, number)?, table))
        });
        let Ok((found, table)) = usable(&storage.path(name), opened)? else {
            return Ok(Remains::Nothing);
        };
        if file_id.is_some_and(|wanted| wanted != table.file_id()) {
            return Ok(Remains::Nothing);
        }
        if found.database_id() != self.identity.database_id || !is_wanted(&found) {
            return Ok(Remains::Unneeded);
        }
        let list = found.range_tombstones;
        let mut outputs = Outputs::new(self.engine, Vec::new());
        outputs.set_range_tombstones(list.clone().into());
        let salvage = table.salvage(|row| outputs.add(row))?;
        if outputs.lacks_row()
            && let Some(RangeTombstone { start, seqno, .. }) = list.newest().next()
        {
            // No table is without rows. This one says nothing that the first range does not say.
            outputs.add(&Row::tombstone(start, seqno))?;
        }
        let tables = self.finish(outputs, list)?;
        Ok(Remains::Rescued(Rescued { tables, salvage }))
    }

    /// Merges tables into one run that holds each version once; of two alike, that of the table with
    /// the larger number.
    ///
    /// # Errors
    ///
    /// As reading a table; `Io` from writing.
    pub(super) fn merge(&self, tables: &[&Found]) -> Result<Vec<Found>> {
        let mut numbers: Vec<u64> = tables.iter().map(|found| found.record.file_number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let lists = tables.iter().map(|found| &found.range_tombstones);
        let list = lists.fold(RangeTombstones::default(), |all, list| all.with_all(list));
        let mut outputs = Outputs::new(self.engine, Vec::new());
        outputs.set_range_tombstones(list.clone().into());
        let mut rows = rows_of(&*self.engine.storage, numbers.into_iter())?;
        let mut before: Option<(Vec<u8>, u64)> = None;
        rows.seek_first()?;
        while rows.valid() {
            let (key, seqno) = (rows.key(), rows.seqno());
            if before.as_ref().is_none_or(|before| (&*before.0, before.1) != (key, seqno)) {
                let (kind, expires_at) = (rows.kind(), rows.expires_at());
                outputs.add(&Row { key, seqno, kind, expires_at, value: rows.value() })?;
                let before = before.get_or_insert_default();
                before.0.clear();
                before.0.extend_from_slice(key);
                before.1 = seqno;
            }
            rows.next()?;
        }
        self.finish(outputs, list)
    }

    /// Ends tables, of which the first has these range tombstones.
    fn finish(&self, outputs: Outputs<'_>, list: RangeTombstones) -> Result<Vec<Found>> {
        let infos = outputs.finish()?;
        self.note(&infos);
        let mut lists = std::iter::once(list).chain(std::iter::repeat(RangeTombstones::default()));
        let tables = infos
            .into_iter()
            .map(|info| Found::written(info, lists.next().unwrap_or_default(), self.identity));
        Ok(tables.collect())
    }
}

impl Drop for Rescuer<'_> {
    fn drop(&mut self) {
        if !self.is_kept.get() {
            remove_tables(self.engine, &self.written.borrow());
        }
    }
}
