//! The dump of a table: its frame and its regions.
//!
//! Spec: `format-spec/03-table.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::checksum;
use tinydb::internals::table_file::{
    FLAG_CHUNKED, FOOTER_LEN, FileHeader, Footer, REGION_DATA, REGION_FILTER, REGION_INDEX,
    REGION_PROPERTIES, REGION_RANGE_TOMBSTONES, REGION_VALUES, RegionEntry, TableFile,
};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::fields::{Dump, fields};
use super::shown::Shown;
use super::{block, properties, range_tombstones, regions};

pub(super) fn write<W: Write>(dump: &mut Dump<W>, bytes: &[u8]) -> io::Result<()> {
    if let Ok((header, _)) = FileHeader::ref_from_prefix(bytes) {
        write_header(dump, header)?;
    }
    let footer_at = bytes.len().saturating_sub(FOOTER_LEN);
    let tail = bytes.get(footer_at..).unwrap_or_default();
    let frame = TableFile::parse(bytes, tail, bytes.len() as u64);
    match &frame {
        Ok(frame) => {
            for region in &frame.regions {
                write_region(dump, bytes, frame, region)?;
            }
        }
        Err(error) => dump.file_damage(*error)?,
    }
    if let Ok((footer, _)) = Footer::ref_from_prefix(tail) {
        write_footer(dump, footer_at as u64, footer)?;
    }
    let Ok(frame) = frame else { return Ok(()) };
    for (index, region) in frame.regions.iter().enumerate() {
        let at = footer_at + size_of::<Footer>() + index * size_of::<RegionEntry>();
        write_entry(dump, at as u64, index, region)?;
    }
    let Some(Ok(checksum)) = tail.get(FOOTER_LEN - 8..).map(U64::read_from_bytes) else {
        return Ok(());
    };
    let at = (bytes.len() - 8) as u64;
    dump.title(at, "end of the footer", "03-table.md, Footer")?;
    dump.field(at, 8, "checksum", &checksum.value(), "of the 4088 bytes before")
}

fn write_header<W: Write>(dump: &mut Dump<W>, header: &FileHeader) -> io::Result<()> {
    dump.title(0, "table header", "03-table.md, Header")?;
    fields!(dump, 0, header, FileHeader [] {
        magic: "which kind of file it is";
        format_major: "a reader refuses any other";
        format_minor: "for information";
        features_required: "bits of what a reader must know";
        features_optional: "bits of what a reader may ignore";
        reserved: "zero";
        file_id: "the file's identity; seeds its checksums";
        hash_seed: "seeds the hash of keys";
        reserved_tail: "zero";
        checksum: "of the 56 bytes before";
    });
    Ok(())
}

fn write_footer<W: Write>(dump: &mut Dump<W>, at: u64, footer: &Footer) -> io::Result<()> {
    dump.title(at, "footer", "03-table.md, Footer")?;
    fields!(dump, at, footer, Footer [] {
        magic: "that a footer stands here";
        format_major: "as in the header";
        format_minor: "as in the header";
        features_required: "as in the header";
        features_optional: "as in the header";
        region_count: "entries of the directory behind these fields";
        file_id: "as in the header";
        file_len: "length of the whole file";
        row_count: "rows: every version of every key";
        min_seqno: "the smallest seqno of a row";
        max_seqno: "the largest seqno of a row";
        reserved: "zero";
    });
    Ok(())
}

fn write_entry<W: Write>(
    dump: &mut Dump<W>,
    at: u64,
    index: usize,
    entry: &RegionEntry,
) -> io::Result<()> {
    dump.title(at, &format!("directory entry {index}"), "03-table.md, Footer")?;
    fields!(dump, at, entry, RegionEntry [] {
        kind: region_name(entry.kind.get());
        flags: "1 critical, 2 with chunk checksums behind it";
        offset: "where the region starts";
        len: "its length, without chunk checksums";
        checksum: "of the region; 0 where its parts have their own";
    });
    Ok(())
}

fn region_name(kind: u32) -> &'static str {
    match kind {
        REGION_DATA => "data blocks",
        REGION_VALUES => "values out of line",
        REGION_FILTER => "filter",
        REGION_INDEX => "index",
        REGION_PROPERTIES => "properties",
        REGION_RANGE_TOMBSTONES => "range tombstones",
        _ => "a kind that this build does not know",
    }
}

/// What tells of a region.
fn region_chapter(kind: u32) -> &'static str {
    match kind {
        REGION_DATA => "03-table.md, Data region",
        REGION_VALUES => "03-table.md, Value region",
        REGION_FILTER => "06-filter.md",
        REGION_INDEX => "05-index.md",
        REGION_PROPERTIES => "03-table.md, Properties",
        REGION_RANGE_TOMBSTONES => "09-range-tombstones.md",
        _ => "",
    }
}

fn write_region<W: Write>(
    dump: &mut Dump<W>,
    bytes: &[u8],
    frame: &TableFile,
    region: &RegionEntry,
) -> io::Result<()> {
    let (at, len, stored_len) = (region.offset.get(), region.len.get(), region.stored_len());
    let name = region_name(region.kind.get());
    let title = format!("region of {len} bytes, {stored_len} in all: {name}");
    dump.title(at, &title, region_chapter(region.kind.get()))?;
    // `TableFile::parse` proved that it lies in the file.
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(stored_len).unwrap_or(usize::MAX));
    let stored = bytes.get(start..end).unwrap_or_default();
    let checksum = region.checksum.get();
    let seed = frame.header.file_id.get() ^ at;
    if region.flags.get() & FLAG_CHUNKED == 0
        && checksum != 0
        && !checksum::matches(stored, seed, checksum)
    {
        dump.mismatch(at, "the region's checksum")?;
    }
    match region.kind.get() {
        REGION_DATA => block::write_all(dump, bytes, frame, region),
        REGION_FILTER => regions::write_filter(dump, stored, frame, region),
        REGION_INDEX => regions::write_index(dump, stored, frame, region),
        REGION_PROPERTIES => properties::write(dump, stored, at),
        REGION_RANGE_TOMBSTONES => range_tombstones::write(dump, stored, at),
        _ => {
            dump.name_bytes(at, stored.len(), name);
            Ok(())
        }
    }
}
