//! Tables whose filter (chapter 06) or range tombstones (chapter 09) break a rule.

use tinydb::internals::FilterSize;
use tinydb::internals::range_tombstone::RangeTombstone;

use super::super::recipe::{put, table, table_with};
use super::{FILTER, PROPERTIES, RANGE_TOMBSTONES, Refused, Table};

/// A filter of one block.
fn filtered() -> Table {
    Table::of(table(&[put(b"key", 1, b"value")], FilterSize::BitsPerKey(10), ""))
}

/// Fragments from `b` to `d` and from `f` to `h`: entries from 32 on, keys from 80 to 84.
fn tombstones() -> Table {
    let fragment = |start, end, seqno| RangeTombstone { start, end: Some(end), seqno };
    let fragments = [fragment(&b"b"[..], &b"d"[..], 7), fragment(b"f", b"h", 8)];
    Table::of(table_with(&[put(b"key", 5, b"value")], &fragments, FilterSize::None, ""))
}

fn refused(rule: &'static str, slug: &'static str, table: Table) -> Refused {
    Refused::new("table", rule, slug, table.sealed())
}

pub(super) fn all() -> Vec<Refused> {
    let filter = |at, bytes: &[u8]| filtered().set_in(FILTER, at, bytes);
    let fragments = |at, bytes: &[u8]| tombstones().set_in(RANGE_TOMBSTONES, at, bytes);
    let none = fragments(8, &[0; 76]).set_len(RANGE_TOMBSTONES, 32).set_in(PROPERTIES, 92, &[0]);
    vec![
        refused("X1", "magic", filter(0, b"TDBX")),
        refused("X2", "algorithm", filter(4, &[2])),
        refused("X3", "block-count", filter(8, &[2])),
        refused("X4", "reserved", filter(63, &[1])),
        refused("X5", "forgets-a-key", filter(64, &[0; 32])),
        refused("X6", "key-count", filter(16, &[2])),
        refused("D1", "magic", fragments(0, b"TDBX")),
        refused("D2", "reserved", fragments(4, &[1])),
        refused("D3", "no-fragments", none),
        refused("D4", "keys-len", fragments(16, &[5])),
        refused("D5", "ends-at-its-start", fragments(81, b"b")),
        refused("D6", "overlap", fragments(81, b"g")),
        refused("D7", "seqno-0", fragments(32, &[0])),
    ]
}
