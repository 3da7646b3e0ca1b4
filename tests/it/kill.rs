//! Processes that are killed while they write, again and again in one directory, with a second process
//! beside them.
//!
//! The child counts: its `n`-th batch adds 1 to one counter and `n` to another, so both together say that
//! exactly the first `n` batches are there. It says so when a batch was acknowledged. The parent tries
//! to open the directory meanwhile, which is refused, kills the child in the middle of something,
//! opens the directory, which succeeds, and finds every batch that was acknowledged: nothing was
//! synced but what asked for it, and a kill loses nothing that the system was given.

use std::path::Path;
use std::process::{Child, Stdio};

use tinydb::{Db, Durability, Error, Options, Result, WriteBatch, merge};

use crate::support::{Draw, Seed, child as child_of, first_seed, lines_of, runs};

/// Tells a process of this test that it is the child, and where it is to write.
const ROLE: &str = "TINYDB_KILLED_CHILD";

/// What a child says when the process has opened the database.
pub(crate) const READY: &str = "ready";

pub(crate) fn options() -> Options {
    Options::new().memtable_size(64 << 10).block_size(1 << 10).merge_operator(merge::Counter)
}

pub(crate) fn number(db: &Db, key: &str) -> Result<i64> {
    let value = db.get(key)?;
    Ok(value.map_or(0, |value| i64::from_le_bytes(value[..].try_into().expect("eight bytes"))))
}

/// Writes a batch; every fifth one is synced.
pub(crate) fn write(db: &Db, count: i64) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(format!("row {count:08}"), vec![b'v'; 300]);
    if count % 7 == 0 {
        batch.delete(format!("row {count:08}"));
    }
    batch.merge("count", 1_i64.to_le_bytes()).merge("sum", count.to_le_bytes());
    let is_synced = count % 5 == 0;
    db.write_with(&batch, if is_synced { Durability::Sync } else { Durability::Buffered })
}

/// How many batches the database holds.
#[track_caller]
pub(crate) fn counted(db: &Db) -> i64 {
    let count = number(db, "count").unwrap();
    assert_eq!(number(db, "sum").unwrap(), count * (count + 1) / 2, "of {count} batches");
    let rows = db.prefix("row ").map(|row| row.unwrap().key().to_vec()).collect::<Vec<_>>();
    let want = (1..=count).filter(|number| number % 7 != 0).count();
    assert_eq!(rows.len(), want, "rows of {count} batches");
    count
}

/// Writes until it is killed or meets an error; only a child of these tests does anything here.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(ROLE) else { return };
    let db = options().open(dir).unwrap();
    let mut count = counted(&db);
    println!("\n{READY}");
    loop {
        count += 1;
        write(&db, count).unwrap();
        println!("{count}");
        match count % 97 {
            40 => db.flush().unwrap(),
            80 => db.compact().unwrap(),
            _ => {}
        }
    }
}

/// Starts a child, which writes until it is killed or meets an error.
pub(crate) fn start(dir: &Path, errors: Stdio) -> Child {
    child_of("kill::child").env(ROLE, dir).stderr(errors).spawn().unwrap()
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let kills = runs(25);
    let seed = first_seed();
    let _seed = Seed(seed, format!("{kills} kills"));
    let mut draw = Draw::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let (mut acked, mut unacked) = (0, 0);
    for _ in 0..kills {
        let mut child = start(&path, Stdio::inherit());
        let mut lines = lines_of(&mut child);
        assert!(lines.any(|line| line == READY), "the child ended by itself");
        match options().open(&path) {
            Err(Error::Locked { holder, .. }) => assert!(holder.contains(&child.id().to_string())),
            other => panic!("two processes have it open: {other:?}"),
        }
        for line in lines.by_ref().take(draw.below(120)) {
            acked = line.parse::<i64>().unwrap();
        }
        child.kill().unwrap();
        // What it said before it died.
        for line in lines {
            // The last line may be cut.
            acked = line.parse::<i64>().unwrap_or(acked).max(acked);
        }
        child.wait().unwrap();
        let db = options().open(&path).unwrap();
        let found = counted(&db);
        // It was one batch further at most.
        assert!((acked..=acked + 1).contains(&found), "found {found}, acknowledged {acked}");
        assert!(db.verify().unwrap().is_ok());
        unacked += found - acked;
        acked = found;
        db.close().unwrap();
    }
    println!("{kills} kills, {acked} batches, {unacked} of them written and not acknowledged");
}
