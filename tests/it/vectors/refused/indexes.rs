//! Tables whose index breaks a rule (chapter 05), or its chunk (chapter 03).

use tinydb::internals::FilterSize;

use super::super::recipe::{numbered, put, spanning_rows, table};
use super::{INDEX, Refused, Table};

/// The fields of the index's header.
const BLOCK_COUNT: usize = 4;
const HEAD_OFFSET: usize = 10;
const FLAGS: usize = 12;
const LEVEL_COUNT: usize = 13;
const TIE_OFFSET: usize = 14;
const BLOCK_SIZE: usize = 16;
const SEPARATORS_LEN: usize = 20;

/// Of a table with one block: heads from 128 on, separator offsets from 256 on, which end it.
fn one_block() -> Table {
    Table::of(table(&[put(b"key", 1, b"value")], FilterSize::None, ""))
}

/// Two blocks, packed, with the separator `c`: heads from 128 on, block offsets from 256 on,
/// separator offsets from 268 on, the separator at 280.
fn two_blocks() -> Table {
    let rows = [b"a1", b"a2", b"a3", b"c1", b"c2", b"c3"].map(|key| put(key, 1, &numbered(1, 250)));
    let table = Table::of(table(&rows, FilterSize::None, ""));
    assert_eq!(table.bytes[table.region(INDEX) + 280], b'c');
    table
}

fn refused(rule: &'static str, slug: &'static str, table: Table) -> Refused {
    Refused::new("table", rule, slug, table.sealed())
}

pub(super) fn all() -> Vec<Refused> {
    let mut all = headers();
    all.extend(arrays());
    all
}

fn headers() -> Vec<Refused> {
    let set = |at, bytes: &[u8]| one_block().set_in(INDEX, at, bytes);
    let long_key = Table::of(table(&[put(b"twelve bytes", 1, b"value")], FilterSize::None, ""));
    let ties = Table::of(table(&spanning_rows(), FilterSize::None, ""));
    // Without blocks there are no heads, and one separator offset.
    let empty = set(BLOCK_COUNT, &[0]).set_in(INDEX, 128, &[0; 136]).set_len(INDEX, 132);
    vec![
        refused("I1", "magic", set(0, b"TDIY")),
        refused("I2", "reserved", set(63, &[1])),
        refused("I3", "no-blocks", empty),
        refused("I4", "level-count", set(LEVEL_COUNT, &[2])),
        refused("I5", "longer-than-its-arrays", one_block().set_len(INDEX, 272)),
        refused("I6", "tie-offset-without-ties", set(TIE_OFFSET, &[1])).also(&["I15"]),
        refused(
            "I8",
            "block-size-of-a-packed-file",
            two_blocks().set_in(INDEX, BLOCK_SIZE, &[0, 4]),
        ),
        refused("I13", "head-offset", long_key.set_in(INDEX, HEAD_OFFSET, &[3])),
        refused("I14", "goes-on", set(FLAGS, &[3])),
        refused("I15", "tie-offset", ties.set_in(INDEX, TIE_OFFSET, &[5])),
    ]
}

fn arrays() -> Vec<Refused> {
    let set = |at, bytes: &[u8]| two_blocks().set_in(INDEX, at, bytes);
    let first_separator = one_block()
        .set_len(INDEX, 265)
        .set_in(INDEX, SEPARATORS_LEN, &[1])
        .set_in(INDEX, 260, &[1])
        .set_in(INDEX, 264, b"x");
    let last_end = 256 + 8;
    let end = two_blocks().bytes[two_blocks().region(INDEX) + last_end];
    let shorter = set(280, b"b").set_in(INDEX, 128 + 15, b"b");
    vec![
        refused("I7", "separator-offset-goes-down", set(268 + 4, &[2])),
        refused("I9", "last-block-offset", set(last_end, &[end + 1])),
        refused("I10", "filling", set(128 + 16, &[0xfe])),
        refused("I11", "first-separator", first_separator),
        refused("I12", "separator-of-no-key", shorter),
        refused("C2", "before-the-checksums", set(281, &[1])),
    ]
}
