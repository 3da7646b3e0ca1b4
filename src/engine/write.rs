//! The write path: batch → log → memtable, and when a memtable is full.
//!
//! ```text
//!   make room ─▶ append (one write) ─▶ sync, if asked for ─▶ insert ─▶ visible ─▶ full? freeze
//! ```
//!
//! # Invariants
//!
//! - Rows enter the memtable only after the append, and the sync, succeeded: what a failed write
//!   left in the log is never visible in this process.
//! - Range tombstones are in the newest view before they are visible.
//! - Before a log is synced, every older log is sealed: so "synced" always means a whole prefix.
//!
//! Spec: `format-spec/07-log.md`. I/O: through `wal`. Unsafe: none.

use std::sync::Arc;

use super::commit::Part;
use super::pressure::{Backlog, MAX_LEVEL_0, Pressure};
use super::{Engine, Frozen, Tree, Writer, lock};
use crate::batch::WriteBatch;
use crate::error::{Error, Result};
use crate::format::checksum::hash_key;
use crate::format::file_name::FileName;
use crate::format::log::{LogInfo, RECORD_HEADER_LEN};
use crate::format::log_op::{Op, Ops};
use crate::memtable::Memtable;
use crate::options::{CompactionStyle, Durability};
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, thread};
use crate::wal::{LogWriter, RecordParts};

/// What part of a memtable's size is small for a memtable.
const SMALL_PART: usize = 16;
/// A memtable has about so many range tombstones at most, where they overlap counted for each
/// fragment: each further one copies the list.
const MAX_RANGE_COUNT: usize = 4096;

impl Engine {
    /// Applies a batch: all of it or nothing.
    ///
    /// # Errors
    ///
    /// The batch's own error; [`Error::NoMergeOperator`]; [`Error::Closed`]; [`Error::Poisoned`]; that of an earlier failed
    /// flush; `Io` from the log.
    pub(crate) fn write(&self, batch: &WriteBatch, durability: Option<Durability>) -> Result<()> {
        self.check_open()?;
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        if batch.has_operands() && self.options.merger.is_none() {
            let key = batch.first_merged_key().unwrap_or_default().to_vec();
            return Err(Error::NoMergeOperator { key });
        }
        let payload = batch.payload(self.options.clock.now())?;
        let sync = durability.unwrap_or(self.options.durability) == Durability::Sync;
        let deletes_ranges = batch.deletes_ranges();
        let part = Part { payload: &payload, op_count: batch.op_count(), deletes_ranges };
        let flushes = self.options.background_threads == 0;
        if flushes && lock(&self.tree).failure.is_some() {
            // Nobody else retries a flush that failed.
            self.flush_frozen()?;
        }
        let mut has_frozen = false;
        let commit = |parts: &[Part<'_>], sync| self.commit(parts, sync, &mut has_frozen);
        let written = self.queue.submit(part, sync, commit);
        if flushes && has_frozen {
            // A flush runs the caller's hooks: it comes when nothing is held that a write needs. A
            // failure is kept and told by the next write: this one did succeed.
            let _ = self.flush_frozen();
        }
        written
    }

    /// Makes everything written before durable.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Poisoned`]; `Io` from the log.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut writer = lock(&self.writer);
        self.check_open()?;
        self.check_poison()?;
        self.sync_logs(&mut writer)
    }

    /// Writes the batches of a group; says whether a memtable was set aside on the way.
    fn commit(&self, parts: &[Part<'_>], sync: bool, has_frozen: &mut bool) -> Result<()> {
        let mut writer = lock(&self.writer);
        self.check_open()?;
        self.check_poison()?;
        self.make_room(parts.iter().map(|part| part.payload.len()).sum())?;
        // In a table or memtable whose rows are all older a scan leaves a deleted range in one move;
        // among newer ones it goes row by row. A small memtable is not worth it.
        let deletes_ranges = parts.iter().any(|part| part.deletes_ranges);
        if deletes_ranges && writer.memtable.memory_len() >= self.options.memtable_size / SMALL_PART
        {
            self.freeze(&mut writer)?;
            *has_frozen = true;
        }
        let first_seqno = writer.next_seqno;
        let last_seqno = self.append(&mut writer, parts, sync)?;
        if sync {
            self.sync_logs(&mut writer)?;
        }
        // The log holds these rows already: their seqnos must not be given out again.
        let inserted = insert(&writer.memtable, parts, first_seqno, self.hash_seed);
        let user_bytes = inserted.inspect_err(|error| self.poison(error))?;
        if deletes_ranges {
            let tree = lock(&self.tree);
            self.install_active(&tree, &writer);
        }
        self.counters.user.fetch_add(user_bytes, Ordering::Relaxed);
        writer.next_seqno = last_seqno + 1;
        self.visible.store(last_seqno, Ordering::Release);
        let list = if deletes_ranges { writer.memtable.range_tombstones() } else { None };
        let range_count = list.map_or(0, |list| list.seqno_count());
        let is_full = writer.memtable.memory_len() >= self.options.memtable_size;
        if is_full
            || range_count > MAX_RANGE_COUNT
            || self.meter.is_left_to_writer(&writer.memtable)
        {
            // The next write tries it again and is told of a failure: this one did succeed.
            *has_frozen |= self.freeze(&mut writer).is_ok();
        }
        Ok(())
    }

    /// Appends a record for each part and returns the last seqno.
    fn append(&self, writer: &mut Writer, parts: &[Part<'_>], sync: bool) -> Result<u64> {
        let mut next_seqno = writer.next_seqno;
        let mut records = Vec::with_capacity(parts.len());
        for part in parts {
            let Part { payload, op_count, .. } = *part;
            records.push(RecordParts { payload, first_seqno: next_seqno, op_count });
            next_seqno = next_seqno
                .checked_add(u64::from(op_count))
                .ok_or_else(|| Error::invalid("no sequence number is left"))?;
        }
        let lens = records.iter().map(|record| record.payload.len() as u64);
        let log_bytes = lens.map(|len| RECORD_HEADER_LEN as u64 + len.next_multiple_of(8)).sum();
        self.counters.log.fetch_add(log_bytes, Ordering::Relaxed);
        let log = self.log(writer)?;
        let appended = log.append(&records, sync);
        if let Err(error) = &appended
            && log.is_failed()
        {
            self.poison(error);
        }
        appended.map(|()| next_seqno - 1)
    }

    /// The log of the active memtable, made if it is the first write into it.
    fn log<'w>(&self, writer: &'w mut Writer) -> Result<&'w mut LogWriter> {
        let log = match writer.log.take() {
            Some(log) => log,
            None => self.create_log(writer.previous_log, writer.next_seqno)?,
        };
        Ok(writer.log.insert(log))
    }

    /// Makes the log of the active memtable durable before there is a write for it.
    pub(super) fn begin_log(&self, writer: &mut Writer) -> Result<()> {
        self.log(writer)?;
        self.sync_logs(writer)
    }

    /// Makes the next log.
    pub(super) fn create_log(&self, previous_log: u64, first_seqno: u64) -> Result<LogWriter> {
        let manifest_number = self.manifest_number.load(Ordering::Acquire);
        let info = LogInfo {
            log_number: self.take_file_number(),
            database_id: self.database_id,
            hash_seed: self.hash_seed,
            manifest_number,
            previous_log,
            first_seqno,
            merge_operator: self.merge_operator.as_deref(),
        };
        let created = LogWriter::create(&*self.storage, &info);
        created.inspect_err(|error| {
            // A log without a header, with others behind it, would read as lost data.
            let name = FileName::Log(info.log_number);
            let listing = self.storage.list().ok().flatten();
            if listing.is_none_or(|listing| listing.files.contains(&name)) {
                self.poison(error);
            }
        })
    }

    /// Seals the older logs and syncs the active one.
    fn sync_logs(&self, writer: &mut Writer) -> Result<()> {
        mutant!(AcknowledgeUnsynced, return Ok(()));
        self.seal_older_logs()?;
        let Some(log) = &mut writer.log else { return Ok(()) };
        let synced = log.sync(&*self.storage);
        mutant!(SwallowSyncErrors, return Ok(()));
        synced.inspect_err(|error| self.poison(error))
    }

    fn seal_older_logs(&self) -> Result<()> {
        mutant!(LeaveOlderLogsOpen, return Ok(()));
        let mut older = lock(&self.older_logs);
        while let Some(log) = older.front_mut() {
            log.seal(&*self.storage).inspect_err(|error| self.poison(error))?;
            older.pop_front();
        }
        Ok(())
    }

    /// Ends all logs, each with the record that proves it whole.
    pub(super) fn seal_logs(&self, writer: &mut Writer) -> Result<()> {
        self.check_poison()?;
        self.seal_older_logs()?;
        let Some(log) = &mut writer.log else { return Ok(()) };
        log.seal(&*self.storage).inspect_err(|error| self.poison(error))
    }

    /// Waits as long as what has piled up asks of a batch of so many bytes, and tells a failed flush
    /// or compaction to the caller.
    pub(super) fn make_room(&self, batch_len: usize) -> Result<()> {
        let mut tree = lock(&self.tree);
        Self::tell_write(&mut tree)?;
        if self.options.background_threads == 0 {
            return Ok(());
        }
        let mut stood_since = None;
        let backlog = loop {
            self.check_poison()?;
            if tree.closing {
                return Err(Error::Closed);
            }
            if let Some(error) = tree.failure.clone() {
                // The caller is told; the worker tries again at once.
                tree.flush_may_retry = true;
                self.changed.notify_all();
                return Err(error);
            }
            let backlog = self.backlog(&tree);
            if !backlog.stops_writers() {
                break backlog;
            }
            stood_since.get_or_insert_with(Pressure::start);
            tree = self.wait_for_change(tree);
        };
        drop(tree);
        if let Some(start) = stood_since {
            self.pressure.note_wait(start.elapsed(), true);
        } else if let Some(sleep) = self.pressure.sleep_for(backlog, batch_len) {
            #[expect(clippy::disallowed_methods, reason = "a writer that is too fast sleeps")]
            thread::sleep(sleep);
            self.pressure.note_wait(sleep, false);
        }
        Ok(())
    }

    fn backlog(&self, tree: &Tree) -> Backlog {
        // Where nobody merges, level 0 may grow.
        let is_merged =
            self.options.compaction != CompactionStyle::Manual && !tree.compactions.has_failed();
        let level_0_tables = if is_merged { self.view.load().version.level_0_count() } else { 0 };
        // A `compact` may take long; writers need not stand still until level 0 has its turn.
        let most = if tree.compactions.are_held_back() { MAX_LEVEL_0 - 1 } else { usize::MAX };
        let level_0_tables = level_0_tables.min(most);
        Backlog { frozen_memtables: tree.frozen.len(), level_0_tables }
    }

    /// Sets the active memtable aside to be flushed, and starts a new one.
    pub(super) fn freeze(&self, writer: &mut Writer) -> Result<()> {
        let Some(mut log) = writer.log.take() else { return Ok(()) };
        let log_number = log.number();
        if log.is_synced() {
            if let Err(error) = log.seal(&*self.storage) {
                self.poison(&error);
                writer.log = Some(log);
                return Err(error);
            }
        } else {
            // Syncing it here would make a buffered write wait for megabytes.
            lock(&self.older_logs).push_back(log);
        }
        writer.previous_log = log_number;
        let next = Arc::new(Memtable::with_capacity_for(self.options.memtable_size));
        let frozen = std::mem::replace(&mut writer.memtable, next);
        let mut tree = lock(&self.tree);
        tree.frozen.push_back(Frozen { memtable: frozen, log_number });
        self.install_active(&tree, writer);
        drop(tree);
        self.changed.notify_all();
        Ok(())
    }

    /// Makes the writer's memtable the one that is read, with the range tombstones that it has now.
    fn install_active(&self, tree: &MutexGuard<'_, Tree>, writer: &Writer) {
        let version = Arc::clone(&self.view.load().version);
        self.install(tree, Arc::clone(&writer.memtable), version);
    }
}

/// Inserts the operations of all parts and returns the bytes of their keys and values.
fn insert(
    memtable: &Memtable,
    parts: &[Part<'_>],
    first_seqno: u64,
    hash_seed: u64,
) -> Result<u64> {
    let mut seqno = first_seqno;
    let mut user_bytes = 0;
    let mut deleted = Vec::new();
    for part in parts {
        for op in Ops::new(part.payload, part.op_count) {
            let op = op.map_err(|error| {
                Error::invalid(format!("the batch does not hold what it says: {error}"))
            })?;
            match op {
                Op::Row(op) => {
                    memtable.insert(&op.row(seqno), hash_key(op.key, hash_seed))?;
                    user_bytes += (op.key.len() + op.value.len()) as u64;
                }
                Op::RangeDelete(op) => {
                    deleted.push(op.tombstone(seqno));
                    user_bytes += (op.start.len() + op.end.map_or(0, <[u8]>::len)) as u64;
                }
            }
            seqno += 1;
        }
    }
    // At once: each list is made of the one before.
    memtable.delete_ranges(&deleted);
    Ok(user_bytes)
}
