//! Logs that were cut, changed, swapped or taken away: what is opened is a prefix of what was
//! written, and never a shorter one than is proved without saying where it ended.

use std::sync::Arc;

use tinydb::internals::SimDisk;
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::{LogInfo, LogReader, Record, batch_header, seal_header};
use tinydb::{Db, Durability, Error, LogRecovery, Options, Result};
use zerocopy::IntoBytes;

/// A killed or closed database whose batches are all in one log.
struct Logged {
    disk: SimDisk,
    log: FileName,
    bytes: Vec<u8>,
    /// Where each record ends; the first is the end of the header.
    ends: Vec<usize>,
}

/// Batch `n` puts the key `n`, with a value of about so many bytes, and deletes that of `n - 2`.
fn logged(durability: Durability, closed: bool, count: usize, value_len: usize) -> Logged {
    let disk = SimDisk::new(7);
    let db = open(&disk, Options::new().durability(durability)).unwrap();
    for number in 1..=count {
        let mut batch = tinydb::WriteBatch::new();
        batch.put(key(number), value(number, value_len)).put("last", number.to_string());
        if number > 2 {
            batch.delete(key(number - 2));
        }
        db.write(&batch).unwrap();
    }
    if closed {
        db.close().unwrap();
    }
    let disk = disk.reboot();
    let logs: Vec<_> = logs(&disk);
    let [log] = *logs else { panic!("{logs:?}") };
    let bytes = disk.read_file(log).unwrap();
    let ends = ends(log, &bytes);
    assert_eq!(ends.len(), count + 1);
    Logged { disk, log, bytes, ends }
}

fn key(number: usize) -> String {
    format!("key {number:04}")
}

fn value(number: usize, len: usize) -> String {
    format!("{number} ").repeat(len / 2)
}

fn logs(disk: &SimDisk) -> Vec<FileName> {
    disk.file_names().into_iter().filter(|name| matches!(name, FileName::Log(_))).collect()
}

/// Where the records of a log start, and the last one ends.
pub(crate) fn ends(log: FileName, bytes: &[u8]) -> Vec<usize> {
    let FileName::Log(number) = log else { panic!("{log}") };
    let id = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let mut reader = LogReader::open(bytes, id, number).unwrap();
    let mut offsets: Vec<_> = reader.by_ref().map(|record| record.offset).collect();
    offsets.push(reader.end().unwrap().at());
    offsets.into_iter().map(|offset| usize::try_from(offset).unwrap()).collect()
}

fn open(disk: &SimDisk, options: Options) -> Result<Db> {
    Db::open_on(Arc::new(disk.clone()), options.background_threads(0))
}

/// The number of the batch after which the database is as it is now.
#[track_caller]
fn last(db: &Db) -> usize {
    let number = db
        .get("last")
        .unwrap()
        .map_or(0, |last| std::str::from_utf8(&last).unwrap().parse().unwrap());
    let keys: Vec<_> = db.prefix("key").map(|entry| entry.unwrap().key().to_vec()).collect();
    let wanted: Vec<_> = (number.max(2) - 1..=number).map(|number| key(number).into()).collect();
    let wanted: Vec<Vec<u8>> = if number == 0 { Vec::new() } else { wanted };
    assert_eq!(keys, wanted, "after batch {number}");
    number
}

const POLICIES: [LogRecovery; 2] = [LogRecovery::Strict, LogRecovery::ToFirstCorruption];

/// What may come of a damaged log.
#[derive(Clone, Copy)]
struct Allowed {
    /// The fewest batches that may be found.
    from: usize,
    /// Whether a strict opening may be refused.
    refusal: bool,
    /// Whether batches may be missing without a word.
    silence: bool,
}

impl Logged {
    /// Opens a copy with another log, under both policies.
    #[track_caller]
    fn check(&self, bytes: &[u8], allowed: Allowed) {
        let count = self.ends.len() - 1;
        for policy in POLICIES {
            let disk = self.disk.fork(1);
            disk.write_file(self.log, bytes);
            let db = match open(&disk, Options::new().log_recovery(policy)) {
                Ok(db) => db,
                Err(Error::Corrupt { path, offset, .. })
                    if allowed.refusal && policy == LogRecovery::Strict =>
                {
                    assert!(path.ends_with(self.log.to_string()), "{}", path.display());
                    assert!(offset <= bytes.len() as u64, "{offset}");
                    assert_eq!(disk.read_file(self.log).unwrap(), bytes, "refused and changed");
                    continue;
                }
                Err(error) => panic!("{policy:?}: {error:?}"),
            };
            let found = last(&db);
            let recovery = db.stats().recovery;
            let refused = recovery.damage.is_some();
            assert!(!refused || allowed.refusal && policy == LogRecovery::ToFirstCorruption);
            assert!(found >= allowed.from || refused, "{policy:?}: found {found}");
            assert!(found == count || allowed.silence || recovery.stopped_at.is_some());
            drop(db);
            let db = open(&disk, Options::new()).expect("what was recovered is whole");
            assert_eq!(last(&db), found, "opened again");
        }
    }

    fn check_every_cut(&self) {
        for len in samples(*self.ends.last().unwrap(), self.bytes.len()) {
            let whole = self.ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
            // Nothing tells a log that was cut between two records from a shorter one.
            let silence = self.ends.contains(&len);
            self.check(&self.bytes[..len], Allowed { from: whole, refusal: false, silence });
        }
    }

    /// Changes every byte; `proven` of the batches are proved by what stands behind them.
    fn check_every_change(&self, proven: usize) {
        let count = self.ends.len() - 1;
        for at in samples(*self.ends.last().unwrap() + 64, self.bytes.len()) {
            let hit = self.ends.iter().filter(|end| **end <= at).count();
            // The batches before the changed byte are whole; those behind it are lost, unless
            // that can be proved, and then it is refused.
            let from = hit.saturating_sub(1).max(proven).min(count);
            for change in [|byte| byte ^ 1, |byte| byte ^ 0x80, |byte: u8| !byte, |_| 0] {
                let mut bytes = self.bytes.clone();
                bytes[at] = change(bytes[at]);
                self.check(&bytes, Allowed { from, refusal: hit <= proven, silence: false });
            }
        }
    }
}

/// Every place up to `dense`, and some of the zeros behind it.
fn samples(dense: usize, end: usize) -> impl Iterator<Item = usize> {
    (0..dense.min(end)).chain((dense.min(end)..end).step_by(8_191))
}

#[test]
fn a_buffered_log_that_was_cut_gives_its_whole_batches() {
    logged(Durability::Buffered, false, 6, 30).check_every_cut();
}

#[test]
fn a_synced_log_that_was_cut_gives_its_whole_batches() {
    logged(Durability::Sync, false, 4, 30).check_every_cut();
    logged(Durability::Sync, true, 4, 30).check_every_cut();
}

#[test]
fn a_changed_byte_in_an_unproven_log_ends_it_there() {
    logged(Durability::Buffered, false, 6, 30).check_every_change(0);
}

#[test]
fn a_changed_byte_in_a_synced_log_is_refused_up_to_the_last_batch() {
    logged(Durability::Sync, false, 4, 30).check_every_change(3);
}

#[test]
fn a_changed_byte_in_a_sealed_log_is_refused() {
    for durability in [Durability::Buffered, Durability::Sync] {
        logged(durability, true, 4, 30).check_every_change(4);
    }
}

#[test]
fn what_was_buffered_survives_a_kill_however_large() {
    for (count, len) in [(1, 0), (5, 30), (5, 5_000), (30, 100_000)] {
        let logged = logged(Durability::Buffered, false, count, len);
        let options = || Options::new().memtable_size(1 << 20);
        let db = open(&logged.disk, options()).unwrap();
        assert_eq!(last(&db), count);
        // What is large goes into tables at once, what is small into a new log.
        let is_large = len > 50_000;
        assert_eq!(db.stats().levels.is_empty(), !is_large, "{count} of {len}");
        assert_eq!(logs(&logged.disk).is_empty(), is_large, "{count} of {len}");
        assert_eq!(db.stats().recovery.batch_count, count as u64);
        assert_eq!(db.stats().recovery.stopped_at, None);
        drop(db);
        assert_eq!(last(&open(&logged.disk, options()).unwrap()), count);
    }
}

#[test]
fn another_databases_log_is_refused() {
    let logged = logged(Durability::Sync, true, 3, 30);
    let other = SimDisk::new(8);
    let db = open(&other, Options::new()).unwrap();
    db.put("a", "1").unwrap();
    db.close().unwrap();
    let [log] = *logs(&other) else { panic!() };
    let disk = logged.disk.fork(1);
    disk.write_file(logged.log, other.read_file(log).unwrap());
    for policy in POLICIES {
        match open(&disk, Options::new().log_recovery(policy)) {
            Err(Error::Corrupt { path, .. }) => assert!(path.ends_with(logged.log.to_string())),
            other => panic!("opened: {}", other.is_ok()),
        }
    }
}

#[test]
fn a_log_under_another_number_is_refused() {
    let logged = logged(Durability::Sync, true, 3, 30);
    let FileName::Log(number) = logged.log else { panic!() };
    let disk = logged.disk.fork(1);
    disk.remove_file(logged.log);
    disk.write_file(FileName::Log(number + 1), logged.bytes.clone());
    assert!(matches!(open(&disk, Options::new()), Err(Error::Corrupt { .. })));
}

/// The batches of one log in two: `first` of them in the first log, which is sealed or not, and the
/// others in a second one, which says after its first record that it is durable, or does not.
fn split(logged: &Logged, first: usize, is_proven: bool) -> (Vec<u8>, FileName, Vec<u8>) {
    let FileName::Log(number) = logged.log else { panic!() };
    let info = LogInfo::parse(&logged.bytes).unwrap();
    let mut reader = LogReader::open(&logged.bytes, info.database_id, number).unwrap();
    let records: Vec<_> = reader.by_ref().collect();
    let (before, after) = records.split_at(first);
    let next_seqno = after[0].first_seqno;
    let mut older = info.encode();
    let info =
        LogInfo { log_number: number + 1, previous_log: number, first_seqno: next_seqno, ..info };
    let mut newer = info.encode();
    let seeds = (LogInfo { log_number: number, ..info }.seed(), info.seed());
    for record in before {
        append(&mut older, seeds.0, record, 0);
    }
    if is_proven {
        let seal = seal_header(seeds.0, older.len() as u64, next_seqno);
        older.extend_from_slice(seal.as_bytes());
    }
    let mut synced_upto = 0;
    for record in after {
        append(&mut newer, seeds.1, record, synced_upto);
        if is_proven {
            synced_upto = newer.len() as u64;
        }
    }
    (older, FileName::Log(number + 1), newer)
}

fn append(log: &mut Vec<u8>, seed: u64, record: &Record<'_>, synced_upto: u64) {
    let Record { first_seqno, op_count, payload, .. } = *record;
    let header = batch_header(seed, log.len() as u64, payload, first_seqno, op_count, synced_upto);
    log.extend_from_slice(header.as_bytes());
    log.extend_from_slice(payload);
    log.resize(log.len().next_multiple_of(8), 0);
}

#[test]
pub(crate) fn a_log_in_the_middle_that_lost_its_end_is_refused_if_a_later_one_proves_it_whole() {
    let logged = logged(Durability::Buffered, false, 6, 30);
    for is_proven in [true, false] {
        let (older, name, newer) = split(&logged, 3, is_proven);
        let second = Logged {
            disk: logged.disk.fork(1),
            log: logged.log,
            ends: ends(logged.log, &older),
            bytes: older.clone(),
        };
        second.disk.write_file(name, newer);
        second.disk.write_file(logged.log, older.clone());
        assert_eq!(last(&open(&second.disk.fork(1), Options::new()).unwrap()), 6);
        for len in 0..older.len() {
            let whole = second.ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
            let disk = second.disk.fork(1);
            disk.write_file(logged.log, &older[..len]);
            check_middle(&disk, logged.log, is_proven, whole);
        }
        let disk = second.disk.fork(1);
        disk.remove_file(logged.log);
        check_middle(&disk, name, is_proven, 0);
    }
}

/// Opens what lost something that comes before a later log: it is refused if that can be proved, or
/// ends where something is missing, or nothing is missing but a seal.
#[track_caller]
fn check_middle(disk: &SimDisk, named: FileName, is_proven: bool, whole: usize) {
    match open(&disk.fork(1), Options::new()) {
        Ok(db) => {
            let (found, recovery) = (last(&db), db.stats().recovery);
            assert!(recovery.damage.is_none());
            if found == 6 {
                assert!(is_proven && whole == 3, "only a sealed log can lose a seal");
                return;
            }
            assert_eq!((found, is_proven), (whole, false));
            assert!(recovery.stopped_at.is_some() && recovery.dropped_bytes > 0);
        }
        Err(Error::Corrupt { path, .. }) if is_proven => {
            assert!(path.ends_with(named.to_string()), "{}", path.display());
        }
        Err(error) => panic!("{error:?}"),
    }
    let db = open(disk, Options::new().log_recovery(LogRecovery::ToFirstCorruption)).unwrap();
    assert_eq!(last(&db), whole);
    assert_eq!(db.stats().recovery.damage.is_some(), is_proven);
    assert!(db.stats().recovery.stopped_at.is_some());
}

#[test]
pub(crate) fn a_deleted_newest_manifest_is_noticed_by_a_log() {
    let disk = SimDisk::new(10);
    let db = open(&disk, Options::new()).unwrap();
    db.put("a", "1").unwrap();
    db.flush().unwrap();
    db.put("b", "2").unwrap();
    db.close().unwrap();
    let disk = disk.reboot();
    let is_manifest = |name: &&FileName| matches!(name, FileName::Manifest(_));
    let newest = *disk.file_names().iter().filter(is_manifest).max().unwrap();
    disk.remove_file(newest);
    for policy in POLICIES {
        let opened = open(&disk, Options::new().log_recovery(policy));
        match opened {
            Err(Error::Corrupt { path, .. }) => {
                assert!(path.ends_with(logs(&disk)[0].to_string()), "{}", path.display());
            }
            other => panic!("opened: {}", other.is_ok()),
        }
    }
}
