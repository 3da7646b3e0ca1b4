//! The databases of `format-spec/vectors/databases/`: made anew byte for byte, opened as copies,
//! and read row by row.

mod recipe;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tinydb::{Clock, Db, Error, Options};

pub(super) use recipe::{Database, NOW, all};

use super::{check_file, rewrites};
use recipe::Seen;

fn folder() -> PathBuf {
    super::folder().join("databases")
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("memory");
    }
    text
}

/// The expected rows, one JSON object a line.
fn rows_of(database: &Database) -> String {
    let operator = database.operator();
    let line = |(key, seen): (&Vec<u8>, &Seen)| {
        let Seen { value: base, operands } = seen;
        let mut line = json!({ "key": hex(key) });
        let value = if operands.is_empty() {
            base.clone().expect("a value or operands")
        } else {
            let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
            line["operands"] = operands.iter().map(|it| hex(it)).collect();
            line["base"] = json!(base.as_ref().map(|base| hex(base)));
            operator.merge_batch(key, base.as_deref(), &operands).expect("a value")
        };
        line["value"] = json!(hex(&value));
        line.to_string() + "\n"
    };
    database.seen.iter().map(line).collect()
}

/// What `index.json` says of it.
pub(super) fn entry(database: &Database) -> Value {
    let mut entry = json!({ "directory": format!("databases/{}", database.name) });
    if let Some(rule) = database.rule {
        (entry["verdict"], entry["rule"]) = (json!("refused"), json!(rule));
    } else {
        entry["verdict"] = json!("good");
        entry["rows"] = json!(format!("databases/{}.jsonl", database.name));
    }
    entry
}

#[test]
fn every_database_is_made_anew_byte_for_byte() {
    let mut names = BTreeSet::new();
    for database in all() {
        let folder = folder().join(database.name);
        if rewrites() {
            fs::create_dir_all(&folder).expect("a writable clone");
        }
        for (name, bytes) in &database.files {
            check_file(&folder.join(name.to_string()), bytes);
        }
        let found = fs::read_dir(&folder).expect("the database").count();
        assert_eq!(found, database.files.len(), "{}: files without a recipe", database.name);
        names.insert(database.name.to_owned());
        if database.rule.is_none() {
            let rows = format!("{}.jsonl", database.name);
            check_file(&self::folder().join(&rows), rows_of(&database).as_bytes());
            names.insert(rows);
        }
    }
    let entries = fs::read_dir(folder()).expect("databases").map(|entry| entry.expect("an entry"));
    let found: BTreeSet<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, names);
}

/// A copy, as opening writes.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(folder().join(name)).expect("the database") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
    }
    copy
}

fn open(database: &Database, path: &Path) -> Result<Db, Error> {
    let options = Options::new().clock(Fixed).merge_operator(database.operator());
    options.background_threads(0).create_if_missing(false).open(path)
}

/// What the committed rows say that TinyDB finds: key and value, operands folded.
fn expected(name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let unhex = |value: &Value| -> Vec<u8> {
        let digits = value.as_str().expect("a string").as_bytes();
        let byte = |two: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(two).expect("digits"), 16).expect("digits")
        };
        digits.chunks(2).map(byte).collect()
    };
    let text = fs::read_to_string(folder().join(format!("{name}.jsonl"))).expect("rows");
    let row = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        (unhex(&line["key"]), unhex(&line["value"]))
    };
    text.lines().map(row).collect()
}

fn rows(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = db.iter().map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect()
}

#[test]
fn tinydb_reads_every_database_row_by_row() {
    for database in all().iter().filter(|database| database.rule.is_none()) {
        let (copy, want) = (copy(database.name), expected(database.name));
        let db = open(database, copy.path()).expect(database.name);
        assert_eq!(rows(&db), want, "{}", database.name);
        for (key, value) in &want {
            assert_eq!(db.get(key).expect("a get").as_deref(), Some(&value[..]));
        }
        let report = db.verify().expect("a report");
        assert!(report.is_ok(), "{}: {:?}", database.name, report.problems());
        // What this version makes of the files holds the same rows.
        db.compact().expect("a compaction");
        drop(db);
        let db = open(database, copy.path()).expect(database.name);
        assert_eq!(rows(&db), want, "{}, compacted", database.name);
    }
}

#[test]
fn tinydb_refuses_a_database_whose_files_contradict_each_other_for_the_rule() {
    for database in all() {
        let Some(rule) = database.rule else { continue };
        let copy = copy(database.name);
        let error = open(&database, copy.path()).and_then(|db| {
            db.get("apple")?;
            Ok(())
        });
        let named = match &error {
            Err(Error::Corrupt { source, .. }) => source.rule().id,
            _ => "none",
        };
        assert_eq!(named, rule, "{}: {error:?}", database.name);
    }
}
