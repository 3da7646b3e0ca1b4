//! Compaction from the outside: what goes, what stays, and who is told when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use tinydb::internals::file_name::FileName;
use tinydb::internals::{SimDisk, Storage};
use tinydb::{CompactionStyle, Db, Durability, Error, Options, ReadMode, WriteBatch};

use crate::support::{Place, check_directory, dump};
use crate::workload::open;

const STYLES: [CompactionStyle; 3] =
    [CompactionStyle::Leveled, CompactionStyle::SizeTiered, CompactionStyle::Manual];

/// Options under which nothing happens but what is called for.
fn stepped() -> Options {
    Options::new()
        .background_threads(0)
        .durability(Durability::Buffered)
        .memtable_size(64 << 10)
        .table_size(256 << 10)
        .block_size(1 << 10)
}

fn tables(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.tables).sum()
}

fn rows(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.rows).sum()
}

fn key(row: usize) -> String {
    format!("key {row:06}")
}

/// Puts so many rows, a tenth of them in each of ten tables, so that the tables overlap.
fn spread(db: &Db, count: usize, value_len: usize) {
    for table in 0..10 {
        let mut batch = WriteBatch::new();
        for row in (0..count).filter(|row| row % 10 == table) {
            batch.put(key(row), vec![b'v'; value_len]);
        }
        db.write(&batch).unwrap();
        db.flush().unwrap();
    }
}

#[test]
fn compact_leaves_one_run_without_anything_droppable() {
    for style in STYLES {
        let place = Place::simulated(1);
        let db = place.open(stepped().compaction(style)).unwrap();
        for round in 0..3 {
            spread(&db, 500, 10 + round);
        }
        for row in 0..250 {
            db.delete(key(row * 2)).unwrap();
        }
        let before = dump(&db).unwrap();
        db.compact().unwrap();
        let levels = db.stats().levels;
        assert_eq!(levels.len(), 1, "{style:?}");
        assert!(levels[0].level > 0);
        assert_eq!(levels[0].rows, 250, "no hidden version, no tombstone");
        assert_eq!(dump(&db).unwrap(), before);
        for entry in &db {
            assert_eq!(entry.unwrap().seqno(), 0, "nobody needs the seqnos");
        }
        let job = db.stats().finished_jobs.last().cloned().unwrap();
        assert_eq!((job.rows_in, job.rows_out, job.rows_hidden), (1_750, 250, 1_250));
        assert_eq!(job.tombstones_dropped, 250);
        let written = db.stats().written.compacted_bytes;
        db.compact().unwrap();
        assert_eq!(db.stats().written.compacted_bytes, written, "it was so already");
        assert!(db.verify().unwrap().is_ok());
        check_directory(&place.file_names(), &db);
        db.close().unwrap();
        let db = place.open(stepped().compaction(style)).unwrap();
        assert_eq!(dump(&db).unwrap(), before);
    }
}

#[test]
fn a_single_table_is_rewritten_if_it_holds_what_nobody_sees() {
    let db = Place::simulated(1).open(stepped()).unwrap();
    db.put("a", "1").unwrap();
    db.put("a", "2").unwrap();
    db.delete("b").unwrap();
    db.flush().unwrap();
    assert_eq!((tables(&db), rows(&db)), (1, 2), "a flush leaves out what is hidden");
    db.compact().unwrap();
    assert_eq!((tables(&db), rows(&db)), (1, 1));
    db.delete("a").unwrap();
    db.compact().unwrap();
    assert_eq!(tables(&db), 0, "a table without rows is none");
    assert_eq!(db.iter().count(), 0);
    db.compact().unwrap();
}

#[test]
fn a_deleted_key_never_comes_back() {
    for style in STYLES {
        for first in ["compact", "range", "wait"] {
            let place = Place::simulated(1);
            let db = place.open(stepped().compaction(style)).unwrap();
            db.put("k", "old").unwrap();
            db.compact().unwrap();
            // The old value lies at the bottom; now tombstones pile up above it.
            for round in 0..12 {
                db.delete("k").unwrap();
                db.put(format!("other {round}"), "x").unwrap();
                db.flush().unwrap();
                if round % 5 == 4 {
                    match first {
                        "compact" => db.compact().unwrap(),
                        "range" => db.compact_range("k"..="k").unwrap(),
                        _ => db.wait_idle().unwrap(),
                    }
                }
                assert_eq!(db.get("k").unwrap(), None, "{style:?} {first} {round}");
            }
            db.wait_idle().unwrap();
            assert_eq!(db.get("k").unwrap(), None);
            db.close().unwrap();
            let db = place.open(stepped().compaction(style)).unwrap();
            db.compact().unwrap();
            assert_eq!(db.get("k").unwrap(), None);
            assert_eq!(rows(&db), 12);
        }
    }
}

#[test]
fn a_quiet_database_ends_in_one_run() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        let db = Place::simulated(1).open(stepped().compaction(style)).unwrap();
        spread(&db, 2_000, 100);
        assert_eq!(db.stats().levels[0].tables, 10, "nothing happens uncalled");
        db.wait_idle().unwrap();
        let levels = db.stats().levels;
        assert_eq!(levels.len(), 1, "{style:?}: {levels:?}");
        assert!(levels[0].level > 0);
        let jobs = db.stats().finished_jobs.len();
        db.wait_idle().unwrap();
        assert_eq!(db.stats().finished_jobs.len(), jobs, "then nothing is due");
    }
    let db = Place::simulated(1).open(stepped().compaction(CompactionStyle::Manual)).unwrap();
    spread(&db, 100, 100);
    db.wait_idle().unwrap();
    assert_eq!(db.stats().levels[0].tables, 10, "Manual merges only when asked");
}

#[test]
fn in_the_background_a_quiet_database_ends_in_one_run() {
    let place = Place::real();
    let db = place.open(stepped().background_threads(2)).unwrap();
    spread(&db, 2_000, 100);
    // No call asks for it; the test fails by never ending.
    while db.stats().levels.len() != 1 || db.stats().levels[0].level == 0 {
        std::thread::yield_now();
    }
    assert_eq!(rows(&db), 2_000);
}

#[test]
fn readers_outlive_the_files_that_they_read() {
    for mode in [ReadMode::Mmap, ReadMode::Heap] {
        for place in [Place::real(), Place::simulated(1)] {
            let db = place.open(stepped().read_mode(mode)).unwrap();
            spread(&db, 1_000, 50);
            db.close().unwrap();
            // Now no table is open: the readers have to open files of which only they know.
            let db = place.open(stepped().read_mode(mode)).unwrap();
            let (snapshot, value) = (db.snapshot(), db.get(key(7)).unwrap().unwrap());
            let (mut iter, mut cursor) = (db.iter(), db.cursor());
            assert!(iter.next().unwrap().unwrap().key() == key(0).as_bytes());
            assert!(cursor.seek(key(500)).unwrap());
            let want = dump(&db).unwrap();
            for row in 0..1_000 {
                db.put(key(row), "new").unwrap();
            }
            db.compact().unwrap();
            check_directory(&place.file_names(), &db);
            db.close().unwrap();
            let rest: usize = iter.map(|entry| entry.unwrap().value().len()).sum();
            assert_eq!(rest, 999 * 50);
            assert!(cursor.next().unwrap() && cursor.key() == key(501).as_bytes());
            assert!(cursor.seek_last().unwrap() && cursor.value().len() == 50);
            let seen: BTreeMap<_, _> = snapshot
                .iter()
                .map(|entry| entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec())))
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(seen, want);
            assert_eq!(snapshot.get(key(7)).unwrap().unwrap(), value);
        }
    }
}

/// A table that moved has two handles. Opened through neither, the older one's readers lost it when
/// a merge removed its file.
#[test]
fn readers_outlive_a_table_that_moved_first() {
    for mode in [ReadMode::Mmap, ReadMode::Heap] {
        let place = Place::real();
        let options = || stepped().read_mode(mode);
        let db = place.open(options()).unwrap();
        for letter in ["a", "b", "c"] {
            for row in 0..400 {
                db.put(format!("{letter}{row:03}"), vec![b'v'; 200]).unwrap();
            }
            db.flush().unwrap();
        }
        db.close().unwrap();
        let db = place.open(options()).unwrap();
        let snapshot = db.snapshot();
        db.wait_idle().unwrap();
        assert!(db.stats().finished_jobs.iter().any(|job| job.is_move), "in key order");
        db.delete("a000").unwrap();
        db.compact().unwrap();
        check_directory(&place.file_names(), &db);
        assert_eq!(snapshot.get("b007").unwrap().unwrap().len(), 200);
        assert_eq!(snapshot.iter().flatten().count(), 1_200);
    }
}

#[test]
fn readers_outlive_a_close_and_what_the_next_one_removes() {
    let place = Place::real();
    let db = place.open(stepped()).unwrap();
    spread(&db, 1_000, 50);
    db.close().unwrap();
    let db = place.open(stepped()).unwrap();
    let (snapshot, iter) = (db.snapshot(), db.iter());
    db.close().unwrap();
    let db = place.open(stepped()).unwrap();
    db.compact().unwrap();
    assert_eq!(iter.flatten().count(), 1_000);
    assert_eq!(snapshot.get(key(7)).unwrap().unwrap().len(), 50);
}

/// How many descriptors and maps of files in a directory this process has.
#[cfg(target_os = "linux")]
fn held(dir: &std::path::Path) -> (usize, usize) {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    let descriptors = files.filter(|file| file.starts_with(dir)).count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let dir = dir.to_str().unwrap();
    (descriptors, maps.lines().filter(|line| line.contains(dir)).count())
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_and_maps_go_with_the_files() {
    let place = Place::real();
    let Place::Real(dir) = &place else { unreachable!() };
    let db = place.open(stepped()).unwrap();
    spread(&db, 2_000, 100);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.iter().count(), 2_000);
    assert!(held(dir.path()).1 >= 10, "ten tables are mapped");
    db.compact().unwrap();
    assert!(held(dir.path()).1 >= 10, "as long as a snapshot reads them");
    drop(snapshot);
    let tables = usize::try_from(tables(&db)).unwrap();
    let (descriptors, maps) = held(dir.path());
    // LOCK, and the log that the next write appends to.
    assert!(descriptors <= 2, "{descriptors} descriptors");
    assert_eq!(maps, tables);
    db.close().unwrap();
    assert_eq!(held(dir.path()), (0, 0));
}

#[test]
fn a_close_ends_writers_that_are_held_back() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &stepped().background_threads(1)).unwrap();
    let writer = {
        let db = db.clone();
        std::thread::spawn(move || {
            let value = vec![b'v'; 10_000];
            (0..).find_map(|row| db.put(key(row % 5_000), &value).err())
        })
    };
    while db.stats().levels.is_empty() {
        std::thread::yield_now();
    }
    db.close().unwrap();
    assert!(matches!(writer.join().unwrap(), Some(Error::Closed)));
    assert_eq!(db_error(&disk), None, "a close is no failure");
}

/// What a database that was just opened has to complain about.
fn db_error(disk: &SimDisk) -> Option<String> {
    open(&disk.reboot(), &stepped()).unwrap().stats().background_error
}

#[test]
fn compact_range_leaves_other_keys_alone() {
    let options = stepped().table_size(256 << 10);
    let db = Place::simulated(1).open(options).unwrap();
    for letter in ["a", "b", "c"] {
        for round in 0..2 {
            for row in 0..100 {
                db.put(format!("{letter}{row:03}"), format!("{round}")).unwrap();
            }
            db.flush().unwrap();
        }
    }
    assert_eq!(rows(&db), 600);
    db.compact_range("b".."c").unwrap();
    assert!(rows(&db) <= 500, "{} rows: the old versions of b are gone", rows(&db));
    assert_eq!(db.iter().count(), 300);
    db.compact_range("x"..).unwrap();
    db.compact_range("c".."b").unwrap();
    db.compact_range(..).unwrap();
    assert_eq!(rows(&db), 300);
}

fn table_names(disk: &SimDisk) -> Vec<FileName> {
    disk.file_names().into_iter().filter(|name| matches!(name, FileName::Table(_))).collect()
}

#[test]
fn a_damaged_table_ends_a_compaction_and_is_never_dropped() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &stepped()).unwrap();
    spread(&db, 1_000, 100);
    db.close().unwrap();
    let before = table_names(&disk);
    // A byte in the middle of a table, among its blocks.
    let victim = before[4];
    let mut bytes = disk.read_file(victim).unwrap();
    bytes[6_000] ^= 1;
    disk.write_file(victim, bytes);
    let db = open(&disk, &stepped()).unwrap();
    for _ in 0..2 {
        match db.compact() {
            Err(Error::Corrupt { path, offset, .. }) => {
                assert_eq!(path, disk.path(victim));
                assert!((4_096..6_001).contains(&offset), "{offset}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(table_names(&disk), before);
    }
    assert!(db.stats().background_error.is_some());
    assert!(matches!(db.wait_idle(), Err(Error::Corrupt { .. })));
    assert!(matches!(db.put("new", "row"), Err(Error::Corrupt { .. })), "the next write is told");
    db.put("new", "row").unwrap();
    assert!(matches!(db.flush(), Err(Error::Corrupt { .. })));
    // What is sound is still read.
    assert_eq!(db.get(key(0)).unwrap().unwrap().len(), 100);
    assert_eq!(db.get("new").unwrap().as_deref(), Some(&b"row"[..]));
}

#[test]
fn a_retry_that_succeeds_clears_the_failure() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &stepped()).unwrap();
    spread(&db, 1_000, 100);
    db.close().unwrap();
    let db = open(&disk, &stepped()).unwrap();
    let victim = table_names(&disk)[4];
    disk.fail_reads(victim, true);
    assert!(matches!(db.compact(), Err(Error::Io { .. })));
    assert!(db.stats().background_error.is_some());
    disk.fail_reads(victim, false);
    db.compact().unwrap();
    assert_eq!(db.stats().background_error, None);
    db.put("new", "row").unwrap();
    db.flush().unwrap();
    assert_eq!(db.iter().count(), 1_001);
}

#[test]
fn a_full_disk_fails_a_compaction_and_leaves_nothing_behind() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &stepped()).unwrap();
    spread(&db, 1_000, 100);
    let names = disk.file_names();
    disk.limit_space(Some(200_000));
    assert!(matches!(db.compact(), Err(Error::Io { .. })));
    disk.limit_space(None);
    let left = disk.file_names();
    assert!(left.iter().all(|name| names.contains(name)), "{left:?}");
    db.compact().unwrap();
    assert_eq!(db.iter().count(), 1_000);
    check_directory(&disk.file_names(), &db);
}

#[test]
fn long_values_are_copied_into_the_outputs() {
    let place = Place::real();
    let db = place.open(stepped()).unwrap();
    let value = |row: usize| vec![u8::try_from(row % 251).unwrap(); 5_000 + row];
    for row in 0..200 {
        db.put(key(row * 7 % 200), value(row * 7 % 200)).unwrap();
        if row % 40 == 39 {
            db.flush().unwrap();
        }
    }
    db.compact().unwrap();
    assert!(tables(&db) > 2, "the outputs end at table_size");
    assert_eq!(db.stats().levels.len(), 1);
    for row in 0..200 {
        assert_eq!(db.get(key(row)).unwrap().unwrap(), value(row));
    }
    assert!(db.verify().unwrap().is_ok());
    let forward: Vec<_> = db.iter().map(|entry| entry.unwrap().key().to_vec()).collect();
    let mut backward: Vec<_> = db.iter().rev().map(|entry| entry.unwrap().key().to_vec()).collect();
    backward.reverse();
    assert_eq!(forward.len(), 200);
    assert_eq!(forward, backward);
}

#[test]
fn a_million_overwrites_of_ten_keys_stay_small() {
    let place = Place::real();
    let options = Options::new().durability(Durability::Buffered).memtable_size(1 << 20);
    let db = place.open(options).unwrap();
    let mut batch = WriteBatch::new();
    for round in 0..10_000_u32 {
        batch.clear();
        for write in 0..100_u32 {
            batch.put([u8::try_from(write % 10).unwrap()], (round * 100 + write).to_le_bytes());
        }
        db.write(&batch).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let stats = db.stats();
    assert_eq!(stats.levels.iter().map(|level| level.rows).sum::<u64>(), 10, "{:?}", stats.levels);
    assert_eq!(place.file_names().len(), 4, "LOCK, two manifests and a table");
}

#[test]
fn tombstones_at_the_front_are_passed_and_then_gone() {
    let place = Place::real();
    let db = place.open(Options::new().durability(Durability::Buffered)).unwrap();
    for chunk in 0..100 {
        let mut batch = WriteBatch::new();
        for row in chunk * 1_000..(chunk + 1) * 1_000 {
            batch.delete(key(row));
        }
        db.write(&batch).unwrap();
    }
    db.put("last", "row").unwrap();
    db.flush().unwrap();
    let start = std::time::Instant::now();
    assert_eq!(db.iter().next().unwrap().unwrap().key(), b"last");
    println!("100,000 tombstones were passed in {:?}", start.elapsed());
    assert_eq!(db.iter().next_back().unwrap().unwrap().key(), b"last");
    db.compact().unwrap();
    assert_eq!(rows(&db), 1);
    assert_eq!(db.iter().count(), 1);
}

#[test]
fn a_close_ends_a_compaction_in_another_thread() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &stepped().background_threads(2)).unwrap();
    spread(&db, 2_000, 200);
    let other = db.clone();
    let compacting = std::thread::spawn(move || other.compact());
    db.close().unwrap();
    match compacting.join().unwrap() {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => panic!("{error}"),
    }
    let db = open(&disk.reboot(), &stepped()).unwrap();
    assert_eq!(db.iter().count(), 2_000);
    check_directory(&disk.file_names(), &db);
}

#[test]
fn snapshots_taken_while_tables_merge_see_one_moment() {
    let db = Arc::new(Place::simulated(1).open(stepped().background_threads(2)).unwrap());
    let writer = {
        let db = Arc::clone(&db);
        std::thread::spawn(move || {
            for round in 0_u64..400 {
                let mut batch = WriteBatch::new();
                for row in 0..40 {
                    batch.put(key(row), round.to_le_bytes());
                }
                db.write(&batch).unwrap();
                if round % 10 == 9 {
                    db.flush().unwrap();
                }
                if round % 50 == 49 {
                    db.compact().unwrap();
                }
            }
        })
    };
    let mut newest = 0;
    while !writer.is_finished() {
        let snapshot = db.snapshot();
        let mut values = snapshot.iter().map(|entry| entry.unwrap().value().to_vec());
        let Some(first) = values.next() else { continue };
        assert_eq!(values.filter(|value| *value == first).count(), 39);
        let round = u64::from_le_bytes(first.try_into().unwrap());
        assert!(round >= newest, "{round} after {newest}");
        newest = round;
        let value = db.get(key(3)).unwrap().unwrap();
        assert!(u64::from_le_bytes(value.to_vec().try_into().unwrap()) >= newest);
    }
    writer.join().unwrap();
}
