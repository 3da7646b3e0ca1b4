//! The checksums of a file: where they stand, so that a file that was broken on purpose can be given
//! right ones.

use std::ops::Range;

use tinydb::internals::checksum::checksum;
use tinydb::internals::chunks;
use tinydb::internals::log::{LogEnd, LogReader};
use tinydb::internals::table_file::{
    FOOTER_LEN, FrameError, REGION_PROPERTIES, REGION_RANGE_TOMBSTONES, TableFile,
};

use crate::python::decoded::blocks_of_table;

/// Where a checksum stands, what it covers, and its seed. A file's have an order in which they are
/// to be made right: some cover others.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    at: usize,
    range: Range<usize>,
    seed: u64,
}

impl Sum {
    /// Writes it anew, if the file still reaches so far.
    pub(crate) fn make_right(&self, bytes: &mut [u8]) {
        let Self { at, range, seed } = self;
        if range.end.max(at + 8) <= bytes.len() {
            let sum = checksum(&bytes[range.clone()], *seed);
            bytes[*at..at + 8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Those of a manifest, as it is.
pub(crate) fn sums_of_manifest(bytes: &[u8]) -> Vec<Sum> {
    let sum = |at, range| Sum { at, range, seed: 0 };
    vec![sum(112, 128..bytes.len()), sum(120, 0..120)]
}

/// The frame of a table, as it is.
pub(crate) fn parse(bytes: &[u8]) -> Result<TableFile, FrameError> {
    let tail = &bytes[bytes.len().saturating_sub(FOOTER_LEN)..];
    TableFile::parse(bytes, tail, bytes.len() as u64)
}

/// Those of a table, as it is.
pub(crate) fn sums_of_table(bytes: &[u8]) -> Vec<Sum> {
    let frame = parse(bytes).unwrap();
    let file_id = frame.header.file_id.get();
    let footer_at = bytes.len() - FOOTER_LEN;
    let block = |(at, len)| Sum { at, range: at + 8..at + len, seed: file_id ^ at as u64 };
    let mut sums: Vec<Sum> = blocks_of_table(bytes).into_iter().map(block).collect();
    for (entry, entry_at) in frame.regions.iter().zip((footer_at + 80..).step_by(32)) {
        let (start, len) = (size(entry.offset.get()), size(entry.len.get()));
        let seed = file_id ^ start as u64;
        if entry.stored_len() != entry.len.get() {
            for chunk in 0..chunks::chunk_count(len) {
                let range = chunks::chunk_range(len, chunk);
                let at = start + len.next_multiple_of(8) + 8 * chunk;
                let seed = file_id ^ (start + range.start) as u64;
                sums.push(Sum { at, range: start + range.start..start + range.end, seed });
            }
        } else if [REGION_PROPERTIES, REGION_RANGE_TOMBSTONES].contains(&entry.kind.get()) {
            sums.push(Sum { at: entry_at + 24, range: start..start + len, seed });
        }
    }
    sums.push(Sum { at: 56, range: 0..56, seed: 0 });
    let end = bytes.len() - 8;
    sums.push(Sum { at: end, range: footer_at..end, seed: file_id });
    sums
}

/// Those of a log, as it is.
pub(crate) fn sums_of_log(bytes: &[u8], database_id: u64, number: u64) -> Vec<Sum> {
    let mut log = LogReader::open(bytes, database_id, number).unwrap();
    let info = *log.info().unwrap();
    let records_at = size(info.records_offset());
    let sum = |at, range, seed| Sum { at, range, seed };
    let mut sums = vec![sum(112, 128..records_at, 0), sum(120, 0..120, 0)];
    for record in &mut log {
        let (at, seed) = (size(record.offset), info.seed() ^ record.offset);
        sums.push(sum(at + 8, at + 48..at + 48 + record.payload.len(), seed));
        sums.push(sum(at, at + 8..at + 48, seed));
    }
    if let Some(LogEnd::Sealed { at }) = log.end() {
        sums.push(sum(size(at), size(at) + 8..size(at) + 48, info.seed() ^ at));
    }
    sums
}
