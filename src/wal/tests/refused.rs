//! Logs that are refused, and what is said of them.

use super::*;

#[track_caller]
fn check_refused(disk: &SimDisk, database_id: u64, want: impl FnOnce(Error) -> bool) {
    let error = read_log(disk, database_id, NUMBER, |_| Ok(())).unwrap_err();
    let text = format!("{error:?}");
    assert!(want(error), "{text}");
}

#[test]
fn errors_name_the_file() {
    let disk = disk(1);
    check_refused(&disk, DATABASE, |error| matches!(error, Error::Io { op: "open", .. }));
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    append(&mut log, &mut 100, &[12, 13, 14], true).unwrap();
    log.seal(&disk).unwrap();
    let path = disk.path(NAME);
    check_refused(&disk, 99, |error| {
        matches!(error, Error::Corrupt { path: at, offset: 32, source }
            if at == path && source.rule().id == "L7")
    });
    let bytes = disk.read_file(NAME).unwrap();

    // A bad byte in the second record.
    let mut damaged = bytes.clone();
    let second = 136 + 48 + 16;
    damaged[second + 50] ^= 1;
    disk.write_file(NAME, damaged);
    let (records, summary) = read(&disk);
    assert_eq!(records.len(), 1);
    assert_eq!(summary.dropped_len(), (bytes.len() - second) as u64);
    for damage in [summary.damage(), summary.damage_if_sealed()] {
        match damage {
            Some(Error::Corrupt { path: at, offset, source }) => {
                assert_eq!((at, offset), (path.clone(), second as u64 + 48));
                assert_eq!(source.rule().id, "L10");
            }
            other => panic!("{other:?}"),
        }
    }

    // A log that was cut between two records: only a later log can tell.
    disk.write_file(NAME, &bytes[..second]);
    let (records, summary) = read(&disk);
    assert_eq!((records.len(), summary.damage().is_none()), (1, true));
    match summary.damage_if_sealed() {
        Some(Error::Corrupt { offset, source, .. }) => {
            assert_eq!((offset, source.rule().id), (second as u64, "L15"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_of_the_future_is_unsupported() {
    let disk = disk(1);
    drop(LogWriter::create(&disk, &INFO).unwrap());
    let mut bytes = disk.read_file(NAME).unwrap();
    bytes[12] = 1;
    let sum = crate::format::checksum::checksum(&bytes[..120], 0);
    bytes[120..128].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(NAME, bytes);
    check_refused(
        &disk,
        DATABASE,
        |error| matches!(error, Error::UnsupportedFormat { reason, .. } if reason == "feature bit 0"),
    );
}

#[test]
fn what_apply_returns_ends_the_reading() {
    let disk = disk(1);
    let mut log = LogWriter::create(&disk, &INFO).unwrap();
    append(&mut log, &mut 100, &[12, 13, 14], true).unwrap();
    let mut count = 0;
    let result = read_log(&disk, DATABASE, NUMBER, |_| {
        count += 1;
        if count == 2 { Err(Error::Closed) } else { Ok(()) }
    });
    assert!(matches!(result, Err(Error::Closed)));
    assert_eq!(count, 2);
}
