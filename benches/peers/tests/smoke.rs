//! Everything once, with few rows: each engine does all of its work, and what it reads is checked.

use std::process::Command;

#[test]
fn every_engine_does_all_of_the_work_on_every_shape_of_key() {
    for keys in ["user", "long-prefix", "random", "integer", "tenant"] {
        let out = tempfile::tempdir().unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_tinydb-peers"))
            .args(["--rows", "2000", "--reads", "500", "--rounds", "1", "--keys", keys])
            .arg("--out")
            .arg(out.path())
            .output()
            .unwrap();
        assert!(run.status.success(), "{keys}: {}", String::from_utf8_lossy(&run.stderr));
        let table = std::fs::read_to_string(out.path().join("table.md")).unwrap();
        let gets = table.lines().find(|line| line.starts_with("| get, ns |")).unwrap();
        assert!(!gets.contains('–'), "an engine without a figure: {gets}");
        for file in ["results.json", "gets.svg", "scans.svg", "writes.svg"] {
            assert!(out.path().join(file).metadata().unwrap().len() > 500, "{file}");
        }
    }
}
