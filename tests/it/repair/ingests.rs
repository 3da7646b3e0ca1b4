//! Ingests that were killed or finished, and then manifests are lost: what was finished stays whole,
//! what was not is gone as a whole, and hides nothing that was written beside it.

use std::path::PathBuf;

use tinydb::TableWriter;

use super::*;

/// A table outside of any database, and what it holds: every second key.
fn lone_table(dir: &tempfile::TempDir) -> (PathBuf, Rows) {
    let (path, mut rows) = (dir.path().join("rows"), Rows::new());
    let mut writer = TableWriter::create(&path, &options()).unwrap();
    for number in (0..KEYS).step_by(2) {
        let (name, value) = (key(number), format!("ingested {number}"));
        writer.put(&name, &value).unwrap();
        rows.insert(name.into_bytes(), value.into_bytes());
    }
    writer.finish().unwrap();
    (path, rows)
}

/// What is written before an ingest, or behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writes {
    Nothing,
    Logged,
    Flushed,
}

const WRITES: [Writes; 3] = [Writes::Nothing, Writes::Logged, Writes::Flushed];

impl Writes {
    fn make(self, db: &Db, name: &str, rows: &mut Rows) -> Result<()> {
        if self == Self::Nothing {
            return Ok(());
        }
        db.put(name, "written")?;
        rows.insert(name.as_bytes().to_vec(), b"written".to_vec());
        if self == Self::Flushed { db.flush() } else { Ok(()) }
    }
}

#[test]
fn a_finished_ingest_survives_the_loss_of_manifests() {
    let dir = tempfile::tempdir().unwrap();
    let (table, ingested) = lone_table(&dir);
    for (before, behind) in WRITES.iter().flat_map(|a| WRITES.map(|b| (*a, b))) {
        for (closes, all) in [(false, false), (false, true), (true, false), (true, true)] {
            let what = format!("{before:?} {behind:?}, closed {closes}, all {all}");
            let mut rows = Rows::new();
            let mut lost = || {
                let disk = SimDisk::new(1);
                let db = open(&disk).unwrap();
                before.make(&db, "key 0001", &mut rows).unwrap();
                db.ingest(&[&table]).unwrap();
                rows.extend(ingested.clone());
                behind.make(&db, "key 0003", &mut rows).unwrap();
                if closes {
                    db.close().unwrap();
                }
                let disk = disk.reboot();
                let last = newest(&disk, is_manifest);
                remove(&disk, |name| if all { is_manifest(name) } else { name == last });
                disk
            };
            let (first, second) = (lost(), lost());
            // That a later flush had a manifest of its own only a log behind it would tell.
            if let Ok(db) = open(&first) {
                let found = shown(&db);
                let has = |(key, value): (&Vec<u8>, _)| found.get(key) == Some(value);
                assert!(ingested.iter().all(has), "what opens has all of the ingest: {what}");
            }
            let (report, db) = repaired(&second);
            assert!(shown(&db) == rows, "{what}: {report:#?}");
        }
    }
}

#[test]
fn a_killed_ingest_hides_nothing_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (table, ingested) = lone_table(&dir);
    for before in WRITES {
        for manifests in [true, false] {
            for call in 0.. {
                let (disk, mut rows) = (SimDisk::new(1), Rows::new());
                let db = open(&disk).unwrap();
                before.make(&db, "key 0001", &mut rows).unwrap();
                let mut all = rows.clone();
                all.extend(ingested.clone());
                disk.crash_at(disk.calls() + call, CrashMode::Kill);
                let ended = db.ingest(&[&table]);
                if !disk.is_down() {
                    ended.unwrap();
                    break;
                }
                let disk = disk.reboot();
                if !manifests {
                    remove(&disk, is_manifest);
                }
                let what = format!("{before:?} call {call}, manifests {manifests}");
                let is_empty =
                    !disk.file_names().iter().any(|name| is_table(*name) || is_log(*name));
                if is_empty && !manifests {
                    continue;
                }
                let (report, db) = repaired(&disk);
                let found = shown(&db);
                assert!(found == rows || found == all, "{what}: {report:#?}");
                assert!(!manifests || report.is_healthy(), "{what}: {report:#?}");
            }
        }
    }
}
