//! What TinyDB's decoders find in a table.

use tinydb::internals::data_block::DataBlock;
use tinydb::internals::error::FormatError;
use tinydb::internals::index::Index;
use tinydb::internals::range_tombstones::RangeTombstoneRegion;
use tinydb::internals::row::Kind;
use tinydb::internals::table_file::{
    FOOTER_LEN, REGION_DATA, REGION_INDEX, REGION_RANGE_TOMBSTONES, REGION_VALUES, TableFile,
};
use tinydb::internals::value_ref::ValueRef;
use zerocopy::FromBytes;

/// One version of one key.
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) seqno: u64,
    pub(super) kind: Kind,
    pub(super) expiry: u64,
    pub(super) value: Vec<u8>,
}

pub(super) fn frame(bytes: &[u8]) -> TableFile {
    let tail = &bytes[bytes.len().saturating_sub(FOOTER_LEN)..];
    TableFile::parse(bytes, tail, bytes.len() as u64).unwrap()
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// A region's bytes, without the checksums of its chunks.
pub(super) fn region<'b>(bytes: &'b [u8], frame: &TableFile, kind: u32) -> Option<&'b [u8]> {
    let entry = frame.region(kind)?;
    Some(&bytes[size(entry.offset.get())..size(entry.offset.get() + entry.len.get())])
}

/// Where the blocks stand in the file, and how long they are.
pub(crate) fn blocks_of_table(bytes: &[u8]) -> Vec<(usize, usize)> {
    let frame = frame(bytes);
    let index = Index::parse(region(bytes, &frame, REGION_INDEX).unwrap()).unwrap();
    let start = size(frame.region(REGION_DATA).unwrap().offset.get());
    let place = |block| {
        let offset = index.block_offset::<FormatError>(block, &|_| Ok(())).unwrap();
        let at = start + size(offset);
        (at, DataBlock::parse(&bytes[at..]).unwrap().layout().block_len())
    };
    (0..index.layout().block_count()).map(place).collect()
}

pub(super) fn rows_of_table(bytes: &[u8]) -> Vec<Row> {
    let values = region(bytes, &frame(bytes), REGION_VALUES).unwrap_or_default();
    let mut rows = Vec::new();
    for (at, _) in blocks_of_table(bytes) {
        let block = DataBlock::parse(&bytes[at..]).unwrap();
        for row in 0..block.layout().row_count() {
            let mut key = Vec::new();
            block.read_key(row, &mut key).unwrap();
            let (kind, out_of_line) = block.kind(row).unwrap();
            let mut value = block.value(row).unwrap();
            if out_of_line {
                let reference = ValueRef::read_from_bytes(value).unwrap();
                let start = size(reference.offset.get());
                value = &values[start..start + reference.len.get() as usize];
            }
            let (seqno, expiry) = (block.seqno(row).unwrap(), block.expires_at(row).unwrap());
            rows.push(Row { key, seqno, kind, expiry, value: value.to_vec() });
        }
    }
    rows
}

/// Start, end, seqno.
pub(super) fn tombstones_of_table(bytes: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>, u64)> {
    let Some(region) = region(bytes, &frame(bytes), REGION_RANGE_TOMBSTONES) else {
        return Vec::new();
    };
    let fragments = RangeTombstoneRegion::parse(region).unwrap();
    fragments.iter().map(|it| (it.start.to_vec(), it.end.map(<[u8]>::to_vec), it.seqno)).collect()
}
