//! Verified once: which pieces of a table had their checksum checked.
//!
//! A checksum over 4 or 8 KiB costs more than a lookup, and a map does not change: so each piece
//! is verified when it is first touched, and one bit remembers it. The bits of a table of
//! 10 million rows take 18 KiB, so they stay in the cache that a lookup has warm anyway.
//!
//! # Invariants
//!
//! - A bit is set only after the checksum held. Two readers may both verify a piece; that is
//!   harmless.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ops::Range;

use bytes::Bytes;

use crate::format::chunks::{self, CHUNK_LEN};
use crate::format::error::FormatError;
use crate::options::ChecksumPolicy;
use crate::sync::atomic::{AtomicU64, Ordering};

/// One bit for each piece.
#[derive(Debug)]
pub(super) struct Verified {
    words: Box<[AtomicU64]>,
    policy: ChecksumPolicy,
}

impl Verified {
    pub(super) fn new(count: usize, policy: ChecksumPolicy) -> Self {
        Self { words: (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), policy }
    }

    /// Whether `piece` was verified before.
    ///
    /// The bit is read with `Relaxed`: it guards bytes that never change.
    #[inline]
    pub(super) fn is_verified(&self, piece: usize) -> bool {
        let word = self.words.get(piece / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (piece % 64)) != 0)
    }

    /// Forgets what was verified.
    pub(super) fn forget(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Runs `verify` unless the policy, or the bit of `piece`, says that it need not run.
    #[inline]
    pub(super) fn check<E>(
        &self,
        piece: usize,
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_verified(piece) { Ok(()) } else { self.check_now(piece, verify) }
    }

    #[cold]
    fn check_now<E>(&self, piece: usize, verify: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        if self.policy != ChecksumPolicy::Never {
            verify()?;
        }
        if self.policy != ChecksumPolicy::Always
            && let Some(word) = self.words.get(piece / 64)
        {
            word.fetch_or(1 << (piece % 64), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A region with a checksum for each 4 KiB, verified as it is touched.
#[derive(Debug)]
pub(super) struct ChunkedRegion {
    bytes: Bytes,
    payload_len: usize,
    file_id: u64,
    offset: u64,
    verified: Verified,
}

impl ChunkedRegion {
    /// `bytes` holds payload and checksums and stands at `offset` of the file.
    pub(super) fn new(
        bytes: Bytes,
        payload_len: usize,
        file_id: u64,
        offset: u64,
        policy: ChecksumPolicy,
    ) -> Self {
        let verified = Verified::new(chunks::chunk_count(payload_len), policy);
        Self { bytes, payload_len, file_id, offset, verified }
    }

    /// The region without its checksums.
    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(..self.payload_len).unwrap_or_default()
    }

    /// Whether the chunk of the byte at `place` was verified before.
    #[inline]
    pub(super) fn is_verified_at(&self, place: usize) -> bool {
        self.verified.is_verified(place / CHUNK_LEN)
    }

    /// Whether all chunks of `range` were verified before.
    #[inline]
    pub(super) fn is_verified(&self, range: Range<usize>) -> bool {
        let first = range.start / CHUNK_LEN;
        if !self.verified.is_verified(first) {
            return false;
        }
        // Nearly always one chunk.
        range.end <= (first + 1) * CHUNK_LEN || self.are_verified_behind(first, range.end)
    }

    /// Whether the chunks behind `chunk` were verified before, up to the byte `end`.
    #[inline(never)]
    fn are_verified_behind(&self, chunk: usize, end: usize) -> bool {
        (chunk + 1..end.div_ceil(CHUNK_LEN)).all(|chunk| self.verified.is_verified(chunk))
    }

    /// Where the region starts, in bytes from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Which bytes of the file the region takes.
    pub(super) fn place(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes.len() as u64)
    }

    /// Makes sure that the chunks of `range` are what was written.
    #[inline]
    pub(super) fn touch(&self, range: Range<usize>) -> Result<(), FormatError> {
        let first = range.start / CHUNK_LEN;
        let last = range.end.saturating_sub(1) / CHUNK_LEN;
        self.touch_chunk(first)?;
        if last > first {
            return self.touch_rest(first + 1, last);
        }
        Ok(())
    }

    #[inline]
    fn touch_chunk(&self, chunk: usize) -> Result<(), FormatError> {
        self.verified.check(chunk, || {
            chunks::verify(&self.bytes, self.payload_len, chunk, self.file_id, self.offset)
        })
    }

    #[cold]
    fn touch_rest(&self, first: usize, last: usize) -> Result<(), FormatError> {
        let last = last.min(chunks::chunk_count(self.payload_len).saturating_sub(1));
        (first..=last).try_for_each(|chunk| self.touch_chunk(chunk))
    }

    /// Verifies every chunk now, whatever was remembered.
    pub(super) fn verify_all(&self) -> Result<(), FormatError> {
        chunks::verify_all(&self.bytes, self.payload_len, self.file_id, self.offset)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::Arc;

    use ::loom::thread;

    use super::*;
    use crate::sync::explore;

    /// Pieces of one word of bits are verified by two threads at once: no bit is set without that, and
    /// none is lost.
    #[test]
    fn loom_a_piece_counts_as_verified_only_where_somebody_did_that() {
        explore(9, || {
            let verified = Arc::new(Verified::new(3, ChecksumPolicy::Once));
            let check = |piece: usize| {
                let verified = Arc::clone(&verified);
                move || {
                    verified.check(piece, || Ok::<(), ()>(())).unwrap();
                    assert!(verified.is_verified(piece));
                    assert_eq!(verified.check(2, || Err(())), Err(()));
                }
            };
            let other = thread::spawn(check(0));
            check(1)();
            other.join().unwrap();
            assert_eq!([0, 1, 2].map(|piece| verified.is_verified(piece)), [true, true, false]);
        });
    }
}
