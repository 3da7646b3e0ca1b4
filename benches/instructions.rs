//! How many instructions does a read take?
//!
//! Data: one flushed table of 1 M rows, all blocks verified, 20,000 keys or rows. Times move with the
//! machine and with what else it does; these counts do not, so they hold a gain. They are taken by
//! `valgrind --tool=callgrind` (without it this bench only says so), which simulates a processor
//! with AVX2 and without AVX-512.
//!
//! Beside each count stands the one that was recorded with the compiler of `.ci/rust-version`. With
//! `-- --check` a count that differs by more than 5 % is a failure: record the better ones, and
//! explain the worse ones.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench starts programs, reads what they wrote, and prints ratios"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use tinydb::{Db, Snapshot};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, absent_key, fill, is_test, key, options, rows};

/// The cases, and the instructions that each took when they were recorded.
const CASES: [(&str, f64); 7] = [
    ("snapshot get hit", 719.7),
    ("snapshot get absent", 201.3),
    ("db get hit", 917.7),
    ("cursor forward row", 97.0),
    ("cursor backward row", 97.9),
    ("iter row", 366.9),
    ("multi_get key, 64 a call", 1257.4),
];

/// How far a count may be from the recorded one.
const TOLERANCE: f64 = 0.05;

/// Keys or rows of a case.
const COUNT: usize = 20_000;

/// What is counted: callgrind is told this function's name.
#[inline(never)]
fn measured(work: &mut dyn FnMut() -> usize) -> usize {
    work()
}

fn gets(snapshot: &Snapshot, requests: &Requests) -> usize {
    let found = |key| black_box(snapshot.get(key).expect("a sound table")).is_some();
    requests.iter().take(COUNT).filter(|key| found(*key)).count()
}

fn db_gets(db: &Db, requests: &Requests) -> usize {
    let found = |key| black_box(db.get(key).expect("a sound table")).is_some();
    requests.iter().take(COUNT).filter(|key| found(*key)).count()
}

fn walk(snapshot: &Snapshot, ahead: bool) -> usize {
    let mut cursor = snapshot.cursor();
    let found = if ahead { cursor.seek_first() } else { cursor.seek_last() };
    let (mut on_row, mut count) = (found.expect("a sound table"), 0);
    while on_row && count < COUNT {
        black_box((cursor.key(), cursor.value()));
        count += 1;
        let moved = if ahead { cursor.next() } else { cursor.prev() };
        on_row = moved.expect("a sound table");
    }
    count
}

fn iterate(snapshot: &Snapshot) -> usize {
    let mut count = 0;
    for entry in snapshot.iter().take(COUNT) {
        black_box(entry.expect("a sound table"));
        count += 1;
    }
    count
}

fn multi_gets(snapshot: &Snapshot, requests: &Requests) -> usize {
    let keys: Vec<&[u8]> = requests.iter().take(COUNT).collect();
    let found = keys.chunks(64).map(|keys| {
        let values = black_box(snapshot.multi_get(keys).expect("a sound table"));
        values.iter().flatten().count()
    });
    found.sum()
}

/// Runs one case in this process: once to verify and warm, then once to be counted.
fn run_case(case: &str, dir: &Path) {
    let db = options().open(dir).expect("the database");
    let snapshot = db.snapshot();
    let (present, absent) = (Requests::new(rows(), key), Requests::new(rows(), absent_key));
    let mut work: Box<dyn FnMut() -> usize> = match case {
        "snapshot get hit" => Box::new(|| gets(&snapshot, &present)),
        "snapshot get absent" => Box::new(|| gets(&snapshot, &absent)),
        "db get hit" => Box::new(|| db_gets(&db, &present)),
        "cursor forward row" => Box::new(|| walk(&snapshot, true)),
        "cursor backward row" => Box::new(|| walk(&snapshot, false)),
        "iter row" => Box::new(|| iterate(&snapshot)),
        _ => Box::new(|| multi_gets(&snapshot, &present)),
    };
    let want = if case == "snapshot get absent" { 0 } else { COUNT.min(rows()) };
    assert_eq!(work(), want, "{case}");
    assert_eq!(measured(&mut work), want, "{case}");
}

/// Counts the instructions of one case for each key or row; `None` without callgrind.
fn count(case: &str, dir: &Path) -> Option<f64> {
    let out = dir.join("callgrind.out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--bench", "--case", case])
        .arg(dir.join("db"))
        .env("TINYDB_BENCH_ROWS", rows().to_string())
        .status()
        .ok()?;
    assert!(status.success(), "{case} under callgrind: {status}");
    let out = std::fs::read_to_string(out).expect("what callgrind wrote");
    let total = out.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.and_then(|total| total.trim().parse().ok()).expect("a total");
    Some(total / COUNT.min(rows()) as f64)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--case") {
        run_case(&arguments[place + 1], Path::new(&arguments[place + 2]));
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let db = options().open(dir.path().join("db")).expect("a fresh database");
    fill(&db, rows());
    db.close().expect("a clean close");
    if is_test() {
        for (case, _) in CASES {
            run_case(case, &dir.path().join("db"));
        }
        return ExitCode::SUCCESS;
    }
    let is_checked = arguments.iter().any(|argument| argument == "--check");
    let mut has_failed = false;
    for (case, recorded) in CASES {
        let Some(count) = count(case, dir.path()) else {
            println!("valgrind is not installed: nothing was counted");
            return ExitCode::from(u8::from(is_checked));
        };
        let change = count / recorded - 1.0;
        let is_off = change.abs() > TOLERANCE;
        let verdict = if is_off { "OFF by more than 5 %" } else { "" };
        println!(
            "{case:<26} {count:>8.1} instructions, recorded {recorded:>8.1} ({:+.1} %) {verdict}",
            change * 100.0
        );
        has_failed |= is_off;
    }
    ExitCode::from(u8::from(is_checked && has_failed))
}
