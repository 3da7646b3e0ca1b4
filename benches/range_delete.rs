//! What does a deleted range cost those who read?
//!
//! Data: two databases of one flushed table of 1 M rows each. In one of them all rows but a few at
//! either end are deleted by one `delete_range`. Measures a scan over the gap, and gets inside it
//! against gets of absent keys in the other database, in rounds in which both take turns: while the
//! range tombstone is in the memtable, alone and with later rows beside the range, in a table,
//! likewise, and after the covered rows are gone.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time and prints ratios"
)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use tinydb::{Db, Snapshot};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, absent_key, fill, key, options, rows};

/// Rows that stay at either end.
const MARGIN: usize = 100;

fn count_absent(snapshot: &Snapshot, requests: &Requests) -> u64 {
    let mut operations = 0;
    for key in requests.iter() {
        assert!(black_box(snapshot.get(key).expect("a sound table")).is_none());
        operations += 1;
    }
    operations
}

/// Walks from the last row before the gap to the first behind it; in milliseconds.
fn scan_gap(db: &Db, count: usize) -> f64 {
    let start = Instant::now();
    let mut iter = db.range(key(MARGIN - 1)..);
    let before = iter.next().expect("a row").expect("a sound table");
    let behind = iter.next().expect("a row").expect("a sound table");
    let time = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!((before.key(), behind.key()), (&*key(MARGIN - 1), &*key(count - MARGIN)));
    time
}

fn report(state: &str, db: &Db, other: &Db, count: usize) {
    // The first one may open tables.
    let first = scan_gap(db, count);
    let scans = (0..9).map(|_| scan_gap(db, count)).fold(f64::INFINITY, f64::min);
    assert_eq!(db.iter().count(), 2 * MARGIN);
    println!("{state}: scan of the gap {scans:.3} ms, the first {first:.3} ms (goal 1)");
    let inside = Requests::new(count - 2 * MARGIN, |row| key(row + MARGIN));
    let absent = Requests::new(count, absent_key);
    let (snapshot, plain) = (db.snapshot(), other.snapshot());
    let medians = data::in_turn(
        9,
        &mut [
            ("get inside the range", Box::new(|| count_absent(&snapshot, &inside))),
            ("get of an absent key elsewhere", Box::new(|| count_absent(&plain, &absent))),
        ],
    );
    if let [inside, absent] = medians[..] {
        println!("{state}: inside / absent {:.2} (goal 1.30)", inside / absent);
    }
}

/// Writes rows beside the range anew.
fn put_margin(all: &[&Db]) {
    for db in all {
        for row in 0..MARGIN {
            db.put(key(row), b"newer").expect("a write");
        }
    }
}

fn range_delete(c: &mut Criterion) {
    let count = rows();
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let open = |name: &str| {
        let db = options().open(dir.path().join(name)).expect("a fresh database");
        fill(&db, count);
        db.compact().expect("a compaction");
        db
    };
    let (db, other) = (open("deleted"), open("whole"));
    let start = Instant::now();
    db.delete_range(key(MARGIN)..key(count - MARGIN)).expect("a write");
    println!("delete_range: {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    report("in the memtable", &db, &other, count);
    put_margin(&[&db, &other]);
    report("in the memtable, with later rows", &db, &other, count);
    db.flush().expect("a flush");
    other.flush().expect("a flush");
    report("in a table", &db, &other, count);
    put_margin(&[&db, &other]);
    report("in a table, with later rows", &db, &other, count);
    c.bench_function("range_delete/scan_of_the_gap", |b| b.iter(|| scan_gap(&db, count)));
    db.compact().expect("a compaction");
    report("after compact()", &db, &other, count);
}

criterion_group!(benches, range_delete);
criterion_main!(benches);
