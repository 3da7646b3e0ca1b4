//! The index in place: its arrays, and what stands in them.
//!
//! The levels above the heads are few, and verified when a table is opened. Of the others a search
//! names the bytes that it is about to use to its caller (`touch`), who verifies the checksum of
//! their chunk the first time; so opening a table never reads the whole index.
//!
//! Spec: `format-spec/05-index.md`. I/O: none. Unsafe: none.

use std::borrow::Borrow;
use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::{
    BLOCK_SIZE, BLOCKS, FANOUT, FIT, FLAG_CONTINUED, FLAG_TIES, FLAG_UNIFORM, HEAD, HEADER,
    HEADER_LEN, IndexHeader, LEVELS, MAGIC, NODE_LEN, OFFSET_UNIT, OFFSETS, RESERVED, SEPARATOR,
    level_lens,
};
use crate::format::data_block::round_up;
use crate::format::error::FormatError;

/// The most levels that 2^32 blocks can need.
pub(super) const MAX_LEVELS: usize = 8;

/// Where the arrays of an index are, in bytes from the start of the region.
///
/// Every position was checked to lie within the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLayout {
    pub(super) block_count: usize,
    pub(super) prefix_len: usize,
    pub(super) head_offset: usize,
    pub(super) flags: u8,
    pub(super) block_size: u32,
    pub(super) level_count: usize,
    /// Start and number of entries of each level, the root first, the heads last.
    pub(super) levels: [(usize, usize); MAX_LEVELS],
    /// Where in a key the bytes of its tie head start.
    pub(super) tie_offset: usize,
    /// How far behind each upper level its tie heads are, if there are any.
    pub(super) upper_ties: usize,
    /// Where the tie heads of the lowest level start.
    pub(super) tie_heads: usize,
    pub(super) block_offsets: usize,
    pub(super) separator_offsets: usize,
    pub(super) separators: usize,
    pub(super) separators_len: usize,
    pub(super) end: usize,
}

impl IndexLayout {
    /// Blocks in the table; at least one.
    #[inline]
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.block_count
    }

    /// Whether some key goes on in the next block.
    #[inline]
    #[must_use]
    pub fn has_continued_keys(&self) -> bool {
        self.flags & FLAG_CONTINUED != 0
    }

    /// Whether different separators share a head.
    #[inline]
    #[must_use]
    pub fn has_ties(&self) -> bool {
        self.flags & FLAG_TIES != 0
    }

    /// Where in a key the bytes of its head start.
    #[must_use]
    pub fn head_offset(&self) -> usize {
        self.head_offset
    }

    /// Where the heads, the lowest level of the tree, start, in bytes from the start of the region.
    /// A reader verifies all up to here when it opens a table, a fifteenth of the heads' bytes, that of
    /// tie heads, and the prefix; a search does not name them again.
    #[must_use]
    pub fn heads_start(&self) -> usize {
        self.levels.get(self.level_count.saturating_sub(1)).map_or(0, |level| level.0)
    }

    /// Start and number of entries of the levels above the heads, and of the heads.
    #[inline]
    pub(super) fn levels_from_the_root(&self) -> (&[(usize, usize)], (usize, usize)) {
        let levels = self.levels.get(..self.level_count).unwrap_or_default();
        levels.split_last().map_or((&[], (0, 1)), |(heads, upper)| (upper, *heads))
    }

    /// Bytes from one block to the next, if the file is uniform.
    #[inline]
    #[must_use]
    pub fn block_size(&self) -> Option<u32> {
        (self.flags & FLAG_UNIFORM != 0).then_some(self.block_size)
    }
}

/// An index region, read in place. It owns its layout, or borrows that of an open table.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a, L = IndexLayout> {
    pub(super) bytes: &'a [u8],
    pub(super) layout: L,
}

impl<'a> Index<'a> {
    /// Finds the arrays of an index region. O(1); checks no checksum.
    ///
    /// # Errors
    ///
    /// The rule of chapter 05 that the header breaks.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((header, _)) = IndexHeader::ref_from_prefix(bytes) else {
            return Err(HEADER.found(0, HEADER_LEN as u64, bytes.len() as u64));
        };
        if header.magic != MAGIC {
            return Err(HEADER.broken(0));
        }
        if header.flags & !(FLAG_UNIFORM | FLAG_CONTINUED | FLAG_TIES) != 0
            || header.reserved_tail.iter().any(|word| word.get() != 0)
        {
            return Err(RESERVED.broken(12));
        }
        let block_count = header.block_count.get() as usize;
        if block_count == 0 {
            return Err(BLOCKS.broken(4));
        }
        if header.head_offset > header.prefix_len {
            let (offset, len) = (header.head_offset.get(), header.prefix_len.get());
            return Err(HEAD.found(10, u64::from(len), u64::from(offset)));
        }
        let least = if header.flags & FLAG_TIES == 0 { 0 } else { header.prefix_len.get() };
        let tie_offset = header.tie_offset.get();
        if tie_offset < least || (header.flags & FLAG_TIES == 0 && tie_offset != 0) {
            return Err(HEAD.found(14, u64::from(least), u64::from(tie_offset)));
        }
        let uniform = header.flags & FLAG_UNIFORM != 0;
        let block_size = header.block_size.get();
        let legal = block_size.is_power_of_two() && (1 << 10..=1 << 16).contains(&block_size);
        if uniform != legal || (!uniform && block_size != 0) {
            return Err(BLOCK_SIZE.found(16, 0, u64::from(block_size)));
        }
        let layout = Self::place(header, bytes.len())?;
        Ok(Self { bytes, layout })
    }

    /// Places the arrays one behind the other; each term is below 2^36, so no sum overflows u64.
    #[expect(clippy::cast_possible_truncation, reason = "the end is compared with a usize first")]
    fn place(header: &IndexHeader, region_len: usize) -> Result<IndexLayout, FormatError> {
        let block_count = header.block_count.get() as usize;
        let lens: Vec<usize> = level_lens(block_count).collect();
        if usize::from(header.level_count) != lens.len() || lens.len() > MAX_LEVELS {
            return Err(LEVELS.found(13, lens.len() as u64, u64::from(header.level_count)));
        }
        let prefix_len = u64::from(header.prefix_len.get());
        let mut at = round_up(HEADER_LEN as u64 + prefix_len, NODE_LEN as u64);
        let mut levels = [(0, 0); MAX_LEVELS];
        let mut starts = [0; MAX_LEVELS];
        let has_ties = header.flags & FLAG_TIES != 0;
        let (root, mut upper_ties, mut tie_heads) = (at, 0, 0);
        for ((level, start), len) in levels.iter_mut().zip(&mut starts).zip(lens.iter().rev()) {
            let is_heads = *len == block_count;
            if has_ties && is_heads {
                // Behind the upper levels stand those of the tie heads.
                upper_ties = at - root;
                at += upper_ties;
            }
            *start = at;
            level.1 = *len;
            at += round_up(*len as u64, FANOUT as u64) * 8;
            if has_ties && is_heads {
                tie_heads = at;
                at += at - *start;
            }
        }
        let block_offsets = at;
        if header.flags & FLAG_UNIFORM == 0 {
            at += 4 * (block_count as u64 + 1);
        }
        let separator_offsets = at;
        let separators = at + 4 * (block_count as u64 + 1);
        let end = separators + u64::from(header.separators_len.get());
        if end != region_len as u64 {
            return Err(FIT.found(0, end, region_len as u64));
        }
        for (level, start) in levels.iter_mut().zip(starts) {
            level.0 = start as usize;
        }
        Ok(IndexLayout {
            block_count,
            prefix_len: prefix_len as usize,
            head_offset: usize::from(header.head_offset.get()),
            flags: header.flags,
            block_size: header.block_size.get(),
            level_count: lens.len(),
            levels,
            tie_offset: usize::from(header.tie_offset.get()),
            upper_ties: upper_ties as usize,
            tie_heads: tie_heads as usize,
            block_offsets: block_offsets as usize,
            separator_offsets: separator_offsets as usize,
            separators: separators as usize,
            separators_len: header.separators_len.get() as usize,
            end: end as usize,
        })
    }
}

impl<'a, L: Borrow<IndexLayout>> Index<'a, L> {
    /// Puts a layout that [`parse`](Index::parse) worked out back onto the bytes of its region.
    #[inline]
    #[must_use]
    pub fn with_layout(bytes: &'a [u8], layout: L) -> Self {
        Self { bytes, layout }
    }

    /// Where the arrays are.
    #[inline]
    #[must_use]
    pub fn layout(&self) -> &IndexLayout {
        self.layout.borrow()
    }

    /// What all keys of the table start with.
    #[inline]
    #[must_use]
    pub fn prefix(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..HEADER_LEN + self.layout().prefix_len).unwrap_or_default()
    }

    /// The separator of a block, without the prefix.
    ///
    /// # Errors
    ///
    /// Rule I7 if its offsets are wrong or there is no such block; what `touch` says of their
    /// chunk.
    pub fn separator<E: From<FormatError>>(
        &self,
        block: usize,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let at = self.layout().separator_offsets + 4 * block.min(self.layout().block_count);
        let broken = || E::from(SEPARATOR.broken(at as u64));
        if block >= self.layout().block_count {
            return Err(broken());
        }
        touch(at..at + 8)?;
        let pair = self.bytes.get(at..at + 8).ok_or_else(broken)?;
        let pair = <[U32]>::ref_from_bytes(pair).unwrap_or_default();
        let [start, end] = pair else { return Err(broken()) };
        let (start, end) = (start.get() as usize, end.get() as usize);
        if start > end || end > self.layout().separators_len {
            return Err(broken());
        }
        let range = self.layout().separators + start..self.layout().separators + end;
        touch(range.clone())?;
        self.bytes.get(range).ok_or_else(broken)
    }

    /// Where block `block` starts, in bytes from the start of the data region; for `block_count`,
    /// where the last one ends.
    ///
    /// # Errors
    ///
    /// Rule I9 if there is no such block; what `touch` says of the offset's chunk.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a multiplication, mostly")]
    pub fn block_offset<E: From<FormatError>>(
        &self,
        block: usize,
        touch: &impl Fn(Range<usize>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let at = self.layout().block_offsets;
        if block > self.layout().block_count {
            return Err(OFFSETS.broken(at as u64).into());
        }
        if self.layout().flags & FLAG_UNIFORM != 0 {
            return Ok(block as u64 * u64::from(self.layout().block_size));
        }
        let at = at + 4 * block;
        touch(at..at + 4)?;
        match self.bytes.get(at..at + 4).map(U32::read_from_bytes) {
            Some(Ok(units)) => Ok(u64::from(units.get()) * OFFSET_UNIT),
            _ => Err(OFFSETS.broken(at as u64).into()),
        }
    }
}
