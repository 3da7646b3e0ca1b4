//! Manifests that break a rule (chapter 08).

use super::super::recipe::{manifest, table_records};
use super::{Refused, Why, seal};

/// Where the rows of the tables start, and how long one is.
const ROWS: usize = 128;
const ROW_LEN: usize = 96;

/// With five tables, and the operator `sum` at 608.
fn whole() -> Vec<u8> {
    manifest(Some("sum"), table_records())
}

/// With these bytes somewhere, under right checksums.
pub(super) fn with_preamble(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut manifest = whole();
    manifest[at..at + bytes.len()].copy_from_slice(bytes);
    let len = manifest.len();
    seal(&mut manifest, 112, 128..len, 0);
    seal(&mut manifest, 120, 0..120, 0);
    manifest
}

pub(super) fn all() -> Vec<Refused> {
    let rule = |rule, slug, bytes| Refused::new("manifest", rule, slug, bytes);
    let set = |name, slug, at, bytes: &[u8]| rule(name, slug, with_preamble(at, bytes));
    let flipped = |at: usize| {
        let mut manifest = whole();
        manifest[at] ^= 1;
        manifest
    };
    let mut wrong_body = flipped(112);
    seal(&mut wrong_body, 120, 0..120, 0);
    let needs = |what, number, slug, at, bytes: &[u8]| Refused {
        why: Why::Needs(what, number),
        ..Refused::new("manifest", "", slug, with_preamble(at, bytes))
    };
    let row = |number: usize, at: usize| ROWS + ROW_LEN * number + at;
    let older = [850_u64.to_le_bytes(), 850_u64.to_le_bytes()].concat();
    vec![
        rule("M1", "cut-off", whole()[..100].to_vec()),
        set("M2", "magic", 0, b"TINYMAX\x01"),
        rule("M3", "header-checksum", flipped(120)),
        set("M4", "reserved", 88, &[1]),
        set("M5", "file-len", 32, &[0x83]),
        rule("M6", "body-checksum", wrong_body),
        set("M7", "too-many-rows", 20, &[200]),
        set("M8", "operator", row(5, 0), &[0xff]),
        set("M9", "keys-offset", row(0, 64), &[0x64]),
        set("M10", "level-64", row(4, 4), &[64]),
        set("M11", "no-rows", row(0, 40), &[0]),
        set("M12", "newest-last", row(0, 48), &older),
        set("M13", "twice", row(4, 8), &[30]),
        set("M14", "another-number", 40, &[41]),
        needs("major", 2, "major", 8, &[2]),
        needs("feature", 7, "required-feature", 12, &[0x80]),
    ]
}
