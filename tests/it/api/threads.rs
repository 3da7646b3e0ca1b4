//! Many threads: whole batches, in order, and no lock that stops everybody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tinydb::{Db, Durability, Options, WriteBatch};

use super::temporary;

const WRITER_COUNT: u8 = 4;
const KEYS: [&str; 3] = ["first", "middle", "last"];

fn key(writer: u8, name: &str) -> String {
    format!("{writer}/{name}")
}

/// Each batch gives all keys of a writer the same number.
fn write(db: &Db, writer: u8, batch_count: u32) {
    for number in 1..=batch_count {
        let mut batch = WriteBatch::new();
        for name in KEYS {
            let mut value = number.to_le_bytes().to_vec();
            value.resize(300, writer);
            batch.put(key(writer, name), value);
        }
        db.write(&batch).unwrap();
        // A write that returned is seen by its own thread at once.
        assert_eq!(number_of(&db.get(key(writer, KEYS[1])).unwrap().unwrap()), number);
    }
}

fn number_of(value: &[u8]) -> u32 {
    u32::from_le_bytes(value[..4].try_into().unwrap())
}

/// Looks again and again: each writer's keys agree, and never go back.
fn read(db: &Db, done: &AtomicBool) {
    let mut newest = [0; WRITER_COUNT as usize];
    while !done.load(Ordering::Acquire) {
        let snapshot = db.snapshot();
        for writer in 0..WRITER_COUNT {
            let found = snapshot.multi_get(&KEYS.map(|name| key(writer, name))).unwrap();
            let numbers: Vec<_> =
                found.iter().map(|value| value.as_deref().map_or(0, number_of)).collect();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
            let seen = &mut newest[usize::from(writer)];
            assert!(numbers[0] >= *seen, "time goes back from {seen} to {}", numbers[0]);
            *seen = numbers[0];
            let scanned: Vec<_> = (db.prefix(format!("{writer}/")))
                .map(|entry| number_of(entry.unwrap().value()))
                .collect();
            assert!(scanned.iter().all(|number| *number == scanned[0]), "{scanned:?}");
        }
    }
}

#[track_caller]
fn check(options: &Options, batch_count: u32) {
    let (dir, db) = temporary(options.clone());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| read(&db, &done)));
        let writers: Vec<_> = (0..WRITER_COUNT)
            .map(|writer| {
                scope.spawn({
                    let db = &db;
                    move || write(db, writer, batch_count)
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        for result in results.into_iter().chain(readers.map(thread::ScopedJoinHandle::join)) {
            result.unwrap();
        }
    });
    let check_all = |db: &Db| {
        assert_eq!(db.stats().last_seqno, u64::from(WRITER_COUNT) * u64::from(batch_count) * 3);
        for writer in 0..WRITER_COUNT {
            for name in KEYS {
                let value = db.get(key(writer, name)).unwrap().unwrap();
                assert_eq!((value.len(), number_of(&value)), (300, batch_count));
            }
        }
    };
    check_all(&db);
    db.close().unwrap();
    check_all(&options.clone().open(dir.path()).unwrap());
}

#[test]
fn four_writers_and_two_readers_see_whole_batches() {
    let options = Options::new().memtable_size(64 << 10);
    check(&options.clone().durability(Durability::Buffered), 400);
    check(&options.clone().durability(Durability::Buffered).background_threads(0), 200);
    check(&options.durability(Durability::Sync), 60);
}

#[test]
fn any_thread_may_flush_sync_and_close_while_others_write() {
    let (_dir, db) = temporary(Options::new().durability(Durability::Buffered));
    thread::scope(|scope| {
        for writer in 0..WRITER_COUNT {
            scope.spawn({
                let db = db.clone();
                move || while db.put([writer], [writer; 100]).is_ok() {}
            });
        }
        for _ in 0..5 {
            db.flush().unwrap();
            db.sync().unwrap();
            assert!(db.verify().unwrap().is_ok());
        }
        db.clone().close().unwrap();
    });
    assert!(matches!(db.put("k", "v"), Err(tinydb::Error::Closed)));
}
