//! The log: what was written since the tables were, one record an atomic batch.
//!
//! ```text
//!  0        128                    records, each at a multiple of 8
//!  │ header │ merge operator, pad │ header 48 │ payload, pad │ header 48 │ payload, pad │ … 0 0 0
//! ```
//!
//! A log is the one file that grows under its own name, so a crash may leave any part of what was
//! not synced. Three things tell what a reader then sees:
//!
//! - Zeros are the clean end. The file is filled with them ahead of the records.
//! - A record whose checksums do not match ends the log; what follows it is dropped, even if it
//!   is whole, because sectors reach a disk in any order.
//! - Unless a record behind it proves otherwise: each header says up to where the log was durable
//!   when the record was written. A bad record below such an offset was once whole. That is no
//!   crash, that is damage, and acknowledged writes are gone.
//!
//! # Invariants
//!
//! - A checksum's seed is made of the database's identity, the log's number and the record's
//!   offset, so no other bytes verify there: no older log, no other log, no user's value.
//! - `synced_upto` is the end of a record, at most the offset of the record that says it, and
//!   above 0 only if all logs before this one are whole.
//! - Seqnos ascend; operation `i` of a record has its first seqno plus `i`.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::checksum;
use super::error::rules;
use super::preamble::Preamble;

mod header;
mod reader;
mod record;

pub use header::LogInfo;
pub use reader::{LogEnd, LogReader, Record};
pub use record::{batch_header, pad_len, record_len, seal_header};

rules! {
    RULES:
    HEADER_LEN = "L1", "a log has a header of 128 bytes and behind it the merge operator's name";
    HEADER_MAGIC = "L2", "the file starts with the magic TINYLOG and the byte 1";
    HEADER_CHECKSUM = "L3", "the file header's checksum is that of its first 120 bytes";
    OPERATOR_CHECKSUM = "L4", "operator_checksum is that of the bytes between header and records";
    RESERVED = "L5", "reserved bytes and padding are zero";
    OPERATOR = "L6", "the merge operator's name is UTF-8";
    IDENTITY = "L7", "the log has the number of its name and the identity of its database";
    RECORD_BOUNDS = "L8", "a record lies in the file";
    RECORD_CHECKSUM = "L9", "a record header's checksum is that of its other 40 bytes";
    PAYLOAD_CHECKSUM = "L10", "payload_checksum is that of the payload";
    KIND = "L11", "a record is a batch of at least one operation, or a seal without payload";
    SEQNOS = "L12", "a record's seqnos are at least the header's first_seqno, lie above those of the records before it in its log, and fit 64 bits";
    SYNCED = "L13", "synced_upto is at most the record's own offset";
    END = "L14", "only zeros follow the last record";
    SEAL = "L15", "no batch is missing behind a log that ends clean, if a later log has a synced_upto above 0";
}

/// The first bytes of a log.
pub const MAGIC: [u8; 8] = *b"TINYLOG\x01";
/// Length of [`LogHeader`].
pub const LOG_HEADER_LEN: usize = size_of::<LogHeader>();
/// Length of [`RecordHeader`].
pub const RECORD_HEADER_LEN: usize = size_of::<RecordHeader>();
/// Records start at multiples of this.
pub const RECORD_ALIGN: usize = 8;
/// The kind of a record that holds operations.
pub const KIND_BATCH: u8 = 1;
/// The kind of a record that ends its log.
pub const KIND_SEAL: u8 = 2;

const CHECKSUM_OFFSET: usize = 120;

/// The first 128 bytes of a log.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LogHeader {
    /// What the file is, and who can read it.
    pub preamble: Preamble,
    /// Length of the merge operator's name; 0 if there is none.
    pub operator_len: U32,
    /// The number in this file's name.
    pub log_number: U64,
    /// The database's identity.
    pub database_id: U64,
    /// The seed of the hashes of keys, for a repair without a manifest.
    pub hash_seed: U64,
    /// The newest manifest when this log was made.
    pub manifest_number: U64,
    /// The log before this one that was still needed then; 0 if there was none.
    pub previous_log: U64,
    /// No record has a smaller seqno.
    pub first_seqno: U64,
    /// Zero.
    pub reserved: [u8; 40],
    /// The checksum of the bytes between header and records: the name and its padding.
    pub operator_checksum: U64,
    /// The checksum of the bytes before this field.
    pub checksum: U64,
}

const _: () = assert!(LOG_HEADER_LEN == 128, "format-spec/07-log.md fixes this size");

/// The first 48 bytes of a record.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RecordHeader {
    /// The checksum of the other 40 bytes of this header.
    pub header_checksum: U64,
    /// The checksum of the payload.
    pub payload_checksum: U64,
    /// Length of the payload; zeros follow it up to a multiple of 8.
    pub payload_len: U64,
    /// The seqno of the first operation; in a seal, the first seqno that the log does not hold.
    pub first_seqno: U64,
    /// Up to here this log was durable when the record was written.
    pub synced_upto: U64,
    /// How many operations the payload holds.
    pub op_count: U32,
    /// [`KIND_BATCH`] or [`KIND_SEAL`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(RECORD_HEADER_LEN == 48, "format-spec/07-log.md fixes this size");

/// What the checksums of a log are seeded with; each adds its record's offset by exclusive or.
#[must_use]
pub fn log_seed(database_id: u64, log_number: u64) -> u64 {
    checksum([U64::new(database_id), U64::new(log_number)].as_bytes(), 0)
}

#[cfg(test)]
mod tests;
