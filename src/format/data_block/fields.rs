//! Reading the optional columns of a row: seqno, kind and expiry.
//!
//! Each is left out where it would say the same of every row; then the answer costs a test of a bit.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{
    COLUMN_EXPIRY, COLUMN_KIND, COLUMN_SEQNO, CONSTANT, DataBlock, EXPIRY, KIND, KIND_OUT_OF_LINE,
    SEQNO,
};
use crate::format::error::FormatError;
use crate::format::row::{Kind, MAX_EXPIRY};

impl DataBlock<'_> {
    /// A number of a column that has a base and one delta a row.
    #[inline]
    pub(super) fn number(&self, column: u32, width: u8, row: u32) -> Option<(u64, u64)> {
        (row < self.layout.row_count).then_some(())?;
        let base = U64::read_from_bytes(self.part(column, 8)?).ok()?.get();
        let at = |len: u32| self.part(column.wrapping_add(8 + len * row), len);
        let delta = match width {
            0 => u64::from(*at(1)?.first()?),
            1 => u64::from(U16::read_from_bytes(at(2)?).ok()?.get()),
            2 => u64::from(U32::read_from_bytes(at(4)?).ok()?.get()),
            3 => U64::read_from_bytes(at(8)?).ok()?.get(),
            _ => 0,
        };
        Some((base, delta))
    }

    /// The seqno of `row`.
    ///
    /// # Errors
    ///
    /// Rule B18 if base and delta overflow, or the row is not one of the block's.
    #[inline]
    pub fn seqno(&self, row: u32) -> Result<u64, FormatError> {
        if self.layout.columns & COLUMN_SEQNO == 0 {
            return Ok(0);
        }
        self.number(self.layout.seqnos, self.layout.widths & 7, row)
            .and_then(|(base, delta)| base.checked_add(delta))
            .ok_or_else(|| SEQNO.broken(u64::from(self.layout.seqnos)))
    }

    /// The kind of `row`, and whether its value lies out of line.
    ///
    /// # Errors
    ///
    /// Rule B11 if the kind is not one of the format's, or the row is not one of the block's.
    #[inline]
    pub fn kind(&self, row: u32) -> Result<(Kind, bool), FormatError> {
        if self.layout.columns & COLUMN_KIND == 0 {
            return Ok((Kind::Put, false));
        }
        let column = self.part(self.layout.kinds, self.layout.row_count).unwrap_or_default();
        let byte = column.get(row as usize).copied().unwrap_or(u8::MAX);
        match Kind::from_u8(byte & !KIND_OUT_OF_LINE) {
            Some(kind) => Ok((kind, byte & KIND_OUT_OF_LINE != 0)),
            None => {
                Err(KIND.found(u64::from(self.layout.kinds) + u64::from(row), 0, u64::from(byte)))
            }
        }
    }

    /// When `row` expires, in seconds since 1970; 0 is never.
    ///
    /// # Errors
    ///
    /// Rule B17 if it is beyond the largest expiry, or the row is not one of the block's.
    #[inline]
    pub fn expires_at(&self, row: u32) -> Result<u64, FormatError> {
        if self.layout.columns & COLUMN_EXPIRY == 0 {
            return Ok(0);
        }
        let width = self.layout.widths >> 3;
        let expiry =
            self.number(self.layout.expiries, width, row).and_then(|(base, delta)| {
                match (width, delta) {
                    (CONSTANT, _) => Some(base),
                    (_, 0) => Some(0),
                    (_, delta) => base.checked_add(delta - 1),
                }
            });
        expiry
            .filter(|expiry| *expiry <= MAX_EXPIRY)
            .ok_or_else(|| EXPIRY.broken(u64::from(self.layout.expiries)))
    }
}
