//! Looking at the database from outside: its figures.
//!
//! Spec: none. I/O: asks the system about maps. Unsafe: none.

use std::path::PathBuf;
use std::time::Duration;

use super::access::AccessStats;
use super::{Engine, lock};
use crate::error::Error;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Figures of a database at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The levels of the tree, the newest first.
    pub levels: Vec<LevelStats>,
    /// Rows in memtables: every version of every key.
    pub memtable_rows: u64,
    /// Bytes that memtables take.
    pub memtable_bytes: u64,
    /// Memtables that wait to be flushed.
    pub frozen_memtables: u64,
    /// The largest seqno that readers see.
    pub last_seqno: u64,
    /// Bytes of open tables that the system maps with huge pages now; 0 where it doesn't tell, and
    /// after a close.
    pub huge_page_bytes: u64,
    /// Bytes of the tables that are open.
    pub open_table_bytes: u64,
    /// Whether tables are read as data that fits into memory, and why.
    pub access: AccessStats,
    /// Why the last flush or compaction failed; `None` if it did not.
    pub background_error: Option<String>,
    /// What was written since the database was opened.
    pub written: WriteStats,
    /// Compactions that run now.
    pub running_jobs: Vec<RunningJob>,
    /// The last compactions since the database was opened, the oldest first; at most 16.
    pub finished_jobs: Vec<JobStats>,
    /// What the merge operator and the compaction filter could not do.
    pub hooks: HookStats,
    /// The name of the merge operator that the database knows.
    pub merge_operator: Option<String>,
    /// What opening the database recovered.
    pub recovery: RecoveryStats,
}

/// Failures of the caller's code in flushes and compactions since a database was opened: the rows
/// stayed as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookStats {
    /// How often the merge operator failed or panicked.
    pub merge_failures: u64,
    /// How often the compaction filter failed or panicked.
    pub filter_failures: u64,
    /// The last failure, in words.
    pub last_failure: Option<String>,
}

/// Counts failures of the caller's code.
#[derive(Debug, Default)]
pub(super) struct HookCounters {
    merge: AtomicU64,
    filter: AtomicU64,
    last: Mutex<Option<String>>,
}

impl HookCounters {
    pub(super) fn note_merge(&self, reason: String) {
        self.merge.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last) = Some(reason);
    }

    pub(super) fn note_filter(&self, reason: String) {
        self.filter.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last) = Some(reason);
    }

    pub(super) fn stats(&self) -> HookStats {
        HookStats {
            merge_failures: self.merge.load(Ordering::Relaxed),
            filter_failures: self.filter.load(Ordering::Relaxed),
            last_failure: lock(&self.last).clone(),
        }
    }
}

/// What was written since a database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteStats {
    /// Bytes of keys and values of all operations.
    pub user_bytes: u64,
    /// Bytes of log records; what is filled with zeros ahead of them is not counted.
    pub log_bytes: u64,
    /// Bytes of tables that flushes wrote.
    pub flushed_bytes: u64,
    /// Bytes of tables that compactions wrote.
    pub compacted_bytes: u64,
    /// Bytes of tables that ingests wrote.
    pub ingested_bytes: u64,
    /// How long writers waited because work had piled up.
    pub waited: Duration,
    /// How often a writer stood still until some of it was done.
    pub stop_count: u64,
}

impl WriteStats {
    /// Bytes written for each byte of keys and values; 0 if there were none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    pub fn amplification(&self) -> f64 {
        let tables = self.flushed_bytes + self.compacted_bytes + self.ingested_bytes;
        let written = self.log_bytes + tables;
        if self.user_bytes == 0 { 0.0 } else { written as f64 / self.user_bytes as f64 }
    }
}

/// A compaction that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningJob {
    /// Why it was started, in a word.
    pub reason: String,
    /// The level that its outputs will belong to.
    pub output_level: u32,
    /// How many tables it replaces.
    pub input_tables: u64,
    /// Their bytes.
    pub input_bytes: u64,
    /// Their rows.
    pub input_rows: u64,
    /// How many of these it has read.
    pub rows_done: u64,
}

/// A compaction that has ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStats {
    /// Why it was started, in a word.
    pub reason: String,
    /// Whether tables only changed their level and nothing was rewritten.
    pub is_move: bool,
    /// The level of its outputs.
    pub output_level: u32,
    /// How many tables it replaced.
    pub input_tables: u64,
    /// Their bytes.
    pub input_bytes: u64,
    /// Bytes of the tables that it wrote.
    pub output_bytes: u64,
    /// Rows that it read.
    pub rows_in: u64,
    /// Rows that it wrote.
    pub rows_out: u64,
    /// Rows that newer ones hid.
    pub rows_hidden: u64,
    /// Tombstones that had nothing left to hide.
    pub tombstones_dropped: u64,
    /// Values that had expired.
    pub rows_expired: u64,
    /// Values that the compaction filter removed.
    pub rows_removed: u64,
    /// Rows that a range tombstone covered.
    pub rows_covered: u64,
    /// Merge operands that were folded.
    pub operands_folded: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Counters of an open database.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Bytes of keys and values.
    pub(super) user: AtomicU64,
    /// Bytes of log records.
    pub(super) log: AtomicU64,
    /// Bytes of tables that flushes wrote.
    pub(super) flushed: AtomicU64,
    /// Bytes of tables that compactions wrote.
    pub(super) compacted: AtomicU64,
    /// Bytes of tables that ingests wrote.
    pub(super) ingested: AtomicU64,
    pub(super) hooks: HookCounters,
}

/// Figures of one level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// The number of the level.
    pub level: u32,
    /// Its tables.
    pub tables: u64,
    /// Bytes of its tables.
    pub bytes: u64,
    /// Rows of its tables: every version of every key.
    pub rows: u64,
    /// Range tombstones in its tables: deleted ranges that may still cover rows.
    pub range_tombstones: u64,
}

/// What opening a database recovered from its logs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryStats {
    /// Logs that were read.
    pub log_count: u64,
    /// Batches that were recovered.
    pub batch_count: u64,
    /// Rows that were recovered.
    pub row_count: u64,
    /// Bytes at the end of the logs that were not whole and were dropped.
    pub dropped_bytes: u64,
    /// Where the replay stopped, if it was not at the clean end of the newest log.
    pub stopped_at: Option<(PathBuf, u64)>,
    /// The damage that `LogRecovery::ToFirstCorruption` stopped at.
    pub damage: Option<Error>,
}

impl PartialEq for RecoveryStats {
    fn eq(&self, other: &Self) -> bool {
        let counts = |stats: &Self| {
            (stats.log_count, stats.batch_count, stats.row_count, stats.dropped_bytes)
        };
        let damage = |stats: &Self| stats.damage.as_ref().map(ToString::to_string);
        counts(self) == counts(other)
            && self.stopped_at == other.stopped_at
            && damage(self) == damage(other)
    }
}

impl Eq for RecoveryStats {}

impl Engine {
    /// Figures of this moment; the last ones if the database is closed.
    pub(crate) fn stats(&self) -> Stats {
        if let Some(stats) = &*lock(&self.last_stats) {
            return stats.clone();
        }
        let mut stats = self.collect_stats();
        stats.huge_page_bytes = self.huge_page_bytes();
        stats
    }

    pub(super) fn collect_stats(&self) -> Stats {
        let view = self.view.load();
        let mut stats = Stats {
            frozen_memtables: view.frozen.len() as u64,
            last_seqno: self.visible.load(Ordering::Acquire),
            written: self.write_stats(),
            access: self.access.stats(),
            hooks: self.counters.hooks.stats(),
            merge_operator: self.merge_operator.clone(),
            recovery: self.recovery.clone(),
            ..Stats::default()
        };
        {
            let tree = lock(&self.tree);
            let failure = tree.failure.as_ref().map(ToString::to_string);
            stats.background_error = failure.or_else(|| Self::compaction_failure(&tree));
            stats.running_jobs = Self::running_jobs(&tree);
            stats.finished_jobs = tree.compactions.finished.iter().cloned().collect();
        }
        for memtable in std::iter::once(&view.active).chain(&view.frozen) {
            stats.memtable_rows += memtable.len() as u64;
            stats.memtable_bytes += memtable.memory_len() as u64;
        }
        for handle in view.version.tables() {
            let record = &handle.record;
            let same = stats.levels.last().filter(|level| level.level == record.level);
            if same.is_none() {
                stats.levels.push(LevelStats { level: record.level, ..LevelStats::default() });
            }
            let Some(level) = stats.levels.last_mut() else { continue };
            level.tables += 1;
            level.bytes += record.file_len;
            level.rows += record.row_count;
            level.range_tombstones += record.range_tombstone_count;
            if let Some(table) = handle.opened() {
                stats.open_table_bytes += table.region().len();
            }
        }
        stats
    }

    /// Asking the system takes milliseconds, so a close does without.
    fn huge_page_bytes(&self) -> u64 {
        let view = self.view.load();
        let open = view.version.tables().iter().filter_map(|handle| handle.opened());
        open.map(|table| table.region().huge_page_len().unwrap_or(0)).sum()
    }

    fn write_stats(&self) -> WriteStats {
        let (waited, stop_count) = self.pressure.waited();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteStats {
            user_bytes: load(&self.counters.user),
            log_bytes: load(&self.counters.log),
            flushed_bytes: load(&self.counters.flushed),
            compacted_bytes: load(&self.counters.compacted),
            ingested_bytes: load(&self.counters.ingested),
            waited,
            stop_count,
        }
    }
}
