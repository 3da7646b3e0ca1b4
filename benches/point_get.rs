//! How long does one get take, by what it finds and through what?
//!
//! Data: one flushed table of 1 M rows, warm page cache, requests in random order; every cache
//! line of every value is loaded. `HashMap` and `BTreeMap` of the standard library hold the same
//! rows beside it. After criterion's figures come ratios from rounds in which all cases take turns.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tinydb::{Db, Snapshot};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, absent_key, fill, key, memory_kb, options, rows, touch, value};

struct Subjects {
    db: Db,
    snapshot: Snapshot,
    hash_map: HashMap<Vec<u8>, Vec<u8>>,
    btree_map: BTreeMap<Vec<u8>, Vec<u8>>,
    present: Requests,
    absent: Requests,
}

fn sum_snapshot(snapshot: &Snapshot, requests: &Requests) -> u64 {
    let mut operations = 0;
    for key in requests.iter() {
        let value = snapshot.get(key).expect("a sound table");
        black_box(value.map_or(0, |value| touch(&value)));
        operations += 1;
    }
    operations
}

fn sum_db(db: &Db, requests: &Requests) -> u64 {
    let mut operations = 0;
    for key in requests.iter() {
        let value = db.get(key).expect("a sound table");
        black_box(value.map_or(0, |value| touch(&value)));
        operations += 1;
    }
    operations
}

/// Calls of 64 keys each, as a program that has many keys at once would.
fn sum_multi_get(snapshot: &Snapshot, requests: &Requests) -> u64 {
    let (mut operations, mut keys) = (0, Vec::with_capacity(64));
    let mut requests = requests.iter().peekable();
    while requests.peek().is_some() {
        keys.clear();
        keys.extend(requests.by_ref().take(64));
        let values = snapshot.multi_get(&keys).expect("a sound table");
        operations += values.len() as u64;
        for value in values {
            black_box(value.map_or(0, |value| touch(&value)));
        }
    }
    operations
}

fn sum_map<'m>(get: impl Fn(&[u8]) -> Option<&'m Vec<u8>>, requests: &Requests) -> u64 {
    let mut operations = 0;
    for key in requests.iter() {
        black_box(get(key).map_or(0, |value| touch(value)));
        operations += 1;
    }
    operations
}

fn ratios(subjects: &Subjects, anonymous_kb: u64) {
    let Subjects { db, snapshot, hash_map, btree_map, present, absent } = subjects;
    let medians = data::in_turn(
        9,
        &mut [
            ("snapshot hit", Box::new(|| sum_snapshot(snapshot, present))),
            ("snapshot absent", Box::new(|| sum_snapshot(snapshot, absent))),
            ("db hit", Box::new(|| sum_db(db, present))),
            ("db absent", Box::new(|| sum_db(db, absent))),
            ("HashMap hit", Box::new(|| sum_map(|key| hash_map.get(key), present))),
            ("HashMap absent", Box::new(|| sum_map(|key| hash_map.get(key), absent))),
            ("BTreeMap hit", Box::new(|| sum_map(|key| btree_map.get(key), present))),
            ("multi_get of 64 hit", Box::new(|| sum_multi_get(snapshot, present))),
            ("multi_get of 64 absent", Box::new(|| sum_multi_get(snapshot, absent))),
        ],
    );
    if let [hit, absent, db_hit, _, hash_hit, _, btree_hit, multi_hit, _] = medians[..] {
        println!("hit / HashMap hit      {:.2} (goal 0.90)", hit / hash_hit);
        println!("absent / hit           {:.2} (goal 0.35)", absent / hit);
        println!("db hit / snapshot hit  {:.2}", db_hit / hit);
        println!("multi_get of 64 / hit  {:.2} (goal 0.50)", multi_hit / hit);
        println!("hit / BTreeMap hit     {:.2}", hit / btree_hit);
    }
    let stats = db.stats();
    let level = stats.levels.first().cloned().unwrap_or_default();
    let user_bytes = (rows() * (data::KEY_LEN + data::VALUE_LEN)) as f64;
    println!(
        "tables {}, size / user bytes {:.3} (goal 1.03)",
        level.tables,
        level.bytes as f64 / user_bytes
    );
    println!("anonymous memory while reading {:.1} MiB (goal 8)", anonymous_kb as f64 / 1024.0);
}

fn point_get(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let db = options().open(dir.path()).expect("a fresh database");
    fill(&db, rows());
    db.close().expect("a clean close");
    // Opened anew, so that what writing needed is not counted as what reading needs.
    let before_kb = memory_kb("RssAnon:");
    let db = options().open(dir.path()).expect("the database");
    let snapshot = db.snapshot();
    let (present, absent) = (Requests::new(rows(), key), Requests::new(rows(), absent_key));
    let requests_kb = 2 * (rows() * data::KEY_LEN / 1024) as u64;
    sum_snapshot(&snapshot, &present);
    let anonymous_kb = memory_kb("RssAnon:").saturating_sub(before_kb + requests_kb);
    let hash_map = (0..rows()).map(|row| (key(row), value(row))).collect();
    let btree_map = (0..rows()).map(|row| (key(row), value(row))).collect();
    let subjects = Subjects { db, snapshot, hash_map, btree_map, present, absent };

    let mut group = c.benchmark_group("point_get");
    group.sample_size(10);
    for (name, requests) in [("hit", &subjects.present), ("absent", &subjects.absent)] {
        let mut keys = requests.cycle();
        group.bench_function(format!("snapshot/{name}"), |b| {
            b.iter(|| {
                subjects
                    .snapshot
                    .get(keys.next().expect("an endless cycle"))
                    .expect("a sound table")
                    .is_some()
            });
        });
        let mut keys = requests.cycle();
        group.bench_function(format!("db/{name}"), |b| {
            b.iter(|| {
                subjects
                    .db
                    .get(keys.next().expect("an endless cycle"))
                    .expect("a sound table")
                    .is_some()
            });
        });
        let mut keys = requests.cycle();
        group.bench_function(format!("HashMap/{name}"), |b| {
            b.iter(|| subjects.hash_map.get(keys.next().expect("an endless cycle")));
        });
        let mut keys = requests.cycle();
        group.bench_function(format!("BTreeMap/{name}"), |b| {
            b.iter(|| subjects.btree_map.get(keys.next().expect("an endless cycle")));
        });
    }
    group.finish();
    ratios(&subjects, anonymous_kb);
}

criterion_group!(benches, point_get);
criterion_main!(benches);
