//! A run of the tree: a memtable, a table, or a level, behind one cursor type.
//!
//! An enum, not a trait object, so that the steps of a scan are direct calls.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::ops::Range;
use std::sync::Arc;

use super::version::{TableHandle, Version};
use crate::cursor::{ConcatCursor, Cursor, Location, MaskedCursor, Parts};
use crate::error::Result;
use crate::format::row::Kind;
use crate::memtable::{Memtable, MemtableCursor};
use crate::range_tombstones::Mask;
use crate::table::TableCursor;
use crate::value::Value;

/// Which run of a view a cursor walks.
#[derive(Debug)]
pub(super) enum Run {
    Memtable(Arc<Memtable>),
    /// The tables of the run, as places in the version.
    Tables(Range<usize>),
}

/// The tables of a level, for a cursor that walks one after the other.
#[derive(Debug)]
pub(crate) struct LevelTables {
    tables: Vec<Arc<TableHandle>>,
}

impl LevelTables {
    /// These tables, which hold disjoint ranges of keys in ascending order.
    pub(super) const fn new(tables: Vec<Arc<TableHandle>>) -> Self {
        Self { tables }
    }
}

impl Parts for LevelTables {
    type Cursor = TableCursor;

    fn part_count(&self) -> usize {
        self.tables.len()
    }

    fn largest(&self, part: usize) -> &[u8] {
        self.tables.get(part).map_or(&[], |table| &table.record.largest)
    }

    fn open(&self, part: usize) -> Result<Option<TableCursor>> {
        let Some(handle) = self.tables.get(part) else { return Ok(None) };
        Ok(Some(TableCursor::new(Arc::clone(handle.table()?))))
    }
}

/// A position in a memtable, in a table or in a level.
#[derive(Debug)]
pub(crate) enum RunCursor {
    Memtable(MemtableCursor),
    Table(Box<TableCursor>),
    Level(Box<ConcatCursor<LevelTables>>),
    /// Any of these, without the rows that range tombstones cover.
    Masked(Box<MaskedCursor<RunCursor>>),
}

impl RunCursor {
    /// A cursor over the tables of a run of `version`.
    pub(super) fn over(version: &Version, run: &Range<usize>) -> Result<Self> {
        let tables = version.tables().get(run.clone()).unwrap_or_default();
        Ok(match tables {
            [only] => Self::Table(Box::new(TableCursor::new(Arc::clone(only.table()?)))),
            tables => Self::Level(Box::new(ConcatCursor::new(LevelTables::new(tables.to_vec())))),
        })
    }

    /// Which table of its run the row is from.
    pub(super) fn part_index(&self) -> usize {
        match self {
            Self::Level(level) => level.part_index(),
            Self::Masked(masked) => masked.run().part_index(),
            Self::Memtable(_) | Self::Table(_) => 0,
        }
    }

    /// The same without the rows that `mask` covers, if there is one.
    pub(super) fn masked(self, mask: Option<&Arc<Mask>>) -> Self {
        match mask {
            Some(mask) => Self::Masked(Box::new(MaskedCursor::new(self, Arc::clone(mask)))),
            None => self,
        }
    }
}

/// Calls the same method on whichever cursor it is.
macro_rules! either {
    ($self:expr, $cursor:ident => $call:expr) => {
        match $self {
            RunCursor::Memtable($cursor) => $call,
            RunCursor::Table($cursor) => $call,
            RunCursor::Level($cursor) => $call,
            RunCursor::Masked($cursor) => $call,
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
    fn newest_seqno(&self) -> u64 {
        either!(self, cursor => cursor.newest_seqno())
    }

    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        either!(self, cursor => cursor.skip_forward(end))
    }

    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        either!(self, cursor => cursor.skip_backward(start))
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
