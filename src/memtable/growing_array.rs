//! An array that grows while others read it: elements never move.
//!
//! It is a fixed directory of pieces that are made when first needed, each as long as all before it
//! together. A piece takes memory only as it is touched, so what is unused of it costs nothing; no
//! growth stops the writer for long, and an index finds its piece by arithmetic.
//!
//! ```text
//!   index   0        256        768             1792                    3840
//!           │ 256    │ 512      │ 1024          │ 2048                  │ 4096 …
//!           └ piece 0└ piece 1  └ piece 2       └ piece 3
//! ```
//!
//! # Invariants
//!
//! - A piece is made once, whole, and stays until the array is dropped.
//! - Reading takes no lock: a piece that is being made is not there yet.
//!
//! Spec: none. I/O: none. Unsafe: none.

use crate::storage::{HUGE_LEN, Pages, Zeroed};
use crate::sync::OnceLock;
use crate::sync::zeros::FromZeros;

/// How many elements the first piece holds, as a power of two.
const FIRST_BITS: u32 = if cfg!(loom) { 1 } else { 8 };
/// Pieces enough for nearly every `u32`; under loom, to which each is a burden, for few rows.
const PIECE_COUNT: usize = if cfg!(loom) { 3 } else { (u32::BITS - FIRST_BITS) as usize };

/// An array of `T` by `u32` that never moves an element.
#[derive(Debug)]
pub(super) struct GrowingArray<T> {
    pieces: [OnceLock<Zeroed<T>>; PIECE_COUNT],
    /// Of pieces that fill huge ones.
    pages: Pages,
}

impl<T: FromZeros> GrowingArray<T> {
    /// An array without elements. From a huge page's length on, its pieces are made of `pages`.
    pub(super) fn new(pages: Pages) -> Self {
        Self { pieces: std::array::from_fn(|_| OnceLock::new()), pages }
    }

    /// The element at `index`, if its piece was made.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let place = Place::of(index);
        self.pieces.get(place.piece)?.get()?.get(place.offset)
    }

    /// The element at `index`, which is made with all of its piece if it does not exist; `None`
    /// if the index is too large for any piece, or if there is no memory.
    pub(super) fn get_or_grow(&self, index: u32) -> Option<&T> {
        let place = Place::of(index);
        let piece = self.pieces.get(place.piece)?;
        if piece.get().is_none() {
            let is_large = place.piece_len.saturating_mul(size_of::<T>()) >= HUGE_LEN;
            let pages = if is_large { self.pages } else { Pages::Small };
            // If another one was faster, this one is not needed.
            let _ = piece.set(Zeroed::new(place.piece_len, pages)?);
        }
        piece.get()?.get(place.offset)
    }
}

/// Where an index lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    piece: usize,
    offset: usize,
    piece_len: usize,
}

impl Place {
    /// Counting from 2^8 instead of 0, the leading bit of a number says which piece it is in, and
    /// the rest is the offset.
    #[inline]
    const fn of(index: u32) -> Self {
        let number = index as usize + (1 << FIRST_BITS);
        let log = number.ilog2();
        let piece_len = 1 << log;
        Self { piece: (log - FIRST_BITS) as usize, offset: number - piece_len, piece_len }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU8;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn places_follow_each_other_without_gaps() {
        let mut want = Place { piece: 0, offset: 0, piece_len: 256 };
        for index in 0..3_000_000 {
            assert_eq!(Place::of(index), want, "index {index}");
            want.offset += 1;
            if want.offset == want.piece_len {
                want = Place { piece: want.piece + 1, offset: 0, piece_len: want.piece_len * 2 };
            }
        }
    }

    #[test]
    fn the_last_indices_have_no_piece() {
        let array = GrowingArray::<AtomicU8>::new(Pages::Huge);
        assert!(Place::of(u32::MAX - 256).piece < PIECE_COUNT);
        for index in [u32::MAX - 255, u32::MAX] {
            assert!(array.get(index).is_none());
            assert!(array.get_or_grow(index).is_none());
        }
    }

    #[test]
    fn an_element_exists_once_its_piece_was_made() {
        let array = GrowingArray::<AtomicU8>::new(Pages::Huge);
        assert!(array.get(300).is_none());
        array.get_or_grow(300).unwrap().store(7, Relaxed);
        assert!(array.get(767).is_some(), "the same piece");
        assert!(array.get(768).is_none() && array.get(255).is_none(), "its neighbors");
        assert!(array.get_or_grow(256).is_some() && array.get_or_grow(3_000_000).is_some());
        assert_eq!(array.get(300).map(|element| element.load(Relaxed)), Some(7));
    }
}
