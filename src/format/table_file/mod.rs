//! The table file: header, regions, and a footer that says where they are.
//!
//! ```text
//!  0        data_offset                                                       file_len − 4096
//!  ┌────────┬─────────────┬─────────────┬────────┬───────┬──────────────────┬────────────┬────────┐
//!  │ header │ data blocks │ long values │ filter │ index │ range tombstones │ properties │ footer │
//!  └────────┴─────────────┴─────────────┴────────┴───────┴──────────────────┴────────────┴────────┘
//!             each region starts at a multiple of 4096; only data, index and properties must exist
//! ```
//!
//! Opening a table reads header, footer and properties: a few pages, whatever its size.
//!
//! # Invariants
//!
//! - Everything in the file is bound to its `file_id` by checksum seeds, so parts of another
//!   table, or of this one in another place, do not verify.
//! - [`TableFile::parse`] proves every region to lie inside the file, in ascending order and
//!   without overlap.
//!
//! Spec: `format-spec/03-table.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::rules;

mod encode;
mod properties;
mod view;

pub use super::preamble::{FEATURES_KNOWN, FORMAT_MAJOR, FORMAT_MINOR, FrameError, Unsupported};
pub use encode::encode_footer;
pub use properties::{Properties, PropertiesHeader};
pub use view::TableFile;

rules! { RULES:
    LEN = "T1", "a table file has a multiple of 4096 bytes, and at least two of them";
    HEADER_MAGIC = "T2", "the file starts with the magic TINYSST and the byte 1";
    HEADER_CHECKSUM = "T3", "the header's checksum is xxh3_64 of its first 56 bytes, seed 0";
    FOOTER_MAGIC = "T4", "the last 4096 bytes start with the magic TINYEND and the byte 1";
    FOOTER_CHECKSUM = "T5", "the footer's checksum is xxh3_64 of its first 4088 bytes, seeded with file_id";
    FOOTER_FILE = "T6", "the footer repeats the header's versions, features and file_id, and gives the file's length";
    REGION_COUNT = "T7", "region_count is at most 64";
    REGION_BOUNDS = "T8", "regions start at multiples of 4096, ascend, do not overlap, and end before the footer";
    REGION_KIND = "T9", "no region kind stands twice";
    REGION_MISSING = "T10", "there are a data, an index and a properties region";
    RESERVED = "T11", "reserved bytes and reserved flags are zero";
    SEQNOS = "T12", "min_seqno is at most max_seqno, and row_count at least 1";
    PROPERTIES = "T13", "the properties region has the length that its header says";
    PROPERTIES_CHECKSUM = "T14", "a region that is not chunked and has a checksum matches it";
    DATA_OFFSET = "T15", "blocks fill the data region: a packed file's without gaps, a uniform one's from max(4096, block_size) on, and the last one ends it";
    KEY_RANGE = "T16", "smallest_key and largest_key are those of the first and the last row";
    COUNTS = "T17", "counts, sums and extremes in footer and properties are those of the rows, and range_tombstone_count is that of the region";
    VALUE_BOUNDS = "T18", "the value of a reference lies inside the value region";
    VALUE_CHECKSUM = "T19", "a value out of line matches the checksum of its reference";
    GAPS = "T20", "bytes between regions, between a block and the end of its slot, and between values are zero";
    ORDER = "T21", "rows ascend by internal key from block to block too";
    CONTINUES = "T22", "a block says that its last key goes on exactly if the next one starts with it";
    REGION_FORM = "T23", "filter and index are chunked, range tombstones are critical, no other known region has a flag, and only properties and range tombstones have a checksum here";
    VALUE_ORDER = "T24", "references are numbered from 0 in row order, and their values fill the value region, each at the next multiple of 64";
    OPERATOR = "T25", "the merge operator's name is UTF-8";
}

/// The bit of `features_optional` that says: an ingest wrote the table.
pub const INGESTED: u32 = 1;

/// The first 64 bytes of a table file.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FileHeader {
    /// Always [`MAGIC`].
    pub magic: [u8; 8],
    /// [`FORMAT_MAJOR`]; a reader refuses any other.
    pub format_major: U16,
    /// [`FORMAT_MINOR`]; for information.
    pub format_minor: U16,
    /// Features that a reader must know.
    pub features_required: U32,
    /// Features that a reader may ignore.
    pub features_optional: U32,
    /// Zero.
    pub reserved: U32,
    /// The identity of this file: seeds its checksums.
    pub file_id: U64,
    /// Seeds the hash of user keys, for the filter and the fingerprints.
    pub hash_seed: U64,
    /// Zero.
    pub reserved_tail: [U64; 2],
    /// XXH3 of the 56 bytes before, seed 0.
    pub checksum: U64,
}

/// One entry of the footer's directory.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RegionEntry {
    /// What the region is: a `REGION_` number.
    pub kind: U32,
    /// `FLAG_` bits.
    pub flags: U32,
    /// Where it starts, in bytes from the start of the file.
    pub offset: U64,
    /// Its length in bytes, without the checksums of its chunks.
    pub len: U64,
    /// XXH3 of its bytes, seeded with `file_id ^ offset`; 0 where its parts have their own.
    pub checksum: U64,
}

/// The first 80 bytes of the last page of a table file; the directory follows.
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
pub struct Footer {
    /// Always [`END_MAGIC`].
    pub magic: [u8; 8],
    /// As in the header.
    pub format_major: U16,
    /// As in the header.
    pub format_minor: U16,
    /// As in the header.
    pub features_required: U32,
    /// As in the header.
    pub features_optional: U32,
    /// Entries of the directory.
    pub region_count: U32,
    /// As in the header.
    pub file_id: U64,
    /// Bytes of the whole file.
    pub file_len: U64,
    /// Rows: every version of every key.
    pub row_count: U64,
    /// The smallest seqno of a row.
    pub min_seqno: U64,
    /// The largest seqno of a row.
    pub max_seqno: U64,
    /// Zero.
    pub reserved: [U64; 2],
}

/// Bytes of a [`FileHeader`].
pub const HEADER_LEN: usize = 64;
/// Bytes of the footer page, directory and checksum included.
pub const FOOTER_LEN: usize = 4096;
const _: () = assert!(size_of::<FileHeader>() == HEADER_LEN, "03-table.md fixes this size");
const _: () = assert!(size_of::<Footer>() == 80, "03-table.md fixes this size");
const _: () = assert!(size_of::<RegionEntry>() == 32, "03-table.md fixes this size");

/// The first bytes of a table file.
pub const MAGIC: [u8; 8] = *b"TINYSST\x01";
/// The first bytes of its footer.
pub const END_MAGIC: [u8; 8] = *b"TINYEND\x01";
/// Regions start at multiples of this.
pub const REGION_ALIGN: u64 = 4096;
/// The most regions a footer can list.
pub const MAX_REGIONS: usize = 64;

/// The data blocks.
pub const REGION_DATA: u32 = 1;
/// Values out of line.
pub const REGION_VALUES: u32 = 2;
/// The filter; chunked.
pub const REGION_FILTER: u32 = 3;
/// The sparse index; chunked.
pub const REGION_INDEX: u32 = 4;
/// The properties.
pub const REGION_PROPERTIES: u32 = 5;
/// The range tombstones; critical.
pub const REGION_RANGE_TOMBSTONES: u32 = 6;

/// Bit 0 of a region's flags: a reader that does not know its kind must refuse the file.
pub const FLAG_CRITICAL: u32 = 1;
/// Bit 1 of a region's flags: checksums of its 4 KiB chunks stand behind it.
pub const FLAG_CHUNKED: u32 = 2;

#[cfg(test)]
mod tests;
