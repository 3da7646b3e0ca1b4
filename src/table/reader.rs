//! A table that is open for reading, and its parts: filter, index, blocks, values.
//!
//! # Invariants
//!
//! - Every part was proved or verified before what it says is used, now or earlier.
//!
//! Spec: `format-spec/03-table.md`, "Point lookup". I/O: through a `Region`. Unsafe: none.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use zerocopy::FromBytes;

use super::verified::{ChunkedRegion, Verified};
use crate::cpu::prefetch;
use crate::error::{Error, Result};
use crate::format::data_block::{self, DataBlock, Layout};
use crate::format::error::FormatError;
use crate::format::filter::Filter;
use crate::format::index::{Index, IndexLayout, Search};
use crate::format::range_tombstones::RangeTombstoneRegion;
use crate::format::table_file::{self, TableFile};
use crate::format::value_ref::ValueRef;
use crate::options::ChecksumPolicy;
use crate::storage::{Region, Slice};
use crate::sync::atomic::AtomicBool;

/// A table that is open for reading.
pub(crate) struct Table {
    pub(super) region: Region,
    pub(super) frame: TableFile,
    pub(super) file_id: u64,
    pub(super) hash_seed: u64,
    pub(super) max_seqno: u64,
    pub(super) unique_keys: bool,
    pub(super) data_offset: u64,
    pub(super) data_len: u64,
    /// The data region, if the file is mapped or in memory.
    pub(super) data: Option<Bytes>,
    /// Which blocks a probe may read.
    pub(super) blocks: Verified,
    /// Which blocks were verified while the map is read as one that does not fit into memory.
    pub(super) blocks_beyond_memory: Verified,
    pub(super) index: ChunkedRegion,
    pub(super) index_layout: IndexLayout,
    pub(super) filter: Option<(ChunkedRegion, u32)>,
    /// Offset and length of the value region.
    pub(super) values: Option<(u64, u64)>,
    pub(super) values_verified: Verified,
    /// The region of range tombstones, verified and parsed, if there is one.
    pub(super) range_tombstones: Option<Bytes>,
    pub(super) policy: ChecksumPolicy,
    /// Whether the map is read as one that does not fit into memory.
    pub(super) beyond_memory: AtomicBool,
}

/// Shows no bytes of the file: they are the user's, and many.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Table {
    /// The file.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// The seed of the hash that [`get`](Self::get) wants.
    #[inline]
    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// The identity that the file's header gives.
    pub(crate) fn file_id(&self) -> u64 {
        self.file_id
    }

    /// The range tombstones, if the table has any; verified and parsed when it was opened.
    #[inline]
    pub(crate) fn range_tombstones(&self) -> Option<RangeTombstoneRegion<'_>> {
        self.range_tombstones.as_deref().and_then(RangeTombstoneRegion::parse_again)
    }

    /// How many range tombstones there are.
    pub(crate) fn range_tombstone_count(&self) -> u64 {
        self.range_tombstones().map_or(0, |region| region.len() as u64)
    }

    /// The data region, if the file is mapped or in memory.
    #[inline]
    pub(super) fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    /// The index; searching it verifies what it touches.
    #[inline]
    pub(super) fn index(&self) -> Index<'_, &IndexLayout> {
        Index::with_layout(self.index.payload(), &self.index_layout)
    }

    #[inline]
    fn touch_index(&self) -> impl Fn(Range<usize>) -> Result<(), FormatError> + '_ {
        |range| self.index.touch(range)
    }

    /// The error of a structure of this file that starts at `base`.
    #[cold]
    pub(super) fn corrupt(&self, base: u64, error: FormatError) -> Error {
        self.region.corrupt(base, error)
    }

    /// Whether whole blocks are read, to the heap: there is no map, or its bytes are believed only
    /// as a copy.
    #[inline]
    pub(super) fn reads_copies(&self) -> bool {
        self.data.is_none() || self.region.is_guarded()
    }

    /// Asks for the memory that [`may_contain`](Self::may_contain) will read.
    #[inline]
    pub(crate) fn prefetch_filter(&self, hash: u64) {
        if let Some((region, block_count)) = &self.filter {
            let filter = Filter::with_block_count(region.payload(), *block_count);
            prefetch(region.payload(), filter.block_range(hash).start);
        }
    }

    /// Whether the table may hold a key with this hash; `false` is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> Result<bool> {
        let Some((region, block_count)) = &self.filter else { return Ok(true) };
        let filter = Filter::with_block_count(region.payload(), *block_count);
        match region.touch(filter.block_range(hash)) {
            Ok(()) => {
                let may = filter.may_contain(hash);
                self.region.check().map(|()| may)
            }
            Err(error) => Err(self.corrupt(region.offset(), error)),
        }
    }

    /// The block where a search for `key` starts.
    #[inline]
    pub(super) fn search(&self, key: &[u8]) -> Result<usize> {
        match self.index().search(key, &self.touch_index()) {
            Ok(Search::Block(block)) => Ok(block),
            Ok(Search::BlockOrOneBefore(block)) => self.first_of_continued(block),
            Err(error) => Err(self.corrupt(self.index.offset(), error)),
        }
    }

    #[cold]
    fn first_of_continued(&self, block: usize) -> Result<usize> {
        let before = block.saturating_sub(1);
        Ok(if self.block_layout(before)?.continues() { before } else { block })
    }

    /// The columns of a block, verified.
    pub(super) fn block_layout(&self, block: usize) -> Result<Layout> {
        Ok(if self.reads_copies() {
            self.heap_block(block)?.layout
        } else {
            *self.mapped_block(block)?.layout()
        })
    }

    /// Where a block starts in the data region.
    #[inline]
    pub(super) fn block_offset(&self, block: usize) -> Result<u64> {
        self.index()
            .block_offset(block, &self.touch_index())
            .map_err(|error| self.corrupt(self.index.offset(), error))
    }

    /// About how many bytes of blocks hold the keys from `start` on, and before `end`: whole blocks
    /// between two places of the index.
    ///
    /// # Errors
    ///
    /// As a lookup in the index.
    pub(crate) fn len_between(&self, start: &[u8], end: Option<&[u8]>) -> Result<u64> {
        let first = self.block_offset(self.search(start)?)?;
        let last = match end {
            Some(end) => self.search(end)?,
            None => self.index_layout.block_count(),
        };
        Ok(self.block_offset(last)?.saturating_sub(first))
    }

    /// Which bytes of the data region a block takes, with what lies between it and the next one.
    pub(super) fn block_place(&self, block: usize) -> Result<Range<u64>> {
        let start = self.block_offset(block)?;
        let next = block.saturating_add(1);
        let is_last = next >= self.index_layout.block_count();
        let end = if is_last { self.data_len } else { self.block_offset(next)? };
        Ok(start..end.max(start))
    }

    pub(super) fn verify_block(&self, block: &DataBlock<'_>, base: u64) -> Result<()> {
        mutant!(TrustBlocks, return Ok(()));
        if block.checksum_matches(self.file_id, base) {
            Ok(())
        } else {
            Err(self.corrupt(base, data_block::CHECKSUM.broken(0)))
        }
    }

    /// The value that a reference in the block at `base` speaks of, verified.
    #[cold]
    pub(super) fn long_value(&self, reference: &[u8], base: u64) -> Result<Slice<'_>> {
        let reference = ValueRef::read_from_bytes(reference).map_err(|_| {
            self.corrupt(base, data_block::VALUE_REF.found(0, 24, reference.len() as u64))
        })?;
        let start = self.long_value_start(&reference, base)?;
        if self.is_beyond_memory() {
            self.region.will_need(start..start + u64::from(reference.len.get()));
        }
        let value = self.region.read(start, reference.len.get() as usize)?;
        let verify = || {
            if reference.matches(&value, self.file_id) {
                Ok(())
            } else {
                Err(self.corrupt(start, table_file::VALUE_CHECKSUM.broken(0)))
            }
        };
        if self.data.is_some() {
            self.values_verified.check(reference.index.get() as usize, verify)?;
        } else if self.policy != ChecksumPolicy::Never {
            verify()?;
        }
        Ok(value)
    }

    /// Where the value of a reference starts in the file.
    pub(super) fn long_value_start(&self, reference: &ValueRef, base: u64) -> Result<u64> {
        let (offset, len) = (reference.offset.get(), u64::from(reference.len.get()));
        let inside = self.values.and_then(|(start, region_len)| {
            let end = offset.checked_add(len)?;
            (end <= region_len).then_some(start + offset)
        });
        inside.ok_or_else(|| self.corrupt(base, table_file::VALUE_BOUNDS.found(0, 0, offset)))
    }

    /// A value of this table as something that keeps the file mapped.
    pub(crate) fn share(&self, value: &[u8]) -> Bytes {
        self.region.share(value).unwrap_or_else(|| Bytes::copy_from_slice(value))
    }
}
