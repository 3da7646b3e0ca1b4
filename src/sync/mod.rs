//! What threads meet at: locks, atomic values, and threads themselves, for the whole crate.
//!
//! Normally these are the standard library's, and `arc-swap`'s, under their own names. Two model
//! checkers need their own ones, which they can hold up at each step:
//!
//! - `--cfg shuttle`: the whole engine, under orders of steps that are drawn at random
//!   (`tests/shuttle/`). Every value looks as if there were one memory.
//! - `--cfg loom`: small parts, under all orders of steps, and with all values that a weak memory may
//!   show (`loom.rs` beside these parts).
//!
//! They are no features: `--all-features` is a normal build, and whoever embeds TinyDB builds neither.
//!
//! # Invariants
//!
//! - Without these switches there are only other names for things here, and a call that passes on.
//!
//! Spec: none. I/O: none. Unsafe: none.

#[cfg(loom)]
mod loom;
#[cfg(shuttle)]
mod shuttle;

/// The standard library's.
#[cfg(not(any(loom, shuttle)))]
mod real {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, atomic};
    pub(crate) use std::thread;

    use std::sync::PoisonError;
    use std::time::Duration;

    pub(crate) use arc_swap::ArcSwap;

    /// Waits to be told; true if that did not happen in time.
    pub(crate) fn wait_at_most<'a, T>(
        told: &Condvar,
        _mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let waited = told.wait_timeout(guard, time);
        let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (guard, timeout.timed_out())
    }

    /// Atomic values that zeros in memory are.
    pub(crate) mod zeros {
        pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
        pub(crate) use zerocopy::FromZeros;
    }
}

#[cfg(loom)]
pub(crate) use self::loom::*;
#[cfg(shuttle)]
pub(crate) use self::shuttle::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::*;
