//! Tables whose data block breaks a rule (chapter 04).

use tinydb::internals::FilterSize;
use tinydb::internals::checksum::hash_key;
use tinydb::internals::data_block::BlockBuilder;

use super::super::recipe::{HASH_SEED, OwnedRow, delete, numbered, put, table};
use super::{DATA, PROPERTIES, Refused, Table};

/// The fields of a block's header.
const BLOCK_LEN: usize = 8;
const ROW_COUNT: usize = 12;
const VALUE_HEAP_LEN: usize = 20;
const VALUE_STRIDE: usize = 24;
const COLUMNS: usize = 30;
const WIDTHS: usize = 31;

fn table_of(rows: &[OwnedRow]) -> Table {
    Table::of(table(rows, FilterSize::None, ""))
}

fn one_row() -> Table {
    table_of(&[put(b"key", 1, b"value")])
}

/// A block with offsets, seqnos and kinds.
fn columns() -> Table {
    table_of(&[
        put(b"a", 9, b"first"),
        put(b"b", 8, b"newer"),
        put(b"b", 7, b"older!"),
        delete(b"c", 6),
        put(b"dd", 5, b"x"),
    ])
}

/// In the middle block, which had one row with the longest key that there can be, two rows: their
/// prefix and a suffix make a longer one.
fn long_key() -> Table {
    let bs = |len: usize| b"b".repeat(len);
    let longest = put(&bs(65_535), 3, &[b'.'; 200]);
    let table = table_of(&[put(b"a", 4, b"first"), longest, put(b"c", 1, b"last")]);
    let mut builder = BlockBuilder::new();
    for row in [put(b"b", 3, &[b'.'; 60]), put(&bs(65_601), 2, &[b'.'; 60])] {
        builder.push(&row.row(), false, hash_key(&row.key, HASH_SEED));
    }
    let mut block = Vec::new();
    builder.finish(false, &mut block);
    let (at, len) = table.blocks[1];
    assert_eq!(block.len(), len, "it takes the other block's place");
    let table = table.set(at, &block).set_in_footer(40, &[4]).set_in(PROPERTIES, 16, &[4]);
    let (key_bytes, value_bytes) = (65_604_u64.to_le_bytes(), 129_u64.to_le_bytes());
    table.set_in(PROPERTIES, 56, &key_bytes).set_in(PROPERTIES, 64, &value_bytes)
}

pub(super) fn all() -> Vec<Refused> {
    let mut all = headers();
    all.extend(rows());
    all
}

fn refused(rule: &'static str, slug: &'static str, table: Table) -> Refused {
    Refused::new("table", rule, slug, table.sealed())
}

fn headers() -> Vec<Refused> {
    let at = one_row().blocks[0].0;
    let set = |field, bytes: &[u8]| one_row().set(at + field, bytes);
    let mut gone = one_row().set(at, &[0; 64]).set_len(DATA, 16);
    gone.blocks.clear();
    let mut flipped = one_row().bytes;
    flipped[at] ^= 1;
    // The header says nothing but its length, and only zeros follow.
    let empty = set(ROW_COUNT, &[0; 52]);
    let mut beyond = set(BLOCK_LEN, &[128]);
    beyond.blocks[0].1 = 128;
    let thousand = 1000_u32.to_le_bytes();
    vec![
        refused("B1", "beyond-the-region", gone).also(&["T15"]),
        refused("B2", "beyond-the-region", beyond).also(&["B16", "T15"]),
        Refused::new("table", "B3", "checksum", flipped),
        refused("B4", "no-rows", empty).also(&["T16", "T17"]),
        refused("B5", "reserved-column", set(COLUMNS, &[0x22])),
        refused("B6", "width-of-an-absent-column", set(WIDTHS, &[0x0f])),
        refused("B7", "too-many-values", {
            set(VALUE_HEAP_LEN, &thousand).set(at + VALUE_STRIDE, &thousand)
        }),
        refused("B8", "stride", set(VALUE_STRIDE, &[4]).set_in(PROPERTIES, 64, &[4])),
    ]
}

fn rows() -> Vec<Refused> {
    let base = columns();
    let (at, len) = base.blocks[0];
    let column = |name, skip| base.column(0, name) + skip;
    let set = |name, skip, bytes: &[u8]| columns().set(column(name, skip), bytes);
    let longer_len = u32::try_from(len + 64).expect("a short block");
    let mut longer = columns().set(at + BLOCK_LEN, &longer_len.to_le_bytes());
    longer.blocks[0].1 += 64;
    let longer = longer.set_len(DATA, len + 64);

    let late = (1_u64 << 48) + 1;
    let expiring = table_of(&[put(b"key", 1, b"value").expiring(2_000_000_000)]);
    let expiry = expiring.column(0, "expiries");
    let expiring = expiring.set(expiry, &late.to_le_bytes());
    let two = table_of(&[put(b"a", 2, b"1"), put(b"b", 1, b"2")]);
    let seqnos = two.column(0, "seqnos");
    let most = two.set(seqnos, &[0xff; 8]).set_in_footer(48, &[0xff; 16]);
    let mixed = table_of(&[put(b"a", 2, &numbered(65, 300)), put(b"b", 1, b"short")]);
    let kinds = mixed.column(0, "kinds");
    vec![
        refused("B9", "key-offset-goes-down", set("key_offsets", 4, &[0])),
        refused("B10", "value-offset-goes-down", set("value_offsets", 2, &[12])),
        refused("B11", "unknown-kind", set("kinds", 0, &[3])),
        refused("B12", "tombstone-with-a-value", {
            set("kinds", 4, &[1]).set_in(PROPERTIES, 24, &[2])
        }),
        refused("B13", "older-before-newer", set("seqnos", 8 + 1, &[2, 3])),
        refused("B14", "fingerprint", {
            let at = column("fingerprints", 0);
            columns().set(at, &[base.bytes[at] ^ 1])
        }),
        refused("B15", "padding", columns().set(at + len - 1, &[1])),
        refused("B16", "longer-than-needed", longer),
        refused("B17", "far-expiry", expiring.set_in(PROPERTIES, 72, &late.to_le_bytes())),
        refused("B18", "seqno-overflows", most),
        refused("B19", "short-reference", mixed.set(kinds + 1, &[16]).set_in(PROPERTIES, 48, &[2])),
        refused("B20", "too-long-a-key", long_key()),
    ]
}
