//! The database handle: what users hold.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

mod repair;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::WriteBatch;
use crate::engine::{Engine, Hit, Now, Stats, VerifyReport};
use crate::error::{Error, Result};
use crate::iter::{Cursor, Entry, Iter, KeyCursor, Prefix};
use crate::options::{Durability, Options};
use crate::range::KeyRange;
use crate::snapshot::Snapshot;
use crate::storage::Disk;
use crate::value::{SmallBytes, Value};

mod steps;

/// An open database. A clone is another handle of the same one.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = tinydb::Db::open(dir.path())?;
/// db.put("planet", "earth")?;
/// assert_eq!(db.get("planet")?.as_deref(), Some(&b"earth"[..]));
/// for entry in db.prefix("pl") {
///     let entry = entry?;
///     println!("{:?} = {:?}", entry.key(), entry.value());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Db {
    handle: Arc<Handle>,
}

/// What all clones share; the last one closes the database.
#[derive(Debug)]
struct Handle {
    engine: Arc<Engine>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.engine.close();
    }
}

impl Options {
    /// Opens the database at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for an option out of its range; [`Error::NotFound`],
    /// [`Error::AlreadyExists`], [`Error::NotADatabase`] or [`Error::Locked`] for what is there;
    /// [`Error::Corrupt`] and [`Error::UnsupportedFormat`] by file; [`Error::Io`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db> {
        Db::open_on(Arc::new(Disk::new(path.as_ref())), self)
    }
}

impl Db {
    /// Opens the database at `path` with default options; makes it if there is nothing.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// Gives `key` the value `value`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        self.write(batch.put(key, value))
    }

    /// Gives `key` the value `value` for the time `ttl`, kept in whole seconds, rounded up: from the
    /// second on at which it ends, the key is absent. A later put without a time to live never expires.
    ///
    /// A row that has expired takes space until a flush or compaction drops it.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); [`Error::InvalidArgument`] for a `ttl` of zero or one that can't
    /// be represented.
    pub fn put_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        let mut batch = WriteBatch::new();
        self.write(batch.put_with_ttl(key, value, ttl))
    }

    /// Gives `key` what the merge operator of the options makes of `operand` and of what is there.
    ///
    /// Nothing is read: the operand is written like a value, and the operator works when the key is
    /// read, flushed or compacted. Onto a value that will expire nothing is folded for good: before
    /// that time the key reads as both, from then on as the operands alone.
    ///
    /// # Cost
    ///
    /// That of a put. A read of the key folds what was merged since the last flush: the operands
    /// are copied, and the operator called once for all of them. A read that meets more than 1,024
    /// asks a background thread for a flush.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); [`Error::NoMergeOperator`] if the database was opened without
    /// one, and nothing is written.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        self.write(batch.merge(key, operand))
    }

    /// Makes `key` absent. Fine if it is already.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = WriteBatch::new();
        self.write(batch.delete(key))
    }

    /// Makes all keys of a range absent, in time that does not depend on how many there are.
    ///
    /// An inverted or empty range deletes nothing.
    ///
    /// # Cost
    ///
    /// One row in the log and a *range tombstone*, which reads look up until compactions have
    /// removed what it covers; tables that it covers whole are removed without being read.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn delete_range(&self, range: impl KeyRange) -> Result<()> {
        let mut batch = WriteBatch::new();
        self.write(batch.delete_range(range))
    }

    /// Applies a batch, all of it or nothing, with the durability of the options.
    ///
    /// # Cost
    ///
    /// One append to the log, and a sync for `Durability::Sync`, shared with the writers that come
    /// at the same time; then an insert into the memtable for each operation.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`] or [`Error::InvalidArgument`] of a bad
    /// operation, and nothing is applied. [`Error::Io`] if the log can't be written: then whether
    /// the batch survives is unknown until the database is reopened, and further writes are
    /// [`Error::Poisoned`]. The error of a flush that failed in the background. [`Error::Closed`].
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        self.engine().write(batch, None)
    }

    /// As [`write`](Self::write), with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_with(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.engine().write(batch, Some(durability))
    }

    /// Makes everything written before durable, `Buffered` writes too.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the log can't be synced, and further writes are [`Error::Poisoned`];
    /// [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        self.engine().sync()
    }

    /// The newest value of `key`; `None` if it is absent.
    ///
    /// A short value is copied; a long one points into the table's map and keeps that map, and so
    /// the file's disk space, alive.
    ///
    /// # Cost
    ///
    /// As [`Snapshot::get`], and pinning this moment: a few atomic operations. To read many keys,
    /// take a [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is not general over the lifetime"
    )]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value<'static>>> {
        self.engine().get(key.as_ref(), false, |hit| hit.into_owned_value())
    }

    /// As [`get`](Self::get), with the seqno and the expiry of the row.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry<'static>>> {
        let key = key.as_ref();
        self.engine().get(key, true, |hit| {
            let (seqno, expires_at) = (hit.seqno, hit.expires_at);
            Entry::new(SmallBytes::copied(key), hit.into_owned_value(), seqno, expires_at)
        })
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.engine().get(key.as_ref(), false, |_| ())?.is_some())
    }

    /// The values of `keys` at one moment, in the order of the request.
    ///
    /// # Cost
    ///
    /// As [`Snapshot::multi_get`], and what [`get`](Self::get) adds for each value.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`]; the first one's.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value<'static>>>> {
        let pin = self.engine().pin()?;
        let now = Now::Fixed(pin.now_secs);
        pin.view.multi_get(keys, pin.seqno, now, Hit::into_owned_value)
    }

    /// Iterates over all entries in key order, as they are now.
    pub fn iter(&self) -> Iter<'static> {
        self.range(..)
    }

    /// Iterates over the entries of a range of keys, as they are now.
    pub fn range(&self, range: impl KeyRange) -> Iter<'static> {
        Iter::owned(self.engine().pin(), &range)
    }

    /// Iterates over the entries whose key starts with `prefix`, as they are now.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter<'static> {
        Iter::owned(self.engine().pin(), &Prefix::new(prefix.as_ref()))
    }

    /// A cursor over all entries as they are now, on none yet.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'static> {
        Cursor::new(self.engine().pin())
    }

    /// A cursor over all keys, on none yet, which never looks at a value.
    #[must_use]
    pub fn key_cursor(&self) -> KeyCursor<'static> {
        KeyCursor::new(self.engine().pin())
    }

    /// Pins this moment for reading. O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.engine())
    }

    /// Turns the memtable into table files, on return: everything written before is then durable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: nothing is lost and a retry is fine. [`Error::Poisoned`]; [`Error::Closed`].
    pub fn flush(&self) -> Result<()> {
        self.engine().flush()
    }

    /// Merges everything into one sorted run, on return: hidden versions and tombstones are gone, and
    /// a read looks into one table. O(database): reads and writes all of it, unless it is so already.
    ///
    /// Readers and writers go on meanwhile; what they write is not part of it. There is no need to
    /// call this: tables are merged in the background, see [`CompactionStyle`](crate::CompactionStyle).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); [`Error::Corrupt`] if a table can't be read. All tables stay then.
    pub fn compact(&self) -> Result<()> {
        self.engine().compact()
    }

    /// Merges the tables that may hold keys of a range down to the last level, on return.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn compact_range(&self, range: impl KeyRange) -> Result<()> {
        self.engine().compact_range(&range)
    }

    /// Waits until no flush and no merge is due, and does what is due: then reads look into as few
    /// tables as they ever will if nothing more is written. The memtable stays as it is.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn wait_idle(&self) -> Result<()> {
        self.engine().wait_idle()
    }

    /// Brings the tables into memory, so that the first reads need not wait for the disk; the bytes
    /// that this is.
    ///
    /// Where the data does not fit into memory (`stats().access`) these are the filters and
    /// indexes alone. Nothing keeps them there: the system takes memory back as it needs it. It does
    /// nothing, and says 0, with [`ReadMode::Heap`](crate::ReadMode::Heap).
    ///
    /// # Cost
    ///
    /// One sequential read of the tables, less what is in memory; on Linux it has ended on return,
    /// elsewhere the system is asked to do it. Filters and indexes alone are only asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if a table can't be opened; [`Error::Io`], [`Error::Closed`].
    pub fn warm(&self) -> Result<u64> {
        self.engine().warm()
    }

    /// Reads and checks every byte of every file that the database needs. O(database).
    ///
    /// Writers wait meanwhile; readers don't.
    ///
    /// # Errors
    ///
    /// Only if it can't run: [`Error::Io`], [`Error::Closed`]. Damage is listed in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.engine().verify()
    }

    /// Figures of this moment; the last ones if the database is closed.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// Closes the database for all clones: every write is durable and the lock is free on return.
    /// Closing again is fine. Snapshots, iterators, cursors and values live on.
    ///
    /// The last drop closes too, but can't report an error.
    ///
    /// # Cost
    ///
    /// A sync of the log. If more than a few hundred rows were not flushed yet (64 KiB), they are
    /// flushed, so that the next open need not replay them; a flush that fails is no error, as
    /// the log holds them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the log can't be synced; [`Error::Poisoned`] if that failed before. The
    /// database is closed all the same.
    pub fn close(self) -> Result<()> {
        self.engine().close()
    }
}

impl IntoIterator for &Db {
    type Item = Result<Entry<'static>, Error>;
    type IntoIter = Iter<'static>;

    fn into_iter(self) -> Iter<'static> {
        self.iter()
    }
}
