//! How tables are read once they outgrow memory, and bringing them there.

use tinydb::internals::{Memory, SimDisk};
use tinydb::{Access, AccessReason, Db, Durability, Options, ReadMode, WriteBatch};

use super::{simulated, temporary};

const MODES: [Access; 3] = [Access::Auto, Access::Resident, Access::BeyondMemory];

fn key(row: u32) -> Vec<u8> {
    format!("key {row:08}").into_bytes()
}

fn value(row: u32) -> Vec<u8> {
    // Some lie out of line.
    let len = if row.is_multiple_of(100) { 10_000 } else { 100 };
    row.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// Writes rows and flushes them.
fn fill(db: &Db, rows: std::ops::Range<u32>) {
    let mut batch = WriteBatch::new();
    for row in rows {
        batch.put(key(row), value(row));
    }
    db.write(&batch).unwrap();
    db.flush().unwrap();
}

/// Reads every row in each of the ways there are.
#[track_caller]
fn check_rows(db: &Db, count: u32) {
    for row in (0..count).rev() {
        assert_eq!(db.get(key(row)).unwrap().unwrap(), value(row), "row {row}");
        assert_eq!(db.get(format!("key {row:08}a")).unwrap(), None);
    }
    let keys: Vec<_> = (0..count).map(key).collect();
    for (row, found) in (0..).zip(db.multi_get(&keys).unwrap()) {
        assert_eq!(found.unwrap(), value(row), "row {row}");
    }
    let snapshot = db.snapshot();
    let mut cursor = snapshot.cursor();
    let mut is_on_row = cursor.seek_first().unwrap();
    for row in 0..count {
        assert!(is_on_row);
        assert_eq!((cursor.key(), cursor.value()), (&*key(row), &*value(row)));
        is_on_row = cursor.next().unwrap();
    }
    is_on_row = cursor.seek_last().unwrap();
    for row in (0..count).rev() {
        assert!(is_on_row);
        assert_eq!((cursor.key(), cursor.value()), (&*key(row), &*value(row)));
        is_on_row = cursor.prev().unwrap();
    }
}

fn options(access: Access) -> Options {
    Options::new().durability(Durability::Buffered).background_threads(0).access(access)
}

#[test]
fn every_access_reads_the_same() {
    for access in MODES {
        for mode in [ReadMode::Mmap, ReadMode::Heap] {
            let (dir, db) = temporary(options(access).read_mode(mode));
            fill(&db, 0..3_000);
            check_rows(&db, 3_000);
            db.close().unwrap();
            let db = options(access).read_mode(mode).open(dir.path()).unwrap();
            check_rows(&db, 3_000);
            let stats = db.stats().access;
            if access == Access::Auto {
                assert!(stats.memory_limit.is_none_or(|limit| limit > stats.table_bytes));
                assert_eq!(stats.chosen, Access::Resident);
            } else {
                assert_eq!((stats.chosen, stats.reason), (access, AccessReason::Requested));
            }
        }
    }
}

#[test]
fn the_choice_changes_as_the_data_grows_and_shrinks() {
    let disk = SimDisk::new(5);
    disk.set_memory(Memory { limit: Some(1 << 20), read_bytes: None });
    let db = simulated(&disk, options(Access::Auto));
    let choice = |db: &Db| {
        let stats = db.stats().access;
        assert_eq!(stats.memory_limit, Some(1 << 20));
        (stats.chosen, stats.reason)
    };
    assert_eq!(choice(&db), (Access::Resident, AccessReason::Fits));
    fill(&db, 0..2_000);
    check_rows(&db, 2_000);
    let old = db.snapshot();
    assert_eq!(choice(&db), (Access::Resident, AccessReason::Fits));
    fill(&db, 2_000..6_000);
    assert!(db.stats().access.table_bytes > 1 << 20);
    assert_eq!(choice(&db), (Access::BeyondMemory, AccessReason::TooLarge));
    check_rows(&db, 6_000);
    assert_eq!(old.get(key(1_999)).unwrap().unwrap(), value(1_999));
    db.clone().close().unwrap();
    assert_eq!(db.stats().access.chosen, Access::BeyondMemory, "the last one known");

    let db = simulated(&disk, options(Access::Auto));
    assert_eq!(choice(&db), (Access::BeyondMemory, AccessReason::TooLarge), "as it is opened");
    db.delete_range(key(1_000)..).unwrap();
    db.compact().unwrap();
    assert_eq!(choice(&db), (Access::Resident, AccessReason::Fits));
    check_rows(&db, 1_000);
}

#[test]
fn reading_again_and_again_changes_the_choice() {
    let disk = SimDisk::new(5);
    let read = |bytes| disk.set_memory(Memory { limit: Some(2 << 20), read_bytes: Some(bytes) });
    read(0);
    let db = simulated(&disk, options(Access::Auto));
    fill(&db, 0..7_000);
    let len = db.stats().access.table_bytes;
    assert!((1 << 20..7 << 18).contains(&len), "{len} is not more than half of 2 MiB, or too much");
    for (bytes, reason) in [(2 * len, AccessReason::Fits), (3 * len, AccessReason::ReadAgain)] {
        read(bytes);
        db.put(key(0), value(0)).unwrap();
        db.flush().unwrap();
        assert_eq!(db.stats().access.reason, reason, "{bytes} read");
    }
    check_rows(&db, 7_000);
}

#[test]
fn tables_are_warmed_on_request() {
    let len = |db: &Db| db.stats().levels.iter().map(|level| level.bytes).sum::<u64>();
    for (mode, access) in [
        (ReadMode::Mmap, Access::Resident),
        (ReadMode::Mmap, Access::BeyondMemory),
        (ReadMode::Heap, Access::Resident),
    ] {
        let (dir, db) = temporary(options(access).read_mode(mode));
        assert_eq!(db.warm().unwrap(), 0, "there are no tables");
        fill(&db, 0..5_000);
        db.close().unwrap();
        let db = options(access).read_mode(mode).open(dir.path()).unwrap();
        let warmed = db.warm().unwrap();
        match (mode, access) {
            (ReadMode::Mmap, Access::Resident) => assert_eq!(warmed, len(&db)),
            (ReadMode::Mmap, _) => assert!((1..len(&db) / 20).contains(&warmed), "{warmed}"),
            _ => assert_eq!(warmed, 0),
        }
        check_rows(&db, 5_000);
        db.clone().close().unwrap();
        assert!(matches!(db.warm(), Err(tinydb::Error::Closed)));
    }
}

#[test]
fn a_simulated_disk_has_nothing_to_warm() {
    let db = simulated(&SimDisk::new(1), options(Access::Auto));
    fill(&db, 0..1_000);
    assert_eq!(db.stats().access.reason, AccessReason::LimitUnknown);
    assert_eq!(db.warm().unwrap(), 0);
    check_rows(&db, 1_000);
}
