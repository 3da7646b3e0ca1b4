//! The view: everything that a reader reads, at one moment.
//!
//! ```text
//!   View ─ active memtable ─ frozen memtables, newest first ─ Version: tables, newest first
//! ```
//!
//! The engine swaps a new view in when a memtable is frozen or flushed. A [`Pin`] holds one with
//! the seqno up to which it is read; whatever happens later, it sees the same rows.
//!
//! # Invariants
//!
//! - A pin's view was the newest one when its seqno was read: so it holds every row up to that
//!   seqno, and lacks only versions that newer rows up to that seqno hide. Newer rows are hidden
//!   by their seqnos.
//! - It also lists the range tombstones of its memtables: a write of some makes another view, before
//!   they become visible.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::sync::Arc;

use super::Tree;
use super::compaction::ReadMeter;
use super::snapshots::Listed;
use super::version::Version;
use crate::error::Result;
use crate::hooks::Merger;
use crate::memtable::Memtable;
use crate::range_tombstones::{Mask, RangeTombstones};

/// A read that folds more operands of a key asks for a flush, which folds them once and for all.
/// Under shuttle, where a write takes many steps, few are many.
const MAX_OPERAND_COUNT: usize = if cfg!(shuttle) { 3 } else { 1024 };

/// Memtables and tables, from the newest rows to the oldest.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) active: Arc<Memtable>,
    /// The range tombstones of the memtables.
    range_tombstones: Vec<Arc<RangeTombstones>>,
    /// Whether a memtable or a table has range tombstones.
    deletes_ranges: bool,
    /// Whether the first try of a get may answer by itself: there are no range tombstones, and no
    /// guarded maps.
    is_plain: bool,
    /// Memtables that wait to be flushed, newest first.
    pub(crate) frozen: Vec<Arc<Memtable>>,
    pub(crate) version: Arc<Version>,
    /// The seed of key hashes in the memtables, and in all tables that this database wrote.
    pub(crate) hash_seed: u64,
    /// Folds merge operands.
    pub(crate) merger: Option<Merger>,
    /// Counts reads that had to look into several tables.
    pub(crate) meter: Arc<ReadMeter>,
}

impl View {
    /// The view of these parts, with the frozen memtables of `tree`; the rest is as before.
    pub(super) fn next(&self, tree: &Tree, active: Arc<Memtable>, version: Arc<Version>) -> Self {
        let frozen = tree.frozen.iter().rev().map(|frozen| Arc::clone(&frozen.memtable)).collect();
        let (merger, meter) = (self.merger.clone(), Arc::clone(&self.meter));
        Self::new(active, frozen, version, self.hash_seed, merger, meter)
    }

    /// The view of these parts.
    pub(super) fn new(
        active: Arc<Memtable>,
        frozen: Vec<Arc<Memtable>>,
        version: Arc<Version>,
        hash_seed: u64,
        merger: Option<Merger>,
        meter: Arc<ReadMeter>,
    ) -> Self {
        let memtables = std::iter::once(&active).chain(&frozen);
        let range_tombstones: Vec<_> =
            memtables.filter_map(|memtable| memtable.range_tombstones()).collect();
        let deletes_ranges = version.deletes_ranges() || !range_tombstones.is_empty();
        let is_plain = !deletes_ranges && !version.is_guarded();
        Self {
            active,
            range_tombstones,
            deletes_ranges,
            is_plain,
            frozen,
            version,
            hash_seed,
            merger,
            meter,
        }
    }
}

/// A view, up to a seqno, at a time.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) view: Arc<View>,
    pub(crate) seqno: u64,
    pub(crate) now_secs: u64,
    /// That there is this pin, if somebody has to know.
    pub(super) _listed: Option<Listed>,
}

impl View {
    /// The range tombstones that a reader at `seqno` sees; `None` if there are none.
    ///
    /// # Errors
    ///
    /// As opening the tables that have some.
    pub(super) fn mask(&self, seqno: u64) -> Result<Option<Arc<Mask>>> {
        let mut sources = self.range_tombstones.clone();
        if self.version.deletes_ranges() {
            sources.push(Arc::clone(self.version.range_tombstones()?));
        }
        let mask = Mask::new(sources, seqno);
        Ok((!mask.is_empty()).then(|| Arc::new(mask)))
    }

    /// Notes that a read folded so many operands of a key; true if that was so many that it asked
    /// for a flush of the memtable.
    pub(super) fn note_operands(&self, count: usize) -> bool {
        // A memtable with fewer rows is not what made the read slow.
        let is_slow = count > MAX_OPERAND_COUNT && self.active.len() > MAX_OPERAND_COUNT;
        if is_slow {
            self.meter.ask_to_fold(&self.active);
        }
        is_slow
    }

    /// Whether a get needs nothing but a look into memtables and plain maps.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether there are range tombstones.
    #[inline]
    pub(super) const fn deletes_ranges(&self) -> bool {
        self.deletes_ranges
    }

    /// Whether no row is newer than this seqno.
    #[inline]
    pub(super) fn has_nothing_after(&self, seqno: u64) -> bool {
        self.version.max_seqno() <= seqno
            && self.active.max_seqno() <= seqno
            && self.frozen.iter().all(|memtable| memtable.max_seqno() <= seqno)
    }

    /// The seqno of the newest range tombstone over `key` that a reader at `seqno` sees; 0 if there
    /// is none.
    ///
    /// # Errors
    ///
    /// As [`mask`](Self::mask).
    pub(super) fn newest_range_tombstone(&self, key: &[u8], seqno: u64) -> Result<u64> {
        let newest = self.range_tombstones.iter().map(|list| list.newest_over(key, seqno)).max();
        let of_tables = if self.version.deletes_ranges() {
            self.version.range_tombstones()?.newest_over(key, seqno)
        } else {
            0
        };
        Ok(newest.unwrap_or(0).max(of_tables))
    }
}
