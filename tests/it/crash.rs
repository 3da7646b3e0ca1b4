//! Power loss at every call of a small workload, and inside the recovery from it; and every call
//! failing in every way.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tinydb::internals::file_name::FileName;
use tinydb::internals::{CrashMode, Fault, SimDisk};
use tinydb::{CompactionStyle, Db, Durability, Error, Options, ReadMode, merge};

use crate::support::{Draw, GUARDED, ManualClock, Seed, check_tables, first_seed, runs};
use crate::workload::Step::{Compact, Flush, Ingest, Merge, Reopen, Sync, WaitIdle, Write};
use crate::workload::{History, Script, Step, open};

const BUFFERED: Step = Write(Durability::Buffered);
const SYNCED: Step = Write(Durability::Sync);

/// How many workloads there are.
pub(crate) const SCRIPTS: usize = 14;

/// How many random histories a push tries.
pub(crate) const RUNS: u64 = 2_000;

/// Workloads: few batches, both durabilities, logs that are re-logged and logs that are flushed.
fn scripts() -> [Script; SCRIPTS] {
    let small = [BUFFERED, SYNCED, BUFFERED, Sync, BUFFERED, Reopen, SYNCED, BUFFERED, BUFFERED];
    let flushed = [
        BUFFERED, BUFFERED, Flush, SYNCED, Flush, BUFFERED, Reopen, BUFFERED, Flush, BUFFERED, Sync,
    ];
    let large: Vec<_> = (0..16)
        .map(|index| match index % 5 {
            4 => SYNCED,
            _ => BUFFERED,
        })
        .chain([Reopen, BUFFERED, BUFFERED])
        .collect();
    let merged = [
        BUFFERED, Flush, SYNCED, Flush, WaitIdle, BUFFERED, BUFFERED, Compact, SYNCED, Flush,
        Reopen, BUFFERED, Compact, BUFFERED,
    ];
    let turns = |turn: &[Step], count: usize| turn.repeat(count);
    let many_tables = [turns(&[BUFFERED, Flush], 9), vec![WaitIdle, BUFFERED, Compact]].concat();
    let many_opens = turns(&[BUFFERED, SYNCED, Reopen], 5);
    let flushed_and_opened = turns(&[BUFFERED, BUFFERED, Flush, Reopen], 3);
    let compacted_and_opened = turns(&[BUFFERED, Compact, SYNCED, Reopen], 3);
    let synced_and_flushed = turns(&[SYNCED, SYNCED, Flush], 4);
    let rests = turns(&[BUFFERED, Flush, SYNCED, WaitIdle], 4);
    let ingested = [
        BUFFERED, Ingest, SYNCED, BUFFERED, Ingest, Flush, Ingest, BUFFERED, Reopen, Ingest,
        Compact, BUFFERED, Ingest, BUFFERED,
    ];
    [
        Script::new(&small, 30),
        Script::new(&flushed, 200),
        Script::new(&large, 7_000),
        Script::new(&merged, 200),
        Script::new(&many_tables, 60),
        Script::new(&many_opens, 400),
        Script::new(&flushed_and_opened, 20),
        Script::new(&compacted_and_opened, 500),
        Script::new(&synced_and_flushed, 1_500),
        Script::new(&rests, 100),
        // A range delete sets the memtable aside.
        Script::new(&turns(&[BUFFERED], 12), 3_000),
        Script::new(&turns(&[SYNCED], 8), 20_000),
        Script::new(&ingested, 200),
        // The same with small rows: the next log is there before the flush, and short.
        Script::new(&turns(&[BUFFERED], 24), 40),
    ]
}

/// The calls at which something is to happen: all of them for a release, some for every push.
fn some_of(calls: u64, seed: u64) -> impl Iterator<Item = u64> {
    let step = if runs(1) > 1 { 1 } else { 3 };
    (seed % step..calls).step_by(usize::try_from(step).unwrap())
}

fn options() -> Options {
    Options::new()
        .merge_operator(merge::Append::new("+"))
        .background_threads(0)
        // It stands: what expires does when a check says so.
        .clock(ManualClock::default())
        .memtable_size(64 << 10)
        .table_size(256 << 10)
        .block_size(4 << 10)
}

/// Says what was tried, if it panics.
fn named<T>(what: impl FnOnce() -> String, try_it: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(try_it)).unwrap_or_else(|panic| {
        eprintln!("it was: {}", what());
        resume_unwind(panic)
    })
}

/// How many calls the workload makes if nothing goes wrong.
fn calls_of(script: &Script, seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    let mut history = History::default();
    script.run(&disk, &options(), &mut history).unwrap();
    let calls = disk.calls();
    assert_eq!(history.durable, script.batch_count());
    script.check_found_for_good(&disk.reboot(), &options(), history.durable, history.durable);
    calls
}

/// The oldest batch that may be the last one after these crashes.
fn survivor(history: History, modes: &[CrashMode]) -> usize {
    let only_killed = modes.iter().all(|mode| *mode == CrashMode::Kill);
    if only_killed { history.acked } else { history.durable }
}

/// Runs the workload until the power goes.
fn crashed(script: &Script, call: u64, mode: CrashMode, seed: u64) -> (SimDisk, History) {
    let disk = SimDisk::new(seed);
    disk.crash_at(call, mode);
    let mut history = History::default();
    // A failed removal is no error, so a crash in the last one isn't either.
    let _ = script.run(&disk, &options(), &mut history);
    assert!(disk.is_down());
    (disk, history)
}

#[test]
fn a_crash_at_any_call_leaves_a_prefix_that_holds_what_was_durable() {
    let mut points = 0;
    for seed in first_seed()..first_seed() + runs(1) {
        points += (0..SCRIPTS).map(|index| check_every_crash(seed, index)).sum::<u64>();
    }
    println!("{points} crashes");
}

/// Crashes one of the workloads at its calls, in every mode; how often that was.
pub(crate) fn check_every_crash(seed: u64, index: usize) -> u64 {
    let (script, mut points) = (&scripts()[index], 0);
    for call in some_of(calls_of(script, seed), seed) {
        for mode in CrashMode::ALL {
            let what = || format!("seed {seed} script {index} call {call} {mode:?}");
            named(what, || {
                let (disk, history) = crashed(script, call, mode, seed);
                let (disk, upto) = (disk.reboot(), history.attempted);
                let from = survivor(history, &[mode]);
                script.check_found_for_good(&disk, &options(), from, upto);
            });
            points += 1;
        }
    }
    points
}

#[test]
fn what_a_crash_leaves_needs_no_repair() {
    let seed = first_seed();
    for (index, script) in scripts().iter().enumerate() {
        for call in 0..calls_of(script, seed) {
            for mode in CrashMode::ALL {
                let what = || format!("seed {seed} script {index} call {call} {mode:?}");
                named(what, || {
                    let (disk, history) = crashed(script, call, mode, seed);
                    let disk = disk.reboot();
                    match Db::repair_on(Arc::new(disk.clone())) {
                        // A table whose log is lost, but whose writes were never said to be durable,
                        // may be found again.
                        Ok(report) => assert!(
                            report.is_healthy() || report.doubts().len() == 1,
                            "{report:#?}"
                        ),
                        // The first manifest was not there yet.
                        Err(Error::NotFound { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    let from = survivor(history, &[mode]);
                    script.check_found(&disk, &options(), from, history.attempted);
                });
            }
        }
    }
}

/// A crash in the middle of anything, and then the manifests are gone: what a repair does not doubt is
/// as if they were there.
#[test]
fn a_crash_and_the_loss_of_all_manifests_are_repaired_or_in_doubt() {
    let (mut certain, mut doubtful) = (0, 0);
    for seed in first_seed()..first_seed() + runs(1) {
        for (index, script) in scripts().iter().enumerate() {
            for call in 0..calls_of(script, seed) {
                for mode in CrashMode::ALL {
                    let what = || format!("seed {seed} script {index} call {call} {mode:?}");
                    let (disk, history) = crashed(script, call, mode, seed);
                    let disk = disk.reboot();
                    for name in disk.file_names() {
                        if matches!(name, FileName::Manifest(_)) {
                            disk.remove_file(name);
                        }
                    }
                    named(what, || match Db::repair_on(Arc::new(disk.clone())) {
                        Ok(report) if report.is_complete() => {
                            certain += 1;
                            let from = survivor(history, &[mode]);
                            script.check_found(&disk, &options(), from, history.attempted);
                        }
                        Ok(_) => {
                            doubtful += 1;
                            assert!(open(&disk, &options()).unwrap().verify().unwrap().is_ok());
                        }
                        Err(Error::NotFound { .. }) => {}
                        // A log whose header is not whole, and nothing else.
                        Err(error) => {
                            assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
                            assert_eq!(history.durable, 0);
                        }
                    });
                }
            }
        }
    }
    println!("{certain} repairs without a doubt, {doubtful} with one");
    assert!(certain > doubtful);
}

#[test]
fn a_crash_inside_recovery_changes_nothing() {
    let mut crashes = 0;
    for seed in first_seed()..first_seed() + runs(1) {
        let mut draw = Draw::new(seed);
        for (index, script) in scripts().iter().enumerate() {
            for call in some_of(calls_of(script, seed), seed) {
                let mode = *draw.pick(&CrashMode::ALL);
                let (disk, history) = crashed(script, call, mode, seed);
                // What it is without a second crash, and how many calls that takes.
                let calls = {
                    let disk = disk.fork(seed).reboot();
                    drop(open(&disk, &options()).unwrap());
                    disk.calls()
                };
                for second in (0..calls).step_by(if runs(1) > 1 { 1 } else { 3 }) {
                    let fork = disk.fork(draw.next());
                    let mut modes = vec![mode];
                    let what = &mut Vec::new();
                    let what_of = |what: &Vec<_>| {
                        format!("seed {seed} script {index} call {call} {mode:?} then {what:?}")
                    };
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        let mut disk = fork;
                        let mut at = second;
                        while modes.len() < 4 {
                            let mode = *draw.pick(&CrashMode::ALL);
                            modes.push(mode);
                            what.push((at, mode));
                            disk = disk.reboot();
                            disk.crash_at(at, mode);
                            let _ = open(&disk, &options());
                            if !disk.is_down() {
                                break;
                            }
                            crashes += 1;
                            at = draw.next() % calls;
                        }
                        let (disk, upto) = (disk.reboot(), history.attempted);
                        let from = survivor(history, &modes);
                        script.check_found_for_good(&disk, &options(), from, upto);
                    }));
                    if let Err(panic) = result {
                        eprintln!("it was: {}", what_of(what));
                        resume_unwind(panic);
                    }
                }
            }
        }
    }
    println!("{crashes} crashes inside recovery");
}

/// A script of random steps, and options for it.
fn random_script(draw: &mut Draw) -> (Script, Options) {
    let count = 2 + draw.below(40);
    let kinds = [
        BUFFERED, BUFFERED, BUFFERED, BUFFERED, SYNCED, SYNCED, Sync, Flush, Flush, Compact, Merge,
        WaitIdle, Reopen,
    ];
    // Where nothing is called for, range deletes set memtables aside, and there are two logs.
    let writes = [BUFFERED, BUFFERED, BUFFERED, BUFFERED, SYNCED];
    let kinds: &[Step] = if draw.one_in(4) { &writes } else { &kinds };
    let steps: Vec<Step> = (0..count).map(|_| *draw.pick(kinds)).collect();
    let script = Script::new(&steps, *draw.pick(&[4, 40, 400, 2_000, 9_000]));
    let style = *draw.pick(&[
        CompactionStyle::Leveled,
        CompactionStyle::Leveled,
        CompactionStyle::SizeTiered,
        CompactionStyle::Manual,
    ]);
    let options = options()
        .block_size(1 << (10 + draw.below(7)))
        .filter_bits_per_key(*draw.pick(&[0, 10]))
        .read_mode(*draw.pick(&[ReadMode::Mmap, GUARDED, ReadMode::Heap]))
        .compaction(style);
    (script, options)
}

/// A random history with up to six crashes, one in the middle, others inside the recoveries; how
/// many those were.
pub(crate) fn check_random_crashes(seed: u64) -> u64 {
    let _seed = Seed(seed, String::new());
    let mut draw = Draw::new(seed);
    let (script, options) = random_script(&mut draw);
    let calls = {
        let disk = SimDisk::new(seed);
        script.run(&disk, &options, &mut History::default()).unwrap();
        disk.calls()
    };
    let mut disk = SimDisk::new(seed);
    let mut modes = vec![*draw.pick(&CrashMode::ALL)];
    disk.crash_at(draw.next() % calls, modes[0]);
    let mut history = History::default();
    let _ = script.run(&disk, &options, &mut history);
    assert!(disk.is_down());
    while modes.len() < 6 && !draw.one_in(3) {
        let mode = *draw.pick(&CrashMode::ALL);
        disk = disk.reboot();
        disk.crash_at(draw.next() % 24, mode);
        let _ = open(&disk, &options);
        if !disk.is_down() {
            break;
        }
        modes.push(mode);
    }
    let from = survivor(history, &modes);
    script.check_found_for_good(&disk.reboot(), &options, from, history.attempted);
    modes.len() as u64 - 1
}

#[test]
fn random_histories_survive_random_crashes() {
    let seeds = runs(RUNS);
    let in_recovery: u64 = (first_seed()..first_seed() + seeds).map(check_random_crashes).sum();
    println!("{seeds} seeds, {} crashes, {in_recovery} of them in recovery", seeds + in_recovery);
}

/// What ends a run after its faults.
#[derive(Clone, Copy, Debug)]
enum After {
    Kill,
    PowerLoss,
}

#[test]
fn a_call_that_fails_loses_nothing_that_was_acknowledged() {
    let (mut tried, mut told) = (0, 0);
    for seed in first_seed()..first_seed() + runs(1) {
        for index in 0..SCRIPTS {
            let (more_tried, more_told) = check_every_fault(seed, index);
            (tried, told) = (tried + more_tried, told + more_told);
        }
    }
    println!("{tried} faults, {told} of them told by an error");
}

/// Fails the calls of one of the workloads, in every way; how often that was, and how many errors
/// were seen.
pub(crate) fn check_every_fault(seed: u64, index: usize) -> (usize, usize) {
    let (script, mut tried, mut told) = (&scripts()[index], 0, 0);
    for call in some_of(calls_of(script, seed), seed) {
        for fault in Fault::ALL {
            let ways = [
                (false, After::Kill),
                (false, After::PowerLoss),
                (true, After::Kill),
                (true, After::PowerLoss),
            ];
            // A short run takes them in turn.
            let count = if runs(1) > 1 { ways.len() } else { 1 };
            for (lasting, after) in ways.into_iter().cycle().skip(tried % 4).take(count) {
                let what = || {
                    format!(
                        "seed {seed} script {index} call {call} {fault:?} \
                         lasting {lasting} {after:?}"
                    )
                };
                told += named(what, || check_fault(script, seed, call, (fault, lasting), after));
                tried += 1;
            }
        }
    }
    (tried, told)
}

/// Fails a call, or all from it on, and gives how many errors were seen.
fn check_fault(
    script: &Script,
    seed: u64,
    call: u64,
    (fault, lasting): (Fault, bool),
    after: After,
) -> usize {
    let disk = SimDisk::new(seed);
    if lasting {
        disk.fail_from(call, fault);
    } else {
        disk.fail_at(call, fault);
    }
    let mut history = History::default();
    let (failures, closed) = script.insist(&disk, &options(), &mut history);
    // What can't be removed stays until the next opening, as does what comes back with a directory as
    // it was; and what was done in spite of an error is not known to be there.
    let is_removal = disk.failed_call().is_some_and(|call| call.starts_with("remove"));
    let may_stay = lasting || is_removal || matches!(fault, Fault::IoDone | Fault::Reverted);
    if let Some(db) = closed.filter(|_| !may_stay) {
        check_tables(&disk.file_names(), &db);
    }
    if fault == Fault::Short {
        assert_eq!(failures, 0, "a short write is no failure");
        assert_eq!(history.durable, script.batch_count());
    }
    if let After::PowerLoss = after {
        disk.crash(CrashMode::LoseUnsynced);
    }
    let forgets = matches!(fault, Fault::Dropped | Fault::Reverted);
    let from = match after {
        After::Kill if !forgets => history.acked,
        _ => history.durable,
    };
    let disk = disk.reboot();
    script.check_found_for_good(&disk, &options(), from, history.attempted);
    failures
}

#[test]
fn a_log_that_could_not_be_made_hides_no_later_one() {
    for (fault, goes_on) in [(Fault::NoSpace, true), (Fault::IoDone, false)] {
        let disk = SimDisk::new(1);
        let db = open(&disk, &options()).unwrap();
        disk.fail_at(disk.calls(), fault);
        db.put("a", "1").unwrap_err();
        // The file is there all the same: behind it, a log with records would not be read.
        assert_eq!(db.put("b", "2").is_ok(), goes_on, "{fault:?}");
        let db = open(&disk.reboot(), &options()).unwrap();
        assert_eq!(db.get("a").unwrap(), None);
        assert_eq!(db.get("b").unwrap().is_some(), goes_on, "{fault:?}");
    }
}

/// A flush that failed to sync the directory took with it the name of the log that was made
/// meanwhile; the log's own sync then said that all was well.
#[test]
pub(crate) fn a_log_whose_name_another_sync_lost_acknowledges_nothing() {
    for fault in [Fault::Dropped, Fault::Reverted, Fault::Io] {
        for threads in [0, 2] {
            for call in 0..40 {
                let disk = SimDisk::new(1);
                let options =
                    options().durability(Durability::Buffered).background_threads(threads);
                let db = open(&disk, &options).unwrap();
                db.put("a", [b'v'; 5_000]).unwrap();
                disk.fail_at(disk.calls() + call, fault);
                // Sets the memtable aside, and goes into the next log.
                let written = db.delete_range("x".."y").and_then(|()| db.put("b", "2"));
                let synced = written.and_then(|()| db.sync());
                let is_durable = synced.is_ok() && (threads == 0 || db.flush().is_ok());
                disk.crash(CrashMode::LoseUnsynced);
                drop(db);
                if is_durable {
                    let db = open(&disk.reboot(), &options).unwrap();
                    let found = |key| db.get(key).unwrap().is_some();
                    assert!(
                        found("a") && found("b"),
                        "{fault:?} of call {call}, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn what_was_read_after_a_kill_survives_a_power_loss() {
    for call in 0.. {
        let disk = SimDisk::new(1);
        let db = open(&disk, &options().durability(Durability::Buffered)).unwrap();
        db.put("a", "1").unwrap();
        disk.crash_at(disk.calls() + call, CrashMode::Kill);
        // The removal of what is obsolete may be where it ends, and that is no error.
        let _ = db.flush();
        if !disk.is_down() {
            break;
        }
        let disk = disk.reboot();
        let db = open(&disk, &options()).unwrap();
        assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]), "killed at call {call}");
        disk.crash(CrashMode::LoseUnsynced);
        let db = open(&disk.reboot(), &options()).unwrap();
        assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]), "power lost after {call}");
    }
}

#[test]
fn closing_after_a_failed_sync_is_an_error() {
    let disk = SimDisk::new(1);
    let db = open(&disk, &options().durability(Durability::Buffered)).unwrap();
    db.put("a", "1").unwrap();
    disk.fail_at(disk.calls(), Fault::Dropped);
    assert!(matches!(db.sync(), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(db.put("b", "2"), Err(Error::Poisoned { .. })));
    assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]));
    let other = db.clone();
    assert!(matches!(db.close(), Err(Error::Poisoned { .. })));
    other.close().unwrap();
}
