//! Access: whether the tables are read as data that fits into memory, or as data that does not.
//!
//! ```text
//!            0 ─────────────── 1/2 ─────────────── 7/8 ─────────▶ bytes of tables / memory
//!   Auto:      Resident          as before, or as      BeyondMemory
//!                                it is observed
//! ```
//!
//! In the middle the page cache may or may not hold the data, as others want memory too. Then it is
//! observed: if the process has read twice the data from disk since the choice was made, what its own
//! merges read aside, the data does not stay. Only then, or past the middle, the choice changes.
//!
//! It is reviewed when the database is opened, when a version is published, and when a background
//! thread wakes up; in the middle one wakes every few seconds for it. Never by a read.
//!
//! # Invariants
//!
//! - What is read never depends on the choice.
//! - Every open table, also of an older version, follows the choice.
//!
//! Spec: none. I/O: advice, and questions about memory, through `storage`. Unsafe: none.

use std::sync::{Arc, Weak};

use super::{Engine, lock};
use crate::error::Result;
use crate::options::Access;
use crate::storage::Memory;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::table::Table;

/// How tables are read, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessStats {
    /// The choice: never `Auto`.
    pub chosen: Access,
    /// Why it was chosen.
    pub reason: AccessReason,
    /// Bytes of all tables when it was reviewed last.
    pub table_bytes: u64,
    /// Bytes that the process may fill: of the machine, or of its control groups if they allow less;
    /// `None` if the system doesn't tell.
    pub memory_limit: Option<u64>,
}

impl AccessStats {
    fn new(chosen: Access, reason: AccessReason) -> Self {
        Self { chosen, reason, table_bytes: 0, memory_limit: None }
    }

    fn is_beyond_memory(&self) -> bool {
        self.chosen == Access::BeyondMemory
    }
}

/// Why tables are read as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessReason {
    /// The options say so.
    Requested,
    /// It is not known how much memory there is.
    #[default]
    LimitUnknown,
    /// The tables fit into memory.
    Fits,
    /// The tables do not fit into memory.
    TooLarge,
    /// The tables might fit, but the process has read them from disk again and again.
    ReadAgain,
}

/// The choice, and the tables that follow it.
#[derive(Debug, Default)]
pub(super) struct AccessControl(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stats: AccessStats,
    /// The tables that are open, and some that were.
    tables: Vec<Weak<Table>>,
    /// What had been read from disk when the choice was made; `None` before the first review.
    baseline: Option<u64>,
}

impl AccessControl {
    /// Has a table that was just opened follow the choice.
    pub(super) fn join(&self, table: &Arc<Table>) {
        let mut state = lock(&self.0);
        table.set_beyond_memory(state.stats.is_beyond_memory());
        state.tables.push(Arc::downgrade(table));
    }

    /// Reviews the choice for tables of so many bytes. `own_bytes`: what merges have read so far.
    fn review(&self, wanted: Access, table_bytes: u64, memory: Memory, own_bytes: u64) {
        let mut state = lock(&self.0);
        let read = memory.read_bytes.unwrap_or(0).saturating_sub(own_bytes);
        let baseline = *state.baseline.get_or_insert(read);
        let read_since = read.saturating_sub(baseline);
        let before = state.stats;
        let after = AccessStats {
            table_bytes,
            memory_limit: memory.limit,
            ..choose(wanted, before, table_bytes, memory.limit, read_since)
        };
        state.stats = after;
        state.tables.retain(|table| table.strong_count() > 0);
        if after.chosen != before.chosen {
            state.baseline = Some(read);
            for table in state.tables.iter().filter_map(Weak::upgrade) {
                table.set_beyond_memory(after.is_beyond_memory());
            }
        }
    }

    pub(super) fn stats(&self) -> AccessStats {
        lock(&self.0).stats
    }
}

/// The choice for tables of `len` bytes where `limit` is free to fill, if `read` bytes were read
/// from disk since the choice before.
fn choose(
    wanted: Access,
    before: AccessStats,
    len: u64,
    limit: Option<u64>,
    read: u64,
) -> AccessStats {
    let Some(limit) = limit.filter(|_| wanted == Access::Auto) else {
        return match wanted {
            Access::Auto => AccessStats::new(Access::Resident, AccessReason::LimitUnknown),
            wanted => AccessStats::new(wanted, AccessReason::Requested),
        };
    };
    if len > limit - limit / 8 {
        AccessStats::new(Access::BeyondMemory, AccessReason::TooLarge)
    } else if !is_uncertain(len, limit) {
        AccessStats::new(Access::Resident, AccessReason::Fits)
    } else if before.is_beyond_memory() {
        before
    } else if read > len.saturating_mul(2) {
        AccessStats::new(Access::BeyondMemory, AccessReason::ReadAgain)
    } else {
        AccessStats::new(Access::Resident, AccessReason::Fits)
    }
}

/// Whether tables of `len` bytes, which are not too large, may still not stay in memory.
fn is_uncertain(len: u64, limit: u64) -> bool {
    len > limit / 2
}

impl Engine {
    /// Reviews how tables are read.
    ///
    /// # Cost
    ///
    /// Some ten small files of the system; if the choice changes, advice for each open table.
    pub(super) fn review_access(&self) {
        let wanted = self.options.access;
        let view = self.view.load();
        let table_bytes = view.version.tables().iter().map(|handle| handle.record.file_len).sum();
        let memory = if wanted == Access::Auto { self.storage.memory() } else { Memory::default() };
        // A merge reads about as much as it writes.
        let own_bytes = self.counters.compacted.load(Ordering::Relaxed);
        self.access.review(wanted, table_bytes, memory, own_bytes);
    }

    /// Whether the choice has to be reviewed though nothing is written.
    pub(super) fn observes_access(&self) -> bool {
        let stats = self.access.stats();
        let is_open = stats.reason == AccessReason::Fits;
        is_open && stats.memory_limit.is_some_and(|limit| is_uncertain(stats.table_bytes, limit))
    }

    /// Brings the tables into memory; see `Db::warm`.
    ///
    /// # Errors
    ///
    /// As opening a table; `Closed`.
    pub(crate) fn warm(&self) -> Result<u64> {
        self.check_open()?;
        let version = Arc::clone(&self.view.load().version);
        let tables = version.tables().iter().rev();
        tables.map(|handle| Ok(handle.table()?.warm())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::batch::WriteBatch;
    use crate::options::Options;
    use crate::storage::SimDisk;

    const GIB: u64 = 1 << 30;

    #[test]
    fn every_open_table_follows_the_choice_also_those_of_older_versions() {
        let disk = SimDisk::new(3);
        let options = Options::new().background_threads(0);
        let engine = Engine::open(Arc::new(disk.clone()), options).unwrap();
        let write = |key: &str| {
            let mut batch = WriteBatch::new();
            batch.put(key, "value");
            engine.write(&batch, None).unwrap();
            engine.flush().unwrap();
        };
        let only = |view: &super::super::View| {
            Arc::clone(view.version.tables().first().unwrap().table().unwrap())
        };
        write("a");
        let old = engine.pin().unwrap();
        let replaced = only(&old.view);
        assert!(!replaced.is_beyond_memory());
        write("b");
        engine.compact().unwrap();
        let table = only(&engine.pin().unwrap().view);
        assert!(!Arc::ptr_eq(&table, &replaced));
        for (limit, beyond) in [(10, true), (GIB, false), (10, true)] {
            disk.set_memory(Memory { limit: Some(limit), read_bytes: None });
            engine.review_access();
            assert_eq!((table.is_beyond_memory(), replaced.is_beyond_memory()), (beyond, beyond));
        }
        write("c");
        assert!(only(&engine.pin().unwrap().view).is_beyond_memory(), "a table that comes later");
    }

    #[test]
    fn the_choice_follows_size_limit_and_what_is_observed() {
        use Access::{Auto, BeyondMemory, Resident};
        use AccessReason::{Fits, LimitUnknown, ReadAgain, Requested, TooLarge};
        let resident = AccessStats::new(Resident, Fits);
        let too_large = AccessStats::new(BeyondMemory, TooLarge);
        let again = AccessStats::new(BeyondMemory, ReadAgain);
        let asked = |access| AccessStats::new(access, Requested);
        #[rustfmt::skip]
        let cases = [
            // wanted       before     GiB of tables  GiB of memory  GiB read  choice
            (Resident,      too_large, 100, Some(8),  900, asked(Resident)),
            (BeyondMemory,  resident,  0,   None,     0,   asked(BeyondMemory)),
            (Auto,          too_large, 100, None,     900, AccessStats::new(Resident, LimitUnknown)),
            (Auto,          resident,  0,   Some(8),  900, resident),
            (Auto,          resident,  4,   Some(8),  900, resident),
            (Auto,          resident,  5,   Some(8),  10,  resident),
            (Auto,          resident,  5,   Some(8),  11,  again),
            (Auto,          again,     5,   Some(8),  0,   again),
            (Auto,          again,     4,   Some(8),  0,   resident),
            (Auto,          resident,  7,   Some(8),  0,   resident),
            (Auto,          resident,  8,   Some(8),  0,   too_large),
            (Auto,          too_large, 5,   Some(8),  0,   too_large),
            (Auto,          too_large, 4,   Some(8),  0,   resident),
            (Auto,          resident,  1,   Some(0),  0,   too_large),
        ];
        for (wanted, before, len, limit, read, want) in cases {
            let limit = limit.map(|limit| limit * GIB);
            let got = choose(wanted, before, len * GIB, limit, read * GIB);
            assert_eq!(got, want, "{wanted:?}, {before:?}, {len} of {limit:?}, {read} read");
        }
        let _ = choose(Auto, resident, u64::MAX, Some(u64::MAX), u64::MAX);
    }

    #[test]
    fn only_what_is_read_since_the_choice_counts() {
        let control = AccessControl::default();
        let review = |len, read, own| {
            let memory = Memory { limit: Some(8 * GIB), read_bytes: Some(read * GIB) };
            control.review(Access::Auto, len * GIB, memory, own * GIB);
            control.stats().reason
        };
        assert_eq!(review(5, 100, 0), AccessReason::Fits);
        assert_eq!(review(5, 110, 0), AccessReason::Fits);
        assert_eq!(review(5, 190, 85), AccessReason::Fits, "merges read that");
        assert_eq!(review(5, 196, 85), AccessReason::ReadAgain);
        assert_eq!(review(3, 300, 85), AccessReason::Fits);
        assert_eq!(review(5, 300, 85), AccessReason::Fits, "counted anew");
        assert_eq!(review(5, 311, 85), AccessReason::ReadAgain);
    }
}
