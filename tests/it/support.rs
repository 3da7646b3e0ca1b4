//! What the suites share: chance, time, places to put a database, and how often to run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tinydb::internals::file_name::FileName;
use tinydb::internals::{Disk, SimDisk, Storage};
use tinydb::{ChecksumPolicy, Clock, CompactionStyle, Db, Durability, Options, ReadMode, Result};

/// How many random runs a test makes: `TINYDB_TEST_RUNS`, or this many.
pub(crate) fn runs(default: u64) -> u64 {
    let wanted = std::env::var("TINYDB_TEST_RUNS").ok();
    wanted.map_or(default, |runs| runs.parse().expect("TINYDB_TEST_RUNS is a number"))
}

/// The seed of the first run: `TINYDB_TEST_SEED`, or 1.
pub(crate) fn first_seed() -> u64 {
    let wanted = std::env::var("TINYDB_TEST_SEED").ok();
    wanted.map_or(1, |seed| seed.parse().expect("TINYDB_TEST_SEED is a number"))
}

/// Says which seed it was, if the test panics while this lives.
pub(crate) struct Seed(pub(crate) u64, pub(crate) String);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TINYDB_TEST_SEED={} TINYDB_TEST_RUNS=1 shows it again: {}", self.0, self.1);
        }
    }
}

/// Chance from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

/// A clock that a test drives.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn now_secs(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }

    pub(crate) fn go_back(&self, secs: u64) {
        self.0.fetch_sub(secs, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.now_secs())
    }
}

/// A process that runs one test of this binary, which then is the child of another one: it finds what
/// it is to do in its environment. It speaks through a pipe.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).stdout(Stdio::piped());
    command
}

/// What a child says, line by line; of a child that was killed the last one may be cut.
pub(crate) fn lines_of(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

/// Where a database is put.
pub(crate) enum Place {
    Real(TempDir),
    Simulated(SimDisk),
}

impl Place {
    pub(crate) fn real() -> Self {
        Self::Real(tempfile::tempdir().unwrap())
    }

    pub(crate) fn simulated(seed: u64) -> Self {
        Self::Simulated(SimDisk::new(seed))
    }

    pub(crate) fn open(&self, options: Options) -> Result<Db> {
        match self {
            Self::Real(dir) => options.open(dir.path().join("db")),
            Self::Simulated(disk) => Db::open_on(Arc::new(disk.clone()), options),
        }
    }

    pub(crate) fn file_names(&self) -> Vec<FileName> {
        let listing = match self {
            Self::Real(dir) => Disk::new(dir.path().join("db")).list(),
            Self::Simulated(disk) => disk.list(),
        };
        listing.unwrap().unwrap_or_default().files
    }
}

/// A way to open a database; what is not said here stays the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) block_size: usize,
    pub(crate) table_size: u64,
    pub(crate) filter_bits: u8,
    pub(crate) checksums: ChecksumPolicy,
    pub(crate) read_mode: ReadMode,
    pub(crate) background_threads: usize,
    pub(crate) durability: Durability,
    pub(crate) compaction: CompactionStyle,
}

impl Setup {
    /// These options, with memtables so small that flushes happen all the time.
    pub(crate) fn options(&self) -> Options {
        Options::new()
            .memtable_size(64 << 10)
            .block_size(self.block_size)
            .table_size(self.table_size)
            .filter_bits_per_key(self.filter_bits)
            .checksums(self.checksums)
            .read_mode(self.read_mode)
            .background_threads(self.background_threads)
            .durability(self.durability)
            .compaction(self.compaction)
    }
}

/// Guarded maps, where there are any.
pub(crate) const GUARDED: ReadMode =
    if cfg!(target_os = "linux") { ReadMode::Guarded } else { ReadMode::Mmap };

pub(crate) const SETUPS: [Setup; 4] = [
    Setup {
        block_size: 1 << 10,
        table_size: 256 << 10,
        filter_bits: 10,
        checksums: ChecksumPolicy::Once,
        read_mode: ReadMode::Mmap,
        background_threads: 0,
        durability: Durability::Buffered,
        compaction: CompactionStyle::Leveled,
    },
    Setup {
        block_size: 8 << 10,
        table_size: 128 << 20,
        filter_bits: 0,
        checksums: ChecksumPolicy::Always,
        read_mode: ReadMode::Heap,
        background_threads: 2,
        durability: Durability::Buffered,
        compaction: CompactionStyle::SizeTiered,
    },
    Setup {
        block_size: 64 << 10,
        table_size: 256 << 10,
        filter_bits: 3,
        checksums: ChecksumPolicy::Never,
        read_mode: ReadMode::Mmap,
        background_threads: 1,
        durability: Durability::Sync,
        compaction: CompactionStyle::Leveled,
    },
    Setup {
        block_size: 4 << 10,
        table_size: 256 << 10,
        filter_bits: 32,
        checksums: ChecksumPolicy::Once,
        read_mode: GUARDED,
        background_threads: 0,
        durability: Durability::Sync,
        compaction: CompactionStyle::Manual,
    },
];

/// Checks that the directory holds what the database needs, the manifest before, and no more.
#[track_caller]
pub(crate) fn check_directory(names: &[FileName], db: &Db) {
    let count = |wanted: fn(&FileName) -> bool| names.iter().filter(|name| wanted(name)).count();
    assert_eq!(count(|name| matches!(name, FileName::Lock)), 1, "{names:?}");
    check_tables(names, db);
    assert!(count(|name| matches!(name, FileName::Manifest(_))) <= 2, "{names:?}");
    assert!(count(|name| matches!(name, FileName::Log(_))) <= 1, "{names:?}");
}

/// Checks that the directory holds no table that the database does not need, and no part of one.
#[track_caller]
pub(crate) fn check_tables(names: &[FileName], db: &Db) {
    let count = |wanted: fn(&FileName) -> bool| names.iter().filter(|name| wanted(name)).count();
    let tables: u64 = db.stats().levels.iter().map(|level| level.tables).sum();
    assert_eq!(count(|name| matches!(name, FileName::Tmp(_))), 0, "{names:?}");
    assert_eq!(count(|name| matches!(name, FileName::Table(_))) as u64, tables, "{names:?}");
}

/// Everything that a database shows, read forwards.
pub(crate) fn dump(db: &Db) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let pair = |entry: Result<tinydb::Entry<'_>>| {
        entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec()))
    };
    db.iter().map(pair).collect()
}
