//! The manifest: one version of the database, in one small immutable file.
//!
//! It names the tables that form each level of each tree. A new version is a new file with a
//! larger number, and opening takes the largest; so a broken manifest is damage, never a crash's
//! doing.
//!
//! ```text
//!  0        128                     128 + 96 × table_count
//!  │ header │ a row for every table │ merge operator's name │ smallest, largest key of row 0 │ of row 1 │ …
//! ```
//!
//! # Invariants
//!
//! - One content has one encoding: rows are sorted, keys lie back to back in the order of the
//!   rows, and nothing lies between or behind them.
//! - `parse` borrows and allocates nothing, whatever the counts in the file claim; once it
//!   succeeds, every key is in bounds and every level is in order.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: none. Unsafe: none.

use std::cmp::Reverse;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::error::rules;
use crate::format::preamble::Preamble;

mod data;
mod view;

pub use data::{ManifestData, TableRecord};
pub use view::{ManifestView, TableView};

rules! {
    RULES:
    HEADER_LEN = "M1", "a manifest has a header of 128 bytes";
    HEADER_MAGIC = "M2", "the file starts with the magic TINYMAN and the byte 1";
    CHECKSUM = "M3", "the header's checksum is that of its first 120 bytes";
    RESERVED = "M4", "reserved bytes are zero";
    FILE_LEN = "M5", "the file has the length that its header says";
    BODY_CHECKSUM = "M6", "body_checksum is that of all that follows the header";
    ROWS = "M7", "the rows and the merge operator's name lie in the file";
    OPERATOR = "M8", "the merge operator's name is UTF-8";
    KEYS = "M9", "the keys lie back to back and end with the file";
    TREE = "M10", "tree_count is 1, tree ids lie below it, and levels below 64";
    TABLE = "M11", "a table's numbers are possible: it has rows, its smallest key is not above its \
        largest, min_seqno ≤ max_seqno ≤ last_seqno, file_number < next_file_number";
    ORDER = "M12", "rows ascend by tree and level; in level 0 the newest comes first, in deeper \
        levels key ranges ascend and are disjoint";
    TWICE = "M13", "a table stands in one row only";
    NUMBER = "M14", "the manifest has the number that its name says";
    RANGE_TOMBSTONES = "M15", "range_tombstone_count is that of the table";
}

/// The first bytes of a manifest.
pub const MAGIC: [u8; 8] = *b"TINYMAN\x01";
/// Levels are numbered from 0 to one less than this.
pub const MAX_LEVEL_COUNT: u32 = 64;

const HEADER_SIZE: usize = size_of::<ManifestHeader>();
const CHECKSUM_OFFSET: usize = 120;

/// The first 128 bytes of a manifest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ManifestHeader {
    /// What the file is, and who can read it.
    pub preamble: Preamble,
    /// How many rows follow the header.
    pub table_count: U32,
    /// The length of the merge operator's name; 0 if there is none.
    pub operator_len: U32,
    /// How many trees the database has: 1.
    pub tree_count: U32,
    /// The length of this file.
    pub file_len: U64,
    /// The number in this file's name.
    pub manifest_number: U64,
    /// The database's identity, drawn when it was created.
    pub database_id: U64,
    /// The seed of the hashes of keys, in every table that this database writes.
    pub hash_seed: U64,
    /// Every file number in use is smaller.
    pub next_file_number: U64,
    /// The largest seqno in the tables.
    pub last_seqno: U64,
    /// Logs with smaller numbers are obsolete.
    pub oldest_log: U64,
    /// Zero.
    pub reserved: [u8; 24],
    /// The checksum of all bytes behind the header.
    pub body_checksum: U64,
    /// The checksum of the bytes before this field.
    pub checksum: U64,
}

const _: () = assert!(HEADER_SIZE == 128, "format-spec/08-manifest.md fixes this size");

/// One table of a version.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TableRow {
    /// The tree that it belongs to: 0.
    pub tree_id: U32,
    /// The level that it belongs to.
    pub level: U32,
    /// The number in the file's name.
    pub file_number: U64,
    /// The identity in the file's header.
    pub file_id: U64,
    /// The file's length.
    pub file_len: U64,
    /// The checksum of the whole file.
    pub checksum: U64,
    /// How many rows it holds, tombstones and merge operands included.
    pub row_count: U64,
    /// The smallest seqno in it.
    pub min_seqno: U64,
    /// The largest seqno in it.
    pub max_seqno: U64,
    /// Where, from the start of the manifest, its smallest key lies; its largest key follows.
    pub keys_offset: U64,
    /// The length of its smallest user key.
    pub smallest_len: U16,
    /// The length of its largest user key.
    pub largest_len: U16,
    /// How many range tombstones it holds, as fragments.
    pub range_tombstone_count: U64,
    /// No range tombstone up to this seqno covers a row of it: those were left out.
    pub cleared_seqno: U64,
    /// Zero.
    pub reserved: [u8; 4],
}

const _: () = assert!(size_of::<TableRow>() == 96, "format-spec/08-manifest.md fixes this size");

impl ManifestHeader {
    /// The bytes that its checksum covers.
    fn checked_bytes(&self) -> &[u8] {
        self.as_bytes().get(..CHECKSUM_OFFSET).unwrap_or_default()
    }
}

/// What orders the rows: tree, level, then the newest first in level 0 and the keys deeper.
type Place<'a> = (u32, u32, Reverse<(u64, u64)>, &'a [u8]);

fn place(tree_id: u32, level: u32, max_seqno: u64, number: u64, smallest: &[u8]) -> Place<'_> {
    match level {
        0 => (tree_id, 0, Reverse((max_seqno, number)), &[]),
        _ => (tree_id, level, Reverse((0, 0)), smallest),
    }
}

/// Where a row starts in the file.
const fn row_offset(index: usize) -> u64 {
    (HEADER_SIZE + index * size_of::<TableRow>()) as u64
}
