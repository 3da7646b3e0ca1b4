//! An array that grows while others read it: elements never move.
//!
//! It is a fixed directory of pieces that are allocated when first needed, eight pieces of one
//! length, then eight of twice that length, and so on. So at most an eighth of the memory is
//! unused, no growth stops the writer for long, and an index finds its piece by arithmetic.
//!
//! ```text
//!   index   0      32     64         256     320     384            768
//!           │ 32   │ 32   │ … 8 of   │ 64    │ 64    │ … 8 of       │ 128   │ …
//!           └ piece 0     │ them     └ piece 8       │ them         └ piece 16
//! ```
//!
//! # Invariants
//!
//! - A piece is allocated once, whole, and stays until the array is dropped.
//! - Reading takes no lock: a piece that is being allocated is not there yet.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::OnceLock;

/// How many pieces have the same length, as a power of two.
const STEP_BITS: u32 = 3;
/// How many elements the first eight pieces hold together, as a power of two.
const FIRST_BITS: u32 = 8;
/// Pieces enough for nearly every `u32`.
const PIECE_COUNT: usize = ((u32::BITS - FIRST_BITS) << STEP_BITS) as usize;

/// An array of `T` by `u32` that never moves an element.
#[derive(Debug)]
pub(super) struct GrowingArray<T> {
    pieces: [OnceLock<Box<[T]>>; PIECE_COUNT],
}

impl<T: Default> GrowingArray<T> {
    /// An array without elements.
    pub(super) const fn new() -> Self {
        Self { pieces: [const { OnceLock::new() }; PIECE_COUNT] }
    }

    /// The element at `index`, if its piece was made.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let place = Place::of(index);
        self.pieces.get(place.piece)?.get()?.get(place.offset)
    }

    /// The element at `index`, which is made with all of its piece if it does not exist; `None`
    /// if the index is too large for any piece.
    pub(super) fn get_or_grow(&self, index: u32) -> Option<&T> {
        let place = Place::of(index);
        let make = || (0..place.piece_len).map(|_| T::default()).collect();
        self.pieces.get(place.piece)?.get_or_init(make).get(place.offset)
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
    /// Counting from 2^8 instead of 0, the leading bit of a number says which eight pieces it is
    /// in, the next three bits say which of the eight, and the rest is the offset.
    #[inline]
    const fn of(index: u32) -> Self {
        let number = index as usize + (1 << FIRST_BITS);
        let log = number.ilog2();
        let offset_bits = log - STEP_BITS;
        let step = (number >> offset_bits) & ((1 << STEP_BITS) - 1);
        let piece = (((log - FIRST_BITS) << STEP_BITS) as usize) + step;
        let piece_len = 1 << offset_bits;
        Self { piece, offset: number & (piece_len - 1), piece_len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_without_gaps() {
        let mut want = Place { piece: 0, offset: 0, piece_len: 32 };
        for index in 0..3_000_000 {
            assert_eq!(Place::of(index), want, "index {index}");
            want.offset += 1;
            if want.offset == want.piece_len {
                let piece_len =
                    if want.piece % 8 == 7 { want.piece_len * 2 } else { want.piece_len };
                want = Place { piece: want.piece + 1, offset: 0, piece_len };
            }
        }
    }

    #[test]
    fn the_last_indices_have_no_piece() {
        let array = GrowingArray::<u8>::new();
        assert!(Place::of(u32::MAX - 256).piece < PIECE_COUNT);
        for index in [u32::MAX - 255, u32::MAX] {
            assert!(array.get(index).is_none());
            assert!(array.get_or_grow(index).is_none());
        }
    }

    #[test]
    fn an_element_exists_once_its_piece_was_made() {
        let array = GrowingArray::<u8>::new();
        assert!(array.get(40).is_none());
        assert!(array.get_or_grow(40).is_some());
        assert!(array.get(63).is_some(), "the same piece");
        assert!(array.get(64).is_none() && array.get(31).is_none(), "its neighbors");
    }
}
