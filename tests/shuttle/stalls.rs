//! Writers that stand still until work is done: it always gets done.

use shuttle::thread;
use tinydb::Error;
use tinydb::internals::SimDisk;
use tinydb::merge::Counter;

use super::{check, open, options};

/// Each write fills a memtable, so writers stand still again and again. Meanwhile a reader asks for a
/// fold of the operands in the newest memtable, which the one background thread has to set aside.
#[test]
fn writers_that_stand_still_go_on_though_a_reader_asks_for_a_fold() {
    check("stalled writers and a fold", || {
        let disk = SimDisk::new(1);
        let db = open(&disk, options(1).merge_operator(Counter));
        for _ in 0..5 {
            db.merge("counter", 1_i64.to_le_bytes()).unwrap();
        }
        let writer = thread::spawn({
            let db = db.clone();
            move || {
                for number in 0..6_u8 {
                    db.put([number], vec![number; 70 << 10]).unwrap();
                }
            }
        });
        let reader = thread::spawn({
            let db = db.clone();
            move || {
                (0..2).all(|_| {
                    db.get("counter").unwrap().as_deref() == Some(&[5, 0, 0, 0, 0, 0, 0, 0])
                })
            }
        });
        writer.join().unwrap();
        assert!(reader.join().unwrap());
        db.wait_idle().unwrap();
        assert!((0..6_u8).all(|number| db.get([number]).unwrap().is_some()));
        db.close().unwrap();
    });
}

/// A close ends the threads that a writer stands still for.
#[test]
fn a_writer_that_stands_still_is_told_of_a_close() {
    check("stalled writers and a close", || {
        let disk = SimDisk::new(2);
        let db = open(&disk, options(1));
        let writers = [0_u8, 1].map(|writer| {
            let db = db.clone();
            thread::spawn(move || {
                let write = |number: u8| db.put([writer, number], vec![number; 70 << 10]);
                let failed = (0..5).find_map(|number| write(number).err());
                assert!(matches!(failed, None | Some(Error::Closed)), "{failed:?}");
            })
        });
        (0..4).for_each(|_| thread::yield_now());
        db.close().unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}
