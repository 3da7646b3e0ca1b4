//! What readers see beside writers, flushes and merges.

use shuttle::thread;
use tinydb::internals::SimDisk;
use tinydb::{Db, Snapshot, WriteBatch};

use super::{check, number_in, number_of, open, options, value_of};

const WRITER_COUNT: u8 = 2;
const BATCH_COUNT: u32 = 3;
const NAMES: [&str; 3] = ["first", "middle", "last"];

fn key(writer: u8, name: &str) -> String {
    format!("{writer}/{name}")
}

/// Each batch gives all keys of a writer the same number, and the writer sees it at once.
fn write(db: &Db, writer: u8) {
    for number in 1..=BATCH_COUNT {
        let mut batch = WriteBatch::new();
        for name in NAMES {
            batch.put(key(writer, name), value_of(number));
        }
        db.write(&batch).unwrap();
        assert_eq!(number_in(db, key(writer, NAMES[1])), number, "what returned is seen");
    }
}

/// The numbers of a writer's keys in a snapshot, by each way to read.
fn numbers(snapshot: &Snapshot, writer: u8) -> Vec<u32> {
    let keys = NAMES.map(|name| key(writer, name));
    let together = snapshot.multi_get(&keys).unwrap();
    let together: Vec<_> = together.iter().map(|v| v.as_deref().map_or(0, number_of)).collect();
    let number_at = |key: &String| snapshot.get(key).unwrap().map_or(0, |v| number_of(&v));
    assert_eq!(keys.iter().map(number_at).collect::<Vec<_>>(), together);
    let entries = snapshot.prefix(format!("{writer}/"));
    let mut scanned: Vec<_> = entries.map(|entry| number_of(entry.unwrap().value())).collect();
    scanned.resize(NAMES.len(), 0);
    assert!(scanned.iter().all(|number| *number == together[0]), "{scanned:?} {together:?}");
    together
}

/// Looks a few times: each batch is there whole or not at all, and none goes away again.
fn read(db: &Db) {
    let mut newest = [0; WRITER_COUNT as usize];
    for _ in 0..3 {
        let snapshot = db.snapshot();
        let look = || (0..WRITER_COUNT).map(|writer| numbers(&snapshot, writer));
        let first: Vec<_> = look().collect();
        for (seen, newest) in first.iter().zip(&mut newest) {
            assert!(seen.iter().all(|number| *number == seen[0]), "{seen:?}");
            assert!(seen[0] >= *newest, "time goes back from {newest} to {}", seen[0]);
            *newest = seen[0];
        }
        thread::yield_now();
        assert_eq!(look().collect::<Vec<_>>(), first, "a snapshot stays as it is");
    }
}

fn readers_beside(background_threads: usize) {
    let disk = SimDisk::new(1);
    let db = open(&disk, options(background_threads));
    let run = |work: fn(&Db)| {
        let db = db.clone();
        thread::spawn(move || work(&db))
    };
    let threads = [run(|db| write(db, 0)), run(|db| write(db, 1)), run(read)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let check_all = |db: &Db| {
        for writer in 0..WRITER_COUNT {
            let found = numbers(&db.snapshot(), writer);
            assert_eq!(found, [BATCH_COUNT; 3], "all that was acknowledged");
        }
    };
    check_all(&db);
    db.close().unwrap();
    let again = open(&disk, options(background_threads));
    check_all(&again);
    assert!(again.verify().unwrap().is_ok());
}

#[test]
fn batches_are_seen_whole_in_order_and_for_good() {
    check("batches, one background thread", || readers_beside(1));
}

#[test]
fn batches_are_seen_whole_where_callers_flush() {
    check("batches, no background thread", || readers_beside(0));
}

#[test]
fn batches_are_seen_whole_beside_two_background_threads() {
    check("batches, two background threads", || readers_beside(2));
}

/// A key is written, then another one: who reads the later one first finds the earlier one no older.
#[test]
fn what_is_read_of_one_key_never_goes_back_behind_another() {
    check("gets of two keys", || {
        let disk = SimDisk::new(2);
        let db = open(&disk, options(1));
        let writer = thread::spawn({
            let db = db.clone();
            move || {
                for number in 1..=5 {
                    db.put("early", value_of(number)).unwrap();
                    db.put("late", value_of(number)).unwrap();
                }
            }
        });
        let reader = thread::spawn({
            let db = db.clone();
            move || {
                let mut before = 0;
                for _ in 0..4 {
                    let late = number_in(&db, "late");
                    let early = number_in(&db, "early");
                    assert!(early >= late, "{early} was written before {late}");
                    assert!(late >= before, "from {before} to {late}");
                    before = early;
                    let mut cursor = db.cursor();
                    assert!(cursor.seek_first().unwrap() || before == 0);
                    let shown = if before == 0 { 0 } else { number_of(cursor.value()) };
                    assert!(shown >= before, "a cursor shows {shown}, a get saw {before}");
                    before = before.min(late);
                }
            }
        });
        db.compact().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!((number_in(&db, "early"), number_in(&db, "late")), (5, 5));
    });
}

/// A range is deleted and written anew in one batch: nobody sees it without rows, or with old ones.
#[test]
fn a_range_that_is_deleted_and_written_anew_at_once_is_never_seen_empty() {
    check("delete_range beside readers", || {
        let disk = SimDisk::new(3);
        let db = open(&disk, options(1));
        let fill = |db: &Db, number| {
            let mut batch = WriteBatch::new();
            batch.delete_range("0/".."00");
            for name in NAMES {
                batch.put(key(0, name), value_of(number));
            }
            // A row that the next batch deletes and does not write.
            batch.put(key(0, &format!("only {number}")), value_of(number));
            db.write(&batch).unwrap();
        };
        fill(&db, 1);
        let writer = thread::spawn({
            let db = db.clone();
            move || (2..=4).for_each(|number| fill(&db, number))
        });
        let reader = thread::spawn({
            let db = db.clone();
            move || {
                let mut newest = 1;
                for _ in 0..3 {
                    let got = number_in(&db, key(0, "middle"));
                    assert!(got >= newest, "from {newest} to {got}");
                    newest = got;
                    let entries = db.prefix("0/").map(|entry| entry.unwrap());
                    let seen: Vec<_> = entries.map(|entry| number_of(entry.value())).collect();
                    assert_eq!(seen, [seen[0]; 4], "one batch and nothing else");
                    assert!(seen[0] >= newest);
                    newest = seen[0];
                }
            }
        });
        db.flush().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        db.compact().unwrap();
        assert_eq!(db.prefix("0/").count(), 4);
    });
}
