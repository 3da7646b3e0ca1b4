//! Several jobs at the same time.

use std::collections::BTreeMap;

use tinydb::CompactionStyle;
use tinydb::internals::SimDisk;
use tinydb::internals::file_name::FileName;
use tinydb::internals::manifest::ManifestView;

use super::{FULL, check_next_open, check_numbers_are_new, open, options, until};
use crate::gate::{Gate, GatedDisk};
use crate::support::dump;

/// Three tables of level 5, each over one of level 6 and over nothing else.
fn three_pairs(disk: &SimDisk) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let gated = GatedDisk::new(disk);
    let manual = options().background_threads(0).compaction(CompactionStyle::Manual);
    let db = open(&gated, manual);
    for round in 0..2 {
        for letter in ["a", "b", "c"] {
            for row in 0..100 {
                db.put(format!("{letter}{row:02}"), format!("{round} {}", "v".repeat(100)))
                    .unwrap();
            }
            db.flush().unwrap();
        }
    }
    let rows = dump(&db).unwrap();
    db.close().unwrap();
    // Only the manifest says on which level a table lies.
    let is_manifest = |name: &FileName| matches!(name, FileName::Manifest(_));
    let name = disk.file_names().into_iter().filter(is_manifest).max().unwrap();
    let bytes = disk.read_file(name).unwrap();
    let mut data = ManifestView::parse(&bytes).unwrap().to_data().unwrap();
    for table in &mut data.tables {
        table.level = if table.max_seqno <= 300 { 6 } else { 5 };
    }
    data.tables.sort_by(|a, b| (a.level, &a.smallest).cmp(&(b.level, &b.smallest)));
    disk.write_file(name, data.encode());
    rows
}

#[test]
fn merges_of_different_tables_run_at_once_and_leave_a_thread_for_flushes() {
    let disk = GatedDisk::new(&SimDisk::new(1));
    let mut want = three_pairs(&disk.disk);
    disk.set(Gate::ShutInBackground);
    let db = open(&disk, options().background_threads(3));
    // Level 5 is as large as level 6, so it is due without waiting for a rest.
    until(|| disk.waiting() == 2);
    let running = db.stats().running_jobs;
    assert_eq!(running.len(), 2, "{running:?}");
    for job in &running {
        assert_eq!((job.input_tables, job.input_rows, job.output_level), (2, 200, 6), "{job:?}");
    }
    assert!(dump(&db).unwrap() == want, "while they run");
    // A third merge would be due; but the third thread is there for this.
    db.put("full", FULL).unwrap();
    want.insert(b"full".to_vec(), FULL.to_vec());
    until(|| disk.waiting() == 3);
    assert_eq!(db.stats().running_jobs.len(), 2);
    assert!(db.stats().finished_jobs.is_empty());
    disk.set(Gate::Open);
    until(|| db.stats().finished_jobs.iter().filter(|job| !job.is_move).count() == 3);
    db.wait_idle().unwrap();
    let stats = db.stats();
    let merges: Vec<_> = stats.finished_jobs.iter().filter(|job| !job.is_move).collect();
    for job in merges {
        assert_eq!((job.rows_in, job.rows_out, job.rows_hidden), (200, 100, 100), "{job:?}");
    }
    assert_eq!(stats.levels.len(), 1);
    assert_eq!((stats.levels[0].level, stats.levels[0].rows), (6, 301));
    assert!(dump(&db).unwrap() == want);
    assert!(db.verify().unwrap().is_ok());
    check_numbers_are_new(&disk);
    db.close().unwrap();
    check_next_open(&disk.disk, &want);
}
