//! Tables from outside: what an ingest makes of them, all or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;
use tinydb::internals::file_name::FileName;
use tinydb::internals::row::{Kind, Row};
use tinydb::internals::{self, CrashMode, Fault, FilterSize, SimDisk, Storage, TableSettings};
use tinydb::{
    CompactionStyle, Db, Durability, Error, Options, ReadMode, TableWriter, WriteBatch, merge,
};

use super::{check_closed, check_error, describe, keys, pairs, simulated, temporary};
use crate::gate::{Gate, GatedDisk};
use crate::support::{check_directory, dump};

/// Tables in a folder that goes with it.
struct Tables(TempDir);

impl Tables {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A table of these words, each with the value.
    fn of(&self, name: &str, words: &str, value: &str) -> PathBuf {
        let rows: Vec<_> = words.split_whitespace().map(|word| (word, value)).collect();
        self.of_rows(name, &rows)
    }

    fn of_rows(&self, name: &str, rows: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> PathBuf {
        let path = self.path(name);
        let mut writer = TableWriter::create(&path, &Options::new()).unwrap();
        for (key, value) in rows {
            writer.put(key, value).unwrap();
        }
        writer.finish().unwrap();
        path
    }
}

/// Keys and values as words: `a=1 b=2`.
#[track_caller]
fn words(db: &Db) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = pairs(db.iter()).into_iter();
    pairs.map(|(key, value)| text(&key) + "=" + &text(&value)).collect::<Vec<_>>().join(" ")
}

fn levels(db: &Db) -> Vec<(u32, u64)> {
    db.stats().levels.iter().map(|level| (level.level, level.tables)).collect()
}

#[test]
fn what_was_ingested_is_read_like_anything_else() {
    let tables = Tables::new();
    let long = vec![b'l'; 100_000];
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = (0..3_000_u32)
        .map(|number| (format!("key {number:06}").into(), number.to_le_bytes().repeat(20)))
        .collect();
    rows.insert(0, (Vec::new(), b"of the empty key".to_vec()));
    rows.push((b"long value".to_vec(), long));
    rows.push((vec![b'z'; 65_535], Vec::new()));
    let path = tables.of_rows("rows", &rows);
    for read_mode in [ReadMode::Mmap, ReadMode::Heap] {
        let (dir, db) = temporary(Options::new().read_mode(read_mode).block_size(1 << 10));
        db.ingest(&[&path]).unwrap();
        let check = |db: &Db| {
            assert!(pairs(db.iter()) == rows);
            assert_eq!(db.iter().rev().count(), rows.len());
            for (key, value) in &rows {
                assert!(db.get(key).unwrap().is_some_and(|found| found == *value));
            }
            assert_eq!(db.get("key 000000x").unwrap(), None);
            assert!(db.verify().unwrap().is_ok());
        };
        check(&db);
        db.close().unwrap();
        let db = Options::new().read_mode(read_mode).open(dir.path()).unwrap();
        check(&db);
        db.compact().unwrap();
        check(&db);
    }
    assert!(path.exists(), "the file is the caller's");
}

#[test]
fn ingested_rows_are_newer_than_everything_before_them() {
    let tables = Tables::new();
    let path = tables.of("new", "a b c d e f g h", "new");
    for threads in [0, 2] {
        let options = Options::new().background_threads(threads);
        let (_dir, db) = temporary(options.merge_operator(merge::Append::new("+")));
        for (key, value) in [("a", "compacted"), ("b", "compacted"), ("z", "other")] {
            db.put(key, value).unwrap();
        }
        db.compact().unwrap();
        db.put("b", "flushed").unwrap();
        db.delete("c").unwrap();
        db.merge("d", "operand").unwrap();
        db.flush().unwrap();
        db.put("a", "in memory").unwrap();
        db.merge("b", "operand").unwrap();
        db.delete("e").unwrap();
        db.delete_range("f".."h").unwrap();
        db.ingest(&[&path]).unwrap();
        let want = "a=new b=new c=new d=new e=new f=new g=new h=new z=other";
        assert_eq!(words(&db), want);
        db.wait_idle().unwrap();
        assert_eq!(words(&db), want);
        db.compact().unwrap();
        assert_eq!(words(&db), want);
    }
}

#[test]
fn what_is_written_later_is_newer_than_ingested_rows() {
    let tables = Tables::new();
    let path = tables.of("old", "a b c d e f", "old");
    let later = tables.of("later", "f", "later");
    // No merge in the background takes seqnos away.
    let options = || Options::new().merge_operator(merge::Append::new("+")).background_threads(0);
    let (dir, db) = temporary(options());
    db.ingest(&[&path]).unwrap();
    db.put("a", "put").unwrap();
    db.delete("b").unwrap();
    db.merge("c", "more").unwrap();
    db.delete_range("d".."e").unwrap();
    db.ingest(&[&later]).unwrap();
    let want = "a=put c=old+more e=old f=later";
    assert_eq!(words(&db), want);
    let seqno = |key| db.get_entry(key).unwrap().unwrap().seqno();
    assert!(seqno("e") < seqno("a") && seqno("a") < seqno("c") && seqno("c") < seqno("f"));
    assert_eq!(db.stats().last_seqno, seqno("f"));
    db.clone().close().unwrap();
    let db = options().open(dir.path()).unwrap();
    assert_eq!(words(&db), want);
    db.compact().unwrap();
    assert_eq!(words(&db), want);
}

#[test]
fn what_pinned_an_earlier_moment_sees_nothing_of_it() {
    let tables = Tables::new();
    let path = tables.of("new", "a b c", "new");
    let (_dir, db) = temporary(Options::new());
    db.put("b", "old").unwrap();
    let (snapshot, iter, mut cursor) = (db.snapshot(), db.iter(), db.cursor());
    db.ingest(&[&path]).unwrap();
    db.compact().unwrap();
    assert_eq!(snapshot.get("a").unwrap(), None);
    assert_eq!(snapshot.get("b").unwrap().unwrap(), "old");
    assert_eq!(keys(iter), "b");
    assert!(cursor.seek_first().unwrap() && cursor.value() == b"old" && !cursor.next().unwrap());
    assert_eq!(words(&db), "a=new b=new c=new");
}

#[test]
fn tables_of_one_call_come_in_any_order_and_must_not_overlap() {
    let tables = Tables::new();
    let a_to_c = tables.of("1", "a b c", "1");
    let c_to_d = tables.of("2", "c d", "2");
    let d_to_e = tables.of("3", "d e", "3");
    let inside = tables.of("4", "aa", "4");
    let (_dir, db) = temporary(Options::new());
    let before = db.stats().last_seqno;
    for overlapping in [
        vec![&a_to_c, &c_to_d],
        vec![&d_to_e, &c_to_d],
        vec![&a_to_c, &d_to_e, &inside],
        vec![&a_to_c, &a_to_c],
    ] {
        check_error(db.ingest(&overlapping), "InvalidArgument");
        let said = describe(db.ingest(&overlapping));
        assert!(said.contains(overlapping[0].to_str().unwrap()) || overlapping.len() > 2, "{said}");
        assert_eq!((words(&db), db.stats().last_seqno), (String::new(), before));
    }
    db.ingest(&[&d_to_e, &a_to_c]).unwrap();
    assert_eq!(words(&db), "a=1 b=1 c=1 d=3 e=3");
    // One after the other they may.
    db.ingest(&[&c_to_d]).unwrap();
    db.ingest(&[&inside]).unwrap();
    assert_eq!(words(&db), "a=1 aa=4 b=1 c=2 d=2 e=3");
}

#[test]
fn no_tables_are_nothing() {
    let (_dir, db) = temporary(Options::new());
    db.put("a", "1").unwrap();
    let before = db.stats();
    db.ingest::<&Path>(&[]).unwrap();
    assert_eq!(db.stats(), before);
}

#[test]
fn a_table_that_meets_no_keys_goes_to_the_last_level_and_others_above_theirs() {
    let tables = Tables::new();
    for (style, bottom) in [
        (CompactionStyle::Leveled, 6),
        (CompactionStyle::SizeTiered, 63),
        (CompactionStyle::Manual, 6),
    ] {
        let (_dir, db) = temporary(Options::new().compaction(style).background_threads(0));
        let name = |part: &str| format!("{style:?} {part}");
        let ingest = |part: &str, words: &str| {
            db.ingest(&[tables.of(&name(part), words, part)]).unwrap();
        };
        ingest("first", "d e");
        assert_eq!(levels(&db), [(bottom, 1)]);
        ingest("beside", "a b");
        assert_eq!(levels(&db), [(bottom, 2)], "{style:?}");
        ingest("over", "b c");
        assert_eq!(levels(&db), [(bottom - 1, 1), (bottom, 2)], "{style:?}");
        db.put("f", "flushed").unwrap();
        db.flush().unwrap();
        ingest("beside a flushed one", "g");
        assert_eq!(levels(&db), [(0, 1), (bottom - 1, 1), (bottom, 3)], "{style:?}");
        ingest("over a flushed one", "f");
        assert_eq!(levels(&db), [(0, 2), (bottom - 1, 1), (bottom, 3)], "{style:?}");
        // A table of level 0 may reach over keys that it does not hold.
        db.write(WriteBatch::new().put("w", "wide").put("z", "wide")).unwrap();
        db.flush().unwrap();
        ingest("within", "x y");
        assert_eq!(levels(&db), [(0, 3), (bottom - 1, 1), (bottom, 4)], "{style:?}");
        let want = "a=beside b=over c=over d=first e=first f=over a flushed one \
                    g=beside a flushed one w=wide x=within y=within z=wide";
        assert_eq!(words(&db), want);
        db.compact().unwrap();
        assert_eq!(words(&db), want);
    }
}

#[test]
fn a_large_file_becomes_tables_of_the_size_that_the_options_say() {
    let tables = Tables::new();
    let rows: Vec<_> = (0..20_000_u32).map(|row| (format!("{row:08}"), [7; 100])).collect();
    let path = tables.of_rows("large", &rows);
    let (_dir, db) = temporary(Options::new().table_size(256 << 10));
    db.ingest(&[&path]).unwrap();
    let stats = db.stats();
    let levels: Vec<_> = stats.levels.iter().map(|level| level.level).collect();
    assert_eq!((levels, stats.levels[0].rows), (vec![6], 20_000));
    assert!(stats.levels[0].tables > 5);
    assert_eq!(stats.written.ingested_bytes, stats.levels[0].bytes);
    assert_eq!(stats.written.user_bytes, 20_000 * 108);
    assert_eq!((stats.written.log_bytes, stats.written.compacted_bytes), (0, 0));
}

/// As a `TableWriter` writes it, but of some short blocks.
fn table_of_small_blocks() -> Vec<u8> {
    let disk = SimDisk::new(1);
    disk.create_root().unwrap();
    let settings = TableSettings {
        block_size: 1 << 10,
        filter: FilterSize::BitsPerKey(10),
        database_id: 0,
        hash_seed: 9,
        operator: String::new(),
        features_optional: 0,
    };
    let mut writer = internals::TableWriter::create(&disk, &settings, 0, 1, 0xF11E).unwrap();
    for number in 0..16 {
        let (key, len) =
            (format!("key {number:03}"), if number % 6 == 4 { 300 + number } else { 9 });
        let (key, value) = (key.as_bytes(), &*vec![b'v'; len]);
        writer.add(&disk, &Row { key, seqno: 0, kind: Kind::Put, expires_at: 0, value }).unwrap();
    }
    writer.finish(&disk).unwrap();
    disk.read_file(FileName::Table(0)).unwrap()
}

/// Ingests something damaged beside a sound table: an error by path and offset, and no change.
#[track_caller]
fn check_refused(db: &Db, disk: &SimDisk, sound: &Path, damaged: &Path, what: &str) {
    let (names, rows) = (disk.file_names(), words(db));
    let at = match db.ingest(&[sound, damaged]) {
        Err(Error::Corrupt { path, .. } | Error::UnsupportedFormat { path, .. }) => path,
        other => panic!("{what}: {}", describe(other)),
    };
    assert_eq!(at, damaged, "{what}");
    assert_eq!((disk.file_names(), words(db)), (names, rows), "{what}");
}

#[test]
fn a_damaged_table_is_found_whatever_byte_it_is_and_changes_nothing() {
    let tables = Tables::new();
    let sound = tables.of("sound", "a b c", "sound");
    let damaged = tables.path("damaged");
    let good = table_of_small_blocks();
    let disk = SimDisk::new(1);
    let db = simulated(&disk, Options::new().background_threads(0));
    db.put("b", "before").unwrap();
    db.flush().unwrap();
    for at in 0..good.len() {
        // Of long runs of zeros some bytes will do.
        let in_padding = good[at.saturating_sub(9)..(at + 9).min(good.len())] == [0; 18];
        if in_padding && at % 211 > 0 {
            continue;
        }
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&damaged, bytes).unwrap();
        check_refused(&db, &disk, &sound, &damaged, &format!("byte {at}"));
    }
    for len in [0, 1, 64, 4095, 4096, 8192, good.len() - 4096, good.len() - 1] {
        fs::write(&damaged, &good[..len]).unwrap();
        check_refused(&db, &disk, &sound, &damaged, &format!("{len} bytes"));
    }
    fs::write(&damaged, [&good[..], &[0; 4096]].concat()).unwrap();
    check_refused(&db, &disk, &sound, &damaged, "longer");
    fs::write(&damaged, "text that is long enough\n".repeat(1_000)).unwrap();
    check_refused(&db, &disk, &sound, &damaged, "text");

    fs::write(&damaged, good).unwrap();
    db.ingest(&[&sound, &damaged]).unwrap();
    assert_eq!(dump(&db).unwrap().len(), 19);
}

#[test]
fn only_what_a_table_writer_wrote_is_taken() {
    let tables = Tables::new();
    let (dir, other) = temporary(Options::new());
    other.put("a", "1").unwrap();
    other.flush().unwrap();
    let has_name = |kind: &str| {
        let names = super::names_in(dir.path()).into_iter();
        dir.path().join(names.rev().find(|name| name.starts_with(kind)).unwrap())
    };
    let (_dir, db) = temporary(Options::new());
    let table = has_name("TABLE");
    let said = describe(db.ingest(&[&table]));
    assert!(said.starts_with("InvalidArgument") && said.contains("TABLE-"), "{said}");
    check_error(db.ingest(&[has_name("MANIFEST")]), "Corrupt");
    check_error(db.ingest(&[tables.path("missing")]), "Io { op: \"open\"");
    check_error(db.ingest(&[tables.0.path()]), "Io { op: \"open\"");
    assert_eq!((words(&db), levels(&db)), (String::new(), vec![]));
}

#[test]
fn an_ingest_is_durable_when_it_returns_and_so_is_all_before_it() {
    let tables = Tables::new();
    let path = tables.of("new", "b c", "new");
    for mode in CrashMode::ALL {
        let disk = SimDisk::new(1);
        let options = || Options::new().durability(Durability::Buffered);
        let db = simulated(&disk, options());
        db.put("a", "before").unwrap();
        db.put("b", "before").unwrap();
        db.ingest(&[&path]).unwrap();
        db.put("c", "after").unwrap();
        db.sync().unwrap();
        db.put("d", "lost").unwrap();
        disk.crash(mode);
        drop(db);
        let db = simulated(&disk.reboot(), options());
        db.delete("d").unwrap();
        assert_eq!(words(&db), "a=before b=new c=after", "{mode:?}");
    }
}

#[test]
fn an_ingest_that_fails_changes_nothing_and_a_retry_succeeds() {
    let tables = Tables::new();
    let paths = [tables.of("1", "a b", "new"), tables.of("2", "c d", "new")];
    for fault in Fault::ALL {
        for lasting in [false, true] {
            for call in 0.. {
                let disk = SimDisk::new(call);
                let options = || Options::new().background_threads(0);
                let db = simulated(&disk, options());
                db.put("b", "old").unwrap();
                let at = disk.calls() + call;
                if lasting {
                    disk.fail_from(at, fault);
                } else {
                    disk.fail_at(at, fault);
                }
                let ingested = db.ingest(&paths);
                let what = format!("{fault:?} at call {call}, lasting {lasting}");
                let is_over = disk.calls() <= at;
                disk.plan_nothing();
                let new = "a=new b=new c=new d=new";
                assert_eq!(words(&db), if ingested.is_ok() { new } else { "b=old" }, "{what}");
                let retried = db.ingest(&paths);
                if let Err(Error::Poisoned { .. }) = retried {
                    // Whether the manifest was published is unknown until a reopen.
                    drop(db);
                    let db = simulated(&disk.reboot(), options());
                    assert!([new, "b=old"].contains(&&*words(&db)), "{what}");
                    db.ingest(&paths).unwrap();
                    assert_eq!(words(&db), new, "{what}");
                    continue;
                }
                retried.unwrap();
                assert_eq!(words(&db), new, "{what}");
                db.clone().close().unwrap();
                if !lasting && fault != Fault::IoDone && fault != Fault::Dropped {
                    let db = simulated(&disk, options());
                    db.clone().close().unwrap();
                    check_directory(&disk.file_names(), &db);
                }
                if is_over {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_closed_or_poisoned_database_takes_nothing() {
    let tables = Tables::new();
    let path = tables.of("1", "a", "1");
    let disk = SimDisk::new(1);
    let db = simulated(&disk, Options::new());
    db.put("b", "1").unwrap();
    disk.fail_at(disk.calls(), Fault::Io);
    db.put("b", "2").unwrap_err();
    check_error(db.ingest(&[&path]), "Poisoned");
    drop(db);
    let db = simulated(&disk, Options::new());
    db.clone().close().unwrap();
    check_closed(db.ingest(&[&path]));
    check_closed(db.ingest(&[tables.path("missing")]));
    check_closed(db.ingest::<&Path>(&[]));
}

/// Stops an ingest of `paths` at its first file, does something, and lets it go on.
fn held_up<T>(db: &Db, disk: &GatedDisk, paths: &[PathBuf], meanwhile: impl FnOnce() -> T) -> T {
    disk.set(Gate::ShutInBackground);
    let (db, paths) = (db.clone(), paths.to_vec());
    // The gate knows threads of the background by this name.
    let thread = thread::Builder::new().name("tinydb".into());
    let ingest = thread.spawn(move || db.ingest(&paths)).unwrap();
    while disk.waiting() == 0 {
        thread::yield_now();
    }
    let done = meanwhile();
    disk.set(Gate::Open);
    ingest.join().unwrap().unwrap();
    done
}

fn gated(seed: u64) -> (GatedDisk, Db) {
    let disk = GatedDisk::new(&SimDisk::new(seed));
    let options = Options::new().background_threads(0);
    let db = Db::open_on(std::sync::Arc::new(disk.clone()), options).unwrap();
    (disk, db)
}

#[test]
fn writers_go_on_meanwhile_and_come_before_it() {
    let tables = Tables::new();
    let paths = [tables.of("1", "a b c", "new")];
    let (disk, db) = gated(1);
    let snapshot = held_up(&db, &disk, &paths, || {
        db.put("b", "meanwhile").unwrap();
        db.put("d", "meanwhile").unwrap();
        db.flush().unwrap();
        db.delete("c").unwrap();
        assert_eq!(words(&db), "b=meanwhile d=meanwhile");
        db.snapshot()
    });
    assert_eq!(words(&db), "a=new b=new c=new d=meanwhile");
    assert_eq!(snapshot.iter().count(), 2);
    db.compact().unwrap();
    assert_eq!(words(&db), "a=new b=new c=new d=meanwhile");
}

#[test]
fn writers_that_write_more_than_was_foreseen_come_before_it_too() {
    let tables = Tables::new();
    let paths = [tables.of("1", "a b c", "new")];
    let (disk, db) = gated(1);
    held_up(&db, &disk, &paths, || {
        let mut batch = WriteBatch::new();
        for number in 0..70_000_u32 {
            batch.put(format!("{number:08}"), "");
        }
        db.write(batch.put("b", "meanwhile")).unwrap();
    });
    assert_eq!(db.get("b").unwrap().unwrap(), "new");
    assert_eq!(db.iter().count(), 70_003);
    db.clone().close().unwrap();
    let db = simulated(&disk.disk, Options::new());
    assert_eq!(db.iter().count(), 70_003);
    check_directory(&disk.disk.file_names(), &db);
}

#[test]
fn a_close_ends_an_ingest() {
    let tables = Tables::new();
    let path = tables.of("1", "a b c", "new");
    let (disk, db) = gated(1);
    db.put("b", "old").unwrap();
    disk.set(Gate::ShutInBackground);
    let other = db.clone();
    let ingest = thread::Builder::new().name("tinydb".into());
    let ingest = ingest.spawn(move || other.ingest(&[path])).unwrap();
    while disk.waiting() == 0 {
        thread::yield_now();
    }
    let close = thread::spawn(move || db.close());
    while !close.is_finished() && disk.disk.file_names().len() < 2 {
        thread::yield_now();
    }
    disk.set(Gate::Open);
    let ingested = ingest.join().unwrap();
    close.join().unwrap().unwrap();
    let db = simulated(&disk.disk, Options::new());
    let want = if ingested.is_ok() { "a=new b=new c=new" } else { "b=old" };
    assert_eq!(words(&db), want);
    check_directory(&disk.disk.file_names(), &db);
}

#[test]
fn readers_see_all_of_an_ingest_or_nothing_and_writers_are_in_order_with_it() {
    const ROUNDS: u32 = 16;
    let tables = Tables::new();
    let options = Options::new().durability(Durability::Buffered).memtable_size(64 << 10);
    let (_dir, db) = temporary(options);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut newest = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = db.snapshot();
                let values: Vec<u32> = snapshot
                    .prefix("ingested/")
                    .map(|entry| u32::from_le_bytes(entry.unwrap().value().try_into().unwrap()))
                    .collect();
                let all = values.first().map_or(0, |first| {
                    assert_eq!(values.len(), 100);
                    assert!(values.iter().all(|value| value == first), "{values:?}");
                    *first
                });
                assert!(all >= newest, "time goes back from {newest} to {all}");
                newest = all;
            }
        });
        scope.spawn(|| {
            let mut number = 0_u64;
            while !done.load(Ordering::Acquire) {
                number += 1;
                let key = format!("written/{}", number % 50);
                db.put(&key, number.to_le_bytes()).unwrap();
                // Never seen, and in the way of the tables that come.
                let mut batch = WriteBatch::new();
                batch.put("ingested/050+", "gone at once").delete("ingested/050+");
                db.write(&batch).unwrap();
                assert_eq!(db.get(&key).unwrap().unwrap(), number.to_le_bytes());
            }
        });
        for round in 1..=ROUNDS {
            let rows: Vec<_> =
                (0..100).map(|row| (format!("ingested/{row:03}"), round.to_le_bytes())).collect();
            let (first, second) = rows.split_at(50);
            let paths = [
                tables.of_rows(&format!("{round}.1"), first),
                tables.of_rows(&format!("{round}.2"), second),
            ];
            db.ingest(&paths).unwrap();
            let found = db.get("ingested/099").unwrap().unwrap();
            assert_eq!(found, round.to_le_bytes());
            if round % 4 == 0 {
                db.compact_range("ingested/".."ingested/050").unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
    db.compact().unwrap();
    assert!(db.verify().unwrap().is_ok());
}
