//! Tables whose frame, values or properties break a rule (chapter 03), or that need what a reader
//! of version 1 has not.

use tinydb::internals::FilterSize;

use super::super::recipe::{FILE_ID, merge, numbered, put, table};
use super::{DATA, DIRECTORY, ENTRY_LEN, INDEX, PROPERTIES, Refused, Table, VALUES, Why};

fn one_row() -> Table {
    Table::of(table(&[put(b"key", 1, b"value")], FilterSize::None, ""))
}

/// A value out of line, and one in the block.
fn long_value() -> Table {
    let rows = [put(b"a", 2, &numbered(65, 300)), put(b"b", 1, b"short")];
    Table::of(table(&rows, FilterSize::None, ""))
}

/// One key in two blocks, and in the second block another key with the smallest seqno.
fn goes_on() -> Table {
    let mut rows: Vec<_> = (50..100).rev().map(|n| put(b"busy", n, &numbered(48, 20))).collect();
    rows.push(put(b"zz", 1, b"after"));
    Table::of(table(&rows, FilterSize::None, ""))
}

pub(super) fn all() -> Vec<Refused> {
    let mut all = frames();
    all.extend(directories());
    all.extend(contents());
    all.extend(unsupported());
    all
}

fn refused(rule: &'static str, slug: &'static str, table: Table) -> Refused {
    Refused::new("table", rule, slug, table.sealed())
}

fn frames() -> Vec<Refused> {
    let flipped = |at: usize| {
        let mut bytes = one_row().bytes;
        let at = if at < bytes.len() { at } else { bytes.len() - 8 };
        bytes[at] ^= 1;
        bytes
    };
    vec![
        Refused::new("table", "T1", "not-whole-pages", longer_by_eight()),
        refused("T2", "magic", one_row().set(0, b"TINYSSX\x01")),
        Refused::new("table", "T3", "header-checksum", flipped(56)),
        refused("T4", "footer-magic", one_row().set_in_footer(0, b"TINYENX\x01")),
        Refused::new("table", "T5", "footer-checksum", flipped(usize::MAX)),
        refused("T6", "footer-of-another-minor", one_row().set_in_footer(10, &[1])),
        refused("T11", "reserved", one_row().set(20, &[1])),
        refused("T12", "seqnos", one_row().set_in_footer(48, &2_u64.to_le_bytes())).also(&["T17"]),
    ]
}

/// Eight zeros before the footer, and all else is right.
fn longer_by_eight() -> Vec<u8> {
    let mut table = one_row();
    let footer = table.footer();
    table.bytes.splice(footer..footer, [0; 8]);
    let len = table.bytes.len() as u64;
    table.set_in_footer(32, &len.to_le_bytes()).sealed()
}

fn directories() -> Vec<Refused> {
    let end = one_row().footer();
    let many = (100..162).fold(one_row(), |table, kind| table.add_entry(kind, 0, end, 0));
    let properties = one_row().region(PROPERTIES);
    let third = DIRECTORY + 2 * ENTRY_LEN;
    let without = one_row()
        .set_in_footer(third, &[0; ENTRY_LEN])
        .set_in_footer(20, &2_u32.to_le_bytes())
        .set(properties, &[0; 134]);
    let mut no_match = one_row();
    let entry = no_match.entry(PROPERTIES);
    no_match.bytes[entry + 24] ^= 1;
    vec![
        refused("T7", "too-many-regions", many),
        refused("T8", "overlap", one_row().add_entry(100, 0, properties, 134)),
        refused("T9", "twice", one_row().add_entry(100, 0, end, 0).add_entry(100, 0, end, 0)),
        refused("T10", "no-properties", without),
        refused("T13", "properties-len", one_row().set_in(PROPERTIES, 84, &[1])),
        Refused::new("table", "T14", "region-checksum", no_match.seal_ends(FILE_ID)),
        refused("T23", "flags", {
            let entry = one_row().entry(DATA);
            one_row().set(entry + 4, &[1])
        }),
    ]
}

fn contents() -> Vec<Refused> {
    let kept = long_value();
    let (values, reference) = (kept.region(VALUES), kept.column(0, "values"));
    let beyond = kept.clone().set(reference + 8, &[45]).set_in(PROPERTIES, 64, &[50]);
    let mut wrong_value = kept.clone();
    wrong_value.bytes[values + 7] ^= 1;
    let named = Table::of(table(&[merge(b"key", 1, b"+1")], FilterSize::None, "sum"));
    let mut wrong_sum = one_row();
    let index = wrong_sum.region(INDEX);
    wrong_sum.bytes[index + 264] ^= 1;

    let twice = goes_on();
    assert!(twice.bytes[twice.blocks[0].0 + 30] & 16 != 0, "the key goes on");
    let deltas = twice.column(1, "seqnos") + 8;
    // The seqno of the last row before, as a delta above 1.
    let again = 99 - (twice.bytes[twice.blocks[0].0 + 12] - 1) - 1;
    let last = one_row().blocks[0].0;
    vec![
        refused("T15", "beyond-the-last-block", one_row().set_len(DATA, 128)),
        refused("T16", "largest-key", one_row().set_in(PROPERTIES, 128 + 5, b"z")),
        refused("T17", "key-bytes", one_row().set_in(PROPERTIES, 56, &[4])),
        refused("T18", "outside", beyond).also(&["T24"]),
        refused("T19", "value", wrong_value),
        refused("T20", "between-regions", one_row().set(0x3f00, &[1])),
        refused("T21", "across-blocks", twice.set(deltas, &[again])),
        refused("T22", "goes-on", one_row().set(last + 30, &[0x12]).set_in(INDEX, 12, &[3])),
        refused("T24", "number", kept.set(reference + 12, &[1])),
        refused("T25", "operator", named.set_in(PROPERTIES, 128 + 6, &[0xff])),
        Refused::new("table", "C1", "chunk-checksum", wrong_sum.bytes),
    ]
}

/// Right in all that a reader of version 1 can check, and yet not for it.
fn unsupported() -> Vec<Refused> {
    let end = one_row().footer();
    let needs = |what, number, slug, table: Table| Refused {
        why: Why::Needs(what, number),
        ..Refused::new("table", "", slug, table.sealed())
    };
    let both = |at: usize, bytes: &[u8]| one_row().set(at, bytes).set_in_footer(at, bytes);
    vec![
        needs("major", 2, "major", both(8, &[2])),
        needs("feature", 7, "required-feature", both(12, &[0x80])),
        needs("region", 100, "critical-region", one_row().add_entry(100, 1, end, 0)),
    ]
}

/// The same table with bits that a reader ignores.
pub(in super::super) fn ignored(at: usize, bytes: &[u8]) -> Vec<u8> {
    one_row().set(at, bytes).set_in_footer(at, bytes).sealed()
}

/// The same table with a region that no reader knows, and none needs.
pub(in super::super) fn unknown_region() -> Vec<u8> {
    let mut table = one_row();
    let at = table.footer();
    table.bytes.splice(at..at, std::iter::repeat_n(0, 4096));
    let len = table.bytes.len() as u64;
    let named = table.set(at, b"what a later version keeps here");
    let entry = named.add_entry(100, 0, at, 31).set_in_footer(32, &len.to_le_bytes());
    entry.sealed()
}
