//! Table files that are cut, or have holes punched into them, under a process that reads them.
//!
//! The child reads with four threads, by every kind of read, and knows each row: whatever a call
//! gives has to be right, or an error that names a table and an offset. The parent spoils the files meanwhile,
//! puts them back when the child has ended, and then finds every row: what was spoilt was never written
//! anywhere. Without a guard the child dies of SIGBUS, as the documentation says.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tinydb::internals::SimDisk;
use tinydb::{ChecksumPolicy, CompactionStyle, Db, Error, Options, ReadMode, WriteBatch, merge};

use crate::power::{Mounted, run};
use crate::support::{Draw, Seed, child as child_of, dump, first_seed, lines_of, runs};

/// Tell a process of this test that it is the child, where the database is, and how to read it.
const DIR: &str = "TINYDB_CUT_DIR";
const HOW: &str = "TINYDB_CUT_HOW";

const READY: &str = "ready";
const SIGBUS: i32 = 7;
const PAGE: u64 = 4096;
const ROWS: usize = 6_000;
/// Keys with an operand in each table.
const COUNTERS: usize = 300;

fn key(number: usize) -> Vec<u8> {
    format!("key {number:06}").into_bytes()
}

/// Most values lie in their row, some are copied on their own, a few lie out of line.
fn value(number: usize) -> Vec<u8> {
    let len = match number % 50 {
        7 => 3_000,
        13 => 150,
        _ => 30,
    };
    Draw::new(number as u64).bytes(len)
}

fn counter(number: usize) -> Vec<u8> {
    format!("counter {number:03}").into_bytes()
}

/// A key that was put, and then deleted with its range.
fn gone(number: usize) -> Vec<u8> {
    format!("gone {number:03}").into_bytes()
}

/// What the database holds.
fn all_rows() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = (0..ROWS).map(|number| (key(number), value(number)));
    let counters = (0..COUNTERS).map(|number| (counter(number), 3_i64.to_le_bytes().to_vec()));
    rows.chain(counters).collect()
}

/// How a child reads.
#[derive(Clone, Copy, Debug, PartialEq)]
struct How {
    mode: ReadMode,
    checksums: ChecksumPolicy,
    /// Whether it reads all of it before anything is spoilt.
    is_warm: bool,
}

const HOWS: [(&str, How); 6] = [
    ("plain", how(ReadMode::Mmap, ChecksumPolicy::Once, true)),
    ("guarded", how(ReadMode::Guarded, ChecksumPolicy::Once, true)),
    ("guarded-cold", how(ReadMode::Guarded, ChecksumPolicy::Once, false)),
    ("guarded-always", how(ReadMode::Guarded, ChecksumPolicy::Always, true)),
    ("heap", how(ReadMode::Heap, ChecksumPolicy::Once, false)),
    ("heap-always", how(ReadMode::Heap, ChecksumPolicy::Always, true)),
];

const fn how(mode: ReadMode, checksums: ChecksumPolicy, is_warm: bool) -> How {
    How { mode, checksums, is_warm }
}

fn options() -> Options {
    let options = Options::new().block_size(4 << 10).merge_operator(merge::Counter);
    options.compaction(CompactionStyle::Manual)
}

/// Three tables, over each other.
fn fill(path: &Path) {
    let db = options().open(path).unwrap();
    for part in 0..3 {
        let mut batch = WriteBatch::new();
        for number in (part..ROWS).step_by(3) {
            batch.put(key(number), value(number));
        }
        for number in 0..COUNTERS {
            batch.merge(counter(number), 1_i64.to_le_bytes());
            if part == 0 {
                batch.put(gone(number), "back");
            }
        }
        if part == 1 {
            batch.delete_range("gone".."gonf");
        }
        db.write(&batch).unwrap();
        db.flush().unwrap();
    }
    db.close().unwrap();
}

/// What a reader has seen.
#[derive(Clone, Copy, Default)]
struct Seen {
    right: u64,
    errors: u64,
}

impl Seen {
    /// Takes an answer: the value that it has to be, or an error that is honest.
    #[track_caller]
    fn take<T: PartialEq + std::fmt::Debug>(&mut self, got: Result<T, Error>, want: &T) -> bool {
        match got {
            Ok(got) => assert!(got == *want, "wrong: {got:?}, not {want:?}"),
            Err(error) => {
                check_error(&error);
                self.errors += 1;
                return false;
            }
        }
        self.right += 1;
        true
    }
}

/// An error names a table, and an offset.
#[track_caller]
fn check_error(error: &Error) {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let path = match error {
        Error::Io { path, .. } => {
            assert!(source.contains("at offset "), "{error}: {source}");
            path
        }
        Error::Corrupt { path, .. } => path,
        other => panic!("{other:?}"),
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("TABLE-"), "{error}: {source}");
}

/// Reads in every way, some hundred rows in all.
fn read(db: &Db, draw: &mut Draw, seen: &mut Seen) {
    let snapshot = db.snapshot();
    for _ in 0..100 {
        let number = draw.below(ROWS + 10);
        let want = (number < ROWS).then(|| value(number));
        let owned = |value: Option<tinydb::Value<'_>>| value.map(|value| value.to_vec());
        seen.take(snapshot.get(key(number)).map(owned), &want);
        seen.take(db.get(key(number)).map(owned), &want);
        seen.take(db.contains_key(key(number)), &want.is_some());
        seen.take(db.get([&key(number)[..], b"absent"].concat()).map(owned), &None);
        let number = draw.below(COUNTERS);
        seen.take(db.get(counter(number)).map(owned), &Some(3_i64.to_le_bytes().to_vec()));
        seen.take(db.get(gone(number)).map(owned), &None);
    }
    let numbers: Vec<_> = (0..40).map(|_| draw.below(ROWS)).collect();
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    let wants: Vec<_> = numbers.iter().map(|number| Some(value(*number))).collect();
    let owned = |values: Vec<Option<tinydb::Value<'_>>>| -> Vec<_> {
        values.into_iter().map(|value| value.map(|value| value.to_vec())).collect()
    };
    seen.take(snapshot.multi_get(&keys).map(owned), &wants);
    seen.take(db.multi_get(&keys).map(owned), &wants);
    scan(db, draw, seen);
}

/// Scans both ways. No row may be left out.
fn scan(db: &Db, draw: &mut Draw, seen: &mut Seen) {
    let start = draw.below(ROWS);
    let pair = |number| (key(number), value(number));
    let entries = db.range(key(start)..).take(300).zip(start..ROWS);
    for (entry, number) in entries {
        let entry = entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec()));
        seen.take(entry, &pair(number));
    }
    for (entry, number) in db.range(..=key(start)).rev().take(300).zip((0..=start).rev()) {
        let entry = entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec()));
        seen.take(entry, &pair(number));
    }
    let mut cursor = db.cursor();
    let mut found = cursor.seek(key(start));
    for number in (0..=start).rev().take(300) {
        let row = found.map(|found| (found, (cursor.key().to_vec(), cursor.value().to_vec())));
        if !seen.take(row, &(true, pair(number))) {
            // The error stays until a seek.
            for _ in 0..3 {
                check_error(&cursor.next().unwrap_err());
                check_error(&cursor.prev().unwrap_err());
                assert!(!cursor.valid());
            }
            break;
        }
        found = cursor.prev();
    }
}

/// Reads until its input ends, and once more; only a child of these tests does anything here.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let wanted = std::env::var(HOW).unwrap();
    let (_, how) = HOWS.iter().find(|(name, _)| *name == wanted).unwrap();
    let options = options().read_mode(how.mode).checksums(how.checksums);
    let db = options.open(dir).unwrap();
    assert!(db.get(key(0)).unwrap().is_some(), "the tables are open");
    assert!(!how.is_warm || dump(&db).unwrap() == all_rows());
    println!("\n{READY}");
    let is_spoilt = AtomicBool::new(false);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let reader = |seed| {
            let (db, is_spoilt) = (&db, &is_spoilt);
            move || {
                let (mut draw, mut seen) = (Draw::new(seed), Seen::default());
                loop {
                    let is_last = is_spoilt.load(Ordering::SeqCst);
                    read(db, &mut draw, &mut seen);
                    if is_last {
                        return seen;
                    }
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|seed| scope.spawn(reader(seed))).collect();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        is_spoilt.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let compacted = db.compact();
    compacted.as_ref().err().inspect(|error| check_error(error));
    // A write may be told of the compaction, once.
    let _ = db.put("zzz", "new");
    db.put("zzz", "new").unwrap();
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    println!("{} {} {}", sum(|seen| seen.right), sum(|seen| seen.errors), compacted.is_ok());
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_table =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("TABLE-");
    names.filter(is_table).collect()
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// The file ends at a page.
    CutAtPage,
    /// The file ends anywhere.
    Cut,
    /// Some pages read as zeros.
    Punch,
}

fn harm(path: &Path, harm: Harm, draw: &mut Draw) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let place = draw.next() % len;
    match harm {
        Harm::CutAtPage => file.set_len(place - place % PAGE).unwrap(),
        Harm::Cut => file.set_len(place).unwrap(),
        Harm::Punch => {
            let (offset, len) = (place.to_string(), (1 + draw.next() % (8 * PAGE)).to_string());
            let arguments = ["--punch-hole", "--offset", &offset, "--length", &len];
            let done = Command::new("fallocate").args(arguments).arg(path).status();
            assert!(done.is_ok_and(|status| status.success()), "fallocate can punch holes");
        }
    }
}

struct Outcome {
    status: ExitStatus,
    right: u64,
    errors: u64,
    compacted: bool,
}

/// Lets a child read so while its files are spoilt so; afterwards all is there once they are put back.
fn spoil(how: &str, harms: &[Harm], draw: &mut Draw) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fill(&path);
    let copies: BTreeMap<_, _> =
        tables(&path).into_iter().map(|table| (table.clone(), fs::read(table).unwrap())).collect();
    let mut child = child_of("sigbus::child");
    let child = child.env(DIR, &path).env(HOW, how).stdin(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = lines_of(&mut child);
    assert!(lines.any(|line| line == READY), "the child ended by itself");
    // Now and then a table stays whole.
    for (number, table) in copies.keys().enumerate() {
        if number == 0 || !draw.one_in(4) {
            harm(table, *draw.pick(harms), draw);
        }
        std::thread::sleep(std::time::Duration::from_millis(draw.next() % 10));
    }
    drop(child.stdin.take());
    let said: Vec<String> = lines.collect();
    let status = child.wait().unwrap();
    let mut outcome = Outcome { status, right: 0, errors: 0, compacted: false };
    if status.success() {
        let words = said.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        let words = words.into_iter().find(|words| words.len() == 3).unwrap();
        outcome.right = words[0].parse().unwrap();
        outcome.errors = words[1].parse().unwrap();
        outcome.compacted = words[2] == "true";
    }
    for (table, bytes) in &copies {
        if table.exists() {
            fs::remove_file(table).unwrap();
            fs::write(table, bytes).unwrap();
        }
    }
    let db = options().open(&path).unwrap();
    let mut rows = dump(&db).unwrap();
    rows.remove(&b"zzz"[..]);
    assert!(rows == all_rows(), "what was spoilt was written");
    assert!(db.verify().unwrap().is_ok());
    outcome
}

/// The promise of the guard, and that of reading to the heap: right or an error, in a process that lives.
#[test]
fn a_spoilt_table_is_an_error_or_reads_right() {
    let (seed, rounds) = (first_seed(), runs(20));
    let _seed = Seed(seed, format!("{rounds} rounds"));
    let mut draw = Draw::new(seed);
    let any = [Harm::CutAtPage, Harm::Cut, Harm::Punch];
    #[rustfmt::skip]
    let ways: [(&str, &[Harm]); 5] = [
        // What was verified before may read as zeros behind the end, to the end of its page.
        ("guarded",        &any[..1]),
        ("guarded-cold",   &any[..1]),
        ("guarded-always", &any),
        ("heap",           &any[..1]),
        ("heap-always",    &any),
    ];
    let (mut right, mut errors, mut compacted) = (0, 0, 0);
    for round in 0..rounds {
        let (how, harms) = ways[usize::try_from(round).unwrap() % ways.len()];
        let outcome = spoil(how, harms, &mut draw);
        assert!(outcome.status.success(), "round {round}, {how}: {}", outcome.status);
        right += outcome.right;
        errors += outcome.errors;
        compacted += u64::from(outcome.compacted);
    }
    println!(
        "{rounds} rounds of spoilt tables, {right} right answers, {errors} errors, wrong 0, \
         signals 0, {compacted} compactions that met nothing spoilt"
    );
    assert!(right > 0 && (errors > 0 || rounds < 5));
}

/// What the documentation says of plain maps.
#[test]
fn without_a_guard_a_cut_table_ends_the_process() {
    let outcome = spoil("plain", &[Harm::CutAtPage], &mut Draw::new(1));
    assert_eq!(outcome.status.signal(), Some(SIGBUS), "{}", outcome.status);
}

/// A disk that fails while a page is loaded: the image of a file system is cut behind its loop device.
#[test]
fn a_disk_that_fails_under_a_guarded_map_is_an_error() {
    let check = || {
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("mounted"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", image.to_str().unwrap()])?;
        let path = at.join("db");
        let mounted = Mounted::new(&image, &at)?;
        fill(&path);
        drop(mounted);
        // Mounted anew, nothing of the tables is in memory.
        let mounted = Mounted::new(&image, &at)?;
        let db = options().read_mode(ReadMode::Guarded).open(&path).unwrap();
        OpenOptions::new().write(true).open(&image).unwrap().set_len(0).unwrap();
        let mut seen = Seen::default();
        for seed in 0..3 {
            read(&db, &mut Draw::new(seed), &mut seen);
        }
        db.compact().unwrap_err();
        drop((db, mounted));
        assert!(seen.errors > 0, "the disk fails");
        println!("a disk that failed under its maps: {} right, {} errors", seen.right, seen.errors);
        Ok::<_, String>(())
    };
    if let Err(missing) = check() {
        println!("a disk that fails under its maps: skipped, {}", missing.trim());
    }
}

/// Each question whether a page was there is answered with no, in its turn: the call that asked fails,
/// nothing is lost, nothing wrong is written.
#[test]
fn a_page_that_is_missing_at_any_moment_is_an_error() {
    let small = |number: usize| (key(number), value(number)[..20].to_vec());
    let rows: BTreeMap<_, _> = (0..300).map(small).collect();
    let (mut tried, mut errors) = (0, 0);
    for check in (0..).step_by(if runs(1) > 1 { 1 } else { 7 }) {
        let disk = SimDisk::new(check);
        let options = Options::new()
            .memtable_size(64 << 10)
            .block_size(1 << 10)
            .background_threads(0)
            .read_mode(ReadMode::Guarded);
        let open = |disk: &SimDisk| Db::open_on(Arc::new(disk.clone()), options.clone());
        let db = open(&disk).unwrap();
        disk.fail_map_at(check);
        let mut seen = Seen::default();
        for part in 0..3 {
            for (key, value) in rows.iter().skip(part).step_by(3) {
                db.put(key, value).unwrap();
            }
            // It reads nothing; but an older compaction may have something to say.
            db.flush().unwrap();
        }
        for pass in 0..2 {
            for (key, value) in rows.iter().step_by(17) {
                let get = db.get(key).map(|found| found.map(|found| found.to_vec()));
                seen.take(get, &Some(value.clone()));
                seen.take(db.get([key, &b"x"[..]].concat()).map(|found| found.is_some()), &false);
            }
            seen.take(dump(&db), &rows);
            let back = db.iter().rev().map(|entry| entry.map(|entry| entry.key().to_vec()));
            seen.take(back.collect::<Result<Vec<_>, _>>(), &rows.keys().rev().cloned().collect());
            if pass == 0 {
                seen.take(db.compact(), &());
            }
        }
        let is_over = disk.map_checks() <= check;
        assert_eq!(seen.errors == 0, is_over, "question {check}");
        drop(db);
        let db = open(&disk.reboot()).unwrap();
        assert!(dump(&db).unwrap() == rows, "question {check}");
        assert!(db.verify().unwrap().is_ok(), "question {check}");
        if is_over {
            break;
        }
        (tried, errors) = (tried + 1, errors + seen.errors);
    }
    println!("{tried} missing pages on a simulated disk, {errors} errors");
}
