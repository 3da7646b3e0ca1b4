//! The version: which tables form the tree, at one moment.
//!
//! # Invariants
//!
//! - A version never changes; the next one shares the handles of the tables that stay.
//! - Tables are listed from the newest rows of a key to the oldest: level 0 newest first, then the
//!   deeper levels. The first hit on that way is the newest version.
//! - A table is opened when it is first needed, so opening a database costs the same whatever its
//!   size; its descriptor is closed once it is mapped.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `storage`, to open a table. Unsafe: none.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::TableRecord;
use crate::format::table_file;
use crate::options::{ChecksumPolicy, ReadMode};
use crate::storage::Storage;
use crate::table::Table;

/// The tables of a tree.
#[derive(Debug, Default)]
pub(crate) struct Version {
    tables: Vec<Arc<TableHandle>>,
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
        Self { tables }
    }

    /// The version with more tables.
    pub(super) fn with(&self, more: impl IntoIterator<Item = Arc<TableHandle>>) -> Self {
        Self::new(self.tables.iter().cloned().chain(more).collect())
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
    table: OnceLock<Arc<Table>>,
}

impl TableHandle {
    pub(super) fn new(
        record: TableRecord,
        storage: Arc<dyn Storage>,
        read_mode: ReadMode,
        checksums: ChecksumPolicy,
    ) -> Self {
        Self { record, storage, read_mode, checksums, table: OnceLock::new() }
    }

    /// Whether `key` lies between the smallest and the largest key of the table.
    #[inline]
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.record.smallest.as_slice() <= key && key <= self.record.largest.as_slice()
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
        // Two readers may open it at once; the second one's map is dropped again.
        Ok(self.table.get_or_init(|| Arc::new(table)))
    }
}
