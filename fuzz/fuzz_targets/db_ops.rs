//! Any operations, range deletes and ingests too, flushes, compactions, crashes and reopenings on a
//! simulated disk, while a clock goes on: the database reads as a map does whose values expire and are appended
//! to, and so do the snapshots that were taken since the last crash.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tinydb::WriteBatch;
use tinydb::internals::{CrashMode, SimDisk};
use tinydb_fuzz::{Model, check, open, write_table};

fuzz_target!(|ops: Vec<(u8, u8, &[u8])>| {
    let mut disk = SimDisk::new(ops.len() as u64);
    let (mut model, mut snapshots) = (Model::default(), Vec::new());
    let mut db = open(&disk, &model.clock);
    for (op, byte, value) in ops {
        let key = &vec![byte % 8; usize::from(byte / 32)];
        let mut batch = WriteBatch::new();
        match op % 18 {
            0..3 => {
                db.write(batch.delete(b"gone").put(key, value)).expect("a put");
                model.put(key, value, None);
            }
            3 => {
                db.write(batch.put(key, value).delete(key)).expect("a delete");
                model.delete(key);
            }
            4 | 5 => {
                db.merge(key, value).expect("a merge");
                model.merge(key, value);
            }
            6 => {
                db.write(batch.delete(key).merge(key, value).merge(key, b"")).expect("a batch");
                model.delete(key);
                model.merge(key, value);
                model.merge(key, b"");
            }
            7 | 8 => {
                let ttl = u64::from(op / 18) % 4 + 1;
                db.put_with_ttl(key, value, Duration::from_secs(ttl)).expect("a put");
                model.put(key, value, Some(ttl));
            }
            9 => model.clock.advance(u64::from(byte % 4)),
            10 => db.flush().expect("a flush"),
            11 => db.compact().expect("a compaction"),
            12 => db.wait_idle().expect("what is due"),
            13 => {
                db.delete_range(&key[..]..value).expect("a range delete");
                model.delete_range(key, value);
            }
            14 => {
                db.write(batch.put(key, value).delete_range(value..&key[..]).merge(key, value))
                    .expect("a batch");
                model.put(key, value, None);
                model.delete_range(value, key);
                model.merge(key, value);
            }
            15 => snapshots.push((db.snapshot(), model.picture())),
            16 => {
                let rows = [(&key[..], value), (value, key)].into();
                db.ingest(&[write_table(&rows)]).expect("an ingest");
                rows.into_iter().for_each(|(key, value)| model.put(key, value, None));
            }
            _ => {
                snapshots.drain(..).for_each(|(snapshot, picture)| check(&snapshot, &picture));
                disk.crash(CrashMode::ALL[usize::from(byte) % CrashMode::ALL.len()]);
                disk = disk.reboot();
                db = open(&disk, &model.clock);
            }
        }
        if matches!(op % 18, 9 | 11..=14 | 16..) {
            check(&db.snapshot(), &model.picture());
        }
    }
    snapshots.push((db.snapshot(), model.picture()));
    snapshots.into_iter().for_each(|(snapshot, picture)| check(&snapshot, &picture));
});
