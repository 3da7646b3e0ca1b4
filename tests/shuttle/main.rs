//! The whole engine, on a simulated disk, under orders of steps that are drawn at random.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --test shuttle --target-dir target/shuttle
//! ```
//!
//! Every lock, atomic value and thread of the engine is shuttle's (`src/sync/`), which lets one thread
//! take one step at a time and draws whose turn it is. Half of the schedules draw it anew for each step;
//! the other half give each thread a rank and change it twice (PCT, of depth 3), which finds what takes
//! a few unlikely turns. A schedule that ends with nobody able to go on is a deadlock, and fails.
//!
//! `TINYDB_TEST_RUNS` is the number of schedules of all tests together: 2,000 if it is not set, 100,000
//! for a release. A failure prints the seed that shows it again, and shuttle prints the schedule.
#![cfg(shuttle)]
#![allow(clippy::disallowed_methods, reason = "tests start threads themselves")]

mod closing;
mod failures;
mod merges;
mod reads;
mod stalls;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use tinydb::internals::SimDisk;
use tinydb::{Db, Durability, Options};

/// How many tests share the schedules.
const TEST_COUNT: usize = 12;
/// So many schedules have one seed.
const SEED_LEN: usize = 50;
/// Three values of this length fill more than a third of a memtable.
const VALUE_LEN: usize = 9 << 10;

fn setting(name: &str, default: u64) -> u64 {
    let wanted = std::env::var(name).ok();
    wanted.map_or(default, |wanted| wanted.parse().expect("a number"))
}

/// Says which seed it was, if the test panics while this lives.
struct Seed(u64, &'static str);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (Self(seed, name), runs) = (self, SEED_LEN * TEST_COUNT);
            eprintln!("TINYDB_TEST_SEED={seed} TINYDB_TEST_RUNS={runs} shows it again: {name}");
        }
    }
}

/// Runs a scenario under its share of the schedules.
fn check(name: &'static str, scenario: fn()) {
    let runs = usize::try_from(setting("TINYDB_TEST_RUNS", 2_000)).unwrap();
    let count = runs.div_ceil(TEST_COUNT);
    let mut config = Config::new();
    config.stack_size = 512 << 10;
    config.silence_warnings = true;
    for (seed, start) in (setting("TINYDB_TEST_SEED", 1)..).zip((0..count).step_by(SEED_LEN)) {
        let _seed = Seed(seed, name);
        let count = SEED_LEN.min(count - start);
        let random = RandomScheduler::new_from_seed(seed, count.div_ceil(2));
        Runner::new(random, config.clone()).run(scenario);
        let ranked = PctScheduler::new_from_seed(seed, 3, count / 2);
        Runner::new(ranked, config.clone()).run(scenario);
    }
    println!("{name}: {count} schedules");
}

/// Small memtables that are flushed and merged beside everything else.
fn options(background_threads: usize) -> Options {
    Options::new()
        .memtable_size(64 << 10)
        .table_size(256 << 10)
        .durability(Durability::Buffered)
        .background_threads(background_threads)
}

fn open(disk: &SimDisk, options: Options) -> Db {
    Db::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// A value of some length that is a number.
fn value_of(number: u32) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(VALUE_LEN, 7);
    value
}

fn number_of(value: &[u8]) -> u32 {
    u32::from_le_bytes(value[..4].try_into().unwrap())
}

/// The number that a key has; 0 if it is absent.
fn number_in(db: &Db, key: impl AsRef<[u8]>) -> u32 {
    db.get(key).unwrap().map_or(0, |value| number_of(&value))
}
