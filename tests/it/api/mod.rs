//! The contract of the public API: what callers may write, and what they may rely on.

mod access;
mod calls;
mod closing;
mod data;
mod expiry;
mod failures;
mod filter;
mod ingest;
mod merge;
mod multi_get;
mod opening;
pub(crate) mod operators;
mod range_delete;
mod table_writer;
mod threads;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tinydb::internals::SimDisk;
use tinydb::{Db, Error, Iter, Options, Result};

type Pair = (Vec<u8>, Vec<u8>);

/// A database in a directory of its own, which goes with the first of the two.
#[track_caller]
fn temporary(options: Options) -> (TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = options.open(dir.path()).unwrap();
    (dir, db)
}

/// A database on a simulated disk.
#[track_caller]
fn simulated(disk: &SimDisk, options: Options) -> Db {
    Db::open_on(Arc::new(disk.clone()), options).unwrap()
}

#[track_caller]
fn pairs(iter: Iter<'_>) -> Vec<Pair> {
    let pair = |entry: Result<tinydb::Entry<'_>>| {
        let (key, value) = entry.unwrap().into_pair();
        (key.to_vec(), value.into())
    };
    iter.map(pair).collect()
}

/// The keys, each as one word, in the order given.
#[track_caller]
fn keys(iter: impl Iterator<Item = Result<tinydb::Entry<'static>>>) -> String {
    let key = |entry: Result<tinydb::Entry<'_>>| {
        String::from_utf8(entry.unwrap().key().to_vec()).expect("keys of letters")
    };
    iter.map(key).collect::<Vec<_>>().join(" ")
}

/// The name of an error's variant, and what the variant says.
fn describe<T>(result: Result<T>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |_| "Ok".to_owned())
}

#[track_caller]
fn check_error<T>(result: Result<T>, name: &str) {
    let got = describe(result);
    assert!(got.starts_with(name), "wanted {name}, got {got}");
}

#[track_caller]
fn check_closed<T>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Closed)), "{}", describe(result));
}

/// The names in a directory, sorted; empty if there is none.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
