//! Tests of manifests on a simulated disk: the newest version is the old one or the new one.

use super::*;
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, TableRecord};
use crate::storage::{CrashMode, Fault, SimDisk, Storage};

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_root().unwrap();
    disk.sync_dir().unwrap();
    disk
}

fn version(manifest_number: u64) -> ManifestData {
    let table = |file_number| TableRecord {
        file_number,
        row_count: 1,
        max_seqno: file_number,
        smallest: b"from".to_vec(),
        largest: vec![b'z'; 700],
        ..TableRecord::default()
    };
    ManifestData {
        manifest_number,
        database_id: 1,
        next_file_number: manifest_number + 1,
        last_seqno: manifest_number,
        merge_operator: Some("counter".into()),
        tables: (1..=manifest_number).rev().map(table).collect(),
        ..ManifestData::default()
    }
}

fn newest(disk: &SimDisk) -> Result<Option<ManifestData>> {
    let listing = disk.list().unwrap().unwrap();
    load_newest(disk, &listing)
}

#[test]
fn the_newest_version_is_found() {
    let disk = disk(1);
    assert_eq!(newest(&disk).unwrap(), None);
    for number in [1, 2, 9, 10] {
        publish(&disk, &version(number)).unwrap();
        assert_eq!(newest(&disk).unwrap(), Some(version(number)));
    }
    assert_eq!(load(&disk, 2).unwrap(), version(2));
    let names = [1, 2, 9, 10].map(FileName::Manifest);
    assert_eq!(disk.file_names(), names);
    disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(newest(&disk.reboot()).unwrap(), Some(version(10)));
}

#[test]
fn other_files_are_not_manifests() {
    let disk = disk(1);
    for name in [FileName::Lock, FileName::Log(9), FileName::Table(9), FileName::Tmp(9)] {
        disk.write_file(name, *b"something");
    }
    assert_eq!(newest(&disk).unwrap(), None);
}

#[test]
fn power_loss_at_any_call_leaves_the_old_version_or_the_new_one() {
    let clean = disk(0);
    publish(&clean, &version(1)).unwrap();
    let first = clean.calls();
    publish(&clean, &version(2)).unwrap();
    for call in first..clean.calls() {
        for mode in CrashMode::ALL {
            for seed in 0..5 {
                let disk = disk(seed);
                publish(&disk, &version(1)).unwrap();
                disk.crash_at(call, mode);
                let error = publish(&disk, &version(2)).unwrap_err();
                let found = newest(&disk.reboot()).unwrap().unwrap().manifest_number;
                let unknown = error.rename_began && found == 2;
                assert!(found == 1 || unknown, "call {call}, {mode:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn whatever_call_fails_the_error_says_what_is_known() {
    let clean = disk(0);
    publish(&clean, &version(1)).unwrap();
    let first = clean.calls();
    publish(&clean, &version(2)).unwrap();
    for call in first..clean.calls() {
        for fault in Fault::ALL {
            let disk = disk(1);
            publish(&disk, &version(1)).unwrap();
            disk.fail_at(call, fault);
            let result = publish(&disk, &version(2));
            let found = newest(&disk).unwrap().unwrap().manifest_number;
            match &result {
                Ok(()) => assert_eq!(found, 2),
                Err(error) if error.rename_began => {
                    assert!(matches!(error.error, Error::Io { .. }));
                    continue;
                }
                Err(_) => {
                    assert_eq!(found, 1);
                    // The next number can be tried at once.
                    publish(&disk, &version(3)).unwrap();
                    assert_eq!(newest(&disk).unwrap(), Some(version(3)));
                }
            }
            let newest_before = newest(&disk).unwrap();
            disk.crash(CrashMode::LoseUnsynced);
            assert_eq!(newest(&disk.reboot()).unwrap(), newest_before, "call {call}, {fault:?}");
        }
    }
}

#[test]
fn a_failed_publication_leaves_no_temporary_file() {
    for fault in [Fault::NoSpace, Fault::Torn] {
        let disk = disk(1);
        disk.fail_at(disk.calls() + 1, fault);
        let error = publish(&disk, &version(1)).unwrap_err();
        assert!(!error.rename_began);
        assert_eq!(disk.file_names(), []);
    }
}

#[test]
fn a_version_that_breaks_a_rule_is_not_published() {
    let disk = disk(1);
    let calls = disk.calls();
    let mut twice = version(2);
    twice.tables = vec![twice.tables[0].clone(), twice.tables[0].clone()];
    twice.tables[1].level = 1;
    let mut above = version(2);
    above.last_seqno = 0;
    for (data, rule) in [(twice, "M13"), (above, "M11")] {
        let error = publish(&disk, &data).unwrap_err();
        assert!(!error.rename_began);
        match error.error {
            Error::Corrupt { source, .. } => assert_eq!(source.rule().id, rule),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(disk.calls(), calls);
}

#[test]
fn a_broken_newest_manifest_is_damage_and_nothing_older_is_opened() {
    let disk = disk(1);
    publish(&disk, &version(1)).unwrap();
    let whole = version(2).encode();
    let path = disk.path(FileName::Manifest(2));
    let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    cases.push(version(1).encode()); // a copy of another version
    cases.push([&whole[..], b"\0"].concat());
    for bytes in cases {
        let len = bytes.len();
        disk.write_file(FileName::Manifest(2), bytes);
        match newest(&disk) {
            Err(Error::Corrupt { path: at, .. }) => assert_eq!(at, path),
            other => panic!("{len} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_manifest_that_can_t_be_read_is_not_taken_for_damage() {
    let disk = disk(1);
    publish(&disk, &version(1)).unwrap();
    disk.fail_reads(FileName::Manifest(1), true);
    assert!(matches!(newest(&disk), Err(Error::Io { op: "open", .. })));
    disk.fail_reads(FileName::Manifest(1), false);

    let mut bytes = version(2).encode();
    bytes[8] = 9;
    let sum = crate::format::checksum::checksum(&bytes[..120], 0);
    bytes[120..128].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(FileName::Manifest(2), bytes);
    match newest(&disk) {
        Err(Error::UnsupportedFormat { path, reason }) => {
            assert_eq!(path, disk.path(FileName::Manifest(2)));
            assert_eq!(reason, "format version 9; this build reads 1");
        }
        other => panic!("{other:?}"),
    }
}
