//! Flushes and merges that fail in background threads: who is told, what is kept, when it is over.

use std::collections::BTreeMap;

use tinydb::internals::{Fault, SimDisk};
use tinydb::{Db, Error};

use super::{
    FULL, check_error, check_next_open, check_numbers_are_new, level_zero, open, options, until,
};
use crate::gate::{Gate, GatedDisk};
use crate::support::dump;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A background thread that failed: at which of its calls, and whether all later calls fail too.
struct Failed {
    disk: GatedDisk,
    db: Db,
    want: Rows,
    lasting: bool,
}

/// What the background does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Flush,
    Merge,
}

impl Failed {
    /// Lets the work fail at its call number `call`; `None` if it has fewer calls than that.
    fn at(work: Work, disk: &SimDisk, call: u64, fault: Fault, lasting: bool) -> Option<Self> {
        let disk = GatedDisk::new(&disk.fork(call));
        disk.set(Gate::ShutInBackground);
        let threads = 1 + usize::try_from(call % 3).unwrap();
        let db = open(&disk, options().background_threads(threads));
        if work == Work::Flush {
            db.put("full", FULL).unwrap();
        }
        let want = dump(&db).unwrap();
        until(|| disk.waiting() == 1);
        let at = disk.disk.calls() + call;
        if lasting {
            disk.disk.fail_from(at, fault);
        } else {
            disk.disk.fail_at(at, fault);
        }
        disk.set(Gate::Open);
        let has_failed = || db.stats().background_error.is_some();
        until(|| has_failed() || is_done(work, &db));
        has_failed().then_some(Self { disk, db, want, lasting })
    }

    /// Who is told, and how it goes on; true if only a reopen could help.
    #[track_caller]
    fn check(self, work: Work) -> bool {
        let Self { disk, db, want, lasting } = self;
        let told = db.put("refused", "row").unwrap_err();
        assert!(dump(&db).unwrap() == want, "reads go on");
        let poisoned = matches!(told, Error::Poisoned { .. });
        let name = if poisoned { "Poisoned" } else { "Io" };
        check_error::<()>(Err(told), name);
        if poisoned || lasting {
            check_error(db.compact(), name);
            check_error(db.wait_idle(), name);
            check_error(db.flush(), name);
            assert!(dump(&db).unwrap() == want);
        } else if work == Work::Merge {
            // A write does not start it again, but this does.
            check_error(db.flush(), name);
        }
        disk.disk.plan_nothing();
        if poisoned {
            check_error(db.put("refused", "row"), name);
            check_error(db.close(), name);
        } else {
            if lasting {
                db.compact().unwrap();
            }
            until(|| is_done(work, &db) && db.stats().background_error.is_none());
            db.flush().unwrap();
            db.wait_idle().unwrap();
            assert!(dump(&db).unwrap() == want);
            assert_eq!(db.stats().levels.len(), 1);
            db.put("later", "row").unwrap();
            db.delete("later").unwrap();
            db.flush().unwrap();
            db.close().unwrap();
        }
        check_numbers_are_new(&disk);
        check_next_open(&disk.disk, &want);
        poisoned
    }
}

fn is_done(work: Work, db: &Db) -> bool {
    match work {
        Work::Flush => db.stats().levels.iter().any(|level| level.tables > 0),
        Work::Merge => !db.stats().finished_jobs.is_empty(),
    }
}

/// Fails the work at each of its calls in each way, and says how often.
fn check_every_call(work: Work, disk: &SimDisk) {
    let (mut failures, mut poisoned) = (0, 0);
    for fault in Fault::ALL {
        for lasting in [false, true] {
            for call in 0.. {
                let Some(failed) = Failed::at(work, disk, call, fault, lasting) else { break };
                assert_ne!(fault, Fault::Short, "a short write is no failure");
                poisoned += usize::from(failed.check(work));
                failures += 1;
            }
        }
    }
    println!("{failures} failures of a {work:?}, {poisoned} of them until a reopen");
    assert!(0 < poisoned && poisoned < failures);
}

#[test]
fn a_merge_that_fails_in_the_background_is_told_and_tried_again() {
    let disk = SimDisk::new(1);
    level_zero(&disk, 8);
    check_every_call(Work::Merge, &disk);
}

#[test]
fn a_flush_that_fails_in_the_background_is_told_and_tried_again() {
    check_every_call(Work::Flush, &SimDisk::new(1));
}
