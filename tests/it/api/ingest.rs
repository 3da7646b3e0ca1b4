//! Tables from outside: what a writer takes, and what an ingest does with it, all or nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tinydb::{Db, Error, Options, Result, TableInfo, TableWriter};

use super::{check_error, pairs, temporary};

/// A place for tables.
fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn smoke() {
    let (_dir, db) = temporary(Options::new());
    let place = place();
    let path = place.path().join("t");
    let mut w = TableWriter::create(&path, &Options::new()).unwrap();
    for i in 0..1000 {
        w.put(format!("k{i:05}"), format!("v{i}")).unwrap();
    }
    let info = w.finish().unwrap();
    println!("{info:?}");
    db.put("k00007", "old").unwrap();
    let snap = db.snapshot();
    db.ingest(&[&path]).unwrap();
    assert_eq!(db.get("k00007").unwrap().as_deref(), Some(&b"v7"[..]));
    assert_eq!(snap.get("k00007").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(db.iter().count(), 1000);
    println!("{:?}", db.stats());
    db.put("k00007", "new").unwrap();
    assert_eq!(db.get("k00007").unwrap().as_deref(), Some(&b"new"[..]));
    db.compact().unwrap();
    assert!(db.verify().unwrap().is_ok());
}
