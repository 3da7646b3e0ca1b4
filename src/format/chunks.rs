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

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_ID: u64 = 77;
    const OFFSET: u64 = 12_288;

    fn sealed(payload_len: usize) -> Vec<u8> {
        let mut region: Vec<u8> = (0..251).cycle().take(payload_len).collect();
        seal(&mut region, FILE_ID, OFFSET);
        region
    }

    #[test]
    fn chunks_cover_a_payload_of_any_length() {
        for len in [0, 1, 7, 8, 9, 4095, 4096, 4097, 8191, 8192, 8193, 20_000] {
            let region = sealed(len);
            assert_eq!(region.len() as u64, region_len(len as u64), "{len}");
            assert_eq!(verify_all(&region, len, FILE_ID, OFFSET), Ok(()));
            let ranges: Vec<_> = (0..chunk_count(len)).map(|i| chunk_range(len, i)).collect();
            assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), len);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            for index in 0..chunk_count(len) {
                assert_eq!(verify(&region, len, index, FILE_ID, OFFSET), Ok(()));
            }
        }
    }

    #[test]
    fn a_chunk_is_bound_to_its_file_and_its_place() {
        let region = sealed(5000);
        assert!(verify_all(&region, 5000, FILE_ID + 1, OFFSET).is_err());
        assert!(verify_all(&region, 5000, FILE_ID, OFFSET + 4096).is_err());
        let mut swapped = sealed(8192);
        swapped[8192..].rotate_left(8);
        assert!(verify_all(&swapped, 8192, FILE_ID, OFFSET).is_err());
    }

    #[test]
    fn every_flip_and_every_truncation_is_found() {
        let len = 4096 + 50;
        let region = sealed(len);
        for at in (0..region.len()).step_by(if cfg!(miri) { 499 } else { 1 }) {
            for bit in 0..8 {
                let mut flipped = region.clone();
                flipped[at] ^= 1 << bit;
                let error = verify_all(&flipped, len, FILE_ID, OFFSET).unwrap_err();
                let in_padding = (len..len.next_multiple_of(8)).contains(&at);
                assert_eq!(error.rule().id, if in_padding { "C2" } else { "C1" });
            }
            assert!(verify_all(&region[..at], len, FILE_ID, OFFSET).is_err());
        }
    }

    #[test]
    fn an_error_says_which_chunk() {
        let mut region = sealed(9000);
        region[5000] ^= 1;
        assert_eq!(verify(&region, 9000, 0, FILE_ID, OFFSET), Ok(()));
        assert_eq!(verify(&region, 9000, 1, FILE_ID, OFFSET).unwrap_err().at(), 4096);
        assert_eq!(verify(&region, 9000, 2, FILE_ID, OFFSET), Ok(()));
    }

    #[test]
    fn lengths_and_numbers_that_can_not_be_are_errors() {
        let region = sealed(100);
        for payload_len in [0, 101, 108, 200, usize::MAX - 7, usize::MAX] {
            assert!(verify(&region, payload_len, 0, FILE_ID, OFFSET).is_err(), "{payload_len}");
        }
        for index in [1, 2, usize::MAX / CHUNK_LEN, usize::MAX] {
            assert!(verify(&region, 100, index, FILE_ID, OFFSET).is_err(), "{index}");
        }
        assert!(verify(&region, 100, 0, FILE_ID, u64::MAX).is_err());
    }
}
