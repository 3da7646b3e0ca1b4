//! The merging cursor: many sorted runs, which may overlap, seen as one.
//!
//! A heap of the children that are on a row; its top is the row that the cursor is on. With a
//! single child there is nothing to merge, and every call goes straight through.
//!
//! ```text
//!   forward                             backward, at the same row
//!     child 0   a  b  ▸c              ▸b  c          ▸ where the child stands
//!     child 1   a ▸b                   a ▸b          every other child has passed the row
//!     child 2     ▸b  d   nothing before:             and stands on its next row in the
//!               on b of child 1         b  d          direction of travel, or on none
//! ```
//!
//! # Invariants
//!
//! - Rows come in the order of the internal keys; of one in two children, the lower child's first.
//! - Every other child stands on its first row after the top's, or going backward on its last row
//!   before it. A change of direction seeks them anew; it is the only thing that copies a key.
//! - After an error no child is believed: the cursor is off its rows until a seek.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::row::{Kind, compare};
use crate::value::Value;

/// The index that no child has.
const NONE: usize = usize::MAX;

/// Many sorted runs as one.
#[derive(Debug)]
pub(crate) struct MergingCursor<C> {
    children: Vec<C>,
    /// The children that are on a row, as a heap; unused if there is a single child.
    heap: Vec<usize>,
    /// The child whose row the cursor is on, or [`NONE`]; a single child is it for ever.
    top: usize,
    direction: Direction,
    /// Of two children on their rows: whether both have the same key, if that is known.
    is_tied: Option<bool>,
    /// Where a change of direction keeps the key; only its memory is kept.
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl<C: Cursor> MergingCursor<C> {
    /// A cursor over these runs, off its rows. Newer runs should come first.
    pub(crate) fn new(children: Vec<C>) -> Self {
        let top = if children.len() == 1 { 0 } else { NONE };
        let heap = Vec::with_capacity(children.len());
        let (direction, key) = (Direction::Forward, Vec::new());
        Self { children, heap, top, direction, is_tied: None, key }
    }

    /// Which child the row is from; 0 off its rows.
    #[inline]
    pub(crate) fn child_index(&self) -> usize {
        if self.top == NONE { 0 } else { self.top }
    }

    /// The child whose row the cursor is on.
    #[inline]
    pub(crate) fn child(&self) -> Option<&C> {
        self.current()
    }

    #[inline]
    fn current(&self) -> Option<&C> {
        self.children.get(self.top)
    }

    /// Seeks in every child, towards rows to walk in this direction.
    #[inline(never)]
    fn seek_all(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.lose();
        self.direction = direction;
        for child in &mut self.children {
            seek(child)?;
        }
        self.build();
        Ok(())
    }

    #[inline(never)]
    fn next_of_many(&mut self) -> Result<()> {
        self.turn(Direction::Forward)?;
        self.step(0, C::next)
    }

    #[inline(never)]
    fn prev_of_many(&mut self) -> Result<()> {
        self.turn(Direction::Backward)?;
        self.step(0, C::prev)
    }

    #[inline(never)]
    fn next_key_of_many(&mut self) -> Result<()> {
        self.turn(Direction::Forward)?;
        if let [top, other] = self.heap[..] {
            return self.next_key_of_two(top, other);
        }
        // The other versions of the key first, while the top still says which key. In a heap, all
        // that equal the root are reached through its two children.
        for place in [1, 2] {
            while self.has_top_key(place) {
                self.step(place, C::next_key)?;
            }
        }
        self.step(0, C::next_key)
    }

    /// As `next_key_of_many`, where two children are left: most merges are of a few newer rows and
    /// one large run. Both move if they have the same key, and are compared once.
    fn next_key_of_two(&mut self, top: usize, other: usize) -> Result<()> {
        let is_tied = self.is_tied.unwrap_or_else(|| self.has_top_key(1));
        if is_tied && let Some(child) = self.children.get_mut(other) {
            let moved = child.next_key();
            self.moved_one(1, moved)?;
        }
        if let Some(child) = self.children.get_mut(top) {
            let moved = child.next_key();
            self.moved_one(0, moved)?;
        }
        if self.heap.len() == 2
            && let (Some(a), Some(b)) = (self.children.get(top), self.children.get(other))
        {
            let order = a.key().cmp(b.key());
            self.is_tied = Some(order.is_eq());
            let order = order.then_with(|| b.seqno().cmp(&a.seqno())).then(top.cmp(&other));
            if order.is_gt() {
                self.heap.swap(0, 1);
            }
        }
        self.top = self.heap.first().copied().unwrap_or(NONE);
        Ok(())
    }

    /// After the child at `place` of a heap of two was moved: takes it out if it left its rows.
    fn moved_one(&mut self, place: usize, moved: Result<()>) -> Result<()> {
        self.is_tied = None;
        if moved.is_err() {
            self.lose();
        }
        let is_on_row = |index: &usize| self.children.get(*index).is_some_and(C::valid);
        if !self.heap.get(place).is_none_or(is_on_row) {
            self.heap.swap_remove(place);
        }
        moved
    }

    #[inline(never)]
    fn prev_has_same_key_of_many(&mut self) -> Result<bool> {
        self.turn(Direction::Backward)?;
        // Now every other child stands on its last row before this one.
        if self.has_top_key(1) || self.has_top_key(2) {
            return Ok(true);
        }
        let Some(top) = self.children.get_mut(self.top) else { return Ok(false) };
        let same = top.prev_has_same_key();
        if same.is_err() {
            self.lose();
        }
        same
    }

    /// Moves the child at `place` of the heap, and puts the heap in order.
    fn step(&mut self, place: usize, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        self.is_tied = None;
        let Some(child) = self.heap.get(place).and_then(|index| self.children.get_mut(*index))
        else {
            return Ok(());
        };
        if let Err(error) = step(child) {
            self.lose();
            return Err(error);
        }
        if !child.valid() {
            self.heap.swap_remove(place);
        }
        self.sift_down(place);
        self.top = self.heap.first().copied().unwrap_or(NONE);
        Ok(())
    }

    /// Turns to walk in this direction, without moving.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        if self.direction == direction || self.current().is_none() {
            return Ok(());
        }
        let turned = self.turn_others(direction);
        match turned {
            Ok(()) => self.build(),
            Err(_) => self.lose(),
        }
        turned
    }

    /// Seeks all children but the top to the rows next to the top's.
    fn turn_others(&mut self, direction: Direction) -> Result<()> {
        self.direction = direction;
        let Some(top) = self.children.get(self.top) else { return Ok(()) };
        let seqno = top.seqno();
        self.key.clear();
        self.key.extend_from_slice(top.key());
        let key = self.key.as_slice();
        let is_same = |child: &C| child.valid() && child.seqno() == seqno && child.key() == key;
        for (index, child) in self.children.iter_mut().enumerate() {
            match direction {
                _ if index == self.top => {}
                Direction::Forward => {
                    child.seek(key, seqno)?;
                    if index < self.top && is_same(child) {
                        child.next()?;
                    }
                }
                Direction::Backward => {
                    child.seek_for_prev(key, seqno)?;
                    if index > self.top && is_same(child) {
                        child.prev()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves the rows; a single child has left them by itself.
    fn lose(&mut self) {
        self.heap.clear();
        if self.children.len() != 1 {
            self.top = NONE;
        }
    }

    /// Builds the heap from where the children stand.
    fn build(&mut self) {
        self.is_tied = None;
        let on_row = self.children.iter().enumerate().filter(|(_, child)| child.valid());
        self.heap.clear();
        self.heap.extend(on_row.map(|(index, _)| index));
        for place in (0..self.heap.len() / 2).rev() {
            self.sift_down(place);
        }
        self.top = self.heap.first().copied().unwrap_or(NONE);
    }

    /// Moves the child at `place` down the heap, until none below should come before it.
    fn sift_down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let below = if self.comes_before(left + 1, left) { left + 1 } else { left };
            if !self.comes_before(below, place) {
                return;
            }
            self.heap.swap(below, place);
            place = below;
        }
    }

    /// Whether the child at place `a` of the heap comes before the one at `b`, in the direction of
    /// travel; false if there is no child at one of the two.
    fn comes_before(&self, a: usize, b: usize) -> bool {
        let child = |place| self.heap.get(place).and_then(|index| self.children.get(*index));
        let (Some(left), Some(right)) = (child(a), child(b)) else { return false };
        let order = compare(left.key(), left.seqno(), right.key(), right.seqno())
            .then_with(|| self.heap.get(a).cmp(&self.heap.get(b)));
        match self.direction {
            Direction::Forward => order.is_lt(),
            Direction::Backward => order.is_gt(),
        }
    }

    /// Whether the child at `place` of the heap is on a row of the top's user key.
    fn has_top_key(&self, place: usize) -> bool {
        let Some(child) = self.heap.get(place).and_then(|index| self.children.get(*index)) else {
            return false;
        };
        self.current().is_some_and(|top| top.key() == child.key())
    }
}

impl<C: Cursor> Cursor for MergingCursor<C> {
    fn seek_first(&mut self) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.seek_first(),
            _ => self.seek_all(Direction::Forward, C::seek_first),
        }
    }

    fn seek_last(&mut self) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.seek_last(),
            _ => self.seek_all(Direction::Backward, C::seek_last),
        }
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.seek(key, seqno),
            _ => self.seek_all(Direction::Forward, |child| child.seek(key, seqno)),
        }
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.seek_for_prev(key, seqno),
            _ => self.seek_all(Direction::Backward, |child| child.seek_for_prev(key, seqno)),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.next(),
            _ => self.next_of_many(),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.prev(),
            _ => self.prev_of_many(),
        }
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        match self.children.as_mut_slice() {
            [only] => only.next_key(),
            _ => self.next_key_of_many(),
        }
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        match self.children.as_mut_slice() {
            [only] => only.prev_has_same_key(),
            _ => self.prev_has_same_key_of_many(),
        }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.current().is_some_and(C::valid)
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.current().is_some_and(|child| child.is_plainly_visible(snapshot))
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().map_or(&[], C::key)
    }

    #[inline]
    fn seqno(&self) -> u64 {
        self.current().map_or(0, C::seqno)
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.current().map_or(Kind::Put, C::kind)
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        self.current().map_or(0, C::expires_at)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().map_or(&[], C::value)
    }

    #[inline]
    fn location(&self) -> Location {
        self.current().map_or(Location::Cursor, C::location)
    }

    fn owned_value(&self) -> Value<'static> {
        self.current().map_or_else(|| Value::copied(&[]), C::owned_value)
    }

    fn disorder(&self) -> Error {
        self.current().map_or_else(|| Error::invalid("the runs are not in order"), C::disorder)
    }
}
