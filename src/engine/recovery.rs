//! Recovery: what the logs hold becomes the memtable again, and durable at once.
//!
//! ```text
//!   LOG-7 ─ records ─▶ LOG-9 ─ records ─▶ torn tail?   ─▶ memtable ─▶ a new log, or tables
//!           whole batches, seqnos without a gap                        └─▶ manifest ─▶ old logs go
//! ```
//!
//! # Invariants
//!
//! - What is recovered is a prefix of what was written: replay stops at the first batch that is
//!   not whole, and at a gap in the seqnos.
//! - Bytes that a crash can leave are dropped and reported. Bytes that were once proved durable
//!   and are not whole are corruption: opening refuses, unless it was asked to stop there.
//! - Recovered rows are written and synced to new files before an old log is removed, so a crash
//!   during recovery, any number of times, changes nothing; an unfinished rewrite is recognised by
//!   its `previous_log` of 0 and ignored.
//!
//! Spec: `format-spec/07-log.md`, "Recovery". I/O: through `wal`. Unsafe: none.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::checksum::hash_key;
use crate::format::file_name::{self, FileName};
use crate::format::log::{LogEnd, Record};
use crate::format::log_op::{Op, Ops};
use crate::format::manifest::ManifestData;
use crate::memtable::Memtable;
use crate::options::{LogRecovery, ReadMode};
use crate::storage::{Listing, Storage};
use crate::wal::{LogSummary, read_log};

use super::inspect::RecoveryStats;

/// A batch that was read from a log.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) first_seqno: u64,
    pub(super) op_count: u32,
    pub(super) payload: Vec<u8>,
}

/// What the logs hold.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) memtable: Memtable,
    pub(super) batches: Vec<Recovered>,
    pub(super) last_seqno: u64,
    /// The logs that were there, whole or not.
    pub(super) logs: Vec<u64>,
    /// The merge operator that a log names, if one does.
    pub(super) merge_operator: Option<String>,
    pub(super) stats: RecoveryStats,
}

impl Replay {
    /// Nothing yet, behind this seqno.
    pub(super) fn after(last_seqno: u64, memtable_size: usize) -> Self {
        Self {
            memtable: Memtable::with_capacity_for(memtable_size),
            batches: Vec::new(),
            last_seqno,
            logs: Vec::new(),
            merge_operator: None,
            stats: RecoveryStats::default(),
        }
    }

    /// Takes the next batch, of the log at `path`; what it deletes by range is deleted at the end, see
    /// [`delete_ranges`](Self::delete_ranges).
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for an operation that is none.
    pub(super) fn apply(&mut self, batch: Recovered, path: &Path, hash_seed: u64) -> Result<()> {
        for (seqno, op) in (batch.first_seqno..).zip(Ops::new(&batch.payload, batch.op_count)) {
            let op = op.map_err(|error| Error::corrupt(path, 0, error))?;
            match op {
                Op::Row(op) => self.memtable.insert(&op.row(seqno), hash_key(op.key, hash_seed))?,
                Op::RangeDelete(_) => {}
            }
            self.last_seqno = seqno;
            self.stats.row_count += 1;
        }
        self.stats.batch_count += 1;
        self.batches.push(batch);
        Ok(())
    }

    /// Deletes the ranges of all batches at once: nobody reads yet, and all rows are there.
    pub(super) fn delete_ranges(&self) {
        let mut deleted = Vec::new();
        for batch in &self.batches {
            let ops = Ops::new(&batch.payload, batch.op_count).flatten();
            deleted.extend((batch.first_seqno..).zip(ops).filter_map(|(seqno, op)| match op {
                Op::RangeDelete(op) => Some(op.tombstone(seqno)),
                Op::Row(_) => None,
            }));
        }
        self.memtable.delete_ranges(&deleted);
    }
}

impl Recovered {
    /// A copy of a record.
    pub(super) fn of(record: &Record<'_>) -> Self {
        let payload = record.payload.to_vec();
        Self { first_seqno: record.first_seqno, op_count: record.op_count, payload }
    }
}

/// Reads the logs that a version needs.
pub(super) struct Replayer<'r> {
    pub(super) storage: &'r dyn Storage,
    pub(super) manifest: &'r ManifestData,
    pub(super) policy: LogRecovery,
    pub(super) memtable_size: usize,
}

impl Replayer<'_> {
    /// Replays the logs of `listing`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] by file and offset; `Io` from reading.
    pub(super) fn replay(&self, listing: &Listing) -> Result<Replay> {
        let replay = self.replay_rows(listing)?;
        replay.delete_ranges();
        Ok(replay)
    }

    /// Replays all operations but range deletes.
    fn replay_rows(&self, listing: &Listing) -> Result<Replay> {
        let logs: Vec<u64> = listing
            .files
            .iter()
            .filter_map(|name| match name {
                FileName::Log(number) if *number >= self.manifest.oldest_log => Some(*number),
                _ => None,
            })
            .collect();
        let mut replay = Replay::after(self.manifest.last_seqno, self.memtable_size);
        replay.logs.clone_from(&logs);
        let mut previous: Option<LogSummary> = None;
        for (index, number) in logs.iter().enumerate() {
            let later = logs.get(index..).unwrap_or_default();
            let before = index.checked_sub(1).and_then(|before| logs.get(before)).copied();
            match self.replay_one(*number, before, &mut replay)? {
                Outcome::Whole(summary) => previous = Some(summary),
                Outcome::Ignored => {}
                Outcome::Gap(missing) => {
                    // A crash took the log before, or its tail, unless it is proved to have been
                    // whole and durable.
                    let damage = if self.proves_earlier(later)? {
                        let before = previous.as_ref().and_then(LogSummary::damage_if_sealed);
                        Some(before.unwrap_or(missing))
                    } else {
                        None
                    };
                    self.stop(&mut replay, damage, *number, 0)?;
                    replay.stats.dropped_bytes += self.len_of(later);
                    return Ok(replay);
                }
                Outcome::Ended(summary) => {
                    mutant!(TakeDamageForAnEnd, return Ok(replay));
                    let later = later.get(1..).unwrap_or_default();
                    let damage = match summary.damage() {
                        Some(damage) => Some(damage),
                        None if self.proves_earlier(later)? => summary.damage_if_sealed(),
                        None => None,
                    };
                    self.stop(&mut replay, damage, *number, summary.end.at())?;
                    replay.stats.dropped_bytes += summary.dropped_len() + self.len_of(later);
                    return Ok(replay);
                }
            }
        }
        Ok(replay)
    }

    /// Ends the replay at `offset` of a log; an error if that is damage and not asked for.
    fn stop(
        &self,
        replay: &mut Replay,
        damage: Option<Error>,
        number: u64,
        offset: u64,
    ) -> Result<()> {
        if let Some(error) = damage {
            if self.policy == LogRecovery::Strict {
                return Err(error);
            }
            replay.stats.damage = Some(error);
        }
        replay.stats.stopped_at = Some((self.storage.path(FileName::Log(number)), offset));
        Ok(())
    }

    fn replay_one(&self, number: u64, before: Option<u64>, replay: &mut Replay) -> Result<Outcome> {
        let mut gap = None;
        let mut batches = Vec::new();
        let mut next_seqno = replay.last_seqno.saturating_add(1);
        let summary = read_log(self.storage, self.manifest.database_id, number, |record| {
            // An unfinished rewrite repeats seqnos; it is judged by its header, below.
            let is_gap = record.first_seqno > next_seqno;
            if gap.is_none() && mutant!(IgnoreGaps, false, else is_gap) {
                gap = Some(file_name::SEQUENCE.found(0, next_seqno, record.first_seqno));
            }
            if gap.is_none() {
                next_seqno = record.first_seqno.saturating_add(u64::from(record.op_count));
                batches.push(Recovered::of(record));
            }
            Ok(())
        })?;
        if let Some(header) = &summary.header {
            if header.previous_log == 0 && before.is_some() {
                return Ok(Outcome::Ignored);
            }
            let newest =
                mutant!(IgnoreMissingManifest, u64::MAX, else self.manifest.manifest_number);
            if header.manifest_number > newest {
                let error = file_name::NEWEST.found(48, header.manifest_number, newest);
                return Err(Error::corrupt(&summary.path, 0, error));
            }
            let previous = header.previous_log;
            let is_needed = previous != 0 && previous >= self.manifest.oldest_log;
            if mutant!(IgnoreGaps, false, else is_needed) && before != Some(previous) {
                let error = file_name::CHAIN.found(56, previous, before.unwrap_or(0));
                return Ok(Outcome::Gap(Error::corrupt(&summary.path, 0, error)));
            }
        }
        if let Some(name) = summary.header.as_ref().and_then(|log| log.merge_operator.clone()) {
            replay.merge_operator = Some(name);
        }
        for batch in batches {
            let next = replay.last_seqno.saturating_add(1);
            if mutant!(IgnoreGaps, false, else batch.first_seqno != next) {
                let error = file_name::SEQUENCE.found(0, next, batch.first_seqno);
                return Err(Error::corrupt(&summary.path, 0, error));
            }
            replay.apply(batch, &summary.path, self.manifest.hash_seed)?;
        }
        replay.stats.log_count += 1;
        if let Some(error) = gap {
            return Ok(Outcome::Gap(Error::corrupt(&summary.path, 0, error)));
        }
        Ok(match summary.end {
            LogEnd::Clean { .. } | LogEnd::Sealed { .. } => Outcome::Whole(summary),
            LogEnd::Torn { .. } | LogEnd::Damaged { .. } => Outcome::Ended(summary),
        })
    }

    /// Whether one of these logs proves that all logs before it were whole.
    fn proves_earlier(&self, logs: &[u64]) -> Result<bool> {
        for number in logs {
            let summary = read_log(self.storage, self.manifest.database_id, *number, |_| Ok(()))?;
            let is_rewrite = summary.header.as_ref().is_some_and(|header| header.previous_log == 0);
            if summary.max_synced_upto > 0 && !is_rewrite {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn len_of(&self, logs: &[u64]) -> u64 {
        let len = |number: &u64| {
            let region = self.storage.open_region(FileName::Log(*number), ReadMode::Heap);
            region.map_or(0, |region| region.len())
        };
        logs.iter().map(len).sum()
    }
}

/// How the replay of one log went.
enum Outcome {
    /// Read to its end.
    Whole(LogSummary),
    /// The rewrite of an earlier recovery that was not finished.
    Ignored,
    /// The log before it is not there, or a batch of it is not the next one: what is missing.
    Gap(Error),
    /// Ended by bytes that are not whole.
    Ended(LogSummary),
}
