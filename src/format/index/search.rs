//! Searching the index: from a key to the block that can hold it.
//!
//! Down the tree, a node of sixteen heads a level, without a branch that depends on the key; then, only
//! where the key's head is that of a separator, among the separators that share it.
//!
//! Spec: `format-spec/05-index.md`. I/O: none. Unsafe: none.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Range;

use zerocopy::little_endian::U64;
use zerocopy::transmute_ref;

use super::{FANOUT, Index, IndexLayout, NODE_LEN, head_of};
use crate::format::error::FormatError;

/// What a place outside the region reads as.
static NO_NODE: [U64; FANOUT] = [U64::ZERO; FANOUT];

/// What a search asks for: the block where the internal key would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The block whose separator is the last one not above the key.
    Block(usize),
    /// As `Block`, but the separator is the key itself and the key may have begun a block earlier:
    /// look there first, if that block says that its last key goes on.
    BlockOrOneBefore(usize),
}

impl<L: Borrow<IndexLayout>> Index<'_, L> {
    /// Finds the block that holds `key`, if any block of the table does.
    ///
    /// # Errors
    ///
    /// A broken rule of chapter 05 on the way; what `touch` says of the chunks it needs.
    ///
    /// # Cost
    ///
    /// A node of 128 bytes a level, two nodes where separators tie. Where even that does not
    /// decide, a binary search of the separators that are left.
    #[inline]
    pub fn search<E: From<FormatError>>(
        &self,
        key: &[u8],
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let prefix = self.prefix();
        if !key.starts_with(prefix) {
            let last = self.layout().block_count - 1;
            return Ok(Search::Block(if key < prefix { 0 } else { last }));
        }
        if self.layout().has_ties() {
            return self.search_ties(key, touch);
        }
        self.locate::<false, E>(key, touch)
    }

    /// As [`search`](Self::search), for a lookup: which block it gives for a key that no block
    /// holds does not matter, so the prefix is not looked at. In an index with ties, a key that is
    /// not in the block may be in another; `search` tells. Compiled into its caller; `WIDE` if that
    /// one may use AVX2.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(crate) fn locate<const WIDE: bool, E: From<FormatError>>(
        &self,
        key: &[u8],
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        if self.layout().has_ties() {
            return self.locate_pair(key, touch);
        }
        let head = head_of(key, self.layout().head_offset);
        let (block, found) = self.last_not_above::<WIDE, E>(head, touch)?;
        if found == head {
            return self.search_equal_heads(key, head, block, touch);
        }
        Ok(Search::Block(block))
    }

    /// Decides among the blocks up to `last` whose head is that of the key: their separators are
    /// equal, or there would be tie heads.
    #[inline(never)]
    fn search_equal_heads<E: From<FormatError>>(
        &self,
        key: &[u8],
        head: u64,
        last: usize,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let first = match head.checked_sub(1) {
            None => 0,
            Some(below) => {
                let (before, found) = self.last_not_above::<false, E>(below, touch)?;
                if found < head { before + 1 } else { before }
            }
        };
        self.search_separators(self.rest(key), first.min(last)..last + 1, touch)
    }

    /// Decides among some blocks, and the one before, by their separators alone. `rest` is what
    /// follows the prefix in the key.
    pub(super) fn search_separators<E: From<FormatError>>(
        &self,
        rest: &[u8],
        blocks: Range<usize>,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let (mut low, mut high) = (blocks.start, blocks.end);
        // The first separator that is not below the key.
        while low < high {
            let middle = low.midpoint(high);
            match self.separator(middle, touch)?.cmp(rest) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        if low < blocks.end && self.separator(low, touch)? == rest {
            return Ok(if self.layout().has_continued_keys() && low > 0 {
                Search::BlockOrOneBefore(low)
            } else {
                Search::Block(low)
            });
        }
        Ok(Search::Block(low.saturating_sub(1)))
    }

    /// The last entry of the heads that is not above `head`; 0 if all are.
    ///
    /// Nodes that are not sorted lead anywhere, but never out of the region.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call would move the layout through memory")]
    pub(super) fn last_not_above<const WIDE: bool, E>(
        &self,
        head: u64,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<(usize, u64), E> {
        let (upper, (heads, _)) = self.layout().levels_from_the_root();
        let last = self.layout().block_count - 1;
        let mut entry: usize = 0;
        if head == u64::MAX {
            // The padding behind the last entry of a level is not above it either.
            entry = last / FANOUT;
        } else {
            for (start, _) in upper {
                let words = self.node(entry.wrapping_add(start / NODE_LEN));
                entry = entry.wrapping_mul(FANOUT).wrapping_add(place_in_node::<WIDE>(words, head));
            }
        }
        let place = entry.wrapping_add(heads / NODE_LEN);
        let start = place.wrapping_mul(NODE_LEN);
        touch(start..start.wrapping_add(NODE_LEN))?;
        let words = self.node(place);
        entry = entry.wrapping_mul(FANOUT).wrapping_add(place_in_node::<WIDE>(words, head));
        let entry = entry.min(last);
        Ok((entry, word_at(words, entry)))
    }

    /// The node with this number: all levels start at a multiple of a node's length from the start
    /// of the region.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(super) fn node(&self, place: usize) -> &[U64; FANOUT] {
        let (nodes, _) = self.bytes.as_chunks::<NODE_LEN>();
        nodes.get(place).map_or(&NO_NODE, |node| transmute_ref!(node))
    }
}

/// The last of a node's entries that is not above `head`; 0 if all are.
///
/// Wide, it counts those that are not, as vectors of a few at a time. Else a binary search of four
/// steps whose only branch is the loop's, which the compiler unrolls. Neither has a branch that
/// depends on the key: a lookup that guesses nothing wrong lets the next one start before it ends.
///
/// Source: Khuong and Morin, "Array Layouts for Comparison-Based Searching", 2.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
fn place_in_node<const WIDE: bool>(words: &[U64; FANOUT], head: u64) -> usize {
    if WIDE {
        let mut above = [0_u64; 4];
        let (groups, _) = words.as_chunks::<4>();
        for group in groups {
            for (above, word) in above.iter_mut().zip(group) {
                *above = above.wrapping_add(u64::from(word.get() > head));
            }
        }
        let above = above.iter().sum::<u64>();
        return (FANOUT - 1).wrapping_sub(usize::try_from(above).unwrap_or(FANOUT));
    }
    let mut place = 0;
    for step in [8, 4, 2, 1] {
        place += step * usize::from(word_at(words, place + step) <= head);
    }
    place
}

/// The entry at `place` of its node: a node has sixteen.
#[inline]
pub(super) fn word_at(words: &[U64; FANOUT], place: usize) -> u64 {
    words.get(place % FANOUT).map_or(0, |word| word.get())
}
