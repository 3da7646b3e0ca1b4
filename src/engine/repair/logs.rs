//! The logs of a directory that is repaired: what can be read of them, and whether they can stay.
//!
//! ```text
//!   LOG-7 ─ records ─▶ ✗      LOG-9 ─ records ─▶ end        an open would stop at ✗, or refuse
//!           └─ replayed ─┘            └─ replayed ─┘        a repair goes on behind it, and says so
//! ```
//!
//! # Invariants
//!
//! - Of each log its whole batches are taken, up to the first that is not whole; each seqno once,
//!   however many logs hold it.
//!
//! Spec: `format-spec/07-log.md`. I/O: through `wal`. Unsafe: none.

use std::path::PathBuf;

use super::survey::{Identity, Survey, Unusable, usable};
use crate::engine::recovery::{Recovered, Replay, Replayer};
use crate::engine::verify::Problem;
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::log::{LogEnd, LogInfo};
use crate::format::manifest::ManifestData;
use crate::options::{LogRecovery, ReadMode};
use crate::storage::{Listing, Storage};
use crate::wal::{LogSummary, read_log};

/// A header is looked for in so many first bytes; the rest is the merge operator's name.
const HEAD_LEN: u64 = 64 << 10;

/// What the header of a log says of its database.
#[derive(Clone, Debug)]
pub(super) struct LogHead {
    pub(super) database_id: u64,
    pub(super) hash_seed: u64,
    /// The newest manifest when the log was made.
    pub(super) manifest_number: u64,
    pub(super) first_seqno: u64,
    pub(super) merge_operator: Option<String>,
}

/// Reads the header of a log; `None` if it is not whole.
///
/// # Errors
///
/// `Io` from opening or reading.
pub(super) fn read_head(storage: &dyn Storage, number: u64) -> Result<Option<LogHead>> {
    let region = storage.open_region(FileName::Log(number), ReadMode::Heap)?;
    let len = usize::try_from(region.len().min(HEAD_LEN)).unwrap_or(0);
    let bytes = region.read(0, len)?;
    let info = LogInfo::parse(&bytes).ok();
    Ok(info.map(|info| LogHead {
        database_id: info.database_id,
        hash_seed: info.hash_seed,
        manifest_number: info.manifest_number,
        first_seqno: info.first_seqno,
        merge_operator: info.merge_operator.map(str::to_owned),
    }))
}

/// The logs that the database needs, or may need.
#[derive(Debug)]
pub(super) struct Logs {
    /// Those that can be read to some place, oldest first.
    pub(super) found: Vec<FoundLog>,
    /// What has to go once its rows are safe elsewhere.
    pub(super) damaged: Vec<Unusable>,
    /// Whether one of those is needed.
    pub(super) is_damaged: bool,
    /// Those before it are not needed.
    oldest: u64,
}

/// A log that can be read to some place.
#[derive(Debug)]
pub(super) struct FoundLog {
    pub(super) number: u64,
    /// No batch of it has a smaller seqno; 0 if its header is not whole.
    first_seqno: u64,
    pub(super) summary: LogSummary,
    /// The seqnos of its whole batches: first and last ones of stretches without a gap.
    seqnos: Vec<(u64, u64)>,
}

/// What the logs hold behind some seqno.
#[derive(Debug)]
pub(super) struct Salvaged {
    pub(super) replay: Replay,
    /// First and last seqnos of what is missing between batches that are there.
    pub(super) gaps: Vec<(u64, u64)>,
}

impl Logs {
    /// Reads all logs from `oldest` on, and looks for damage in those before it too.
    ///
    /// # Errors
    ///
    /// As the survey.
    pub(super) fn of(storage: &dyn Storage, survey: &Survey, oldest: u64) -> Result<Self> {
        let (mut found, mut damaged): (Vec<FoundLog>, Vec<Unusable>) = Default::default();
        for name in survey.listing.files.iter().filter(|name| !survey.is_unusable(**name)) {
            let FileName::Log(number) = *name else { continue };
            let read = FoundLog::read(storage, survey, number);
            match usable(&storage.path(*name), read)? {
                Ok(log) => found.push(log),
                Err(problem) => damaged.push(Unusable { name: *name, problem }),
            }
        }
        let needed = found.partition_point(|log| log.number < oldest);
        let (obsolete, needed) = found.split_at(needed);
        let of_obsolete = obsolete.iter().filter_map(|log| Some((log, log.summary.damage()?)));
        let of_needed = needed
            .iter()
            .enumerate()
            .filter_map(|(index, log)| Some((log, damage(needed, index, log)?)));
        damaged.extend(of_obsolete.chain(of_needed).map(|(log, error)| {
            let problem = Problem::of(&log.summary.path, &error);
            Unusable { name: log.name(), problem }
        }));
        found.retain(|log| log.number >= oldest);
        let is_damaged = damaged.iter().any(|log| log.name >= FileName::Log(oldest));
        Ok(Self { found, damaged, is_damaged, oldest })
    }

    /// Whether the logs hold all writes with these seqnos.
    pub(super) fn cover(&self, oldest: u64, newest: u64) -> bool {
        let stretches = || self.found.iter().flat_map(|log| &log.seqnos);
        let mut next = oldest;
        // Each round goes on where the one before ended, or finds nothing more.
        while let Some((_, last)) =
            stretches().find(|(first, last)| *first <= next && next <= *last)
        {
            if *last >= newest {
                return true;
            }
            next = last.saturating_add(1);
        }
        false
    }

    /// The largest seqno that a log holds, or that was written before one was made.
    pub(super) fn last_seqno(&self) -> u64 {
        let next = |log: &FoundLog| log.summary.next_seqno;
        self.found.iter().map(next).max().unwrap_or(0).saturating_sub(1)
    }

    /// The first seqno behind `base` that a log holds, and that log.
    pub(super) fn first_behind(&self, base: u64) -> Option<(u64, u64)> {
        let behind = |log: &FoundLog| {
            let (first, _) = log.seqnos.iter().find(|(_, last)| *last > base)?;
            Some((*first, log.number))
        };
        self.found.iter().find_map(behind)
    }

    /// Of each damaged log that can be read to some place: its path, the first seqno that it does not
    /// hold, and that place.
    pub(super) fn broken_off(&self) -> impl Iterator<Item = (PathBuf, u64, u64)> {
        let is_damaged = |log: &&FoundLog| {
            log.summary.header.is_some()
                && self.damaged.iter().any(|damaged| damaged.name == log.name())
        };
        self.found
            .iter()
            .filter(is_damaged)
            .map(|log| (log.summary.path.clone(), log.summary.next_seqno, log.summary.end.at()))
    }

    /// Whether a log came before this one and was still needed when this one was begun.
    pub(super) fn follows_another(&self, number: u64) -> bool {
        let log = self.found.iter().find(|log| log.number == number);
        let header = log.and_then(|log| log.summary.header.as_ref());
        header.is_some_and(|header| header.previous_log != 0)
    }

    /// Whether a log before this one has no clean end.
    pub(super) fn is_torn_before(&self, number: u64) -> bool {
        let mut earlier = self.found.iter().take_while(|log| log.number < number);
        earlier.any(|log| matches!(log.summary.end, LogEnd::Torn { .. } | LogEnd::Damaged { .. }))
    }

    /// The paths of needed logs that are damaged and can't be read at all.
    pub(super) fn unread(&self) -> impl Iterator<Item = PathBuf> {
        let is_read =
            |name| self.found.iter().any(|log| log.name() == name && log.summary.header.is_some());
        let needed = self.damaged.iter().filter(|log| log.name >= FileName::Log(self.oldest));
        let unread = needed.filter(move |log| !is_read(log.name));
        unread.map(|log| log.problem.path.clone())
    }

    /// Whether the log that was written when this seqno was given is there, and not damaged: then what
    /// it lacks was never known to be durable.
    pub(super) fn vouch_for(&self, seqno: u64) -> bool {
        let log = self.found.iter().rfind(|log| log.first_seqno <= seqno);
        log.is_some_and(|log| !self.damaged.iter().any(|damaged| damaged.name == log.name()))
    }

    /// Replays everything behind `base` that can be read.
    ///
    /// # Errors
    ///
    /// As reading a log.
    pub(super) fn salvage(
        &self,
        storage: &dyn Storage,
        identity: &Identity,
        base: u64,
        memtable_size: usize,
    ) -> Result<Salvaged> {
        let mut replay = Replay::after(base, memtable_size);
        let mut gaps = Vec::new();
        for log in &self.found {
            let path = &log.summary.path;
            read_log(storage, identity.database_id, log.number, |record| {
                let batch = Recovered::of(record);
                let next = replay.last_seqno.saturating_add(1);
                let end = batch.first_seqno.saturating_add(batch.op_count.into());
                if end <= next {
                    return Ok(());
                }
                if batch.first_seqno > next && !replay.batches.is_empty() {
                    gaps.push((next, batch.first_seqno - 1));
                }
                replay.apply(batch, path, identity.hash_seed)
            })?;
        }
        replay.delete_ranges();
        Ok(Salvaged { replay, gaps })
    }

    /// What opening the database under this manifest would recover; `None` if it would be refused.
    ///
    /// # Errors
    ///
    /// `Io` from reading.
    pub(super) fn recovered(
        &self,
        storage: &dyn Storage,
        manifest: &ManifestData,
        memtable_size: usize,
    ) -> Result<Option<u64>> {
        let files = self.found.iter().map(FoundLog::name).collect();
        let listing = Listing { files, foreign: Vec::new() };
        let policy = LogRecovery::Strict;
        let replayer = Replayer { storage, manifest, policy, memtable_size };
        let read = usable(storage.root(), replayer.replay(&listing))?;
        Ok(read.ok().map(|replay| replay.last_seqno))
    }

    /// Whether a log that an open would take for an unfinished rewrite of others holds more than
    /// they do: then it was finished, and the manifest that said so is lost.
    pub(super) fn has_finished_rewrite(&self, last_seqno: u64) -> bool {
        let rewrites = self.found.iter().skip(1).filter(|log| log.is_rewrite());
        rewrites.into_iter().any(|log| log.seqnos.iter().any(|(_, last)| *last > last_seqno))
    }
}

/// What is wrong with a log, by itself or by what later ones prove: a record that was synced says that
/// all logs before its own are whole.
fn damage(logs: &[FoundLog], index: usize, log: &FoundLog) -> Option<Error> {
    // A rewrite that did not finish is none of those.
    let is_rewrite = |index: usize, log: &FoundLog| index > 0 && log.is_rewrite();
    let mut later = logs.iter().enumerate().skip(index + 1);
    let is_proved = !is_rewrite(index, log)
        && later.any(|(index, log)| log.summary.max_synced_upto > 0 && !is_rewrite(index, log));
    log.summary.damage().or_else(|| log.summary.damage_if_sealed().filter(|_| is_proved))
}

impl FoundLog {
    fn read(storage: &dyn Storage, survey: &Survey, number: u64) -> Result<Self> {
        let mut seqnos: Vec<(u64, u64)> = Vec::new();
        let summary = read_log(storage, survey.identity.database_id, number, |record| {
            let first = record.first_seqno;
            let last = first.saturating_add(u64::from(record.op_count).saturating_sub(1));
            match seqnos.last_mut() {
                Some(stretch) if stretch.1.saturating_add(1) == first => stretch.1 = last,
                _ => seqnos.push((first, last)),
            }
            Ok(())
        })?;
        let first_seqno = survey.heads.get(&number).map_or(0, |head| head.first_seqno);
        Ok(Self { number, first_seqno, summary, seqnos })
    }

    const fn name(&self) -> FileName {
        FileName::Log(self.number)
    }

    /// Whether it was begun by a recovery.
    fn is_rewrite(&self) -> bool {
        self.summary.header.as_ref().is_some_and(|header| header.previous_log == 0)
    }
}
