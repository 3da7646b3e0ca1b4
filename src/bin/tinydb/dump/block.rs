//! The dump of a table's data blocks.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};
use std::ops::Range;

use tinydb::FormatError;
use tinydb::internals::data_block::{BlockHeader, DataBlock};
use tinydb::internals::index::Index;
use tinydb::internals::table_file::{REGION_INDEX, REGION_VALUES, RegionEntry, TableFile};
use tinydb::internals::value_ref::ValueRef;
use zerocopy::FromBytes;

use super::fields::{Dump, fields};
use super::shown::Value;

/// Writes all blocks; the index says where they are.
pub(super) fn write_all<W: Write>(
    dump: &mut Dump<W>,
    bytes: &[u8],
    frame: &TableFile,
    data: &RegionEntry,
) -> io::Result<()> {
    let Some(index) = frame.region(REGION_INDEX).and_then(|entry| slice(bytes, entry, 0)) else {
        return Ok(());
    };
    // A broken index is reported where it stands.
    let Ok(index) = Index::parse(index) else { return Ok(()) };
    for number in 0..index.layout().block_count() {
        let trust = |_: Range<usize>| Ok::<(), FormatError>(());
        let Ok(offset) = index.block_offset(number, &trust) else { return Ok(()) };
        if let Some(block) = slice(bytes, data, offset) {
            write_block(dump, bytes, frame, (number, data.offset.get() + offset), block)?;
        }
    }
    Ok(())
}

/// A region's bytes from `skip` on.
fn slice<'a>(bytes: &'a [u8], region: &RegionEntry, skip: u64) -> Option<&'a [u8]> {
    let start = region.offset.get().checked_add(skip)?;
    let end = region.offset.get().checked_add(region.len.get())?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn write_block<W: Write>(
    dump: &mut Dump<W>,
    bytes: &[u8],
    frame: &TableFile,
    (number, at): (usize, u64),
    block: &[u8],
) -> io::Result<()> {
    dump.title(at, &format!("block {number}"), "04-data-block.md")?;
    if let Ok((header, _)) = BlockHeader::ref_from_prefix(block) {
        fields!(dump, at, header, BlockHeader [] {
            checksum: "of the block behind this field";
            block_len: "length of the block";
            row_count: "rows in the block";
            prefix_len: "bytes that every key of the block starts with";
            key_heap_len: "bytes of all key suffixes";
            value_heap_len: "bytes of all values";
            value_stride: "length of every value, or 2^32 - 1: value offsets";
            key_stride: "length of every suffix, or 2^16 - 1: key offsets";
            columns: "bits: 1 wide offsets, 2 seqnos, 4 kinds, 8 expiries, 16 continues";
            widths: "log2 of widths: bits 0-2 seqnos, 3-5 expiries; 7: constant";
        });
    }
    let block = match DataBlock::parse(block) {
        Ok(block) => block,
        Err(error) => return dump.damage(at, error),
    };
    let names_rows = dump.with_rows && dump.shows_bytes();
    let mut keys_at = at;
    for (name, range) in block.layout().columns() {
        if names_rows && matches!(name, "keys" | "values") {
            // Each row names its own bytes of these.
            keys_at += if name == "keys" { range.start as u64 } else { 0 };
            continue;
        }
        let is_prefix = name == "prefix";
        let value = if is_prefix { Value::Bytes(block.prefix()) } else { Value::Nothing };
        let meaning = column_meaning(name);
        dump.field(at + range.start as u64, range.len(), name, &value, meaning)?;
    }
    let file_id = frame.header.file_id.get();
    if !block.checksum_matches(file_id, at) {
        dump.mismatch(at, "the block's checksum")?;
    }
    dump.check(at, block.verify(frame.header.hash_seed.get()))?;
    if !dump.with_rows {
        return Ok(());
    }
    let values = frame.region(REGION_VALUES).and_then(|region| slice(bytes, region, 0));
    let values = (values.unwrap_or_default(), file_id);
    for row in 0..block.layout().row_count() {
        if let (true, Ok(suffix)) = (names_rows, block.suffix(row)) {
            let (name, value) = (format!("key {row}"), Value::Bytes(suffix));
            dump.field(keys_at, suffix.len(), &name, &value, "")?;
            keys_at += suffix.len() as u64;
        }
        let written = write_row(dump, &block, row, at, values)?;
        dump.check(at, written)?;
    }
    Ok(())
}

fn column_meaning(name: &str) -> &'static str {
    match name {
        "fingerprints" => "a byte a row: bits 32 to 39 of the hash of its key",
        "key_offsets" => "where each key suffix starts in keys, and their end",
        "value_offsets" => "where each value starts in values, and their end",
        "prefix" => "what every key of the block starts with",
        "seqnos" => "the smallest, then what each row adds to it",
        "kinds" => "0 put, 1 delete, 2 merge; 16 more: out of line",
        "expiries" => "the earliest, then 0 or what each row adds to it and 1",
        "keys" => "key suffixes, back to back",
        "values" => "values and references, back to back",
        _ => "zeros",
    }
}

/// Writes a row, or says which of its offsets is wrong.
fn write_row<W: Write>(
    dump: &mut Dump<W>,
    block: &DataBlock<'_>,
    row: u32,
    at: u64,
    (values, file_id): (&[u8], u64),
) -> io::Result<Result<(), FormatError>> {
    let mut key = Vec::new();
    let parts = block.read_key(row, &mut key).and_then(|()| {
        Ok((block.seqno(row)?, block.kind(row)?, block.expires_at(row)?, block.value_range(row)?))
    });
    let (seqno, (kind, is_out_of_line), expires_at, range) = match parts {
        Ok(parts) => parts,
        Err(error) => return Ok(Err(error)),
    };
    let value = block.value(row).unwrap_or_default();
    let mut meaning = format!("row {row}, seqno {seqno}");
    if expires_at != 0 {
        meaning = format!("{meaning}, expires at {expires_at}");
    }
    let mut shown = value;
    let mut numbers = vec![("row", u64::from(row)), ("seqno", seqno), ("expiry", expires_at)];
    if let (true, Ok(reference)) = (is_out_of_line, ValueRef::read_from_bytes(value)) {
        let ValueRef { offset, len, index, checksum } = reference;
        meaning = format!(
            "{meaning}, reference {index} to {len} bytes at {offset} of the value region, \
             checksum {checksum:#x}"
        );
        numbers.push(("reference", u64::from(index.get())));
        numbers.extend([("offset", offset.get()), ("checksum", checksum.get())]);
        let start = usize::try_from(offset.get()).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(len.get()).unwrap_or(usize::MAX));
        let value = values.get(start..end).unwrap_or_default();
        shown = value;
        if !reference.matches(value, file_id) {
            dump.mismatch(at + range.start as u64, "the checksum of the referenced value")?;
        }
    }
    let (place, value) = ((at + range.start as u64, range.len()), Value::Row(&key, shown));
    dump.entry(place, &format!("{kind:?}"), &value, &meaning, &numbers)?;
    Ok(Ok(()))
}
