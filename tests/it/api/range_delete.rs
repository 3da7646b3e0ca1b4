//! Deleting ranges of keys: what goes, what stays, and what comes later.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use tinydb::internals::SimDisk;
use tinydb::{CompactionStyle, Db, Options, WriteBatch, merge};

use super::{check_error, keys, names_in, simulated, temporary};

fn stepped() -> Options {
    Options::new().background_threads(0)
}

/// A database with a value for each letter from `a` to `z`, in a table.
fn letters(disk: &SimDisk, options: Options) -> Db {
    let db = simulated(disk, options);
    for letter in 'a'..='z' {
        db.put(letter.to_string(), "old").unwrap();
    }
    db.flush().unwrap();
    db
}

/// The keys in both directions, which must agree with gets; without spaces.
#[track_caller]
fn found(db: &Db) -> String {
    let forward = keys(db.iter()).replace(' ', "");
    let backward: String = keys(db.iter().rev()).replace(' ', "").chars().rev().collect();
    assert_eq!(forward, backward);
    let gets: String =
        ('a'..='z').filter(|letter| db.get(letter.to_string()).unwrap().is_some()).collect();
    assert_eq!(forward, gets);
    let all: Vec<_> = ('a'..='z').map(|letter| letter.to_string()).collect();
    let many = db.multi_get(&all).unwrap();
    assert_eq!(many.iter().flatten().count(), gets.len());
    forward
}

#[test]
fn every_range_form_deletes_its_keys() {
    let check = |delete: &dyn Fn(&Db), want: &str| {
        for flush in [false, true] {
            let db = letters(&SimDisk::new(1), stepped());
            delete(&db);
            if flush {
                db.flush().unwrap();
            }
            assert_eq!(found(&db), want);
            db.compact().unwrap();
            assert_eq!(found(&db), want);
            let levels = db.stats().levels;
            assert_eq!(levels.iter().map(|level| level.rows).sum::<u64>(), want.len() as u64);
        }
    };
    check(&|db| db.delete_range(..).unwrap(), "");
    check(&|db| db.delete_range("c".."x").unwrap(), "abxyz");
    check(&|db| db.delete_range("c"..="x").unwrap(), "abyz");
    check(&|db| db.delete_range("c"..).unwrap(), "ab");
    check(&|db| db.delete_range(..="w").unwrap(), "xyz");
    check(&|db| db.delete_range((Excluded("c"), Excluded("x"))).unwrap(), "abcxyz");
    check(&|db| db.delete_range((Unbounded, Included("y"))).unwrap(), "z");
    let all = "abcdefghijklmnopqrstuvwxyz";
    check(&|db| db.delete_range("x".."c").unwrap(), all);
    check(&|db| db.delete_range("c".."c").unwrap(), all);
    check(&|db| db.delete_range((Excluded("c"), Excluded("c"))).unwrap(), all);
    check(&|db| db.delete_range("aa".."az").unwrap(), all);
}

#[test]
fn a_bound_that_is_too_long_is_refused_and_nothing_is_written() {
    let db = letters(&SimDisk::new(1), stepped());
    let long = vec![b'c'; 65_536];
    check_error(db.delete_range(&long[..]..), "KeyTooLarge");
    check_error(db.delete_range(..=&long[..]), "KeyTooLarge");
    let mut batch = WriteBatch::new();
    batch.delete("a").delete_range(&long[..]..).delete("b");
    check_error(db.write(&batch), "KeyTooLarge");
    assert_eq!(found(&db).len(), 26);
    db.delete_range(&long[1..]..).unwrap();
    assert_eq!(found(&db), "abc");
}

#[test]
fn later_operations_of_a_batch_win() {
    let db = letters(&SimDisk::new(1), stepped());
    let mut batch = WriteBatch::new();
    batch.put("d", "before").delete_range("c".."x").put("e", "after").delete_range("y"..);
    assert_eq!(batch.len(), 4);
    batch.delete_range("z".."a");
    assert_eq!(batch.len(), 4, "a range without keys is no operation");
    db.write(&batch).unwrap();
    for _ in 0..2 {
        assert_eq!(found(&db), "abex");
        assert_eq!(db.get("e").unwrap().unwrap(), "after");
        db.flush().unwrap();
    }
    db.compact().unwrap();
    assert_eq!(found(&db), "abex");
}

#[test]
fn what_is_put_later_is_seen_and_earlier_snapshots_see_through() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        let disk = SimDisk::new(1);
        let db = letters(&disk, stepped().compaction(style));
        let before = db.snapshot();
        let mut early = db.iter();
        db.delete_range("c".."x").unwrap();
        let between = db.snapshot();
        db.put("d", "new").unwrap();
        db.flush().unwrap();
        db.delete_range("e".."z").unwrap();
        db.put("m", "newest").unwrap();
        let check = || {
            assert_eq!(found(&db), "abdmz");
            assert_eq!(before.iter().count(), 26);
            assert_eq!(before.get("m").unwrap().unwrap(), "old");
            assert_eq!(between.iter().count(), 5);
            assert!(between.get("d").unwrap().is_none());
        };
        check();
        db.flush().unwrap();
        check();
        db.wait_idle().unwrap();
        check();
        db.compact().unwrap();
        check();
        assert_eq!(early.next().unwrap().unwrap().key(), b"a");
        assert_eq!(early.count(), 25);
        db.close().unwrap();
        let db = simulated(&disk, stepped());
        assert_eq!(found(&db), "abdmz");
        assert!(db.verify().unwrap().is_ok());
    }
}

#[test]
fn a_memtable_of_only_range_deletes_is_flushed_and_recovered() {
    let disk = SimDisk::new(1);
    let db = letters(&disk, stepped());
    db.delete_range("c".."x").unwrap();
    let seqno = db.stats().last_seqno;
    drop(db);
    let db = simulated(&disk, stepped());
    assert_eq!(found(&db), "abxyz", "from the log");
    assert_eq!(db.stats().last_seqno, seqno);
    db.flush().unwrap();
    assert_eq!(db.stats().memtable_rows, 0);
    db.close().unwrap();
    let db = simulated(&disk, stepped());
    assert_eq!(db.stats().recovery.batch_count, 0);
    assert_eq!(found(&db), "abxyz", "from a table");
    db.put("d", "new").unwrap();
    assert!(db.stats().last_seqno > seqno);
    assert_eq!(found(&db), "abdxyz");
    db.compact().unwrap();
    assert_eq!(found(&db), "abdxyz");
}

#[test]
fn a_merge_onto_a_deleted_range_begins_anew() {
    let options = stepped().merge_operator(merge::Append::new("+"));
    let db = simulated(&SimDisk::new(1), options);
    db.put("k", "base").unwrap();
    db.merge("k", "1").unwrap();
    for flush in [false, true] {
        db.delete_range("a".."z").unwrap();
        db.merge("k", "2").unwrap();
        if flush {
            db.flush().unwrap();
        }
        db.merge("k", "3").unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), "2+3");
        assert_eq!(db.iter().next().unwrap().unwrap().value(), b"2+3");
        assert_eq!(db.iter().next_back().unwrap().unwrap().value(), b"2+3");
        db.compact().unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), "2+3");
    }
}

#[test]
fn tables_that_are_covered_whole_go_without_being_read() {
    let disk = SimDisk::new(1);
    let options = stepped().memtable_size(64 << 10).table_size(256 << 10);
    let db = simulated(&disk, options.clone());
    for number in 0..20_000 {
        db.put(format!("{number:06}"), [7; 100]).unwrap();
    }
    db.compact().unwrap();
    db.close().unwrap();
    let db = simulated(&disk, options);
    let whole = db.snapshot();
    let before = db.stats().levels;
    assert!(before.len() == 1 && before[0].tables > 5, "{before:?}");
    db.delete_range("000100".."019900").unwrap();
    assert_eq!(db.iter().count(), 200);
    db.flush().unwrap();
    let written = db.stats().written.compacted_bytes;
    db.wait_idle().unwrap();
    let stats = db.stats();
    let job = stats.finished_jobs.iter().find(|job| job.reason == "range-delete").unwrap();
    assert!(job.input_tables >= before[0].tables - 2 && job.output_bytes == 0, "{job:?}");
    assert!(job.rows_covered > 15_000);
    assert!(stats.written.compacted_bytes - written < 1 << 20, "{stats:?}");
    assert_eq!(db.iter().count(), 200);
    assert_eq!(whole.iter().count(), 20_000, "no table was open when it went");
    drop(whole);
    db.put("005000", "new").unwrap();
    db.compact().unwrap();
    assert_eq!(db.iter().count(), 201);
    assert_eq!(db.stats().levels[0].rows, 201);
    assert!(db.verify().unwrap().is_ok());
}

/// A `compact` read tables only to drop all of their rows, and failed if one of them was damaged.
#[test]
fn damage_in_a_table_that_is_covered_whole_stops_no_compaction() {
    let compactions: [fn(&Db) -> tinydb::Result<()>; 3] =
        [Db::compact, |db| db.compact_range(..), Db::wait_idle];
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered, CompactionStyle::Manual] {
        for (way, compact) in compactions.iter().enumerate() {
            let options = || stepped().memtable_size(64 << 10).compaction(style);
            let (dir, db) = temporary(options());
            for number in 0..200 {
                db.put(format!("{number:04}"), [7; 100]).unwrap();
            }
            db.compact().unwrap();
            db.close().unwrap();
            // Its first block, or all of it: then it can't even be opened.
            let len = if way == 0 { 64 } else { usize::MAX };
            let tables = names_in(dir.path()).into_iter().filter(|name| name.starts_with("TABLE-"));
            for path in tables.map(|name| dir.path().join(name)) {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.iter_mut().take(len).for_each(|byte| *byte ^= 0x55);
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
            let db = options().open(dir.path()).unwrap();
            db.put("0300", "other").unwrap();
            db.delete_range("0000".."0200").unwrap();
            db.flush().unwrap();
            compact(&db).unwrap();
            assert_eq!(db.iter().count(), 1);
            if style != CompactionStyle::Manual || way < 2 {
                assert_eq!(db.stats().levels.iter().map(|level| level.rows).sum::<u64>(), 1);
            }
            assert!(db.verify().unwrap().is_ok() || style == CompactionStyle::Manual && way == 2);
        }
    }
}

/// Space that only a `compact` gave back: nothing merged a table that a range covered in part once
/// it was alone in its run, and every read looked for the range.
#[test]
fn tables_that_a_range_covers_in_part_are_rid_of_its_rows_when_writes_rest() {
    let options = stepped().memtable_size(64 << 10).table_size(256 << 10);
    let db = simulated(&SimDisk::new(1), options);
    for number in 0..20_000 {
        db.put(format!("{number:06}"), [7; 100]).unwrap();
    }
    db.compact().unwrap();
    let full = db.snapshot();
    let stored = || {
        let levels = db.stats().levels;
        let sum = |count: fn(&tinydb::LevelStats) -> u64| levels.iter().map(count).sum::<u64>();
        (levels.len(), sum(|level| level.rows), sum(|level| level.range_tombstones))
    };
    assert_eq!(stored(), (1, 20_000, 0));
    let mut want = 20_000;
    for (start, end) in [(100, 900), (7_000, 13_000), (19_990, 30_000), (5, 6)] {
        db.delete_range(format!("{start:06}")..format!("{end:06}")).unwrap();
        db.flush().unwrap();
        db.wait_idle().unwrap();
        want -= end.min(20_000) - start;
        assert_eq!(stored(), (1, want, 0), "{start} to {end}");
        let jobs = db.stats().written.compacted_bytes;
        db.wait_idle().unwrap();
        assert_eq!(db.stats().written.compacted_bytes, jobs, "nothing is written twice");
    }
    assert_eq!(db.iter().count() as u64, want);
    assert_eq!(full.iter().count(), 20_000, "an earlier snapshot sees through it");
    assert!(db.verify().unwrap().is_ok());
}

/// A compaction that left no row put a tombstone for the range's first key into level 0, in front
/// of a newer row of that key in a deeper level.
#[test]
fn a_table_of_nothing_but_range_tombstones_hides_no_newer_row() {
    let db = simulated(&SimDisk::new(1), stepped().compaction(CompactionStyle::Manual));
    db.write(WriteBatch::new().put("c", "1").put("y", "1")).unwrap();
    db.compact_range("c"..="y").unwrap();
    db.put("z", "1").unwrap();
    db.delete_range("b".."x").unwrap();
    db.compact_range("z"..="z").unwrap();
    db.put("b", "2").unwrap();
    db.compact_range("b"..="b").unwrap();
    db.delete("z").unwrap();
    db.compact_range("z"..="z").unwrap();
    assert_eq!(found(&db), "by");
    db.compact().unwrap();
    assert_eq!(found(&db), "by");
    assert_eq!(db.stats().levels[0].rows, 2);
}

/// Each nested range lay over all fragments inside it, with a seqno in each: memory grew with the
/// square of their number, in a write and again in every opening that replayed it.
#[test]
fn thousands_of_nested_ranges_in_a_batch_take_little() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, stepped());
    let mut batch = WriteBatch::new();
    let count = 30_000;
    for number in 0..count {
        batch.delete_range(format!("{number:06}")..format!("{:06}", 2 * count - number));
    }
    batch.put(format!("{count:06}"), "inside");
    let before = db.snapshot();
    db.write(&batch).unwrap();
    assert!(db.stats().memtable_bytes < 64 << 20, "{}", db.stats().memtable_bytes);
    assert_eq!((db.iter().count(), before.iter().count()), (1, 0));
    drop(db);
    let db = simulated(&disk, stepped());
    assert_eq!(db.iter().count(), 1);
    db.compact().unwrap();
    assert_eq!((db.iter().count(), db.stats().levels[0].rows), (1, 1));
}

#[test]
fn many_ranges_in_one_memtable_are_flushed_in_time() {
    let db = simulated(&SimDisk::new(1), stepped());
    for number in 0..6_000 {
        db.delete_range(format!("{:05}", number * 2)..format!("{:05}", number * 2 + 1)).unwrap();
    }
    assert!(db.stats().levels[0].tables >= 1, "a list that is copied for each must stay short");
    db.put("00003", "odd").unwrap();
    db.put("00004", "even").unwrap();
    assert_eq!(db.iter().count(), 2);
    db.compact().unwrap();
    assert_eq!(db.stats().levels[0].rows, 2, "nothing is left of the ranges");
}

/// They are one fragment, so only their number told that the list grew long.
#[test]
fn one_range_deleted_again_and_again_is_flushed_in_time() {
    let db = simulated(&SimDisk::new(1), stepped());
    for number in 0..6_000 {
        db.put("m", number.to_string()).unwrap();
        db.delete_range("a".."z").unwrap();
    }
    assert!(db.stats().levels[0].tables >= 1, "a list that is copied for each must stay short");
    assert_eq!(db.iter().count(), 0);
    db.put("m", "last").unwrap();
    assert_eq!(db.get("m").unwrap().unwrap(), "last");
}

#[test]
fn readers_on_disk_see_the_same_in_both_read_modes() {
    for read_mode in [tinydb::ReadMode::Mmap, tinydb::ReadMode::Heap] {
        let (_dir, db) = temporary(Options::new().read_mode(read_mode));
        for letter in 'a'..='z' {
            db.put(letter.to_string(), vec![b'v'; 5_000]).unwrap();
        }
        db.flush().unwrap();
        db.delete_range("c".."x").unwrap();
        db.put("m", vec![b'w'; 5_000]).unwrap();
        db.flush().unwrap();
        assert_eq!(found(&db), "abmxyz");
        let shared = Arc::new(db);
        let snapshot = shared.snapshot();
        shared.delete_range(..).unwrap();
        assert_eq!(
            snapshot.iter().map(|entry| entry.unwrap().value().len()).sum::<usize>(),
            30_000
        );
        assert_eq!(shared.iter().count(), 0);
    }
}
