//! Salvage: the rows of a damaged table that can still be read.
//!
//! A block verifies by itself, and so does a long value: damage in one says nothing of the others. The
//! filter is not asked, and of the index only where the blocks are.
//!
//! Spec: `format-spec/03-table.md`. I/O: through a `Region`. Unsafe: none.

use super::reader::Table;
use crate::error::Result;
use crate::format::data_block::DataBlock;
use crate::format::row::{Row, compare};
use crate::storage::Slice;

/// What could be read of a table, and what could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvage {
    /// How many rows were read.
    pub(crate) row_count: u64,
    /// How many rows the table says that it has.
    pub(crate) expected: u64,
    /// The key before the first row that could not be read; `None` if there is none.
    pub(crate) after: Option<Vec<u8>>,
    /// The key behind the last one; `None` if there is none.
    pub(crate) before: Option<Vec<u8>>,
    /// Whether something could not be read.
    is_broken: bool,
    /// Whether no row was read since.
    is_open: bool,
    /// The last row that was read.
    last: Option<(Vec<u8>, u64)>,
}

impl Table {
    /// Hands every row that can be read to `take`, in order. O(file).
    ///
    /// # Errors
    ///
    /// Those of `take`; damage is in what is returned.
    pub(crate) fn salvage(&self, mut take: impl FnMut(&Row<'_>) -> Result<()>) -> Result<Salvage> {
        let expected = self.frame.footer.row_count.get();
        let mut salvage = Salvage { expected, ..Salvage::default() };
        for block in 0..self.index_layout.block_count() {
            self.salvage_block(block, &mut salvage, &mut take)?;
        }
        Ok(salvage)
    }

    fn salvage_block(
        &self,
        block: usize,
        salvage: &mut Salvage,
        take: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let (Ok(offset), Ok(heap)) = (self.block_offset(block), self.heap_block(block)) else {
            salvage.note_loss();
            return Ok(());
        };
        let rows = DataBlock::with_layout(&heap.bytes, heap.layout);
        let mut key = Vec::new();
        for row in 0..heap.layout.row_count() {
            match self.salvage_row(&rows, self.data_offset + offset, row, &mut key) {
                Ok((read, value)) => {
                    let row = Row { key: &key, value: &value, ..read };
                    if salvage.note(&row) {
                        take(&row)?;
                    }
                }
                Err(_) => salvage.note_loss(),
            }
        }
        Ok(())
    }

    /// One row of a block at `base`, whose key goes into a buffer.
    fn salvage_row<'b>(
        &'b self,
        rows: &DataBlock<'b>,
        base: u64,
        row: u32,
        key: &mut Vec<u8>,
    ) -> Result<(Row<'static>, Slice<'b>)> {
        let broken = |error| self.corrupt(base, error);
        rows.read_key(row, key).map_err(broken)?;
        let (kind, out_of_line) = rows.kind(row).map_err(broken)?;
        let (seqno, expires_at) = (rows.seqno(row), rows.expires_at(row));
        let (seqno, expires_at) = (seqno.map_err(broken)?, expires_at.map_err(broken)?);
        let value = rows.value(row).map_err(broken)?;
        let value =
            if out_of_line { self.long_value(value, base)? } else { Slice::Borrowed(value) };
        Ok((Row { key: &[], seqno, kind, expires_at, value: &[] }, value))
    }
}

impl Salvage {
    /// Counts a row, unless it is not where it belongs.
    fn note(&mut self, row: &Row<'_>) -> bool {
        let is_next = self
            .last
            .as_ref()
            .is_none_or(|(key, seqno)| compare(key, *seqno, row.key, row.seqno).is_lt());
        if !is_next {
            self.note_loss();
            return false;
        }
        let (key, seqno) = self.last.get_or_insert_default();
        key.clear();
        key.extend_from_slice(row.key);
        *seqno = row.seqno;
        self.row_count += 1;
        if std::mem::take(&mut self.is_open) {
            self.before = Some(row.key.to_vec());
        }
        true
    }

    fn note_loss(&mut self) {
        if !self.is_broken {
            self.after = self.last.as_ref().map(|(key, _)| key.clone());
        }
        (self.is_broken, self.is_open) = (true, true);
        self.before = None;
    }
}
