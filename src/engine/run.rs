//! A run of the tree: a memtable or a table, behind one cursor type.
//!
//! An enum, not a trait object, so that the steps of a scan are direct calls.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::sync::Arc;

use crate::cursor::{Cursor, Location};
use crate::error::Result;
use crate::format::row::Kind;
use crate::memtable::{Memtable, MemtableCursor};
use crate::table::TableCursor;
use crate::value::Value;

/// Which run of a view a cursor walks.
#[derive(Debug)]
pub(super) enum Run {
    Memtable(Arc<Memtable>),
    /// The index of the table in the version.
    Table(usize),
}

/// A position in a memtable or in a table.
#[derive(Debug)]
pub(crate) enum RunCursor {
    Memtable(MemtableCursor),
    Table(Box<TableCursor>),
}

/// Calls the same method on whichever cursor it is.
macro_rules! either {
    ($self:expr, $cursor:ident => $call:expr) => {
        match $self {
            RunCursor::Memtable($cursor) => $call,
            RunCursor::Table($cursor) => $call,
        }
    };
}

impl Cursor for RunCursor {
    fn seek_first(&mut self) -> Result<()> {
        either!(self, cursor => cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        either!(self, cursor => cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        either!(self, cursor => cursor.seek(key, seqno))
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        either!(self, cursor => cursor.seek_for_prev(key, seqno))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        either!(self, cursor => cursor.next())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        either!(self, cursor => cursor.prev())
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        either!(self, cursor => cursor.next_key())
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        either!(self, cursor => cursor.prev_has_same_key())
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        either!(self, cursor => cursor.is_plainly_visible(snapshot))
    }

    #[inline]
    fn valid(&self) -> bool {
        either!(self, cursor => cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        either!(self, cursor => cursor.key())
    }

    #[inline]
    fn seqno(&self) -> u64 {
        either!(self, cursor => cursor.seqno())
    }

    #[inline]
    fn kind(&self) -> Kind {
        either!(self, cursor => cursor.kind())
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        either!(self, cursor => cursor.expires_at())
    }

    #[inline]
    fn value(&self) -> &[u8] {
        either!(self, cursor => cursor.value())
    }

    #[inline]
    fn location(&self) -> Location {
        either!(self, cursor => cursor.location())
    }

    fn owned_value(&self) -> Value<'static> {
        either!(self, cursor => cursor.owned_value())
    }
}
