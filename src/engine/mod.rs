//! The engine: memtables, log, tables and manifest, composed.
//!
//! ```text
//!   write ─▶ commit queue ─▶ log ─▶ memtable ─▶ visible seqno          readers: View (no lock)
//!                                      │ full: frozen                        ▲ swapped in
//!                                      ▼                                     │
//!                       flush ─▶ tables ─▶ manifest ─▶ new Version ──────────┘
//! ```
//!
//! # Lock order
//!
//! A thread takes locks from left to right only, and may leave some out:
//!
//! `writer` (log, memtable, next seqno) → `publisher` (a flush, the manifest) → `older_logs` →
//! `tree` (frozen memtables; held for moments). The commit queue's lock is never held while
//! another is taken. Readers take none: the view is swapped atomically.
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;

use crate::error::{Error, Result};
use crate::format::manifest::ManifestData;
use crate::hooks::now_secs;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::storage::{LockGuard, Storage};
use crate::wal::LogWriter;

mod background;
mod cleanup;
mod commit;
#[cfg_attr(not(test), expect(dead_code, reason = "the scheduler of jobs will ask the picker"))]
mod compaction;
mod flush;
mod inspect;
mod open;
mod read;
mod recovery;
mod run;
mod version;
mod view;
mod write;

pub use inspect::{LevelStats, Problem, RecoveryStats, Stats, VerifyReport};
pub(crate) use read::{Hit, Now};
pub(crate) use view::{Pin, Scan, View};

use commit::CommitQueue;

/// One open database.
pub(crate) struct Engine {
    storage: Arc<dyn Storage>,
    options: Options,
    database_id: u64,
    hash_seed: u64,
    merge_operator: Option<String>,
    view: ArcSwap<View>,
    /// The largest seqno that readers see.
    visible: AtomicU64,
    queue: CommitQueue,
    writer: Mutex<Writer>,
    publisher: Mutex<Publisher>,
    /// Logs of frozen memtables that are not synced, oldest first.
    older_logs: Mutex<VecDeque<LogWriter>>,
    tree: Mutex<Tree>,
    /// Told when `tree` changed: a memtable was frozen or flushed, a flush failed, a close began.
    changed: Condvar,
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

/// Memtables that wait to be flushed.
#[derive(Debug, Default)]
struct Tree {
    /// Oldest first.
    frozen: VecDeque<Frozen>,
    /// Why the last flush failed; gone when a retry succeeds.
    failure: Option<Error>,
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
        let seqno = self.visible.load(Ordering::Acquire);
        let view = self.view.load_full();
        Ok(Pin { view, seqno, now_secs: now_secs(&*self.options.clock) })
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
        let seqno = self.visible.load(Ordering::Acquire);
        let view = self.view.load();
        Ok(view.get(key, seqno, Now::Clock(&*self.options.clock), want_seqno)?.map(take))
    }

    #[inline]
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_poison(&self) -> Result<()> {
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
    fn install(&self, _tree: &MutexGuard<'_, Tree>, view: View) {
        self.view.store(Arc::new(view));
    }

    /// Closes the database: no call works after it, all writes are durable, the lock is free.
    ///
    /// # Errors
    ///
    /// As syncing the log; [`Error::Poisoned`], as then buffered writes may be lost. The database
    /// is closed all the same.
    pub(crate) fn close(&self) -> Result<()> {
        let synced = {
            let mut writer = lock(&self.writer);
            if self.closed.load(Ordering::Acquire) {
                return Ok(());
            }
            let synced = self.seal_logs(&mut writer);
            *lock(&self.last_stats) = Some(self.collect_stats());
            self.closed.store(true, Ordering::Release);
            synced
        };
        lock(&self.tree).closing = true;
        self.changed.notify_all();
        self.join_threads();
        // A flush that another thread had begun ends before the lock is free.
        drop(lock(&self.publisher));
        lock(&self.lock).take();
        synced
    }
}
