//! Any operations, flushes, compactions, crashes and reopenings on a simulated disk: the database reads as a
//! `BTreeMap` does, and so do the snapshots that were taken since the last crash.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tinydb::WriteBatch;
use tinydb::internals::{CrashMode, SimDisk};
use tinydb_fuzz::{check, open};

fuzz_target!(|ops: Vec<(u8, u8, &[u8])>| {
    let mut disk = SimDisk::new(ops.len() as u64);
    let (mut db, mut model, mut snapshots) = (open(&disk), BTreeMap::new(), Vec::new());
    for (op, byte, value) in ops {
        let key = vec![byte % 8; usize::from(byte / 32)];
        let mut batch = WriteBatch::new();
        match op % 10 {
            8 => db.compact().expect("a compaction"),
            9 => db.wait_idle().expect("what is due"),
            0..4 => db.write(batch.delete(b"gone").put(&key, value)).expect("a put"),
            4 => db.write(batch.put(&key, value).delete(&key)).expect("a delete"),
            5 => db.flush().expect("a flush"),
            6 => snapshots.push((db.snapshot(), model.clone())),
            _ => {
                snapshots.drain(..).for_each(|(snapshot, model)| check(&snapshot, &model));
                disk.crash(CrashMode::ALL[usize::from(byte) % CrashMode::ALL.len()]);
                disk = disk.reboot();
                db = open(&disk);
            }
        }
        match op % 10 {
            0..4 => drop(model.insert(key, value.to_vec())),
            4 => drop(model.remove(&key)),
            7..10 => check(&db.snapshot(), &model),
            _ => {}
        }
    }
    snapshots.push((db.snapshot(), model));
    snapshots.into_iter().for_each(|(snapshot, model)| check(&snapshot, &model));
});
