//! The masked cursor: of a run, the rows that no range tombstone covers.
//!
//! ```text
//!   the run       a3   b9   b2   c5   d8   d1   …   y2   z4        tombstone 7 over b ≤ key < z
//!   what shows    a3   b9             d8                 z4
//! ```
//!
//! A covered row says nothing of its neighbours: they may be newer than the tombstone. But if all
//! rows of the run's *piece* are older, the walk leaves the tombstone's range in one move.
//!
//! The cursor remembers the stretch of keys around its row over which the same tombstones lie. A
//! walk compares each key with the end of it that lies ahead, and searches behind that.
//!
//! # Invariants
//!
//! - The run stands on a row that is not covered, or off its rows.
//! - While the run is on a row, the stretch holds its key. So a move forward can leave the stretch
//!   only at its end, and a move backward only at its start.
//! - With the row that it is on, all newer versions of the key show: a tombstone that covers one of
//!   them covers the row too. So whether there are some is the run's to say.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use std::sync::Arc;

use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::range_tombstones::{Mask, Stretch};
use crate::value::Value;

/// The rows of a run that a mask does not cover.
#[derive(Debug)]
pub(crate) struct MaskedCursor<C> {
    run: C,
    mask: Arc<Mask>,
    around: Around,
}

/// The stretch of keys that was last looked up. Its bytes are copied, as it changes rarely.
#[derive(Debug, Default)]
struct Around {
    start: Vec<u8>,
    end: Vec<u8>,
    /// Whether there is a first key behind it, `end`.
    has_end: bool,
    newest: u64,
}

impl Around {
    fn set(&mut self, stretch: &Stretch<'_>) {
        self.start.clear();
        self.start.extend_from_slice(stretch.start);
        self.end.clear();
        self.end.extend_from_slice(stretch.end.unwrap_or_default());
        self.has_end = stretch.end.is_some();
        self.newest = stretch.newest;
    }

    #[inline]
    fn ends_behind(&self, key: &[u8]) -> bool {
        !self.has_end || *key < *self.end
    }

    #[inline]
    fn starts_until(&self, key: &[u8]) -> bool {
        *self.start <= *key
    }
}

impl<C: Cursor> MaskedCursor<C> {
    /// A cursor over what `mask` leaves of `run`, off its rows.
    pub(crate) fn new(run: C, mask: Arc<Mask>) -> Self {
        // No tombstones are one stretch of all keys. Else it is one of none: it ends at once.
        let around = Around { has_end: !mask.is_empty(), ..Around::default() };
        Self { run, mask, around }
    }

    /// The run, which stands on the row that this cursor is on.
    #[inline]
    pub(crate) const fn run(&self) -> &C {
        &self.run
    }

    fn look_around(&mut self) {
        self.around.set(&self.mask.stretch(self.run.key()));
    }

    /// After a seek: looks where the run stands now.
    fn arrive(&mut self) {
        let key = self.run.key();
        let is_inside = self.around.starts_until(key) && self.around.ends_behind(key);
        if self.run.valid() && !is_inside {
            self.look_around();
        }
    }

    /// Whether a tombstone covers the row, which lies in the stretch.
    #[inline]
    fn is_covered(&self) -> bool {
        self.around.newest != 0 && self.run.seqno() < self.around.newest
    }

    /// Goes on to the first row that is not covered, from this one.
    #[inline(never)]
    fn go_forward(&mut self) -> Result<()> {
        while self.run.valid() {
            if !self.around.ends_behind(self.run.key()) {
                self.look_around();
            }
            if !self.is_covered() {
                return Ok(());
            }
            if self.run.newest_seqno() < self.around.newest
                && let Some(tombstone) = self.mask.covering(self.run.key(), self.run.seqno())
            {
                self.run.skip_forward(tombstone.end)?;
            } else {
                // The key's other versions are older, and covered too.
                self.run.next_key()?;
            }
        }
        Ok(())
    }

    /// Goes back to the last row that is not covered, from this one.
    #[inline(never)]
    fn go_backward(&mut self) -> Result<()> {
        while self.run.valid() {
            if !self.around.starts_until(self.run.key()) {
                self.look_around();
            }
            if !self.is_covered() {
                return Ok(());
            }
            if self.run.newest_seqno() < self.around.newest
                && let Some(tombstone) = self.mask.covering(self.run.key(), self.run.seqno())
            {
                self.run.skip_backward(tombstone.start)?;
            } else {
                self.run.prev()?;
            }
        }
        Ok(())
    }
}

impl<C: Cursor> Cursor for MaskedCursor<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.run.seek_first()?;
        self.arrive();
        self.go_forward()
    }

    fn seek_last(&mut self) -> Result<()> {
        self.run.seek_last()?;
        self.arrive();
        self.go_backward()
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        self.run.seek(key, seqno)?;
        self.arrive();
        self.go_forward()
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        self.run.seek_for_prev(key, seqno)?;
        self.arrive();
        self.go_backward()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.run.next()?;
        // Off its rows the run has an empty key; then it does not matter which way this goes.
        if self.around.newest == 0 && self.around.ends_behind(self.run.key()) {
            return Ok(());
        }
        self.go_forward()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.run.prev()?;
        if self.around.newest == 0 && self.around.starts_until(self.run.key()) {
            return Ok(());
        }
        self.go_backward()
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        self.run.next_key()?;
        if self.around.newest == 0 && self.around.ends_behind(self.run.key()) {
            return Ok(());
        }
        self.go_forward()
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        self.run.prev_has_same_key()
    }

    #[inline]
    fn valid(&self) -> bool {
        self.run.valid()
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.run.is_plainly_visible(snapshot)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.run.key()
    }

    #[inline]
    fn seqno(&self) -> u64 {
        self.run.seqno()
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.run.kind()
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        self.run.expires_at()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.run.value()
    }

    #[inline]
    fn location(&self) -> Location {
        self.run.location()
    }

    fn owned_value(&self) -> Value<'static> {
        self.run.owned_value()
    }

    fn disorder(&self) -> Error {
        self.run.disorder()
    }
}

#[cfg(test)]
mod tests;
