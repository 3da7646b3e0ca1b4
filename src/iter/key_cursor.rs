//! The key cursor: a cursor that never looks at a value.
//!
//! # Invariants
//!
//! - It stands on the entries that a [`Cursor`] over the same moment stands on.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use super::cursor::Cursor;
use crate::engine::{Pin, Wanted};
use crate::error::Result;

/// A position among the keys of a snapshot, for those who don't want the values.
///
/// # Cost
///
/// As a [`Cursor`], but values that lie outside of the blocks are never read, those in blocks only for the
/// block's checksum, and no merge operator is asked: a database that was opened without one shows
/// the keys that have operands, too.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = tinydb::Db::open(dir.path())?;
/// db.put("a", vec![0; 1 << 20])?;
/// let mut keys = db.key_cursor();
/// assert!(keys.seek_first()?);
/// assert_eq!(keys.key(), b"a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KeyCursor<'s>(Cursor<'s>);

impl KeyCursor<'_> {
    pub(crate) fn new(pin: Result<Pin>) -> Self {
        Self(Cursor::of(pin, Wanted::Keys))
    }

    /// As [`Cursor::seek_first`].
    ///
    /// # Errors
    ///
    /// As there; also of the other moves.
    pub fn seek_first(&mut self) -> Result<bool> {
        self.0.seek_first()
    }

    /// As [`Cursor::seek_last`].
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek_last(&mut self) -> Result<bool> {
        self.0.seek_last()
    }

    /// As [`Cursor::seek`].
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.0.seek(key)
    }

    /// As [`Cursor::seek_for_prev`].
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.0.seek_for_prev(key)
    }

    /// As [`Cursor::next`].
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    #[expect(clippy::should_implement_trait, reason = "a cursor lends; an Iterator can't")]
    #[inline]
    pub fn next(&mut self) -> Result<bool> {
        self.0.next()
    }

    /// As [`Cursor::prev`].
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    #[inline]
    pub fn prev(&mut self) -> Result<bool> {
        self.0.prev()
    }

    /// As [`Cursor::valid`].
    #[inline]
    #[must_use]
    pub fn valid(&self) -> bool {
        self.0.valid()
    }

    /// As [`Cursor::key`].
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.key()
    }
}
