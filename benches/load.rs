//! What does loading a database cost, down to one sorted run?
//!
//! Data: one million rows in random order in batches of 100, `Buffered`, default options; then
//! `wait_idle`. Counts the bytes that were written, the slowest batch, the CPU time per row, the
//! size on disk, the memory, and a get straight after the load against one after `compact`.
//! `TINYDB_BENCH_ROWS=10000000` does it with ten million.
//!
//! Then the same rows in the order of their keys: in batches of 1,000, and through a `TableWriter` and
//! an ingest, with the CPU time of a row for each; the ingest is durable, the batches are flushed.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tinydb::{Db, Durability, Options, Snapshot, Stats, TableWriter, WriteBatch};

#[path = "data/mod.rs"]
mod data;

use data::{KEY_LEN, Requests, VALUE_LEN, key, rows, touch, value};

/// CPU time of all threads of this process so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses: user and system time are the 12th and 13th field, in ticks
    // of 10 ms on every Linux.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The most anonymous memory that is in use now, in MiB.
fn anonymous_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

/// Batches of 100 rows, made before the clock starts.
fn order(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(count).expect("at most 4 billion")).collect();
    order.shuffle(&mut StdRng::seed_from_u64(3));
    order
}

/// How long this thread was ready to run and had no processor so far: Linux counts it.
fn time_without_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let delay = stat.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(delay.unwrap_or(0))
}

/// What a load was like for its writer.
struct Load {
    /// The slowest batch, and how much of that the writer spent waiting for a processor.
    slowest: (Duration, Duration),
    /// The most anonymous memory, in MiB.
    memory: u64,
}

/// Writes all rows.
fn load(db: &Db, order: &[u32]) -> Load {
    let (mut slowest, mut memory) = ((Duration::ZERO, Duration::ZERO), 0);
    let mut batch = WriteBatch::new();
    for (number, rows) in order.chunks(100).enumerate() {
        batch.clear();
        for row in rows {
            batch.put(key(*row as usize), value(*row as usize));
        }
        let (without_cpu, start) = (time_without_cpu(), Instant::now());
        db.write(&batch).expect("a write");
        let time = start.elapsed();
        if time > slowest.0 {
            slowest = (time, time_without_cpu().saturating_sub(without_cpu));
        }
        if number.is_multiple_of(1_000) {
            memory = memory.max(anonymous_mib());
        }
    }
    Load { slowest, memory }
}

/// Nanoseconds of a get, over some random keys.
fn get_time(snapshot: &Snapshot, requests: &Requests, count: usize) -> f64 {
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        for key in requests.iter().take(count) {
            let found = snapshot.get(key).expect("a sound table");
            black_box(found.map_or(0, |value| touch(&value)));
        }
        times.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    times.sort_by(f64::total_cmp);
    times[1]
}

fn report() {
    let count = rows();
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let order = order(count);
    let db = Options::new()
        .durability(Durability::Buffered)
        .open(dir.path().join("db"))
        .expect("a fresh database");
    let (cpu, start) = (cpu_time(), Instant::now());
    let Load { slowest, mut memory } = load(&db, &order);
    let (loaded, foreground) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    let requests = Requests::new(count, key);
    let samples = count.min(200_000);
    let straight = get_time(&db.snapshot(), &requests, samples);
    let levels = db.stats().levels;
    let runs_straight = levels.iter().map(|level| if level.level == 0 { level.tables } else { 1 });
    let runs_straight: u64 = runs_straight.sum();
    let cpu_before_rest = cpu_time();
    db.wait_idle().expect("rest");
    let rested = start.elapsed();
    let background = cpu_time().saturating_sub(cpu_before_rest);
    memory = memory.max(anonymous_mib());
    let written = db.stats().written;
    let user_bytes = (count * (KEY_LEN + VALUE_LEN)) as f64;
    let stats = db.stats();
    let files = std::fs::read_dir(dir.path().join("db")).expect("the directory").flatten();
    let size: u64 = files.map(|file| file.metadata().map_or(0, |file| file.len())).sum();
    let idle = get_time(&db.snapshot(), &requests, samples);
    db.compact().expect("a compaction");
    let compacted = get_time(&db.snapshot(), &requests, samples);
    let ns = |time: Duration| time.as_nanos() as f64 / count as f64;
    println!("rows                     {count}");
    println!("load                     {:.2} s, {:.0} ns a row", loaded.as_secs_f64(), ns(loaded));
    println!("down to rest             {:.2} s", rested.as_secs_f64());
    println!("CPU of the load          {:.0} ns a row, all threads", ns(foreground));
    println!("CPU from there to rest   {:.0} ns a row", ns(background));
    println!(
        "slowest batch            {:.1} ms, {:.1} of it without a processor (goal 30)",
        slowest.0.as_secs_f64() * 1e3,
        slowest.1.as_secs_f64() * 1e3
    );
    println!(
        "writers waited           {:.2} s, stopped {}",
        written.waited.as_secs_f64(),
        written.stop_count
    );
    println!(
        "bytes written            {:.2} x user bytes (goal 3.2, 6 for ten million): log {:.2}, flush {:.2}, merge {:.2}",
        written.amplification(),
        written.log_bytes as f64 / user_bytes,
        written.flushed_bytes as f64 / user_bytes,
        written.compacted_bytes as f64 / user_bytes,
    );
    println!(
        "size on disk             {:.3} x user bytes, log included (goal 1.1)",
        size as f64 / user_bytes
    );
    println!(
        "runs                     {runs_straight} tables and levels after the load, {} levels at rest",
        stats.levels.len()
    );
    println!(
        "anonymous memory, most   {memory} MiB (the bench's own {} MiB)",
        (order.len() * 27) >> 20
    );
    println!(
        "get straight / rested / compacted {straight:.0} / {idle:.0} / {compacted:.0} ns: {:.2} (goal 1.5)",
        straight / compacted
    );
    print_jobs(&stats);
}

fn print_jobs(stats: &Stats) {
    for job in &stats.finished_jobs {
        println!(
            "job: {} to level {}, {} tables, {} → {} MiB, {:.2} s",
            job.reason,
            job.output_level,
            job.input_tables,
            job.input_bytes >> 20,
            job.output_bytes >> 20,
            job.duration.as_secs_f64()
        );
    }
}

/// CPU and wall time of a row of a step that takes in so many.
fn step<T>(name: &str, count: usize, step: impl FnOnce() -> T) -> T {
    let (cpu, start) = (cpu_time(), Instant::now());
    let done = step();
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    let ns = |time: Duration| time.as_nanos() as f64 / count as f64;
    println!("{name:<24} {:.0} ns a row, {:.0} of a processor", ns(wall), ns(cpu));
    done
}

/// The rows in the order of their keys. They are made before any clock starts.
fn report_sorted() {
    let count = rows();
    let rows: Vec<_> = (0..count).map(|row| (key(row), value(row))).collect();
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let open = |name: &str| {
        let options = Options::new().durability(Durability::Buffered);
        options.open(dir.path().join(name)).expect("a fresh database")
    };
    let db = open("batches");
    step("sorted, in batches", count, || {
        let mut batch = WriteBatch::new();
        for rows in rows.chunks(1_000) {
            batch.clear();
            for (key, value) in rows {
                batch.put(key, value);
            }
            db.write(&batch).expect("a write");
        }
        db.flush().expect("a flush");
    });
    let (db, path) = (open("ingested"), dir.path().join("rows.table"));
    step("sorted, TableWriter", count, || {
        let mut writer = TableWriter::create(&path, &Options::new()).expect("a free path");
        for (key, value) in &rows {
            writer.put(key, value).expect("a larger key");
        }
        writer.finish().expect("a table");
    });
    step("sorted, and ingest", count, || db.ingest(&[&path]).expect("a sound table"));
    let levels = db.stats().levels;
    let tables: u64 = levels.iter().map(|level| level.tables).sum();
    println!("runs                     {} levels, {tables} tables", levels.len());
}

fn write_batch(c: &mut Criterion) {
    report();
    report_sorted();
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let options = Options::new().durability(Durability::Buffered);
    let db = options.open(dir.path().join("db")).expect("a fresh database");
    let mut order = order(rows()).into_iter().cycle();
    let mut batch = WriteBatch::new();
    c.bench_function("load/batch_of_100", |b| {
        b.iter(|| {
            batch.clear();
            for row in order.by_ref().take(100) {
                batch.put(key(row as usize), value(row as usize));
            }
            db.write(&batch).expect("a write");
        });
    });
}

criterion_group!(benches, write_batch);
criterion_main!(benches);
