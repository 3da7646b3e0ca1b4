//! What does a get cost once the data outgrows memory, and how much does it read from disk?
//!
//! Data: 8 M rows (`TINYDB_BENCH_ROWS`), compacted, 1 GiB. For each `Access` a process of its own, whose control
//! group allows a quarter of that, starts with nothing in memory and gets random keys: for some
//! seconds until its memory is full, then measured. `/proc/self/io` tells what came from the disk. It
//! needs a disk (`TMPDIR`), the right to make control groups, and `dd`; else it says what is missing.
//!
//! As a test: a small table, no limit, in this process; the answers are checked.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use tinydb::{Access, Durability, Options};

#[path = "control_group/mod.rs"]
mod control_group;
#[path = "data/mod.rs"]
mod data;

use control_group::Group;
use data::{KEY_LEN, VALUE_LEN, fill, is_test, key, touch, value};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tells a process that it is to measure: the name of the access mode.
const ROLE: &str = "TINYDB_BEYOND_MEMORY";
const MODES: [(&str, Access); 3] = [
    ("Auto", Access::Auto),
    ("Resident", Access::Resident),
    ("BeyondMemory", Access::BeyondMemory),
];
/// No mode: 8 KiB of the tables are read at random places, without a map, for comparison.
const DISK: &str = "disk";
const SCAN_LEN: usize = 100;
const BLOCK: u64 = 8 << 10;

fn rows() -> usize {
    let is_set = is_test() || env::var_os("TINYDB_BENCH_ROWS").is_some();
    if is_set { data::rows() } else { 8_000_000 }
}

/// Tables as they are by default.
fn options() -> Options {
    Options::new().durability(Durability::Buffered)
}

fn main() -> Outcome<()> {
    if let Ok(mode) = env::var(ROLE) {
        let (path, group) = (env::var("DATABASE")?, env::var("GROUP")?);
        control_group::join(Path::new(&group))?;
        let time = Duration::from_secs(8);
        if mode == DISK {
            return measure_disk(Path::new(&path), time);
        }
        return measure(&mode, Path::new(&path), time);
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("db");
    let db = options().open(&path)?;
    fill(&db, rows());
    db.compact()?;
    let len: u64 = db.stats().levels.iter().map(|level| level.bytes).sum();
    db.close()?;
    println!("{} rows of {} bytes, {} MiB of tables", rows(), KEY_LEN + VALUE_LEN, len >> 20);
    if is_test() {
        return MODES.iter().try_for_each(|(mode, _)| measure(mode, &path, Duration::ZERO));
    }
    let group = match Group::new(len / 4) {
        Ok(group) => group,
        Err(error) => {
            println!("skipped: no control group with a limit of memory can be made: {error}");
            return Ok(());
        }
    };
    println!("memory for {} MiB", (len / 4) >> 20);
    for mode in MODES.map(|(mode, _)| mode).into_iter().chain([DISK]) {
        forget(&path)?;
        let status = Command::new(env::current_exe()?)
            .env(ROLE, mode)
            .env("DATABASE", &path)
            .env("GROUP", group.path())
            .arg("--bench")
            .status()?;
        if !status.success() {
            return Err(format!("{mode}: {status}").into());
        }
    }
    Ok(())
}

/// Gets random keys for `time` to fill the memory, then as long again, and prints what that cost.
fn measure(mode: &str, path: &Path, time: Duration) -> Outcome<()> {
    let wanted = MODES.iter().find(|(name, _)| *name == mode).ok_or("no such mode")?;
    let db = options().access(wanted.1).open(path)?;
    let snapshot = db.snapshot();
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut get = || {
        let row = rng.below(rows());
        let found = snapshot.get(key(row)).expect("a sound table").expect("the row is there");
        assert_eq!(*found, value(row));
        touch(&found);
    };
    let _ = repeat(time, &mut get);
    let gets = repeat(time, &mut get);
    let mut rng = Rng(7);
    let mut scan = || {
        let start = rng.below(rows() - SCAN_LEN);
        let range = snapshot.range(key(start)..).take(SCAN_LEN);
        let values = range.map(|row| touch(row.expect("a sound table").value()));
        assert!(values.sum::<u64>() > 0);
    };
    let scans = repeat(time / 4, &mut scan);
    let access = db.stats().access;
    println!("{mode:12}  get        {gets}  ({:?}, {:?})", access.chosen, access.reason);
    println!("{:12}  100 rows   {scans}", "");
    db.close()?;
    Ok(())
}

/// Reads blocks of the tables at random places, and prints what that costs.
fn measure_disk(path: &Path, time: Duration) -> Outcome<()> {
    let mut files = Vec::new();
    for file in fs::read_dir(path)? {
        let path = file?.path();
        if path.to_string_lossy().contains("TABLE") {
            let block_count = usize::try_from(fs::metadata(&path)?.len() / BLOCK)?;
            files.push((fs::File::open(path)?, block_count));
        }
    }
    let mut rng = Rng(3);
    let mut buffer = [0; BLOCK as usize];
    let mut read = || {
        let (file, block_count) = &files[rng.below(files.len())];
        let at = rng.below(*block_count) as u64 * BLOCK;
        file.read_exact_at(&mut buffer, at).expect("a whole block");
    };
    let _ = repeat(time, &mut read);
    println!("{DISK:12}  8 KiB      {}", repeat(time, &mut read));
    Ok(())
}

/// What one call cost.
struct Cost {
    micros: f64,
    bytes: f64,
    faults: f64,
    count: u32,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { micros, bytes, faults, count } = self;
        write!(f, "{micros:9.1} µs  {bytes:9.0} B read  {faults:5.2} major faults  of {count:7}")
    }
}

/// Repeats something for some time, but at least 200 times.
fn repeat(time: Duration, work: &mut dyn FnMut()) -> Cost {
    let (bytes, faults) = (read_bytes(), major_faults());
    let start = Instant::now();
    let mut count = 0;
    while count < 200 || start.elapsed() < time {
        work();
        count += 1;
    }
    let per_call = |sum: f64| sum / f64::from(count);
    Cost {
        micros: per_call(start.elapsed().as_secs_f64() * 1e6),
        bytes: per_call((read_bytes() - bytes) as f64),
        faults: per_call((major_faults() - faults) as f64),
        count,
    }
}

/// Bytes that this process has read from disk; 0 where the system doesn't tell.
fn read_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn major_faults() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(9).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Takes the tables out of the page cache.
fn forget(path: &Path) -> Outcome<()> {
    for file in fs::read_dir(path)? {
        let mut input = std::ffi::OsString::from("if=");
        input.push(file?.path());
        let done = Command::new("dd").arg(input).args(["iflag=nocache", "count=0"]).output()?;
        if !done.status.success() {
            return Err(format!("dd: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
    }
    Ok(())
}

/// A generator of requests: xorshift.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % end.max(1)
    }
}
