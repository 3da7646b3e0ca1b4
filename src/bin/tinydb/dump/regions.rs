//! The dump of a table's filter and index, which have a checksum for each of their chunks.
//!
//! Spec: `format-spec/05-index.md`, `format-spec/06-filter.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};
use std::ops::Range;

use tinydb::FormatError;
use tinydb::internals::chunks;
use tinydb::internals::filter::{self, Filter, FilterHeader};
use tinydb::internals::index::{Index, IndexHeader};
use tinydb::internals::table_file::{REGION_DATA, RegionEntry, TableFile};
use zerocopy::FromBytes;

use super::fields::{Dump, fields};
use super::shown::Value;

/// The region's bytes before the checksums of its chunks.
fn payload<'a>(stored: &'a [u8], region: &RegionEntry) -> &'a [u8] {
    let len = usize::try_from(region.len.get()).unwrap_or(usize::MAX);
    stored.get(..len).unwrap_or(stored)
}

/// Writes where the checksums of a region's chunks are, and checks them.
fn write_checksums<W: Write>(
    dump: &mut Dump<W>,
    stored: &[u8],
    frame: &TableFile,
    region: &RegionEntry,
) -> io::Result<()> {
    let payload_len = payload(stored, region).len();
    let (file_id, offset) = (frame.header.file_id.get(), region.offset.get());
    let start = payload_len.next_multiple_of(8);
    let len = stored.len().saturating_sub(start);
    let meaning = "one for each 4096 bytes of the region";
    dump.field(offset + start as u64, len, "chunk checksums", &Value::Nothing, meaning)?;
    (0..chunks::chunk_count(payload_len)).try_for_each(|index| {
        dump.check(offset, chunks::verify(stored, payload_len, index, file_id, offset))
    })
}

pub(super) fn write_filter<W: Write>(
    dump: &mut Dump<W>,
    stored: &[u8],
    frame: &TableFile,
    region: &RegionEntry,
) -> io::Result<()> {
    let at = region.offset.get();
    let bytes = payload(stored, region);
    if let Ok((header, blocks)) = FilterHeader::ref_from_prefix(bytes) {
        fields!(dump, at, header, FilterHeader [] {
            magic: "that a filter stands here";
            algorithm: "1: a split-block Bloom filter";
            block_count: "blocks of 32 bytes behind this header";
            reserved: "zero";
            key_count: "different keys that were added";
            reserved_tail: "zero";
        });
        let set: u64 = blocks.iter().map(|byte| u64::from(byte.count_ones())).sum();
        let meaning = format!("{set} of {} bits are set", blocks.len() * 8);
        dump.field(
            at + filter::HEADER_LEN as u64,
            blocks.len(),
            "blocks",
            &Value::Nothing,
            &meaning,
        )?;
    }
    write_checksums(dump, stored, frame, region)?;
    dump.check(at, Filter::parse(bytes).map(|_| ()))
}

pub(super) fn write_index<W: Write>(
    dump: &mut Dump<W>,
    stored: &[u8],
    frame: &TableFile,
    region: &RegionEntry,
) -> io::Result<()> {
    let at = region.offset.get();
    let bytes = payload(stored, region);
    if let Ok((header, _)) = IndexHeader::ref_from_prefix(bytes) {
        fields!(dump, at, header, IndexHeader [] {
            magic: "that an index stands here";
            block_count: "data blocks of the table";
            prefix_len: "bytes that all keys start with";
            head_offset: "where in a key its head starts";
            flags: "1 uniform, 2 some key goes on in the next block, 4 ties";
            level_count: "levels of the search tree, heads included";
            tie_offset: "where in a key its tie head starts, if there are ties";
            block_size: "from one block to the next; 0 if packed";
            separators_len: "bytes of all separators";
            reserved_tail: "zero";
        });
    }
    let index = match Index::parse(bytes) {
        Ok(index) => index,
        Err(error) => return dump.damage(at, error),
    };
    let names_each = dump.with_rows && dump.shows_bytes();
    for (name, range) in index.layout().parts() {
        if names_each && matches!(&*name, "heads" | "tie_heads") {
            let heads = bytes.get(range.clone()).unwrap_or_default();
            write_heads(dump, name.trim_end_matches('s'), heads, at + range.start as u64, &index)?;
            continue;
        }
        if names_each && name == "separators" {
            // Each separator is named below.
            continue;
        }
        let is_prefix = name == "prefix";
        let value = if is_prefix { Value::Bytes(index.prefix()) } else { Value::Nothing };
        let meaning = part_meaning(&name);
        dump.field(at + range.start as u64, range.len(), &name, &value, meaning)?;
    }
    write_checksums(dump, stored, frame, region)?;
    let data_len = frame.region(REGION_DATA).map_or(0, |data| data.len.get());
    dump.check(at, index.verify(data_len))?;
    if dump.with_rows { write_separators(dump, &index, at) } else { Ok(()) }
}

/// Writes each head, as the bytes of a key that it is.
fn write_heads<W: Write>(
    dump: &mut Dump<W>,
    name: &str,
    heads: &[u8],
    at: u64,
    index: &Index<'_>,
) -> io::Result<()> {
    let count = index.layout().block_count();
    let (heads, _) = heads.as_chunks::<8>();
    for (number, (head, at)) in heads.iter().take(count).zip((at..).step_by(8)).enumerate() {
        let mut bytes = *head;
        bytes.reverse();
        dump.field(at, 8, &format!("{name} {number}"), &Value::Bytes(&bytes), "")?;
    }
    let (at, len) = (at + count as u64 * 8, heads.len().saturating_sub(count) * 8);
    dump.field(at, len, "filling", &Value::Nothing, "the largest number, up to a whole node")
}

fn part_meaning(name: &str) -> &'static str {
    match name {
        "prefix" => "what all keys start with; zeros up to 128",
        "heads" => "eight bytes of each separator, as a number",
        "tie_heads" => "eight bytes of each separator from tie_offset, as a number",
        "block_offsets" => "where each block starts, in units of 64 bytes, and their end",
        "separator_offsets" => "where each separator starts in separators, and their end",
        "separators" => "a key between each block and the one before, back to back",
        _ if name.starts_with("tie_heads") => "the first tie head of each node below",
        _ => "the first head of each node below",
    }
}

fn write_separators<W: Write>(dump: &mut Dump<W>, index: &Index<'_>, at: u64) -> io::Result<()> {
    let parts = index.layout().parts();
    let start = parts.into_iter().find(|(name, _)| *name == "separators");
    let mut at_separator = at + start.map_or(0, |(_, range)| range.start as u64);
    for block in 0..index.layout().block_count() {
        let trust = |_: Range<usize>| Ok::<(), FormatError>(());
        match (index.separator(block, &trust), index.block_offset(block, &trust)) {
            (Ok(separator), Ok(offset)) => {
                let name = format!("separator {block}");
                let meaning = format!("of the block at {offset} of the data region");
                let (len, value) = (separator.len(), Value::Bytes(separator));
                dump.entry((at_separator, len), &name, &value, &meaning, &[("block", offset)])?;
                at_separator += len as u64;
            }
            (Err(error), _) | (_, Err(error)) => return dump.damage(at, error),
        }
    }
    Ok(())
}
