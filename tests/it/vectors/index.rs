//! `index.json` lists every vector, good and refused; and TinyDB's decoders refuse the refused
//! ones, each for its rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::LogReader;
use tinydb::internals::manifest::ManifestView;
use tinydb::internals::preamble::{FrameError, Unsupported};

use super::recipe::{self, DATABASE_ID, FILE_ID, FILE_NUMBER, LOG_NUMBER};
use super::refused::{self, Refused, Why};
use super::{check_file, databases, folder, render, rewrites};
use crate::python::broken::{Verdict, verdict};
use crate::sums::parse;

/// Every manifest among the vectors has this number, or should have it.
const MANIFEST_NUMBER: u64 = 42;

/// The chapters, as files.
const CHAPTERS: [&str; 9] = [
    "01-files.md",
    "02-rows.md",
    "03-table.md",
    "04-data-block.md",
    "05-index.md",
    "06-filter.md",
    "07-log.md",
    "08-manifest.md",
    "09-range-tombstones.md",
];

/// The chapter of each rule.
fn rules() -> BTreeMap<String, &'static str> {
    let spec = folder().join("..");
    let rules_of = |chapter: &'static str| {
        let text = fs::read_to_string(spec.join(chapter)).expect(chapter);
        let is_rule = |it: &&str| it[1..].bytes().all(|byte| byte.is_ascii_digit());
        let rule = |line: &str| {
            let (rule, _) = line.strip_prefix("- **")?.split_once("**: ")?;
            Some(rule).filter(is_rule).map(str::to_owned)
        };
        text.lines().filter_map(rule).map(|rule| (rule, chapter)).collect::<Vec<_>>()
    };
    CHAPTERS.into_iter().flat_map(rules_of).collect()
}

/// The name that a reader takes a file of this kind to have.
fn name_of(kind: &str) -> FileName {
    match kind {
        "table" => FileName::Table(FILE_NUMBER),
        "log" => FileName::Log(LOG_NUMBER),
        _ => FileName::Manifest(MANIFEST_NUMBER),
    }
}

fn chapter_of(kind: &str) -> &'static str {
    match kind {
        "table" => "03-table.md",
        "block" => "04-data-block.md",
        "log" => "07-log.md",
        _ => "08-manifest.md",
    }
}

fn good(vector: &recipe::Vector) -> Value {
    let kind = vector.name.split('-').next().expect("a kind");
    json!({
        "file": format!("{}.bin", vector.name),
        "kind": kind,
        "chapter": chapter_of(kind),
        "verdict": "good",
        "answer": format!("{}.json", vector.name),
    })
}

fn bad(vector: &Refused, rules: &BTreeMap<String, &'static str>) -> Value {
    let mut entry = json!({ "file": vector.file(), "kind": vector.kind });
    match vector.why {
        Why::Rule(rule) => {
            entry["chapter"] = json!(rules.get(rule).expect("a rule of the spec"));
            entry["verdict"] = json!("refused");
            entry["rule"] = json!(rule);
            if !vector.also.is_empty() {
                entry["also"] = json!(vector.also);
            }
            if let Verdict::Torn(at, _) = verdict(name_of(vector.kind), &vector.bytes) {
                (entry["verdict"], entry["at"]) = (json!("torn"), json!(at));
            }
        }
        Why::Needs(what, number) => {
            entry["chapter"] = json!(if what == "region" { "03-table.md" } else { "01-files.md" });
            entry["verdict"] = json!("unsupported");
            entry["needs"] = json!({ what: number });
        }
    }
    entry
}

#[test]
fn the_index_lists_every_vector() {
    let rules = rules();
    let vectors = recipe::all().iter().map(good).collect::<Vec<_>>().into_iter();
    let refused = refused::all();
    let vectors: Vec<Value> = vectors.chain(refused.iter().map(|it| bad(it, &rules))).collect();
    let databases: Vec<Value> = databases::all().iter().map(databases::entry).collect();
    let index = json!({
        "read_as": {
            "now": databases::NOW,
            "database_id": format!("{DATABASE_ID:#018x}"),
            "file_id": format!("{FILE_ID:#018x}"),
            "log": name_of("log").to_string(),
            "manifest": name_of("manifest").to_string(),
            "table": name_of("table").to_string(),
        },
        "databases": databases,
        "hashes": "hashes.json",
        "merges": "merge.json",
        "vectors": vectors,
    });
    check_file(&folder().join("index.json"), (render(&index, 0) + "\n").as_bytes());
}

#[test]
fn every_refused_vector_is_made_anew_byte_for_byte() {
    let mut names = BTreeSet::new();
    if rewrites() {
        fs::create_dir_all(folder().join("refused")).expect("a writable clone");
    }
    for vector in refused::all() {
        check_file(&folder().join(vector.file()), &vector.bytes);
        assert!(names.insert(vector.file()), "{} is made twice", vector.file());
    }
    let found = fs::read_dir(folder().join("refused")).expect("refused vectors");
    for entry in found {
        let name = format!("refused/{}", entry.expect("an entry").file_name().display());
        assert!(names.contains(&name), "{name} has no recipe");
    }
}

#[test]
fn tinydb_refuses_every_refused_vector_for_its_rule() {
    let mut complaints = Vec::new();
    for vector in refused::all() {
        let found = verdict(name_of(vector.kind), &vector.bytes);
        let agrees = match (&found, vector.why) {
            (Verdict::Refused(rule) | Verdict::Torn(_, rule), Why::Rule(want)) => rule == want,
            (Verdict::Refused(what), Why::Needs(..)) => what == "unsupported",
            _ => false,
        };
        if !agrees {
            complaints.push(format!("{}: {found:?}", vector.file()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What a reader of version 1 lacks for a file; `None` if it reads it.
fn lack(kind: &str, bytes: &[u8]) -> Option<Unsupported> {
    let error = match kind {
        "table" => parse(bytes).err(),
        "log" => LogReader::open(bytes, DATABASE_ID, LOG_NUMBER).err(),
        _ => ManifestView::parse(bytes).err(),
    };
    match error {
        None => None,
        Some(FrameError::Unsupported(what)) => Some(what),
        Some(FrameError::Broken(error)) => panic!("{kind}: {error}"),
    }
}

#[test]
fn what_a_vector_needs_is_named_by_its_number() {
    let mut count = 0;
    for vector in refused::all() {
        let Why::Needs(what, number) = vector.why else { continue };
        let want = match what {
            "major" => Unsupported::Major(u16::try_from(number).expect("a small number")),
            "feature" => Unsupported::Feature(number),
            _ => Unsupported::Region(number),
        };
        assert_eq!(lack(vector.kind, &vector.bytes), Some(want), "{}", vector.file());
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn every_feature_bit_is_ignored_where_it_is_optional_and_named_where_it_is_required() {
    for kind in ["table", "log", "manifest"] {
        let with = |at, bits: u32| refused::ignored(kind, at, &bits.to_le_bytes());
        for bit in 0..32 {
            assert_eq!(lack(kind, &with(16, 1 << bit)), None, "{kind}: optional feature {bit}");
            for bits in [1 << bit, u32::MAX << bit] {
                let found = lack(kind, &with(12, bits));
                assert_eq!(found, Some(Unsupported::Feature(bit)), "{kind}: features {bits:#x}");
            }
        }
        for minor in [1, u16::MAX] {
            let bytes = refused::ignored(kind, 10, &minor.to_le_bytes());
            assert_eq!(lack(kind, &bytes), None, "{kind}: minor version {minor}");
        }
        for major in [0, 2, u16::MAX] {
            let bytes = refused::ignored(kind, 8, &major.to_le_bytes());
            assert_eq!(lack(kind, &bytes), Some(Unsupported::Major(major)), "{kind}");
        }
    }
}

#[test]
fn every_rule_of_the_spec_has_a_refused_vector() {
    let has_vector = refused::all().into_iter().filter_map(|vector| match vector.why {
        Why::Rule(rule) => Some(rule.to_owned()),
        Why::Needs(..) => None,
    });
    // Rules that compare files with each other need a database to be broken.
    let of_databases = databases::all().into_iter().filter_map(|database| database.rule);
    let found: BTreeSet<String> = has_vector.chain(of_databases.map(str::to_owned)).collect();
    let rules: BTreeSet<String> = rules().into_keys().collect();
    assert_eq!(rules, found);
}
