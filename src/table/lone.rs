//! A lone table: one that was written outside of any database, to be taken into one.
//!
//! It holds puts that never expire, one a key, all with the seqno 0. Whoever takes it in gives its
//! rows their seqno, and so writes them anew.
//!
//! Spec: `format-spec/03-table.md`. I/O: through a `Region`. Unsafe: none.

use std::path::Path;

use super::reader::Table;
use super::settings::LONE_DATABASE;
use crate::error::{Error, Result};
use crate::format::row::Row;
use crate::format::table_file::{KEY_RANGE, Properties, REGION_PROPERTIES};
use crate::options::ChecksumPolicy;
use crate::storage::Region;

/// A lone table that is open; of its rows nothing was read yet.
#[derive(Debug)]
pub(crate) struct LoneTable {
    table: Table,
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

impl LoneTable {
    /// Opens the lone table in `region`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if it is a table of another kind; else as [`Table::open`].
    pub(crate) fn open(region: Region) -> Result<Self> {
        let table = Table::open(region, ChecksumPolicy::Once)?;
        let footer = &table.frame.footer;
        let (row_count, max_seqno) = (footer.row_count.get(), footer.max_seqno.get());
        let (is_lone, smallest, largest) = table.with_properties(|properties| {
            let Properties { header, smallest_key, largest_key, .. } = properties;
            let others = [&header.delete_count, &header.merge_count, &header.expiring_count];
            let is_lone = header.database_id.get() == LONE_DATABASE
                && header.key_count.get() == row_count
                && header.range_tombstone_count.get() == 0
                && others.iter().all(|count| count.get() == 0);
            (is_lone && max_seqno == 0, smallest_key.to_vec(), largest_key.to_vec())
        })?;
        if !is_lone {
            return Err(Error::invalid(format!(
                "{} is a table that no TableWriter wrote",
                table.region.path().display()
            )));
        }
        Ok(Self { table, smallest, largest })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.table.region.path()
    }

    /// The first key, as the table says.
    pub(crate) fn smallest(&self) -> &[u8] {
        &self.smallest
    }

    /// The last key, as the table says.
    pub(crate) fn largest(&self) -> &[u8] {
        &self.largest
    }

    /// How many rows there are, as the table says.
    pub(crate) fn row_count(&self) -> u64 {
        self.table.frame.footer.row_count.get()
    }

    /// Gives every row in order, the first one not below [`smallest`](Self::smallest). If this returns
    /// `Ok`, what was given is all that the table says it holds.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for whatever of the file is not as it was written; what `take` gives.
    pub(crate) fn read_all(&self, mut take: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let mut is_first = true;
        self.table.read_all(|row| {
            // A last key that is not `largest` is found at the end, before another table's turn.
            if std::mem::take(&mut is_first) && row.key != self.smallest {
                let properties = self.table.frame.region(REGION_PROPERTIES);
                let at = properties.map_or(0, |entry| entry.offset.get());
                return Err(self.table.corrupt(at, KEY_RANGE.broken(0)));
            }
            take(row)
        })
    }
}
