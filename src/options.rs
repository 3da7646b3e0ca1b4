//! Options: how a database is opened, and the few choices that a call can make.
//!
//! # Invariants
//!
//! - A setter takes any value and never panics; [`Options::validate`], at opening, names the first
//!   option that is out of its bounds.
//! - Each choice's default is the safe one.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bloomfilter::Bloom;

use crate::error::{Error, Result};
use crate::hooks::{Clock, CompactionFilter, Filter, MergeOperator, Merger, SystemClock};

mod read_mode;

pub use read_mode::ReadMode;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const MEMTABLE_SIZES: RangeInclusive<u64> = 64 * KIB..=4 * GIB;
const TABLE_SIZES: RangeInclusive<u64> = 256 * KIB..=64 * GIB;
const BLOCK_SIZES: RangeInclusive<u64> = KIB..=64 * KIB;
const MAX_FILTER_BITS: u8 = 32;
const MAX_THREAD_COUNT: u64 = 256;

/// How to open a database: a builder that ends in [`open`](Options::open).
///
/// The defaults suit most uses. A value out of its bounds is reported by `open`, which names the
/// option; nothing is created then.
///
/// # Examples
///
/// ```
/// use tinydb::{Durability, Options};
///
/// let options = Options::new()
///     .durability(Durability::Buffered)
///     .memtable_size(16 << 20)
///     .filter_bits_per_key(12);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct Options {
    pub(crate) create_if_missing: bool,
    pub(crate) error_if_exists: bool,
    pub(crate) durability: Durability,
    pub(crate) memtable_size: usize,
    pub(crate) table_size: u64,
    pub(crate) block_size: usize,
    pub(crate) filter: FilterSize,
    pub(crate) checksums: ChecksumPolicy,
    pub(crate) read_mode: ReadMode,
    pub(crate) untrusted: bool,
    pub(crate) access: Access,
    pub(crate) log_recovery: LogRecovery,
    pub(crate) background_threads: usize,
    pub(crate) compaction: CompactionStyle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) merger: Option<Merger>,
    pub(crate) compaction_filter: Option<Filter>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            error_if_exists: false,
            durability: Durability::default(),
            memtable_size: 64 << 20,
            table_size: 128 * MIB,
            block_size: 8 << 10,
            filter: FilterSize::BitsPerKey(10),
            checksums: ChecksumPolicy::default(),
            read_mode: ReadMode::default(),
            untrusted: false,
            access: Access::default(),
            log_recovery: LogRecovery::default(),
            background_threads: 2,
            compaction: CompactionStyle::Leveled,
            clock: Arc::new(SystemClock),
            merger: None,
            compaction_filter: None,
        }
    }
}

impl Options {
    /// Makes the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to make a database where there is none. Default: yes.
    ///
    /// If not, opening a missing one is [`Error::NotFound`], and nothing is created.
    pub fn create_if_missing(self, yes: bool) -> Self {
        Self { create_if_missing: yes, ..self }
    }

    /// Sets whether to refuse a database that exists: [`Error::AlreadyExists`]. Default: no.
    pub fn error_if_exists(self, yes: bool) -> Self {
        Self { error_if_exists: yes, ..self }
    }

    /// Sets what a write must survive once it has returned. Default: [`Durability::Sync`].
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Sets how many bytes of writes are collected in memory before they become a table file.
    /// Default: 64 MiB; 64 KiB to 4 GiB.
    pub fn memtable_size(self, bytes: usize) -> Self {
        Self { memtable_size: bytes, ..self }
    }

    /// Sets the length at which a table file is ended and the next one begun. Default: 128 MiB;
    /// 256 KiB to 64 GiB.
    pub fn table_size(self, bytes: u64) -> Self {
        Self { table_size: bytes, ..self }
    }

    /// Sets the length of a data block, the unit of search and of checksums. Default: 8 KiB; a
    /// power of two, 1 KiB to 64 KiB.
    pub fn block_size(self, bytes: usize) -> Self {
        Self { block_size: bytes, ..self }
    }

    /// Sets the size of the filters that answer for absent keys. Default: 10 bits a key, which
    /// sends about one absent key in a hundred to a table; 0: no filter; at most 32.
    ///
    /// This and [`filter_false_positive_rate`](Self::filter_false_positive_rate) set the same
    /// thing: the later call counts.
    pub fn filter_bits_per_key(self, bits: u8) -> Self {
        let filter = if bits == 0 { FilterSize::None } else { FilterSize::BitsPerKey(bits) };
        Self { filter, ..self }
    }

    /// Sets the size of the filters by the share of absent keys that they may fail to recognise,
    /// with the formula of the `bloomfilter` crate. More than 0 and less than 1; no rate takes more
    /// than 32 bits a key.
    ///
    /// This and [`filter_bits_per_key`](Self::filter_bits_per_key) set the same thing: the later
    /// call counts.
    pub fn filter_false_positive_rate(self, rate: f64) -> Self {
        Self { filter: FilterSize::Rate(rate), ..self }
    }

    /// Sets when block checksums are checked. Default: [`ChecksumPolicy::Once`].
    pub fn checksums(self, policy: ChecksumPolicy) -> Self {
        Self { checksums: policy, ..self }
    }

    /// Sets what "now" means for expiry. Default: the system's clock.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Sets what makes one value of a key's merge operands. Default: none.
    ///
    /// The operator's name is stored when a database is first opened with one. Opening with an
    /// operator of another name is [`Error::InvalidArgument`]; opening without one is fine as long
    /// as no key is read whose newest row is an operand.
    pub fn merge_operator(self, operator: impl MergeOperator) -> Self {
        Self { merger: Some(Merger::new(operator)), ..self }
    }

    /// Sets what decides about values when they are compacted. Default: none, all stay.
    pub fn compaction_filter(self, filter: impl CompactionFilter) -> Self {
        Self { compaction_filter: Some(Filter::new(filter)), ..self }
    }

    /// Sets how table files are read. Default: [`ReadMode::Mmap`].
    pub fn read_mode(self, mode: ReadMode) -> Self {
        Self { read_mode: mode, ..self }
    }

    /// Sets whether the files may be anybody's. Default: `false`.
    ///
    /// If they may, every table is checked whole, by every rule of `format-spec/`, before anything in
    /// it is believed and before anything is changed; a broken rule ends the open with
    /// [`Error::Corrupt`]. Then tables are read with [`ReadMode::Heap`] and
    /// [`ChecksumPolicy::Always`], whatever else was set: a file that somebody changes or cuts while
    /// it is open is an error too, and never a signal.
    ///
    /// # Cost
    ///
    /// The open reads all tables; a get reads and checks a block.
    pub fn untrusted(self, yes: bool) -> Self {
        Self { untrusted: yes, ..self }
    }

    /// What these options come to, once it is known what they are for.
    pub(crate) fn settled(self) -> Self {
        if !self.untrusted {
            return self;
        }
        Self { read_mode: ReadMode::Heap, checksums: ChecksumPolicy::Always, ..self }
    }

    /// Sets whether mapped tables are read as data that fits into memory. Default:
    /// [`Access::Auto`], which finds out.
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Sets what opening does about a damaged log. Default: [`LogRecovery::Strict`].
    pub fn log_recovery(self, recovery: LogRecovery) -> Self {
        Self { log_recovery: recovery, ..self }
    }

    /// Sets how tables are merged. Default: [`CompactionStyle::Leveled`].
    pub fn compaction(self, style: CompactionStyle) -> Self {
        Self { compaction: style, ..self }
    }

    /// Sets how many threads work in the background. Default: 2; at most 256.
    ///
    /// They flush and merge tables; of two and more, one is kept free for flushes. With 0 there are
    /// none: the write that fills the memtable flushes it, and everything else happens only when
    /// called for.
    pub fn background_threads(self, n: usize) -> Self {
        Self { background_threads: n, ..self }
    }

    /// Checks every option's bounds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] names the first bad option, its value and its bounds.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.read_mode == ReadMode::Guarded && !cfg!(target_os = "linux") {
            return Err(Error::invalid("read_mode is Guarded; that needs Linux"));
        }
        check_bounds("memtable_size", self.memtable_size as u64, MEMTABLE_SIZES)?;
        check_bounds("table_size", self.table_size, TABLE_SIZES)?;
        check_bounds("block_size", self.block_size as u64, BLOCK_SIZES)?;
        if !self.block_size.is_power_of_two() {
            return Err(Error::invalid(format!(
                "block_size is {}; it must be a power of two",
                self.block_size
            )));
        }
        if let Some(merger) = &self.merger {
            merger.name()?;
        }
        check_bounds("background_threads", self.background_threads as u64, 0..=MAX_THREAD_COUNT)?;
        match self.filter {
            FilterSize::None => Ok(()),
            FilterSize::BitsPerKey(bits) => {
                check_bounds("filter_bits_per_key", bits.into(), 0..=MAX_FILTER_BITS.into())
            }
            FilterSize::Rate(rate) if rate > 0.0 && rate < 1.0 => Ok(()),
            FilterSize::Rate(rate) => Err(Error::invalid(format!(
                "filter_false_positive_rate is {rate}; it must be more than 0 and less than 1"
            ))),
        }
    }
}

fn check_bounds(option: &str, value: u64, bounds: RangeInclusive<u64>) -> Result<()> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let (low, high) = bounds.into_inner();
    Err(Error::invalid(format!("{option} is {value}; it must be {low} to {high}")))
}

/// How large a table's filter is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FilterSize {
    /// There is none.
    None,
    /// This many bits for each key.
    BitsPerKey(u8),
    /// What this false positive rate needs.
    Rate(f64),
}

impl FilterSize {
    /// How many bits a filter of so many keys takes; 0 is no filter.
    #[must_use]
    pub fn bits_for(self, key_count: u64) -> u64 {
        let most = key_count.saturating_mul(MAX_FILTER_BITS.into());
        match self {
            Self::None => 0,
            Self::BitsPerKey(bits) => key_count.saturating_mul(bits.into()),
            // The crate's formula wants a key and a rate that `validate` lets pass.
            Self::Rate(rate) if key_count == 0 || !(rate > 0.0 && rate < 1.0) => 0,
            Self::Rate(rate) => usize::try_from(key_count).map_or(most, |key_count| {
                let len = Bloom::<[u8]>::compute_bitmap_size(key_count, rate);
                (len as u64).saturating_mul(8).min(most)
            }),
        }
    }
}

/// How much a write that returned must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, also a kill: the write is handed to the operating system. A crash
    /// of the machine may lose the newest writes, never one in the middle.
    Buffered,
    /// The end of the machine: the write is synced to the disk before it returns.
    #[default]
    Sync,
}

/// How a tree keeps itself in shape: when tables are merged, and which.
///
/// It may differ from one opening to the next: each style goes on from what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompactionStyle {
    /// Few sorted runs and little space: levels, each about ten times the one above it. For reads,
    /// and for most uses.
    #[default]
    Leveled,
    /// Few bytes written: runs of like size are merged into the next larger one. Reads look into
    /// more runs, and overwritten rows stay longer.
    SizeTiered,
    /// Nothing is merged unless a call asks for it. Level 0 grows with every flush, and reads look
    /// into each of its tables; writers are not held back for that.
    Manual,
}

/// When the checksums of a table's blocks are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumPolicy {
    /// When a block is first touched after opening: each byte is checked before it is believed,
    /// and later reads pay nothing.
    #[default]
    Once,
    /// At every read. Finds what changes under a live map, at the price of hashing a whole block
    /// for each row.
    Always,
    /// Never, except by `verify`. Damage then reads as wrong data; a damaged structure is still
    /// refused and never a panic.
    Never,
}

/// Whether mapped tables are read as data that fits into memory, or as data that does not.
///
/// It decides about speed alone. Data that stays in memory is read fastest through huge pages, but
/// such a map reads megabytes from disk where a byte is missing: once the data outgrows memory, that
/// is a hundred times too slow. `stats().access` says what is chosen, and why. It means nothing to
/// [`ReadMode::Heap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Chosen, and chosen anew while the database runs: from the size of the tables, the memory of
    /// the machine, the limits of the process's control groups, and how much it reads from disk
    /// again and again. The size counts from half of the memory on.
    #[default]
    Auto,
    /// The data stays in memory: huge pages where the system has them, and much is read at a time.
    Resident,
    /// The data does not fit: a get reads the one block that it needs, in one disk read; a scan
    /// reads ahead; filters and indexes are read when a table is opened. A get of a key that the
    /// tables may have costs a system call, also where its block is in memory.
    BeyondMemory,
}

/// What opening does about a log that is damaged in its middle.
///
/// A torn tail, which a crash leaves, is no damage: the log ends there under both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogRecovery {
    /// Refuses to open, and names the file and the offset.
    #[default]
    Strict,
    /// Keeps the records before the damage and drops the rest; `stats().recovery` says what was
    /// dropped.
    ToFirstCorruption,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_the_safe_choices() {
        let options = Options::new();
        assert!(options.validate().is_ok());
        assert!(options.create_if_missing && !options.error_if_exists);
        assert_eq!(options.durability, Durability::Sync);
        assert_eq!(options.checksums, ChecksumPolicy::Once);
        assert_eq!(options.read_mode, ReadMode::Mmap);
        assert_eq!(options.log_recovery, LogRecovery::Strict);
    }

    #[track_caller]
    fn check(options: &Options, problem: Option<&str>) {
        match (options.validate(), problem) {
            (Ok(()), None) => (),
            (Err(Error::InvalidArgument { reason }), Some(problem)) => assert_eq!(reason, problem),
            (result, _) => panic!("{result:?}, expected {problem:?}"),
        }
    }

    #[test]
    fn bounds_are_inclusive_and_named() {
        let new = Options::new;
        check(&new().memtable_size(64 << 10).table_size(256 << 10), None);
        check(&new().memtable_size(4 << 30).table_size(64 << 30), None);
        check(
            &new().memtable_size((64 << 10) - 1),
            Some("memtable_size is 65535; it must be 65536 to 4294967296"),
        );
        check(
            &new().memtable_size((4 << 30) + 1),
            Some("memtable_size is 4294967297; it must be 65536 to 4294967296"),
        );
        check(&new().table_size(0), Some("table_size is 0; it must be 262144 to 68719476736"));
        check(
            &new().table_size(u64::MAX),
            Some("table_size is 18446744073709551615; it must be 262144 to 68719476736"),
        );
        for shift in 10..=16 {
            check(&new().block_size(1 << shift), None);
        }
        check(&new().block_size(512), Some("block_size is 512; it must be 1024 to 65536"));
        check(&new().block_size(1 << 17), Some("block_size is 131072; it must be 1024 to 65536"));
        check(&new().block_size(3_000), Some("block_size is 3000; it must be a power of two"));
        check(&new().background_threads(0), None);
        check(
            &new().background_threads(257),
            Some("background_threads is 257; it must be 0 to 256"),
        );
        check(&new().filter_bits_per_key(0), None);
        check(&new().filter_bits_per_key(32), None);
        check(
            &new().filter_bits_per_key(33),
            Some("filter_bits_per_key is 33; it must be 0 to 32"),
        );
        check(&new().filter_false_positive_rate(1e-9), None);
        for rate in [0.0, 1.0, -0.5, 7.0, f64::NAN, f64::INFINITY] {
            let problem = format!(
                "filter_false_positive_rate is {rate}; it must be more than 0 and less than 1"
            );
            check(&new().filter_false_positive_rate(rate), Some(&problem));
        }
    }

    #[test]
    fn the_later_filter_option_counts() {
        let new = Options::new;
        let rate = new().filter_bits_per_key(33).filter_false_positive_rate(0.01);
        assert_eq!(rate.filter, FilterSize::Rate(0.01));
        let none = new().filter_false_positive_rate(2.0).filter_bits_per_key(0);
        assert_eq!(none.filter, FilterSize::None);
    }

    #[test]
    fn filters_are_sized_by_bits_or_by_the_crates_formula() {
        let by_rate = |rate| FilterSize::Rate(rate).bits_for(1_000_000) / 1_000_000;
        assert_eq!(FilterSize::None.bits_for(1_000), 0);
        assert_eq!(FilterSize::BitsPerKey(10).bits_for(1_000), 10_000);
        assert_eq!(FilterSize::BitsPerKey(32).bits_for(u64::MAX), u64::MAX);
        assert_eq!(FilterSize::Rate(0.01).bits_for(0), 0);
        assert_eq!(by_rate(0.01), 9, "log2(e) * log2(100) = 9.6");
        assert_eq!(by_rate(0.001), 14, "log2(e) * log2(1000) = 14.4");
        assert_eq!(by_rate(1e-12), 32, "never more than the largest number of bits");
        assert_eq!(FilterSize::Rate(f64::NAN).bits_for(1), 0, "and never a panic");
    }

    #[test]
    fn options_are_shared_between_threads() {
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send_and_sync::<Options>();
    }
}
