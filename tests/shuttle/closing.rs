//! Closing while others write, flush and merge.

use shuttle::thread;
use tinydb::internals::CrashMode;
use tinydb::internals::SimDisk;
use tinydb::merge::Counter;
use tinydb::{Db, Durability, Error, WriteBatch};

use super::{check, number_in, open, options, value_of};

/// How many writes were acknowledged before the database was closed.
fn write_until_closed(db: &Db, writer: u8) -> u32 {
    for number in 1..=6 {
        match db.put([writer], value_of(number)) {
            Ok(()) => {}
            Err(Error::Closed) => return number - 1,
            Err(error) => panic!("{error}"),
        }
    }
    6
}

#[test]
fn what_was_acknowledged_before_a_close_is_there_after_a_power_loss() {
    check("close beside writers", || {
        let disk = SimDisk::new(1);
        let db = open(&disk, options(1));
        let writers = [0, 1].map(|writer| {
            let db = db.clone();
            thread::spawn(move || (writer, write_until_closed(&db, writer)))
        });
        let flusher = thread::spawn({
            let db = db.clone();
            move || match db.flush() {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        });
        db.close().unwrap();
        let acked = writers.map(|writer| writer.join().unwrap());
        flusher.join().unwrap();
        disk.crash(CrashMode::LoseUnsynced);
        let db = open(&disk.reboot(), options(0));
        for (writer, acked) in acked {
            let found = number_in(&db, [writer]);
            assert!((acked..=acked + 1).contains(&found), "{found} of {acked}");
        }
    });
}

/// Two callers merge everything while a third one closes: no two jobs have the same tables, so no
/// operand is there twice.
#[test]
fn merges_of_everything_beside_a_close_share_no_table() {
    check("compact beside compact and close", || {
        let disk = SimDisk::new(2);
        let counting = |threads| options(threads).merge_operator(Counter);
        let db = open(&disk, counting(0));
        for _ in 0..3 {
            db.merge("counter", 1_i64.to_le_bytes()).unwrap();
            db.flush().unwrap();
        }
        let callers = [(); 2].map(|()| {
            let db = db.clone();
            thread::spawn(move || match db.compact() {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => panic!("{error}"),
            })
        });
        let writer = thread::spawn({
            let db = db.clone();
            move || db.merge("counter", 1_i64.to_le_bytes()).is_ok()
        });
        db.close().unwrap();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let count = if writer.join().unwrap() { 4 } else { 3 };
        let db = open(&disk, counting(0));
        let value = db.get("counter").unwrap().unwrap();
        assert_eq!(*value, i64::to_le_bytes(count));
        assert!(db.verify().unwrap().is_ok());
        let tables: u64 = db.stats().levels.iter().map(|level| level.tables).sum();
        assert!(tables <= 4, "{tables} tables");
    });
}

/// A handle goes in one thread while others hold theirs; the last one closes.
#[test]
fn whoever_drops_the_last_handle_closes() {
    check("drops", || {
        let disk = SimDisk::new(3);
        let db = open(&disk, options(2));
        let users = [0_u8, 1].map(|user| {
            let db = db.clone();
            thread::spawn(move || {
                let mut batch = WriteBatch::new();
                batch.put([user], value_of(1));
                db.write_with(&batch, Durability::Sync).unwrap();
                let snapshot = db.snapshot();
                drop(db);
                assert_eq!(snapshot.get([user]).unwrap().map(|v| v.len()), Some(super::VALUE_LEN));
            })
        });
        drop(db);
        users.into_iter().for_each(|user| user.join().unwrap());
        let db = open(&disk, options(0));
        assert_eq!([number_in(&db, [0]), number_in(&db, [1])], [1, 1]);
    });
}
