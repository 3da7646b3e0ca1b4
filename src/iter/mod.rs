//! Scans for convenience: [`Iter`] gives entries that live on their own.
//!
//! The key is copied, a value is borrowed from the snapshot, or shared. For speed there is the
//! lending [`Cursor`].
//!
//! # Invariants
//!
//! - An iterator ends after its first error.
//! - The two ends of an iterator never pass each other: each entry comes once.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::engine::{Pin, Scan, Wanted};
use crate::error::{Error, Result};
use crate::range::KeyRange;
use crate::value::{SmallBytes, Value};

mod cursor;
mod key_cursor;

pub use cursor::Cursor;
pub use key_cursor::KeyCursor;

/// One key with its value.
#[derive(Clone)]
pub struct Entry<'s> {
    key: SmallBytes,
    value: Value<'s>,
    seqno: u64,
    expires_at: u64,
}

impl<'s> Entry<'s> {
    pub(crate) fn new(key: SmallBytes, value: Value<'s>, seqno: u64, expires_at: u64) -> Self {
        Self { key, value, seqno, expires_at }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The sequence number of the write: larger is newer. 0 once a merge found that nothing older can
    /// hold the key: then nobody needs it any more.
    #[must_use]
    pub fn seqno(&self) -> u64 {
        self.seqno
    }

    /// When the entry expires, in whole seconds; `None` if it never does.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        let expiry = (self.expires_at != 0).then(|| Duration::from_secs(self.expires_at))?;
        SystemTime::UNIX_EPOCH.checked_add(expiry)
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> Value<'s> {
        self.value
    }

    /// Key and value.
    #[must_use]
    pub fn into_pair(self) -> (Bytes, Value<'s>) {
        (self.key.into_bytes(), self.value)
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("seqno", &self.seqno)
            .field("expires_at", &self.expires_at())
            .finish()
    }
}

/// The keys that start with a prefix, as a range.
pub(crate) struct Prefix {
    start: Vec<u8>,
    /// The first key behind them; `None` if there is none.
    end: Option<Vec<u8>>,
}

impl Prefix {
    pub(crate) fn new(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { start: prefix.to_vec(), end: (!end.is_empty()).then_some(end) }
    }
}

impl KeyRange for Prefix {
    fn start(&self) -> Bound<&[u8]> {
        Bound::Included(&self.start)
    }

    fn end(&self) -> Bound<&[u8]> {
        self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }
}

/// What an iterator reads from: its own pin, or the snapshot's.
#[derive(Debug)]
enum Source<'s> {
    Owned(Pin),
    Borrowed(&'s Pin),
}

impl Source<'_> {
    fn pin(&self) -> &Pin {
        match self {
            Self::Owned(pin) => pin,
            Self::Borrowed(pin) => pin,
        }
    }
}

/// Entries in key order, from both ends.
///
/// # Errors
///
/// An item is an error if a file is damaged or can't be opened; it is the last one.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for entries"]
pub struct Iter<'s> {
    /// `None` once the iterator has ended.
    source: Option<Source<'s>>,
    error: Option<Error>,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    front: Option<Box<Scan>>,
    back: Option<Box<Scan>>,
    /// Keys that the ends have given, to see that they meet; kept only once both ends were used.
    front_key: Option<Vec<u8>>,
    back_key: Option<Vec<u8>>,
}

impl<'s> Iter<'s> {
    pub(crate) fn owned(pin: Result<Pin>, range: &impl KeyRange) -> Self {
        Self::new(pin.map(Source::Owned), range)
    }

    pub(crate) fn borrowed(pin: Result<&'s Pin>, range: &impl KeyRange) -> Self {
        Self::new(pin.map(Source::Borrowed), range)
    }

    fn new(source: Result<Source<'s>>, range: &impl KeyRange) -> Self {
        let (source, error) = match source {
            Ok(source) => (Some(source), None),
            Err(error) => (None, Some(error)),
        };
        let (start, end) = (range.start().map(<[u8]>::to_vec), range.end().map(<[u8]>::to_vec));
        Self { source, error, start, end, front: None, back: None, front_key: None, back_key: None }
    }

    fn finish(&mut self) {
        self.source = None;
        self.front = None;
        self.back = None;
    }

    /// Moves the front on; true if it is on an entry of the range that the back has not given.
    fn advance_front(&mut self) -> Result<bool> {
        let Some(source) = &self.source else { return Ok(false) };
        let found = if let Some(scan) = &mut self.front {
            scan.next()?
        } else {
            let scan = self.front.insert(Box::new(source.pin().scan(Wanted::Entries)?));
            match &self.start {
                Bound::Unbounded => scan.seek_first()?,
                Bound::Included(start) => scan.seek(start)?,
                Bound::Excluded(start) => {
                    let found = scan.seek(start)?;
                    if found && scan.key() == start.as_slice() { scan.next()? } else { found }
                }
            }
        };
        let Some(scan) = self.front.as_ref().filter(|_| found) else { return Ok(false) };
        let key = scan.key();
        let inside = match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
        };
        Ok(inside && self.back_key.as_ref().is_none_or(|back| key < back.as_slice()))
    }

    /// Moves the back on; true if it is on an entry of the range that the front has not given.
    fn advance_back(&mut self) -> Result<bool> {
        let Some(source) = &self.source else { return Ok(false) };
        let found = if let Some(scan) = &mut self.back {
            scan.prev()?
        } else {
            let scan = self.back.insert(Box::new(source.pin().scan(Wanted::Entries)?));
            match &self.end {
                Bound::Unbounded => scan.seek_last()?,
                Bound::Included(end) => scan.seek_for_prev(end)?,
                Bound::Excluded(end) => {
                    let found = scan.seek_for_prev(end)?;
                    if found && scan.key() == end.as_slice() { scan.prev()? } else { found }
                }
            }
        };
        let Some(scan) = self.back.as_ref().filter(|_| found) else { return Ok(false) };
        let key = scan.key();
        let inside = match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start.as_slice(),
            Bound::Excluded(start) => key > start.as_slice(),
        };
        Ok(inside && self.front_key.as_ref().is_none_or(|front| key > front.as_slice()))
    }

    fn entry_of(&self, scan: &Scan) -> Option<Entry<'s>> {
        let value = match self.source.as_ref()? {
            Source::Owned(_) => scan.owned_value(),
            Source::Borrowed(pin) => match pin.borrow_value(scan) {
                Some(value) => Value::borrowed(value),
                None => scan.owned_value(),
            },
        };
        let key = SmallBytes::copied(scan.key());
        Some(Entry::new(key, value, scan.seqno(), scan.expires_at()))
    }

    /// Ends the iterator, or gives the entry that a move led to.
    fn give(&mut self, moved: Result<bool>, front: bool) -> Option<Result<Entry<'s>>> {
        match moved {
            Ok(true) => {
                let scan = if front { self.front.as_deref()? } else { self.back.as_deref()? };
                let entry = self.entry_of(scan)?;
                Some(Ok(entry))
            }
            Ok(false) => {
                self.finish();
                None
            }
            Err(error) => {
                self.finish();
                mutant!(EndAtErrors, return None);
                Some(Err(error))
            }
        }
    }
}

/// Keeps a copy of the key that a scan is on.
fn remember(scan: Option<&Scan>, key: &mut Option<Vec<u8>>) {
    if let Some(scan) = scan {
        let key = key.get_or_insert_with(Vec::new);
        key.clear();
        key.extend_from_slice(scan.key());
    }
}

impl<'s> Iterator for Iter<'s> {
    type Item = Result<Entry<'s>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let moved = self.advance_front();
        if self.back.is_some() {
            remember(self.front.as_deref(), &mut self.front_key);
        }
        self.give(moved, true)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        if self.back.is_none() {
            // From now on the ends watch each other.
            remember(self.front.as_deref(), &mut self.front_key);
        }
        let moved = self.advance_back();
        remember(self.back.as_deref(), &mut self.back_key);
        self.give(moved, false)
    }
}

impl FusedIterator for Iter<'_> {}
