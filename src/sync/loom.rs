//! What loom explores, in place of the standard library's.
//!
//! Only small parts run under it, each by itself; the engine is built and does not run, and so its threads
//! are real ones. Not modelled: how `arc-swap` and `OnceLock` work inside.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(crate) use ::loom::hint::spin_loop;
pub(crate) use ::loom::sync::{Condvar, Mutex, MutexGuard, atomic};
pub(crate) use std::thread;

use atomic::Ordering::{Acquire, Release};

/// Atomic values that zeros in memory would be; loom's are made one by one.
pub(crate) mod zeros {
    pub(crate) use ::loom::sync::atomic::{AtomicU32, AtomicU64};

    /// What starts as zero.
    pub(crate) trait FromZeros {
        /// It, at the start.
        fn zero() -> Self;
    }

    impl FromZeros for AtomicU32 {
        fn zero() -> Self {
            Self::new(0)
        }
    }

    impl FromZeros for AtomicU64 {
        fn zero() -> Self {
            Self::new(0)
        }
    }
}

/// Waits to be told; the time is never over.
pub(crate) fn wait_at_most<'a, T>(
    told: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    (told.wait(guard).unwrap_or_else(PoisonError::into_inner), false)
}

/// A value that is set once: whoever sees that it is set sees what was done before.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: atomic::AtomicBool,
    turn: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        let (value, is_set) = (std::sync::OnceLock::new(), atomic::AtomicBool::new(false));
        Self { value, is_set, turn: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.set(value)?;
        self.is_set.store(true, Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.value.get_or_init(make);
        self.is_set.store(true, Release);
        value
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        let clone = Self::new();
        if let Some(value) = self.get() {
            let _ = clone.set(value.clone());
        }
        clone
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// The calls of `arc-swap` that are used, by a lock.
pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(crate) fn load(&self) -> Arc<T> {
        self.load_full()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// Runs `check` under every order of its threads' steps in which each is preempted so often at most,
/// and prints how many those were.
#[cfg(test)]
pub(crate) fn explore(most_preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(most_preemptions);
    builder.max_branches = 100_000;
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        check();
    });
    println!("{} orders", count.load(std::sync::atomic::Ordering::Relaxed));
}
