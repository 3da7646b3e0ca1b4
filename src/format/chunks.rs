//! Chunk checksums: how a long region is verified piece by piece, as it is touched.
//!
//! The index and the filter are too long to hash at every open and too precious to trust. So each
//! 4 KiB of them has a checksum of its own; the checksums stand behind the region's bytes.
//!
//! ```text
//!  ┌────────────────────────────┬─────────┬──────────────────────────┐
//!  │ payload                    │ to 8 B  │ u64 for each 4 KiB chunk │
//!  └────────────────────────────┴─────────┴──────────────────────────┘
//! ```
//!
//! Spec: `format-spec/03-table.md`, "Chunked regions". I/O: none. Unsafe: none.

use std::ops::Range;

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::checksum;
use super::error::{FormatError, rules};

rules! { RULES:
    CHUNK = "C1", "a chunk's checksum is xxh3_64 of its bytes, seeded with file_id ^ its offset in the file";
    PADDING = "C2", "the bytes between payload and checksums are zero";
}

/// Bytes of a chunk; the last one of a region may be shorter.
pub const CHUNK_LEN: usize = 4096;

/// How many chunks a payload has.
#[must_use]
pub const fn chunk_count(payload_len: usize) -> usize {
    payload_len.div_ceil(CHUNK_LEN)
}

/// Bytes of a region with this payload, checksums included; saturates.
#[must_use]
pub const fn region_len(payload_len: u64) -> u64 {
    let checksums_len = payload_len.div_ceil(CHUNK_LEN as u64) * 8;
    (payload_len.saturating_add(7) & !7).saturating_add(checksums_len)
}

/// Appends padding and checksums to a payload that will stand at `offset` of the file `file_id`.
pub fn seal(payload: &mut Vec<u8>, file_id: u64, offset: u64) {
    let mut checksums = Vec::with_capacity(chunk_count(payload.len()));
    for (index, chunk) in payload.chunks(CHUNK_LEN).enumerate() {
        let seed = file_id ^ (offset + (index * CHUNK_LEN) as u64);
        checksums.push(U64::new(checksum::checksum(chunk, seed)));
    }
    payload.resize(payload.len().next_multiple_of(8), 0);
    payload.extend_from_slice(checksums.as_slice().as_bytes());
}

/// The bytes of chunk `index` within a payload.
#[must_use]
pub const fn chunk_range(payload_len: usize, index: usize) -> Range<usize> {
    let start = index.saturating_mul(CHUNK_LEN);
    let end = start.saturating_add(CHUNK_LEN);
    start..if end < payload_len { end } else { payload_len }
}

/// Verifies chunk `index` of a whole region (payload and checksums) that stands at `offset`.
///
/// # Errors
///
/// Rule C1, relative to the start of the region.
pub fn verify(
    region: &[u8],
    payload_len: usize,
    index: usize,
    file_id: u64,
    offset: u64,
) -> Result<(), FormatError> {
    let range = chunk_range(payload_len, index);
    let start = range.start as u64;
    let stored = region
        .get(payload_len.checked_next_multiple_of(8).unwrap_or(usize::MAX)..)
        .and_then(|checksums| checksums.chunks_exact(8).nth(index))
        .map(U64::read_from_bytes);
    let (Some(chunk), Some(Ok(stored))) = (region.get(range), stored) else {
        return Err(CHUNK.broken(start));
    };
    let seed = file_id ^ offset.wrapping_add(start);
    if checksum::matches(chunk, seed, stored.get()) {
        Ok(())
    } else {
        Err(CHUNK.found(start, stored.get(), checksum::checksum(chunk, seed)))
    }
}

/// Verifies all chunks of a region and its padding.
///
/// # Errors
///
/// Rules C1 and C2, relative to the start of the region.
pub fn verify_all(
    region: &[u8],
    payload_len: usize,
    file_id: u64,
    offset: u64,
) -> Result<(), FormatError> {
    (0..chunk_count(payload_len))
        .try_for_each(|index| verify(region, payload_len, index, file_id, offset))?;
    let padded_len = payload_len.checked_next_multiple_of(8).unwrap_or(usize::MAX);
    match region.get(payload_len..padded_len) {
        Some(padding) if padding.iter().all(|byte| *byte == 0) => Ok(()),
        _ => Err(PADDING.broken(payload_len as u64)),
    }
}
