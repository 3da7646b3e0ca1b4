//! Background threads: what they do at once, when they sleep, and who is told when they fail.

mod failures;
#[cfg(target_os = "linux")]
mod idle;
mod jobs;
mod standing;

use std::sync::Arc;

use tinydb::internals::SimDisk;
use tinydb::internals::file_name::FileName;
use tinydb::{CompactionStyle, Db, Durability, Options, Result};

use crate::gate::GatedDisk;
use crate::support::{check_directory, dump};

/// A value that fills the smallest memtable.
static FULL: [u8; 70_000] = [b'v'; 70_000];

fn options() -> Options {
    Options::new().durability(Durability::Buffered).memtable_size(64 << 10).block_size(1 << 10)
}

fn open(disk: &GatedDisk, options: Options) -> Db {
    Db::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// Waits for something that another thread does. If it never does, the test never ends.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// Rows in so many tables of level 0, each over all the keys: in the background, eight ask for a
/// merge at once.
fn level_zero(disk: &SimDisk, table_count: usize) {
    let options = options().background_threads(0).compaction(CompactionStyle::Manual);
    let db = Db::open_on(Arc::new(disk.clone()), options).unwrap();
    for table in 0..table_count {
        for row in 0..50 {
            db.put(format!("{row:02} {table:02}"), [b'v'; 100]).unwrap();
        }
        db.flush().unwrap();
    }
    db.close().unwrap();
}

/// Checks that no file was made under a number that another one had had.
#[track_caller]
fn check_numbers_are_new(disk: &GatedDisk) {
    let mut names = disk.asked_for();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

/// Checks that the next process finds these rows, no damage, and no file that nobody needs.
#[track_caller]
fn check_next_open(disk: &SimDisk, want: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>) {
    let disk = GatedDisk::new(&disk.reboot());
    let db = open(&disk, options().background_threads(0));
    assert!(dump(&db).unwrap() == *want, "not the same rows");
    assert!(db.verify().unwrap().is_ok());
    check_directory(&disk.disk.file_names(), &db);
    assert!(!disk.disk.file_names().iter().any(|name| matches!(name, FileName::Tmp(_))));
    db.put("more", "rows").unwrap();
}

#[track_caller]
fn check_error<T>(result: Result<T>, name: &str) {
    let got = result.map_or_else(|error| format!("{error:?}"), |_| "Ok".to_owned());
    assert!(got.starts_with(name), "wanted {name}, got {got}");
}
