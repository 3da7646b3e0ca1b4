//! The bulk load: sorted rows become a file that a database takes in at once.
//!
//! ```text
//!   put a, put b, put c … ─▶ TableWriter ─▶ a file ─▶ Db::ingest ─▶ tables of the database
//! ```
//!
//! # Invariants
//!
//! - A row that is refused leaves the writer as it was; after a failed write nothing goes on.
//! - The file has its name when it is complete, and never before. Without that, nothing is left.
//!
//! Spec: `format-spec/03-table.md`. I/O: through `storage`. Unsafe: none.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::row::{Kind, MAX_KEY_LEN, MAX_VALUE_LEN, Row};
use crate::options::{FilterSize, Options};
use crate::storage::{LoneFile, Storage};
use crate::table::{self, LONE_DATABASE, TableSettings};

/// The number of the table; of the two in the temporary names.
const TABLE_NUMBER: u64 = 0;
const SPOOL_NUMBER: u64 = 1;
/// Nobody looks for a key in the file: it is read once, from its start to its end.
const BLOCK_SIZE: usize = 64 << 10;

/// Writes a file of rows that come in the order of their keys, for [`Db::ingest`]: the fastest way to
/// bring many rows into a database.
///
/// It needs no database and no lock: any number of threads or processes may write a file each. A
/// writer that is dropped before [`finish`](Self::finish) leaves no file.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use tinydb::{Db, Options, TableWriter};
///
/// let path = dir.path().join("planets.table");
/// let mut writer = TableWriter::create(&path, &Options::new())?;
/// writer.put("planet/3", "earth")?;
/// writer.put("planet/4", "mars")?;
/// writer.finish()?;
///
/// let db = Db::open(dir.path().join("db"))?;
/// db.ingest(&[&path])?;
/// std::fs::remove_file(&path)?;
/// assert_eq!(db.get("planet/4")?.as_deref(), Some(&b"mars"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableWriter {
    storage: LoneFile,
    /// `Err` once a write has failed.
    writer: Result<table::TableWriter>,
}

/// What a finished file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// The file; absolute.
    pub path: PathBuf,
    /// Its length in bytes.
    pub file_len: u64,
    /// How many rows it has.
    pub row_count: u64,
    /// The first key.
    pub smallest: Vec<u8>,
    /// The last key.
    pub largest: Vec<u8>,
}

impl TableWriter {
    /// Begins the file `path`, which must not exist, under a temporary name beside it.
    ///
    /// The options have to be sound, and say nothing more yet: how rows lie in a database, and which
    /// filters there are, is for that database's own options to say.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] if something has that path; [`Error::InvalidArgument`] for an option
    /// out of its range; [`Error::Io`] if the file can't be made.
    pub fn create(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        options.validate()?;
        let storage = LoneFile::new(path.as_ref())?;
        let settings = TableSettings {
            block_size: BLOCK_SIZE,
            filter: FilterSize::None,
            database_id: LONE_DATABASE,
            hash_seed: storage.entropy(),
            operator: String::new(),
            features_optional: 0,
        };
        let file_id = storage.entropy();
        let writer =
            table::TableWriter::create(&storage, &settings, TABLE_NUMBER, SPOOL_NUMBER, file_id)?;
        Ok(Self { storage, writer: Ok(writer.packed()) })
    }

    /// Adds a row. Its key is larger than that of the row before, in bytewise order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a key that is not larger, [`Error::KeyTooLarge`],
    /// [`Error::ValueTooLarge`]: the row is not added, and the next one may be. [`Error::Io`] from
    /// writing: the file is given up, and every later call gives this error again.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let writer = self.writer.as_mut().map_err(|error| error.clone())?;
        let (key, value) = (key.as_ref(), value.as_ref());
        if key.len() > MAX_KEY_LEN {
            return Err(Error::KeyTooLarge { len: key.len() });
        }
        if value.len() as u64 > MAX_VALUE_LEN {
            return Err(Error::ValueTooLarge { len: value.len() });
        }
        if !writer.is_empty() && key <= writer.largest() {
            return Err(not_ascending(key, writer.largest()));
        }
        let added = writer
            .add(&self.storage, &Row { key, seqno: 0, kind: Kind::Put, expires_at: 0, value });
        if let Err(error) = &added {
            self.give_up(error.clone());
        }
        added
    }

    /// Completes the file.
    ///
    /// It is not synced: a crash of the machine may spoil it, which `ingest` finds, as it reads
    /// and checks all of it. What was ingested is durable, and no longer needs the file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if no row was added; [`Error::AlreadyExists`] if something got the
    /// path meanwhile; [`Error::Io`] from writing, now or earlier. There is no file then.
    pub fn finish(mut self) -> Result<TableInfo> {
        if self.writer.as_ref().is_ok_and(table::TableWriter::is_empty) {
            return Err(Error::invalid("a table without rows"));
        }
        let taken = std::mem::replace(&mut self.writer, Err(Error::Closed));
        let info = taken?.finish(&self.storage)?;
        Ok(TableInfo {
            path: self.storage.path(FileName::Table(TABLE_NUMBER)),
            file_len: info.file_len,
            row_count: info.row_count,
            smallest: info.smallest,
            largest: info.largest,
        })
    }

    /// Removes what there is of the file; later calls give this error.
    fn give_up(&mut self, error: Error) {
        if let Ok(writer) = std::mem::replace(&mut self.writer, Err(error)) {
            writer.abandon(&self.storage);
        }
    }
}

impl Db {
    /// Takes in the rows of files that a [`TableWriter`] wrote: all of them or none, newer than
    /// everything that was written before, and durable on return.
    ///
    /// The files stay as they are and are not needed any more. Their order does not matter.
    ///
    /// # Cost
    ///
    /// Each file is read, checked and written once, into tables that need no merge where the tree has
    /// no such keys: with writing the file, about a third of the processor time of batches. Writers go
    /// on meanwhile; at the end they wait until the memtable is flushed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if two files overlap, each taken from its first key to its last, or
    /// if a table was not written by a `TableWriter`; [`Error::Corrupt`] or
    /// [`Error::UnsupportedFormat`] by file; [`Error::Io`]; the error of a flush or compaction that
    /// failed in the background; [`Error::Poisoned`], [`Error::Closed`]. Nothing has changed then,
    /// unless the new manifest's fate is unknown: then writes are refused until a reopen finds out.
    ///
    /// # Examples
    ///
    /// See [`TableWriter`].
    pub fn ingest<P: AsRef<Path>>(&self, tables: &[P]) -> Result<()> {
        self.engine().ingest(tables.iter().map(AsRef::as_ref))
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        self.give_up(Error::Closed);
    }
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row_count = self.writer.as_ref().map_or(0, table::TableWriter::row_count);
        f.debug_struct("TableWriter")
            .field("path", &self.storage.path(FileName::Table(TABLE_NUMBER)))
            .field("row_count", &row_count)
            .finish_non_exhaustive()
    }
}

#[cold]
fn not_ascending(key: &[u8], largest: &[u8]) -> Error {
    let (key, largest) = (Shown(key), Shown(largest));
    Error::invalid(format!("keys have to ascend, and \"{key}\" does not lie above \"{largest}\""))
}

/// A key in an error message, not longer than a line.
struct Shown<'k>(&'k [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        let end = if self.0.len() > MOST { "…" } else { "" };
        write!(f, "{}{end}", self.0.get(..MOST).unwrap_or(self.0).escape_ascii())
    }
}
