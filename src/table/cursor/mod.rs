//! Walking a table: a block at a time, a row at a time, both ways.
//!
//! The cursor keeps the columns of its block and the key of its row; the key's prefix stays in the
//! buffer while the block lasts, so a step copies the suffix alone. In a plain block, one without
//! kinds and expiries, that and finding the value is all that a step does. While the rows of a block are
//! walked, the lines of the next one are asked for, a few with each row: columns that lie apart
//! would otherwise each wait for memory.
//!
//! # Invariants
//!
//! - A value out of line is verified when the cursor moves onto its row, so `value` can't fail.
//!
//! Spec: `format-spec/03-table.md`, "Scan". I/O: through a `Region`. Unsafe: none.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::reader::Table;
use crate::cpu::prefetch;
use crate::error::Result;
use crate::format::data_block::{DataBlock, Layout};
use crate::format::row::Kind;
use crate::storage::Slice;

mod key;
mod rows;

use key::KeyBuffer;

/// Where the bytes of the current block are.
#[derive(Clone, Debug)]
enum Block {
    /// The cursor is off its rows.
    None,
    /// In the map, from this offset of the data region.
    Mapped(usize),
    /// Read to the heap.
    Heap(Bytes),
}

/// Where the value of the current row is.
#[derive(Clone, Debug)]
enum ValueAt {
    /// In the block.
    Block(Range<usize>),
    /// In the mapped file, out of line.
    File(Range<usize>),
    /// Out of line, read to the heap.
    Heap(Bytes),
}

/// Which way the cursor goes: prefetching goes ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// A position in a table.
#[derive(Clone, Debug)]
pub(crate) struct TableCursor {
    table: Arc<Table>,
    block: Block,
    block_index: usize,
    /// Where the block starts in the file.
    base: u64,
    layout: Option<Layout>,
    /// Whether rows of the block are a key, a seqno and a value, and the seqno is read on demand.
    is_plain: bool,
    row: u32,
    key: KeyBuffer,
    seqno: u64,
    kind: Kind,
    expires_at: u64,
    value: ValueAt,
    direction: Direction,
    /// What of the neighbouring block is still to be asked for, in bytes of the data region.
    ahead: Range<usize>,
    /// Bytes to ask for with each row.
    ahead_step: usize,
}

impl TableCursor {
    /// A cursor off its rows.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            block: Block::None,
            block_index: 0,
            base: 0,
            layout: None,
            is_plain: false,
            row: 0,
            key: KeyBuffer::default(),
            seqno: 0,
            kind: Kind::Put,
            expires_at: 0,
            value: ValueAt::Block(0..0),
            direction: Direction::Forward,
            ahead: 0..0,
            ahead_step: 0,
        }
    }

    fn block_count(&self) -> usize {
        self.table.index_layout.block_count()
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        bytes_of(&self.table, &self.block)
    }

    #[inline]
    fn view(&self) -> Option<DataBlock<'_>> {
        self.layout.map(|layout| DataBlock::with_layout(self.bytes(), layout))
    }

    fn leave(&mut self) {
        self.block = Block::None;
        self.layout = None;
        self.is_plain = false;
        self.key.clear();
        self.seqno = 0;
        self.kind = Kind::Put;
        self.expires_at = 0;
        self.value = ValueAt::Block(0..0);
    }

    /// Enters a block, on no row yet.
    fn enter(&mut self, block_index: usize) -> Result<()> {
        let offset = self.table.block_offset(block_index)?;
        self.base = self.table.data_offset + offset;
        self.block_index = block_index;
        let layout = if self.table.data().is_some() {
            let layout = *self.table.mapped_block(block_index)?.layout();
            self.block = Block::Mapped(usize::try_from(offset).unwrap_or(usize::MAX));
            layout
        } else {
            let heap = self.table.heap_block(block_index)?;
            self.block = Block::Heap(heap.bytes);
            heap.layout
        };
        self.layout = Some(layout);
        self.plan_ahead(layout);
        let Self { table, block, key, is_plain, .. } = self;
        let view = DataBlock::with_layout(bytes_of(table, block), layout);
        *is_plain = view.is_plain();
        key.set_prefix(view.prefix());
        Ok(())
    }

    /// Spreads the lines of the neighbouring block over the rows of this one.
    fn plan_ahead(&mut self, layout: Layout) {
        let block_len = layout.block_len();
        self.ahead = match (&self.block, self.direction) {
            (Block::Mapped(start), Direction::Forward) => {
                // Slots are a little longer than their blocks: the estimate need not be exact.
                let next = self.table.index_layout.block_size();
                let next = start + next.map_or(block_len, |slot| slot as usize);
                next..next + block_len
            }
            (Block::Mapped(start), Direction::Backward) => {
                let slot = self.table.index_layout.block_size();
                let slot = slot.map_or(block_len, |slot| slot as usize);
                let before = start.saturating_sub(slot);
                before..before + block_len.min(*start)
            }
            _ => 0..0,
        };
        let lines = block_len.div_ceil(64);
        self.ahead_step = 64 * lines.div_ceil(layout.row_count().max(1) as usize);
    }

    #[inline]
    fn prefetch_ahead(&mut self) {
        let Some(data) = self.table.data() else { return };
        let end = (self.ahead.start + self.ahead_step).min(self.ahead.end);
        while self.ahead.start < end {
            prefetch(data, self.ahead.start);
            self.ahead.start += 64;
        }
    }

    /// Moves onto a row of the current block and reads what every caller wants of it.
    #[inline]
    fn settle(&mut self, row: u32) -> Result<()> {
        let settled = self.try_settle(row);
        if settled.is_err() {
            self.leave();
        }
        settled
    }

    #[inline]
    fn try_settle(&mut self, row: u32) -> Result<()> {
        self.prefetch_ahead();
        let Self { table, block, layout: Some(layout), key, .. } = self else { return Ok(()) };
        let bytes = bytes_of(table, block);
        let view = DataBlock::with_layout(bytes, *layout);
        if self.is_plain
            && let Some((suffix, value)) = view.plain_row(row)
            && let Some(()) = key.set_suffix(bytes, suffix)
        {
            self.row = row;
            self.value = ValueAt::Block(value);
            return Ok(());
        }
        self.settle_slowly(row)
    }

    /// Moves onto a row of a block that has kinds or expiries, or that is broken.
    #[inline(never)]
    fn settle_slowly(&mut self, row: u32) -> Result<()> {
        let Self { table, block, layout: Some(layout), key, .. } = self else { return Ok(()) };
        let bytes = bytes_of(table, block);
        let view = DataBlock::with_layout(bytes, *layout);
        let mut read = || {
            key.set_long_suffix(view.suffix(row)?);
            let (kind, out_of_line) = view.kind(row)?;
            Ok((kind, out_of_line, view.seqno(row)?, view.expires_at(row)?, view.value_range(row)?))
        };
        let (kind, out_of_line, seqno, expires_at, range) = match read() {
            Ok(row) => row,
            Err(error) => return Err(table.corrupt(self.base, error)),
        };
        self.value = if out_of_line { self.long_value(range)? } else { ValueAt::Block(range) };
        self.row = row;
        self.kind = kind;
        self.seqno = seqno;
        self.expires_at = expires_at;
        Ok(())
    }

    #[cold]
    fn long_value(&self, reference: Range<usize>) -> Result<ValueAt> {
        let reference = self.bytes().get(reference).unwrap_or_default();
        Ok(match self.table.long_value(reference, self.base)? {
            Slice::Owned(bytes) => ValueAt::Heap(bytes),
            Slice::Borrowed(bytes) => {
                let file = self.table.region.bytes().unwrap_or_default();
                let start = bytes.as_ptr().addr().saturating_sub(file.as_ptr().addr());
                ValueAt::File(start..start + bytes.len())
            }
        })
    }

    /// Enters the next block on its first row, or leaves the table.
    fn next_block(&mut self) -> Result<()> {
        let next = self.block_index + 1;
        if next >= self.block_count() {
            self.leave();
            return Ok(());
        }
        self.direction = Direction::Forward;
        self.go_to(next, |_| 0)
    }

    /// Enters the block before on its last row, or leaves the table.
    fn prev_block(&mut self) -> Result<()> {
        let Some(before) = self.block_index.checked_sub(1) else {
            self.leave();
            return Ok(());
        };
        self.direction = Direction::Backward;
        self.go_to(before, |layout| layout.row_count().saturating_sub(1))
    }

    fn go_to(&mut self, block: usize, row: impl FnOnce(&Layout) -> u32) -> Result<()> {
        if let Err(error) = self.enter(block) {
            self.leave();
            return Err(error);
        }
        let row = self.layout.as_ref().map_or(0, row);
        self.settle(row)
    }

    /// The first row at or after the internal key, from `block` on.
    fn seek_from(&mut self, block: usize, key: &[u8], seqno: u64) -> Result<()> {
        self.direction = Direction::Forward;
        self.enter(block)?;
        loop {
            let Some(view) = self.view() else { return Ok(()) };
            let (row_count, continues) = (view.layout().row_count(), view.layout().continues());
            let bound = view.lower_bound(key, seqno);
            let row = bound.map_err(|error| self.table.corrupt(self.base, error))?;
            if row < row_count {
                return self.settle(row);
            }
            if !continues {
                return self.next_block();
            }
            // The key's versions go on in the next block: search there too.
            if self.block_index + 1 >= self.block_count() {
                self.leave();
                return Ok(());
            }
            self.enter(self.block_index + 1)?;
        }
    }
}

/// The bytes of a block, and what follows them in the map.
#[inline]
fn bytes_of<'b>(table: &'b Table, block: &'b Block) -> &'b [u8] {
    match block {
        Block::None => &[],
        Block::Mapped(start) => {
            table.data().and_then(|data| data.get(*start..)).unwrap_or_default()
        }
        Block::Heap(bytes) => bytes,
    }
}
