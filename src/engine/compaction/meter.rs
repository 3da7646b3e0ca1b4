//! The read meter: reads that had to look into several tables pay for merging these.
//!
//! Merging costs its bytes, and each such read could have been cheaper; so a read pays some bytes
//! of credit, and when writes rest, a merge may be as large as the credit. Reads are sampled by the
//! hash of their key, so that most of them write nothing that other threads read.
//!
//! # Invariants
//!
//! - A get or a scan takes no lock here: it adds to a counter, and rarely wakes a thread.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

use crate::memtable::Memtable;
use crate::sync::Condvar;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One get in so many is counted, for all of them.
const SAMPLING: u64 = 64;
/// What a get that looked into a second table pays, in bytes of merging: a filter's line costs
/// about as much time as merging so much.
const GET_CREDIT: u64 = 1 << 10;
/// What a scan over several runs pays: it compares keys at every row.
const SCAN_CREDIT: u64 = 256 << 10;

/// Counts what reads have paid.
#[derive(Debug)]
pub(crate) struct ReadMeter {
    credit: AtomicU64,
    /// The credit that a merge waits for; `u64::MAX` if none does.
    wanted: AtomicU64,
    /// Where the memtable lies that readers want flushed, as it holds many operands of a key; 0 if
    /// they want none.
    to_fold: AtomicUsize,
    /// As `to_fold`, where a thread that took it on itself met a writer: that one has to do it.
    left_to_writer: AtomicUsize,
    /// Whom to wake when there is as much.
    wake: Arc<Condvar>,
}

impl ReadMeter {
    pub(in crate::engine) fn new(wake: Arc<Condvar>) -> Self {
        let (credit, wanted) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let (to_fold, left_to_writer) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { credit, wanted, to_fold, left_to_writer, wake }
    }

    /// Counts a get that looks into a second table; `hash` is its key's.
    #[inline]
    pub(crate) fn count_get(&self, hash: u64) {
        // The low bits pick filter bits and the middle ones fingerprints; these are idle.
        if (hash >> 40).is_multiple_of(SAMPLING) {
            self.pay(SAMPLING * GET_CREDIT);
        }
    }

    /// Counts a scan over several runs.
    pub(crate) fn count_scan(&self) {
        self.pay(SCAN_CREDIT);
    }

    /// Asks for a flush of this memtable, which folds its operands.
    pub(in crate::engine) fn ask_to_fold(&self, memtable: &Arc<Memtable>) {
        self.to_fold.store(Arc::as_ptr(memtable).addr(), Ordering::Relaxed);
        self.wake.notify_all();
    }

    /// Where the memtable lies that is to be flushed, once for each request.
    pub(in crate::engine) fn take_fold_request(&self) -> Option<usize> {
        Some(self.to_fold.swap(0, Ordering::Relaxed)).filter(|address| *address != 0)
    }

    /// Has the next write of the memtable that lies there set it aside.
    pub(in crate::engine) fn leave_to_writer(&self, address: usize) {
        self.left_to_writer.store(address, Ordering::Relaxed);
    }

    /// Whether the writer of this memtable has to set it aside; asked by that writer.
    pub(in crate::engine) fn is_left_to_writer(&self, memtable: &Arc<Memtable>) -> bool {
        let is_left = self.left_to_writer.load(Ordering::Relaxed) == Arc::as_ptr(memtable).addr();
        if is_left {
            // Another memtable may lie there one day.
            self.left_to_writer.store(0, Ordering::Relaxed);
        }
        is_left
    }

    #[cold]
    fn pay(&self, bytes: u64) {
        let before = self.credit.fetch_add(bytes, Ordering::Relaxed);
        let wanted = self.wanted.load(Ordering::Relaxed);
        if before.saturating_add(bytes) >= wanted {
            // Who waits may just be going to sleep and miss this; then the next read wakes it.
            // Awake, it wants nothing any more.
            self.wake.notify_all();
        }
    }

    /// What reads have paid and no merge has spent.
    pub(in crate::engine) fn credit(&self) -> u64 {
        self.credit.load(Ordering::Relaxed)
    }

    /// Says for how much credit somebody waits.
    pub(in crate::engine) fn want(&self, bytes: Option<u64>) {
        self.wanted.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Takes away what a merge cost: the tables that were paid for are gone.
    pub(in crate::engine) fn spend(&self, bytes: u64) {
        let left = |credit: u64| Some(credit.saturating_sub(bytes));
        let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pay_on_the_average_and_merges_spend() {
        let meter = ReadMeter::new(Arc::default());
        for read in 0..64_000_u64 {
            meter.count_get(crate::format::checksum::hash_key(&read.to_le_bytes(), 7));
        }
        let expected = 64_000 * GET_CREDIT;
        assert!(meter.credit().abs_diff(expected) < expected / 8, "{}", meter.credit());
        let before = meter.credit();
        meter.count_scan();
        assert_eq!(meter.credit(), before + SCAN_CREDIT);
        meter.spend(before);
        assert_eq!(meter.credit(), SCAN_CREDIT);
        meter.spend(u64::MAX);
        assert_eq!(meter.credit(), 0);
    }
}
