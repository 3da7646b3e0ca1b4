//! Tests of the log on a simulated disk: what is written is read, whatever the disk does.

use super::*;
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::log::{LogEnd, LogInfo};
use crate::format::log_op::{RowOp, encode_op};
use crate::format::row::Kind;
use crate::storage::{CrashMode, Fault, SimDisk, Storage};

const DATABASE: u64 = 11;
const NUMBER: u64 = 7;
const NAME: FileName = FileName::Log(NUMBER);
const INFO: LogInfo<'_> = LogInfo {
    log_number: NUMBER,
    database_id: DATABASE,
    hash_seed: 12,
    manifest_number: 13,
    previous_log: 14,
    first_seqno: 100,
    merge_operator: Some("counter"),
};

mod refused;
/// Header and name.
const START: u64 = 136;

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_root().unwrap();
    disk.sync_dir().unwrap();
    disk
}

/// A batch of one put whose payload has this length, at least 12.
fn payload(len: usize) -> Vec<u8> {
    let value = vec![b'v'; len - 12];
    let mut payload = Vec::new();
    let op = RowOp { kind: Kind::Put, tree_id: 0, expires_at: 0, key: b"k", value: &value };
    encode_op(&mut payload, &op.into()).unwrap();
    assert_eq!(payload.len(), len);
    payload
}

/// Appends one group of batches with these payload lengths.
fn append(log: &mut LogWriter, seqno: &mut u64, lens: &[usize], fill: bool) -> Result<()> {
    let payloads: Vec<_> = lens.iter().map(|len| payload(*len)).collect();
    let parts: Vec<_> = payloads
        .iter()
        .zip(*seqno..)
        .map(|(payload, first_seqno)| RecordParts { payload, first_seqno, op_count: 1 })
        .collect();
    log.append(&parts, fill)?;
    *seqno += lens.len() as u64;
    Ok(())
}

/// The payload lengths and `synced_upto`s of the whole records, and what the log was found to be.
fn read(disk: &SimDisk) -> (Vec<(usize, u64)>, LogSummary) {
    let mut records = Vec::new();
    let summary = read_log(disk, DATABASE, NUMBER, |record| {
        assert_eq!(record.first_seqno, 100 + records.len() as u64);
        assert_eq!(record.payload, payload(record.payload.len()));
        records.push((record.payload.len(), record.synced_upto));
        Ok(())
    })
    .unwrap();
    assert_eq!(summary.record_count, records.len() as u64);
    (records, summary)
}

#[test]
fn what_is_appended_is_read() {
    let long_len = (1 << 20) + 1;
    let groups: [&[usize]; 5] = [&[12], &[13, 14, 15], &[], &[16, long_len, 17], &[18]];
    for fill in [false, true] {
        let disk = disk(1);
        let mut log = LogWriter::create(&disk, &INFO).unwrap();
        assert_eq!((log.number(), log.len()), (NUMBER, START));
        let mut seqno = 100;
        for group in groups {
            append(&mut log, &mut seqno, group, fill).unwrap();
        }
        let (records, summary) = read(&disk);
        let want: Vec<_> =
            groups.concat().into_iter().map(|payload_len| (payload_len, 0)).collect();
        assert_eq!(records, want);
        assert_eq!(summary.end, LogEnd::Clean { at: log.len() });
        assert_eq!((summary.next_seqno, summary.max_synced_upto), (seqno, 0));
        assert_eq!((summary.damage().is_none(), summary.dropped_len()), (true, 0));
        let header = summary.header.unwrap();
        assert_eq!((header.hash_seed, header.manifest_number, header.previous_log), (12, 13, 14));
        assert_eq!(header.merge_operator.as_deref(), Some("counter"));
    }
}

#[test]
fn a_group_of_short_batches_is_one_write() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    let calls = disk.calls();
    append(&mut log, &mut 100, &[12; 1000], false).unwrap();
    assert_eq!(disk.calls(), calls + 1);
}

#[test]
fn zeros_are_kept_ahead_of_synced_writes_only() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    let mut seqno = 100;
    let file_len = || disk.read_file(NAME).unwrap().len() as u64;
    append(&mut log, &mut seqno, &[100], false).unwrap();
    assert_eq!(file_len(), log.len());
    let mut wanted_len = 64 << 10;
    for _ in 0..50 {
        let calls = disk.calls();
        append(&mut log, &mut seqno, &[1 << 18], true).unwrap();
        if disk.calls() > calls + 1 {
            let ahead_len = file_len() - log.len();
            assert!((wanted_len..wanted_len + 4096).contains(&ahead_len), "{ahead_len}");
            assert_eq!(file_len() % 4096, 0);
            wanted_len = (wanted_len * 2).min(4 << 20);
        }
    }
    assert_eq!(wanted_len, 4 << 20);
}

#[test]
fn records_say_up_to_where_the_log_is_durable() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    let mut seqno = 100;
    append(&mut log, &mut seqno, &[12], true).unwrap();
    append(&mut log, &mut seqno, &[13], true).unwrap();
    let synced = log.len();
    assert!(!log.is_synced());
    log.sync(&disk).unwrap();
    assert!(log.is_synced());
    append(&mut log, &mut seqno, &[14], true).unwrap();
    append(&mut log, &mut seqno, &[15], true).unwrap();
    assert!(!log.is_synced());
    let (records, summary) = read(&disk);
    assert_eq!(records, [(12, 0), (13, 0), (14, synced), (15, synced)]);
    assert_eq!(summary.max_synced_upto, synced);
}

#[test]
fn the_first_sync_makes_the_name_durable_too() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    append(&mut log, &mut 100, &[12], false).unwrap();
    log.sync(&disk).unwrap();
    let calls = disk.calls();
    log.sync(&disk).unwrap();
    assert_eq!(disk.calls(), calls, "nothing is left to sync");
    disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(read(&disk.reboot()).0, [(12, 0)]);
}

#[test]
fn a_seal_ends_the_log_for_good() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    append(&mut log, &mut 100, &[12, 13], true).unwrap();
    let at = log.len();
    log.seal(&disk).unwrap();
    log.seal(&disk).unwrap();
    log.sync(&disk).unwrap();
    assert!(log.is_synced());
    assert!(matches!(append(&mut log, &mut 102, &[14], true), Err(Error::Closed)));
    disk.crash(CrashMode::LoseUnsynced);
    let (records, summary) = read(&disk.reboot());
    assert_eq!((records.len(), summary.end), (2, LogEnd::Sealed { at }));
    assert_eq!((summary.next_seqno, summary.max_synced_upto), (102, at));
    assert!(summary.damage_if_sealed().is_none());
}

#[test]
fn an_empty_log_can_be_sealed() {
    let disk = disk(1);
    LogWriter::create(&disk, &INFO).unwrap().seal(&disk).unwrap();
    let (records, summary) = read(&disk);
    assert_eq!((records.len(), summary.end), (0, LogEnd::Sealed { at: START }));
    assert_eq!(summary.next_seqno, 100);
}

#[test]
fn a_failed_fill_fails_one_append_only() {
    for fault in [Fault::NoSpace, Fault::Io, Fault::Torn] {
        let disk = disk(1);
        let mut log = LogWriter::create(&disk, &INFO).unwrap();
        let mut seqno = 100;
        disk.fail_at(disk.calls(), fault);
        let error = append(&mut log, &mut seqno, &[12], true).unwrap_err();
        assert!(matches!(error, Error::Io { op: "write", .. }));
        assert_eq!(read(&disk).1.end, LogEnd::Clean { at: START });
        append(&mut log, &mut seqno, &[13], true).unwrap();
        log.sync(&disk).unwrap();
        assert_eq!(read(&disk).0, [(13, 0)]);
    }
}

#[test]
fn a_full_disk_fails_synced_writes_until_there_is_space() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    let mut seqno = 100;
    disk.limit_space(Some(1000));
    append(&mut log, &mut seqno, &[12], true).unwrap_err();
    append(&mut log, &mut seqno, &[12], true).unwrap_err();
    disk.limit_space(None);
    append(&mut log, &mut seqno, &[12], true).unwrap();
    log.seal(&disk).unwrap();
    assert_eq!(read(&disk).0, [(12, 0)]);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_written_any_more() {
    type Act = fn(&mut LogWriter, &SimDisk) -> Result<()>;
    let acts: [(&str, Act); 4] = [
        ("append", |log, _| append(log, &mut 101, &[13], false)),
        ("sync", |log, disk| log.sync(disk)),
        ("seal", |log, disk| log.seal(disk)),
        ("append, filling", |log, _| append(log, &mut 101, &[13], true)),
    ];
    for (name, act) in &acts[..3] {
        let disk = disk(1);
        let mut log = LogWriter::create(&disk, &INFO).unwrap();
        append(&mut log, &mut 100, &[12], false).unwrap();
        disk.fail_at(disk.calls(), Fault::Io);
        assert!(matches!(act(&mut log, &disk), Err(Error::Io { .. })), "{name}");
        let calls = disk.calls();
        for (later, act) in &acts {
            match act(&mut log, &disk) {
                Err(Error::Poisoned { reason }) => assert!(reason.contains(": "), "{reason}"),
                other => panic!("{later} after a failed {name}: {other:?}"),
            }
        }
        assert_eq!(disk.calls(), calls, "no call after a failed {name}");
    }
}

#[test]
fn a_log_that_can_t_be_created_leaves_nothing() {
    let disk = disk(1);
    disk.fail_at(disk.calls() + 1, Fault::Torn);
    LogWriter::create(&disk, &INFO).unwrap_err();
    assert_eq!(disk.file_names(), []);
    disk.write_file(NAME, *b"somebody else's");
    LogWriter::create(&disk, &INFO).unwrap_err();
    assert_eq!(disk.read_file(NAME).unwrap(), b"somebody else's");
}

/// What a workload was told: how many batches it attempted, how many are durable, and whether the
/// log was sealed.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    attempted: usize,
    durable: usize,
    sealed: bool,
}

/// Appends eleven batches, some of them synced, and seals; up to the first error.
fn workload(disk: &SimDisk, told: &mut Told, fill: bool) -> Result<()> {
    let mut log = LogWriter::create(disk, &INFO)?;
    let mut seqno = 100;
    for (index, lens) in [&[12][..], &[700, 13], &[14], &[600; 3], &[15; 4]].iter().enumerate() {
        told.attempted += lens.len();
        append(&mut log, &mut seqno, lens, fill)?;
        if index != 1 {
            log.sync(disk)?;
            told.durable = told.attempted;
        }
    }
    log.seal(disk)?;
    told.sealed = true;
    Ok(())
}

/// Checks what is found on a rebooted disk against what the workload was told before.
#[track_caller]
fn check_recovery(disk: &SimDisk, told: Told) {
    if !disk.file_names().contains(&NAME) {
        assert_eq!(told.durable, 0);
        return;
    }
    let (records, summary) = read(disk);
    assert!(summary.damage().is_none(), "{summary:?}");
    assert!(
        (told.durable..=told.attempted).contains(&records.len()),
        "{told:?}, but {} records were found: {summary:?}",
        records.len()
    );
    if told.sealed {
        assert!(matches!(summary.end, LogEnd::Sealed { .. }), "{summary:?}");
    }
}

#[test]
fn power_loss_at_any_call_leaves_the_synced_batches_and_no_holes() {
    for fill in [false, true] {
        let clean = disk(0);
        let first = clean.calls();
        workload(&clean, &mut Told::default(), fill).unwrap();
        for (call, mode) in
            (first..clean.calls()).flat_map(|call| CrashMode::ALL.map(|mode| (call, mode)))
        {
            for seed in 0..if fill { 1 } else { 10 } {
                let disk = disk(seed);
                disk.crash_at(call, mode);
                let mut told = Told::default();
                workload(&disk, &mut told, fill).unwrap_err();
                check_recovery(&disk.reboot(), told);
            }
        }
    }
}

#[test]
fn whatever_call_fails_what_was_reported_durable_is_there() {
    for fill in [false, true] {
        let clean = disk(0);
        let first = clean.calls();
        workload(&clean, &mut Told::default(), fill).unwrap();
        for (call, fault) in
            (first..clean.calls()).flat_map(|call| Fault::ALL.map(|fault| (call, fault)))
        {
            let disk = disk(call);
            disk.fail_at(call, fault);
            let mut told = Told::default();
            let result = workload(&disk, &mut told, fill);
            assert_eq!(result.is_ok(), told.sealed, "call {call}, {fault:?}");
            for mode in [CrashMode::LoseUnsynced, CrashMode::Sectors] {
                let disk = disk.fork(1);
                disk.crash(mode);
                check_recovery(&disk.reboot(), told);
            }
        }
    }
}
