//! The arena as loom sees it: atomic values that are loom's, and which bytes are read and written.
//!
//! Loom's atomic values are no zeros in memory, so they stand in a vector; and it sees no bytes, so each
//! eight of a chunk have a value that is read and written as they are.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ops::{Deref, Range};

use super::{APPEND_ALIGN, Pages};
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::zeros::FromZeros;

/// Values that are zero at first and that threads share.
#[derive(Debug)]
pub(crate) struct Zeroed<T>(Vec<T>);

impl<T: FromZeros> Zeroed<T> {
    /// So many values.
    #[expect(clippy::unnecessary_wraps, reason = "as the one that takes the system's memory")]
    pub(crate) fn new(len: usize, _pages: Pages) -> Option<Self> {
        Some(Self((0..len).map(|_| T::zero()).collect()))
    }
}

impl<T> Deref for Zeroed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// For each eight bytes whether they were written, as whoever reads without any order sees it.
#[derive(Debug)]
pub(super) struct Watched(Vec<AtomicBool>);

impl Watched {
    pub(super) fn new(len: usize) -> Self {
        Self((0..len.div_ceil(APPEND_ALIGN)).map(|_| AtomicBool::new(false)).collect())
    }

    fn of(&self, bytes: Range<usize>) -> impl Iterator<Item = &AtomicBool> {
        let (first, end) = (bytes.start / APPEND_ALIGN, bytes.end.div_ceil(APPEND_ALIGN));
        self.0.iter().take(end).skip(first)
    }

    /// These bytes are read: they must have been written before, whatever memory shows.
    pub(super) fn read(&self, bytes: Range<usize>) {
        assert!(
            self.of(bytes).all(|written| written.load(Relaxed)),
            "read before they were written"
        );
    }

    /// These bytes are written, for the first time.
    pub(super) fn write(&self, bytes: Range<usize>) {
        self.of(bytes).for_each(|written| assert!(!written.swap(true, Relaxed), "written twice"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::arena::Appender;
    use crate::sync::explore;

    /// What is published can be read, while the appender writes behind it.
    #[test]
    fn loom_readers_beside_an_appender_read_only_what_was_written() {
        explore(9, || {
            let mut appender = Appender::new(64, Pages::Small).unwrap();
            let chunk = appender.chunk();
            let reader = ::loom::thread::spawn(move || {
                for _ in 0..2 {
                    let bytes = chunk.from(0);
                    assert!([&b""[..], b"one", b"one\0\0\0\0\0two"].contains(&bytes));
                }
                assert!(chunk.from(8).is_empty() || chunk.from(8) == b"two");
            });
            assert_eq!(appender.append(&[b"o", b"ne"]), Some(0));
            assert_eq!(appender.append(&[b"two"]), Some(8));
            reader.join().unwrap();
        });
    }
}
