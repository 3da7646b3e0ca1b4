//! Building the index: separators are collected block by block, the tree at the end.
//!
//! Also [`Index::verify`], which checks everything that a search takes on trust.
//!
//! Spec: `format-spec/05-index.md`. I/O: none. Unsafe: none.

use std::borrow::Borrow;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::ties::tie_offset;
use super::{
    FANOUT, FLAG_CONTINUED, FLAG_TIES, FLAG_UNIFORM, HEADER_LEN, Index, IndexHeader, IndexLayout,
    MAGIC, NODE_LEN, OFFSET_UNIT, OFFSETS, ORDER, SEPARATOR, SORTED, TIES, head_of, level_lens,
};
use crate::format::error::FormatError;
use crate::format::row::shared_len;

/// The shortest key that is above `last` and not above `first`; `first` itself if they are equal.
#[must_use]
pub fn shortest_separator<'k>(last: &[u8], first: &'k [u8]) -> &'k [u8] {
    first.get(..=shared_len(last, first)).unwrap_or(first)
}

/// Collects what the index of a table needs: about 4 bytes and a separator for each block.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    separators: Vec<u8>,
    ends: Vec<usize>,
    continued: bool,
    last_key: Vec<u8>,
}

impl IndexBuilder {
    /// A builder without blocks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Blocks so far.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.ends.len()
    }

    /// Adds the next block, by its first and its last key.
    pub fn push(&mut self, first: &[u8], last: &[u8]) {
        if !self.ends.is_empty() {
            self.continued |= self.last_key == first;
            self.separators.extend_from_slice(shortest_separator(&self.last_key, first));
        }
        self.ends.push(self.separators.len());
        self.last_key.clear();
        self.last_key.extend_from_slice(last);
    }

    /// The region's bytes.
    ///
    /// `prefix` is what all keys share, `min_key_len` the length of the shortest key. A uniform
    /// file gives its `block_size`, a packed one `offsets`: where each block starts and, last,
    /// where the last one ends, in bytes from the start of the data region.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a table has below 2^32 blocks, and the \
                                                         separators below 4 GiB"
    )]
    pub fn finish(
        &self,
        prefix: &[u8],
        min_key_len: usize,
        block_size: Option<u32>,
        offsets: &[u64],
    ) -> Vec<u8> {
        let head_offset = prefix.len().min(min_key_len.saturating_sub(8));
        let (mut separators, mut ends) = (Vec::with_capacity(self.separators.len()), vec![0_u32]);
        let mut heads = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for (index, end) in self.ends.iter().enumerate() {
            let separator = self.separators.get(start..*end).unwrap_or_default();
            heads.push(if index == 0 { 0 } else { head_of(separator, head_offset) });
            // The first separator is empty; the others start with the prefix.
            separators.extend_from_slice(separator.get(prefix.len()..).unwrap_or_default());
            ends.push(separators.len() as u32);
            start = *end;
        }
        let separator = |block: usize| {
            let end = |block: usize| ends.get(block).map_or(0, |end| *end as usize);
            separators.get(end(block)..end(block + 1)).unwrap_or_default()
        };
        let tie_offset = tie_offset(&heads, prefix.len(), separator);
        let tie_heads = tie_offset.map(|offset| {
            let tie_head = |block| head_of(&[prefix, separator(block)].concat(), offset);
            std::iter::once(0).chain((1..heads.len()).map(tie_head)).collect()
        });
        let header = IndexHeader {
            magic: MAGIC,
            block_count: U32::new(self.ends.len() as u32),
            prefix_len: U16::new(prefix.len() as u16),
            head_offset: U16::new(head_offset as u16),
            flags: if block_size.is_some() { FLAG_UNIFORM } else { 0 }
                | if self.continued { FLAG_CONTINUED } else { 0 }
                | if tie_offset.is_some() { FLAG_TIES } else { 0 },
            level_count: level_lens(heads.len()).count() as u8,
            tie_offset: U16::new(tie_offset.unwrap_or(0) as u16),
            block_size: U32::new(block_size.unwrap_or(0)),
            separators_len: U32::new(separators.len() as u32),
            reserved_tail: [U64::new(0); 5],
        };
        let mut out = header.as_bytes().to_vec();
        out.extend_from_slice(prefix);
        out.resize(out.len().next_multiple_of(NODE_LEN), 0);
        push_levels(&mut out, heads, tie_heads);
        if block_size.is_none() {
            for offset in offsets {
                out.extend_from_slice(U32::new((offset / OFFSET_UNIT) as u32).as_bytes());
            }
        }
        for end in ends {
            out.extend_from_slice(U32::new(end).as_bytes());
        }
        out.extend_from_slice(&separators);
        out
    }
}

/// Writes the tree, the root first: each level holds the first entry of each node below. Tie heads
/// have a tree of the same shape: its upper levels stand before the heads, the rest behind them.
fn push_levels(out: &mut Vec<u8>, heads: Vec<u64>, tie_heads: Option<Vec<u64>>) {
    let (upper, heads) = levels_of(heads);
    let (upper_ties, tie_heads) = tie_heads.map(levels_of).unwrap_or_default();
    let levels = upper.into_iter().chain(upper_ties).chain([heads, tie_heads]);
    for level in levels {
        let padding = level.len().next_multiple_of(FANOUT) - level.len();
        for entry in level.into_iter().chain(std::iter::repeat_n(u64::MAX, padding)) {
            out.extend_from_slice(U64::new(entry).as_bytes());
        }
    }
}

/// The levels above the lowest one, from the root down, and the lowest one.
fn levels_of(lowest: Vec<u64>) -> (Vec<Vec<u64>>, Vec<u64>) {
    let above = |below: &Vec<u64>| below.iter().step_by(FANOUT).copied().collect::<Vec<_>>();
    let first = (lowest.len() > FANOUT).then(|| above(&lowest));
    let levels = std::iter::successors(first, |below| (below.len() > FANOUT).then(|| above(below)));
    let mut levels: Vec<_> = levels.collect();
    levels.reverse();
    (levels, lowest)
}

impl<L: Borrow<IndexLayout>> Index<'_, L> {
    /// Checks what [`parse`](Index::parse) leaves out: every head, separator and offset. O(index).
    ///
    /// # Errors
    ///
    /// The first rule of chapter 05 that is broken; I12 needs the blocks and is not checked here.
    pub fn verify(&self, data_len: u64) -> Result<(), FormatError> {
        self.verify_ends(data_len)?;
        let layout = self.layout();
        let untouched = |_| Ok::<(), FormatError>(());
        let (mut heads, mut tie_heads) = (Vec::new(), Vec::new());
        let mut key = self.prefix().to_vec();
        let mut previous: &[u8] = &[];
        for block in 0..layout.block_count {
            let separator = self.separator(block, &untouched)?;
            let at = (layout.separator_offsets + 4 * block) as u64;
            let first_ok = block > 0 || separator.is_empty();
            let equal_ok = block == 0 || separator != previous || layout.has_continued_keys();
            if !first_ok || separator < previous || !equal_ok {
                return Err(ORDER.broken(at));
            }
            key.truncate(layout.prefix_len);
            key.extend_from_slice(separator);
            heads.push(if block == 0 { 0 } else { head_of(&key, layout.head_offset) });
            tie_heads.push(if block == 0 { 0 } else { head_of(&key, layout.tie_offset) });
            previous = separator;
        }
        let separator = |block| self.separator(block, &untouched).unwrap_or_default();
        let tie_offset = tie_offset(&heads, layout.prefix_len, separator);
        let found = layout.has_ties().then_some(layout.tie_offset);
        if tie_offset != found {
            let [expected, found] = [tie_offset, found].map(|at| at.unwrap_or(0) as u64);
            return Err(TIES.found(14, expected, found));
        }
        let mut expected = Vec::new();
        push_levels(&mut expected, heads, layout.has_ties().then_some(tie_heads));
        let start = layout.levels.first().map_or(0, |level| level.0);
        let found = self.bytes.get(start..start + expected.len()).unwrap_or_default();
        match found.iter().zip(&expected).position(|(a, b)| a != b) {
            None if found.len() == expected.len() => Ok(()),
            differs => Err(SORTED.broken((start + differs.unwrap_or(0)) as u64)),
        }
    }

    fn verify_ends(&self, data_len: u64) -> Result<(), FormatError> {
        let layout = self.layout();
        let touch = |_| Ok::<(), FormatError>(());
        let word = |at: usize| {
            let bytes = self.bytes.get(at..at + 4)?;
            Some(u64::from(<U32 as zerocopy::FromBytes>::read_from_bytes(bytes).ok()?.get()))
        };
        let first = layout.separator_offsets;
        if word(first) != Some(0) {
            return Err(SEPARATOR.broken(first as u64));
        }
        let last = first + 4 * layout.block_count;
        if word(last) != Some(layout.separators_len as u64) {
            return Err(SEPARATOR.broken(last as u64));
        }
        let mut previous = None;
        for block in 0..=layout.block_count {
            let offset = self.block_offset(block, &touch)?;
            let at = (layout.block_offsets + 4 * block) as u64;
            let grows = previous.map_or(offset == 0, |previous| offset > previous);
            // The last slot of a uniform file is cut off behind its block.
            let ends = match layout.block_size() {
                _ if block < layout.block_count => offset < data_len,
                Some(_) => offset >= data_len,
                None => offset == data_len,
            };
            if !grows || !ends {
                return Err(OFFSETS.found(at, data_len, offset));
            }
            previous = Some(offset);
        }
        let padding = HEADER_LEN + layout.prefix_len;
        let tree = layout.levels.first().map_or(0, |level| level.0);
        match self.bytes.get(padding..tree) {
            Some(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(()),
            _ => Err(SORTED.broken(padding as u64)),
        }
    }
}
