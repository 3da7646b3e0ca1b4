//! Reading a table block by block, to the heap.
//!
//! `ReadMode::Heap` never touches a map: each block is read by a system call, verified, and kept by
//! the value that points into it. `ReadMode::Guarded` copies blocks out of its map where more is
//! wanted of them than a row: a copy does not change, and is checked once.
//!
//! Spec: `format-spec/03-table.md`, "Point lookup". I/O: through a `Region`. Unsafe: none.

use bytes::Bytes;

use super::get::Found;
use super::reader::Table;
use crate::error::Result;
use crate::format::checksum::fingerprint;
use crate::format::data_block::{self, DataBlock, Layout};
use crate::options::ChecksumPolicy;
use crate::storage::Slice;

/// A block that was read to the heap, with its columns.
#[derive(Clone, Debug)]
pub(super) struct HeapBlock {
    pub(super) bytes: Bytes,
    pub(super) layout: Layout,
}

impl Table {
    /// A copy of a block, read and verified.
    pub(super) fn heap_block(&self, block: usize) -> Result<HeapBlock> {
        let offset = self.block_offset(block)?;
        let next = self.block_offset(block + 1)?.min(self.data_len);
        let base = self.data_offset + offset;
        let len = next.checked_sub(offset).filter(|len| *len <= data_block::MAX_BLOCK_LEN);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| {
            self.corrupt(base, data_block::LEN.found(8, data_block::MAX_BLOCK_LEN, next))
        })?;
        let bytes = match self.region.read(base, len)? {
            Slice::Owned(bytes) => bytes,
            Slice::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        };
        let parsed = DataBlock::parse(&bytes).map_err(|error| self.corrupt(base, error))?;
        if self.data.is_some() {
            let verified = self.verified_blocks();
            verified.check(block, || self.verify_block(&parsed, base))?;
        } else if self.policy != ChecksumPolicy::Never {
            self.verify_block(&parsed, base)?;
        }
        let layout = *parsed.layout();
        Ok(HeapBlock { bytes, layout })
    }

    #[cold]
    pub(super) fn get_from_heap(
        &self,
        mut block: usize,
        key: &[u8],
        hash: u64,
        seqno: u64,
    ) -> Result<Option<Found<'_>>> {
        loop {
            let base = self.data_offset + self.block_offset(block)?;
            let heap = self.heap_block(block)?;
            let parsed = DataBlock::with_layout(&heap.bytes, heap.layout);
            let broken = |error| self.corrupt(base, error);
            if let Some(row) = parsed.find(key, fingerprint(hash), seqno).map_err(broken)? {
                let (kind, out_of_line) = parsed.kind(row).map_err(broken)?;
                let range = parsed.value_range(row).map_err(broken)?;
                let value = if out_of_line {
                    self.long_value(parsed.value(row).map_err(broken)?, base)?
                } else {
                    Slice::Owned(heap.bytes.slice(range))
                };
                return Ok(Some(Found {
                    kind,
                    seqno: parsed.seqno(row).map_err(broken)?,
                    expires_at: parsed.expires_at(row).map_err(broken)?,
                    value,
                }));
            }
            block += 1;
            if !heap.layout.continues() || block >= self.index_layout.block_count() {
                return Ok(None);
            }
        }
    }
}
