//! How long does a row of a scan take, forward and backward, and a seek with 100 rows?
//!
//! Data: one flushed table of 1 M rows, warm page cache. Every key is looked at and every cache line
//! of every value is loaded. Beside it: the sum over the same bytes, flat in memory. Then: how long
//! until the first row behind 100,000 tombstones, which hide as many rows, before and after they are
//! compacted away.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use tinydb::{Snapshot, WriteBatch};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, fill, key, options, rows, touch, value};

fn forward(snapshot: &Snapshot) -> u64 {
    let mut cursor = snapshot.cursor();
    let mut on_row = cursor.seek_first().expect("a sound table");
    let mut count = 0;
    while on_row {
        black_box(touch(cursor.key()) + touch(cursor.value()));
        count += 1;
        on_row = cursor.next().expect("a sound table");
    }
    assert_eq!(count, rows() as u64);
    count
}

fn backward(snapshot: &Snapshot) -> u64 {
    let mut cursor = snapshot.cursor();
    let mut on_row = cursor.seek_last().expect("a sound table");
    let mut count = 0;
    while on_row {
        black_box(touch(cursor.key()) + touch(cursor.value()));
        count += 1;
        on_row = cursor.prev().expect("a sound table");
    }
    assert_eq!(count, rows() as u64);
    count
}

fn iterate(snapshot: &Snapshot) -> u64 {
    let mut count = 0;
    for entry in snapshot {
        let entry = entry.expect("a sound table");
        black_box(touch(entry.key()) + touch(entry.value()));
        count += 1;
    }
    count
}

fn seeks(snapshot: &Snapshot, requests: &Requests, ahead: bool) -> u64 {
    let mut cursor = snapshot.cursor();
    let mut count = 0;
    for key in requests.iter().take(20_000) {
        let mut on_row = cursor.seek(key).expect("a sound table");
        for _ in 0..100 {
            if !on_row {
                break;
            }
            black_box(touch(cursor.key()) + touch(cursor.value()));
            let moved = if ahead { cursor.next() } else { cursor.prev() };
            on_row = moved.expect("a sound table");
        }
        count += 1;
    }
    count
}

fn flat_sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).fold(0, u64::wrapping_add);
    black_box(rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte))));
    rows() as u64
}

/// Prints how long the first row takes that lies behind a mountain of tombstones.
fn first_behind_tombstones() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let db = options().background_threads(0).open(dir.path()).expect("a fresh database");
    let count = rows().min(100_000);
    fill(&db, count);
    let mut batch = WriteBatch::new();
    for row in 0..count {
        batch.delete(key(row));
    }
    db.write(batch.put("~", "the only row")).expect("a write");
    db.flush().expect("a flush");
    for when in ["before", "after"] {
        let first = || {
            let start = Instant::now();
            let entry = db.iter().next().expect("a row").expect("a sound table");
            assert_eq!(entry.key(), b"~");
            start.elapsed().as_secs_f64() * 1e3
        };
        let mut times: [f64; 9] = std::array::from_fn(|_| first());
        times.sort_by(f64::total_cmp);
        println!("{count} tombstones, {when} compact()  {:.3} ms (goal 5)", times[4]);
        db.compact().expect("a compaction");
    }
}

fn range_scan(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let db = options().open(dir.path()).expect("a fresh database");
    fill(&db, rows());
    let snapshot = db.snapshot();
    let requests = Requests::new(rows(), key);
    let flat: Vec<u8> = (0..rows()).flat_map(|row| [key(row), value(row)].concat()).collect();

    let mut group = c.benchmark_group("range_scan");
    group.sample_size(10);
    group.bench_function("forward", |b| b.iter(|| forward(&snapshot)));
    group.bench_function("backward", |b| b.iter(|| backward(&snapshot)));
    group.bench_function("seek_and_100", |b| b.iter(|| seeks(&snapshot, &requests, true)));
    group.finish();

    let medians = data::in_turn(
        9,
        &mut [
            ("forward, a row", Box::new(|| forward(&snapshot))),
            ("backward, a row", Box::new(|| backward(&snapshot))),
            ("Iter forward, a row", Box::new(|| iterate(&snapshot))),
            ("seek + 100 forward", Box::new(|| seeks(&snapshot, &requests, true))),
            ("seek + 100 backward", Box::new(|| seeks(&snapshot, &requests, false))),
            ("flat sum, a row", Box::new(|| flat_sum(&flat))),
        ],
    );
    if let [forward, backward, _, _, _, flat] = medians[..] {
        println!("forward {:.1} M rows/s (goal 25)", 1e3 / forward);
        println!("forward / flat sum  {:.2} (goal 4.00, or the rate above)", forward / flat);
        println!("backward / forward  {:.2} (goal 1.60)", backward / forward);
    }
    first_behind_tombstones();
}

criterion_group!(benches, range_scan);
criterion_main!(benches);
