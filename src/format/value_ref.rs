//! The value reference: what stands in a block for a value that is kept out of line.
//!
//! A long value would fill a block and push keys apart, so it lies in the table's value region
//! and the block keeps these 24 bytes.
//!
//! # Invariants
//!
//! - `offset` is relative to the value region, so a writer that streams blocks knows it.
//! - References of a table are numbered from 0 in row order: a reader keeps one bit for each to
//!   remember that the value's checksum held.
//!
//! Spec: `format-spec/03-table.md`, "Value region". I/O: none. Unsafe: none.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::checksum;

/// Where a value that is out of line lies, and how to check it.
///
/// ```text
///  0        8     12      16         24
///  │ offset │ len │ index │ checksum │
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ValueRef {
    /// Bytes from the start of the value region; a multiple of 64.
    pub offset: U64,
    /// Length of the value in bytes.
    pub len: U32,
    /// The number of this reference in its table, from 0 in row order.
    pub index: U32,
    /// XXH3 of the value, seeded with `file_id ^ offset`.
    pub checksum: U64,
}

/// Values start at multiples of this in the value region.
pub const VALUE_ALIGN: u64 = 64;
/// Bytes of a [`ValueRef`].
pub const VALUE_REF_LEN: usize = 24;
const _: () = assert!(size_of::<ValueRef>() == VALUE_REF_LEN, "03-table.md fixes this size");

impl ValueRef {
    /// The reference number `index` to `value`, which stands at `offset` of the value region.
    #[must_use]
    pub fn new(value: &[u8], offset: u64, index: u32, file_id: u64) -> Self {
        Self {
            offset: U64::new(offset),
            len: U32::new(u32::try_from(value.len()).unwrap_or(u32::MAX)),
            index: U32::new(index),
            checksum: U64::new(checksum::checksum(value, file_id ^ offset)),
        }
    }

    /// Whether `value` is what the reference speaks of.
    #[must_use]
    pub fn matches(&self, value: &[u8], file_id: u64) -> bool {
        checksum::matches(value, file_id ^ self.offset.get(), self.checksum.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stands_byte_for_byte() {
        let reference = ValueRef::new(b"value", 0x40, 3, 9);
        let sum = checksum::checksum(b"value", 9 ^ 0x40);
        let mut want = vec![0x40, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0];
        want.extend_from_slice(U64::new(sum).as_bytes());
        assert_eq!(reference.as_bytes(), want);
        assert_eq!(ValueRef::read_from_bytes(&want), Ok(reference));
    }

    #[test]
    fn a_reference_knows_its_value() {
        let value = vec![7; 3000];
        let reference = ValueRef::new(&value, 640, 0, 9);
        assert!(reference.matches(&value, 9));
        assert!(!reference.matches(&value, 8), "a value of another file");
        let elsewhere = ValueRef { offset: U64::new(704), ..reference };
        assert!(!elsewhere.matches(&value, 9), "a value in another place");
        for at in (0..value.len()).step_by(if cfg!(miri) { 599 } else { 1 }) {
            let mut flipped = value.clone();
            flipped[at] ^= 1;
            assert!(!reference.matches(&flipped, 9), "byte {at}");
            assert!(!reference.matches(&value[..at], 9), "cut to {at} bytes");
        }
    }
}
