//! Damage of every kind, at every place of every kind of file: no wrong answer, no panic, and errors that
//! name the file.
//!
//! A database with tables in two levels, range tombstones, operands, rows that expire, two manifests
//! and two logs, which was killed, or a log, which was closed, is copied, one file of the copy is damaged,
//! and everything that a user may ask is asked. What counts as wrong: an answer that no prefix of the acknowledged writes gives; that batches
//! are missing without a word; that damage to a table or the manifest goes unnoticed by all reads and
//! by `verify`. What bytes say that were given right checksums again may be any, but no panic.
//!
//! The cases are numbered; `TINYDB_TEST_RUNS` of them are tried, spread evenly over each file, and all of
//! them if it is large.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tinydb::internals::file_name::FileName;
use tinydb::internals::log::LogInfo;
use tinydb::internals::{CrashMode, SimDisk, Storage};
use tinydb::{ChecksumPolicy, Db, Entry, Error, Options, ReadMode, Result, Snapshot, merge};

use change::{Change, Scale};

use crate::python::decoded::blocks_of_table;
use crate::sums::{Sum, sums_of_log, sums_of_manifest, sums_of_table};
use crate::support::{Draw, GUARDED, ManualClock, first_seed, runs};
use crate::workload::Step::{Compact, Flush, Sync, Write};
use crate::workload::{History, Rows, Script, Step, open};

const BUFFERED: Step = Write(tinydb::Durability::Buffered);

type Files = BTreeMap<FileName, Vec<u8>>;

fn options() -> Options {
    Options::new()
        .merge_operator(merge::Append::new("+"))
        .background_threads(0)
        .clock(ManualClock::default())
        .memtable_size(64 << 10)
        .block_size(1 << 10)
}

/// A database as it is found, and what it should say.
struct Image {
    script: Script,
    files: Files,
    /// The newest batch in the tables.
    flushed: usize,
    /// The newest batch of all.
    full: usize,
    /// Whether it was closed, so that all of its log is proved.
    is_closed: bool,
    keys: BTreeSet<Vec<u8>>,
    sums: BTreeMap<FileName, Vec<Sum>>,
}

impl Image {
    /// Killed when there are two logs. The values are so long that they lie beside the blocks.
    fn killed() -> Self {
        let mut steps = vec![BUFFERED; 8];
        steps.extend([Compact, BUFFERED, BUFFERED, Flush, BUFFERED, BUFFERED, BUFFERED, Flush]);
        let flushed = write_count(&steps);
        // Then a log that is synced, and one that a range delete begins.
        steps.extend([BUFFERED, Sync, BUFFERED, BUFFERED, BUFFERED, BUFFERED]);
        let script = Script::new(&steps, 900);
        // Those with a record or more.
        let logs_in = |disk: &SimDisk| {
            let is_log = |name: &FileName| matches!(name, FileName::Log(_));
            let logs = disk.file_names().into_iter().filter(is_log);
            logs.filter(|name| disk.read_file(*name).unwrap().len() > 500).count()
        };
        // Killed when the second log is there and the memtable of the first is not flushed.
        let disk = (0..).find_map(|call| {
            let (disk, mut history) = (SimDisk::new(1), History::default());
            disk.crash_at(call, CrashMode::Kill);
            let _ = script.run(&disk, &options(), &mut history);
            assert!(disk.is_down(), "there are never two logs");
            (history.acked > flushed && logs_in(&disk) == 2).then_some(disk)
        });
        Self::of(script, &disk.unwrap(), flushed, false)
    }

    /// Closed, so its only log is whole. The values lie in the blocks, of which tables have several.
    fn closed() -> Self {
        let mut steps = vec![BUFFERED; 20];
        steps.extend([Compact, BUFFERED, BUFFERED, BUFFERED, BUFFERED, Flush]);
        steps.extend([BUFFERED, BUFFERED, BUFFERED, BUFFERED, Flush]);
        let flushed = write_count(&steps);
        steps.extend([BUFFERED, BUFFERED]);
        let (script, disk) = (Script::new(&steps, 120), SimDisk::new(2));
        script.run(&disk, &options(), &mut History::default()).unwrap();
        let image = Self::of(script, &disk, flushed, true);
        let is_table = |name: &FileName| matches!(name, FileName::Table(_));
        let tables = image.files.iter().filter(|(name, _)| is_table(name));
        let most = tables.map(|(_, bytes)| blocks_of_table(bytes).len()).max();
        assert!(most >= Some(4), "{most:?} blocks");
        image
    }

    fn of(script: Script, disk: &SimDisk, flushed: usize, is_closed: bool) -> Self {
        let disk = disk.reboot();
        let full = script.check_state(&open(&disk.fork(1), &options()).unwrap());
        assert!(full > flushed);
        let names = disk.file_names();
        let count =
            |wanted: fn(&FileName) -> bool| names.iter().filter(|name| wanted(name)).count();
        assert!(count(|name| matches!(name, FileName::Table(_))) >= 3, "{names:?}");
        assert_eq!(count(|name| matches!(name, FileName::Manifest(_))), 2, "{names:?}");
        let is_needed = |name: &&FileName| !matches!(name, FileName::Tmp(_) | FileName::Lock);
        let read = |name: &FileName| (*name, disk.read_file(*name).unwrap());
        let files: Files = names.iter().filter(is_needed).map(read).collect();
        let keys = (0..=full).flat_map(|number| script.state(number).keys().cloned());
        let absent = ["", "batch", "batch 1 part 00", "zz"].map(|key| key.as_bytes().to_vec());
        let keys = keys.chain(absent).collect();
        let sums = files.iter().map(|(name, bytes)| (*name, sums_of(*name, bytes))).collect();
        Self { script, files, flushed, full, is_closed, keys, sums }
    }
}

fn write_count(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Write(_))).count()
}

fn sums_of(name: FileName, bytes: &[u8]) -> Vec<Sum> {
    match name {
        FileName::Table(_) => sums_of_table(bytes),
        FileName::Manifest(_) => sums_of_manifest(bytes),
        FileName::Log(number) => {
            sums_of_log(bytes, LogInfo::parse(bytes).unwrap().database_id, number)
        }
        _ => Vec::new(),
    }
}

/// What was seen of a damaged database.
struct Seen<'i> {
    image: &'i Image,
    /// The batches after which the database may be: no answer spoke against them.
    possible: Vec<usize>,
    errors: Vec<Error>,
    wrong: Vec<String>,
    /// Whether anything told of the damage.
    was_noticed: bool,
    was_opened: bool,
}

impl Seen<'_> {
    fn fail(&mut self, error: Error) {
        self.was_noticed = true;
        let names_a_file = match &error {
            Error::Corrupt { path, .. }
            | Error::Io { path, .. }
            | Error::UnsupportedFormat { path, .. }
            | Error::NotADatabase { path, .. } => path.starts_with("simulated"),
            // After an error that was told.
            Error::Poisoned { .. } => !self.errors.is_empty(),
            _ => false,
        };
        if !names_a_file {
            self.wrong.push(format!("an error that names no file: {error:?}"));
        }
        self.errors.push(error);
    }

    /// Drops the states that speak against an answer.
    fn answer(&mut self, what: impl FnOnce() -> String, agrees: impl Fn(&Rows) -> bool) {
        let before = self.possible.clone();
        let script = &self.image.script;
        self.possible.retain(|number| agrees(script.state(*number)));
        if self.possible.is_empty() {
            self.wrong.push(what());
            self.possible = before;
        }
    }

    fn look(&mut self, snapshot: &Snapshot) {
        for key in &self.image.keys {
            match snapshot.get(key) {
                Ok(found) => self.answer(
                    || format!("get of {:?}", key.escape_ascii().to_string()),
                    |rows| rows.get(key).map(Vec::as_slice) == found.as_deref(),
                ),
                Err(error) => self.fail(error),
            }
        }
        self.scan(snapshot.iter(), false);
        self.scan(snapshot.iter().rev(), true);
    }

    /// All rows up to the first error.
    fn scan<'s>(&mut self, entries: impl Iterator<Item = Result<Entry<'s>>>, is_backward: bool) {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut is_whole = true;
        for entry in entries {
            match entry {
                Ok(entry) => found.push((entry.key().to_vec(), entry.value().to_vec())),
                Err(error) => {
                    is_whole = false;
                    self.fail(error);
                }
            }
        }
        found.retain(|(key, _)| key != NEW);
        let found: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
        self.answer(
            || format!("a scan, backward: {is_backward}"),
            |state| {
                let mut want: Vec<_> =
                    state.iter().map(|(key, value)| (&**key, &**value)).collect();
                if is_backward {
                    want.reverse();
                }
                if is_whole { want == found } else { want.starts_with(&found) }
            },
        );
    }

    /// Everything that a user may do with it.
    fn use_it(&mut self, disk: &SimDisk, options: &Options) -> Result<()> {
        let db = open(disk, options)?;
        self.was_opened = true;
        let recovery = db.stats().recovery;
        let was_told = recovery.stopped_at.is_some() || recovery.dropped_bytes > 0;
        self.was_noticed |= was_told;
        let snapshot = db.snapshot();
        self.look(&snapshot);
        match db.verify() {
            Ok(report) => self.was_noticed |= !report.is_ok(),
            Err(error) => self.fail(error),
        }
        // What a compaction reads is what it leaves.
        if let Err(error) = db.compact() {
            self.fail(error);
        }
        self.look(&snapshot);
        self.look(&db.snapshot());
        let is_written = db.put(NEW, "row").map_err(|error| self.fail(error)).is_ok();
        db.close()?;
        let db: Db = open(disk, options)?;
        self.look(&db.snapshot());
        match db.get(NEW) {
            Ok(found) if found.is_some() != is_written && is_written => {
                self.wrong.push("an acknowledged row is gone".to_owned());
            }
            Ok(_) => {}
            Err(error) => self.fail(error),
        }
        db.close()
    }
}

/// How many cases a push tries.
pub(crate) const RUNS: u64 = 4_000;

const NEW: &[u8] = b"zzz new";

/// Figures of a campaign.
#[derive(Default)]
struct Counts {
    tried: u64,
    refused: u64,
    unnoticed: u64,
    bad: Vec<String>,
}

/// Damages a file, with right checksums or not, and uses the database.
fn check(
    image: &Image,
    index: usize,
    name: FileName,
    change: Change,
    seals: bool,
    counts: &mut Counts,
) {
    let mut files = image.files.clone();
    if !change.apply(&mut files, name) {
        return;
    }
    if seals && let Some(bytes) = files.get_mut(&name) {
        image.sums[&name].iter().for_each(|sum| sum.make_right(bytes));
    }
    let disk = SimDisk::new(index as u64);
    disk.create_root().unwrap();
    for (name, bytes) in files {
        disk.write_file(name, bytes);
    }
    let options = match index % 3 {
        0 if index % 2 == 1 => options().read_mode(GUARDED),
        0 => options(),
        1 => options().read_mode(ReadMode::Heap).checksums(ChecksumPolicy::Always),
        _ => options().untrusted(true),
    };
    let mut seen = Seen {
        image,
        possible: (image.flushed..=image.full).collect(),
        errors: Vec::new(),
        wrong: Vec::new(),
        was_noticed: false,
        was_opened: false,
    };
    let done = catch_unwind(AssertUnwindSafe(|| {
        if let Err(error) = seen.use_it(&disk, &options) {
            seen.fail(error);
        }
    }));
    counts.tried += 1;
    counts.refused += u64::from(!seen.errors.is_empty());
    let mut bad = Vec::new();
    let is_late = |error: &Error| matches!(error, Error::Corrupt { .. });
    if index % 3 == 2 && seen.was_opened && seen.errors.iter().any(is_late) {
        bad.push(format!("an untrusted file was believed: {:?}", seen.errors[0]));
    }
    if done.is_err() {
        bad.push("a panic".to_owned());
    }
    if !seals {
        bad.append(&mut seen.wrong);
        let is_log = matches!(name, FileName::Log(_))
            || matches!(change, Change::SwapWith(FileName::Log(_)));
        let lost = !seen.possible.contains(&image.full);
        // Nothing tells a log that was cut between two records from a shorter one, and nothing names
        // the newest log: without it the database is as it was before that was begun.
        let newest_log = image.files.keys().rfind(|name| matches!(name, FileName::Log(_)));
        let is_silent = is_log && matches!(change, Change::Cut { .. })
            || Some(&name) == newest_log && matches!(change, Change::Gone);
        if lost && !seen.was_noticed && !is_silent {
            bad.push("batches are missing without a word".to_owned());
        }
        // A torn tail is told by figures alone; but a log that was closed says that it had none.
        let is_byte = change.scale() == Scale::Byte && !matches!(change, Change::Cut { .. });
        if lost && is_byte && image.is_closed && seen.errors.is_empty() {
            bad.push("batches are missing that were proved durable".to_owned());
        }
        let newest = image.files.keys().rfind(|name| matches!(name, FileName::Manifest(_)));
        let is_vital = matches!(name, FileName::Table(_)) || Some(&name) == newest;
        let is_copy = matches!(change, Change::CopyAs(_));
        counts.unnoticed += u64::from(!seen.was_noticed);
        if is_vital && !is_copy && !seen.was_noticed {
            bad.push("nothing tells of it".to_owned());
        }
    }
    let what = || format!("case {index}: {name} {change:?}, sealed {seals}: {}", bad.join("; "));
    if !bad.is_empty() {
        counts.bad.push(what());
    }
}

/// Everything that can be damaged, and which cases are tried.
pub(crate) struct Sweep {
    images: [Image; 2],
    /// What is done to which file of which image.
    changes: Vec<(usize, FileName, Change)>,
    /// Places in `changes`, in no order.
    cases: Vec<usize>,
}

impl Sweep {
    /// About so many cases: all that change whole files or blocks, and of changes of a byte and of a
    /// sector equally many for each file, however long it is.
    pub(crate) fn new(count: u64) -> Self {
        let images = [Image::killed(), Image::closed()];
        let mut changes = Vec::new();
        for (which, image) in images.iter().enumerate() {
            let all = Change::all(&image.files).into_iter();
            changes.extend(all.map(|(name, change)| (which, name, change)));
        }
        let (mut cases, mut groups) = (Vec::new(), BTreeMap::<_, Vec<usize>>::new());
        for (index, (which, name, change)) in changes.iter().enumerate() {
            match change.scale() {
                Scale::Whole => cases.push(index),
                scale => groups.entry((scale, which, name)).or_default().push(index),
            }
        }
        let rest = usize::try_from(count).unwrap().saturating_sub(cases.len());
        let share = (rest / groups.len()).max(1);
        for group in groups.values() {
            let step = step_through(group.len(), share);
            let first = usize::try_from(first_seed()).unwrap() % step;
            cases.extend(group.iter().skip(first).step_by(step));
        }
        let mut draw = Draw::new(first_seed());
        for end in (1..cases.len()).rev() {
            cases.swap(end, draw.below(end + 1));
        }
        Self { images, changes, cases }
    }

    fn check(&self, case: usize, seals: bool, counts: &mut Counts) {
        let (which, name, change) = self.changes[case];
        check(&self.images[which], case, name, change, seals, counts);
    }

    /// Damages a file as one of the cases says, and wants no complaint.
    #[cfg(feature = "mutants")]
    pub(crate) fn check_one(&self, number: u64) {
        let Some(case) = self.cases.get(usize::try_from(number).unwrap()) else { return };
        let mut counts = Counts::default();
        self.check(*case, false, &mut counts);
        assert!(counts.bad.is_empty(), "{:?}", counts.bad);
    }
}

/// Which part of so many cases is tried. Kinds of damage take turns; a step of the same rhythm would
/// always meet the same one.
fn step_through(len: usize, most: usize) -> usize {
    let step = (len / most).max(1);
    let meets_all = |step: &usize| [2_usize, 3, 5].iter().all(|turn| !step.is_multiple_of(*turn));
    (step..step + 30).find(meets_all).unwrap_or(1)
}

#[track_caller]
fn sweep(seals: bool) {
    let sweep = Sweep::new(runs(RUNS));
    let mut counts = Counts::default();
    for case in &sweep.cases {
        sweep.check(*case, seals, &mut counts);
    }
    let Counts { tried, refused, unnoticed, bad } = &counts;
    let files = || sweep.images.iter().flat_map(|image| image.files.values());
    let bytes: usize = files().map(Vec::len).sum();
    println!(
        "{bytes} bytes in {} files, {} cases, {tried} tried: {refused} with errors, {unnoticed} \
         without a trace, {} wrong",
        files().count(),
        sweep.changes.len(),
        bad.len(),
    );
    assert!(bad.is_empty(), "{} of {tried}:\n{}", bad.len(), bad[..bad.len().min(20)].join("\n"));
}

#[test]
fn damage_is_told_and_never_read_as_data() {
    sweep(false);
}

#[test]
fn damage_under_right_checksums_is_no_panic() {
    sweep(true);
}
