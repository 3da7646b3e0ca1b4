//! The properties region: what a table knows of itself beyond what a lookup needs.
//!
//! Counts for statistics and checks, the key range, and which database wrote the table: with
//! these a manifest can be rebuilt from tables alone.
//!
//! Spec: `format-spec/03-table.md`, "Properties". I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{OPERATOR, PROPERTIES, RESERVED};
use crate::format::error::FormatError;

/// The first 128 bytes of the properties region; the two keys and the operator's name follow.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct PropertiesHeader {
    /// The database that wrote the table; 0 if none did.
    pub database_id: U64,
    /// The number in the file's name when it was written.
    pub file_number: U64,
    /// Different user keys.
    pub key_count: U64,
    /// Tombstones.
    pub delete_count: U64,
    /// Merge operands.
    pub merge_count: U64,
    /// Rows that expire.
    pub expiring_count: U64,
    /// Values out of line.
    pub reference_count: U64,
    /// Bytes of the keys of all rows.
    pub key_bytes: U64,
    /// Bytes of the values of all rows.
    pub value_bytes: U64,
    /// The earliest expiry of a row in seconds since 1970; 0 if none expires.
    pub min_expiry: U64,
    /// Data blocks.
    pub block_count: U32,
    /// Bytes of the merge operator's name; 0 for none.
    pub operator_len: U32,
    /// Bytes of the smallest user key.
    pub smallest_len: U16,
    /// Bytes of the largest user key.
    pub largest_len: U16,
    /// Range tombstones, as fragments.
    pub range_tombstone_count: U64,
    /// Zero.
    pub reserved: [U32; 7],
}

/// Bytes of a [`PropertiesHeader`].
const PROPERTIES_LEN: usize = 128;
const _: () = assert!(size_of::<PropertiesHeader>() == PROPERTIES_LEN, "03-table.md fixes this");

/// A properties region, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    /// The counts.
    pub header: &'a PropertiesHeader,
    /// The smallest user key.
    pub smallest_key: &'a [u8],
    /// The largest user key.
    pub largest_key: &'a [u8],
    /// The merge operator's name; empty for none.
    pub operator: &'a str,
}

impl<'a> Properties<'a> {
    /// Reads a properties region. O(1); checks no checksum.
    ///
    /// # Errors
    ///
    /// Rule T13 or T11, relative to the start of the region.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let broken = || PROPERTIES.found(0, PROPERTIES_LEN as u64, bytes.len() as u64);
        let (header, rest) = PropertiesHeader::ref_from_prefix(bytes).map_err(|_| broken())?;
        if header.reserved.iter().any(|word| word.get() != 0) {
            return Err(RESERVED.broken(100));
        }
        let smallest_len = usize::from(header.smallest_len.get());
        let largest_len = usize::from(header.largest_len.get());
        let (smallest_key, rest) = rest.split_at_checked(smallest_len).ok_or_else(broken)?;
        let (largest_key, operator) = rest.split_at_checked(largest_len).ok_or_else(broken)?;
        if operator.len() as u64 != u64::from(header.operator_len.get()) {
            return Err(PROPERTIES.found(
                84,
                operator.len() as u64,
                header.operator_len.get().into(),
            ));
        }
        let operator_at = PROPERTIES_LEN + smallest_len + largest_len;
        let operator = std::str::from_utf8(operator);
        let operator = operator.map_err(|_| OPERATOR.broken(operator_at as u64))?;
        Ok(Self { header, smallest_key, largest_key, operator })
    }

    /// The region's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.as_bytes().to_vec();
        for part in [self.smallest_key, self.largest_key, self.operator.as_bytes()] {
            out.extend_from_slice(part);
        }
        out
    }
}
