//! The snapshot: a pinned moment, and the fast way to read many keys.
//!
//! # Invariants
//!
//! - Whatever is written, flushed, compacted or closed later, a snapshot sees the same rows.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::sync::Arc;

use crate::engine::{Engine, Hit, Now, Pin};
use crate::error::{Error, Result};
use crate::iter::{Cursor, Entry, Iter, KeyCursor};
use crate::range::KeyRange;
use crate::value::{SmallBytes, Value};

/// A pinned moment of a database.
///
/// Reads through a snapshot borrow from the mapped files: no lock, no copy, no reference count.
/// It keeps the files that it reads, and so their disk space, until it is dropped.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = tinydb::Db::open(dir.path())?;
/// db.put("planet", "earth")?;
/// let before = db.snapshot();
/// db.put("planet", "mars")?;
/// assert_eq!(before.get("planet")?.as_deref(), Some(&b"earth"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `Err` if the database was closed when it was taken.
    pin: Result<Arc<Pin>>,
}

impl Snapshot {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self { pin: engine.pin().map(Arc::new) }
    }

    fn pin(&self) -> Result<&Pin> {
        match &self.pin {
            Ok(pin) => Ok(pin),
            Err(error) => Err(error.clone()),
        }
    }

    /// The value of `key`, borrowed from the snapshot; `None` if it is absent.
    ///
    /// # Cost
    ///
    /// Of each sorted run that can hold the key, its filter; of the one that does, an index search
    /// and two cache misses. No lock, no allocation, no system call; page faults may wait.
    ///
    /// A key with merge operands costs a cursor over the runs that may hold it, a copy of the
    /// operands, and a call of the operator. While there are range tombstones, a search in the list
    /// of each memtable and of the tables comes first.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if a checksum on the way fails; [`Error::Io`] if a table can't be read, with
    /// [`ReadMode::Guarded`](crate::ReadMode::Guarded) also while it is; [`Error::NoMergeOperator`] or
    /// [`Error::Merge`] of a key with merge operands; [`Error::Closed`] if the database was closed
    /// when the snapshot was taken.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value<'_>>> {
        let pin = self.pin()?;
        let now = Now::Fixed(pin.now_secs);
        pin.view.get(key.as_ref(), pin.seqno, now, false, Hit::into_value)
    }

    /// As [`get`](Self::get), with the seqno and the expiry of the row.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry<'_>>> {
        let pin = self.pin()?;
        let key = key.as_ref();
        pin.view.get(key, pin.seqno, Now::Fixed(pin.now_secs), true, |hit| {
            let (seqno, expires_at) = (hit.seqno, hit.expires_at);
            Entry::new(SmallBytes::copied(key), hit.into_value(), seqno, expires_at)
        })
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.get(key).map(|value| value.is_some())
    }

    /// The values of `keys`, in any order and as often as wanted, in the order of the request.
    ///
    /// # Cost
    ///
    /// Less than half of a [`get`](Self::get) a key where memory is what a get waits for: the keys
    /// go through the steps of a get in groups, and a group's cache misses overlap.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the first one's.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value<'_>>>> {
        let pin = self.pin()?;
        let now = Now::Fixed(pin.now_secs);
        pin.view.multi_get(keys, pin.seqno, now, Hit::into_value)
    }

    /// Iterates over all entries in key order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(..)
    }

    /// Iterates over the entries of a range of keys.
    pub fn range(&self, range: impl KeyRange) -> Iter<'_> {
        Iter::borrowed(self.pin(), &range)
    }

    /// Iterates over the entries whose key starts with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter<'_> {
        Iter::borrowed(self.pin(), &crate::iter::Prefix::new(prefix.as_ref()))
    }

    /// A cursor over all entries, on none yet.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.pin().cloned())
    }

    /// A cursor over all keys, on none yet, which never looks at a value.
    #[must_use]
    pub fn key_cursor(&self) -> KeyCursor<'_> {
        KeyCursor::new(self.pin().cloned())
    }
}

impl<'s> IntoIterator for &'s Snapshot {
    type Item = Result<Entry<'s>, Error>;
    type IntoIter = Iter<'s>;

    fn into_iter(self) -> Iter<'s> {
        self.iter()
    }
}
