//! Back-pressure: writers slow down before they would have to stop.
//!
//! Writes go into memory faster than flushes and merges take them from there. If nothing held them
//! back, readers would meet ever more tables, and then writers would stand still for as long as a
//! flush takes. So when work piles up each batch pays a little: it sleeps as long as its bytes would
//! take at the rate that the work gets done.
//!
//! ```text
//!   unflushed memtables   0    1    2        3          level-0 tables   0 … 15   16 … 23    24
//!   writers               ────────  slower   stand                       ──────   slower     stand
//! ```
//!
//! # Invariants
//!
//! - A batch sleeps for [`MAX_SLEEP`] at the most; what it still owes, the next ones pay.
//! - Without background threads nobody waits, as nobody else would do the work.
//!
//! Spec: none. I/O: none. Unsafe: none.
#![expect(clippy::disallowed_types, reason = "how fast a flush is, is measured here")]

use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicU64, Ordering};

/// Writers slow down from so many unflushed memtables on.
pub(super) const SLOW_FROZEN: usize = 2;
/// Writers stand still at so many.
pub(super) const MAX_FROZEN: usize = 3;
/// Writers slow down from so many tables in level 0 on.
pub(super) const SLOW_LEVEL_0: usize = 16;
/// Writers stand still at so many.
pub(super) const MAX_LEVEL_0: usize = 24;
/// The longest sleep of one batch.
const MAX_SLEEP: Duration = Duration::from_millis(8);
/// A debt shorter than this is not worth a sleep.
const MIN_SLEEP: Duration = Duration::from_micros(500);
/// The rate before the first flush was measured, in bytes a second.
const FIRST_RATE: u64 = 64 << 20;

/// How much has piled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) frozen_memtables: usize,
    pub(super) level_0_tables: usize,
}

impl Backlog {
    /// Whether writers stand still.
    pub(super) const fn stops_writers(self) -> bool {
        self.frozen_memtables >= MAX_FROZEN || self.level_0_tables >= MAX_LEVEL_0
    }

    /// The part of the rate of flushes that writers may have, in percent; `None`: as they like.
    fn share(self) -> Option<u64> {
        let memory = (self.frozen_memtables >= SLOW_FROZEN).then_some(75);
        let over = self.level_0_tables.checked_sub(SLOW_LEVEL_0);
        let level_0 =
            over.map(|over| 100 * (MAX_LEVEL_0 - SLOW_LEVEL_0).saturating_sub(over) as u64 / 8);
        memory.into_iter().chain(level_0).min().map(|share| share.clamp(5, 100) / 2)
    }
}

/// What writers owe, and how fast flushes are.
#[derive(Debug)]
pub(super) struct Pressure {
    /// Bytes of memtable a second.
    flush_rate: AtomicU64,
    /// Nanoseconds that writers owe.
    debt: AtomicU64,
    /// Nanoseconds that writers slept or stood, for `stats`.
    waited: AtomicU64,
    stops: AtomicU64,
}

impl Default for Pressure {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { flush_rate: FIRST_RATE.into(), debt: zero(), waited: zero(), stops: zero() }
    }
}

impl Pressure {
    /// Starts to measure.
    pub(super) fn start() -> Instant {
        Instant::now()
    }

    /// Learns from a flush how fast flushes are.
    pub(super) fn note_flush(&self, bytes: usize, start: &Instant) {
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = (bytes as u64).saturating_mul(1_000_000) / micros;
        // Small memtables say little about the rate of large ones.
        if bytes >= 1 << 20 {
            self.flush_rate.store(rate.clamp(1 << 20, 4 << 30), Ordering::Relaxed);
        }
    }

    /// How long a batch of so many bytes has to sleep.
    pub(super) fn sleep_for(&self, backlog: Backlog, bytes: usize) -> Option<Duration> {
        let Some(share) = backlog.share() else {
            self.debt.store(0, Ordering::Relaxed);
            return None;
        };
        let rate = (self.flush_rate.load(Ordering::Relaxed) * share / 100).max(1);
        let cost = (bytes as u64).saturating_mul(1_000_000_000) / rate;
        let debt = self.debt.fetch_add(cost, Ordering::Relaxed).saturating_add(cost);
        let sleep = Duration::from_nanos(debt).min(MAX_SLEEP);
        if sleep < MIN_SLEEP {
            return None;
        }
        let paid = u64::try_from(sleep.as_nanos()).unwrap_or(0);
        self.debt.fetch_sub(paid.min(debt), Ordering::Relaxed);
        Some(sleep)
    }

    /// Counts what a writer waited.
    pub(super) fn note_wait(&self, time: Duration, was_stopped: bool) {
        self.waited.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(0), Ordering::Relaxed);
        self.stops.fetch_add(u64::from(was_stopped), Ordering::Relaxed);
    }

    /// How long writers waited in all, and how often they stood still.
    pub(super) fn waited(&self) -> (Duration, u64) {
        let nanos = self.waited.load(Ordering::Relaxed);
        (Duration::from_nanos(nanos), self.stops.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(frozen_memtables: usize, level_0_tables: usize) -> Backlog {
        Backlog { frozen_memtables, level_0_tables }
    }

    #[test]
    fn writers_slow_down_before_they_stop() {
        let share = |frozen, level_0| backlog(frozen, level_0).share();
        assert_eq!(share(0, 0), None);
        assert_eq!(share(1, 15), None);
        assert!(share(2, 0).is_some());
        let shares: Vec<_> = (16..24).map(|tables| share(0, tables).unwrap()).collect();
        assert!(shares.is_sorted_by(|a, b| a > b), "{shares:?}");
        assert!(share(2, 23) <= share(2, 0) && share(2, 23) >= Some(2));
        let stops = |frozen, level_0| backlog(frozen, level_0).stops_writers();
        assert!(!stops(2, 23) && stops(3, 0) && stops(0, 24));
    }

    #[test]
    fn a_debt_is_paid_in_short_sleeps() {
        let pressure = Pressure::default();
        assert_eq!(pressure.sleep_for(backlog(0, 0), 1 << 30), None);
        let mut slept = Duration::ZERO;
        for _ in 0..10_000 {
            slept += pressure
                .sleep_for(backlog(2, 0), 12_000)
                .inspect(|s| assert!(*s <= MAX_SLEEP))
                .unwrap_or_default();
        }
        // 120 MB at 37 % of 64 MiB a second.
        let want = Duration::from_secs_f64(120e6 / (0.37 * 67e6));
        assert!(slept > want.mul_f64(0.9) && slept < want.mul_f64(1.1), "{slept:?}, {want:?}");
        assert_eq!(pressure.sleep_for(backlog(1, 0), 12_000), None, "the rest is let off");
    }
}
