//! What shuttle schedules, in place of the standard library's.
//!
//! Not modelled: weak memory, so atomic values are as if all were sequentially consistent; how
//! `arc-swap` works inside; and the nodes, links, filter and index of a memtable, which stay as they
//! are: a search in one is a few steps, where it could be hundreds.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ::shuttle::rand::{Rng, thread_rng};

pub(crate) use ::shuttle::hint::spin_loop;
pub(crate) use ::shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
pub(crate) use ::shuttle::thread;

/// Atomic values that zeros in memory are.
pub(crate) mod zeros {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
    pub(crate) use zerocopy::FromZeros;
}

/// Waits to be told; true if that did not happen in time, which is left to chance.
pub(crate) fn wait_at_most<'a, T>(
    told: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    if thread_rng().gen_bool(0.5) {
        drop(guard);
        thread::yield_now();
        return (mutex.lock().unwrap_or_else(PoisonError::into_inner), true);
    }
    (told.wait(guard).unwrap_or_else(PoisonError::into_inner), false)
}

/// A value that is set once. Who makes it holds the turn; a look is no step of its own.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    turn: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) const fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), turn: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.set(value)
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.value.get() {
            return value;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.value.get() {
            Some(value) => value,
            // Made first: a wait inside of the standard library's lock would stop all of shuttle.
            None => {
                let made = make();
                self.value.get_or_init(|| made)
            }
        }
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), turn: Mutex::default() }
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
        let old = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, value)
        };
        // Whatever goes with it goes when the lock is free.
        drop(old);
    }
}
