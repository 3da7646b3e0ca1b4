//! A run of the tree: a memtable, a table, or a level, behind one cursor type.
//!
//! An enum, not a trait object, so that the steps of a scan are direct calls.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::ops::Range;
use std::sync::Arc;

use super::version::{TableHandle, Version};
use crate::cursor::{ConcatCursor, Cursor, Location, MaskedCursor, Parts};
use crate::error::{Error, Result};
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

/// What a scan is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Entries,
    /// Nobody looks at values.
    Keys,
}

/// The tables of a level, for a cursor that walks one after the other.
#[derive(Debug)]
pub(crate) struct LevelTables {
    tables: Vec<Arc<TableHandle>>,
    wanted: Wanted,
}

impl LevelTables {
    /// These tables, which hold disjoint ranges of keys in ascending order.
    pub(super) const fn new(tables: Vec<Arc<TableHandle>>, wanted: Wanted) -> Self {
        Self { tables, wanted }
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
        open_table(handle, self.wanted).map(Some)
    }
}

fn open_table(handle: &TableHandle, wanted: Wanted) -> Result<TableCursor> {
    let cursor = TableCursor::new(Arc::clone(handle.table()?));
    Ok(if wanted == Wanted::Keys { cursor.keys_only() } else { cursor })
}

/// A position in a memtable, in a table or in a level.
#[derive(Debug)]
pub(crate) enum PlainRun {
    Memtable(MemtableCursor),
    Table(Box<TableCursor>),
    Level(Box<ConcatCursor<LevelTables>>),
}

/// The same, or what range tombstones leave of it. The first three stand here again because a
/// scan without range tombstones, which is nearly every one, then calls them directly.
#[derive(Debug)]
pub(crate) enum RunCursor {
    Memtable(MemtableCursor),
    Table(Box<TableCursor>),
    Level(Box<ConcatCursor<LevelTables>>),
    Masked(Box<MaskedCursor<PlainRun>>),
}

impl PlainRun {
    /// A cursor over the tables of a run of `version`.
    pub(super) fn over(version: &Version, run: &Range<usize>, wanted: Wanted) -> Result<Self> {
        let tables = version.tables().get(run.clone()).unwrap_or_default();
        Ok(match tables {
            [only] => Self::Table(Box::new(open_table(only, wanted)?)),
            tables => {
                let tables = LevelTables::new(tables.to_vec(), wanted);
                Self::Level(Box::new(ConcatCursor::new(tables)))
            }
        })
    }

    /// The same without the rows that `mask` covers, if there is one.
    pub(super) fn masked(self, mask: Option<&Arc<Mask>>) -> RunCursor {
        match (mask, self) {
            (Some(mask), run) => {
                RunCursor::Masked(Box::new(MaskedCursor::new(run, Arc::clone(mask))))
            }
            (None, Self::Memtable(cursor)) => RunCursor::Memtable(cursor),
            (None, Self::Table(cursor)) => RunCursor::Table(cursor),
            (None, Self::Level(cursor)) => RunCursor::Level(cursor),
        }
    }
}

impl RunCursor {
    /// Which table of its run the row is from.
    pub(super) fn part_index(&self) -> usize {
        match self {
            Self::Level(level) => level.part_index(),
            Self::Masked(masked) => match masked.run() {
                PlainRun::Level(level) => level.part_index(),
                PlainRun::Memtable(_) | PlainRun::Table(_) => 0,
            },
            Self::Memtable(_) | Self::Table(_) => 0,
        }
    }
}

/// Implements [`Cursor`] for an enum of cursors: each call goes to whichever it is.
macro_rules! cursor_of_variants {
    ($name:ident: $($variant:ident),+) => {
        impl Cursor for $name {
            fn seek_first(&mut self) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.seek_first(),)+ }
            }

            fn seek_last(&mut self) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.seek_last(),)+ }
            }

            fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.seek(key, seqno),)+ }
            }

            fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.seek_for_prev(key, seqno),)+ }
            }

            #[inline]
            fn next(&mut self) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.next(),)+ }
            }

            #[inline]
            fn prev(&mut self) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.prev(),)+ }
            }

            #[inline]
            fn next_key(&mut self) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.next_key(),)+ }
            }

            #[inline]
            fn prev_has_same_key(&mut self) -> Result<bool> {
                match self { $(Self::$variant(cursor) => cursor.prev_has_same_key(),)+ }
            }

            #[inline]
            fn newest_seqno(&self) -> u64 {
                match self { $(Self::$variant(cursor) => cursor.newest_seqno(),)+ }
            }

            fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.skip_forward(end),)+ }
            }

            fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
                match self { $(Self::$variant(cursor) => cursor.skip_backward(start),)+ }
            }

            #[inline]
            fn is_plainly_visible(&self, snapshot: u64) -> bool {
                match self { $(Self::$variant(cursor) => cursor.is_plainly_visible(snapshot),)+ }
            }

            #[inline]
            fn valid(&self) -> bool {
                match self { $(Self::$variant(cursor) => cursor.valid(),)+ }
            }

            #[inline]
            fn key(&self) -> &[u8] {
                match self { $(Self::$variant(cursor) => cursor.key(),)+ }
            }

            #[inline]
            fn seqno(&self) -> u64 {
                match self { $(Self::$variant(cursor) => cursor.seqno(),)+ }
            }

            #[inline]
            fn kind(&self) -> Kind {
                match self { $(Self::$variant(cursor) => cursor.kind(),)+ }
            }

            #[inline]
            fn expires_at(&self) -> u64 {
                match self { $(Self::$variant(cursor) => cursor.expires_at(),)+ }
            }

            #[inline]
            fn value(&self) -> &[u8] {
                match self { $(Self::$variant(cursor) => cursor.value(),)+ }
            }

            #[inline]
            fn location(&self) -> Location {
                match self { $(Self::$variant(cursor) => cursor.location(),)+ }
            }

            fn owned_value(&self) -> Value<'static> {
                match self { $(Self::$variant(cursor) => cursor.owned_value(),)+ }
            }

            fn disorder(&self) -> Error {
                match self { $(Self::$variant(cursor) => cursor.disorder(),)+ }
            }
        }
    };
}

cursor_of_variants!(PlainRun: Memtable, Table, Level);
cursor_of_variants!(RunCursor: Memtable, Table, Level, Masked);
