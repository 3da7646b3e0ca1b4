//! The moment: a view and a seqno that belong together.
//!
//! A view may lack versions that were hidden when it was made, and later rows lie in memtables that it
//! does not know: so no view may be read at a seqno of another view's time. A counter of installations
//! tells whether one came in between; it is as a seqlock's.
//!
//! # Invariants
//!
//! - What is loaded undisturbed was there at one moment, between two installations.
//!
//! Spec: none. I/O: none. Unsafe: none.

use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::spin_loop;

/// How often an installation began or ended; odd while one is under way.
#[derive(Debug, Default)]
pub(super) struct Installations(AtomicU64);

impl Installations {
    /// What `load` loads, at one moment.
    #[inline]
    pub(super) fn undisturbed<T>(&self, load: impl Fn() -> T) -> T {
        loop {
            let before = self.0.load(Ordering::Acquire);
            let loaded = load();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.0.load(Ordering::Relaxed) == before {
                return loaded;
            }
            spin_loop();
        }
    }

    /// Installs, so that nobody takes what was there before for what is there now; only one at a time.
    pub(super) fn note(&self, install: impl FnOnce()) {
        self.0.fetch_add(1, Ordering::AcqRel);
        install();
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::Arc;

    use ::loom::thread;

    use super::*;
    use crate::sync::{ArcSwap, explore};

    /// View n is made when seqno n - 1 is visible, and the next one before n + 1 is.
    #[test]
    fn loom_no_view_is_taken_with_a_seqno_of_another_views_time() {
        explore(4, || {
            let view = Arc::new(ArcSwap::from_pointee(1_u64));
            let installations = Arc::new(Installations::default());
            let visible = Arc::new(AtomicU64::new(0));
            let writer = thread::spawn({
                let (view, visible) = (Arc::clone(&view), Arc::clone(&visible));
                let installations = Arc::clone(&installations);
                move || {
                    for seqno in 1..=2 {
                        visible.store(seqno, Ordering::Release);
                        installations.note(|| view.store(Arc::new(seqno + 1)));
                    }
                }
            });
            let load = || (*view.load_full(), visible.load(Ordering::Acquire));
            let (view_number, seqno) = installations.undisturbed(load);
            assert!((view_number - 1..=view_number).contains(&seqno), "{view_number} {seqno}");
            writer.join().unwrap();
            assert_eq!(installations.undisturbed(load), (3, 2));
        });
    }
}
