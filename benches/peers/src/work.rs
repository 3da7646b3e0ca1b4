//! The work: what one engine does in one round, and how long it took.
//!
//! A worker reads one line for each round, the workload and the number of the round, and answers
//! with one line of JSON. What is read is checked against what was written, or the worker panics.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Arguments;
use crate::control_group::{self, Group};
use crate::data::{Data, touch};
use crate::engines::{self, Engine, Reader, Setup};
use crate::measure;

/// The engines, in the order of the table.
pub const ENGINES: &[&str] = &[
    "TinyDB",
    "LMDB",
    "mdbx",
    "redb",
    "RocksDB (LZ4, cache)",
    "RocksDB (mmap)",
    "fjall",
    "sled",
    "HashMap",
    "BTreeMap",
];

/// The workloads in their order: name, unit, and whether it is done once only.
pub const WORKLOADS: &[(&str, &str, bool)] = &[
    ("random load, CPU", "ns per row", true),
    ("random load, worst batch", "ms", true),
    ("random load, bytes written / user bytes", "", true),
    ("get straight after it", "ns", false),
    ("95/5 mix straight after it", "ns", false),
    ("settle", "s", true),
    ("size / user bytes", "", true),
    ("get", "ns", false),
    ("get, zipf 0.99", "ns", false),
    ("get absent", "ns", false),
    ("get, two threads together", "ns", false),
    ("get, a fresh handle each", "ns", false),
    ("multi_get of 64", "ns per key", false),
    ("seek + 100 rows forward", "us", false),
    ("seek + 100 rows backward", "us", false),
    ("full scan forward", "ns per row", false),
    ("full scan backward", "ns per row", false),
    ("anonymous memory while reading", "MB", true),
    ("file memory while reading", "MB", true),
    ("single put", "ns", false),
    ("single put, durable", "us", false),
    ("open + first get, warm", "ms", false),
    ("sorted load, CPU", "ns per row", true),
    ("get with memory for a quarter", "us", false),
    ("get with memory for a quarter, read from disk", "KiB", false),
];

/// The answer to one request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// `None` where an engine has no such thing.
    pub figure: Option<f64>,
    /// How the engine is set up; with the first answer.
    pub settings: Option<String>,
}

/// Answers requests from standard input until it ends.
pub fn serve(engine: &str, arguments: &Arguments) {
    match engine {
        "TinyDB" => answer::<engines::TinyDb>(arguments),
        "LMDB" => answer::<engines::Lmdb>(arguments),
        "mdbx" => answer::<engines::Mdbx>(arguments),
        "redb" => answer::<engines::Redb>(arguments),
        "RocksDB (LZ4, cache)" => answer::<engines::RocksDbCached>(arguments),
        "RocksDB (mmap)" => answer::<engines::RocksDbMapped>(arguments),
        "fjall" => answer::<engines::Fjall>(arguments),
        "sled" => answer::<engines::Sled>(arguments),
        "HashMap" => answer::<engines::Hash>(arguments),
        "BTreeMap" => answer::<engines::BTree>(arguments),
        other => panic!("there is no engine {other:?}; there are {ENGINES:?}"),
    }
}

fn answer<E: Engine>(arguments: &Arguments) {
    let data = arguments.data();
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(base).expect("a writable directory");
    let mut worker = Worker::<E> {
        setup: Setup { user_bytes: data.user_bytes(), memory: None },
        data,
        reads: arguments.reads.min(arguments.rows as usize),
        dir: dir.path(),
        engine: None,
        load: Load::default(),
        read_kib: None,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (round, workload) = line.split_once(' ').expect("a round and a workload");
        let figure = worker.work(workload, round.parse().expect("a number"));
        let answer = Answer { figure, settings: Some(E::SETTINGS.to_owned()) };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer).unwrap()).unwrap();
        out.flush().unwrap();
    }
}

/// What a load measured.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    cpu_ns: f64,
    worst_ms: f64,
    written: f64,
}

struct Worker<'w, E> {
    data: Data,
    setup: Setup,
    reads: usize,
    dir: &'w Path,
    engine: Option<E>,
    load: Load,
    /// What a get read from disk when memory was short.
    read_kib: Option<f64>,
}

impl<E: Engine> Worker<'_, E> {
    fn work(&mut self, workload: &str, round: u64) -> Option<f64> {
        match workload {
            "random load, CPU" => {
                let rows = self.data.shuffled();
                let (engine, load) = self.loaded(&rows);
                (self.engine, self.load) = (Some(engine), load);
                Some(load.cpu_ns)
            }
            "random load, worst batch" => Some(self.load.worst_ms),
            "random load, bytes written / user bytes" => {
                E::IS_PERSISTENT.then_some(self.load.written)
            }
            "sorted load, CPU" => Some(self.sorted_load()),
            "settle" => {
                let start = Instant::now();
                self.engine.as_mut().expect("loaded").settle();
                E::IS_PERSISTENT.then(|| start.elapsed().as_secs_f64())
            }
            "size / user bytes" => {
                let len = measure::disk_len(&self.dir.join("random"));
                E::IS_PERSISTENT.then(|| len as f64 / self.setup.user_bytes as f64)
            }
            "get" | "get straight after it" => Some(self.gets(None, round)),
            "get, zipf 0.99" => Some(self.gets(Some(0.99), round)),
            "get absent" => Some(self.absent(round)),
            "get, two threads together" => Some(self.two_threads(round)),
            "get, a fresh handle each" => Some(self.fresh(round)),
            "multi_get of 64" => self.multi_get(round),
            "95/5 mix straight after it" => Some(self.mix(round)),
            "seek + 100 rows forward" => self.seeks(round, false),
            "seek + 100 rows backward" => self.seeks(round, true),
            "full scan forward" => self.scan(false),
            "full scan backward" => self.scan(true),
            "anonymous memory while reading" => Some(measure::memory("RssAnon") as f64 / 1e6),
            "file memory while reading" => Some(measure::memory("RssFile") as f64 / 1e6),
            "single put" => Some(self.puts(round, self.reads / 100, false)),
            "single put, durable" => E::IS_PERSISTENT.then(|| self.puts(round, 200, true) / 1e3),
            "open + first get, warm" => E::IS_PERSISTENT.then(|| self.open(round)),
            "get with memory for a quarter" => {
                let cost = E::IS_PERSISTENT.then(|| self.gets_beyond_memory(round)).flatten();
                self.read_kib = cost.map(|(_, kib)| kib);
                cost.map(|(us, _)| us)
            }
            "get with memory for a quarter, read from disk" => self.read_kib,
            other => panic!("there is no workload {other:?}"),
        }
    }

    fn engine(&self) -> &E {
        self.engine.as_ref().expect("the load comes first")
    }

    /// A fresh engine without rows.
    fn fresh_engine(&self, name: &str) -> E {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir).expect("a fresh directory");
        E::open(&dir, self.setup)
    }

    /// Processor time of a row of a load in the order of the keys. The database of the other load is closed before.
    fn sorted_load(&mut self) -> f64 {
        // What the other database does in the background is no part of it.
        self.engine = None;
        let rows = self.data.sorted();
        let (engine, made) = (self.fresh_engine("sorted"), std::cell::Cell::new(0.0));
        let mut batches = rows.chunks(1_000).map(|rows| {
            let begun = measure::cpu_secs_of_thread();
            let batch = rows.iter().map(|row| self.row(*row)).collect();
            made.set(made.get() + measure::cpu_secs_of_thread() - begun);
            batch
        });
        let cpu = measure::cpu_secs();
        engine.load_sorted(self.dir, &mut batches);
        let cpu = measure::cpu_secs() - cpu - made.get();
        drop(batches);
        self.check_load(&engine);
        cpu * 1e9 / f64::from(self.data.rows)
    }

    /// Whether a load left all rows.
    fn check_load(&self, engine: &E) {
        let requests = self.data.requests(self.reads.min(1_000), None, 0);
        let (reader, mut sum) = (engine.reader(), 0_u64);
        for key in &requests.keys {
            reader.get(key, |value| sum = sum.wrapping_add(touch(value)));
        }
        assert_eq!(sum, requests.checksum, "what was loaded");
    }

    /// A fresh engine with all rows, in batches of a hundred.
    fn loaded(&self, rows: &[u32]) -> (E, Load) {
        let engine = self.fresh_engine("random");
        let (mut worst, mut made) = (0.0_f64, 0.0);
        let (cpu, written) = (measure::cpu_secs(), measure::bytes_written());
        for rows in rows.chunks(100) {
            // Making the rows is not the engine's work.
            let begun = measure::cpu_secs_of_thread();
            let batch: Vec<_> =
                rows.iter().map(|row| (self.data.key(*row), self.data.value(*row))).collect();
            made += measure::cpu_secs_of_thread() - begun;
            let start = Instant::now();
            engine.write(&batch, false);
            worst = worst.max(start.elapsed().as_secs_f64());
        }
        let cpu = measure::cpu_secs() - cpu - made;
        let written = measure::bytes_written() - written;
        let load = Load {
            cpu_ns: cpu * 1e9 / f64::from(self.data.rows),
            worst_ms: worst * 1e3,
            written: written as f64 / self.setup.user_bytes as f64,
        };
        (engine, load)
    }

    /// Nanoseconds of a get.
    fn gets(&self, theta: Option<f64>, round: u64) -> f64 {
        let requests = self.data.requests(self.reads, theta, round);
        let (keys, reader) = (requests.packed(), self.engine().reader());
        let (start, mut sum, mut found) = (Instant::now(), 0_u64, 0);
        for key in keys.iter() {
            found += usize::from(reader.get(key, |value| sum = sum.wrapping_add(touch(value))));
        }
        let ns = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!((found, sum), (keys.len(), requests.checksum), "what was read");
        ns
    }

    fn absent(&self, round: u64) -> f64 {
        let keys = self.data.absent(self.reads, round).packed();
        let reader = self.engine().reader();
        let (start, mut found) = (Instant::now(), 0);
        for key in keys.iter() {
            found += usize::from(reader.get(key, |value| _ = black_box(touch(value))));
        }
        let ns = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!(found, 0, "keys that were never written");
        ns
    }

    /// Nanoseconds of a get while two threads read, each through its own reader, together.
    fn two_threads(&self, round: u64) -> f64 {
        let requests = [1, 2].map(|half| self.data.requests(self.reads, None, round * 2 + half));
        let packed = [0, 1].map(|half: usize| requests[half].packed());
        let barrier = std::sync::Barrier::new(2);
        let spans = std::thread::scope(|scope| {
            let threads = packed.each_ref().map(|keys| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let (reader, mut sum) = (self.engine().reader(), 0_u64);
                    barrier.wait();
                    let start = Instant::now();
                    for key in keys.iter() {
                        reader.get(key, |value| sum = sum.wrapping_add(touch(value)));
                    }
                    (start, Instant::now(), sum)
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        for ((.., sum), requests) in spans.iter().zip(&requests) {
            assert_eq!(*sum, requests.checksum, "what was read");
        }
        let start = spans.iter().map(|span| span.0).min().expect("two threads");
        let end = spans.iter().map(|span| span.1).max().expect("two threads");
        let secs = (end - start).as_secs_f64();
        secs * 1e9 / (2 * self.reads) as f64
    }

    fn fresh(&self, round: u64) -> f64 {
        let requests = self.data.requests(self.reads, None, round);
        let keys = requests.packed();
        let (start, mut sum) = (Instant::now(), 0_u64);
        for key in keys.iter() {
            self.engine().get_fresh(key, |value| sum = sum.wrapping_add(touch(value)));
        }
        let ns = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!(sum, requests.checksum, "what was read");
        ns
    }

    fn multi_get(&self, round: u64) -> Option<f64> {
        let requests = self.data.requests(self.reads, None, round);
        let packed = requests.packed();
        let keys: Vec<&[u8]> = packed.iter().collect();
        let reader = self.engine().reader();
        let (start, mut sum) = (Instant::now(), 0_u64);
        for keys in keys.chunks(64) {
            let see = |value: &[u8]| sum = sum.wrapping_add(touch(value));
            if !reader.multi_get(keys, see) {
                return None;
            }
        }
        let ns = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        assert_eq!(sum, requests.checksum, "what was read");
        Some(ns)
    }

    /// Nanoseconds of an operation, of which one in twenty is a put of a value that is there.
    fn mix(&self, round: u64) -> f64 {
        let requests = self.data.requests(self.reads / 4, None, round);
        let (keys, engine) = (requests.packed(), self.engine());
        let puts: Vec<_> = requests.rows.iter().step_by(20).map(|row| self.row(*row)).collect();
        let (start, mut puts) = (Instant::now(), puts.chunks(1));
        for (number, key) in keys.iter().enumerate() {
            if number % 20 == 0 {
                engine.write(puts.next().expect("a put"), false);
            } else {
                engine.get_fresh(key, |value| _ = black_box(touch(value)));
            }
        }
        start.elapsed().as_nanos() as f64 / keys.len() as f64
    }

    fn row(&self, row: u32) -> (Vec<u8>, Vec<u8>) {
        (self.data.key(row), self.data.value(row))
    }

    /// Microseconds of a seek and a hundred rows.
    fn seeks(&self, round: u64, is_backward: bool) -> Option<f64> {
        let keys = self.data.requests((self.reads / 50).max(1), None, round).packed();
        let reader = self.engine().reader();
        let (start, mut rows) = (Instant::now(), 0);
        for key in keys.iter() {
            let see = |key: &[u8], value: &[u8]| {
                black_box(touch(value) + key.len() as u64);
                rows += 1;
            };
            if !reader.scan(Some(key), 100, is_backward, see) {
                return None;
            }
        }
        let us = start.elapsed().as_nanos() as f64 / 1e3 / keys.len() as f64;
        assert!(rows > 90 * keys.len() || self.data.rows < 2_000, "{rows} rows");
        Some(us)
    }

    /// Nanoseconds of a row in a scan of all.
    fn scan(&self, is_backward: bool) -> Option<f64> {
        let reader = self.engine().reader();
        let (start, mut rows, mut sum) = (Instant::now(), 0_u32, 0_u64);
        let see = |key: &[u8], value: &[u8]| {
            sum = sum.wrapping_add(touch(value) + u64::from(key.last().copied().unwrap_or(0)));
            rows += 1;
        };
        if !reader.scan(None, usize::MAX, is_backward, see) {
            return None;
        }
        let ns = start.elapsed().as_nanos() as f64 / f64::from(rows.max(1));
        assert_eq!(rows, self.data.rows, "rows of a scan");
        black_box(sum);
        Some(ns)
    }

    /// Nanoseconds of a put of one row.
    fn puts(&self, round: u64, count: usize, is_durable: bool) -> f64 {
        let rows = self.data.requests(count.max(1), None, round).rows;
        let rows: Vec<_> = rows.into_iter().map(|row| self.row(row)).collect();
        let start = Instant::now();
        for row in rows.chunks(1) {
            self.engine().write(row, is_durable);
        }
        start.elapsed().as_nanos() as f64 / rows.len() as f64
    }

    /// Microseconds of a get when memory holds a quarter of the data, and KiB that it reads from disk. For as
    /// long as nothing was in memory before, so long it is not counted. `None` where the system has no
    /// control groups, or does not let this process make one.
    fn gets_beyond_memory(&mut self, round: u64) -> Option<(f64, f64)> {
        self.engine = None;
        let limit = self.setup.user_bytes / 4;
        let time = Duration::from_secs(if self.data.rows < 100_000 { 0 } else { 5 });
        let group = match Group::new(limit.max(16 << 20)) {
            Ok(group) => group,
            Err(error) => {
                eprintln!("no control group with a limit of memory: {error}");
                return None;
            }
        };
        let dir = self.dir.join("random");
        measure::forget(&dir);
        control_group::join(group.path()).expect("a group of its own");
        let setup = Setup { memory: Some(limit), ..self.setup };
        let engine = E::open(&dir, setup);
        let mut rows = self.data.rows_at_random(round);
        let reader = engine.reader();
        let mut gets = || {
            let (start, read, mut count) = (Instant::now(), measure::bytes_read(), 0_u32);
            while count < 100 || start.elapsed() < time {
                let (key, value) = self.row(rows.next().expect("no end"));
                assert!(reader.get(&key, |found| assert_eq!(found, value)), "a key is gone");
                count += 1;
            }
            let read = (measure::bytes_read() - read) as f64 / 1024.0;
            let per_get = |sum: f64| sum / f64::from(count);
            (per_get(start.elapsed().as_secs_f64() * 1e6), per_get(read))
        };
        gets();
        let cost = gets();
        drop(reader);
        drop(engine);
        let parent = group.path().parent().expect("a group above");
        control_group::join(parent).expect("the group that it came from");
        self.engine = Some(E::open(&dir, self.setup));
        Some(cost)
    }

    /// Milliseconds until a database that was closed gives its first value.
    fn open(&mut self, round: u64) -> f64 {
        let requests = self.data.requests(1, None, round);
        self.engine = None;
        let start = Instant::now();
        let engine = E::open(&self.dir.join("random"), self.setup);
        let found = engine.reader().get(&requests.keys[0], |value| {
            assert_eq!(touch(value), requests.checksum, "the first value");
        });
        let ms = start.elapsed().as_secs_f64() * 1e3;
        assert!(found, "the first value");
        self.engine = Some(engine);
        ms
    }
}
