//! The dump of a table's range tombstones.
//!
//! Spec: `format-spec/09-range-tombstones.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::range_tombstones::{
    ENTRY_LEN, HEADER_LEN, RangeTombstoneRegion, RangeTombstonesHeader,
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
