//! Ties: separators that share a head, and the second number that decides among them.
//!
//! Keys such as a 16-byte tenant and an id tie for as long as the tenant stays, and one short key
//! in a file of long ones can make all of them tie. So where there are ties every separator has a
//! *tie head* too: eight bytes from one place on where no tie has parted yet. The tree then stands
//! there twice, heads and tie heads, and a search compares both at once.
//!
//! ```text
//!   separator   T1…T1 0007   T1…T1 0031   T1…T1 0055   T2…T2 0002   T2…T2 0040
//!   head        T1…          T1…          T1…          T2…          T2…          from byte 0
//!   tie head    0007         0031         0055         0002         0040         from byte 16
//! ```
//!
//! The bytes between are compared by nobody on that way: a key that shares the head of a tie, but not
//! what follows, is led astray. Whoever finds the key need not care; for all others there is the careful
//! way, which looks at a separator of the tie first.
//!
//! # Invariants
//!
//! - Within a tie the tie heads ascend. Where even they are equal, separators decide.
//!
//! Spec: `format-spec/05-index.md`. I/O: none. Unsafe: none.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Range;

use zerocopy::little_endian::U64;

use super::search::word_at;
use super::{FANOUT, Index, IndexLayout, NODE_LEN, Search, head_of};
use crate::cpu::{self, Work};
use crate::format::error::FormatError;
use crate::format::row::shared_len;

/// A head and a tie head.
type Pair = (u64, u64);

/// Where in a key its tie head starts: as far as the separators of each tie agree, if some differ
/// at all. `None` if none do. `separator` gives a separator without the prefix.
pub(super) fn tie_offset<'s>(
    heads: &[u64],
    prefix_len: usize,
    separator: impl Fn(usize) -> &'s [u8],
) -> Option<usize> {
    // The first block's separator is empty, and below every other.
    let mut first = 1;
    let mut shortest = None;
    for tie in heads.get(1..).unwrap_or_default().chunk_by(|a, b| a == b) {
        let (low, high) = (separator(first), separator(first + tie.len() - 1));
        if low != high {
            let shared = prefix_len + shared_len(low, high);
            shortest = Some(shortest.map_or(shared, |shortest: usize| shortest.min(shared)));
        }
        first += tie.len();
    }
    shortest
}

impl<L: Borrow<IndexLayout>> Index<'_, L> {
    /// As [`locate`](Self::locate), where separators tie: right if the key is in the block. Compiled
    /// on its own, so that a lookup where nothing ties has the registers to itself.
    #[inline(never)]
    pub(super) fn locate_pair<E: From<FormatError>>(
        &self,
        key: &[u8],
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let pair = self.pair_of(key);
        let (block, found) = cpu::run(LastPairNotAbove { index: self, pair, touch })?;
        if found == pair {
            return self.search_equal_pairs(key, pair, block, touch);
        }
        Ok(Search::Block(block))
    }

    /// Searches where separators tie, for a key that need not be there.
    pub(super) fn search_ties<E: From<FormatError>>(
        &self,
        key: &[u8],
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let (head, _) = self.pair_of(key);
        let (last, found) = self.last_not_above::<false, E>(head, touch)?;
        if found != head || last == 0 {
            return Ok(Search::Block(last));
        }
        // As far as all separators of a tie agree, one of them speaks for all.
        let agreed_len = self.layout().tie_offset.saturating_sub(self.layout().prefix_len);
        let separator = self.separator(last, touch)?;
        let [rest, separator] =
            [self.rest(key), separator].map(|bytes| bytes.get(..agreed_len).unwrap_or(bytes));
        match rest.cmp(separator) {
            Ordering::Less => match head.checked_sub(1) {
                Some(below) => Ok(Search::Block(self.last_not_above::<false, E>(below, touch)?.0)),
                None => Ok(Search::Block(0)),
            },
            Ordering::Equal => self.locate_pair(key, touch),
            Ordering::Greater => Ok(Search::Block(last)),
        }
    }

    /// Decides among the blocks up to `last` whose pair is `pair`, as the key's is.
    #[inline(never)]
    fn search_equal_pairs<E: From<FormatError>>(
        &self,
        key: &[u8],
        pair: Pair,
        last: usize,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<Search, E> {
        let below = match pair {
            (0, 0) => None,
            (head, 0) => Some((head - 1, u64::MAX)),
            (head, tie_head) => Some((head, tie_head - 1)),
        };
        let first = match below {
            None => 0,
            Some(below) => {
                let (before, found) = self.last_pair_not_above::<false, E>(below, touch)?;
                if found < pair { before + 1 } else { before }
            }
        };
        self.search_separators(self.rest(key), first.min(last)..last + 1, touch)
    }

    /// A key's bytes behind the prefix.
    #[inline]
    pub(super) fn rest<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.layout().prefix_len..).unwrap_or_default()
    }

    /// The head and the tie head of a key.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn pair_of(&self, key: &[u8]) -> Pair {
        (head_of(key, self.layout().head_offset), head_of(key, self.layout().tie_offset))
    }

    /// The last block whose head and tie head are not above `pair`; block 0 if all are.
    ///
    /// As [`last_not_above`](Self::last_not_above), with two nodes a level.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn last_pair_not_above<const WIDE: bool, E>(
        &self,
        pair: Pair,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<(usize, Pair), E> {
        let layout = self.layout();
        let (upper, (heads, block_count)) = layout.levels_from_the_root();
        let mut entry: usize = 0;
        for (start, len) in upper {
            let place = entry.wrapping_add(start / NODE_LEN);
            let ties = self.node(place.wrapping_add(layout.upper_ties / NODE_LEN));
            let place = place_of_pair::<WIDE>(self.node(place), ties, pair);
            // The padding is below no pair but the largest.
            entry = entry.wrapping_mul(FANOUT).wrapping_add(place).min(len.saturating_sub(1));
        }
        let (place, tie_place) =
            (entry.wrapping_add(heads / NODE_LEN), entry.wrapping_add(layout.tie_heads / NODE_LEN));
        for place in [place, tie_place] {
            let start = place.wrapping_mul(NODE_LEN);
            touch(start..start.wrapping_add(NODE_LEN))?;
        }
        let (words, ties) = (self.node(place), self.node(tie_place));
        let place = place_of_pair::<WIDE>(words, ties, pair);
        let block = entry.wrapping_mul(FANOUT).wrapping_add(place);
        let block = block.min(block_count.saturating_sub(1));
        Ok((block, (word_at(words, block), word_at(ties, block))))
    }
}

/// A search of the tree, compiled for each kind of processor.
struct LastPairNotAbove<'i, 'a, L, F> {
    index: &'i Index<'a, L>,
    pair: Pair,
    touch: &'i F,
}

impl<L, E, F> Work for LastPairNotAbove<'_, '_, L, F>
where
    L: Borrow<IndexLayout>,
    F: Fn(Range<usize>) -> Result<(), E>,
{
    type Output = Result<(usize, Pair), E>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn run<const WIDE: bool>(self) -> Self::Output {
        self.index.last_pair_not_above::<WIDE, E>(self.pair, self.touch)
    }
}

/// The last of two nodes' entries that are not above `pair`; 0 if all are.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
fn place_of_pair<const WIDE: bool>(
    words: &[U64; FANOUT],
    ties: &[U64; FANOUT],
    pair: Pair,
) -> usize {
    if WIDE {
        let mut above = [0_u64; 4];
        let ((groups, _), (ties, _)) = (words.as_chunks::<4>(), ties.as_chunks::<4>());
        for (group, ties) in groups.iter().zip(ties) {
            for ((above, word), tie) in above.iter_mut().zip(group).zip(ties) {
                let ties = u64::from(word.get() == pair.0) & u64::from(tie.get() > pair.1);
                *above = above.wrapping_add(u64::from(word.get() > pair.0) | ties);
            }
        }
        let above = above.iter().sum::<u64>();
        return (FANOUT - 1).wrapping_sub(usize::try_from(above).unwrap_or(FANOUT));
    }
    let mut place = 0;
    for step in [8, 4, 2, 1] {
        let at = place + step;
        place += step * usize::from((word_at(words, at), word_at(ties, at)) <= pair);
    }
    place
}
