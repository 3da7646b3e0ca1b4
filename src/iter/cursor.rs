//! The cursor: for speed it lends key and value until it moves, and allocates nothing.
//!
//! # Invariants
//!
//! - Off its entries a cursor stays where it is until a seek.
//! - After an error every move gives that error again, until a seek.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::marker::PhantomData;

use crate::engine::{Pin, Scan, Wanted};
use crate::error::{Error, Result};

/// A position among the entries of a snapshot: the fastest way to walk them.
///
/// Nothing is allocated per entry. Off its entries a cursor stays where it is until a seek.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = tinydb::Db::open(dir.path())?;
/// db.put("a", "1")?;
/// db.put("c", "3")?;
/// let mut cursor = db.cursor();
/// assert!(cursor.seek("b")?);
/// assert_eq!((cursor.key(), cursor.value()), (&b"c"[..], &b"3"[..]));
/// assert!(cursor.prev()? && !cursor.prev()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cursor<'s> {
    state: State,
    wanted: Wanted,
    /// A snapshot's cursor may not outlive it, so that later versions may borrow from it.
    snapshot: PhantomData<&'s Pin>,
}

#[derive(Debug)]
enum State {
    /// Tables are opened by the first seek, which can report an error.
    Pinned(Pin),
    /// Opening a table failed; the next seek tries again.
    Failed(Pin, Error),
    /// There is nothing to read: the database was closed.
    Refused(Error),
    Open(Box<Scan>),
}

impl Cursor<'_> {
    pub(crate) fn new(pin: Result<Pin>) -> Self {
        Self::of(pin, Wanted::Entries)
    }

    /// A cursor that may lack values.
    pub(super) fn of(pin: Result<Pin>, wanted: Wanted) -> Self {
        let state = pin.map_or_else(State::Refused, State::Pinned);
        Self { state, wanted, snapshot: PhantomData }
    }

    /// The scan, opened now if need be.
    fn open(&mut self) -> Result<&mut Scan> {
        if let State::Pinned(pin) | State::Failed(pin, _) = &self.state {
            self.state = match pin.scan(self.wanted) {
                Ok(scan) => State::Open(Box::new(scan)),
                Err(error) => State::Failed(pin.clone(), error),
            };
        }
        match &mut self.state {
            State::Open(scan) => Ok(scan),
            State::Failed(_, error) | State::Refused(error) => Err(error.clone()),
            State::Pinned(_) => Err(Error::Closed),
        }
    }

    /// What a move gives while there is no scan.
    #[cold]
    fn stay(&self) -> Result<bool> {
        match &self.state {
            State::Failed(_, error) | State::Refused(error) => Err(error.clone()),
            State::Pinned(_) | State::Open(_) => Ok(false),
        }
    }

    /// Moves to the first entry; false if there is none.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::get`](crate::Snapshot::get); also of the other moves.
    pub fn seek_first(&mut self) -> Result<bool> {
        self.open()?.seek_first()
    }

    /// Moves to the last entry; false if there is none.
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek_last(&mut self) -> Result<bool> {
        self.open()?.seek_last()
    }

    /// Moves to the first entry at or after `key`; false if there is none.
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.open()?.seek(key.as_ref())
    }

    /// Moves to the last entry at or before `key`; false if there is none.
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.open()?.seek_for_prev(key.as_ref())
    }

    /// Moves to the next entry; false if there is none, or if the cursor is on none.
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    #[expect(clippy::should_implement_trait, reason = "a cursor lends; an Iterator can't")]
    #[inline]
    pub fn next(&mut self) -> Result<bool> {
        match &mut self.state {
            State::Open(scan) => scan.next(),
            _ => self.stay(),
        }
    }

    /// Moves to the entry before; false if there is none, or if the cursor is on none.
    ///
    /// # Errors
    ///
    /// As [`seek_first`](Self::seek_first).
    #[inline]
    pub fn prev(&mut self) -> Result<bool> {
        match &mut self.state {
            State::Open(scan) => scan.prev(),
            _ => self.stay(),
        }
    }

    /// Whether the cursor is on an entry.
    #[inline]
    #[must_use]
    pub fn valid(&self) -> bool {
        matches!(&self.state, State::Open(scan) if scan.valid())
    }

    /// The key; empty if the cursor is on no entry.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match &self.state {
            State::Open(scan) => scan.key(),
            _ => &[],
        }
    }

    /// The value; empty if the cursor is on no entry.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &[u8] {
        match &self.state {
            State::Open(scan) => scan.value(),
            _ => &[],
        }
    }
}
