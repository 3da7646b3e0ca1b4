//! Every signature, as callers write it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use tinydb::{
    Bytes, ChecksumPolicy, Clock, Cursor, Db, Durability, Entry, Error, Iter, KeyRange,
    LogRecovery, Options, ReadMode, Snapshot, Stats, Value, VerifyReport, WriteBatch,
};

use super::{keys, temporary};

const _: () = {
    const fn is_shared<T: Send + Sync + Debug>() {}
    const fn is_sent<T: Send + Debug>() {}
    const fn is_choice<T: Copy + Eq + Default + Debug>() {}
    is_shared::<Db>();
    is_shared::<Snapshot>();
    is_shared::<Value<'static>>();
    is_shared::<WriteBatch>();
    is_shared::<Options>();
    is_shared::<Error>();
    is_shared::<Stats>();
    is_shared::<VerifyReport>();
    is_sent::<Iter<'static>>();
    is_sent::<Entry<'static>>();
    is_sent::<Cursor<'static>>();
    is_sent::<tinydb::TableWriter>();
    is_shared::<tinydb::TableInfo>();
    is_choice::<Durability>();
    is_choice::<ChecksumPolicy>();
    is_choice::<ReadMode>();
    is_choice::<tinydb::Access>();
    is_choice::<LogRecovery>();
};

#[test]
fn reads_and_writes_take_anything_that_is_bytes() -> tinydb::Result<()> {
    let (_dir, db) = temporary(Options::new());
    db.put("a", "1")?;
    db.put(String::from("b"), b"2")?;
    db.put(vec![b'c'], vec![b'3'])?;
    db.put([b'd'], [b'4'])?;
    db.put(Bytes::from_static(b"e"), Bytes::from_static(b"5"))?;
    db.put_with_ttl(b"f", "6", Duration::from_secs(3600))?;
    db.delete("nothing")?;
    let value: Option<Value<'static>> = db.get("a")?;
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
    db.put(db.get("a")?.unwrap(), db.get("b")?.unwrap())?;
    assert_eq!(db.get(b"1")?.unwrap(), "2");
    assert!(db.contains_key(vec![b'e'])? && !db.contains_key("nothing")?);
    let found = db.multi_get(&["c", "nothing", "a", "c"])?;
    let found: Vec<_> = found.iter().map(Option::as_deref).collect();
    assert_eq!(found, [Some(&b"3"[..]), None, Some(b"1"), Some(b"3")]);
    assert!(db.multi_get::<&[u8]>(&[])?.is_empty());
    let entry: Entry<'static> = db.get_entry("f")?.unwrap();
    assert_eq!((entry.key(), entry.value()), (&b"f"[..], &b"6"[..]));
    assert!(entry.expires_at().unwrap() > SystemTime::now());
    Ok(())
}

#[track_caller]
fn check_range(db: &Db, range: impl KeyRange + Clone, want: &str) {
    assert_eq!(keys(db.range(range.clone())), want);
    let backward = want.split(' ').rev().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(db.range(range).rev()), backward);
}

/// `Db`'s `Debug` once printed every row of the memtable: derived all the way down.
#[test]
fn debug_shows_no_rows() -> tinydb::Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path())?;
    for row in 0..100 {
        db.put(format!("key {row}"), [7; 100])?;
    }
    db.flush()?;
    db.put("key", [7; 100])?;
    assert!(db.get("key 7")?.is_some(), "a table is open");
    for text in [format!("{db:?}"), format!("{:?}", db.snapshot())] {
        assert!(!text.contains("7, 7, 7") && text.len() < 8192, "{text}");
    }
    Ok(())
}

#[test]
fn every_range_form_is_a_key_range() -> tinydb::Result<()> {
    let (_dir, db) = temporary(Options::new().durability(Durability::Buffered));
    for key in ["a", "b", "c", "d"] {
        db.put(key, "")?;
    }
    let (low, high) = (b"b".to_vec(), b"d".to_vec());
    check_range(&db, .., "a b c d");
    check_range(&db, "b".."d", "b c");
    check_range(&db, "b"..="d", "b c d");
    check_range(&db, "c".., "c d");
    check_range(&db, .."c", "a b");
    check_range(&db, ..="c", "a b c");
    check_range(&db, &low..&high, "b c");
    check_range(&db, low.as_slice()..=high.as_slice(), "b c d");
    check_range(&db, (Excluded("a"), Included("c")), "b c");
    check_range(&db, (Unbounded, Excluded(high)), "a b c");
    check_range(&db, &("b".."c"), "b");
    check_range(&db, b"b"..b"c", "b");
    check_range(&db, String::from("aa")..String::from("bb"), "b");
    Ok(())
}

#[test]
fn scans_are_what_iterators_are() -> tinydb::Result<()> {
    let (_dir, db) = temporary(Options::new());
    db.write(WriteBatch::new().put("a1", "x").put("a2", "y").put("b", "z"))?;
    let mut seen = Vec::new();
    for entry in &db {
        seen.push(entry?.into_value());
    }
    assert_eq!(seen, ["x", "y", "z"]);
    let snapshot = db.snapshot();
    for entry in &snapshot {
        let entry: Entry<'_> = entry?;
        assert!(!entry.value().is_empty());
    }
    assert_eq!(keys(db.prefix("a").rev()), "a2 a1");
    let map: BTreeMap<Bytes, Value<'static>> =
        db.iter().map(|entry| entry.map(Entry::into_pair)).collect::<tinydb::Result<_>>()?;
    assert_eq!(map[&b"b"[..]], b"z");
    let sent = std::thread::spawn({
        let iter = db.iter();
        move || iter.count()
    });
    assert_eq!(sent.join().unwrap(), 3);
    let clone = snapshot.clone();
    drop(snapshot);
    let value: Value<'_> = clone.get("b")?.unwrap();
    assert_eq!(value.as_borrowed(), Some(&b"z"[..]), "a snapshot lends what it holds");
    assert!(clone.contains_key("a1")? && clone.get_entry("a1")?.is_some());
    assert_eq!(clone.multi_get(&["b"])?, [Some(value.clone())]);
    assert_eq!(clone.range("a2"..).count() + clone.prefix("a").count() + clone.iter().count(), 7);
    Ok(())
}

#[test]
fn a_cursor_walks_and_lends() -> tinydb::Result<()> {
    let (_dir, db) = temporary(Options::new());
    db.write(WriteBatch::new().put("a", "1").put("c", "3").put("e", "5"))?;
    let mut cursor: Cursor<'static> = db.cursor();
    let mut sum = 0;
    let mut found = cursor.seek_first()?;
    while found {
        sum += usize::from(cursor.value()[0] - b'0');
        found = cursor.next()?;
    }
    assert_eq!((sum, cursor.valid(), cursor.key()), (9, false, &b""[..]));
    assert!(cursor.seek_last()? && cursor.key() == b"e");
    assert!(cursor.seek(b"b")? && cursor.key() == b"c");
    assert!(cursor.seek_for_prev(String::from("d"))? && cursor.key() == b"c");
    assert!(cursor.prev()? && cursor.key() == b"a");
    let snapshot = db.snapshot();
    let mut lent: Cursor<'_> = snapshot.cursor();
    assert!(lent.seek("e")? && !lent.seek("f")?);
    Ok(())
}

#[test]
fn a_batch_is_a_chain_and_can_be_used_again() -> tinydb::Result<()> {
    let (_dir, db) = temporary(Options::new());
    let mut batch = WriteBatch::new();
    assert!(batch.is_empty());
    batch.put("k", "1").delete("l").put_with_ttl("m", "2", Duration::from_secs(9));
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    db.write(&batch)?;
    db.delete("k")?;
    db.write_with(&batch.clone(), Durability::Buffered)?;
    db.sync()?;
    assert_eq!(db.get("k")?.unwrap(), b"1");
    batch.clear();
    assert!(batch.is_empty());
    db.write(&batch)?;
    db.write(&WriteBatch::default())?;
    Ok(())
}

#[test]
fn a_value_compares_and_converts_as_bytes() -> tinydb::Result<()> {
    fn is_bytes<T: Deref<Target = [u8]> + AsRef<[u8]> + Borrow<[u8]> + Ord + Clone>(_: &T) {}
    let (_dir, db) = temporary(Options::new());
    for len in [0, 3, 64, 65, 5_000] {
        let bytes = vec![b'v'; len];
        db.put("k", &bytes)?;
        for flush in [false, true] {
            if flush {
                db.flush()?;
            }
            let value = db.get("k")?.unwrap();
            is_bytes(&value);
            assert_eq!(value, bytes);
            assert_eq!(bytes, value);
            assert_eq!(value, bytes[..]);
            assert_eq!(bytes[..], value);
            assert_eq!(value, bytes.as_slice());
            assert_eq!(value, str::from_utf8(&bytes).unwrap());
            let shared = Bytes::from(bytes.clone());
            assert_eq!(value, shared);
            assert!(HashSet::from([value.clone()]).contains(bytes.as_slice()));
            assert_eq!(format!("{value:?}"), format!("b\"{}\"", "v".repeat(len)));
            assert_eq!(Vec::from(value.clone()), bytes);
            assert_eq!(Bytes::from(value.clone()), bytes);
            assert_eq!(value.clone().into_bytes(), bytes);
            assert_eq!(value.as_borrowed(), None, "owned");
            let snapshot = db.snapshot();
            let owned: Value<'static> = snapshot.get("k")?.unwrap().into_owned();
            drop(snapshot);
            assert_eq!(owned, value);
        }
    }
    Ok(())
}

#[test]
fn options_are_a_chain_that_can_be_cloned() {
    struct Stopped;
    impl Clock for Stopped {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }
    let options = Options::new()
        .create_if_missing(true)
        .error_if_exists(false)
        .durability(Durability::Buffered)
        .memtable_size(1 << 20)
        .table_size(1 << 20)
        .block_size(4 << 10)
        .filter_bits_per_key(8)
        .filter_false_positive_rate(0.01)
        .checksums(ChecksumPolicy::Always)
        .read_mode(ReadMode::Heap)
        .access(tinydb::Access::Auto)
        .log_recovery(LogRecovery::ToFirstCorruption)
        .background_threads(1)
        .clock(std::sync::Arc::new(Stopped));
    let (dir, db) = temporary(options.clone());
    assert!(db.stats().recovery.damage.is_none());
    assert!(db.verify().unwrap().problems().is_empty());
    db.clone().close().unwrap();
    drop(Db::open(dir.path()).unwrap());
    drop(options.open(dir.path().to_str().unwrap()).unwrap());
}
