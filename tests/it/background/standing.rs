//! Writers that stand still because too much has piled up, and what ends that.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tinydb::internals::{Fault, SimDisk};
use tinydb::{Db, Error, Result};

use super::{
    FULL, check_error, check_next_open, check_numbers_are_new, level_zero, open, options, until,
};
use crate::gate::{Gate, GatedDisk};
use crate::support::dump;

/// A database whose writers stand still: no memtable gets flushed, or no table merged.
struct Standing {
    disk: GatedDisk,
    db: Db,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    writers: Vec<JoinHandle<Result<()>>>,
}

impl Standing {
    fn behind_flushes(writer_count: usize) -> Self {
        let disk = GatedDisk::new(&SimDisk::new(1));
        disk.set(Gate::ShutInBackground);
        let db = open(&disk, options().background_threads(1));
        for key in ["a", "b", "c"] {
            db.put(key, FULL).unwrap();
        }
        assert_eq!(db.stats().frozen_memtables, 3);
        Self::of(disk, db, writer_count)
    }

    fn behind_a_merge(writer_count: usize) -> Self {
        let disk = GatedDisk::new(&SimDisk::new(1));
        level_zero(&disk.disk, 24);
        disk.set(Gate::ShutInBackground);
        Self::of(disk.clone(), open(&disk, options().background_threads(1)), writer_count)
    }

    fn of(disk: GatedDisk, db: Db, writer_count: usize) -> Self {
        until(|| disk.waiting() == 1);
        let rows = dump(&db).unwrap();
        let write = |writer: usize| {
            let db = db.clone();
            thread::spawn(move || db.put(format!("writer {writer}"), "row"))
        };
        let writers: Vec<_> = (0..writer_count).map(write).collect();
        // One stands still and the others wait in line behind it. Nobody can tell from outside
        // whether they do already; whoever comes later must be told the same.
        thread::sleep(Duration::from_millis(20));
        assert!(!writers.iter().any(JoinHandle::is_finished), "nothing has room");
        assert!(dump(&db).unwrap() == rows, "readers don't stand");
        Self { disk, db, rows, writers }
    }

    fn join(&mut self) -> Vec<Result<()>> {
        self.writers.drain(..).map(|writer| writer.join().unwrap()).collect()
    }
}

#[test]
fn a_standing_writer_goes_on_when_there_is_room() {
    for behind in [Standing::behind_flushes, Standing::behind_a_merge] {
        // A writer who came too late did not stand; then it is tried again.
        until(|| {
            let mut standing = behind(3);
            standing.disk.set(Gate::Open);
            for written in standing.join() {
                written.unwrap();
            }
            assert_eq!(dump(&standing.db).unwrap().len(), standing.rows.len() + 3);
            let written = standing.db.stats().written;
            assert!(written.stop_count == 0 || !written.waited.is_zero(), "{written:?}");
            written.stop_count > 0
        });
    }
}

#[test]
fn a_standing_writer_is_told_of_poison() {
    for mut standing in [Standing::behind_flushes(3), Standing::behind_a_merge(3)] {
        standing.disk.set(Gate::Panics);
        for written in standing.join() {
            check_error(written, "Poisoned");
        }
        assert!(dump(&standing.db).unwrap() == standing.rows);
        standing.disk.set(Gate::Open);
        check_error(standing.db.close(), "Poisoned");
        check_next_open(&standing.disk.disk, &standing.rows);
    }
}

#[test]
fn a_standing_writer_is_told_of_a_flush_that_fails() {
    let (mut failures, mut poisoned) = (0, 0);
    for call in 0.. {
        let mut standing = Standing::behind_flushes(2);
        let disk = &standing.disk;
        disk.disk.fail_at(disk.disk.calls() + call, Fault::Io);
        disk.set(Gate::Open);
        let results = standing.join();
        // Who stood is told; then the flush is tried again, and who stood behind may find room.
        let Some(error) = results.iter().find_map(|written| written.as_ref().err()) else { break };
        failures += 1;
        if matches!(error, Error::Poisoned { .. }) {
            poisoned += 1;
            assert!(results.iter().all(Result::is_err));
            check_error(standing.db.close(), "Poisoned");
        } else {
            check_error::<()>(Err(error.clone()), "Io");
            standing.db.flush().unwrap();
            for (writer, written) in results.iter().enumerate() {
                let key = format!("writer {writer}").into_bytes();
                let seen = standing.db.get(&key).unwrap().is_some();
                assert_eq!(seen, written.is_ok(), "who was refused is not seen");
                if seen {
                    standing.rows.insert(key, b"row".to_vec());
                }
            }
            standing.db.close().unwrap();
        }
        check_numbers_are_new(&standing.disk);
        check_next_open(&standing.disk.disk, &standing.rows);
    }
    println!("{failures} failed flushes, {poisoned} of them until a reopen");
    assert!(0 < poisoned && poisoned < failures);
}

#[test]
fn a_merge_that_fails_holds_nobody_back_and_is_told_once() {
    let (mut failures, mut poisoned) = (0, 0);
    for call in 0.. {
        let mut standing = Standing::behind_a_merge(1);
        let (disk, db) = (standing.disk.clone(), standing.db.clone());
        disk.disk.fail_at(disk.disk.calls() + call, Fault::Io);
        disk.set(Gate::Open);
        let first = standing.join().remove(0);
        // The writer that stood had asked for failures before: the next one is told.
        let second = db.put("second", "row");
        if first.is_ok() && second.is_ok() {
            break;
        }
        failures += 1;
        if db.sync().is_err() {
            poisoned += 1;
            check_error(first, "Poisoned");
            check_error(second, "Poisoned");
        } else {
            assert!(first.is_ok() || second.is_ok());
            check_error(first.and(second), "Io");
            db.put("third", "row").unwrap();
            db.compact().unwrap();
            assert_eq!(db.stats().background_error, None);
            assert_eq!(dump(&db).unwrap().len(), standing.rows.len() + 2);
        }
    }
    println!("{failures} failed merges, {poisoned} of them until a reopen");
    assert!(0 < poisoned && poisoned < failures);
}

#[test]
fn a_standing_writer_is_told_of_a_close() {
    for mut standing in [Standing::behind_flushes(3), Standing::behind_a_merge(3)] {
        let closing = thread::spawn({
            let db = standing.db.clone();
            move || db.close()
        });
        // The flush or merge is still held up, so this does not wait for it.
        for written in standing.join() {
            check_error(written, "Closed");
        }
        assert!(!closing.is_finished(), "but the close does");
        standing.disk.set(Gate::Open);
        closing.join().unwrap().unwrap();
        check_next_open(&standing.disk.disk, &standing.rows);
    }
}
