//! What only the writer of a memtable needs to know: the places that the next rows take.
//!
//! # Invariants
//!
//! - Heights do not depend on the keys, and the same writes always make the same memtable.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::node::INLINE_LINK_COUNT;
use super::rows::RowAppender;
use super::shortcut::Growth;
use super::{MAX_HEIGHT, NONE};
use crate::error::Error;

/// What a new node takes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) height: usize,
    /// The first of its links that do not stand in the node, and how many those are.
    pub(super) upper: u32,
    pub(super) upper_count: usize,
}

/// What only the writer needs to know.
#[derive(Debug)]
pub(super) struct Writer {
    /// The number of the newest node.
    number: u32,
    /// The first upper link that is free.
    upper: u32,
    random: u64,
    pub(super) rows: RowAppender,
    pub(super) growth: Growth,
}

impl Writer {
    /// The writer of a memtable without rows that is meant to become so long.
    pub(super) fn new(memtable_size: usize) -> Self {
        let (rows, growth) = (RowAppender::default(), Growth::new(memtable_size));
        Self { number: NONE, upper: 0, random: 0x9E37_79B9_7F4A_7C15, rows, growth }
    }

    /// What the next node would take, if there are numbers left: each level has a fourth of the
    /// nodes of the one below.
    pub(super) fn next_place(&mut self) -> Option<Place> {
        // Xorshift: the keys must not decide on heights, nor may they differ from run to run.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let height = (self.random.trailing_zeros() as usize / 2 + 1).min(MAX_HEIGHT);
        let number = self.number.checked_add(1)?;
        let upper_count = height.saturating_sub(INLINE_LINK_COUNT);
        Some(Place { number, height, upper: self.upper, upper_count })
    }

    /// Remembers that a node has taken its place.
    pub(super) fn taken(&mut self, place: &Place) {
        self.number = place.number;
        self.upper =
            self.upper.saturating_add(u32::try_from(place.upper_count).unwrap_or(u32::MAX));
    }
}

/// There are no numbers left, or no memory.
pub(super) fn no_room() -> Error {
    Error::invalid("a memtable has no room: the memory is used up, or there are 2^32 rows")
}
