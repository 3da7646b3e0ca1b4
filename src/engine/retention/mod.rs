//! Retention: which rows a flush or a compaction carries on.
//!
//! ```text
//!   in, newest first          above the bottom        at the bottom
//!   put 9, put 5              put 9                   put 0
//!   delete 9, put 5           delete 9                nothing
//!   expired put 9, put 5      delete 9                nothing
//!   merge 9, merge 7          merge 9, of both        put 0, of both
//!   merge 9, put 5, put 3     put 9, of both          put 0, of both
//!   merge 9, expiring put 5   merge 9, put 5          merge 9, put 0
//! ```
//!
//! A reader holds on to the view that it began with, and so to the memtables and tables that a
//! flush or a compaction replaces. So no version has to be kept for a snapshot: what the newest
//! rows hide is hidden from everybody who will ever read the new tables, and operands may be folded.
//!
//! # Invariants
//!
//! - A tombstone goes only where nothing below can hold its key: else an older version would come
//!   back. What has expired, and what the filter removes, becomes a tombstone first.
//! - A seqno becomes zero only there too, and only on the oldest row of a key that is carried on:
//!   so no key has two rows with the seqno zero.
//! - Operands that the merge operator can't fold are carried on as they are.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use super::inspect::HookCounters;
use super::snapshots::SnapshotList;
use crate::cursor::Operands;
use crate::error::Result;
use crate::format::row::{Kind, Row};
use crate::hooks::{Decision, Filter, Merger};

/// Takes rows in their order and passes on what stays.
#[derive(Debug)]
pub(super) struct Retention<'e> {
    hooks: Hooks<'e>,
    now_secs: u64,
    key: Vec<u8>,
    /// What the rows of the key so far mean for those that follow.
    state: State,
    operands: Operands,
    counts: Counts,
}

/// The caller's code that has a say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hooks<'e> {
    pub(super) merger: Option<&'e Merger>,
    pub(super) filter: Option<&'e Filter>,
    /// The filter is not asked about rows that these can see.
    pub(super) snapshots: Option<&'e SnapshotList>,
    pub(super) failures: &'e HookCounters,
}

/// Where rows go on to.
pub(super) trait Sink {
    /// Whether no older table can hold this key; keys ascend.
    fn nothing_below(&mut self, key: &[u8]) -> bool;
    /// Takes a row that stays.
    fn add(&mut self, row: &Row<'_>) -> Result<()>;
}

/// What became of the rows that did not stay as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Newer rows hid them.
    pub(super) hidden: u64,
    /// Tombstones with nothing left to hide.
    pub(super) spent: u64,
    /// Values that had expired.
    pub(super) expired: u64,
    /// Values that the filter removed.
    pub(super) removed: u64,
    /// Operands that were folded.
    pub(super) folded: u64,
    /// Rows that a range tombstone covered.
    pub(super) covered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There was no row yet.
    NoKey,
    /// The rows so far are operands, or there is none.
    Open,
    /// As `Open`, but the operator failed or is missing: the operands stay as they are.
    Unfoldable,
    /// A newer row hides all that follow.
    Hidden,
}

impl<'e> Retention<'e> {
    /// Nothing yet. What expires at `now_secs`, in seconds since 1970, has expired.
    pub(super) fn new(hooks: Hooks<'e>, now_secs: u64) -> Self {
        let mut operands = Operands::default();
        operands.clear();
        let (key, counts) = (Vec::new(), Counts::default());
        Self { hooks, now_secs, key, state: State::NoKey, operands, counts }
    }

    /// Takes the next row, in the order of internal keys.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn add(&mut self, row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
        if self.state == State::NoKey || self.key != row.key {
            self.end_key(sink)?;
            self.key.clear();
            self.key.extend_from_slice(row.key);
            self.state = State::Open;
        }
        if self.state == State::Hidden {
            self.counts.hidden += 1;
            return Ok(());
        }
        let is_past = row.expires_at != 0 && row.expires_at <= self.now_secs;
        let has_expired = mutant!(KeepExpired, false, else is_past);
        match row.kind {
            Kind::Merge => return self.add_operand(row, sink),
            Kind::Put if has_expired => {
                self.counts.expired += 1;
                self.add_absence(row.seqno, sink)?;
            }
            Kind::Put => self.add_value(row, sink)?,
            Kind::Delete => {
                let is_spent = !self.add_absence(row.seqno, sink)?;
                self.counts.spent += u64::from(is_spent);
            }
        }
        self.state = State::Hidden;
        Ok(())
    }

    /// Ends with the last key.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Result<Counts> {
        self.end_key(sink)?;
        Ok(self.counts)
    }

    fn add_operand(&mut self, row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
        let Some(merger) = self.hooks.merger.filter(|_| self.state == State::Open) else {
            // What lies below is not the key's newest row, so the filter is not asked about it.
            self.state = State::Unfoldable;
            return sink.add(&operand(row.key, row.seqno, row.value));
        };
        match self.operands.add(row.key, row.seqno, row.value, merger) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.hooks.failures.note_merge(error.to_string());
                self.add_unfolded(sink)?;
                sink.add(&operand(row.key, row.seqno, row.value))
            }
        }
    }

    /// The key's value, below its operands if there are any.
    fn add_value(&mut self, row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
        let mut is_newest = self.operands.is_empty() && self.state == State::Open;
        if mutant!(FoldOntoExpiring, true, else row.expires_at == 0) {
            if let Some(value) = self.fold(Some(row.value), sink)? {
                let seqno = self.operands.newest_seqno();
                self.operands.clear();
                return self.keep(&Row { seqno, value: &value, ..*row }, sink);
            }
        } else {
            // It may be gone before the operands are read.
            is_newest &= !self.fold_among_themselves(sink)?;
        }
        if is_newest { self.keep(row, sink) } else { keep_row(row, sink) }
    }

    /// A delete, or what counts as one, below the key's operands if there are any. Whether anything
    /// goes on in its place.
    fn add_absence(&mut self, seqno: u64, sink: &mut impl Sink) -> Result<bool> {
        Ok(self.fold_onto_nothing(sink)? || keep_absence_of(&self.key, seqno, sink)?)
    }

    /// Makes a value of the operands that were gathered; false if there are none or it failed.
    fn fold_onto_nothing(&mut self, sink: &mut impl Sink) -> Result<bool> {
        let Some(value) = self.fold(None, sink)? else { return Ok(false) };
        let (key, seqno) = (std::mem::take(&mut self.key), self.operands.newest_seqno());
        self.operands.clear();
        let kept = self.keep(&put(&key, seqno, &value), sink);
        self.key = key;
        kept.map(|()| true)
    }

    /// The rows of the key end: below its operands may be more, but not here.
    fn end_key(&mut self, sink: &mut impl Sink) -> Result<()> {
        if self.operands.is_empty() {
            return Ok(());
        }
        let folded = if sink.nothing_below(&self.key) {
            self.fold_onto_nothing(sink)
        } else {
            self.fold_among_themselves(sink)
        };
        folded.map(|_| ())
    }

    /// Folds the gathered operands onto a value, and counts them; `None` if there are none, or if they
    /// could not be folded: then they have been passed on as they are.
    fn fold(&mut self, existing: Option<&[u8]>, sink: &mut impl Sink) -> Result<Option<Vec<u8>>> {
        let Some(merger) = self.hooks.merger.filter(|_| !self.operands.is_empty()) else {
            return Ok(None);
        };
        match self.operands.fold(&self.key, existing, merger) {
            Ok(value) => {
                self.counts.folded += self.operands.added_count() as u64;
                Ok(Some(value))
            }
            Err(error) => {
                self.hooks.failures.note_merge(error.to_string());
                self.add_unfolded(sink)?;
                Ok(None)
            }
        }
    }

    /// Makes one operand of those that were gathered; whether there were any.
    fn fold_among_themselves(&mut self, sink: &mut impl Sink) -> Result<bool> {
        if self.operands.added_count() < 2 {
            // One is what it would be folded to.
            let has_one = !self.operands.is_empty();
            for (seqno, value) in self.operands.iter() {
                sink.add(&operand(&self.key, seqno, value))?;
            }
            self.operands.clear();
            return Ok(has_one);
        }
        if let Some(value) = self.fold(None, sink)? {
            let seqno = self.operands.newest_seqno();
            self.operands.clear();
            sink.add(&operand(&self.key, seqno, &value))?;
        }
        Ok(true)
    }

    /// Passes operands on as they are, also those that follow.
    fn add_unfolded(&mut self, sink: &mut impl Sink) -> Result<()> {
        for (seqno, value) in self.operands.iter() {
            sink.add(&operand(&self.key, seqno, value))?;
        }
        self.operands.clear();
        self.state = State::Unfoldable;
        Ok(())
    }

    /// Passes on the newest row of a key, a value, unless the filter is against it.
    fn keep(&mut self, row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
        let hooks = &self.hooks;
        let can_see = |snapshots: &SnapshotList| snapshots.can_see(row.seqno);
        let snapshots = mutant!(FilterUnderSnapshots, None, else hooks.snapshots);
        let is_seen = || snapshots.is_some_and(can_see);
        let Some(filter) = hooks.filter.filter(|_| !is_seen()) else { return keep_row(row, sink) };
        match filter.decide(row.key, row.value) {
            Ok(Decision::Keep) => keep_row(row, sink),
            Ok(Decision::Replace(value)) => keep_row(&Row { value: &value, ..*row }, sink),
            Ok(Decision::Remove) => {
                self.counts.removed += 1;
                keep_absence_of(row.key, row.seqno, sink).map(|_| ())
            }
            Err(reason) => {
                hooks.failures.note_filter(reason);
                keep_row(row, sink)
            }
        }
    }
}

/// Passes a value on; at the bottom its seqno says nothing any more.
fn keep_row(row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
    let seqno = if sink.nothing_below(row.key) { 0 } else { row.seqno };
    sink.add(&Row { seqno, ..*row })
}

/// Passes a tombstone on if it may have something to hide; whether it does.
fn keep_absence_of(key: &[u8], seqno: u64, sink: &mut impl Sink) -> Result<bool> {
    if sink.nothing_below(key) {
        return Ok(false);
    }
    sink.add(&Row::tombstone(key, seqno))?;
    Ok(true)
}

const fn put<'a>(key: &'a [u8], seqno: u64, value: &'a [u8]) -> Row<'a> {
    Row { key, seqno, kind: Kind::Put, expires_at: 0, value }
}

const fn operand<'a>(key: &'a [u8], seqno: u64, value: &'a [u8]) -> Row<'a> {
    Row { key, seqno, kind: Kind::Merge, expires_at: 0, value }
}

#[cfg(test)]
mod tests;
