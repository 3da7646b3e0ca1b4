//! How long does a row take to write, alone and in batches, in key order and in random order?
//!
//! Data: 1 M rows into a fresh database with default options but for the durability; the time
//! includes the flushes that fall into it. Single durable puts are timed over 200 of them.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tinydb::{Db, Durability, Options, WriteBatch};

#[path = "data/mod.rs"]
mod data;

use data::{key, rows, value};

fn open(durability: Durability) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let db = Options::new().durability(durability).open(dir.path()).expect("a fresh database");
    (dir, db)
}

/// Loads all rows in batches and prints what it cost.
fn load(name: &str, order: &[usize], batch_len: usize) {
    let (_dir, db) = open(Durability::Buffered);
    let mut batch = WriteBatch::new();
    let mut worst = 0.0_f64;
    let start = Instant::now();
    for rows in order.chunks(batch_len) {
        batch.clear();
        for row in rows {
            batch.put(key(*row), value(*row));
        }
        let before = Instant::now();
        db.write(&batch).expect("a write to a fresh database");
        worst = worst.max(before.elapsed().as_secs_f64());
    }
    let written = start.elapsed();
    db.flush().expect("a flush");
    let flushed = start.elapsed();
    let bytes: u64 = db.stats().levels.iter().map(|level| level.bytes).sum();
    let user_bytes = order.len() * (data::KEY_LEN + data::VALUE_LEN);
    println!(
        "{name:<28} {:>6.0} ns a row ({:.0} with the last flush), worst batch {:.1} ms, size {:.3}",
        written.as_nanos() as f64 / order.len() as f64,
        flushed.as_nanos() as f64 / order.len() as f64,
        worst * 1e3,
        bytes as f64 / user_bytes as f64,
    );
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    group.sample_size(10);
    let (_dir, buffered) = open(Durability::Buffered);
    let mut row = 0;
    group.bench_function("put_buffered", |b| {
        b.iter(|| {
            row += 1;
            buffered.put(key(row), value(row)).expect("a write");
        });
    });
    let (_dir, durable) = open(Durability::Sync);
    group.bench_function("put_durable", |b| {
        b.iter(|| {
            row += 1;
            durable.put(key(row), value(row)).expect("a write");
        });
    });
    group.finish();

    let mut order: Vec<usize> = (0..rows()).collect();
    load("key order, batches of 1000", &order, 1000);
    order.shuffle(&mut StdRng::seed_from_u64(3));
    load("random order, batches of 100", &order, 100);
}

criterion_group!(benches, write);
criterion_main!(benches);
