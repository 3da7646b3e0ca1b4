//! An idle database uses no processor: its threads sleep, whatever has happened to it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tinydb::internals::file_name::FileName;
use tinydb::internals::{Fault, SimDisk};
use tinydb::{Db, Durability, Options};

use super::{FULL, level_zero, open, options, until};
use crate::gate::{Gate, GatedDisk};
use crate::support::Place;

/// Set in the process that has databases and nothing else to do.
const IDLE_PROCESS: &str = "TINYDB_TEST_IDLE_PROCESS";

/// Longer than twice the rest of writes that background threads wait for.
const LONG: Duration = Duration::from_millis(1_200);

/// What the system counts of each background thread in this process: how often and how long it ran.
fn figures() -> BTreeMap<String, String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    let read =
        |path: &std::path::Path, file| fs::read_to_string(path.join(file)).unwrap_or_default();
    let is_ours = |path: &std::path::PathBuf| read(path, "comm").trim() == "tinydb";
    let counts = |path: std::path::PathBuf| {
        let status = read(&path, "status");
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = switches.collect::<Vec<_>>().join(" ");
        (path.display().to_string(), format!("{counts} {}", read(&path, "schedstat")))
    };
    paths.filter(is_ours).map(counts).collect()
}

/// A database whose merge fails because a table can't be read.
fn failed_merge() -> Db {
    let disk = SimDisk::new(1);
    level_zero(&disk, 8);
    let is_table = |name: &FileName| matches!(name, FileName::Table(_));
    disk.fail_reads(disk.file_names().into_iter().find(is_table).unwrap(), true);
    let db = Db::open_on(Arc::new(disk), options()).unwrap();
    until(|| db.stats().background_error.is_some());
    db
}

/// A database whose memtable waits for a flush that failed.
fn failed_flush() -> Db {
    let disk = GatedDisk::new(&SimDisk::new(1));
    disk.set(Gate::ShutInBackground);
    let db = open(&disk, options());
    db.put("full", FULL).unwrap();
    until(|| disk.waiting() == 1);
    disk.disk.fail_from(disk.disk.calls(), Fault::NoSpace);
    disk.set(Gate::Open);
    until(|| db.stats().background_error.is_some());
    db
}

/// A database that refuses writes, with a memtable that is never flushed.
fn poisoned() -> Db {
    let disk = GatedDisk::new(&SimDisk::new(1));
    let db = open(&disk, options());
    disk.set(Gate::Panics);
    db.put("full", FULL).unwrap();
    until(|| db.put("more", FULL).is_err());
    db
}

/// A database that was loaded and has settled.
fn settled(place: &Place) -> Db {
    let db = place.open(Options::new().durability(Durability::Buffered)).unwrap();
    for row in 0..5_000 {
        db.put(format!("{}", row * 7 % 5_000), "value").unwrap();
        if row % 500 == 0 {
            db.flush().unwrap();
        }
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    db
}

#[test]
fn an_idle_database_uses_no_processor_time() {
    if std::env::var_os(IDLE_PROCESS).is_some() {
        return check_that_threads_sleep();
    }
    let name = "background::idle::an_idle_database_uses_no_processor_time";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(IDLE_PROCESS, "1")
        .output()
        .unwrap();
    let (told, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{told}");
    assert!(output.status.success() && told.contains("slept"), "{told}{failed}");
}

/// A thread that sleeps does not run, however busy the machine is. So it passes if there is one
/// time in which none ran, and fails if there is none in many.
fn check_that_threads_sleep() {
    let place = Place::real();
    let before = figures();
    assert!(before.is_empty());
    let empty = open(&GatedDisk::new(&SimDisk::new(1)), options());
    let databases = [settled(&place), empty, failed_merge(), failed_flush(), poisoned()];
    // Two threads each, but one panicked. Until they have started and ended, others are seen.
    until(|| figures().len() == databases.len() * 2 - 1);
    let mut last = figures();
    for round in 0..20 {
        thread::sleep(LONG);
        let now = figures();
        if now == last {
            println!("{} threads slept for {LONG:?} in round {round}", now.len());
            check_that_work_is_counted(&databases[0], &now);
            return;
        }
        last = now;
    }
    panic!("there was always one that ran: {last:#?}");
}

/// If the system counted nothing, nothing would be shown.
fn check_that_work_is_counted(db: &Db, idle: &BTreeMap<String, String>) {
    db.put("row", "value").unwrap();
    db.flush().unwrap();
    until(|| figures() != *idle);
}
