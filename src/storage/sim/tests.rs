//! Tests of the simulated disk: that it loses what it may lose, and nothing else.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const TABLE: FileName = FileName::Table(1);
const LOG: FileName = FileName::Log(2);

/// A disk with a directory, and what was done to it durable.
fn started(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_root().unwrap();
    disk
}

fn contents(number: u64) -> Vec<u8> {
    format!("contents of table {number}").repeat(40).into_bytes()
}

/// The steps of publishing a file, each of which a careless engine might forget.
#[derive(Clone, Copy, PartialEq)]
enum Skip {
    Nothing,
    FileSync,
    DirSync,
    /// The file is synced, but only after the rename.
    Order,
}

/// Publishes a table the way the engine must, or not quite.
fn publish(disk: &SimDisk, number: u64, skip: Skip) -> Result<()> {
    let mut file = disk.create(FileName::Tmp(number))?;
    file.write_all(&contents(number), 0)?;
    if skip == Skip::Order {
        disk.rename(FileName::Tmp(number), FileName::Table(number))?;
        disk.sync_dir()?;
        return file.sync();
    }
    if skip != Skip::FileSync {
        file.sync()?;
    }
    disk.rename(FileName::Tmp(number), FileName::Table(number))?;
    if skip == Skip::DirSync { Ok(()) } else { disk.sync_dir() }
}

/// Publishes tables until the power goes; gives the numbers of those that were acknowledged.
fn publish_three(disk: &SimDisk, skip: Skip) -> u64 {
    if disk.create_root().is_err() {
        return 0;
    }
    (1..=3).take_while(|number| publish(disk, *number, skip).is_ok()).count() as u64
}

/// What is wrong on the disk, if `acknowledged` tables were published before the crash.
fn fault_found(disk: &SimDisk, acknowledged: u64) -> Option<String> {
    for number in 1..=3 {
        let found = disk.read_file(FileName::Table(number));
        if found.is_none() && number <= acknowledged {
            return Some(format!("table {number} is lost"));
        }
        if found.is_some_and(|bytes| bytes != contents(number)) {
            return Some(format!("table {number} is broken"));
        }
    }
    None
}

/// Crashes at every call, in every mode, under some seeds; the faults that were found, and the
/// call, mode and seed that first showed each.
fn campaign(skip: Skip) -> BTreeMap<String, (u64, CrashMode, u64)> {
    let calls = {
        let disk = SimDisk::new(0);
        assert_eq!(publish_three(&disk, skip), 3);
        disk.calls()
    };
    let mut faults = BTreeMap::new();
    for (call, mode) in (0..=calls).flat_map(|call| CrashMode::ALL.map(|mode| (call, mode))) {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            disk.crash_at(call, mode);
            let acknowledged = publish_three(&disk, skip);
            assert_eq!(disk.is_down(), call < calls, "call {call} of {calls}");
            disk.crash(mode);
            if let Some(fault) = fault_found(&disk.reboot(), acknowledged) {
                faults.entry(fault).or_insert((call, mode, seed));
            }
        }
    }
    faults
}

#[test]
fn a_published_file_survives_every_crash() {
    assert_eq!(campaign(Skip::Nothing), BTreeMap::new());
}

#[test]
fn every_forgotten_step_is_found() {
    for (skip, want) in [
        (Skip::FileSync, "table 1 is broken"),
        (Skip::Order, "table 1 is broken"),
        (Skip::DirSync, "table 1 is lost"),
    ] {
        assert!(campaign(skip).contains_key(want), "{want}");
    }
}

#[test]
fn the_same_calls_leave_the_same_trace() {
    let run = |seed, skip| {
        let disk = SimDisk::new(seed);
        disk.crash_at(11, CrashMode::Mixed);
        publish_three(&disk, skip);
        let disk = disk.reboot();
        (disk.trace_hash(), disk.file_names(), disk.read_file(FileName::Table(2)), disk.entropy())
    };
    let traces: BTreeSet<u64> = (0..50)
        .flat_map(|seed| {
            assert_eq!(run(seed, Skip::Nothing), run(seed, Skip::Nothing), "seed {seed}");
            [run(seed, Skip::Nothing).0, run(seed, Skip::FileSync).0]
        })
        .collect();
    assert_eq!(traces.len(), 100, "another seed or another call is another trace");
}

#[test]
fn everything_of_a_dead_process_fails() {
    let disk = started(1);
    let mut file = disk.create(LOG).unwrap();
    file.write_all(b"before", 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    let map = disk.open_region(LOG, ReadMode::Mmap).unwrap();
    let heap = disk.open_region(LOG, ReadMode::Heap).unwrap();
    disk.crash(CrashMode::LoseUnsynced);

    let after = disk.reboot();
    for disk in [&disk, &disk.clone()] {
        let calls = after.calls();
        let results = [
            disk.create_root().err(),
            disk.list().err(),
            disk.create(TABLE).err(),
            disk.open_region(LOG, ReadMode::Mmap).err(),
            disk.rename(LOG, TABLE).err(),
            disk.remove(LOG).err(),
            disk.sync_dir().err(),
            disk.lock().err(),
            file.write_at(b"after!", 0).err(),
            file.sync().err(),
            heap.read(0, 6).err(),
        ];
        for error in results {
            let Some(Error::Io { source, .. }) = error else { panic!("{error:?}") };
            assert_eq!(source.to_string(), "simulated power loss");
        }
        assert_eq!(after.calls(), calls, "and is not counted");
    }
    drop(file);
    assert_eq!(after.read_file(LOG).unwrap(), b"before");
    assert_eq!(map.bytes().unwrap(), b"before");
    assert_eq!(&*after.open_region(LOG, ReadMode::Heap).unwrap().read(0, 6).unwrap(), b"before");
}

#[test]
fn a_killed_process_leaves_its_lock_free_and_its_writes_at_risk() {
    let disk = started(1);
    let guard = disk.lock().unwrap();
    disk.sync_dir().unwrap();
    disk.create(LOG).unwrap().write_all(b"unsynced", 0).unwrap();
    let second = disk.reboot();
    assert_eq!(second.read_file(LOG).unwrap(), b"unsynced");

    let _second_guard = second.lock().unwrap();
    drop(guard);
    assert!(matches!(second.lock(), Err(Error::Locked { .. })), "the dead one frees nothing");
    second.crash(CrashMode::LoseUnsynced);
    let third = second.reboot();
    assert_eq!(third.file_names(), [FileName::Lock]);
    third.lock().unwrap();
}

#[test]
fn a_write_that_is_killed_may_stop_anywhere() {
    let mut lens = BTreeSet::new();
    for seed in 0..200 {
        let disk = started(seed);
        let mut file = disk.create(LOG).unwrap();
        disk.crash_at(2, CrashMode::Kill);
        assert!(file.write_at(b"12345", 0).is_err());
        lens.insert(disk.reboot().read_file(LOG).unwrap().len());
    }
    assert_eq!(lens, (0..=5).collect());
}

#[test]
fn reads_fail_where_they_are_told_to() {
    let disk = started(1);
    publish(&disk, 1, Skip::Nothing).unwrap();
    let len = contents(1).len();
    let regions =
        [ReadMode::Mmap, ReadMode::Heap].map(|mode| disk.open_region(TABLE, mode).unwrap());
    let readable = |disk: &SimDisk| {
        let opened = disk.open_region(TABLE, ReadMode::Mmap).is_ok();
        (opened, regions.each_ref().map(|region| region.read(0, len).is_ok()))
    };
    assert_eq!(readable(&disk), (true, [true, true]));
    disk.fail_reads(TABLE, true);
    assert_eq!(readable(&disk), (false, [true, false]));
    disk.fail_reads(TABLE, false);
    assert_eq!(readable(&disk), (true, [true, true]));
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_back_what_is_removed() {
    let disk = started(1);
    disk.write_file(TABLE, vec![7; 90]);
    disk.limit_space(Some(100));
    let mut file = disk.create(LOG).unwrap();
    assert_eq!(file.write_at(&[1; 8], 0).unwrap(), 8);
    assert_eq!(file.write_at(&[2; 8], 4).unwrap(), 6, "four old bytes and two new ones");
    assert_eq!(file.write_at(&[3; 10], 0).unwrap(), 10, "in place it needs nothing");
    for (bytes, offset) in [(&[4; 1][..], 10), (&[4; 5], 1000)] {
        let Err(Error::Io { source, .. }) = file.write_at(bytes, offset) else { panic!("full") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
    disk.remove(TABLE).unwrap();
    assert_eq!(file.write_at(&[5; 100], 10).unwrap(), 90);
    disk.limit_space(None);
    file.write_all(&[6; 100], 100).unwrap();
}

#[test]
fn a_mistaken_offset_is_an_error() {
    let mut file = started(1).create(LOG).unwrap();
    for offset in [1 << 40, u64::MAX] {
        let Err(Error::Io { source, .. }) = file.write_at(b"far", offset) else { panic!("far") };
        assert_eq!(source.kind(), io::ErrorKind::FileTooLarge);
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    let disk = started(1);
    publish(&disk, 1, Skip::Nothing).unwrap();
    let guard = disk.lock().unwrap();
    let fork = disk.fork(2);
    fork.write_file(TABLE, "changed");
    let fork_guard = fork.lock().unwrap();
    drop(guard);
    assert!(fork.lock().is_err(), "a lock of the one is none of the other");
    drop(fork_guard);
    assert_eq!(disk.read_file(TABLE).unwrap(), contents(1));
    disk.remove_file(TABLE);
    assert_eq!(fork.reboot().read_file(TABLE).unwrap(), b"changed");
}

#[test]
fn files_put_there_are_durable() {
    let disk = SimDisk::new(1);
    disk.write_file(TABLE, "one");
    disk.write_file(LOG, "two");
    disk.write_file(LOG, "three");
    disk.write_file(FileName::Tmp(4), "four");
    disk.remove_file(FileName::Tmp(4));
    disk.remove_file(FileName::Tmp(5));
    disk.crash(CrashMode::LoseUnsynced);
    let disk = disk.reboot();
    assert_eq!(disk.file_names(), [LOG, TABLE]);
    assert_eq!(disk.read_file(LOG).unwrap(), b"three");
    assert_eq!(disk.read_file(FileName::Tmp(4)), None);
    assert_eq!(disk.list().unwrap().unwrap().files, [LOG, TABLE]);
}

#[test]
fn a_removed_file_comes_back_if_the_removal_was_not_synced() {
    let disk = started(1);
    publish(&disk, 1, Skip::Nothing).unwrap();
    disk.remove(TABLE).unwrap();
    assert_eq!(disk.read_file(TABLE), None);
    disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(disk.read_file(TABLE).unwrap(), contents(1));
}

#[test]
fn a_file_without_a_name_is_written_until_it_is_closed() {
    let disk = started(1);
    let mut file = disk.create(LOG).unwrap();
    disk.remove(LOG).unwrap();
    disk.sync_dir().unwrap();
    file.write_all(b"into nothing", 0).unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!(disk.file_names(), []);
}

#[test]
fn a_directory_is_there_or_not_after_a_crash() {
    let found: BTreeSet<bool> = (0..20)
        .map(|seed| {
            let disk = SimDisk::new(seed);
            disk.crash_at(0, CrashMode::LoseUnsynced);
            assert!(disk.create_root().is_err());
            let found = disk.reboot().list().unwrap();
            assert!(found.as_ref().is_none_or(|listing| *listing == Listing::default()));
            found.is_some()
        })
        .collect();
    assert_eq!(found.len(), 2);
}

#[test]
fn entropy_follows_the_seed_alone() {
    let numbers = |seed: u64| {
        let disk = SimDisk::new(seed);
        let first = disk.entropy();
        publish_three(&disk, Skip::Nothing);
        disk.crash(CrashMode::Mixed);
        (first, disk.reboot().entropy())
    };
    assert_eq!(numbers(1), numbers(1));
    assert_ne!(numbers(1), numbers(2));
    assert_ne!(numbers(1).0, numbers(1).1);
}
