//! Repair: a database again, of what is left of one.
//!
//! ```text
//!   lock ─▶ survey ─▶ choose, rescue ─▶ logs ─▶ manifest ─▶ set aside
//!           every     which tables      stay,   renamed:    what can't
//!           file is   form it; what     or are  this counts be used goes
//!           read      is left of them   replayed            into damaged/
//! ```
//!
//! Opening refuses what it can't prove to be whole. A repair takes what is whole, says what it can't
//! vouch for, and leaves a directory that opens.
//!
//! # Invariants
//!
//! - Nothing is deleted, and no file is changed: what can't be used is moved, after the manifest that
//!   does without it is durable.
//! - A crash at any point leaves what opens, or what can be repaired again to the same end.
//! - Of a database that would open and verifies, nothing is touched.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::ManifestData;
use crate::hooks::Clock;
use crate::manifest;
use crate::options::Options;
use crate::storage::{Listing, LockGuard, Storage};

use super::Engine;
use super::open::assemble;
use super::outputs::record_of;
use super::recovery::Replay;

mod choose;
mod logs;
mod order;
mod report;
mod rescue;
mod survey;
mod tell;

pub use report::{Finding, KeptFile, RepairReport, SetAside};

use choose::{Choice, choose};
use logs::{Logs, Salvaged};
use rescue::Rescuer;
use survey::{Survey, Unusable};

/// Repairs the database in `storage`.
///
/// # Errors
///
/// Those of [`Db::repair`](crate::Db::repair).
pub(crate) fn repair(storage: Arc<dyn Storage>) -> Result<RepairReport> {
    look(&*storage, storage.list()?.as_ref())?;
    let guard = storage.lock()?;
    let listing = storage.list()?.unwrap_or_default();
    look(&*storage, Some(&listing))?;
    let survey = Survey::of(&*storage, listing)?;
    let oldest = survey.manifest.as_ref().map_or(0, |manifest| manifest.oldest_log);
    let logs = Logs::of(&*storage, &survey, oldest)?;
    let engine = engine(storage, &survey);
    let rescuer = Rescuer::new(&engine, &survey.identity);
    let choice = choose(&survey, &logs, &rescuer)?;
    let mut repair = Repair {
        storage: &*engine.storage,
        rescuer: &rescuer,
        survey: &survey,
        logs,
        choice,
        report: RepairReport::default(),
    };
    let fate = repair.judge_logs()?;
    let manifest = if fate.is_as_it_was && !repair.choice.is_changed && !survey.lacks_newer {
        survey.manifest.clone().unwrap_or_default()
    } else {
        repair.rebuild(fate)?
    };
    let report = repair.finish(&manifest);
    drop(guard);
    report
}

/// An engine that writes tables of this database, and does nothing else.
fn engine(storage: Arc<dyn Storage>, survey: &Survey) -> Engine {
    let named = survey.heads.values().map(|head| head.manifest_number).max().unwrap_or(0);
    let mut manifest = survey.manifest.clone().unwrap_or_default();
    manifest.tables.clear();
    manifest.database_id = survey.identity.database_id;
    manifest.hash_seed = survey.identity.hash_seed;
    // Above every number that was ever given; those of the files come on top.
    manifest.next_file_number = manifest.next_file_number.max(named.saturating_add(1));
    let mut replay = Replay::after(manifest.last_seqno, 0);
    replay.merge_operator.clone_from(&survey.identity.merge_operator);
    let guard = Box::new(HeldByRepair);
    assemble(storage, Options::default().clock(Never), guard, manifest, &survey.listing, &replay)
}

/// Refuses, without changing anything, a place where there is no database.
fn look(storage: &dyn Storage, listing: Option<&Listing>) -> Result<()> {
    let path = storage.root().to_owned();
    let Some(listing) = listing else { return Err(Error::NotFound { path }) };
    let tells = |name: &FileName| !matches!(name, FileName::Lock | FileName::Tmp(_));
    if listing.files.iter().any(tells) {
        return Ok(());
    }
    Err(match listing.foreign.first() {
        None => Error::NotFound { path },
        Some(foreign) => Error::NotADatabase {
            path,
            reason: format!("the directory holds \"{}\" and no table", foreign.escape_debug()),
        },
    })
}

/// A repair under way.
struct Repair<'r> {
    storage: &'r dyn Storage,
    rescuer: &'r Rescuer<'r>,
    survey: &'r Survey,
    logs: Logs,
    choice: Choice,
    report: RepairReport,
}

/// The engine that writes tables has no lock of its own: the repair as a whole holds it.
#[derive(Debug)]
struct HeldByRepair;

impl LockGuard for HeldByRepair {}

/// The time before anything expires: whose clock says what has expired, a repair can't know.
#[derive(Debug)]
struct Never;

impl Clock for Never {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// What becomes of the logs.
struct Fate {
    /// The manifest speaks of them as they are.
    is_as_it_was: bool,
    /// What has to go into tables, because an open would not recover it from the logs.
    replay: Replay,
    /// The first log that is still needed; `None` if none is.
    oldest_log: Option<u64>,
    last_seqno: u64,
}

impl Repair<'_> {
    /// Decides whether an open will recover from the logs all that can be read of them: then they stay.
    fn judge_logs(&mut self) -> Result<Fate> {
        let memtable_size = Options::default().memtable_size;
        let (storage, logs, base) = (self.storage, &self.logs, self.choice.last_seqno);
        if let Some(manifest) = &self.survey.manifest
            && base == manifest.last_seqno
            && !logs.is_damaged
            && let Some(last_seqno) = logs.recovered(storage, manifest, memtable_size)?
            && !logs.has_finished_rewrite(last_seqno)
        {
            let (oldest_log, replay) = (Some(manifest.oldest_log), Replay::after(base, 0));
            return Ok(Fate { is_as_it_was: true, replay, oldest_log, last_seqno: base });
        }
        let first = logs.first_behind(base);
        let salvaged = logs.salvage(storage, &self.survey.identity, base, memtable_size)?;
        let last_seqno = salvaged.replay.last_seqno.max(logs.last_seqno());
        // The first batch must be the next one.
        let before = first.map_or(last_seqno, |(seqno, _)| base.max(seqno.saturating_sub(1)));
        if let Some((_, oldest_log)) = first.filter(|_| !logs.is_damaged) {
            let mut manifest = self.manifest(before);
            (manifest.oldest_log, manifest.manifest_number) = (oldest_log, u64::MAX);
            let recovered = logs.recovered(storage, &manifest, memtable_size)?;
            if recovered == Some(salvaged.replay.last_seqno) {
                let (oldest_log, replay) = (Some(oldest_log), Replay::after(before, 0));
                self.tell_lost_writes(&salvaged, first);
                return Ok(Fate { is_as_it_was: false, replay, oldest_log, last_seqno: before });
            }
        }
        self.tell_lost_writes(&salvaged, first);
        let replay = salvaged.replay;
        Ok(Fate { is_as_it_was: false, replay, oldest_log: None, last_seqno })
    }

    /// What a manifest says of the tables that were chosen.
    fn manifest(&self, last_seqno: u64) -> ManifestData {
        let identity = self.survey.identity.clone();
        let engine = self.rescuer.engine;
        ManifestData {
            manifest_number: 0,
            database_id: identity.database_id,
            hash_seed: identity.hash_seed,
            next_file_number: engine.next_file_number.load(Ordering::Relaxed),
            last_seqno,
            oldest_log: 0,
            merge_operator: identity.merge_operator,
            tables: self.choice.tables.clone(),
        }
    }

    /// Writes what has to go into tables, and the manifest that names all tables.
    fn rebuild(&mut self, mut fate: Fate) -> Result<ManifestData> {
        let engine = self.rescuer.engine;
        let memtable = Arc::new(std::mem::take(&mut fate.replay.memtable));
        let infos =
            if memtable.is_empty() { Vec::new() } else { engine.write_tables(&memtable)? };
        self.rescuer.note(&infos);
        let mut data = self.manifest(fate.last_seqno);
        data.tables.extend(infos.into_iter().map(|info| record_of(info, 0, fate.last_seqno)));
        data.oldest_log = fate.oldest_log.unwrap_or_else(|| engine.take_file_number());
        data.manifest_number = engine.take_file_number();
        data.next_file_number = engine.next_file_number.load(Ordering::Relaxed);
        // What a killed process renamed may not be durable, and is named now.
        self.storage.sync_dir()?;
        if let Err(failed) = manifest::publish(self.storage, &data) {
            if failed.rename_began {
                self.rescuer.keep();
            }
            return Err(failed.error);
        }
        self.rescuer.keep();
        let number = data.manifest_number;
        self.report.manifest = Some(self.storage.path(FileName::Manifest(number)));
        manifest::load(self.storage, number)
    }

    /// Tells which writes are lost with what can't be read of the logs.
    fn tell_lost_writes(&mut self, salvaged: &Salvaged, first: Option<(u64, u64)>) {
        let base = self.choice.last_seqno;
        let mut gaps = salvaged.gaps.clone();
        // Without the newest manifest, tables may know of writes whose seqnos they no longer hold.
        let next = base.saturating_add(1);
        let before = first.filter(|(first, _)| *first > next);
        gaps.extend(before.map(|(first, _)| (next, first - 1)));
        for (path, next, offset) in self.logs.broken_off() {
            let gap = gaps.iter().position(|(start, end)| (*start..=*end).contains(&next));
            let lost = match gap.map(|gap| gaps.swap_remove(gap)) {
                Some((_, end)) => format!("with seqnos {next} to {end}"),
                // Tables hold what comes next, or a later log does.
                None if next <= base || self.logs.cover(next, next) => continue,
                None => format!("from seqno {next} on"),
            };
            let text = format!("can't be read from offset {offset} on; the writes {lost} are lost");
            self.report.losses.push(Finding { path, text });
        }
        self.report.losses.extend(self.logs.unread().map(|path| Finding {
            path,
            text: "can't be read; the writes that only it held are lost".to_owned(),
        }));
        // A torn log before the first one that goes on shows that they were written.
        let is_shown = first.is_some_and(|(_, number)| self.logs.is_torn_before(number));
        let is_exact = self.choice.is_exact || is_shown;
        let inexact = |gap: &&(u64, u64)| gap.0 == next && !is_exact;
        if let Some((start, end)) = gaps.iter().find(inexact) {
            let text = format!(
                "no file holds the writes with seqnos {start} to {end}: a table or a log may be \
                 missing, unless all of them were overwritten since"
            );
            let doubt = Finding { path: self.storage.root().to_owned(), text };
            let follows = first.is_some_and(|(_, number)| self.logs.follows_another(number));
            let is_in_doubt = self.survey.manifest.is_some() || follows;
            self.report.doubts.extend(is_in_doubt.then_some(doubt));
        }
        gaps.retain(|gap| !inexact(&gap));
        self.report.losses.extend(gaps.into_iter().map(|(start, end)| Finding {
            path: self.storage.root().to_owned(),
            text: format!("no log holds the writes with seqnos {start} to {end}; they are lost"),
        }));
    }

    /// Moves away what can't be used, now that nothing needs it, and reports.
    fn finish(mut self, manifest: &ManifestData) -> Result<RepairReport> {
        let Choice { unusable, left_over, losses, doubts, .. } = self.choice;
        let left_over = left_over.into_iter().filter(|_| self.report.manifest.is_some());
        let damaged = std::mem::take(&mut self.logs.damaged);
        let all = self.survey.unusable.iter().cloned().chain(damaged).chain(unusable);
        for Unusable { name, problem } in all.chain(left_over) {
            let moved_to = self.storage.set_aside(name)?;
            let path = self.storage.path(name);
            let (offset, rule) = (problem.offset, problem.rule);
            self.report.set_aside.push(SetAside { path, moved_to, offset, rule });
        }
        self.report.losses.extend(losses);
        self.report.doubts.extend(doubts);
        let storage = self.storage;
        let is_new = |number| !self.survey.tables.contains_key(&number);
        let tables = manifest.tables.iter().map(|table| KeptFile {
            path: storage.path(FileName::Table(table.file_number)),
            level: Some(table.level),
            count: table.row_count,
            is_new: is_new(table.file_number),
        });
        let logs = self.logs.found.iter().filter(|log| log.number >= manifest.oldest_log);
        let logs = logs.map(|log| KeptFile {
            path: log.summary.path.clone(),
            level: None,
            count: log.summary.record_count,
            is_new: false,
        });
        self.report.kept = tables.chain(logs).collect();
        self.report.last_seqno = manifest.last_seqno.max(self.logs.last_seqno());
        self.report.source = self
            .survey
            .manifest
            .as_ref()
            .map(|manifest| storage.path(FileName::Manifest(manifest.manifest_number)));
        Ok(self.report)
    }
}
