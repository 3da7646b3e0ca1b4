//! What does a merge cost beside a put, and a merged value beside one that was put?
//!
//! Data: 1 M increments of 10,000 counters in random order, against 1 M puts of eight bytes to the
//! same keys, each into a fresh database with default options but for the durability; the time
//! includes the flushes, the last one too, for there the operands are folded. Then gets of all
//! counters in random order: after `compact()`, and with the operands still in the memtable. All
//! cases take turns.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tinydb::{Db, Durability, Options, WriteBatch, merge};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, key, rows};

/// So many writes meet on a key, on the average.
const WRITES_PER_KEY: usize = 100;
const BATCH_LEN: usize = 100;
/// What is written: the operand of an increment, or the value of a put.
const ONE: [u8; 8] = 1_i64.to_le_bytes();

fn open(options: Options) -> (TempDir, Db) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let options = options.durability(Durability::Buffered).merge_operator(merge::Counter);
    let db = options.open(dir.path()).expect("a fresh database");
    (dir, db)
}

fn key_count() -> usize {
    rows() / WRITES_PER_KEY
}

/// The keys of all writes, in random order.
fn writes() -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(11);
    (0..rows()).map(|_| key(random.random_range(0..key_count()))).collect()
}

type Write = fn(&mut WriteBatch, &[u8]);

const MERGE: Write = |batch, key| {
    batch.merge(key, ONE);
};
const PUT: Write = |batch, key| {
    batch.put(key, ONE);
};

/// Writes to all keys in turn.
fn load(db: &Db, keys: &[Vec<u8>], write: Write) {
    let mut batch = WriteBatch::new();
    for keys in keys.chunks(BATCH_LEN) {
        batch.clear();
        for key in keys {
            write(&mut batch, key);
        }
        db.write(&batch).expect("a write to a fresh database");
    }
}

fn time_load(keys: &[Vec<u8>], write: Write) -> u64 {
    let (_dir, db) = open(Options::new());
    load(&db, keys, write);
    db.flush().expect("a flush");
    keys.len() as u64
}

/// Gets every key as often as it was written.
fn time_gets(db: &Db, requests: &Requests, times: usize) -> u64 {
    let snapshot = db.snapshot();
    let mut count = 0;
    for _ in 0..times {
        for key in requests.iter() {
            black_box(snapshot.get(key).expect("a sound table").is_some());
            count += 1;
        }
    }
    count
}

fn ratios(keys: &[Vec<u8>]) {
    let medians = data::in_turn(
        9,
        &mut [
            ("a merge, flushed", Box::new(|| time_load(keys, MERGE))),
            ("a put, flushed", Box::new(|| time_load(keys, PUT))),
        ],
    );
    if let [merge, put] = medians[..] {
        println!("merge / put                     {:.2} (goal 1.30)", merge / put);
    }
    let (_merged_dir, merged) = open(Options::new());
    let (_plain_dir, plain) = open(Options::new());
    // One large memtable, and no threads: nothing folds the operands.
    let (_open_dir, unfolded) = open(data::options().background_threads(0));
    load(&merged, keys, MERGE);
    load(&plain, keys, PUT);
    load(&unfolded, keys, MERGE);
    merged.compact().expect("a compaction");
    plain.compact().expect("a compaction");
    let requests = Requests::new(key_count(), key);
    let medians = data::in_turn(
        15,
        &mut [
            ("get of a compacted counter", Box::new(|| time_gets(&merged, &requests, 20))),
            ("get of a put value", Box::new(|| time_gets(&plain, &requests, 20))),
            ("get of a hundred operands", Box::new(|| time_gets(&unfolded, &requests, 1))),
        ],
    );
    if let [counter, value, operands] = medians[..] {
        println!("compacted counter / put value   {:.2} (goal 1.10)", counter / value);
        println!("a hundred operands / put value  {:.2}", operands / value);
    }
}

fn merges(c: &mut Criterion) {
    let keys = writes();
    let mut group = c.benchmark_group("merge");
    group.sample_size(10);
    for (name, write) in [("merge_buffered", MERGE), ("put_buffered", PUT)] {
        let (_dir, db) = open(Options::new());
        let (mut batch, mut keys) = (WriteBatch::new(), keys.iter().cycle());
        group.bench_function(name, |b| {
            b.iter(|| {
                batch.clear();
                write(&mut batch, keys.next().expect("an endless cycle"));
                db.write(&batch).expect("a write");
            });
        });
    }
    group.finish();
    ratios(&keys);
}

criterion_group!(benches, merges);
criterion_main!(benches);
