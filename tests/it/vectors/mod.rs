//! The vectors of `format-spec/vectors/`: made anew byte for byte, read by two readers.
//!
//! With `TINYDB_REWRITE_VECTORS=1` the tests write what they would compare: the vectors, what a
//! reader finds in them, and the dumps in the chapters. A format change shows up as a diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod databases;
#[cfg(feature = "cli")]
mod dumps;
mod hashes;
mod index;
mod merges;
mod reader;
mod recipe;
mod refused;
mod tinydb_reads;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors")
}

fn rewrites() -> bool {
    std::env::var_os("TINYDB_REWRITE_VECTORS").is_some()
}

/// Compares a file with what it should be, or writes it.
#[track_caller]
fn check_file(path: &Path, want: &[u8]) {
    if rewrites() {
        fs::write(path, want).expect("a writable clone");
        return;
    }
    let name = path.display();
    let found = fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let differs = found.iter().zip(want).position(|(a, b)| a != b);
    let at = differs.unwrap_or(found.len().min(want.len()));
    assert!(found == want, "{name} is not what its recipe makes: they differ at {at:#x}");
}

#[test]
fn every_vector_is_made_anew_byte_for_byte() {
    for vector in recipe::all() {
        check_file(&folder().join(format!("{}.bin", vector.name)), &vector.bytes);
    }
}

#[test]
fn a_second_reader_finds_in_every_vector_what_its_json_says() {
    for vector in recipe::all() {
        let found = reader::read(vector.name, &vector.bytes);
        let path = folder().join(format!("{}.json", vector.name));
        check_file(&path, (render(&found, 0) + "\n").as_bytes());
        let parsed: Value = serde_json::from_str(&render(&found, 0)).expect("JSON");
        assert_eq!(parsed, found);
    }
}

#[test]
fn every_file_among_the_vectors_has_a_recipe() {
    let entries = fs::read_dir(folder()).expect("format-spec/vectors");
    let found: BTreeSet<String> = entries
        .map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let names = recipe::all().into_iter().map(|vector| vector.name);
    let mut want: BTreeSet<String> =
        names.flat_map(|name| [format!("{name}.bin"), format!("{name}.json")]).collect();
    let others = ["README.md", "databases", "hashes.json", "index.json", "merge.json", "refused"];
    want.extend(others.map(str::to_owned));
    assert_eq!(found, want);
    let readme = fs::read_to_string(folder().join("README.md")).expect("README.md");
    for name in recipe::all().into_iter().map(|vector| vector.name) {
        assert!(readme.contains(&format!("| `{name}` |")), "README.md does not tell of {name}");
    }
}

/// JSON with a line for each field, and for each element of an array that holds more than numbers.
fn render(value: &Value, depth: usize) -> String {
    let is_flat = |value: &Value| match value {
        Value::Array(all) => !all.iter().any(|it| it.is_array() || it.is_object()),
        Value::Object(all) => !all.values().any(|it| it.is_array() || it.is_object()),
        _ => true,
    };
    if depth > 0 && is_flat(value) {
        return value.to_string();
    }
    let (open, close, items) = match value {
        Value::Array(all) => {
            let items: Vec<String> = all.iter().map(|it| render(it, depth + 1)).collect();
            ('[', ']', items)
        }
        Value::Object(all) => {
            let item =
                |(name, it): (&String, &Value)| format!("\"{name}\": {}", render(it, depth + 1));
            ('{', '}', all.iter().map(item).collect())
        }
        _ => return value.to_string(),
    };
    let indent = "  ".repeat(depth + 1);
    let mut out = String::from(open);
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}\n{indent}{item}").expect("memory");
    }
    write!(out, "\n{}{close}", "  ".repeat(depth)).expect("memory");
    out
}
