//! What a table is asked to be, and what it became.
//!
//! Spec: none. I/O: none. Unsafe: none.

use crate::options::FilterSize;

/// What stands in a table for the database that wrote it, if none did.
pub(crate) const LONE_DATABASE: u64 = 0;

/// How the tables of a database are written.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSettings {
    /// The block size in bytes: a power of two from 1 KiB to 64 KiB.
    pub block_size: usize,
    /// How large filters are.
    pub filter: FilterSize,
    /// The database; 0 if the table is written outside of any.
    pub database_id: u64,
    /// Seeds the hash of user keys.
    pub hash_seed: u64,
    /// The merge operator's name; empty for none.
    pub operator: String,
    /// The features that a reader may ignore.
    pub features_optional: u32,
}

/// What a finished table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The number in its name.
    pub file_number: u64,
    /// The identity in its header.
    pub file_id: u64,
    /// Its length in bytes.
    pub file_len: u64,
    /// XXH3 of the whole file, seeded with `file_id`.
    pub checksum: u64,
    /// Rows: every version of every key.
    pub row_count: u64,
    /// The smallest seqno.
    pub min_seqno: u64,
    /// The largest seqno.
    pub max_seqno: u64,
    /// Range tombstones, as fragments; seqnos and keys here are those of rows.
    pub range_tombstone_count: u64,
    /// The smallest user key.
    pub smallest: Vec<u8>,
    /// The largest user key.
    pub largest: Vec<u8>,
}
