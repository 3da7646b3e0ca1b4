//! Operands: each counts once, whatever is flushed, folded and merged meanwhile.

use shuttle::thread;
use tinydb::internals::SimDisk;
use tinydb::merge::Counter;
use tinydb::{Db, Options};

use super::{check, open, options};

const EACH: i64 = 4;

fn counting(background_threads: usize) -> Options {
    options(background_threads).merge_operator(Counter)
}

fn count_in(db: &Db) -> i64 {
    let value = db.get("counter").unwrap();
    value.map_or(0, |value| i64::from_le_bytes(value[..].try_into().unwrap()))
}

#[test]
fn counters_are_exact_and_never_go_back() {
    check("counters", || {
        let disk = SimDisk::new(1);
        let db = open(&disk, counting(1));
        let mut threads: Vec<_> = (0..2)
            .map(|_| {
                let db = db.clone();
                thread::spawn(move || {
                    for _ in 0..EACH {
                        db.merge("counter", 1_i64.to_le_bytes()).unwrap();
                    }
                })
            })
            .collect();
        threads.push(thread::spawn({
            let db = db.clone();
            move || {
                let mut before = 0;
                for _ in 0..4 {
                    let now = count_in(&db);
                    assert!((before..=2 * EACH).contains(&now), "from {before} to {now}");
                    before = now;
                    // More than a few operands were read: a thread is asked to fold them.
                }
            }
        }));
        db.flush().unwrap();
        db.compact().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(count_in(&db), 2 * EACH);
        db.compact().unwrap();
        assert_eq!(count_in(&db), 2 * EACH);
        db.close().unwrap();
        assert_eq!(count_in(&open(&disk, counting(0))), 2 * EACH);
    });
}
