//! The dump of a table's properties.
//!
//! Spec: `format-spec/03-table.md`, "Properties". I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::table_file::{Properties, PropertiesHeader};

use super::fields::{Dump, fields};
use super::shown::Value;

pub(super) fn write<W: Write>(dump: &mut Dump<W>, bytes: &[u8], at: u64) -> io::Result<()> {
    let properties = match Properties::parse(bytes) {
        Ok(properties) => properties,
        Err(error) => return dump.damage(at, error),
    };
    fields!(dump, at, properties.header, PropertiesHeader [] {
        database_id: "the database that wrote the table";
        file_number: "the number in its name when it was written";
        key_count: "different keys";
        delete_count: "tombstones";
        merge_count: "merge operands";
        expiring_count: "rows that expire";
        reference_count: "values out of line";
        key_bytes: "bytes of the keys of all rows";
        value_bytes: "bytes of the values of all rows";
        min_expiry: "the earliest expiry; 0 if none";
        block_count: "data blocks";
        operator_len: "length of the merge operator's name";
        smallest_len: "length of the smallest key";
        largest_len: "length of the largest key";
        range_tombstone_count: "range tombstones, as disjoint fragments";
        reserved: "zero";
    });
    let mut at = at + size_of::<PropertiesHeader>() as u64;
    let parts = [
        ("smallest_key", properties.smallest_key, "the first row's key"),
        ("largest_key", properties.largest_key, "the last row's key"),
        ("operator", properties.operator.as_bytes(), "the merge operator's name"),
    ];
    for (name, bytes, meaning) in parts {
        dump.field(at, bytes.len(), name, &Value::Bytes(bytes), meaning)?;
        at += bytes.len() as u64;
    }
    Ok(())
}
