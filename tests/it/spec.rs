//! The spec and the source say the same: structures, rules, tables of vectors, dumps.

use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use tinydb::internals::data_block::BlockHeader;
use tinydb::internals::error::Rule;
use tinydb::internals::filter::{self, FilterHeader};
use tinydb::internals::index::IndexHeader;
use tinydb::internals::log::{LogHeader, RecordHeader};
use tinydb::internals::log_op::OpHeader;
use tinydb::internals::manifest::{ManifestHeader, TableRow};
use tinydb::internals::preamble::Preamble;
use tinydb::internals::range_tombstones::{RangeTombstoneEntry, RangeTombstonesHeader};
use tinydb::internals::table_file::{FileHeader, Footer, PropertiesHeader, RegionEntry};
use tinydb::internals::value_ref::ValueRef;
use tinydb::internals::{
    checksum, chunks, data_block, file_name, index, log, log_op, manifest, range_tombstones, row,
    table_file,
};

/// A structure: its name, its size, and of each field offset, size and name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Structure {
    name: String,
    size: usize,
    fields: Vec<(usize, usize, String)>,
}

/// Makes a [`Structure`] of types whose fields are all named; it does not compile if one is not.
macro_rules! structures {
    ($($type:ident { $($field:ident),+ $(,)? })+) => {
        vec![$({
            fn all_are_named(it: &$type) {
                let $type { $($field: _),+ } = it;
            }
            let _ = all_are_named;
            let offsets = [$((stringify!($field), offset_of!($type, $field))),+];
            structure(stringify!($type), size_of::<$type>(), &offsets)
        }),+]
    };
}

/// A field ends where the next one starts: no structure has padding.
fn structure(name: &str, size: usize, offsets: &[(&str, usize)]) -> Structure {
    let ends = offsets.iter().skip(1).map(|(_, offset)| *offset).chain([size]);
    let fields = offsets.iter().zip(ends);
    let fields = fields.map(|((name, offset), end)| (*offset, end - offset, (*name).to_owned()));
    Structure { name: name.to_owned(), size, fields: fields.collect() }
}

fn structures_of_the_source() -> Vec<Structure> {
    structures! {
        Preamble { magic, format_major, format_minor, features_required, features_optional }
        FileHeader {
            magic, format_major, format_minor, features_required, features_optional, reserved,
            file_id, hash_seed, reserved_tail, checksum,
        }
        Footer {
            magic, format_major, format_minor, features_required, features_optional, region_count,
            file_id, file_len, row_count, min_seqno, max_seqno, reserved,
        }
        RegionEntry { kind, flags, offset, len, checksum }
        ValueRef { offset, len, index, checksum }
        PropertiesHeader {
            database_id, file_number, key_count, delete_count, merge_count, expiring_count,
            reference_count, key_bytes, value_bytes, min_expiry, block_count, operator_len,
            smallest_len, largest_len, range_tombstone_count, reserved,
        }
        BlockHeader {
            checksum, block_len, row_count, prefix_len, key_heap_len, value_heap_len,
            value_stride, key_stride, columns, widths,
        }
        IndexHeader {
            magic, block_count, prefix_len, head_offset, flags, level_count, tie_offset, block_size,
            separators_len, reserved_tail,
        }
        FilterHeader { magic, algorithm, block_count, reserved, key_count, reserved_tail }
        LogHeader {
            preamble, operator_len, log_number, database_id, hash_seed, manifest_number,
            previous_log, first_seqno, reserved, operator_checksum, checksum,
        }
        RecordHeader {
            header_checksum, payload_checksum, payload_len, first_seqno, synced_upto, op_count,
            kind, reserved,
        }
        OpHeader { tag, tree_id, key_len, value_len }
        ManifestHeader {
            preamble, table_count, operator_len, tree_count, file_len, manifest_number,
            database_id, hash_seed, next_file_number, last_seqno, oldest_log, reserved,
            body_checksum, checksum,
        }
        TableRow {
            tree_id, level, file_number, file_id, file_len, checksum, row_count, min_seqno,
            max_seqno, keys_offset, smallest_len, largest_len, range_tombstone_count, cleared_seqno,
            reserved,
        }
        RangeTombstonesHeader { magic, reserved, count, keys_len, reserved_tail }
        RangeTombstoneEntry { seqno, keys_offset, start_len, end_len, flags }
    }
}

const RULES: &[&[&Rule]] = &[
    file_name::RULES,
    table_file::RULES,
    chunks::RULES,
    data_block::RULES,
    index::RULES,
    filter::RULES,
    log::RULES,
    log_op::RULES,
    manifest::RULES,
    range_tombstones::RULES,
];

// ---- what is compared ---------------------------------------------------------------------

#[test]
fn every_structure_is_that_of_the_spec() {
    let mut spec: Vec<Structure> = chapters().iter().flat_map(|it| structures(&it.text)).collect();
    let mut source = structures_of_the_source();
    spec.sort();
    source.sort();
    let names = |all: &[Structure]| all.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&spec), names(&source), "structures of the spec, and of the source");
    for (spec, source) in spec.iter().zip(&source) {
        assert_eq!(spec, source, "the spec's, and the source's");
    }
}

#[test]
fn every_rule_is_that_of_the_spec() {
    let spec: Vec<(String, String)> = chapters().iter().flat_map(|it| rules(&it.text)).collect();
    let source = RULES.iter().copied().flatten();
    let source: Vec<(String, String)> =
        source.map(|rule| (rule.id.to_owned(), rule.text.to_owned())).collect();
    for (spec, source) in spec.iter().zip(&source) {
        assert_eq!(spec, source, "the spec's, and the source's");
    }
    assert_eq!(spec.len(), source.len());
}

#[test]
fn a_chapter_says_when_its_rules_are_checked() {
    for chapter in numbered_chapters() {
        let has_rules = !rules(&chapter.text).is_empty();
        let section = chapter.text.split_once("\n## Rules\n").map(|(_, section)| section);
        assert_eq!(section.is_some(), has_rules, "{}", chapter.name);
        let before = section.and_then(|section| section.split_once("\n- **"));
        let says_when = before.is_some_and(|(before, _)| before.contains(" MUST check "));
        assert_eq!(says_when, has_rules, "{}", chapter.name);
    }
}

#[test]
fn every_chapter_is_in_the_readme_and_no_change_is_told_in_it() {
    let all = chapters();
    let readme = &all.first().expect("README.md").text;
    for chapter in &all[1..] {
        assert!(readme.contains(&format!("]({})", chapter.name)), "{}", chapter.name);
        assert!(!sections(&chapter.text).any(|section| section == "History"), "{}", chapter.name);
    }
}

#[test]
fn words_that_bind_are_in_capitals() {
    let all = chapters();
    let words = |text: &str| -> Vec<String> {
        let outside = text.split("```").step_by(2).collect::<Vec<_>>().join(" ");
        let is_end = |c: char| !c.is_alphanumeric();
        outside.split(is_end).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut complaints = Vec::new();
    for chapter in &all {
        for word in words(&chapter.text) {
            let binds = ["must", "should", "shall", "recommended"].contains(&word.as_str());
            complaints.extend(binds.then(|| format!("{}: {word}", chapter.name)));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let used: Vec<String> = all[1..].iter().flat_map(|chapter| words(&chapter.text)).collect();
    for word in ["MUST", "SHOULD", "MAY"] {
        assert!(used.iter().any(|it| it == word), "{word} is defined and never used");
    }
}

#[test]
fn every_file_of_the_source_names_a_chapter_that_there_is() {
    let chapters = chapters();
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (at, _) in text.match_indices("`format-spec/") {
            let rest = &text[at + "`format-spec/".len()..];
            let (name, rest) = rest.split_once('`').expect("a closing backtick");
            let Some(chapter) = chapters.iter().find(|chapter| chapter.name == name) else {
                let known = name.is_empty() || name.starts_with("vectors/");
                complaints.extend((!known).then(|| format!("{path}: no chapter {name}")));
                continue;
            };
            let section = rest.strip_prefix(", \"").and_then(|rest| rest.split_once('"'));
            if let Some((section, _)) = section
                && !sections(&chapter.text).any(|known| known == section)
            {
                complaints.push(format!("{path}: {name} has no section \"{section}\""));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn links_of_the_spec_lead_somewhere() {
    for chapter in chapters() {
        for (at, _) in chapter.text.match_indices("](") {
            let target = chapter.text[at + 2..].split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                let path = folder().join(target);
                assert!(path.exists(), "{}: {target} is not there", chapter.name);
            }
        }
    }
}

#[test]
fn hashes_are_those_of_the_spec() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let heading = "| n | seed 0 | seed 42 | seed 0xf11ef11ef11ef11e |";
    let rows = table_rows("README.md", heading);
    assert_eq!(rows.len(), 16);
    for row in rows {
        let len: usize = row[0].parse().unwrap();
        for (cell, seed) in [(&row[1], 0), (&row[2], 42), (&row[3], 0xF11E_F11E_F11E_F11E)] {
            let got = format!("{:#018x}", checksum::checksum(&bytes[..len], seed));
            assert_eq!(&got, cell, "{len} bytes, seed {seed}");
        }
    }
}

#[test]
fn filter_bits_are_those_of_the_spec() {
    let salts = table_rows("06-filter.md", "| i | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |");
    let source: Vec<String> = filter::SALTS.iter().map(|salt| format!("{salt:#010x}")).collect();
    assert_eq!(salts[0][1..], source);
    let rows = table_rows("06-filter.md", "| hash | block, of 1000 | bit in each word |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let hash = u64::from_str_radix(row[0].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(filter::block_of(hash, 1000).to_string(), row[1]);
        let bits = filter::mask(hash).map(|word| word.trailing_zeros().to_string());
        assert_eq!(bits.join(" "), row[2]);
    }
}

#[test]
fn limits_are_those_of_the_source() {
    let rows = table_rows("12-implementers.md", "| What | At least | At most | Where |");
    let limits = |what: &str| -> [u64; 2] {
        let row = rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no {what}"));
        [&row[1], &row[2]].map(|cell| number_of(cell))
    };
    assert_eq!(limits("user key"), [0, row::MAX_KEY_LEN as u64]);
    assert_eq!(limits("value or operand"), [0, row::MAX_VALUE_LEN]);
    assert_eq!(limits("expiry"), [1, row::MAX_EXPIRY]);
    assert_eq!(limits("data block"), [64, data_block::MAX_BLOCK_LEN]);
    assert_eq!(limits("rows of a block"), [1, u64::from(u16::MAX)]);
    assert_eq!(limits("regions of a table"), [3, table_file::MAX_REGIONS as u64]);
    let levels = (1_u32..16).find(|levels| 1_u64 << (4 * levels) >= u64::from(u32::MAX));
    assert_eq!(limits("levels of the search tree"), [1, u64::from(levels.expect("some"))]);
}

/// The number at the start of a cell: `65,535 bytes`, `16 MiB`, `2^48`.
fn number_of(cell: &str) -> u64 {
    let mut words = cell.split([' ', ':']);
    let first = words.next().unwrap_or_default().replace(',', "");
    let number = match first.split_once('^') {
        Some((base, exponent)) => {
            let base: u64 = base.parse().expect("a number");
            base.pow(exponent.parse().expect("a number"))
        }
        None => first.parse().expect("a number"),
    };
    number
        << match words.next() {
            Some("KiB") => 10,
            Some("MiB") => 20,
            _ => 0,
        }
}

// ---- reading the spec ---------------------------------------------------------------------

struct Chapter {
    name: String,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec")
}

/// The chapters in their order; the first is README.md.
fn chapters() -> Vec<Chapter> {
    let entries = fs::read_dir(folder()).expect("format-spec");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "md"))
        .collect();
    names.sort_by_key(|name| (name != "README.md", name.clone()));
    let read = |name: String| {
        let text = fs::read_to_string(folder().join(&name)).expect("a chapter");
        Chapter { name, text }
    };
    names.into_iter().map(read).collect()
}

/// The chapters that describe something.
fn numbered_chapters() -> Vec<Chapter> {
    let is_numbered = |chapter: &Chapter| chapter.name.starts_with(|c: char| c.is_ascii_digit());
    chapters().into_iter().filter(is_numbered).collect()
}

/// The source files, by path.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.display().to_string(), text));
            }
        }
    }
    found
}

fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("## "))
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What follows a line of a text, up to the first line that is no row of a table.
fn rows_behind<'t>(text: &'t str, line: &str) -> impl Iterator<Item = Vec<String>> + use<'t> {
    let at = text.find(line).unwrap_or_else(|| panic!("no line {line:?}"));
    let rows = text[at..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(cells)
}

fn table_rows(chapter: &str, heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(chapter)).expect("a chapter");
    rows_behind(&text, heading).collect()
}

/// The structures that a chapter describes.
fn structures(text: &str) -> Vec<Structure> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("\n### `") {
        let heading = text[at + 6..].lines().next().unwrap_or_default();
        let (name, size) = heading.split_once("` (").expect("### `Name` (N bytes)");
        let size = size.strip_suffix(" bytes)").expect("### `Name` (N bytes)");
        let rows = rows_behind(&text[at..], "| offset | size | field | meaning |");
        let number = |cell: &str| cell.parse::<usize>().expect("a number");
        let fields = rows.map(|row| (number(&row[0]), number(&row[1]), row[2].clone())).collect();
        found.push(Structure { name: name.to_owned(), size: number(size), fields });
    }
    found
}

/// The rules of a chapter: their numbers and texts.
fn rules(text: &str) -> Vec<(String, String)> {
    let rule = |line: &str| {
        let (id, text) = line.strip_prefix("- **")?.split_once("**: ")?;
        let is_number = id.len() > 1 && id[1..].bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (id.to_owned(), text.to_owned()))
    };
    text.lines().filter_map(rule).collect()
}
