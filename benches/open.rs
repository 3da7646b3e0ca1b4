//! What does opening a database cost, by its size?
//!
//! Data: flushed databases of 100 k and 1 M rows, warm page cache. Opening maps no table; the first
//! get does. Reports also how much of a large table is mapped with huge pages, and why not.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use tinydb::Db;

#[path = "data/mod.rs"]
mod data;

use data::{Requests, fill, key, options, rows};

fn open_close(path: &Path) -> u64 {
    let db = options().open(path).expect("the database");
    black_box(&db);
    db.close().expect("a clean close");
    1
}

fn open_get(path: &Path) -> u64 {
    let db = options().open(path).expect("the database");
    assert!(db.get(key(7)).expect("a sound table").is_some());
    db.close().expect("a clean close");
    1
}

/// Reads every row once and says how much of the map has huge pages then.
fn report_huge_pages(db: &Db) {
    let snapshot = db.snapshot();
    for key in Requests::new(rows(), key).iter() {
        black_box(snapshot.get(key).expect("a sound table"));
    }
    let stats = db.stats();
    let (huge, all) = (stats.huge_page_bytes, stats.open_table_bytes);
    println!("FilePmdMapped {} of {} MiB of tables", huge >> 20, all >> 20);
    if huge * 2 < all {
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        let version = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        println!(
            "huge pages want Linux 6.16 or newer and ext4 or XFS; here: Linux {}, transparent huge \
             pages {}",
            version.unwrap_or_default().trim(),
            enabled.unwrap_or_default().trim(),
        );
    }
}

fn open(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let (small, large) = (dir.path().join("small"), dir.path().join("large"));
    for (path, count) in [(&small, rows() / 10), (&large, rows())] {
        let db = options().open(path).expect("a fresh database");
        fill(&db, count);
        db.close().expect("a clean close");
    }
    let mut group = c.benchmark_group("open");
    group.sample_size(10);
    for (name, path) in [("a_tenth_of_the_rows", &small), ("all_rows", &large)] {
        group.bench_function(name, |b| b.iter(|| open_close(path)));
        group.bench_function(format!("{name}_and_get"), |b| b.iter(|| open_get(path)));
    }
    group.finish();
    let medians = data::in_turn(
        51,
        &mut [
            ("open, a tenth of the rows", Box::new(|| open_close(&small))),
            ("open, all rows", Box::new(|| open_close(&large))),
            ("open + get, all rows", Box::new(|| open_get(&large))),
        ],
    );
    if let [small, large, _] = medians[..] {
        println!(
            "all rows / a tenth {:.2} (goal 1.00), {:.3} ms (goal 1)",
            large / small,
            large / 1e6
        );
    }
    report_huge_pages(&options().open(&large).expect("the database"));
}

criterion_group!(benches, open);
criterion_main!(benches);
