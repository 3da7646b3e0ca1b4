//! Databases made by random operations, read by the Python reader and compared with two truths:
//! every version of every file with what TinyDB's own decoders find there, and what a reader sees
//! with a history of all that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tinydb::internals::log::LogReader;
use tinydb::internals::log_op::Op;
use tinydb::internals::manifest::ManifestView;
use tinydb::internals::row::Kind;
use tinydb::{Db, MergeOperator, Options, WriteBatch, merge};

use super::decoded::{rows_of_table, tombstones_of_table};
use super::{ask, lines};
use crate::support::{Draw, ManualClock, SETUPS, Seed, Setup, first_seed, runs};

const OPS_PER_RUN: usize = 240;
const MOMENTS_PER_RUN: usize = 3;

/// What an operation says of its key.
#[derive(Clone)]
enum Said {
    /// A value, and when it expires; 0 is never.
    Put(Vec<u8>, u64),
    Delete,
    Merge(Vec<u8>),
}

/// All that was written, by seqno.
#[derive(Default)]
struct History {
    said: BTreeMap<Vec<u8>, Vec<(u64, Said)>>,
    /// Start, end, seqno.
    deleted: Vec<(Vec<u8>, Option<Vec<u8>>, u64)>,
    last_seqno: u64,
}

impl History {
    /// What a reader sees of a key: the value below, and the operands above it, oldest first.
    fn seen(&self, key: &[u8], snapshot: u64, now: u64) -> (Option<&[u8]>, Vec<&[u8]>) {
        let covers = |(start, end, seqno): &&(Vec<u8>, Option<Vec<u8>>, u64)| {
            let ends_later = end.as_deref().is_none_or(|end| key < end);
            *seqno <= snapshot && start.as_slice() <= key && ends_later
        };
        let deleted = self.deleted.iter().filter(covers).map(|it| it.2).max().unwrap_or(0);
        let (mut value, mut operands) = (None, Vec::new());
        let versions = self.said.get(key).into_iter().flatten().rev();
        for (_, said) in versions.filter(|(seqno, _)| *seqno <= snapshot && *seqno > deleted) {
            match said {
                Said::Merge(operand) => {
                    operands.push(operand.as_slice());
                    continue;
                }
                Said::Put(found, expiry) if *expiry == 0 || *expiry > now => value = Some(found),
                Said::Put(..) | Said::Delete => {}
            }
            break;
        }
        operands.reverse();
        (value.map(Vec::as_slice), operands)
    }

    /// The value that a reader sees, operands folded.
    fn value(
        &self,
        key: &[u8],
        snapshot: u64,
        now: u64,
        operator: &dyn MergeOperator,
    ) -> Option<Vec<u8>> {
        let (value, operands) = self.seen(key, snapshot, now);
        if operands.is_empty() {
            return value.map(<[u8]>::to_vec);
        }
        Some(operator.merge_batch(key, value, &operands).expect("operands that can be folded"))
    }

    /// All that a reader sees.
    fn picture(
        &self,
        snapshot: u64,
        now: u64,
        operator: &dyn MergeOperator,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let value = |key: &Vec<u8>| Some((key.clone(), self.value(key, snapshot, now, operator)?));
        self.said.keys().filter_map(value).collect()
    }
}

// ---- writing ----------------------------------------------------------------------------------

fn key(draw: &mut Draw) -> Vec<u8> {
    match draw.below(12) {
        0 => {
            let len = draw.below(4);
            draw.bytes(len)
        }
        1 => vec![b'k'; *draw.pick(&[1, 7, 8, 9, 300, 2_000])],
        2..=5 => format!("user:{:010}:profile", draw.below(40)).into_bytes(),
        _ => format!("{:03}", draw.below(120)).into_bytes(),
    }
}

/// One of the operators that the spec defines.
fn operator(draw: &mut Draw) -> Arc<dyn MergeOperator> {
    match draw.below(6) {
        0 => Arc::new(merge::Counter),
        1 => Arc::new(merge::Max),
        2 => Arc::new(merge::Min),
        3 => Arc::new(merge::Append::new(b"\t\"\\\x00\xff")),
        _ => Arc::new(merge::Append::new("+")),
    }
}

fn value(draw: &mut Draw, operator: &dyn MergeOperator) -> Vec<u8> {
    if operator.name() == "tinydb.counter" {
        return draw.bytes(8);
    }
    let most = *draw.pick(&[0, 1, 8, 8, 100, 100, 1_000, 5_000, 30_000]);
    let len = draw.below(most + 1);
    draw.bytes(len)
}

/// One run: an open database and its history.
struct Run {
    draw: Draw,
    clock: Arc<ManualClock>,
    setup: Setup,
    operator: Arc<dyn MergeOperator>,
    history: History,
}

impl Run {
    fn options(&self) -> Options {
        let options = self.setup.options().clock(Arc::clone(&self.clock));
        options.merge_operator(Arc::clone(&self.operator))
    }

    fn add(&mut self, batch: &mut WriteBatch) {
        let draw = &mut self.draw;
        let key = key(draw);
        self.history.last_seqno += 1;
        let seqno = self.history.last_seqno;
        let said = match draw.below(20) {
            0 => {
                let end = self::key(draw);
                let (start, end) = if key < end { (key, Some(end)) } else { (end, None) };
                // Ranges without an end delete nearly all: they are rare.
                let end = end.or_else(|| (!draw.one_in(4)).then(|| [&start[..], b"~"].concat()));
                let bound = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                batch.delete_range((Bound::Included(&start), bound));
                self.history.deleted.push((start, end, seqno));
                return;
            }
            1..=3 => {
                batch.delete(&key);
                Said::Delete
            }
            4..=6 => {
                let operand = value(draw, &*self.operator);
                batch.merge(&key, &operand);
                Said::Merge(operand)
            }
            7 | 8 => {
                let (value, ttl) = (value(draw, &*self.operator), 1 + draw.next() % 40);
                batch.put_with_ttl(&key, &value, Duration::from_secs(ttl));
                Said::Put(value, self.clock.now_secs() + ttl)
            }
            _ => {
                let value = value(draw, &*self.operator);
                batch.put(&key, &value);
                Said::Put(value, 0)
            }
        };
        self.history.said.entry(key).or_default().push((seqno, said));
    }

    fn step(&mut self, db: &Db) {
        match self.draw.below(60) {
            0 => db.flush().unwrap(),
            1 => db.compact().unwrap(),
            2 => db.wait_idle().unwrap(),
            3 | 4 => self.clock.advance(self.draw.next() % 20),
            _ => {
                let mut batch = WriteBatch::new();
                let most = *self.draw.pick(&[1, 1, 1, 30]);
                for _ in 0..=self.draw.below(most) {
                    self.add(&mut batch);
                }
                db.write(&batch).unwrap();
            }
        }
    }
}

// ---- what the files hold, by TinyDB's decoders --------------------------------------------------

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Put => "put",
        Kind::Delete => "delete",
        Kind::Merge => "merge",
    }
}

/// The files of a database that its newest manifest needs, by what their names start with.
fn files(dir: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

/// The lines that a scan prints, and the largest seqno that the manifest knows of.
fn expected_lines(dir: &Path) -> (BTreeSet<String>, u64) {
    let manifest = files(dir, "MANIFEST-").pop().unwrap().1;
    let manifest = ManifestView::parse(&manifest).unwrap().to_data().unwrap();
    let mut expected = BTreeSet::new();
    let row = |name: &str, key: &[u8], seqno, kind, expiry, value: &[u8]| {
        let kind = kind_name(kind);
        let (key, value) = (hex(key), hex(value));
        json!({
            "key": key, "seqno": seqno, "kind": kind, "expiry": expiry, "value": value, "file": name,
        })
    };
    let tombstone = |name: &str, start: &[u8], end: Option<&[u8]>, seqno| json!({"start": hex(start), "end": end.map(hex), "seqno": seqno, "file": name});
    let mut add = |line: Value| assert!(expected.insert(line.to_string()), "twice: {line}");
    for (name, bytes) in files(dir, "TABLE-") {
        let number: u64 = name["TABLE-".len()..].parse().unwrap();
        if !manifest.tables.iter().any(|table| table.file_number == number) {
            continue;
        }
        for found in rows_of_table(&bytes) {
            let (seqno, expiry) = (found.seqno, found.expiry);
            add(row(&name, &found.key, seqno, found.kind, expiry, &found.value));
        }
        for (start, end, seqno) in tombstones_of_table(&bytes) {
            add(tombstone(&name, &start, end.as_deref(), seqno));
        }
    }
    for (name, bytes) in files(dir, "LOG-") {
        let number: u64 = name["LOG-".len()..].parse().unwrap();
        if number < manifest.oldest_log {
            continue;
        }
        for record in LogReader::open(&bytes, manifest.database_id, number).unwrap() {
            for (seqno, op) in (record.first_seqno..).zip(record.ops()) {
                match op.unwrap() {
                    Op::Row(op) => add(row(&name, op.key, seqno, op.kind, op.expires_at, op.value)),
                    Op::RangeDelete(op) => add(tombstone(&name, op.start, op.end, seqno)),
                }
            }
        }
    }
    (expected, manifest.last_seqno)
}

// ---- comparing ----------------------------------------------------------------------------------

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().expect("hexadecimal");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// What `scan --visible` shows.
pub(super) fn picture_in(lines: &[String]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entry = |line: &String| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        (unhex(&line["key"]), unhex(&line["value"]))
    };
    lines.iter().map(entry).collect()
}

/// Compares a directory; `None` without `python3`.
fn compare(dir: &Path, run: &mut Run) -> Option<usize> {
    let text = dir.to_str().unwrap();
    let (expected, flushed) = expected_lines(dir);
    let mut order = Vec::new();
    let mut found = BTreeSet::new();
    for line in lines("tinydb_reader.py", ["scan", text])? {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        if line["key"].is_string() {
            order.push((unhex(&line["key"]), u64::MAX - line["seqno"].as_u64().unwrap()));
        }
        assert!(found.insert(line.to_string()), "twice: {line}");
    }
    let missing: Vec<_> = expected.difference(&found).take(3).collect();
    let added: Vec<_> = found.difference(&expected).take(3).collect();
    assert!(found == expected, "only TinyDB finds {missing:?}, only Python {added:?}");
    assert!(order.is_sorted(), "rows do not ascend by internal key");

    // What is older than the manifest may be gone from the files.
    let now = run.clock.now_secs();
    let past = flushed + run.draw.next() % (run.history.last_seqno - flushed + 1);
    for snapshot in [run.history.last_seqno, past] {
        let (snapshot_text, now_text) = (snapshot.to_string(), now.to_string());
        let arguments =
            ["scan", text, "--visible", "--snapshot", &snapshot_text, "--now", &now_text];
        let picture = picture_in(&lines("tinydb_reader.py", arguments)?);
        let want = run.history.picture(snapshot, now, &*run.operator);
        assert!(picture == want, "snapshot {snapshot}");
    }
    let keys: Vec<&Vec<u8>> = run.history.said.keys().collect();
    let key = *run.draw.pick::<&Vec<u8>>(&keys);
    let want = run.history.value(key, u64::MAX, now, &*run.operator);
    check_get(text, key, now, want.as_deref())?;
    let whole = lines("tinydb_reader.py", ["verify", text])?;
    assert_eq!(whole, [format!("{text}: all rules hold")]);
    Some(found.len())
}

/// A get says the value, operands folded, or that there is none.
fn check_get(dir: &str, key: &[u8], now: u64, want: Option<&[u8]>) -> Option<()> {
    let (key_text, now_text) = (hex(key), now.to_string());
    let answer = ask("tinydb_reader.py", ["get", dir, &key_text, "--hex", "--now", &now_text])?;
    match want {
        Some(value) => assert_eq!((answer.lines.concat(), answer.errors.len()), (hex(value), 0)),
        None => assert_eq!((answer.lines.len(), &*answer.errors), (0, &["absent".to_owned()][..])),
    }
    Some(())
}

/// Copies a database that is open: its logs are as a killed process would leave them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// `None` without `python3`.
fn check(seed: u64) -> Option<()> {
    let mut draw = Draw::new(seed);
    let setup = *draw.pick(&SETUPS);
    let clock = Arc::new(ManualClock::default());
    clock.advance(1_000_000);
    let operator = operator(&mut draw);
    let mut run = Run { draw, clock, setup, operator, history: History::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut db = run.options().open(&path).unwrap();
    let mut compared = 0;
    for moment in 0..MOMENTS_PER_RUN {
        for _ in 0..OPS_PER_RUN / MOMENTS_PER_RUN {
            run.step(&db);
        }
        assert_eq!(db.stats().last_seqno, run.history.last_seqno);
        // Threads would change what is being copied.
        if setup.background_threads == 0 && run.draw.one_in(2) {
            let copied = dir.path().join(format!("copy {moment}"));
            copy(&path, &copied);
            compared += compare(&copied, &mut run)?;
        } else {
            db.close().unwrap();
            compared += compare(&path, &mut run)?;
            db = run.options().open(&path).unwrap();
        }
    }
    println!("seed {seed}: {compared} rows and range tombstones, {setup:?}");
    Some(())
}

#[test]
fn the_reader_in_python_finds_every_version_that_random_operations_leave() {
    for seed in first_seed()..first_seed() + runs(3) {
        let _seed = Seed(seed, "a database read in Python".to_owned());
        if check(seed).is_none() {
            return;
        }
    }
}
