//! Disks that fail: what the caller is told, what is lost, and when it is over.

use std::sync::Arc;
use std::thread;

use tinydb::internals::file_name::FileName;
use tinydb::internals::{CrashMode, Fault, SimDisk};
use tinydb::{ChecksumPolicy, Db, Durability, Error, Options, ReadMode, WriteBatch};

use super::{check_closed, check_error, describe, keys, simulated};
use crate::gate::{Gate, GatedDisk};

/// A value that fills the smallest memtable.
static FULL: [u8; 70_000] = [b'v'; 70_000];

fn buffered() -> Options {
    Options::new().durability(Durability::Buffered).memtable_size(64 << 10)
}

#[test]
fn a_failed_flush_is_told_until_a_retry_succeeds() {
    for threads in [0, 1, 2] {
        let disk = SimDisk::new(1);
        let db = simulated(&disk, buffered().background_threads(threads));
        db.put("a", "1").unwrap();
        disk.fail_from(disk.calls(), Fault::NoSpace);
        check_error(db.flush(), "Io");
        assert!(db.stats().background_error.is_some());
        check_error(db.put("b", "2"), "Io");
        check_error(db.flush(), "Io");
        assert_eq!(keys(db.iter()), "a", "{threads}: nothing is lost, and reads go on");
        disk.plan_nothing();
        db.flush().unwrap();
        assert_eq!(db.stats().background_error, None);
        db.put("b", "2").unwrap();
        assert_eq!(db.stats().levels[0].tables, 1);
        db.flush().unwrap();
        let left = |name: &FileName| matches!(name, FileName::Tmp(_));
        assert!(!disk.file_names().iter().any(left), "no half of a file stays");
        db.close().unwrap();
        assert_eq!(keys(simulated(&disk, buffered()).iter()), "a b");
    }
}

#[test]
fn without_threads_a_write_retries_the_flush_that_failed() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, buffered().background_threads(0));
    db.put("a", "1").unwrap();
    disk.fail_from(disk.calls(), Fault::NoSpace);
    check_error(db.flush(), "Io");
    disk.plan_nothing();
    db.put("b", "2").unwrap();
    assert_eq!(db.stats().background_error, None);
    assert_eq!(db.stats().levels[0].tables, 1);
}

#[test]
fn without_threads_the_write_that_fills_the_memtable_flushes_it() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, buffered().background_threads(0));
    db.put("a", FULL).unwrap();
    let stats = db.stats();
    assert_eq!((stats.memtable_rows, stats.levels[0].tables), (0, 1));
}

/// After a write to the log failed.
#[track_caller]
fn check_poisoned(db: Db, disk: &SimDisk) {
    check_error(db.put("c", "3"), "Poisoned");
    check_error(db.write_with(WriteBatch::new().put("c", "3"), Durability::Buffered), "Poisoned");
    check_error(db.sync(), "Poisoned");
    check_error(db.flush(), "Poisoned");
    assert_eq!(keys(db.iter()), "a", "reads go on and don't see the failed write");
    assert!(db.get("b").unwrap().is_none() && db.snapshot().get("a").unwrap().is_some());
    check_error(db.clone().close(), "Poisoned");
    check_closed(db.get("a"));
    db.close().unwrap();
    let db = simulated(disk, Options::new());
    assert!(keys(db.iter()).starts_with('a'), "what was acknowledged");
    db.put("d", "4").unwrap();
}

#[test]
fn after_a_failed_write_or_sync_of_the_log_writes_are_refused_until_a_reopen() {
    for call in [0, 1] {
        for fault in [Fault::Io, Fault::IoDone, Fault::Torn, Fault::Dropped, Fault::Reverted] {
            let disk = SimDisk::new(1);
            let db = simulated(&disk, Options::new());
            db.put("a", "1").unwrap();
            disk.fail_at(disk.calls() + call, fault);
            check_error(db.put("b", "2"), "Io");
            check_poisoned(db, &disk);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_full_disk() {
    let disk = SimDisk::new(1);
    for durability in [Durability::Buffered, Durability::Sync] {
        let options = || buffered().durability(durability).background_threads(0);
        let db = simulated(&disk, options());
        disk.limit_space(Some(500_000));
        let put = |number: u32| db.put(number.to_le_bytes(), [7; 10_000]);
        let first = u32::try_from(db.iter().count()).unwrap();
        let count = (first..1_000).find(|number| put(*number).is_err()).expect("a full disk");
        check_error(put(count + 1), if db.sync().is_err() { "Poisoned" } else { "Io" });
        assert_eq!(db.iter().count(), count as usize);
        disk.limit_space(None);
        drop(db);
        let db = simulated(&disk, options());
        assert!(db.iter().count() >= count as usize);
        db.put("after", "it").unwrap();
        db.flush().unwrap();
        assert!(db.verify().unwrap().is_ok());
        // The next round finds room for some more.
        drop(db);
        disk.limit_space(None);
        let db = simulated(&disk, options());
        for entry in &db {
            db.delete(entry.unwrap().key()).unwrap();
        }
        drop(db);
    }
}

#[test]
fn a_disk_without_room_for_a_log_is_told_and_then_forgotten() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, Options::new());
    let used: usize =
        disk.file_names().iter().map(|name| disk.read_file(*name).unwrap().len()).sum();
    for room in [0, 100, 200] {
        disk.limit_space(Some(used as u64 + room));
        check_error(db.put("a", "1"), "Io");
        check_error(db.put("a", "1"), "Io");
    }
    disk.limit_space(None);
    db.put("b", "2").unwrap();
    disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(keys(simulated(&disk.reboot(), Options::new()).iter()), "b");
}

#[test]
fn a_write_is_seen_if_and_only_if_it_returned_ok() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short] {
        for call in 0.. {
            let disk = SimDisk::new(call);
            let options = || buffered().durability(Durability::Sync).background_threads(0);
            let db = simulated(&disk, options());
            let first = disk.calls();
            disk.fail_at(first + call, fault);
            let written = db.put("k", FULL);
            let seen = db.get("k").unwrap().is_some();
            assert_eq!(written.is_ok(), seen, "{fault:?} of call {call}: {}", describe(written));
            let done = disk.calls() <= first + call;
            disk.crash(CrashMode::LoseUnsynced);
            let db = simulated(&disk.reboot(), options());
            assert!(!seen || db.get("k").unwrap().is_some(), "{fault:?} of call {call}");
            if done {
                break;
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_any_two_faults_of_a_new_log() {
    for fault in Fault::ALL {
        for (first, second) in (0..8).flat_map(|a| (a + 1..9).map(move |b| (a, b))) {
            let disk = SimDisk::new(first * 10 + second);
            let db = simulated(&disk, Options::new().background_threads(0));
            let calls = disk.calls();
            disk.fail_at(calls + first, fault);
            disk.fail_at(calls + second, fault);
            let written: Vec<_> =
                ["a", "b", "c", "d"].into_iter().filter(|key| db.put(key, "v").is_ok()).collect();
            disk.crash(CrashMode::LoseUnsynced);
            let db = simulated(&disk.reboot(), Options::new());
            for key in written {
                assert!(
                    db.contains_key(key).unwrap(),
                    "{fault:?} at {first} and {second} lost {key}"
                );
            }
        }
    }
}

#[test]
fn a_flush_that_panics_ends_the_writes_and_stalls_nobody() {
    let disk = GatedDisk::new(&SimDisk::new(1));
    let db = Db::open_on(Arc::new(disk.clone()), buffered().background_threads(1)).unwrap();
    db.put("a", "1").unwrap();
    disk.set(Gate::Panics);
    let failed = (0..1_000).find_map(|_| db.put("b", FULL).err()).expect("an end");
    assert!(matches!(failed, Error::Poisoned { .. }), "{failed:?}");
    check_error(db.put("c", "3"), "Poisoned");
    check_error(db.flush(), "Poisoned");
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    check_error(db.close(), "Poisoned");
    assert_eq!(keys(simulated(&disk.disk, buffered()).iter()), "a b");
}

#[test]
fn a_flush_that_waited_while_the_database_closed_writes_nothing() {
    let disk = GatedDisk::new(&SimDisk::new(1));
    let db = Db::open_on(Arc::new(disk.clone()), buffered().background_threads(1)).unwrap();
    disk.set(Gate::Shut);
    db.put("a", FULL).unwrap();
    db.put("b", "2").unwrap();
    let flushing = thread::spawn({
        let db = db.clone();
        move || db.flush()
    });
    while db.stats().frozen_memtables < 2 {
        thread::yield_now();
    }
    let closing = thread::spawn({
        let db = db.clone();
        move || db.close()
    });
    while db.get("a").is_ok() {
        thread::yield_now();
    }
    disk.set(Gate::Open);
    closing.join().unwrap().unwrap();
    check_closed(flushing.join().unwrap());
    assert_eq!(keys(simulated(&disk.disk, buffered()).iter()), "a b");
}

#[test]
fn a_power_loss_may_take_a_log_whose_successor_stays() {
    for seed in 0..40 {
        let disk = GatedDisk::new(&SimDisk::new(seed));
        let db = Db::open_on(Arc::new(disk.clone()), buffered().background_threads(1)).unwrap();
        disk.set(Gate::Shut);
        db.put("a", FULL).unwrap();
        db.put("b", FULL).unwrap();
        db.put("c", "3").unwrap();
        disk.disk.crash(CrashMode::Sectors);
        disk.set(Gate::Open);
        let next = disk.disk.reboot();
        let db = Db::open_on(Arc::new(next), buffered());
        let left = keys(db.unwrap_or_else(|error| panic!("seed {seed}: {error:?}")).iter());
        assert!("a b c".starts_with(&left), "seed {seed}: {left}");
    }
}

#[test]
fn damage_is_told_at_every_touch_and_never_skipped() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, buffered().block_size(1 << 10));
    for number in 0..1_000_u32 {
        db.put(number.to_le_bytes(), [b'v'; 100]).unwrap();
    }
    db.flush().unwrap();
    db.close().unwrap();
    let is_table = |name: &&FileName| matches!(name, FileName::Table(_));
    let name = *disk.file_names().iter().find(is_table).expect("a table");
    let bytes = disk.read_file(name).unwrap();
    let middle = bytes.len() / 3;
    for at in [middle, bytes.len() - 10] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        disk.write_file(name, damaged);
        for mode in [ReadMode::Mmap, ReadMode::Heap] {
            let options = buffered().read_mode(mode).checksums(ChecksumPolicy::Once);
            let db = simulated(&disk, options);
            check_damage(&db);
            let report = db.verify().unwrap();
            assert_eq!(report.problems().len(), 1, "{at}, {mode:?}");
        }
    }
}

#[track_caller]
fn check_damage(db: &Db) {
    let mut iter = db.iter();
    let failed = iter.find_map(Result::err).expect("an error");
    assert!(matches!(failed, Error::Corrupt { .. }), "{failed:?}");
    for _ in 0..3 {
        assert!(iter.next().is_none() && iter.next_back().is_none(), "nothing after an error");
    }
    let mut cursor = db.cursor();
    let mut moved = cursor.seek_first();
    while let Ok(found) = moved {
        assert!(found, "the damage comes before the end");
        moved = cursor.next();
    }
    for _ in 0..3 {
        check_error(cursor.next(), "Corrupt");
        check_error(cursor.prev(), "Corrupt");
        assert!(!cursor.valid() && cursor.key().is_empty() && cursor.value().is_empty());
    }
    let again = cursor.seek_first();
    assert_eq!(again.is_ok(), cursor.valid(), "a seek tries again");
    db.put("writes", "go on").unwrap();
}
