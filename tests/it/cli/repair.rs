//! `tinydb repair`: what it prints, in text and in JSON, and its exit codes.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::{files, filled, flip_a_bit, is_whole, place, run, text};

/// A database with a table of this many records, and one record in the log.
fn with_a_table(dir: &Path) {
    filled(dir, &[(b"a", b"1"), (b"b", b"2")]);
    run(&["compact", text(dir)]);
    run(&["put", text(dir), "c", "3"]).says("");
}

#[test]
fn a_healthy_database_is_told_to_be_so() {
    let (_parent, dir) = place();
    with_a_table(&dir);
    let before = files(&dir, "");
    run(&["repair", text(&dir)]).contains(&[
        "TABLE-",
        "\tlevel 6\t2 rows\n",
        "\tlog\t1 batches\n",
        "\nnothing is wrong, nothing was changed\n",
    ]);
    assert_eq!(files(&dir, ""), before);
    let report = run(&["repair", text(&dir), "--json"]);
    let report: Json = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(report["is_healthy"], true, "{report}");
    assert_eq!(report["manifest"], Json::Null, "{report}");
    assert_eq!(report["kept"].as_array().expect("a list").len(), 2, "{report}");
}

#[test]
fn a_lost_manifest_is_made_anew() {
    let (_parent, dir) = place();
    with_a_table(&dir);
    for manifest in files(&dir, "MANIFEST") {
        fs::remove_file(manifest).expect("a file of our own");
    }
    run(&["get", text(&dir), "a"]).fails(3, &["damaged", "or repair the database"]);
    run(&["repair", text(&dir)]).contains(&["MANIFEST-", " was made from the tables alone\n"]);
    is_whole(&dir);
    run(&["scan", text(&dir)]).says("a\t1\nb\t2\nc\t3\n");
}

#[test]
fn a_damaged_table_is_code_1_and_named_with_what_is_lost() {
    let (_parent, dir) = place();
    with_a_table(&dir);
    let table = files(&dir, "TABLE").remove(0);
    flip_a_bit(&table, 8200);
    let copy = dir.with_extension("copy");
    fs::create_dir(&copy).expect("a directory");
    for file in files(&dir, "") {
        fs::copy(&file, copy.join(file.file_name().expect("a name"))).expect("a copy");
    }
    let report = run(&["repair", text(&dir)]);
    assert_eq!((report.code, report.stderr.as_str()), (Some(1), ""));
    let moved_to = dir.join("damaged").join(table.file_name().expect("a name"));
    let set_aside = format!("set aside\t{}\t8200\trule B2 ", text(&table));
    let lost = "is damaged; 2 of its 2 rows, with keys between the start and the end, are lost";
    for words in [&set_aside, text(&moved_to), "\nlost\t", lost, "was made from"] {
        assert!(report.stdout.contains(words), "{words}: {}", report.stdout);
    }
    assert!(moved_to.is_file() && !table.exists());
    is_whole(&dir);
    run(&["scan", text(&dir)]).says("c\t3\n");

    let report = run(&["repair", text(&copy), "--json"]);
    assert_eq!((report.code, report.stderr.as_str()), (Some(1), ""));
    let report: Json = serde_json::from_str(&report.stdout).expect("JSON");
    let aside = &report["set_aside"][0];
    assert_eq!(aside["offset"], 8200, "{report}");
    assert!(aside["moved_to"].as_str().expect("text").contains("damaged"), "{report}");
    assert!(
        report["losses"][0]["text"].as_str().expect("text").contains("2 of its 2 rows"),
        "{report}"
    );
    assert_eq!(report["is_complete"], false, "{report}");
}

#[test]
fn what_is_no_database_is_refused() {
    let (parent, dir) = place();
    run(&["repair", text(&dir)]).fails(3, &["no database at", text(&dir)]);
    fs::write(parent.path().join("notes.txt"), "mine").expect("a file");
    run(&["repair", text(parent.path())]).fails(3, &["not a TinyDB database", "notes.txt"]);
    assert_eq!(files(parent.path(), "").len(), 1);
}
