//! The dump of a manifest.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::manifest::{ManifestHeader, ManifestView, TableRow};
use zerocopy::FromBytes;

use super::fields::{Dump, fields, preamble};
use super::shown::Value;

pub(super) fn write<W: Write>(dump: &mut Dump<W>, bytes: &[u8]) -> io::Result<()> {
    let view = ManifestView::parse(bytes);
    if let Err(error) = view {
        dump.file_damage(error)?;
    }
    let Ok((header, rest)) = ManifestHeader::ref_from_prefix(bytes) else { return Ok(()) };
    dump.title(0, "manifest header", "08-manifest.md, Header")?;
    preamble(dump, &header.preamble)?;
    fields!(dump, 0, header, ManifestHeader [preamble] {
        table_count: "rows behind this header";
        operator_len: "length of the merge operator's name";
        tree_count: "trees of the database";
        file_len: "length of this file";
        manifest_number: "the number in this file's name";
        database_id: "the database's identity";
        hash_seed: "seeds the hash of keys";
        next_file_number: "file numbers in use are smaller";
        last_seqno: "the largest seqno in the tables";
        oldest_log: "logs below it are obsolete";
        reserved: "zero";
        body_checksum: "of all behind this header";
        checksum: "of the 120 bytes before";
    });
    let mut rest = rest;
    let mut at = size_of::<ManifestHeader>() as u64;
    for index in 0..header.table_count.get() {
        let Ok((row, behind)) = TableRow::ref_from_prefix(rest) else { return Ok(()) };
        write_row(dump, at, index, row)?;
        rest = behind;
        at += size_of::<TableRow>() as u64;
    }
    let Ok(view) = view else { return Ok(()) };
    dump.title(at, "names and keys", "08-manifest.md, Rows")?;
    let operator = view.merge_operator().unwrap_or_default();
    let name = Value::Bytes(operator.as_bytes());
    dump.field(at, operator.len(), "operator", &name, "the merge operator's name")?;
    for (index, table) in view.tables().enumerate() {
        let at = table.row.keys_offset.get();
        let (smallest, largest) = (Value::Bytes(table.smallest), Value::Bytes(table.largest));
        let meaning = format!("of table {index}");
        dump.field(at, table.smallest.len(), "smallest key", &smallest, &meaning)?;
        let at = at + table.smallest.len() as u64;
        dump.field(at, table.largest.len(), "largest key", &largest, &meaning)?;
    }
    Ok(())
}

fn write_row<W: Write>(dump: &mut Dump<W>, at: u64, index: u32, row: &TableRow) -> io::Result<()> {
    dump.title(at, &format!("table {index}"), "08-manifest.md, Rows")?;
    fields!(dump, at, row, TableRow [] {
        tree_id: "the tree that it belongs to";
        level: "the level that it belongs to";
        file_number: "the number in its file's name";
        file_id: "the identity in its file's header";
        file_len: "its file's length";
        checksum: "of its whole file";
        row_count: "rows in it";
        min_seqno: "its smallest seqno";
        max_seqno: "its largest seqno";
        keys_offset: "where in this file its two keys lie";
        smallest_len: "length of its smallest key";
        largest_len: "length of its largest key";
        range_tombstone_count: "range tombstones in it";
        cleared_seqno: "no range tombstone up to this one covers a row of it";
        reserved: "zero";
    });
    Ok(())
}
