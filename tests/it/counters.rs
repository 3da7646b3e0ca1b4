//! Counters that are incremented while the power goes again and again: every increment counts once.
//!
//! One history on one simulated disk. The `n`-th increment adds 1 to one counter and `n` to another, in
//! one batch, so `n` and `n * (n + 1) / 2` together say that exactly the first `n` have been counted.
//! After each crash `n` lies between what was durable and what was attempted, and the history goes on
//! from there.

use tinydb::internals::{CrashMode, SimDisk};
use tinydb::{Db, Durability, Options, Result, WriteBatch, merge};

use crate::support::{Draw, Seed, check_directory, first_seed, runs};
use crate::workload::open;

/// Crashes and increments for each of `TINYDB_TEST_RUNS`; ten runs are the size for a release.
const CRASHES: u64 = 100;
const INCREMENTS: i64 = 1_000;

/// A life ends after so many operations if its crash did not come.
const MOST_OPERATIONS: usize = 60;

fn options() -> Options {
    Options::new()
        .background_threads(0)
        .memtable_size(64 << 10)
        .table_size(256 << 10)
        .block_size(1 << 10)
        .merge_operator(merge::Counter)
}

/// How many increments there are at most, and at least, by what was told.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    attempted: i64,
    acked: i64,
    durable: i64,
}

fn number(db: &Db, key: &str) -> i64 {
    let value = db.get(key).unwrap();
    value.map_or(0, |value| i64::from_le_bytes(value[..].try_into().expect("eight bytes")))
}

/// How many increments the database has counted.
#[track_caller]
fn counted(db: &Db) -> i64 {
    let count = number(db, "count");
    assert_eq!(number(db, "sum"), count * (count + 1) / 2, "of {count} increments");
    let scanned: Vec<i64> = db
        .iter()
        .map(|entry| i64::from_le_bytes(entry.unwrap().value().try_into().expect("eight bytes")))
        .collect();
    assert!(count == 0 || scanned == [count, count * (count + 1) / 2], "{scanned:?}");
    count
}

/// Increments, and now and then flushes or compacts, until an error or the end of this life.
fn live(db: &Db, disk: &SimDisk, draw: &mut Draw, known: &mut Known) -> Result<()> {
    for _ in 0..MOST_OPERATIONS {
        match draw.below(24) {
            0 => db.flush()?,
            1 => db.sync()?,
            2 => db.compact()?,
            // Neither makes anything durable by itself.
            3 => {
                db.wait_idle()?;
                continue;
            }
            4 => {
                db.merge_once()?;
                continue;
            }
            _ => {
                known.attempted += 1;
                let mut batch = WriteBatch::new();
                let add = known.attempted.to_le_bytes();
                batch.merge("count", 1_i64.to_le_bytes()).merge("sum", add);
                let durable = draw.one_in(3);
                let durability = if durable { Durability::Sync } else { Durability::Buffered };
                db.write_with(&batch, durability)?;
                known.acked = known.attempted;
                if !durable {
                    continue;
                }
            }
        }
        if disk.is_down() {
            // A removal that failed in the crash is no error.
            return Ok(());
        }
        known.durable = known.acked;
    }
    Ok(())
}

/// Opens what a crash left, through more crashes now and then; gives the modes of those.
fn recover(mut disk: SimDisk, draw: &mut Draw, modes: &mut Vec<CrashMode>) -> (SimDisk, Db) {
    loop {
        disk = disk.reboot();
        if modes.len() < 4 && draw.one_in(4) {
            let mode = *draw.pick(&CrashMode::ALL);
            disk.crash_at(draw.next() % 20, mode);
            let _ = open(&disk, &options());
            if disk.is_down() {
                modes.push(mode);
            } else {
                disk.plan_nothing();
            }
            continue;
        }
        let db = open(&disk, &options()).expect("what a crash leaves can be opened");
        return (disk, db);
    }
}

#[test]
fn an_increment_counts_once_however_often_the_power_goes() {
    let (seed, size) = (first_seed(), runs(1));
    let mut draw = Draw::new(seed);
    let (mut known, mut crashes, mut lives) = (Known::default(), 0, 0_u64);
    let mut db = None;
    let mut disk = SimDisk::new(seed);
    while crashes < CRASHES * size || known.acked < INCREMENTS * size.cast_signed() {
        lives += 1;
        let _seed = Seed(seed, format!("life {lives}, {known:?}, TINYDB_TEST_RUNS={size}"));
        let mut modes = vec![*draw.pick(&CrashMode::ALL)];
        disk.crash_at(disk.calls() + draw.next() % 100, modes[0]);
        let living = db.take().map_or_else(|| open(&disk, &options()), Ok);
        let _ = living.and_then(|db| live(&db, &disk, &mut draw, &mut known));
        if !disk.is_down() {
            disk.crash(modes[0]);
        }
        let (next, found) = recover(disk, &mut draw, &mut modes);
        crashes += modes.len() as u64;
        let only_killed = modes.iter().all(|mode| *mode == CrashMode::Kill);
        let from = if only_killed { known.acked } else { known.durable };
        let count = counted(&found);
        assert!((from..=known.attempted).contains(&count), "{count} after {modes:?}");
        // What was read stays: after a power loss, and opened again.
        next.crash(CrashMode::LoseUnsynced);
        drop(found);
        disk = next.reboot();
        let again = open(&disk, &options()).unwrap();
        assert_eq!(counted(&again), count, "opened a second time");
        if lives % 50 == 0 {
            assert!(again.verify().unwrap().is_ok());
            check_directory(&disk.file_names(), &again);
        }
        known = Known { attempted: count, acked: count, durable: count };
        db = Some(again);
    }
    println!("{} increments, {crashes} crashes in {lives} lives, seed {seed}", known.acked);
}
