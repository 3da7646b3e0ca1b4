//! The dump of a table's range tombstones.
//!
//! Spec: `format-spec/09-range-tombstones.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::range_tombstones::{
    ENTRY_LEN, HEADER_LEN, RangeTombstoneEntry, RangeTombstoneRegion, RangeTombstonesHeader,
};
use zerocopy::FromBytes;

use super::fields::{Dump, fields};
use super::shown::Value;

pub(super) fn write<W: Write>(dump: &mut Dump<W>, bytes: &[u8], at: u64) -> io::Result<()> {
    if let Ok((header, _)) = RangeTombstonesHeader::ref_from_prefix(bytes) {
        fields!(dump, at, header, RangeTombstonesHeader [] {
            magic: "that range tombstones stand here";
            reserved: "zero";
            count: "fragments: disjoint ranges, each with one seqno";
            keys_len: "bytes of all starts and ends";
            reserved_tail: "zero";
        });
    }
    let region = match RangeTombstoneRegion::parse(bytes) {
        Ok(region) => region,
        Err(error) => return dump.damage(at, error),
    };
    if dump.with_rows && dump.shows_bytes() {
        return write_bytes(dump, bytes, &region, at);
    }
    let keys_at = HEADER_LEN + region.len() * ENTRY_LEN;
    if dump.with_rows {
        for (index, fragment) in region.iter().enumerate() {
            let at = at + (HEADER_LEN + index * ENTRY_LEN) as u64;
            let range = Value::Range(fragment.start, fragment.end);
            let meaning = format!("rows below seqno {} are deleted", fragment.seqno);
            let (place, name) = ((at, ENTRY_LEN), format!("fragment {index}"));
            dump.entry(place, &name, &range, &meaning, &[("seqno", fragment.seqno)])?;
        }
    }
    let meaning = "start and end of each fragment, back to back";
    dump.field(at + keys_at as u64, bytes.len() - keys_at, "keys", &Value::Nothing, meaning)
}

/// Writes the fields of each fragment, and then its keys, for those who look at bytes.
fn write_bytes<W: Write>(
    dump: &mut Dump<W>,
    bytes: &[u8],
    region: &RangeTombstoneRegion<'_>,
    at: u64,
) -> io::Result<()> {
    const SPEC: &str = "09-range-tombstones.md, Fragments";
    let mut keys_at = at + (HEADER_LEN + region.len() * ENTRY_LEN) as u64;
    for (index, fragment) in region.iter().enumerate() {
        let start = HEADER_LEN + index * ENTRY_LEN;
        let entry = bytes.get(start..).map(RangeTombstoneEntry::ref_from_prefix);
        let Some(Ok((entry, _))) = entry else { return Ok(()) };
        dump.title(at + start as u64, &format!("fragment {index}"), SPEC)?;
        fields!(dump, at + start as u64, entry, RangeTombstoneEntry [] {
            seqno: "rows of the range with a smaller one are deleted";
            keys_offset: "where the start lies, and behind it the end";
            start_len: "length of the start";
            end_len: "length of the end";
            flags: "1: the range has no end";
        });
        let end = fragment.end.unwrap_or_default();
        for (name, key) in [("start", fragment.start), ("end", end)] {
            let meaning = format!("of fragment {index}");
            dump.field(keys_at, key.len(), name, &Value::Bytes(key), &meaning)?;
            keys_at += key.len() as u64;
        }
    }
    Ok(())
}
