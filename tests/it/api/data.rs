//! Keys, values and ranges of every kind, in memory and in tables.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::time::Duration;

use tinydb::internals::SimDisk;
use tinydb::internals::file_name::FileName;
use tinydb::internals::table_file::{FOOTER_LEN, REGION_VALUES, TableFile};
use tinydb::{
    ChecksumPolicy, Db, Durability, Error, KeyRange, Options, ReadMode, WriteBatch, merge,
};

use super::{Pair, check_error, keys, pairs, simulated, temporary};

fn buffered() -> Options {
    Options::new().durability(Durability::Buffered)
}

/// Reads every pair in every way, forward and backward.
#[track_caller]
fn check_reads(db: &Db, want: &[Pair]) {
    let snapshot = db.snapshot();
    assert!(pairs(db.iter()) == want, "forward");
    assert!(pairs(snapshot.iter()) == want, "forward through a snapshot");
    let backward: Vec<Pair> = (db.iter().rev())
        .map(|entry| entry.unwrap())
        .map(|e| (e.key().into(), e.value().into()))
        .collect();
    assert!(backward.iter().rev().eq(want), "backward");
    let mut cursor = db.cursor();
    for (key, value) in want {
        let name = key.escape_ascii().to_string();
        let name = name.get(..40).unwrap_or(&name);
        assert!(db.get(key).unwrap().as_deref() == Some(value), "get {name}");
        assert!(snapshot.get(key).unwrap().as_deref() == Some(value), "snapshot's get {name}");
        let entry = db.get_entry(key).unwrap().unwrap();
        assert!((entry.key(), entry.value()) == (key, value), "get_entry {name}");
        assert!(entry.seqno() > 0 && entry.expires_at().is_none());
        assert!(db.contains_key(key).unwrap());
        assert!(cursor.seek(key).unwrap() && cursor.key() == key, "seek {name}");
        assert!(cursor.seek_for_prev(key).unwrap() && cursor.value() == value, "back to {name}");
    }
    let all: Vec<_> = want.iter().map(|(key, _)| key).collect();
    let found = db.multi_get(&all).unwrap();
    assert!(
        found.iter().map(|value| value.as_deref().unwrap()).eq(want.iter().map(|pair| &*pair.1))
    );
}

/// Writes pairs, and reads them from memory, from tables and after a reopen.
#[track_caller]
fn check_data(options: &Options, data: &[Pair]) {
    let (dir, db) = temporary(options.clone());
    let mut want = data.to_vec();
    want.sort();
    for (key, value) in data {
        db.put(key, value).unwrap();
    }
    check_reads(&db, &want);
    db.flush().unwrap();
    check_reads(&db, &want);
    let report = db.verify().unwrap();
    assert!(report.is_ok(), "{:?}", report.problems());
    db.close().unwrap();
    check_reads(&options.clone().open(dir.path()).unwrap(), &want);
}

/// Options under which every kind of data must read alike.
fn option_sets() -> Vec<Options> {
    vec![
        buffered(),
        buffered().block_size(1 << 10).background_threads(0).filter_bits_per_key(0),
        buffered().read_mode(ReadMode::Heap).checksums(ChecksumPolicy::Always),
        buffered().checksums(ChecksumPolicy::Never).block_size(64 << 10),
    ]
}

#[test]
fn keys_of_any_bytes_and_length_read_back() {
    let mut data: Vec<Pair> = vec![(vec![], b"the empty key".to_vec())];
    for byte in [0x00, 0x61, 0x7f, 0x80, 0xff] {
        for len in [1, 2, 7, 8, 9, 255, 256, 4_096, 65_534, 65_535] {
            data.push((vec![byte; len], len.to_string().into_bytes()));
        }
    }
    for options in option_sets() {
        check_data(&options, &data);
    }
}

#[test]
fn values_of_any_length_read_back() {
    let lens = [0, 1, 63, 64, 65, 3 << 10, 70_000, 5 << 20];
    let fill = |len: usize| (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let data: Vec<Pair> =
        lens.iter().map(|len| (format!("value {len}").into_bytes(), fill(*len))).collect();
    for options in option_sets() {
        check_data(&options, &data);
    }
}

#[test]
fn the_smallest_block_takes_the_longest_key_and_a_key_without_value() {
    let data = vec![(vec![b'k'; 65_535], vec![]), (b"a".to_vec(), vec![7; 1 << 20])];
    check_data(&buffered().block_size(1 << 10).memtable_size(64 << 10), &data);
}

#[test]
fn too_long_a_key_is_an_error_to_a_write_and_only_a_bound_to_a_read() {
    let (_dir, db) = temporary(buffered());
    let long = vec![b'm'; 65_536];
    db.put("a", "1").unwrap();
    db.put("z", "2").unwrap();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        assert!(matches!(db.put(&long, ""), Err(Error::KeyTooLarge { len: 65_536 })));
        assert!(matches!(db.delete(&long), Err(Error::KeyTooLarge { .. })));
        assert!(db.get(&long).unwrap().is_none() && db.get_entry(&long).unwrap().is_none());
        assert!(!db.contains_key(&long).unwrap());
        assert_eq!(db.multi_get(&[&long]).unwrap(), [None]);
        assert_eq!(keys(db.range(&long..)), "z");
        assert_eq!(keys(db.range(..=&long)), "a");
        assert_eq!(keys(db.prefix(&long)), "");
        let mut cursor = db.cursor();
        assert!(cursor.seek(&long).unwrap() && cursor.key() == b"z");
        assert!(cursor.seek_for_prev(&long).unwrap() && cursor.key() == b"a");
        let snapshot = db.snapshot();
        assert!(snapshot.get(&long).unwrap().is_none());
        assert_eq!(snapshot.range(..&long).rev().count(), 1);
    }
}

#[test]
fn empty_and_inverted_ranges_are_empty() {
    #[track_caller]
    fn check(db: &Db, range: impl KeyRange + Clone, want: &str) {
        assert_eq!(keys(db.range(range.clone())), want);
        let mut backward: Vec<_> = want.split(' ').collect();
        backward.reverse();
        assert_eq!(keys(db.range(range).rev()), backward.join(" "));
    }
    let (_dir, db) = temporary(buffered());
    check(&db, .., "");
    db.write(WriteBatch::new().put("a", "").put("b", "").put("c", "")).unwrap();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        check(&db, "c".."a", "");
        check(&db, "c"..="a", "");
        check(&db, "b".."b", "");
        check(&db, "b"..="b", "b");
        check(&db, (Excluded("b"), Excluded("b")), "");
        check(&db, (Excluded("b"), Included("b")), "");
        check(&db, (Included("b"), Excluded("b")), "");
        check(&db, (Excluded("a"), Excluded("b")), "");
        check(&db, (Excluded("a"), Excluded("c")), "b");
        check(&db, (Excluded("c"), Unbounded::<&str>), "");
        check(&db, (Unbounded::<&str>, Excluded("a")), "");
        check(&db, "".."", "");
        check(&db, "".., "a b c");
        check(&db, "d".., "");
        check(&db, .."", "");
        assert_eq!(keys(db.prefix("")), "a b c", "every key starts with nothing");
        assert_eq!(keys(db.prefix("d")), "");
    }
}

#[track_caller]
fn check_prefix(db: &Db, prefix: &[u8], want: &[&[u8]]) {
    let got = pairs(db.prefix(prefix));
    assert!(got.iter().map(|(key, _)| key.as_slice()).eq(want.iter().copied()), "{got:?}");
    assert_eq!(db.prefix(prefix).rev().count(), want.len());
}

#[test]
fn a_prefix_of_0xff_ends_where_keys_end() {
    let (_dir, db) = temporary(buffered());
    let all: [&[u8]; 6] = [b"", b"\xfe\xff", b"\xff", b"\xff\x00", b"\xff\xff", b"\xff\xff\xff"];
    for key in all {
        db.put(key, key).unwrap();
    }
    check_prefix(&db, b"\xff", &all[2..]);
    check_prefix(&db, b"\xff\xff", &all[4..]);
    check_prefix(&db, b"\xfe", &all[1..2]);
    check_prefix(&db, b"", &all);
}

#[test]
fn the_ends_of_an_iterator_meet_once() {
    let (_dir, db) = temporary(buffered());
    for key in ["a", "b", "c", "d", "e"] {
        db.put(key, "").unwrap();
    }
    // Each letter is a step: forward or backward.
    for (steps, want) in
        [("fbfbfbf", "aebdc"), ("bbbbbbb", "edcba"), ("fffffbf", "abcde"), ("bffffff", "eabcd")]
    {
        let mut iter = db.iter();
        let step = |step| if step == 'f' { iter.next() } else { iter.next_back() };
        let got: Vec<u8> =
            steps.chars().filter_map(step).map(|entry| entry.unwrap().key()[0]).collect();
        assert_eq!(String::from_utf8(got).unwrap(), want, "{steps}");
        assert!(iter.next().is_none() && iter.next_back().is_none());
    }
}

#[test]
fn later_operations_of_a_batch_win() {
    let (_dir, db) = temporary(buffered());
    let mut batch = WriteBatch::new();
    batch.put("a", "1").put("a", "2").delete("b").put("b", "3").put("c", "4").delete("c");
    db.write(&batch).unwrap();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        assert_eq!(db.get("a").unwrap().unwrap(), "2");
        assert_eq!(db.get("b").unwrap().unwrap(), "3");
        assert_eq!(keys(db.iter()), "a b");
        assert_eq!(keys(db.iter().rev()), "b a");
    }
}

#[test]
fn a_bad_operation_applies_nothing_of_its_batch() {
    let (_dir, db) = temporary(buffered());
    let long = vec![0; 65_536];
    let bad: [(&str, WriteBatch); 5] = [
        ("KeyTooLarge", WriteBatch::new().put("k", "").put(&long, "").clone()),
        ("KeyTooLarge", WriteBatch::new().delete(&long).put("k", "").clone()),
        ("InvalidArgument", WriteBatch::new().put_with_ttl("k", "", Duration::ZERO).clone()),
        (
            "InvalidArgument",
            WriteBatch::new().put("k", "").put_with_ttl("l", "", Duration::MAX).clone(),
        ),
        (
            "KeyTooLarge",
            WriteBatch::new().put(&long, "").put_with_ttl("k", "", Duration::ZERO).clone(),
        ),
    ];
    for (name, batch) in bad {
        check_error(db.write(&batch), name);
        check_error(db.write_with(&batch, Durability::Sync), name);
        assert_eq!(db.stats().last_seqno, 0, "nothing was written");
        assert!(db.iter().next().is_none());
    }
    db.put("k", "").unwrap();
    assert_eq!(db.stats().last_seqno, 1);
}

#[test]
fn an_entry_tells_the_seqno_of_its_write() {
    let (_dir, db) = temporary(buffered());
    db.put("a", "1").unwrap();
    db.write(WriteBatch::new().put("b", "1").put("c", "1")).unwrap();
    db.put("a", "2").unwrap();
    let seqno = |key: &str| db.get_entry(key).unwrap().unwrap().seqno();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        assert_eq!([seqno("b"), seqno("c"), seqno("a")], [2, 3, 4]);
        let scanned: Vec<_> = db.iter().map(|entry| entry.unwrap().seqno()).collect();
        assert_eq!(scanned, [4, 2, 3]);
    }
}

#[test]
fn a_deleted_key_is_absent_to_every_read() {
    let (_dir, db) = temporary(buffered());
    db.put("a", "1").unwrap();
    db.flush().unwrap();
    db.put("b", "2").unwrap();
    db.delete("a").unwrap();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        assert!(db.get("a").unwrap().is_none() && db.get_entry("a").unwrap().is_none());
        assert!(!db.contains_key("a").unwrap());
        assert_eq!(keys(db.iter()), "b");
        let mut cursor = db.cursor();
        assert!(cursor.seek("a").unwrap() && cursor.key() == b"b");
        assert!(!cursor.seek_for_prev("a").unwrap());
    }
}

#[test]
fn a_cursor_off_its_rows_stays_there_until_a_seek() {
    let (_dir, db) = temporary(buffered());
    let mut cursor = db.cursor();
    assert!(!cursor.next().unwrap() && !cursor.prev().unwrap() && !cursor.valid());
    assert!(!cursor.seek_first().unwrap() && !cursor.seek_last().unwrap());
    db.write(WriteBatch::new().put("a", "1").put("b", "2")).unwrap();
    assert!(!cursor.seek_first().unwrap(), "it shows the moment when it was made");
    let mut cursor = db.cursor();
    assert!(!cursor.next().unwrap() && cursor.key().is_empty() && cursor.value().is_empty());
    for off in [true, false] {
        assert!(cursor.seek("b").unwrap());
        let last = if off { cursor.next() } else { cursor.prev().and_then(|_| cursor.prev()) };
        assert!(!last.unwrap());
        for _ in 0..3 {
            assert!(!cursor.next().unwrap() && !cursor.prev().unwrap() && !cursor.valid());
            assert!(cursor.key().is_empty() && cursor.value().is_empty());
        }
    }
    assert!(cursor.seek_last().unwrap() && cursor.key() == b"b");
}

/// Keys that share eight bytes, but not what follows: among the many of one kind, which decide what
/// the index compares, stand a few of another before and behind, without a separator of their own.
#[test]
fn keys_that_share_only_the_head_of_a_tie_are_found() {
    for count in [40, 200, 3_000] {
        let key = |kind: &str, number: usize| format!("AAAAAAAA{kind}{number:06}").into_bytes();
        let many = (0..count).map(|number| key("mmmm", 5 * number + 50));
        let few = ["llll", "nnnn"].map(|kind| [0, 60, 999_999].map(|number| key(kind, number)));
        let keys = many.chain(few.into_iter().flatten()).chain([b"a".to_vec(), b"z".to_vec()]);
        let data: Vec<Pair> = keys.map(|key| (key, vec![b'v'; 40])).collect();
        let options = buffered().block_size(1 << 10).background_threads(0);
        check_data(&options, &data);
        check_data(&options.filter_bits_per_key(0), &data);
    }
}

/// Nothing but keys, of a table whose long values are all broken and in a database that no longer
/// knows its merge operator.
#[test]
fn a_key_cursor_reads_no_value() {
    let disk = SimDisk::new(1);
    let db = simulated(&disk, buffered().merge_operator(merge::Append::new("+")));
    let count = 300;
    let name = |number: u32| format!("key {number:04}").into_bytes();
    for number in 0..count {
        match number % 3 {
            0 => db.put(name(number), vec![b'v'; 5_000]).unwrap(),
            1 => db.put(name(number), "short").unwrap(),
            _ => db.merge(name(number), "operand").unwrap(),
        }
    }
    db.flush().unwrap();
    db.close().unwrap();
    let disk = disk.reboot();
    let is_table = |name: &FileName| matches!(name, FileName::Table(_));
    for table in disk.file_names().into_iter().filter(is_table) {
        let mut bytes = disk.read_file(table).unwrap();
        let footer = &bytes[bytes.len() - FOOTER_LEN..];
        let file = TableFile::parse(&bytes, footer, bytes.len() as u64).unwrap();
        let values = file.region(REGION_VALUES).unwrap();
        let (start, len) = (values.offset.get(), values.len.get());
        let range = usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap();
        bytes[range].fill(b'x');
        disk.write_file(table, bytes);
    }
    let db = simulated(&disk, buffered());
    let snapshot = db.snapshot();
    for mut keys in [db.key_cursor(), snapshot.key_cursor()] {
        let mut is_on_key = keys.seek_first().unwrap();
        for number in 0..count {
            assert!(is_on_key && keys.key() == name(number));
            is_on_key = keys.next().unwrap();
        }
        assert!(!is_on_key && keys.seek_last().unwrap());
        for number in (0..count).rev() {
            assert_eq!(keys.key(), name(number));
            is_on_key = keys.prev().unwrap();
        }
        assert!(!is_on_key && keys.seek(name(6)).unwrap() && keys.seek_for_prev(name(8)).unwrap());
    }
    // Whoever asks for values is told.
    check_error(db.get(name(0)), "Corrupt");
    check_error(db.cursor().seek_first(), "Corrupt");
    check_error(db.get(name(2)), "NoMergeOperator");
}
