//! The flush: the oldest frozen memtable becomes tables of level 0.
//!
//! ```text
//!   rows ─▶ TMP-n … TABLE-n ─▶ sync directory ─▶ manifest ─▶ new version ─▶ remove old logs
//! ```
//!
//! Usually one table; more if the rows fill more than `table_size`, or a key is too long for the
//! slots of the table before it.
//!
//! # Invariants
//!
//! - One flush at a time, oldest memtable first: so the tables of level 0 are ordered by seqno and
//!   logs become obsolete in order.
//! - A failed flush changes nothing: its files are removed, and the retry uses new numbers.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::sync::Arc;

use super::outputs::{Outputs, record_of, remove_tables};
use super::pressure::Pressure;
use super::publish::Edit;
use super::retention::{Hooks, Retention, Sink};
use super::run::PlainRun;
use super::{Engine, Frozen, lock};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::format::range_tombstone::RangeTombstone;
use crate::format::row::Row;
use crate::hooks::now_secs;
use crate::memtable::{Memtable, MemtableCursor};
use crate::range_tombstones::Mask;
use crate::sync::atomic::Ordering;
use crate::table::TableInfo;

/// A close leaves a memtable of at most so many bytes to its log: some hundred rows, which the next
/// open replays in less time than it takes to write a table.
const MAX_REPLAY_LEN: usize = 64 << 10;

/// Where the rows of a memtable go.
struct Target<'e> {
    outputs: Outputs<'e>,
}

impl Sink for Target<'_> {
    fn nothing_below(&mut self, _key: &[u8]) -> bool {
        // It may well be so, but the next compaction knows.
        false
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        self.outputs.add(row)
    }
}

impl Engine {
    /// The caller's code that has a say in what stays; the filter only in compactions.
    pub(super) fn hooks(&self, with_filter: bool) -> Hooks<'_> {
        Hooks {
            merger: self.options.merger.as_ref(),
            filter: self.options.compaction_filter.as_ref().filter(|_| with_filter),
            snapshots: self.snapshots.as_deref(),
            failures: &self.counters.hooks,
        }
    }

    /// Turns the memtable into tables, on return.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Poisoned`]; `Io` from writing; what ended a compaction in the
    /// background.
    pub(crate) fn flush(&self) -> Result<()> {
        self.flush_memtables()?;
        self.tell_compaction_failure()
    }

    /// Turns the memtable and those that wait into tables, on return.
    pub(super) fn flush_memtables(&self) -> Result<()> {
        {
            let mut writer = lock(&self.writer);
            self.check_open()?;
            self.check_poison()?;
            if !writer.memtable.is_empty() {
                self.freeze(&mut writer)?;
            }
        }
        self.flush_frozen()
    }

    /// Flushes what the next open would have to replay row by row, unless it is little or somebody
    /// else writes or flushes just now: whoever closes does not wait for them. A failure is no
    /// matter, as the log holds all of it.
    pub(super) fn spare_the_next_open_a_replay(&self) {
        let Ok(writer) = self.writer.try_lock() else { return };
        let memory_len = writer.memtable.memory_len();
        drop(writer);
        if memory_len > MAX_REPLAY_LEN && lock(&self.tree).frozen.is_empty() {
            let _ = self.flush_memtables();
        }
    }

    /// Flushes until no memtable is frozen.
    pub(super) fn flush_frozen(&self) -> Result<()> {
        while self.flush_oldest()? {}
        Ok(())
    }

    /// Flushes the oldest frozen memtable; false if there is none.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let flushing = lock(&self.flushing);
        let Some(frozen) = lock(&self.tree).frozen.front().cloned() else { return Ok(false) };
        let checked = self.check_open().and_then(|()| self.check_poison());
        let flushed = checked.and_then(|()| self.flush_memtable(&frozen));
        let mut tree = lock(&self.tree);
        match &flushed {
            // A close ends flushes; that is no failure.
            Err(Error::Closed) => {}
            other => tree.failure = other.as_ref().err().cloned(),
        }
        Self::allow_retry(&mut tree);
        drop(tree);
        drop(flushing);
        self.changed.notify_all();
        flushed.map(|()| true)
    }

    fn flush_memtable(&self, frozen: &Frozen) -> Result<()> {
        let start = Pressure::start();
        let infos = self.write_tables(&frozen.memtable)?;
        let cleared_seqno = frozen.memtable.last_seqno();
        let records = infos.iter().cloned().map(|info| record_of(info, 0, cleared_seqno));
        let edit = Edit {
            added: records.map(|record| self.handle_of(record)).collect(),
            flushed_log: Some(frozen.log_number),
            last_seqno: cleared_seqno,
            ..Edit::default()
        };
        mutant!(RemoveFlushedLogEarly, {
            let log = crate::format::file_name::FileName::Log(frozen.log_number);
            self.storage.remove(log)?;
        });
        let published = self.publish_edit(&mut lock(&self.publisher), edit);
        let is_unknown = self.poison.get().is_some();
        if published.is_err() && !mutant!(RemoveUnknownTables, false, else is_unknown) {
            remove_tables(self, &infos);
        }
        self.pressure.note_flush(frozen.memtable.memory_len(), &start);
        let written = infos.iter().map(|info| info.file_len).sum();
        self.counters.flushed.fetch_add(written, Ordering::Relaxed);
        published
    }

    /// Writes what stays of the rows of a memtable. On an error nothing of it is left.
    pub(super) fn write_tables(&self, memtable: &Arc<Memtable>) -> Result<Vec<TableInfo>> {
        let mut target = Target { outputs: Outputs::new(self, Vec::new()) };
        let mut retention = Retention::new(self.hooks(false), now_secs(&*self.options.clock));
        let range_tombstones = memtable.range_tombstones();
        let mask = range_tombstones.clone().map(|list| Arc::new(Mask::new(vec![list], u64::MAX)));
        let rows = PlainRun::Memtable(MemtableCursor::new(Arc::clone(memtable)));
        let mut rows = rows.masked(mask.as_ref());
        if let Some(list) = range_tombstones {
            target.outputs.set_range_tombstones(list);
        }
        rows.seek_first()?;
        while rows.valid() {
            let row = Row {
                key: rows.key(),
                seqno: rows.seqno(),
                kind: rows.kind(),
                expires_at: rows.expires_at(),
                value: rows.value(),
            };
            retention.add(&row, &mut target)?;
            rows.next()?;
        }
        retention.finish(&mut target)?;
        if let Some(list) = memtable.range_tombstones().filter(|_| target.outputs.lacks_row()) {
            // No table is without rows. This one says nothing that the first range does not say.
            for RangeTombstone { start, seqno, .. } in list.newest().take(1) {
                target.outputs.add(&Row::tombstone(start, seqno))?;
            }
        }
        target.outputs.finish()
    }
}
