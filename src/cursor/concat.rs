//! The concatenating cursor: disjoint runs end to end, as one.
//!
//! The tables of a deeper level hold disjoint ranges of keys in ascending order, so a scan walks one
//! after the other and needs no heap. Each is opened when the walk comes to it.
//!
//! ```text
//!   part 0: a … f   part 1: g … m   part 2: p … z          seek("n") goes to part 2
//! ```
//!
//! # Invariants
//!
//! - No user key stands in two parts.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::value::Value;

/// Runs that hold disjoint ranges of keys, in ascending order.
pub(crate) trait Parts {
    /// Walks one of them.
    type Cursor: Cursor;
    /// How many there are.
    fn part_count(&self) -> usize;
    /// The largest user key of a part; empty if there is no such part.
    fn largest(&self, part: usize) -> &[u8];
    /// A cursor over a part, off its rows; `None` if there is no such part.
    fn open(&self, part: usize) -> Result<Option<Self::Cursor>>;
}

/// A position in disjoint runs.
#[derive(Debug)]
pub(crate) struct ConcatCursor<P: Parts> {
    parts: P,
    part: usize,
    child: Option<P::Cursor>,
}

impl<P: Parts> ConcatCursor<P> {
    /// A cursor off its rows.
    pub(crate) const fn new(parts: P) -> Self {
        Self { parts, part: 0, child: None }
    }

    /// Which part the row is from.
    #[inline]
    pub(crate) const fn part_index(&self) -> usize {
        self.part
    }

    /// Walks the part that the row is from.
    pub(crate) fn child_mut(&mut self) -> Option<&mut P::Cursor> {
        self.child.as_mut()
    }

    /// Enters a part, off its rows; leaves the rows if there is no such part.
    fn enter(&mut self, part: usize) -> Result<Option<&mut P::Cursor>> {
        if self.child.is_none() || self.part != part {
            self.child = None;
            self.child = self.parts.open(part)?;
            self.part = part;
        }
        Ok(self.child.as_mut())
    }

    /// The first part whose keys do not all lie below `key`.
    fn part_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.parts.part_count());
        while low < high {
            let middle = low.midpoint(high);
            if self.parts.largest(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    #[cold]
    fn go_to_next_part(&mut self) -> Result<()> {
        match self.enter(self.part + 1)? {
            Some(child) => child.seek_first(),
            None => Ok(()),
        }
    }

    #[cold]
    fn go_to_previous_part(&mut self) -> Result<()> {
        let before = self.part.checked_sub(1);
        if let Some(child) = before.map(|part| self.enter(part)).transpose()?.flatten() {
            return child.seek_last();
        }
        self.child = None;
        Ok(())
    }
}

impl<P: Parts> Cursor for ConcatCursor<P> {
    fn seek_first(&mut self) -> Result<()> {
        match self.enter(0)? {
            Some(child) => child.seek_first(),
            None => Ok(()),
        }
    }

    fn seek_last(&mut self) -> Result<()> {
        self.part = self.parts.part_count();
        self.child = None;
        self.go_to_previous_part()
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        let part = self.part_of(key);
        let Some(child) = self.enter(part)? else { return Ok(()) };
        child.seek(key, seqno)?;
        // All versions of the part's largest key may be newer than the one that is sought.
        if child.valid() { Ok(()) } else { self.go_to_next_part() }
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        let part = self.part_of(key);
        let Some(child) = self.enter(part)? else { return self.seek_last() };
        child.seek_for_prev(key, seqno)?;
        if child.valid() { Ok(()) } else { self.go_to_previous_part() }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) if child.valid() => {
                child.next()?;
                if child.valid() { Ok(()) } else { self.go_to_next_part() }
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) if child.valid() => {
                child.prev()?;
                if child.valid() { Ok(()) } else { self.go_to_previous_part() }
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) if child.valid() => {
                child.next_key()?;
                if child.valid() { Ok(()) } else { self.go_to_next_part() }
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        self.child.as_mut().map_or(Ok(false), Cursor::prev_has_same_key)
    }

    #[inline]
    fn newest_seqno(&self) -> u64 {
        self.child.as_ref().map_or(u64::MAX, Cursor::newest_seqno)
    }

    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        match &mut self.child {
            Some(child) if child.valid() => {
                child.skip_forward(end)?;
                if child.valid() { Ok(()) } else { self.go_to_next_part() }
            }
            _ => Ok(()),
        }
    }

    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        match &mut self.child {
            Some(child) if child.valid() => {
                child.skip_backward(start)?;
                if child.valid() { Ok(()) } else { self.go_to_previous_part() }
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.child.as_ref().is_some_and(Cursor::valid)
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.child.as_ref().is_some_and(|child| child.is_plainly_visible(snapshot))
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.child.as_ref().map_or(&[], Cursor::key)
    }

    #[inline]
    fn seqno(&self) -> u64 {
        self.child.as_ref().map_or(0, Cursor::seqno)
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.child.as_ref().map_or(Kind::Put, Cursor::kind)
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        self.child.as_ref().map_or(0, Cursor::expires_at)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.child.as_ref().map_or(&[], Cursor::value)
    }

    #[inline]
    fn location(&self) -> Location {
        self.child.as_ref().map_or(Location::Cursor, Cursor::location)
    }

    fn owned_value(&self) -> Value<'static> {
        self.child.as_ref().map_or_else(|| Value::copied(&[]), Cursor::owned_value)
    }

    fn disorder(&self) -> Error {
        self.child
            .as_ref()
            .map_or_else(|| Error::invalid("the runs are not in order"), Cursor::disorder)
    }
}
