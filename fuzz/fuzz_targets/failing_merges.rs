//! A merge operator that fails or panics on some operands: it fails the reads of those keys and no
//! others, whatever was flushed, compacted or reopened in between, and no operand is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::SimDisk;
use tinydb_fuzz::{MoodyModel, open_moody};

fuzz_target!(|ops: Vec<(u8, u8, &[u8])>| {
    let disk = SimDisk::new(1);
    let (mut db, mut model) = (open_moody(&disk), MoodyModel::default());
    for (op, byte, value) in ops {
        let key = [byte % 8];
        match op % 12 {
            0 | 1 => {
                db.put(key, value).expect("a put");
                model.put(&key, value);
            }
            2 => {
                db.delete(key).expect("a delete");
                model.delete(&key);
            }
            3..8 => {
                db.merge(key, value).expect("a merge");
                model.merge(&key, value);
            }
            8 => db.flush().expect("a flush"),
            9 => db.compact().expect("a compaction"),
            10 => db.wait_idle().expect("what is due"),
            _ => {
                db.close().expect("a clean close");
                db = open_moody(&disk);
            }
        }
        if op % 12 >= 8 {
            model.check(&db);
        }
    }
    model.check(&db);
});
