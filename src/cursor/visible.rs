//! The visible cursor: of a sorted run, what a snapshot sees.
//!
//! One row a user key: the newest version that is not newer than the snapshot, unless that is a
//! tombstone or has expired. Rows are shown where they stand in the run, never copied.
//!
//! ```text
//!   the run, seqnos behind the keys   a9  a5  a2   b7  b3   c4 (a tombstone)   d1
//!   what the snapshot 5 sees              a5           b3                      d1
//! ```
//!
//! Backward, the versions of a key come oldest first. The cursor walks on while an earlier row has
//! the same key and is not too new; if the last step went too far, it goes one row forward again.
//!
//! # Invariants
//!
//! - While a row is shown, the run stands on that row.
//! - Of a key with many versions only a few are walked; then a seek goes past the others.
//! - After an error every move gives that error again, until a seek.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::value::Value;

/// After so many rows that are not shown, a seek is cheaper than going on by steps.
const MAX_STEP_COUNT: usize = 8;

/// The rows of a run that a snapshot sees.
#[derive(Debug)]
pub(crate) struct VisibleCursor<C> {
    run: C,
    snapshot: u64,
    now_secs: u64,
    shown: bool,
    /// Why no row is shown, if a move failed.
    error: Option<Error>,
    /// Where a seek keeps its key; only its memory is kept.
    key: Vec<u8>,
}

impl<C: Cursor> VisibleCursor<C> {
    /// A cursor over what the snapshot with this seqno sees of `run`, off its rows. `now_secs`
    /// decides what has expired, in seconds since 1970.
    pub(crate) const fn new(run: C, snapshot: u64, now_secs: u64) -> Self {
        Self { run, snapshot, now_secs, shown: false, error: None, key: Vec::new() }
    }

    /// Moves to the first row.
    pub(crate) fn seek_first(&mut self) -> Result<bool> {
        let found = self.run.seek_first();
        self.settle(found, Self::go_forward)
    }

    /// Moves to the last row.
    pub(crate) fn seek_last(&mut self) -> Result<bool> {
        let found = self.run.seek_last();
        self.settle(found, Self::go_backward)
    }

    /// Moves to the first row at or after `key`; false if there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        let found = self.run.seek(key, self.snapshot);
        self.settle(found, Self::go_forward)
    }

    /// Moves to the last row at or before `key`; false if there is none.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        // Seqnos descend, so 0 is behind every version of the key.
        let found = self.run.seek_for_prev(key, 0);
        self.settle(found, Self::go_backward)
    }

    /// Moves to the next row; false if there is none or no row is shown.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        if !self.shown {
            return self.stay();
        }
        let moved = self.run.next_key();
        if moved.is_ok() && self.run.is_plainly_visible(self.snapshot) {
            return Ok(true);
        }
        self.settle(moved, Self::go_forward)
    }

    /// Moves to the row before; false if there is none or no row is shown.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<bool> {
        if !self.shown {
            return self.stay();
        }
        let mut moved = self.leave_backward();
        if moved.is_ok() && self.run.is_plainly_visible(self.snapshot) {
            match self.run.prev_has_same_key() {
                // A key's only version: there is no more to look at.
                Ok(false) => return Ok(true),
                Ok(true) => {}
                Err(error) => moved = Err(error),
            }
        }
        self.settle(moved, Self::go_backward)
    }

    /// Whether a row is shown.
    #[inline]
    pub(crate) const fn valid(&self) -> bool {
        self.shown
    }

    /// The user key; empty if no row is shown.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        if self.shown { self.run.key() } else { &[] }
    }

    /// The value; empty if no row is shown.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        if self.shown { self.run.value() } else { &[] }
    }

    /// The seqno; 0 if no row is shown.
    #[inline]
    pub(crate) fn seqno(&self) -> u64 {
        if self.shown { self.run.seqno() } else { 0 }
    }

    /// When the row expires, in seconds since 1970; 0 is never.
    #[inline]
    pub(crate) fn expires_at(&self) -> u64 {
        if self.shown { self.run.expires_at() } else { 0 }
    }

    /// Where the value lies.
    #[inline]
    pub(crate) fn location(&self) -> Location {
        if self.shown { self.run.location() } else { Location::Cursor }
    }

    /// The value as something that outlives the cursor.
    pub(crate) fn owned_value(&self) -> Value<'static> {
        if self.shown { self.run.owned_value() } else { Value::copied(&[]) }
    }

    /// The run, which stands on the row that is shown.
    #[inline]
    pub(crate) const fn run(&self) -> &C {
        &self.run
    }

    /// What a move gives while no row is shown.
    #[cold]
    fn stay(&self) -> Result<bool> {
        self.error.clone().map_or(Ok(false), Err)
    }

    /// After a move of the run: goes on to a row to show, and remembers how that ended.
    #[inline(never)]
    fn settle(&mut self, moved: Result<()>, go: fn(&mut Self) -> Result<()>) -> Result<bool> {
        let settled = moved.and_then(|()| go(self));
        self.shown = settled.is_ok() && self.run.valid();
        self.error = settled.as_ref().err().cloned();
        settled.map(|()| self.shown)
    }

    /// Goes on to the first row that is visible, from this one.
    fn go_forward(&mut self) -> Result<()> {
        let mut step_count = 0;
        while self.run.valid() {
            if self.run.seqno() <= self.snapshot {
                if self.is_present()? {
                    return Ok(());
                }
                self.run.next_key()?;
            } else if step_count < MAX_STEP_COUNT {
                step_count += 1;
                self.run.next()?;
            } else {
                step_count = 0;
                self.keep_key();
                self.run.seek(&self.key, self.snapshot)?;
            }
        }
        Ok(())
    }

    /// Goes back to the last row that is visible, from this one, which is the oldest of its key.
    fn go_backward(&mut self) -> Result<()> {
        while self.run.valid() {
            if self.run.seqno() <= self.snapshot {
                self.go_to_newest()?;
                if self.is_present()? {
                    return Ok(());
                }
            }
            self.leave_backward()?;
        }
        Ok(())
    }

    /// From a version that the snapshot sees, goes back to the newest such version of the key.
    #[inline]
    fn go_to_newest(&mut self) -> Result<()> {
        for _ in 0..MAX_STEP_COUNT {
            if !self.run.prev_has_same_key()? {
                return Ok(());
            }
            self.run.prev()?;
            if self.run.seqno() > self.snapshot {
                return self.run.next();
            }
        }
        self.keep_key();
        self.run.seek(&self.key, self.snapshot)
    }

    /// Goes back to the last row of the key before.
    #[inline]
    fn leave_backward(&mut self) -> Result<()> {
        for _ in 0..MAX_STEP_COUNT {
            if !self.run.prev_has_same_key()? {
                return self.run.prev();
            }
            self.run.prev()?;
        }
        self.keep_key();
        self.run.seek_for_prev(&self.key, u64::MAX)?;
        while self.run.valid() && self.run.key() == self.key {
            self.run.prev()?;
        }
        Ok(())
    }

    fn keep_key(&mut self) {
        self.key.clear();
        self.key.extend_from_slice(self.run.key());
    }

    /// Whether the row, which is the newest of its key, says that the key has a value.
    fn is_present(&self) -> Result<bool> {
        let expires_at = self.run.expires_at();
        match self.run.kind() {
            Kind::Put => Ok(expires_at == 0 || self.now_secs < expires_at),
            Kind::Delete => Ok(false),
            Kind::Merge => Err(Error::NoMergeOperator { key: self.run.key().to_vec() }),
        }
    }
}
