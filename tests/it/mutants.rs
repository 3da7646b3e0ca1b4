//! Every mutant is found by the suites that a push runs.
//!
//! Nothing here looks for a mutant: each suite is one that runs without any in `cargo test`, with the
//! seeds that it has there, and a mutant is found when the suite fails. The table only says where to
//! look first. Whatever found a mutant is then run once more without it, and has to be green.
//!
//! A mutant is on for one thread alone, so only suites that need no other thread take part.
//!
//! `TINYDB_TEST_RUNS` says how many times as long one looks: once for a push. `TINYDB_TEST_MUTANT` names the
//! only one to look for. What `--nocapture` shows is a table, with the panics that found each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tinydb::internals::{Mutant, switch_on};

use crate::api::operators;
use crate::corruption::Sweep;
use crate::support::{first_seed, runs};
use crate::{comeback, corruption, crash, filtered, model, recovery};

use Suite::{Comeback, Crashes, Damage, Decisions, EveryCrash, EveryFault, Operations, Test};

/// Nothing but this test opens a database with another operator.
const OPERATOR: fn() =
    operators::the_name_is_stored_at_the_first_open_with_an_operator_and_survives;

/// This one takes the newest manifest away, and also opens what is left without being strict.
const MANIFEST: fn() = recovery::a_deleted_newest_manifest_is_noticed_by_a_log;

/// This one takes each part of a log away that another one continues. With a crash that needs luck: of
/// two logs that are not synced the older is lost and the newer is not.
const HOLE: fn() =
    recovery::a_log_in_the_middle_that_lost_its_end_is_refused_if_a_later_one_proves_it_whole;

/// This one fails just the sync that takes another log's name along.
const NAME: fn() = crash::a_log_whose_name_another_sync_lost_acknowledges_nothing;

/// A suite that may find a mutant.
#[derive(Clone, Copy, Debug)]
enum Suite {
    /// Random histories with crashes.
    Crashes,
    /// A crash at every call of a workload, in every mode; a seed is a workload.
    EveryCrash,
    /// A fault at every call of a workload, of every kind; a seed is a workload.
    EveryFault,
    /// Damaged files.
    Damage,
    /// Nothing older comes back.
    Comeback,
    /// What a compaction filter decides.
    Decisions,
    /// Random operations against a map.
    Operations,
    /// A test without a seed: some bugs show only where one sets the stage for them.
    Test(fn()),
}

impl Suite {
    /// How many seeds it has on a push.
    const fn seeds(self) -> u64 {
        match self {
            Crashes => crash::RUNS,
            EveryCrash | EveryFault => crash::SCRIPTS as u64,
            Damage => corruption::RUNS,
            Comeback => comeback::RUNS,
            Decisions => filtered::RUNS,
            Operations => model::RUNS,
            Test(_) => 1,
        }
    }

    /// Runs one of its seeds, counted from 0; panics if something is wrong.
    fn run(self, number: u64, sweep: Option<&Sweep>) {
        let seed = first_seed() + number;
        let script = || usize::try_from(number % crash::SCRIPTS as u64).unwrap();
        let round = first_seed() + number / crash::SCRIPTS as u64;
        match self {
            Crashes => drop(crash::check_random_crashes(seed)),
            EveryCrash => drop(crash::check_every_crash(round, script())),
            EveryFault => drop(crash::check_every_fault(round, script())),
            Damage => sweep.into_iter().for_each(|sweep| sweep.check_one(number)),
            Comeback => comeback::check_nothing_comes_back(seed),
            Decisions => filtered::check_decisions(seed),
            Operations => model::check_alone(seed),
            Test(test) => test(),
        }
    }

    fn is_green(self, number: u64, sweep: Option<&Sweep>) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.run(number, sweep))).is_ok()
    }
}

/// Where a mutant is looked for.
const fn hunters(mutant: Mutant) -> &'static [Suite] {
    use Mutant as M;
    match mutant {
        M::AcknowledgeUnsynced
        | M::SkipLogSync
        | M::SkipLogNameSync
        | M::LeaveOlderLogsOpen
        | M::TrustPayload
        | M::ReuseSeqnos
        | M::SkipRecoverySync
        | M::RemoveReplayedLogsEarly
        | M::SkipManifestSync
        | M::SkipManifestNameSync
        | M::SkipTableSync
        | M::KeepFlushedLog
        | M::RemoveFlushedLogEarly
        | M::RemoveInputsEarly
        | M::KeepTombstones => &[Crashes],
        M::SkipTableNameSync => &[EveryCrash],
        M::IgnoreGaps => &[Test(HOLE)],
        M::IgnoreMissingManifest => &[Test(MANIFEST)],
        M::SwallowSyncErrors
        | M::RetryFailedLog
        | M::TakeShortWrites
        | M::KeepFailedTables
        | M::RemoveUnknownTables => &[EveryFault],
        M::ForgetLostNames => &[Test(NAME)],
        M::SealNothing
        | M::TakeDamageForAnEnd
        | M::TrustManifest
        | M::OpenOlderManifest
        | M::TrustBlocks
        | M::UnboundBlocks
        | M::EndAtErrors => &[Damage],
        M::IgnoreOperatorName => &[Test(OPERATOR)],
        M::DropTombstones
        | M::KeepExpired
        | M::FoldOntoExpiring
        | M::LoseRangeTombstones
        | M::DropRangeTombstones
        | M::ShowExpired
        | M::OldestTableFirst => &[Comeback, Operations],
        M::FilterUnderSnapshots => &[Decisions],
        M::LoseOperands | M::SeeTheFuture | M::FilterForgets | M::ShowOlderVersions => {
            &[Operations]
        }
    }
}

/// What found a mutant, and how much was run until then.
struct Found {
    suite: Suite,
    number: u64,
    tried: u64,
}

/// Looks for a mutant, for so many times the seeds of a push.
fn hunt(mutant: Mutant, times: u64) -> Option<Found> {
    let (suites, mut tried) = (hunters(mutant), 0);
    let has_damage = suites.iter().any(|suite| matches!(suite, Damage));
    // The files are made by the mutant, too: it was always there.
    let on = switch_on(mutant);
    let sweep = has_damage.then(|| Sweep::new(times * corruption::RUNS));
    let found = suites.iter().find_map(|suite| {
        let number = (0..suite.seeds() * times).find(|number| {
            tried += 1;
            !suite.is_green(*number, sweep.as_ref())
        });
        number.map(|number| (*suite, number))
    });
    drop(on);
    let (suite, number) = found?;
    let sweep = has_damage.then(|| Sweep::new(times * corruption::RUNS));
    assert!(suite.is_green(number, sweep.as_ref()), "{suite:?} {number} fails without {mutant:?}");
    Some(Found { suite, number, tried })
}

#[test]
fn every_mutant_is_found() {
    let (times, start) = (runs(1), Instant::now());
    let only = std::env::var("TINYDB_TEST_MUTANT").ok();
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let (mut count, mut tried, mut missed) = (0, 0, Vec::new());
    for mutant in Mutant::ALL {
        let (name, began) = (format!("{mutant:?}"), Instant::now());
        if !is_wanted(&name) {
            continue;
        }
        count += 1;
        let found = hunt(*mutant, times);
        let by = match &found {
            Some(Found { suite: Test(_), .. }) => "a test by name".to_owned(),
            Some(Found { suite: suite @ (EveryCrash | EveryFault), number, .. }) => {
                format!("{suite:?}, workload {}", number + 1)
            }
            Some(Found { suite, number, .. }) => format!("{suite:?}, seed {}", number + 1),
            None => "NOT FOUND".to_owned(),
        };
        println!("  {name:24} {by:24} {:6} ms", began.elapsed().as_millis());
        tried += found.as_ref().map_or(0, |found| found.tried);
        missed.extend(found.is_none().then_some(name));
    }
    let (found, seconds) = (count - missed.len(), start.elapsed().as_secs());
    println!("{count} mutants, {found} found in {tried} runs of suites, {seconds} s");
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_mutant_is_on_for_its_own_thread_and_no_longer_than_asked() {
    let is_green = || catch_unwind(OPERATOR).is_ok();
    let on = switch_on(Mutant::IgnoreOperatorName);
    assert!(!is_green());
    assert!(std::thread::spawn(is_green).join().unwrap(), "another thread is spared");
    drop(on);
    assert!(is_green());
}
