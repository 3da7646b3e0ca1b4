//! Merge operands: what they read as, wherever they lie and whatever folded them on the way.

use std::sync::Arc;
use std::time::Duration;

use tinydb::internals::SimDisk;
use tinydb::{Db, Durability, Options, WriteBatch, merge};

use super::{keys, simulated, temporary};
use crate::gate::{Gate, GatedDisk};
use crate::support::ManualClock;

/// Options under which nothing happens but what is called for; operands are joined by commas.
pub(super) fn joining() -> Options {
    Options::new()
        .durability(Durability::Buffered)
        .background_threads(0)
        .memtable_size(64 << 10)
        .block_size(1 << 10)
        .merge_operator(merge::Append::new(","))
}

/// Looks at the key `k` in every way there is.
#[track_caller]
pub(super) fn check(db: &Db, want: Option<&str>) {
    let want = want.map(str::as_bytes);
    assert_eq!(db.get("k").unwrap().as_deref(), want, "get");
    let entry = db.get_entry("k").unwrap();
    assert_eq!(
        entry.as_ref().map(|entry| (entry.key(), entry.value())),
        want.map(|v| (&b"k"[..], v))
    );
    assert_eq!(db.contains_key("k").unwrap(), want.is_some());
    let many = db.multi_get(&["j", "k", "k"]).unwrap();
    assert!(many[1].as_deref() == want && many[2].as_deref() == want, "multi_get");
    let snapshot = db.snapshot();
    assert_eq!(snapshot.get("k").unwrap().as_deref(), want, "snapshot");
    let values = |found: Vec<tinydb::Entry<'_>>| {
        found.iter().map(|entry| entry.value().to_vec()).collect::<Vec<_>>()
    };
    let want_all: Vec<_> = want.map(<[u8]>::to_vec).into_iter().collect();
    let range = || snapshot.range("k"..="k");
    assert_eq!(values(range().map(Result::unwrap).collect()), want_all, "forward");
    assert_eq!(values(range().rev().map(Result::unwrap).collect()), want_all, "backward");
    let mut cursor = snapshot.cursor();
    for back in [false, true] {
        let found = if back { cursor.seek_for_prev("k") } else { cursor.seek("k") }.unwrap();
        let value = (found && cursor.key() == b"k").then(|| cursor.value());
        assert_eq!(value, want, "seek, back: {back}");
    }
}

#[test]
fn operands_are_folded_from_memtables_and_tables() {
    // Longer than a block, of several blocks, and so short that a block holds all.
    for len in [1, 300, 3_000] {
        let disk = SimDisk::new(1);
        let gate = GatedDisk::new(&disk);
        let db = Db::open_on(Arc::new(gate.clone()), joining().background_threads(1)).unwrap();
        let mut want = String::new();
        let mut add = |db: &Db| {
            let operand = want.len().to_string().repeat(len);
            want = if want.is_empty() { operand.clone() } else { format!("{want},{operand}") };
            db.merge("k", &operand).unwrap();
            check(db, Some(&want));
            want.clone()
        };
        db.write(WriteBatch::new().put("j", "").put("l", "")).unwrap();
        for _ in 0..3 {
            add(&db);
            add(&db);
            db.flush().unwrap();
        }
        gate.set(Gate::Shut);
        for filler in ["a", "z"] {
            add(&db);
            db.put(filler, vec![b'v'; 70_000]).unwrap();
            db.put(filler, "").unwrap(); // into the next memtable
        }
        assert!(db.stats().frozen_memtables >= 1, "some wait to be flushed");
        let want = add(&db);
        assert_eq!(keys(db.iter()), "a j k l z");
        gate.set(Gate::Open);
        db.flush().unwrap();
        check(&db, Some(&want));
        db.compact().unwrap();
        check(&db, Some(&want));
        assert_eq!(db.stats().levels.iter().map(|level| level.rows).sum::<u64>(), 5);
        db.merge("k", "last").unwrap();
        db.close().unwrap();
        let db = simulated(&disk, joining());
        check(&db, Some(&format!("{want},last")));
        assert!(db.verify().unwrap().is_ok());
    }
}

#[test]
fn operands_in_the_log_are_replayed() {
    let (dir, mut db) = temporary(joining());
    db.put("k", "0").unwrap();
    for number in 1..=3 {
        db.merge("k", number.to_string()).unwrap();
        drop(db);
        db = joining().open(dir.path()).unwrap();
        assert_eq!(db.stats().recovery.row_count, 1 + number);
    }
    check(&db, Some("0,1,2,3"));
}

/// Does it with the rows in one memtable, in a table each, and merged after each.
#[track_caller]
fn check_everywhere(steps: &[fn(&Db)], want: Option<&str>) {
    for way in 0..3 {
        let (dir, db) = temporary(joining());
        db.write(WriteBatch::new().put("j", "").put("l", "")).unwrap();
        for step in steps {
            step(&db);
            match way {
                1 => db.flush().unwrap(),
                2 => db.compact().unwrap(),
                _ => {}
            }
        }
        check(&db, want);
        db.compact().unwrap();
        check(&db, want);
        db.close().unwrap();
        check(&joining().open(dir.path()).unwrap(), want);
    }
}

#[test]
fn operands_stand_on_the_newest_value_or_on_nothing() {
    let put: fn(&Db) = |db| db.put("k", "p").unwrap();
    let delete: fn(&Db) = |db| db.delete("k").unwrap();
    let merge: fn(&Db) = |db| db.merge("k", "m").unwrap();
    let empty: fn(&Db) = |db| db.merge("k", "").unwrap();
    check_everywhere(&[merge], Some("m"));
    check_everywhere(&[put, merge, merge], Some("p,m,m"));
    check_everywhere(&[merge, put, merge], Some("p,m"));
    check_everywhere(&[put, merge, delete], None);
    check_everywhere(&[put, delete, merge, merge], Some("m,m"));
    check_everywhere(&[put, merge, delete, merge, put], Some("p"));
    check_everywhere(&[empty], Some(""));
    check_everywhere(&[empty, merge, empty], Some(",m,"));
    check_everywhere(&[put, empty], Some("p,"));
}

#[test]
fn operations_of_one_batch_take_effect_in_their_order() {
    let write: fn(&Db) = |db| {
        let mut batch = WriteBatch::new();
        batch.merge("k", "lost").delete("k").merge("k", "1").merge("j", "x").merge("k", "2");
        db.write(&batch).unwrap();
    };
    check_everywhere(&[write], Some("1,2"));
    check_everywhere(&[write, write], Some("1,2"));
    let put: fn(&Db) = |db| {
        let mut batch = WriteBatch::new();
        batch.merge("k", "lost").put("k", "p").merge("k", "1");
        db.write(&batch).unwrap();
    };
    check_everywhere(&[write, put], Some("p,1"));
}

#[test]
fn a_base_that_expires_is_read_below_its_operands_until_then() {
    for way in 0..4 {
        let clock = Arc::new(ManualClock::default());
        clock.advance(100);
        let (_dir, db) = temporary(joining().clock(Arc::clone(&clock)));
        let settle = || match way {
            1 => db.flush().unwrap(),
            2 => db.compact().unwrap(),
            _ => {}
        };
        db.put("k", "old").unwrap();
        settle();
        db.put_with_ttl("k", "base", Duration::from_secs(10)).unwrap();
        settle();
        db.merge("k", "1").unwrap();
        settle();
        db.merge("k", "2").unwrap();
        settle();
        check(&db, Some("base,1,2"));
        assert_eq!(db.get_entry("k").unwrap().unwrap().expires_at(), None, "its operands stay");
        let before = db.snapshot();
        clock.advance(9);
        check(&db, Some("base,1,2"));
        clock.advance(1);
        check(&db, Some("1,2"));
        if way == 3 {
            db.compact().unwrap();
            check(&db, Some("1,2"));
        }
        db.merge("k", "3").unwrap();
        settle();
        check(&db, Some("1,2,3"));
        db.put_with_ttl("k", "gone", Duration::from_secs(1)).unwrap();
        settle();
        clock.advance(1);
        check(&db, None);
        db.merge("k", "4").unwrap();
        settle();
        check(&db, Some("4"));
        assert_eq!(before.get("k").unwrap().unwrap(), "base,1,2", "its now is fixed");
    }
}

#[test]
fn thousands_of_operands_of_one_key_are_folded() {
    for threads in [0, 2] {
        let options = Options::new().durability(Durability::Buffered).background_threads(threads);
        let (dir, db) = temporary(options.clone().merge_operator(merge::Counter));
        let count = 5_000_i64;
        for number in 1..=count {
            db.merge("k", number.to_le_bytes()).unwrap();
        }
        let want = (count * (count + 1) / 2).to_le_bytes();
        assert_eq!(db.get("k").unwrap().unwrap(), want);
        assert!(db.iter().eq_values(&want) && db.iter().rev().eq_values(&want));
        // Such a read asks for a flush; without threads nobody hears it.
        while threads > 0 && db.stats().memtable_rows > 0 {
            assert_eq!(db.get("k").unwrap().unwrap(), want);
            std::thread::yield_now();
        }
        if threads > 0 {
            db.wait_idle().unwrap();
            assert_eq!(db.stats().levels.iter().map(|level| level.rows).sum::<u64>(), 1);
        }
        assert_eq!(db.get("k").unwrap().unwrap(), want);
        db.close().unwrap();
        let db = options.merge_operator(merge::Counter).open(dir.path()).unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), want);
    }
}

/// Merges so many operands into one key, and reads it until somebody has flushed what it reads.
#[track_caller]
fn check_asks_for_a_fold(count: usize, operand: &[u8], read: impl Fn(&Db)) {
    let options = Options::new().durability(Durability::Buffered).merge_operator(merge::Max);
    let (_dir, db) = temporary(options);
    for _ in 0..count {
        db.merge("k", operand).unwrap();
    }
    assert_eq!(db.stats().memtable_rows, count as u64);
    while db.stats().memtable_rows > 0 {
        read(&db);
        std::thread::yield_now();
    }
    db.wait_idle().unwrap();
    assert_eq!(db.stats().levels.iter().map(|level| level.rows).sum::<u64>(), 1);
    assert_eq!(db.get("k").unwrap().unwrap(), operand);
}

#[test]
fn every_read_of_many_operands_asks_for_a_fold() {
    let reads: [fn(&Db); 7] = [
        |db| drop(db.get("k").unwrap()),
        |db| drop(db.multi_get(&["k", "l"]).unwrap()),
        |db| assert_eq!(db.iter().count(), 1),
        |db| assert_eq!(db.range("a".."z").rev().count(), 1),
        |db| assert!(db.cursor().seek("a").unwrap()),
        |db| assert!(db.cursor().seek_for_prev("z").unwrap()),
        |db| assert_eq!(db.snapshot().prefix("k").count(), 1),
    ];
    for read in reads {
        check_asks_for_a_fold(1_500, b"operand", read);
    }
}

/// What is gathered of them is folded on the way, so that memory stays bounded.
#[test]
fn a_read_of_many_long_operands_asks_for_a_fold() {
    check_asks_for_a_fold(1_500, &[b'x'; 16 << 10], |db| assert_eq!(db.iter().count(), 1));
}

trait EqValues {
    fn eq_values(self, want: &[u8]) -> bool;
}

impl<'s, I: Iterator<Item = tinydb::Result<tinydb::Entry<'s>>>> EqValues for I {
    /// Whether there is one entry, with this value.
    fn eq_values(mut self, want: &[u8]) -> bool {
        self.next().is_some_and(|entry| entry.unwrap().value() == want) && self.next().is_none()
    }
}

/// Merged keys, put keys and deleted ones, spread over a table merged to the bottom, two others
/// and the memtable; and what is to be seen of them.
fn mixed(db: &Db) -> Vec<(String, String)> {
    let mut want = Vec::new();
    for round in 0..4 {
        for number in 0..60 {
            let key = format!("{number:02}");
            match number % 3 {
                1 if round == 0 => db.put(&key, "base").unwrap(),
                0 | 1 => db.merge(&key, format!("{round}")).unwrap(),
                _ if round == 3 => db.delete(&key).unwrap(),
                _ => db.merge(&key, "gone").unwrap(),
            }
        }
        match round {
            0 => db.compact().unwrap(),
            1 | 2 => db.flush().unwrap(),
            _ => {}
        }
    }
    for number in 0..60 {
        let value = ["0,1,2,3", "base,1,2,3", ""][number % 3];
        if number % 3 < 2 {
            want.push((format!("{number:02}"), value.to_owned()));
        }
    }
    want
}

#[test]
fn scans_go_and_turn_over_folded_keys() {
    let (_dir, db) = temporary(joining());
    let want = mixed(&db);
    let pair = |entry: tinydb::Result<tinydb::Entry<'_>>| {
        let entry = entry.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(entry.key()), text(entry.value()))
    };
    assert!(db.iter().map(pair).eq(want.iter().cloned()));
    assert!(db.iter().rev().map(pair).eq(want.iter().rev().cloned()));
    let mut both = db.iter().map(pair);
    for (index, pair) in want[..20].iter().enumerate() {
        assert_eq!(both.next().as_ref(), Some(pair));
        assert_eq!(both.next_back().as_ref(), Some(&want[39 - index]));
    }
    assert_eq!(both.next(), None);

    let mut cursor = db.cursor();
    let check = |cursor: &tinydb::Cursor<'_>, moved: bool, at: Option<usize>| {
        let wanted = at.and_then(|at| want.get(at));
        assert_eq!((moved, cursor.valid()), (wanted.is_some(), wanted.is_some()));
        let (key, value) = wanted.map_or(("", ""), |(key, value)| (key, value));
        assert_eq!((cursor.key(), cursor.value()), (key.as_bytes(), value.as_bytes()));
    };
    for (at, (key, _)) in want.iter().enumerate() {
        // A turn at each key, of either kind, to either side, and back over it.
        for (steps, from_before) in
            [("npnp", false), ("pnpn", true), ("nnpp", true), ("ppnn", false)]
        {
            let found = if from_before { cursor.seek_for_prev(key) } else { cursor.seek(key) };
            check(&cursor, found.unwrap(), Some(at));
            let mut at = Some(at);
            for step in steps.chars() {
                let moved = if step == 'n' { cursor.next() } else { cursor.prev() };
                at = match (at, step) {
                    (Some(at), 'n') => Some(at + 1).filter(|at| *at < want.len()),
                    (Some(at), _) => at.checked_sub(1),
                    (None, _) => None,
                };
                check(&cursor, moved.unwrap(), at);
            }
        }
    }
}

#[test]
fn snapshots_keep_their_folded_value() {
    let (_dir, db) = temporary(joining());
    let mut pinned = Vec::new();
    let mut want = String::from("0");
    db.put("k", "0").unwrap();
    for number in 1..10 {
        let parts = (db.snapshot(), db.iter(), db.cursor());
        pinned.push((parts, want.clone()));
        db.merge("k", number.to_string()).unwrap();
        want = format!("{want},{number}");
        match number % 3 {
            0 => db.compact().unwrap(),
            1 => db.flush().unwrap(),
            _ => {}
        }
    }
    check(&db, Some(&want));
    db.delete("k").unwrap();
    db.compact().unwrap();
    check(&db, None);
    db.close().unwrap();
    for ((snapshot, mut iter, mut cursor), want) in pinned {
        assert_eq!(snapshot.get("k").unwrap().unwrap(), want.as_str());
        assert_eq!(iter.next().unwrap().unwrap().value(), want.as_bytes());
        assert!(cursor.seek_last().unwrap() && cursor.value() == want.as_bytes());
    }
}

#[test]
fn a_folded_value_outlives_what_it_was_read_from() {
    let (_dir, db) = temporary(joining());
    let long = "long ".repeat(1_000);
    db.merge("k", "short").unwrap();
    let short = db.get("k").unwrap().unwrap();
    db.merge("k", &long).unwrap();
    let snapshot = db.snapshot();
    let value = snapshot.get("k").unwrap().unwrap();
    assert!(value.as_borrowed().is_none(), "it lies in no file");
    let value = value.into_owned();
    drop(snapshot);
    db.close().unwrap();
    assert_eq!(short, "short");
    assert_eq!(value, format!("short,{long}").as_str());
}
