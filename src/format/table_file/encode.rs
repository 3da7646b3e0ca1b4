//! Writing the header and the footer.
//!
//! Spec: `format-spec/03-table.md`. I/O: none. Unsafe: none.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{
    END_MAGIC, FOOTER_LEN, FORMAT_MAJOR, FORMAT_MINOR, FileHeader, Footer, MAGIC, RegionEntry,
};
use crate::format::checksum::checksum;

impl FileHeader {
    /// The header of a new table file.
    #[must_use]
    pub fn new(file_id: u64, hash_seed: u64, features_optional: u32) -> Self {
        let mut header = Self {
            magic: MAGIC,
            format_major: U16::new(FORMAT_MAJOR),
            format_minor: U16::new(FORMAT_MINOR),
            features_required: U32::new(0),
            features_optional: U32::new(features_optional),
            reserved: U32::new(0),
            file_id: U64::new(file_id),
            hash_seed: U64::new(hash_seed),
            reserved_tail: [U64::new(0); 2],
            checksum: U64::new(0),
        };
        header.seal();
        header
    }

    /// Sets the checksum.
    pub fn seal(&mut self) {
        let body = self.as_bytes().get(..56).unwrap_or_default();
        self.checksum = U64::new(checksum(body, 0));
    }
}

/// The footer page of a table with these regions, at most 64 of them.
///
/// The page will stand at `offset`, the end of the file. Magic, versions, `region_count` and
/// `file_len` are filled in.
#[must_use]
pub fn encode_footer(footer: &Footer, regions: &[RegionEntry], offset: u64) -> Vec<u8> {
    let footer = Footer {
        magic: END_MAGIC,
        format_major: U16::new(FORMAT_MAJOR),
        format_minor: U16::new(FORMAT_MINOR),
        region_count: U32::new(u32::try_from(regions.len()).unwrap_or(u32::MAX)),
        file_len: U64::new(offset + FOOTER_LEN as u64),
        ..*footer
    };
    let mut page = footer.as_bytes().to_vec();
    page.extend_from_slice(regions.as_bytes());
    page.resize(FOOTER_LEN - 8, 0);
    let sum = checksum(&page, footer.file_id.get());
    page.extend_from_slice(U64::new(sum).as_bytes());
    page
}
