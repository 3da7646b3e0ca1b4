//! What the benches run on: rows like `user:0000012345:profile` with values of 100 bytes.
//!
//! `TINYDB_BENCH_ROWS` sets how many (default: one million; few when the benches run as tests).
//! Everything is made from a fixed seed, so two runs see the same bytes.

#![allow(dead_code, reason = "each bench uses a part of this")]

use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tinydb::{Db, Durability, Options, WriteBatch};

pub(crate) const VALUE_LEN: usize = 100;
pub(crate) const KEY_LEN: usize = 23;

/// How many rows the benches use.
pub(crate) fn rows() -> usize {
    let wanted = std::env::var("TINYDB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    wanted.unwrap_or(if is_test() { 20_000 } else { 1_000_000 })
}

/// Whether the benches only have to run, not to measure.
pub(crate) fn is_test() -> bool {
    !std::env::args().any(|arg| arg == "--bench")
}

pub(crate) fn key(row: usize) -> Vec<u8> {
    format!("user:{row:010}:profile").into_bytes()
}

/// A key that no row has, between two that rows have.
pub(crate) fn absent_key(row: usize) -> Vec<u8> {
    format!("user:{row:010}:picture").into_bytes()
}

/// A value of which half can be compressed.
pub(crate) fn value(row: usize) -> Vec<u8> {
    let mut value = vec![b'.'; VALUE_LEN];
    StdRng::seed_from_u64(row as u64).fill(&mut value[..VALUE_LEN / 2]);
    value
}

/// Keys back to back in random order, so that reading the requests costs no cache miss each.
pub(crate) struct Requests {
    keys: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(count: usize, make: impl Fn(usize) -> Vec<u8>) -> Self {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut StdRng::seed_from_u64(7));
        Self { keys: order.into_iter().flat_map(make).collect() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.chunks_exact(KEY_LEN)
    }

    /// The requests over and over.
    pub(crate) fn cycle(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.chunks_exact(KEY_LEN).cycle()
    }
}

/// Options for one large memtable, so that a flush makes one table.
pub(crate) fn options() -> Options {
    Options::new().durability(Durability::Buffered).memtable_size(2 << 30).table_size(8 << 30)
}

/// Writes `count` rows in batches of 1,000 in the order of the keys, and flushes them.
pub(crate) fn fill(db: &Db, count: usize) {
    let mut batch = WriteBatch::new();
    for start in (0..count).step_by(1000) {
        batch.clear();
        for row in start..(start + 1000).min(count) {
            batch.put(key(row), value(row));
        }
        db.write(&batch).expect("a write to a fresh database");
    }
    db.flush().expect("a flush of a fresh database");
}

/// Loads every cache line of a value.
#[inline]
pub(crate) fn touch(value: &[u8]) -> u64 {
    let lines = value.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>();
    lines + u64::from(value.last().copied().unwrap_or(0))
}

/// A case by name; it returns how many operations it did.
pub(crate) type Case<'c> = (&'c str, Box<dyn FnMut() -> u64 + 'c>);

/// Nanoseconds per operation: the median over rounds in which all cases take turns.
///
/// Noise of the machine meets all cases alike, so their ratios hold where single times don't.
pub(crate) fn in_turn(rounds: usize, cases: &mut [Case<'_>]) -> Vec<f64> {
    let rounds = if is_test() { 1 } else { rounds };
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), times) in cases.iter_mut().zip(&mut times) {
            let start = Instant::now();
            let operations = std::hint::black_box(case());
            times.push(start.elapsed().as_nanos() as f64 / operations.max(1) as f64);
        }
    }
    let medians: Vec<f64> = times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
        .collect();
    for ((name, _), median) in cases.iter().zip(&medians) {
        println!("{name:<40} {median:>10.1} ns");
    }
    medians
}

/// Kilobytes of memory of this process by kind, as the system tells.
pub(crate) fn memory_kb(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
