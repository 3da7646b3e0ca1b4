//! A call of the disk fails while threads write: nobody is told of a success that is none.

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use tinydb::internals::CrashMode;
use tinydb::internals::{Fault, SimDisk};
use tinydb::{Durability, WriteBatch};

use super::{check, number_in, open, options, value_of};

/// Each writes until it is told of a failure; what was acknowledged as durable is there after the
/// power was lost, whoever of a group led it.
#[test]
fn nobody_is_told_of_a_sync_that_failed_as_if_it_had_not() {
    check("a sync that fails", || {
        let disk = SimDisk::new(1);
        let db = open(&disk, options(1).durability(Durability::Sync));
        db.put("first", "value").unwrap();
        let call = disk.calls() + thread_rng().gen_range(0..24);
        let fault = [Fault::Dropped, Fault::Reverted, Fault::Io, Fault::NoSpace];
        disk.fail_at(call, fault[thread_rng().gen_range(0..fault.len())]);
        let writers = [0_u8, 1, 2].map(|writer| {
            let db = db.clone();
            thread::spawn(move || {
                let mut acked = 0;
                for number in 1..=3 {
                    let mut batch = WriteBatch::new();
                    batch.put([writer], value_of(number)).put([writer, 0], value_of(number));
                    if db.write(&batch).is_err() {
                        break;
                    }
                    acked = number;
                    assert_eq!(number_in(&db, [writer]), number);
                }
                (writer, acked)
            })
        });
        let acked = writers.map(|writer| writer.join().unwrap());
        for (writer, acked) in acked {
            assert_eq!(number_in(&db, [writer]), acked, "what failed is not seen");
        }
        disk.crash(CrashMode::LoseUnsynced);
        drop(db);
        let db = open(&disk.reboot(), options(0));
        for (writer, acked) in acked {
            let found = number_in(&db, [writer]);
            assert!((acked..=acked + 1).contains(&found), "{found} of {acked} acknowledged");
            assert_eq!(number_in(&db, [writer, 0]), found, "half a batch");
        }
    });
}
