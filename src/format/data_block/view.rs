//! Reading a block in place.
//!
//! [`Layout`] is where the columns are: a few numbers that are worked out and proved once per
//! block and can be kept without borrowing it. [`DataBlock`] is a layout with its bytes.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{
    BlockHeader, COLUMN_CONTINUES, COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, COLUMN_WIDE_OFFSETS,
    COLUMNS, COLUMNS_KNOWN, CONSTANT, FIT, HEADER, HEADER_LEN, KEY_OFFSET, LEN, MAX_BLOCK_LEN,
    ROWS, STRIDES, VALUE_OFFSET, VARIABLE_KEYS, VARIABLE_VALUES, WIDTHS, round_up,
};
use crate::format::error::FormatError;

/// Where the columns of a block are, in bytes from its start.
///
/// Every position was checked to lie within `block_len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) block_len: u32,
    pub(super) row_count: u32,
    pub(super) prefix_len: u32,
    pub(super) key_offsets: u32,
    pub(super) value_offsets: u32,
    pub(super) prefix: u32,
    pub(super) seqnos: u32,
    pub(super) kinds: u32,
    pub(super) expiries: u32,
    pub(super) keys: u32,
    pub(super) key_heap_len: u32,
    pub(super) values: u32,
    pub(super) value_heap_len: u32,
    pub(super) value_stride: u32,
    pub(super) key_stride: u16,
    pub(super) columns: u8,
    pub(super) widths: u8,
}

/// The bytes that a column of one number per row takes.
fn column_len(width: u8, row_count: u64) -> u64 {
    8 + if width == CONSTANT { 0 } else { row_count << width }
}

impl Layout {
    /// Works out the columns of the block whose header is `header`, in O(1).
    ///
    /// # Errors
    ///
    /// The rule of chapter 04 that the header breaks.
    pub fn of(header: &BlockHeader) -> Result<Self, FormatError> {
        let block_len = u64::from(header.block_len.get());
        if block_len < 64 || !block_len.is_multiple_of(64) || block_len > MAX_BLOCK_LEN {
            return Err(LEN.found(8, 64, block_len));
        }
        let row_count = u64::from(header.row_count.get());
        if row_count == 0 {
            return Err(ROWS.broken(12));
        }
        let columns = header.columns;
        if columns & !COLUMNS_KNOWN != 0 {
            return Err(COLUMNS.found(30, 0, u64::from(columns & !COLUMNS_KNOWN)));
        }
        let (seqno_width, expiry_width) = (header.widths & 7, (header.widths >> 3) & 7);
        for (width, column) in [(seqno_width, COLUMN_SEQNO), (expiry_width, COLUMN_EXPIRY)] {
            let legal = width <= 3 || width == CONSTANT;
            if !legal || (columns & column == 0 && width != 0) || header.widths > 63 {
                return Err(WIDTHS.found(31, 0, u64::from(header.widths)));
            }
        }
        let (layout, end) = Self::place(header);
        if end > block_len {
            return Err(FIT.found(8, end, block_len));
        }
        let key_heap_len = u64::from(header.key_heap_len.get());
        let keys_len = row_count * u64::from(header.key_stride.get());
        if header.key_stride.get() != VARIABLE_KEYS && keys_len != key_heap_len {
            return Err(STRIDES.found(16, keys_len, key_heap_len));
        }
        let value_heap_len = u64::from(header.value_heap_len.get());
        let values_len = row_count * u64::from(header.value_stride.get());
        if header.value_stride.get() != VARIABLE_VALUES && values_len != value_heap_len {
            return Err(STRIDES.found(20, values_len, value_heap_len));
        }
        Ok(layout)
    }

    /// Places the columns one behind the other, and says where the last one ends. No sum
    /// overflows: each term is below 2^36. Of a legal header all positions are below
    /// `MAX_BLOCK_LEN`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "so are those of a legal header")]
    fn place(header: &BlockHeader) -> (Self, u64) {
        let row_count = u64::from(header.row_count.get());
        let (seqno_width, expiry_width) = (header.widths & 7, (header.widths >> 3) & 7);
        let columns = header.columns;
        let key_heap_len = u64::from(header.key_heap_len.get());
        let value_heap_len = u64::from(header.value_heap_len.get());
        let key_stride = header.key_stride.get();
        let value_stride = header.value_stride.get();
        let offsets_len = (row_count + 1) << if columns & COLUMN_WIDE_OFFSETS == 0 { 1 } else { 2 };

        let key_offsets = HEADER_LEN as u64 + round_up(row_count, 16);
        let value_offsets = key_offsets + if key_stride == VARIABLE_KEYS { offsets_len } else { 0 };
        let prefix = value_offsets + if value_stride == VARIABLE_VALUES { offsets_len } else { 0 };
        let seqnos = prefix + u64::from(header.prefix_len.get());
        let has = |column| columns & column != 0;
        let kinds = seqnos + if has(COLUMN_SEQNO) { column_len(seqno_width, row_count) } else { 0 };
        let expiries = kinds + if has(COLUMN_KIND) { row_count } else { 0 };
        let keys =
            expiries + if has(COLUMN_EXPIRY) { column_len(expiry_width, row_count) } else { 0 };
        let values = keys + key_heap_len;
        let end = values + value_heap_len;
        let layout = Self {
            block_len: header.block_len.get(),
            row_count: row_count as u32,
            prefix_len: u32::from(header.prefix_len.get()),
            key_offsets: key_offsets as u32,
            value_offsets: value_offsets as u32,
            prefix: prefix as u32,
            seqnos: seqnos as u32,
            kinds: kinds as u32,
            expiries: expiries as u32,
            keys: keys as u32,
            key_heap_len: key_heap_len as u32,
            values: values as u32,
            value_heap_len: value_heap_len as u32,
            value_stride,
            key_stride,
            columns,
            widths: header.widths,
        };
        (layout, end)
    }

    /// Bytes of the block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.block_len as usize
    }

    /// Rows in the block; at least one.
    #[inline]
    #[must_use]
    pub fn row_count(&self) -> u32 {
        self.row_count
    }

    /// Where the shared prefix of all keys starts, in bytes from the start of the block.
    #[inline]
    #[must_use]
    pub fn prefix_start(&self) -> usize {
        self.prefix as usize
    }

    /// Bytes that all keys of the block start with.
    #[inline]
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        self.prefix_len as usize
    }

    /// Whether the next block goes on with the last user key of this one.
    #[inline]
    #[must_use]
    pub fn continues(&self) -> bool {
        self.columns & COLUMN_CONTINUES != 0
    }
}

/// One block, read in place.
#[derive(Clone, Copy, Debug)]
pub struct DataBlock<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) layout: Layout,
}

impl<'a> DataBlock<'a> {
    /// Finds the columns of the block that `bytes` start with. O(1); checks no checksum.
    ///
    /// # Errors
    ///
    /// The rule of chapter 04 that the header breaks.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((header, _)) = BlockHeader::ref_from_prefix(bytes) else {
            return Err(HEADER.found(0, HEADER_LEN as u64, bytes.len() as u64));
        };
        let layout = Layout::of(header)?;
        match bytes.get(..layout.block_len()) {
            Some(bytes) => Ok(Self { bytes, layout }),
            None => Err(LEN.found(8, layout.block_len() as u64, bytes.len() as u64)),
        }
    }

    /// As [`parse`](Self::parse), for a block that it took before: leaves out the checks.
    ///
    /// With other bytes, rows read as errors or as nonsense, but never out of bounds: that is why
    /// sums of positions wrap. `None` if there are too few bytes for a header.
    #[inline]
    #[must_use]
    pub fn parse_again(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = BlockHeader::ref_from_prefix(bytes).ok()?;
        Some(Self { bytes, layout: Layout::place(header).0 })
    }

    /// Puts a layout that [`parse`](Self::parse) worked out back onto the bytes of its block.
    ///
    /// With other bytes, rows read as errors or as nonsense, but never out of bounds.
    #[inline]
    #[must_use]
    pub fn with_layout(bytes: &'a [u8], layout: Layout) -> Self {
        Self { bytes, layout }
    }

    /// Whether the checksum holds for a block at `offset` of the file `file_id`. O(block).
    #[must_use]
    pub fn checksum_matches(&self, file_id: u64, offset: u64) -> bool {
        let Some((head, body)) = self.bytes.split_at_checked(8) else { return false };
        let stored = U64::read_from_bytes(head).map_or(0, U64::get);
        let seed = mutant!(UnboundBlocks, 0, else file_id ^ offset);
        crate::format::checksum::matches(body, seed, stored)
    }

    /// The bytes of the block.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the columns are.
    #[inline]
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    pub(super) fn part(&self, start: u32, len: u32) -> Option<&'a [u8]> {
        self.bytes.get(start as usize..start as usize + len as usize)
    }

    #[inline]
    fn offset(&self, column: u32, row: u32) -> Option<u32> {
        if self.layout.columns & COLUMN_WIDE_OFFSETS == 0 {
            let bytes = self.part(column.wrapping_add(2 * row), 2)?;
            Some(u32::from(U16::read_from_bytes(bytes).ok()?.get()))
        } else {
            let bytes = self.part(column.wrapping_add(4 * row), 4)?;
            Some(U32::read_from_bytes(bytes).ok()?.get())
        }
    }

    #[inline]
    pub(super) fn suffix_range(&self, row: u32) -> Option<(u32, u32)> {
        let layout = &self.layout;
        if layout.key_stride == VARIABLE_KEYS {
            let start = self.offset(layout.key_offsets, row)?;
            let end = self.offset(layout.key_offsets, row + 1)?;
            (start <= end && end <= layout.key_heap_len).then_some((start, end))
        } else {
            let start = row.checked_mul(u32::from(layout.key_stride))?;
            Some((start, start + u32::from(layout.key_stride)))
        }
    }

    /// Where the suffix of `row` starts and ends in the key heap.
    pub(super) fn suffix_ends(&self, row: u32) -> Result<(u32, u32), FormatError> {
        self.suffix_range(row).ok_or_else(|| KEY_OFFSET.broken(u64::from(self.layout.key_offsets)))
    }

    /// The bytes that every key of the block starts with.
    #[inline]
    #[must_use]
    pub fn prefix(&self) -> &'a [u8] {
        self.part(self.layout.prefix, self.layout.prefix_len).unwrap_or_default()
    }

    /// The rest of the key of `row`, after the [`prefix`](Self::prefix).
    ///
    /// # Errors
    ///
    /// Rule B9 if an offset is wrong, or the row is not one of the block's.
    #[inline]
    pub fn suffix(&self, row: u32) -> Result<&'a [u8], FormatError> {
        let found = (row < self.layout.row_count).then(|| {
            let (start, end) = self.suffix_range(row)?;
            self.part(self.layout.keys.wrapping_add(start), end - start)
        });
        found.flatten().ok_or_else(|| KEY_OFFSET.broken(u64::from(self.layout.key_offsets)))
    }

    /// Where the value of `row` is, in bytes from the start of the block.
    ///
    /// # Errors
    ///
    /// Rule B10 if an offset is wrong, or the row is not one of the block's.
    #[inline]
    pub fn value_range(&self, row: u32) -> Result<Range<usize>, FormatError> {
        let layout = &self.layout;
        let found = (row < layout.row_count).then(|| {
            let (start, end) = if layout.value_stride == VARIABLE_VALUES {
                let start = self.offset(layout.value_offsets, row)?;
                (start, self.offset(layout.value_offsets, row + 1)?)
            } else {
                let start = row.checked_mul(layout.value_stride)?;
                (start, start.checked_add(layout.value_stride)?)
            };
            let inside = start <= end && end <= layout.value_heap_len;
            let at = |offset| layout.values.wrapping_add(offset) as usize;
            inside.then(|| at(start)..at(end))
        });
        found.flatten().ok_or_else(|| VALUE_OFFSET.broken(u64::from(layout.value_offsets)))
    }

    /// The value of `row` as it stands in the block: for a value out of line, its reference.
    ///
    /// # Errors
    ///
    /// As [`value_range`](Self::value_range).
    #[inline]
    pub fn value(&self, row: u32) -> Result<&'a [u8], FormatError> {
        let range = self.value_range(row)?;
        let at = u64::from(self.layout.value_offsets);
        self.bytes.get(range).ok_or_else(|| VALUE_OFFSET.broken(at))
    }
}
