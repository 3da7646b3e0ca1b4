//! Closing: for all clones, with nothing lost, and what lives on after it.

use std::fs;

use tinydb::internals::{CrashMode, SimDisk};
use tinydb::{Db, Durability, Options, ReadMode, WriteBatch};

use super::{check_closed, keys, pairs, simulated, temporary};

#[test]
fn closing_any_clone_closes_for_all() {
    let (dir, db) = temporary(Options::new());
    db.put("k", "v").unwrap();
    let other = db.clone();
    let stats = db.stats();
    db.clone().close().unwrap();
    check_closed(db.put("k", "w"));
    check_closed(db.delete("k"));
    check_closed(db.write(WriteBatch::new().put("k", "w")));
    check_closed(db.write(&WriteBatch::new()));
    check_closed(db.write_with(WriteBatch::new().put("k", "w"), Durability::Sync));
    check_closed(db.sync());
    check_closed(db.flush());
    check_closed(db.verify());
    check_closed(other.get("k"));
    check_closed(other.get_entry("k"));
    check_closed(other.contains_key("k"));
    check_closed(other.multi_get(&["k"]));
    assert_eq!(other.stats().last_seqno, stats.last_seqno, "the last figures");
    let snapshot = other.snapshot();
    check_closed(snapshot.get("k"));
    check_closed(snapshot.get_entry("k"));
    check_closed(snapshot.contains_key("k"));
    check_closed(snapshot.multi_get(&["k"]));
    for mut iter in [db.iter(), db.range("a".."z"), db.prefix("k"), snapshot.iter()] {
        check_closed(iter.next().expect("an error"));
        assert!(iter.next().is_none() && iter.next_back().is_none(), "one error, then nothing");
    }
    check_closed(db.iter().next_back().expect("an error"));
    for mut cursor in [db.cursor(), snapshot.cursor()] {
        check_closed(cursor.next());
        check_closed(cursor.seek_first());
        check_closed(cursor.seek_last());
        check_closed(cursor.seek("k"));
        check_closed(cursor.seek_for_prev("k"));
        check_closed(cursor.prev());
        assert!(!cursor.valid() && cursor.key().is_empty() && cursor.value().is_empty());
    }
    other.close().unwrap();
    db.close().unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().get("k").unwrap().unwrap(), "v");
}

#[test]
fn the_lock_is_free_while_snapshots_live() {
    let (dir, db) = temporary(Options::new());
    db.put("k", "old").unwrap();
    let (snapshot, mut iter, mut cursor) = (db.snapshot(), db.iter(), db.cursor());
    db.close().unwrap();
    let next = Db::open(dir.path()).unwrap();
    next.put("k", "new").unwrap();
    next.flush().unwrap();
    assert_eq!(snapshot.get("k").unwrap().unwrap(), "old");
    assert_eq!(iter.next().unwrap().unwrap().value(), b"old");
    assert!(cursor.seek_first().unwrap() && cursor.value() == b"old");
    drop(next);
    Db::open(dir.path()).unwrap();
}

#[test]
fn what_was_read_outlives_flush_close_the_last_handle_and_the_files() {
    for mode in [ReadMode::Mmap, ReadMode::Heap] {
        let (dir, db) = temporary(Options::new().read_mode(mode));
        let long = vec![b'x'; 100_000];
        db.write(WriteBatch::new().put("a", "in a table").put("b", &long)).unwrap();
        db.flush().unwrap();
        db.write(WriteBatch::new().put("c", "in memory").put("d", &long)).unwrap();
        let snapshot = db.snapshot();
        let want = pairs(snapshot.iter());
        let mut iter = db.iter();
        let mut cursor = db.cursor();
        assert!(iter.next().is_some() && cursor.seek("b").unwrap());
        let value = db.get("b").unwrap().unwrap();
        let in_memory = db.get("d").unwrap().unwrap();
        db.put("c", "later").unwrap();
        db.flush().unwrap();
        db.close().unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(value, long);
        assert_eq!(in_memory, long);
        assert_eq!(keys(iter), "b c d");
        assert_eq!(cursor.value(), long);
        assert!(cursor.next().unwrap() && cursor.value() == b"in memory");
        assert!(cursor.seek_first().unwrap() && cursor.value() == b"in a table");
        assert!(pairs(snapshot.iter()) == want, "{mode:?}");
        assert_eq!(snapshot.get("c").unwrap().unwrap(), "in memory");
    }
}

/// Three buffered writes, then `finish`, then the power goes: are they there?
#[track_caller]
fn check_survives(finish: impl Fn(Db), want: &str) {
    for mode in [CrashMode::LoseUnsynced, CrashMode::TornPrefix, CrashMode::Sectors] {
        let disk = SimDisk::new(7);
        let options = || Options::new().durability(Durability::Buffered).background_threads(0);
        let db = simulated(&disk, options());
        for key in ["a", "b", "c"] {
            db.put(key, "value").unwrap();
        }
        finish(db);
        disk.crash(mode);
        let db = simulated(&disk.reboot(), options());
        assert_eq!(keys(db.iter()), want, "{mode:?}");
    }
}

#[test]
fn flush_sync_and_close_make_buffered_writes_durable() {
    check_survives(|db| db.flush().unwrap(), "a b c");
    check_survives(|db| db.sync().unwrap(), "a b c");
    check_survives(|db| db.clone().close().unwrap(), "a b c");
    check_survives(drop, "a b c");
    let durable = |db: Db| db.write_with(WriteBatch::new().put("d", ""), Durability::Sync).unwrap();
    check_survives(durable, "a b c d");
}

#[test]
fn a_clean_close_leaves_nothing_to_do() {
    let (dir, db) = temporary(Options::new());
    db.put("k", "v").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let recovery = db.stats().recovery;
    assert_eq!((recovery.log_count, recovery.dropped_bytes), (0, 0));
    assert!(recovery.stopped_at.is_none());
}

#[test]
fn a_close_leaves_the_next_open_nothing_to_replay_but_a_few_rows() {
    for (value_len, replayed) in [(10, 100), (2_000, 0)] {
        let disk = SimDisk::new(1);
        let db = simulated(&disk, Options::new().background_threads(0));
        for key in 0..100 {
            db.put(format!("{key:03}"), vec![7; value_len]).unwrap();
        }
        db.close().unwrap();
        let db = simulated(&disk, Options::new().background_threads(0));
        assert_eq!(db.stats().recovery.row_count, replayed, "of {value_len} bytes");
        assert_eq!(db.iter().count(), 100);
        db.close().unwrap();
    }
}

#[test]
fn a_close_that_can_not_flush_leaves_everything_in_the_log() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, Options::new().background_threads(0));
    db.put("k", vec![7; 100_000]).unwrap();
    // The log fits, a table beside it does not.
    disk.limit_space(Some(150_000));
    db.close().unwrap();
    disk.limit_space(None);
    let db = simulated(&disk, Options::new());
    assert_eq!(db.stats().recovery.row_count, 1, "no table was made of it");
    assert_eq!(db.get("k").unwrap().unwrap().len(), 100_000);
}
