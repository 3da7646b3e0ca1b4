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
//! A key whose newest version is a merge operand is shown with what the merge operator makes of its
//! operands; that value lies in the cursor, and the run has gone on to where the operands end.
//!
//! Backward, the versions of a key come oldest first. The cursor walks on while an earlier row has
//! the same key and is not too new; if the last step went too far, it goes one row forward again.
//!
//! # Invariants
//!
//! - While a row of the run is shown, the run stands on that row. While a folded value is shown, the
//!   run stands on a row behind the key's newest one: of the same key, or the first behind it. If only
//!   keys are asked for it may still stand on the newest one, as nothing was folded.
//! - Of a key with many versions only a few are walked; then a seek goes past the others.
//! - A walk ends whatever the rows are: each seek on the way comes further than the one before.
//! - After an error every move gives that error again, until a seek.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use crate::cursor::edges::Edges;
use crate::cursor::folded::Folded;
use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::hooks::Merger;
use crate::value::{INLINE_LEN, Value};

/// After so many rows that are not shown, a seek is cheaper than going on by steps.
const MAX_STEP_COUNT: usize = 8;

/// The rows of a run that a snapshot sees.
#[derive(Debug)]
pub(crate) struct VisibleCursor<C> {
    run: C,
    snapshot: u64,
    now_secs: u64,
    merger: Option<Merger>,
    shown: Shown,
    folded: Folded,
    /// Why no row is shown, if a move failed.
    error: Option<Error>,
    /// Where a seek keeps its key; only its memory is kept.
    key: Vec<u8>,
    /// How far the seeks of the walk have come.
    edges: Edges,
    /// Nobody asks for values: nothing is folded.
    keys_only: bool,
}

/// What a visible cursor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// The row that the run is on.
    Row,
    /// A value that was folded of operands.
    Folded,
}

/// What the newest version of a key says.
enum Newest {
    Value,
    Absent,
    Operand,
}

impl<C: Cursor> VisibleCursor<C> {
    /// A cursor over what the snapshot with this seqno sees of `run`, off its rows. `now`
    /// decides what has expired, in seconds since 1970.
    pub(crate) fn new(run: C, seqno: u64, now: u64, merger: Option<Merger>) -> Self {
        Self {
            run,
            snapshot: mutant!(SeeTheFuture, u64::MAX, else seqno),
            now_secs: mutant!(ShowExpired, 0, else now),
            merger,
            shown: Shown::Nothing,
            folded: Folded::default(),
            error: None,
            key: Vec::new(),
            edges: Edges::default(),
            keys_only: false,
        }
    }

    /// The same, off its rows, for somebody who asks for no value.
    pub(crate) fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    /// Moves to the first row.
    pub(crate) fn seek_first(&mut self) -> Result<bool> {
        self.edges.forget();
        let found = self.run.seek_first();
        self.settle(found, Self::go_forward)
    }

    /// Moves to the last row.
    pub(crate) fn seek_last(&mut self) -> Result<bool> {
        self.edges.forget();
        let found = self.run.seek_last();
        self.settle(found, Self::go_backward)
    }

    /// Moves to the first row at or after `key`; false if there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.edges.forget();
        let found = self.run.seek(key, self.snapshot);
        self.settle(found, Self::go_forward)
    }

    /// Moves to the last row at or before `key`; false if there is none.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        self.edges.forget();
        // Seqnos descend, so 0 is behind every version of the key.
        let found = self.run.seek_for_prev(key, 0);
        self.settle(found, Self::go_backward)
    }

    /// Moves to the next row; false if there is none or no row is shown.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        self.edges.turn_forward();
        if self.shown != Shown::Row {
            return self.next_of_folded();
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
        self.edges.turn_backward();
        if self.shown != Shown::Row {
            return self.prev_of_folded();
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
    pub(crate) fn valid(&self) -> bool {
        self.shown != Shown::Nothing
    }

    /// The user key; empty if no row is shown.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self.shown {
            Shown::Row => self.run.key(),
            Shown::Folded => &self.folded.key,
            Shown::Nothing => &[],
        }
    }

    /// The value; empty if no row is shown.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        match self.shown {
            Shown::Row => self.run.value(),
            Shown::Folded => &self.folded.value,
            Shown::Nothing => &[],
        }
    }

    /// The seqno, of a folded value that of its newest operand; 0 if no row is shown.
    #[inline]
    pub(crate) fn seqno(&self) -> u64 {
        match self.shown {
            Shown::Row => self.run.seqno(),
            Shown::Folded => self.folded.seqno,
            Shown::Nothing => 0,
        }
    }

    /// When the row expires, in seconds since 1970; 0 is never. A folded value does not: what
    /// expires is the value below its operands.
    #[inline]
    pub(crate) fn expires_at(&self) -> u64 {
        if self.shown == Shown::Row { self.run.expires_at() } else { 0 }
    }

    /// Where the value lies.
    #[inline]
    pub(crate) fn location(&self) -> Location {
        if self.shown == Shown::Row { self.run.location() } else { Location::Cursor }
    }

    /// The value as something that outlives the cursor.
    pub(crate) fn owned_value(&self) -> Value<'static> {
        match self.shown {
            Shown::Row => self.run.owned_value(),
            Shown::Folded if self.folded.value.len() <= INLINE_LEN => {
                Value::copied(&self.folded.value)
            }
            Shown::Folded => Value::shared(self.folded.value.clone()),
            Shown::Nothing => Value::copied(&[]),
        }
    }

    /// How many operands made the value that is shown.
    pub(crate) fn operand_count(&self) -> usize {
        if self.shown == Shown::Folded { self.folded.operands.added_count() } else { 0 }
    }

    /// The run, which stands on the row that is shown unless its value was folded.
    #[inline]
    pub(crate) const fn run(&self) -> &C {
        &self.run
    }

    /// The run and the snapshot, if a row of the run is shown as it stands.
    pub(crate) fn shown_run(&mut self) -> Option<(&mut C, u64)> {
        (self.shown == Shown::Row).then_some((&mut self.run, self.snapshot))
    }

    /// What a move gives while no row is shown.
    #[cold]
    fn stay(&self) -> Result<bool> {
        self.error.clone().map_or(Ok(false), Err)
    }

    /// After a move of the run: goes on to a row to show, and remembers how that ended.
    #[inline(never)]
    fn settle(&mut self, moved: Result<()>, go: fn(&mut Self) -> Result<Shown>) -> Result<bool> {
        let settled = moved.and_then(|()| go(self));
        self.shown = settled.as_ref().copied().unwrap_or(Shown::Nothing);
        self.error = settled.as_ref().err().cloned();
        settled.map(|shown| shown != Shown::Nothing)
    }

    #[cold]
    fn next_of_folded(&mut self) -> Result<bool> {
        if self.shown == Shown::Nothing {
            return self.stay();
        }
        let is_on_key = self.run.valid() && self.run.key() == self.folded.key;
        let moved = if is_on_key { self.run.next_key() } else { Ok(()) };
        self.settle(moved, Self::go_forward)
    }

    #[cold]
    fn prev_of_folded(&mut self) -> Result<bool> {
        if self.shown == Shown::Nothing {
            return self.stay();
        }
        self.key.clone_from(&self.folded.key);
        let moved = self.seek_before_key();
        self.settle(moved, Self::go_backward)
    }

    /// Goes on to the first row that is visible, from this one.
    fn go_forward(&mut self) -> Result<Shown> {
        let mut step_count = 0;
        while self.run.valid() {
            if self.run.seqno() <= self.snapshot {
                match self.newest() {
                    Newest::Value => return Ok(Shown::Row),
                    Newest::Operand => return self.fold(),
                    Newest::Absent => self.run.next_key()?,
                }
            } else if step_count < MAX_STEP_COUNT {
                step_count += 1;
                self.run.next()?;
            } else {
                step_count = 0;
                self.keep_key();
                if !self.edges.seeks_past_newer(&self.key) {
                    return Err(self.run.disorder());
                }
                self.run.seek(&self.key, self.snapshot)?;
            }
        }
        Ok(Shown::Nothing)
    }

    /// Goes back to the last row that is visible, from this one, which is the oldest of its key.
    fn go_backward(&mut self) -> Result<Shown> {
        while self.run.valid() {
            if self.run.seqno() <= self.snapshot {
                self.go_to_newest()?;
                match self.newest() {
                    Newest::Value => return Ok(Shown::Row),
                    Newest::Operand => return self.fold(),
                    Newest::Absent => {}
                }
            }
            self.leave_backward()?;
        }
        Ok(Shown::Nothing)
    }

    /// From the newest operand of a key, folds it with all that it stands on, if anybody asks for it.
    fn fold(&mut self) -> Result<Shown> {
        self.folded.begin(&self.run);
        if !self.keys_only {
            self.folded.fold(&mut self.run, self.merger.as_ref(), self.now_secs)?;
        }
        Ok(Shown::Folded)
    }

    /// From a version that the snapshot sees, goes back to the newest such version of the key.
    #[inline]
    fn go_to_newest(&mut self) -> Result<()> {
        mutant!(ShowOlderVersions, return Ok(()));
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
        if !self.edges.seeks_to_newest(&self.key) {
            return Err(self.run.disorder());
        }
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
        self.seek_before_key()
    }

    /// Goes to the last row before those of the key that was kept.
    fn seek_before_key(&mut self) -> Result<()> {
        if !self.edges.seeks_before(&self.key) {
            return Err(self.run.disorder());
        }
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

    /// What the row says, which is the newest of its key.
    fn newest(&self) -> Newest {
        match self.run.kind() {
            Kind::Put if has_expired(self.run.expires_at(), self.now_secs) => Newest::Absent,
            Kind::Put => Newest::Value,
            Kind::Delete => Newest::Absent,
            Kind::Merge => Newest::Operand,
        }
    }
}

pub(super) const fn has_expired(expires_at: u64, now_secs: u64) -> bool {
    expires_at != 0 && expires_at <= now_secs
}
