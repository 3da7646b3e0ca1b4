//! The engine: memtables, log, tables and manifest, composed.
//!
//! ```text
//!   write ─▶ commit queue ─▶ log ─▶ memtable ─▶ visible seqno          readers: View (no lock)
//!                                      │ full: frozen                        ▲ swapped in
//!                                      ▼                                     │
//!            flush, compaction ─▶ tables ─▶ manifest ─▶ new Version ─────────┘
//! ```
//!
//! # Lock order
//!
//! A thread takes locks from left to right only, and may leave some out:
//!
//! `ingesting` (one ingest) → `writer` (log, memtable, next seqno) → `flushing` (one flush) →
//! `publisher` (the manifest) → `older_logs` → `tree` (what waits and what runs; held for moments). A compaction runs without any
//! lock and takes `publisher` to publish. The locks of the commit queue and of `access` are never held
//! while another is taken. Readers take none: the view is swapped atomically.
//!
//! # Invariants
//!
//! - A row is readable only after its batch is in the log, and synced if that was asked for.
//! - The view holds every row up to `visible`; a version is installed only after its manifest is
//!   durable; a log is removed only after a manifest says that it is obsolete.
//! - After a failed append or sync of the log, or a manifest whose fate is unknown, every write is
//!   refused until the database is reopened.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::format::manifest::ManifestData;
use crate::hooks::now_secs;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::storage::{LockGuard, Storage};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{ArcSwap, Condvar, Mutex, MutexGuard, OnceLock};
use crate::wal::LogWriter;

mod access;
mod background;
mod cleanup;
mod commit;
mod compaction;
mod fences;
mod flush;
mod hit;
mod ingest;
mod inspect;
mod moment;
mod multi_get;
mod open;
mod outputs;
mod pressure;
mod publish;
mod range_deletes;
mod read;
mod recovery;
mod repair;
mod retention;
mod run;
mod scan;
mod snapshots;
mod verify;
mod version;
mod view;
mod write;

pub use access::{AccessReason, AccessStats};
pub(crate) use hit::Hit;
pub use inspect::{HookStats, JobStats, LevelStats, RecoveryStats, RunningJob, Stats, WriteStats};
pub(crate) use read::Now;
pub(crate) use repair::repair;
pub use repair::{Finding, KeptFile, RepairReport, SetAside};
pub(crate) use run::Wanted;
pub(crate) use scan::Scan;
pub use verify::{Problem, VerifyReport};
pub(crate) use view::{Pin, View};

use access::AccessControl;
use commit::CommitQueue;
use compaction::{Compactions, ReadMeter};
use inspect::Counters;
use moment::Installations;
use pressure::Pressure;
use snapshots::SnapshotList;
use version::Version;

/// One open database.
pub(crate) struct Engine {
    storage: Arc<dyn Storage>,
    options: Options,
    database_id: u64,
    hash_seed: u64,
    merge_operator: Option<String>,
    view: ArcSwap<View>,
    installations: Installations,
    meter: Arc<ReadMeter>,
    /// The largest seqno that readers see.
    visible: AtomicU64,
    queue: CommitQueue,
    writer: Mutex<Writer>,
    /// Held by the one ingest that runs.
    ingesting: Mutex<()>,
    /// Held by the one flush that runs.
    flushing: Mutex<()>,
    /// Held by the one close that runs.
    closing: Mutex<()>,
    publisher: Mutex<Publisher>,
    /// Logs of frozen memtables that are not synced, oldest first.
    older_logs: Mutex<VecDeque<LogWriter>>,
    tree: Mutex<Tree>,
    /// Told when `tree` changed: a memtable was frozen or flushed, a flush failed, a close began.
    changed: Arc<Condvar>,
    pressure: Pressure,
    access: Arc<AccessControl>,
    counters: Counters,
    /// The live snapshots, if a compaction filter has to know them.
    snapshots: Option<Arc<SnapshotList>>,
    next_file_number: AtomicU64,
    /// The newest manifest's number, for the headers of logs.
    manifest_number: AtomicU64,
    /// Why writes are refused until a reopen.
    poison: OnceLock<String>,
    closed: AtomicBool,
    lock: Mutex<Option<Box<dyn LockGuard>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery: RecoveryStats,
    last_stats: Mutex<Option<Stats>>,
}

/// What the one thread that writes needs.
#[derive(Debug)]
struct Writer {
    /// The log of the active memtable; made by the first write that needs it.
    log: Option<LogWriter>,
    memtable: Arc<Memtable>,
    next_seqno: u64,
    /// The log before the active one; 0 if there was none since the database was opened.
    previous_log: u64,
}

/// What the one thread that publishes a version needs.
#[derive(Debug)]
struct Publisher {
    /// The newest version, as its manifest says.
    manifest: ManifestData,
    /// The manifest before it, which is kept for repair.
    previous_manifest: Option<u64>,
}

/// What waits to be done, and what is being done.
#[derive(Debug, Default)]
struct Tree {
    /// Oldest first.
    frozen: VecDeque<Frozen>,
    /// Why the last flush failed; gone when a retry succeeds.
    failure: Option<Error>,
    /// A background thread has taken the next flush on itself.
    flush_is_claimed: bool,
    /// Somebody asked for another try of the flush that failed.
    flush_may_retry: bool,
    compactions: Compactions,
    closing: bool,
}

/// A memtable that takes no more rows.
#[derive(Clone, Debug)]
struct Frozen {
    memtable: Arc<Memtable>,
    log_number: u64,
}

/// Takes a lock. What a panicking thread left behind is consistent: state is changed only after
/// what can fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows which database it is and none of its rows.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("root", &self.storage.root())
            .field("database_id", &self.database_id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Pins this moment for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub(crate) fn pin(&self) -> Result<Pin> {
        self.check_open()?;
        let listed = |seqno| self.snapshots.as_ref().map(|list| list.enter(seqno));
        let pin = |view, seqno| Pin {
            view,
            seqno,
            // After the view was taken: it may lack a row that expired meanwhile, and then all that
            // expired with it must be absent too.
            now_secs: now_secs(&*self.options.clock),
            _listed: listed(seqno),
        };
        Ok(self.at_one_moment(ArcSwap::load_full, pin))
    }

    /// Takes the view and the seqno of one moment.
    #[inline]
    fn at_one_moment<V, T>(
        &self,
        load: impl Fn(&ArcSwap<View>) -> V,
        take: impl FnOnce(V, u64) -> T,
    ) -> T {
        let load = || (load(&self.view), self.visible.load(Ordering::Acquire));
        let (view, seqno) = self.installations.undisturbed(load);
        take(view, seqno)
    }

    /// Reads one key at this moment and hands what it found to `take`.
    ///
    /// # Errors
    ///
    /// As [`View::get`]; [`Error::Closed`].
    #[inline]
    pub(crate) fn get<T>(
        &self,
        key: &[u8],
        want_seqno: bool,
        take: impl FnOnce(Hit<'_>) -> T,
    ) -> Result<Option<T>> {
        self.check_open()?;
        let (view, seqno) = self.at_one_moment(ArcSwap::load, |view, seqno| (view, seqno));
        view.get(key, seqno, Now::Clock(&*self.options.clock), want_seqno, take)
    }

    /// Opens the tables that a reader may still want: once the lock is free, whoever opens the
    /// database next may merge these files and remove their names.
    fn open_tables_of_readers(&self) {
        let view = self.view.load_full();
        // Each view shares the meter. One is the newest, which `self.view` and `view` hold.
        let has_readers = Arc::strong_count(&self.meter) > 2 || Arc::strong_count(&view) > 2;
        for handle in view.version.tables().iter().filter(|_| has_readers) {
            // A reader that needs it is told.
            let _ = handle.table();
        }
    }

    #[inline]
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_poison(&self) -> Result<()> {
        mutant!(RetryFailedLog, return Ok(()));
        match self.poison.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses writes from now on.
    fn poison(&self, error: &Error) {
        let reason = match error {
            Error::Poisoned { reason } => reason.clone(),
            error => {
                let source = std::error::Error::source(error);
                let cause = source.map(|source| format!(": {source}")).unwrap_or_default();
                format!("{error}{cause}")
            }
        };
        let _ = self.poison.set(reason);
    }

    /// A number that no file of this database has had.
    fn take_file_number(&self) -> u64 {
        self.next_file_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Swaps in what readers see next. Under the lock of `tree`, so views follow each other.
    fn install(&self, tree: &MutexGuard<'_, Tree>, active: Arc<Memtable>, version: Arc<Version>) {
        let view = self.view.load().next(tree, active, version);
        self.installations.note(|| self.view.store(Arc::new(view)));
    }

    /// Closes the database: no call works after it, all writes are durable, the lock is free.
    ///
    /// # Cost
    ///
    /// A sync of the log; of a memtable that holds more than a few hundred rows, a flush.
    ///
    /// # Errors
    ///
    /// As syncing the log; [`Error::Poisoned`], as then buffered writes may be lost. The database
    /// is closed all the same.
    pub(crate) fn close(&self) -> Result<()> {
        // Whoever comes while another thread closes waits until the lock is free.
        let _closing = lock(&self.closing);
        self.spare_the_next_open_a_replay();
        // First of what ends, for a writer that stands still holds what is needed next.
        lock(&self.tree).closing = true;
        self.changed.notify_all();
        let synced = {
            let mut writer = lock(&self.writer);
            if self.closed.load(Ordering::Acquire) {
                return Ok(());
            }
            let synced = self.seal_logs(&mut writer);
            self.closed.store(true, Ordering::Release);
            synced
        };
        self.join_threads();
        // What other threads had begun ends before the lock is free.
        drop(lock(&self.ingesting));
        drop(lock(&self.flushing));
        let mut tree = lock(&self.tree);
        while tree.compactions.is_running() {
            tree = self.wait_for_change(tree);
        }
        drop(tree);
        drop(lock(&self.publisher));
        *lock(&self.last_stats) = Some(self.collect_stats());
        self.open_tables_of_readers();
        lock(&self.lock).take();
        synced
    }
}
