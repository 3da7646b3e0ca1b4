//! Cursors: many sorted runs seen as one.
//!
//! A *run* is anything sorted by internal key (user key ascending, seqno descending): a memtable
//! a table, or a level. Each has a cursor of its own that implements [`Cursor`]; [`MergingCursor`] makes
//! one run of many, and [`VisibleCursor`] shows of it what a snapshot sees.
//!
//! ```text
//!   VisibleCursor    one row a user key: the newest the snapshot sees, if it is not deleted
//!        ▲
//!   MergingCursor    every version of every key, in the order of the internal keys
//!     ▲  ▲  ▲
//!   memtable · table · level    the disjoint tables of a level end to end: ConcatCursor
//! ```
//!
//! Where ranges of keys were deleted, a [`MaskedCursor`] around a run hides its covered rows.
//!
//! # Invariants
//!
//! - A cursor is either on a row (`valid`) or off its rows; off, only a seek revives it.
//! - After an error a cursor is off its rows.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::value::Value;

mod concat;
mod edges;
mod folded;
mod masked;
mod merging;
mod operands;
mod visible;

pub(crate) use concat::{ConcatCursor, Parts};
pub(crate) use masked::MaskedCursor;
pub(crate) use merging::MergingCursor;
pub(crate) use operands::Operands;
pub(crate) use visible::VisibleCursor;

/// Where a value lies inside its run, for whoever can borrow from that run for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In a memtable: the number of its node.
    Node(u32),
    /// In a mapped table: bytes of the file.
    File {
        /// Offset from the start of the file.
        offset: u64,
        /// Length in bytes.
        len: u32,
    },
    /// Only in the cursor itself (blocks read to the heap): must be copied or shared.
    Cursor,
}

/// A position in one sorted run.
///
/// A run is made of *pieces*: a memtable, a table, or of a level each of its tables. A cursor that
/// can tell how new the rows of a piece are goes past many of them in one move
/// ([`skip_forward`](Self::skip_forward)); if it can't tell, each row is a piece of its own.
///
/// `key`, `seqno`, `kind`, `expires_at`, `value`, `location` and `owned_value` speak of the row
/// that the cursor is on; off its rows they are empty or zero, never a panic.
pub(crate) trait Cursor {
    /// Moves to the first row.
    fn seek_first(&mut self) -> Result<()>;
    /// Moves to the last row.
    fn seek_last(&mut self) -> Result<()>;
    /// Moves to the first row at or after the internal key (`key`, `seqno`).
    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()>;
    /// Moves to the last row at or before the internal key (`key`, `seqno`).
    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()>;
    /// Moves to the next row in the order of the internal keys.
    fn next(&mut self) -> Result<()>;
    /// Moves to the row before.
    fn prev(&mut self) -> Result<()>;
    /// Moves to the first row of the next user key.
    fn next_key(&mut self) -> Result<()>;
    /// Whether the row before this one has the same user key. May be answered by looking, without
    /// moving; a run that holds each key once answers `false` at once.
    fn prev_has_same_key(&mut self) -> Result<bool>;

    /// A seqno that no row of the piece it stands in exceeds. Rows that come into a memtable later
    /// may, but those no reader with this cursor's snapshot sees.
    #[inline]
    fn newest_seqno(&self) -> u64 {
        u64::MAX
    }
    /// From a row of a smaller key, moves to the first row of the piece whose key is `end` or
    /// larger; if there is none, or no `end`, to the first row of the next piece.
    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        let _ = end;
        self.next()
    }
    /// From a row whose key is `start` or larger, moves to the last row of the piece whose key is
    /// smaller; if there is none, to the last row of the piece before.
    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        let _ = start;
        self.prev()
    }

    /// Whether the cursor is on a row.
    fn valid(&self) -> bool;
    /// Whether the cursor is on a row that a reader at `snapshot` sees whatever the time is, by a
    /// glance: `false` means that the row has to be looked at.
    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.valid()
            && self.seqno() <= snapshot
            && self.kind() == Kind::Put
            && self.expires_at() == 0
    }
    /// The user key.
    fn key(&self) -> &[u8];
    /// The seqno.
    fn seqno(&self) -> u64;
    /// The kind.
    fn kind(&self) -> Kind;
    /// When the row expires, in seconds since 1970; 0 is never.
    fn expires_at(&self) -> u64;
    /// The value, also if the table keeps it out of line.
    fn value(&self) -> &[u8];
    /// Where the value lies.
    fn location(&self) -> Location;
    /// The value as something that outlives the cursor: short ones copied, long ones shared.
    fn owned_value(&self) -> Value<'static>;

    /// The error of whoever finds that the rows around here are not in order: as a table may hold
    /// them that somebody gave right checksums.
    #[cold]
    fn disorder(&self) -> Error {
        Error::invalid("rows in memory are not in order")
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
