//! The header of a log's record, as a writer makes it.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::{KIND_BATCH, KIND_SEAL, RECORD_ALIGN, RECORD_HEADER_LEN, RecordHeader};
use crate::format::checksum::{checksum, matches};

/// The header of a record at `offset` whose `payload` is `op_count` operations.
///
/// `seed` is the log's; the log is durable up to `synced_upto`. Behind the payload stand
/// [`pad_len`] zeros.
#[must_use]
pub fn batch_header(
    seed: u64,
    offset: u64,
    payload: &[u8],
    first_seqno: u64,
    op_count: u32,
    synced_upto: u64,
) -> RecordHeader {
    let header = RecordHeader {
        header_checksum: U64::ZERO,
        payload_checksum: checksum(payload, seed ^ offset).into(),
        payload_len: (payload.len() as u64).into(),
        first_seqno: first_seqno.into(),
        synced_upto: synced_upto.into(),
        op_count: op_count.into(),
        kind: KIND_BATCH,
        reserved: [0; 3],
    };
    header.sealed(seed ^ offset)
}

/// The record at `offset` that ends a log: all before it is durable, and it holds all seqnos
/// below `next_seqno` that it will ever hold.
#[must_use]
pub fn seal_header(seed: u64, offset: u64, next_seqno: u64) -> RecordHeader {
    let empty = batch_header(seed, offset, &[], next_seqno, 0, offset);
    RecordHeader { kind: KIND_SEAL, ..empty }.sealed(seed ^ offset)
}

/// How many zeros follow a payload.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below 8")]
pub const fn pad_len(payload_len: u64) -> usize {
    (payload_len.wrapping_neg() % RECORD_ALIGN as u64) as usize
}

/// Length of a record with header and padding; `None` if no file can hold it.
#[must_use]
pub fn record_len(payload_len: u64) -> Option<u64> {
    payload_len.checked_next_multiple_of(RECORD_ALIGN as u64)?.checked_add(RECORD_HEADER_LEN as u64)
}

impl RecordHeader {
    /// With the right checksum.
    fn sealed(mut self, seed: u64) -> Self {
        self.header_checksum = checksum(self.checked_bytes(), seed).into();
        self
    }

    /// Whether its checksum is right for a record whose seed this is.
    pub(super) fn verifies(&self, seed: u64) -> bool {
        matches(self.checked_bytes(), seed, self.header_checksum.get())
    }

    /// Whether kind and counts go together.
    pub(super) fn has_valid_kind(&self) -> bool {
        let has_ops = self.op_count.get() > 0;
        match self.kind {
            KIND_BATCH => has_ops,
            KIND_SEAL => !has_ops && self.payload_len.get() == 0,
            _ => false,
        }
    }

    /// The bytes that its checksum covers.
    fn checked_bytes(&self) -> &[u8] {
        self.as_bytes().get(size_of::<U64>()..).unwrap_or_default()
    }
}
