//! The scan: a cursor over everything that a pin sees.
//!
//! Where that is a single table, or a single level, its rows are shown as they stand: nothing is merged,
//! and a step is one function down to the bytes. Else a merging cursor goes between.
//!
//! Spec: `format-spec/03-table.md`, "Scan". I/O: none of its own. Unsafe: none.

use std::sync::Arc;

use super::run::{LevelTables, PlainRun, Run, RunCursor, Wanted};
use super::view::{Pin, View};
use crate::cursor::{ConcatCursor, Location, MergingCursor, VisibleCursor};
use crate::error::Result;
use crate::memtable::MemtableCursor;
use crate::table::{TableCursor, Walk};
use crate::value::Value;

/// A cursor over everything that a pin sees.
///
/// While the walk of a table's cursor is lent, a step needs nothing else: it is taken back before
/// anything is asked of the cursor.
#[derive(Debug)]
pub(crate) struct Scan {
    cursor: ScanCursor,
    runs: Vec<Run>,
    walk: Walk,
    has_walk: bool,
    view: Arc<View>,
    /// Whether a key had so many operands that a flush was asked for: once is enough.
    asked_to_fold: bool,
}

/// What a pin sees, by how many runs that are.
#[derive(Debug)]
enum ScanCursor {
    Table(VisibleCursor<TableCursor>),
    Level(VisibleCursor<ConcatCursor<LevelTables>>),
    Merged(VisibleCursor<MergingCursor<RunCursor>>),
}

/// Calls a method of whichever cursor it is.
macro_rules! of_each {
    ($scan:expr, $cursor:ident => $call:expr) => {
        match $scan {
            ScanCursor::Table($cursor) => $call,
            ScanCursor::Level($cursor) => $call,
            ScanCursor::Merged($cursor) => $call,
        }
    };
}

/// The methods of [`VisibleCursor`].
impl Scan {
    /// Moves to the first row; false if there is none.
    pub(crate) fn seek_first(&mut self) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.seek_first()))
    }

    /// Moves to the last row; false if there is none.
    pub(crate) fn seek_last(&mut self) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.seek_last()))
    }

    /// Moves to the first row at or after `key`; false if there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.seek(key)))
    }

    /// Moves to the last row at or before `key`; false if there is none.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.seek_for_prev(key)))
    }

    /// Moves to the next row; false if there is none or no row is shown.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        if self.has_walk && self.walk.next() {
            return Ok(true);
        }
        self.next_in_runs()
    }

    /// Moves to the row before; false if there is none or no row is shown.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<bool> {
        if self.has_walk && self.walk.prev() {
            return Ok(true);
        }
        self.prev_in_runs()
    }

    /// Whether a row is shown.
    #[inline]
    pub(crate) fn valid(&self) -> bool {
        self.has_walk || of_each!(&self.cursor, cursor => cursor.valid())
    }

    /// The user key; empty if no row is shown.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        if self.has_walk { self.walk.key() } else { self.key_in_runs() }
    }

    /// The value; empty if no row is shown.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        if self.has_walk { self.walk.value() } else { self.value_in_runs() }
    }

    /// The seqno; 0 if no row is shown.
    pub(crate) fn seqno(&self) -> u64 {
        if self.has_walk {
            return self.walk.seqno();
        }
        of_each!(&self.cursor, cursor => cursor.seqno())
    }

    /// When the row expires, in seconds since 1970; 0 is never.
    pub(crate) fn expires_at(&self) -> u64 {
        if self.has_walk { 0 } else { of_each!(&self.cursor, cursor => cursor.expires_at()) }
    }

    /// The value as something that outlives the scan.
    pub(crate) fn owned_value(&self) -> Value<'static> {
        if self.has_walk {
            return self.walk.owned_value();
        }
        of_each!(&self.cursor, cursor => cursor.owned_value())
    }

    fn location(&self) -> Location {
        if self.has_walk {
            return self.walk.location();
        }
        of_each!(&self.cursor, cursor => cursor.location())
    }

    #[inline(never)]
    fn key_in_runs(&self) -> &[u8] {
        of_each!(&self.cursor, cursor => cursor.key())
    }

    #[inline(never)]
    fn value_in_runs(&self) -> &[u8] {
        of_each!(&self.cursor, cursor => cursor.value())
    }

    #[inline(never)]
    fn next_in_runs(&mut self) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.next()))
    }

    #[inline(never)]
    fn prev_in_runs(&mut self) -> Result<bool> {
        self.move_in_runs(|cursor| of_each!(cursor, cursor => cursor.prev()))
    }

    /// Moves the cursor itself, and borrows the walk from where it stands then.
    #[inline]
    fn move_in_runs(&mut self, go: impl FnOnce(&mut ScanCursor) -> Result<bool>) -> Result<bool> {
        self.take_walk_back();
        let found = go(&mut self.cursor)?;
        if found {
            self.borrow_walk();
            self.note_operands();
        }
        Ok(found)
    }

    /// Asks for a flush if the value that is shown was made of many operands.
    #[inline]
    fn note_operands(&mut self) {
        if !self.has_walk && !self.asked_to_fold {
            let count = of_each!(&self.cursor, cursor => cursor.operand_count());
            self.asked_to_fold = count > 0 && self.view.note_operands(count);
        }
    }

    fn borrow_walk(&mut self) {
        let Some((table, snapshot)) = self.cursor.shown_table() else { return };
        if table.can_lend_walk(snapshot) {
            table.swap_walk(&mut self.walk);
            self.has_walk = true;
        }
    }

    fn take_walk_back(&mut self) {
        if self.has_walk
            && let Some((table, _)) = self.cursor.shown_table()
        {
            table.swap_walk(&mut self.walk);
            self.has_walk = false;
        }
    }
}

impl ScanCursor {
    /// The cursor of the table whose row is shown as it stands, if no other run can come between.
    fn shown_table(&mut self) -> Option<(&mut TableCursor, u64)> {
        match self {
            Self::Table(cursor) => cursor.shown_run(),
            Self::Level(cursor) => {
                let (level, snapshot) = cursor.shown_run()?;
                Some((level.child_mut()?, snapshot))
            }
            Self::Merged(_) => None,
        }
    }

    /// Which run the row is from, and which table of that run.
    fn place(&self) -> (usize, usize) {
        match self {
            Self::Table(_) => (0, 0),
            Self::Level(cursor) => (0, cursor.run().part_index()),
            Self::Merged(cursor) => {
                let merging = cursor.run();
                (merging.child_index(), merging.child().map_or(0, RunCursor::part_index))
            }
        }
    }
}

impl Pin {
    /// A cursor over what the pin sees, off its rows. Opens the tables of level 0; those of deeper
    /// levels when the walk comes to them.
    ///
    /// # Errors
    ///
    /// As opening a table.
    pub(crate) fn scan(&self, wanted: Wanted) -> Result<Scan> {
        let mask = self.view.mask(self.seqno)?;
        let mut cursors = Vec::new();
        let mut runs = Vec::new();
        let memtables = std::iter::once(&self.view.active).chain(&self.view.frozen);
        for memtable in memtables.filter(|memtable| !memtable.is_empty()) {
            let cursor = PlainRun::Memtable(MemtableCursor::new(Arc::clone(memtable)));
            cursors.push(cursor.masked(mask.as_ref()));
            runs.push(Run::Memtable(Arc::clone(memtable)));
        }
        for run in self.view.version.run_ranges() {
            cursors.push(PlainRun::over(&self.view.version, run, wanted)?.masked(mask.as_ref()));
            runs.push(Run::Tables(run.clone()));
        }
        if self.view.version.run_count() > 1 {
            self.view.meter.count_scan();
        }
        let only = if cursors.len() == 1 { cursors.pop() } else { None };
        let cursor = match only {
            Some(RunCursor::Table(table)) => ScanCursor::Table(self.visible(*table, wanted)),
            Some(RunCursor::Level(level)) => ScanCursor::Level(self.visible(*level, wanted)),
            other => {
                cursors.extend(other);
                ScanCursor::Merged(self.visible(MergingCursor::new(cursors), wanted))
            }
        };
        let (walk, view) = (Walk::default(), Arc::clone(&self.view));
        Ok(Scan { cursor, runs, walk, has_walk: false, view, asked_to_fold: false })
    }

    /// What this pin sees of `run`.
    fn visible<C: crate::cursor::Cursor>(&self, run: C, wanted: Wanted) -> VisibleCursor<C> {
        let merger = self.view.merger.clone();
        let cursor = VisibleCursor::new(run, self.seqno, self.now_secs, merger);
        if wanted == Wanted::Keys { cursor.keys_only() } else { cursor }
    }

    /// The value that `scan` shows, borrowed from this pin's own data, if it lies in some.
    pub(crate) fn borrow_value(&self, scan: &Scan) -> Option<&[u8]> {
        let (run, part) = scan.cursor.place();
        match (scan.runs.get(run)?, scan.location()) {
            (Run::Tables(run), Location::File { offset, len }) => {
                let table = self.view.version.tables().get(run.start + part)?.opened()?;
                let start = usize::try_from(offset).ok()?;
                table.region().bytes()?.get(start..start.checked_add(len as usize)?)
            }
            (Run::Memtable(memtable), Location::Node(node)) => {
                // The scan's memtable is one of the pin's: borrow it from there.
                let memtables = std::iter::once(&self.view.active).chain(&self.view.frozen);
                let own = memtables.into_iter().find(|own| Arc::ptr_eq(own, memtable))?;
                Some(own.row(node)?.value)
            }
            _ => None,
        }
    }
}
