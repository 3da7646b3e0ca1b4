//! Opening: which directory is a database, and bringing it back to life.
//!
//! ```text
//!   look ─▶ lock ─▶ look again ─▶ newest manifest ─▶ replay logs ─▶ make that durable ─▶ clean up
//! ```
//!
//! Opening a database whose memtable was flushed writes nothing and opens no table: it costs the
//! same at any size.
//!
//! # Invariants
//!
//! - Nothing is created or changed before it is clear that this is a database, or an empty place
//!   for one.
//! - Tables or logs without a manifest are corruption, never a fresh database.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use std::collections::VecDeque;
use std::sync::Arc;

use super::access::AccessControl;
use super::commit::CommitQueue;
use super::compaction::ReadMeter;
use super::inspect::Counters;
use super::moment::Installations;
use super::outputs::record_of;
use super::pressure::Pressure;
use super::recovery::{Replay, Replayer};
use super::version::{TableHandle, Version};
use super::view::View;
use super::{Engine, Publisher, Tree, Writer, lock};
use crate::error::{Error, Result};
use crate::format::file_name::{self, FileName};
use crate::format::manifest::ManifestData;
use crate::hooks::Merger;
use crate::manifest;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::storage::{Listing, LockGuard, Session, Storage};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{ArcSwap, Condvar, Mutex, OnceLock};
use crate::wal::RecordParts;

/// Recovered rows become tables if they fill more than this part of a memtable; else they are
/// written to a new log, so that opening often does not make many small tables.
const FLUSH_FRACTION: usize = 16;

impl Engine {
    /// Opens the database in `storage`.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`].
    pub(crate) fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Arc<Self>> {
        let storage: Arc<dyn Storage> = Arc::new(Session::new(storage));
        let options = options.settled();
        options.validate()?;
        if look(&*storage, storage.list()?.as_ref(), &options)? == Place::Empty {
            storage.create_root()?;
        }
        let guard = storage.lock()?;
        // Somebody may have been here between the look and the lock.
        let listing = storage.list()?.unwrap_or_default();
        look(&*storage, Some(&listing), &options)?;
        let manifest = match manifest::load_newest(&*storage, &listing)? {
            Some(manifest) => manifest,
            None => create(&*storage, &listing, &options)?,
        };
        let policy = options.log_recovery;
        let replayer = Replayer {
            storage: &*storage,
            manifest: &manifest,
            policy,
            memtable_size: options.memtable_size,
        };
        let mut replay = replayer.replay(&listing)?;
        let stored = manifest.merge_operator.as_deref().or(replay.merge_operator.as_deref());
        replay.merge_operator = merge_operator(stored, &options)?;
        let engine = Arc::new(assemble(storage, options, guard, manifest, &listing, &replay));
        if engine.options.untrusted {
            engine.verify_tables()?;
        }
        engine.make_durable(replay, &listing)?;
        mutant!(ReuseSeqnos, {
            let mut writer = lock(&engine.writer);
            writer.next_seqno = writer.next_seqno.saturating_sub(3).max(1);
        });
        engine.review_access();
        engine.start_threads()?;
        Ok(engine)
    }

    /// Makes what was replayed durable in new files, and removes what is obsolete then.
    fn make_durable(&self, mut replay: Replay, listing: &Listing) -> Result<()> {
        let mut writer = lock(&self.writer);
        let mut publisher = lock(&self.publisher);
        let mut kept_logs = Vec::new();
        let knows_operator = publisher.manifest.merge_operator == self.merge_operator;
        if replay.logs.is_empty() && is_settled(listing, &publisher) && knows_operator {
            return Ok(());
        }
        mutant!(
            RemoveReplayedLogsEarly,
            for log in &replay.logs {
                self.storage.remove(FileName::Log(*log))?;
            }
        );
        let memtable = Arc::new(std::mem::take(&mut replay.memtable));
        let mut data = publisher.manifest.clone();
        data.merge_operator.clone_from(&self.merge_operator);
        if memtable.memory_len() > self.options.memtable_size / FLUSH_FRACTION {
            let infos = self.write_tables(&memtable)?;
            data.tables.extend(infos.into_iter().map(|info| record_of(info, 0, replay.last_seqno)));
            data.last_seqno = replay.last_seqno;
            data.oldest_log = self.take_file_number();
        } else if memtable.is_empty() {
            data.oldest_log = self.take_file_number();
        } else {
            let mut log = self.create_log(0, publisher.manifest.last_seqno.saturating_add(1))?;
            let records = replay.batches.iter().map(|batch| RecordParts {
                payload: &batch.payload,
                first_seqno: batch.first_seqno,
                op_count: batch.op_count,
            });
            log.append(&records.collect::<Vec<_>>(), false)?;
            mutant!(SkipRecoverySync, Ok(()), else log.sync(&*self.storage))?;
            data.oldest_log = log.number();
            kept_logs.push(log.number());
            writer.log = Some(log);
            writer.memtable = memtable;
        }
        data.manifest_number = self.take_file_number();
        data.next_file_number = self.next_file_number.load(Ordering::Relaxed);
        self.publish(&mut publisher, data)?;
        let tree = lock(&self.tree);
        let tables = publisher.manifest.tables.iter().cloned();
        let version = Version::new(tables.map(|record| self.handle_of(record)).collect());
        let active = Arc::clone(&writer.memtable);
        self.install(&tree, active, Arc::new(version));
        self.clean_up_after_recovery(&publisher, &kept_logs);
        Ok(())
    }
}

/// Whether the directory is as a finished publication leaves it: then the newest manifest is known
/// to be durable, because what it makes obsolete is removed only after that.
fn is_settled(listing: &Listing, publisher: &Publisher) -> bool {
    let manifest = &publisher.manifest;
    let is_needed = |name: &FileName| match name {
        FileName::Lock => true,
        FileName::Manifest(number) => {
            *number == manifest.manifest_number || Some(*number) == publisher.previous_manifest
        }
        FileName::Table(number) => manifest.tables.iter().any(|t| t.file_number == *number),
        FileName::Log(_) | FileName::Tmp(_) => false,
    };
    // The first manifest makes nothing obsolete.
    let was_made_now = !listing.files.contains(&FileName::Manifest(manifest.manifest_number));
    listing.files.iter().all(is_needed) && (publisher.previous_manifest.is_some() || was_made_now)
}

/// What stands where a database is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing yet.
    Empty,
    /// A database.
    Database,
}

/// Tells, without changing anything, whether the place may be opened that holds this.
fn look(storage: &dyn Storage, listing: Option<&Listing>, options: &Options) -> Result<Place> {
    let path = || storage.root().to_owned();
    let Some(listing) = listing else {
        let missing = Err(Error::NotFound { path: path() });
        return if options.create_if_missing { Ok(Place::Empty) } else { missing };
    };
    let has = |wanted: fn(&FileName) -> bool| listing.files.iter().any(wanted);
    if has(|name| matches!(name, FileName::Manifest(_))) {
        if options.error_if_exists {
            return Err(Error::AlreadyExists { path: path() });
        }
        return Ok(Place::Database);
    }
    if let Some(orphan) =
        listing.files.iter().find(|name| matches!(name, FileName::Table(_) | FileName::Log(_)))
    {
        return Err(Error::corrupt(&storage.path(*orphan), 0, file_name::MANIFEST.broken(0)));
    }
    if let Some(foreign) = listing.foreign.first() {
        return Err(Error::NotADatabase {
            path: path(),
            reason: format!("the directory holds \"{}\" and no manifest", foreign.escape_debug()),
        });
    }
    if options.create_if_missing { Ok(Place::Empty) } else { Err(Error::NotFound { path: path() }) }
}

/// The name of the database's merge operator: the stored one or, if it has none yet, that of the
/// options.
fn merge_operator(stored: Option<&str>, options: &Options) -> Result<Option<String>> {
    let given = options.merger.as_ref().map(Merger::name).transpose()?;
    mutant!(IgnoreOperatorName, return Ok(given.or(stored.map(str::to_owned))));
    match (stored, given) {
        (Some(stored), Some(given)) if stored != given => Err(Error::invalid(format!(
            "the merge operator \"{given}\"; the database's operands are those of \"{stored}\""
        ))),
        (Some(stored), _) => Ok(Some(stored.to_owned())),
        (None, given) => Ok(given),
    }
}

/// Makes the first version of a new database.
fn create(storage: &dyn Storage, listing: &Listing, options: &Options) -> Result<ManifestData> {
    // What an interrupted creation left would stand in the way of the new files' names.
    for name in listing.files.iter().filter(|name| matches!(name, FileName::Tmp(_))) {
        storage.remove(*name)?;
    }
    let manifest = ManifestData {
        manifest_number: 1,
        database_id: storage.entropy(),
        hash_seed: storage.entropy(),
        next_file_number: 2,
        last_seqno: 0,
        oldest_log: 2,
        merge_operator: merge_operator(None, options)?,
        tables: Vec::new(),
    };
    manifest::publish(storage, &manifest).map_err(|failed| failed.error)?;
    Ok(manifest)
}

/// The version that a manifest speaks of; none of its tables is opened.
fn version_of(
    manifest: &ManifestData,
    storage: &Arc<dyn Storage>,
    options: &Options,
    access: &Arc<AccessControl>,
) -> Version {
    let tables = manifest.tables.iter().map(|record| {
        let storage = Arc::clone(storage);
        let (mode, checksums) = (options.read_mode, options.checksums);
        let access = Arc::clone(access);
        Arc::new(TableHandle::new(record.clone(), storage, mode, checksums, access))
    });
    Version::new(tables.collect())
}

pub(super) fn assemble(
    storage: Arc<dyn Storage>,
    options: Options,
    guard: Box<dyn LockGuard>,
    manifest: ManifestData,
    listing: &Listing,
    replay: &Replay,
) -> Engine {
    let memtable = Arc::new(Memtable::with_capacity_for(options.memtable_size));
    let used = listing.files.iter().map(|name| match name {
        FileName::Log(number)
        | FileName::Manifest(number)
        | FileName::Table(number)
        | FileName::Tmp(number) => number.saturating_add(1),
        FileName::Lock => 0,
    });
    let next_file_number = used.max().unwrap_or(0).max(manifest.next_file_number);
    let previous_manifest = listing
        .files
        .iter()
        .filter_map(|name| match name {
            FileName::Manifest(number) if *number < manifest.manifest_number => Some(*number),
            _ => None,
        })
        .max();
    let access = Arc::default();
    let version = Arc::new(version_of(&manifest, &storage, &options, &access));
    let changed = Arc::new(Condvar::new());
    let meter = Arc::new(ReadMeter::new(Arc::clone(&changed)));
    let (active, merger) = (Arc::clone(&memtable), options.merger.clone());
    let view =
        View::new(active, Vec::new(), version, manifest.hash_seed, merger, Arc::clone(&meter));
    Engine {
        database_id: manifest.database_id,
        hash_seed: manifest.hash_seed,
        merge_operator: replay.merge_operator.clone(),
        view: ArcSwap::from_pointee(view),
        installations: Installations::default(),
        meter,
        visible: AtomicU64::new(replay.last_seqno),
        queue: CommitQueue::default(),
        writer: Mutex::new(Writer {
            log: None,
            memtable,
            next_seqno: replay.last_seqno.saturating_add(1),
            previous_log: 0,
        }),
        older_logs: Mutex::new(VecDeque::new()),
        tree: Mutex::new(Tree::default()),
        changed,
        ingesting: Mutex::new(()),
        flushing: Mutex::new(()),
        closing: Mutex::new(()),
        pressure: Pressure::default(),
        access,
        counters: Counters::default(),
        snapshots: options.compaction_filter.as_ref().map(|_| Arc::default()),
        next_file_number: AtomicU64::new(next_file_number),
        manifest_number: AtomicU64::new(manifest.manifest_number),
        publisher: Mutex::new(Publisher { manifest, previous_manifest }),
        poison: OnceLock::new(),
        closed: AtomicBool::new(false),
        lock: Mutex::new(Some(guard)),
        threads: Mutex::new(Vec::new()),
        recovery: replay.stats.clone(),
        last_stats: Mutex::new(None),
        storage,
        options,
    }
}
