//! What a crash leaves, and logs that were damaged: TinyDB recovers from it, and the Python reader
//! reads it as it is. Both see the same rows, or both refuse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tinydb::internals::file_name::FileName;
use tinydb::internals::{CrashMode, SimDisk};
use tinydb::{Durability, Options, merge};

use super::ask;
use super::databases::picture_in;
use crate::support::{Draw, Seed, dump, first_seed, runs};
use crate::workload::Step::{Compact, Flush, Reopen, Sync, WaitIdle, Write};
use crate::workload::{History, Script, Step, open};

fn options(draw: &mut Draw) -> Options {
    Options::new()
        .merge_operator(merge::Append::new("+"))
        .background_threads(0)
        .memtable_size(64 << 10)
        .block_size(*draw.pick(&[1 << 10, 4 << 10]))
}

fn script(draw: &mut Draw) -> Script {
    let step = |draw: &mut Draw| match draw.below(16) {
        0 => Flush,
        1 => Compact,
        2 => WaitIdle,
        3 => Sync,
        4 | 5 => Reopen,
        6..=9 => Write(Durability::Sync),
        _ => Write(Durability::Buffered),
    };
    let steps: Vec<Step> = (0..4 + draw.below(20)).map(|_| step(draw)).collect();
    Script::new(&steps, *draw.pick(&[30, 30, 300, 7_000]))
}

/// Runs a workload until the power goes, at any call or at its end.
fn crashed(draw: &mut Draw, options: &Options) -> SimDisk {
    let (script, disk) = (script(draw), SimDisk::new(draw.next()));
    let mode = *draw.pick(&CrashMode::ALL);
    disk.crash_at(draw.next() % 150, mode);
    // The power may go, or not.
    let _ = script.run(&disk, options, &mut History::default());
    if !disk.is_down() {
        disk.crash(mode);
    }
    disk.reboot()
}

/// Takes a log away, or changes it: whatever a bad disk may do.
fn damage(disk: &SimDisk, draw: &mut Draw) {
    let is_log = |name: &FileName| matches!(name, FileName::Log(_));
    let logs: Vec<FileName> = disk.file_names().into_iter().filter(is_log).collect();
    if logs.is_empty() {
        return;
    }
    let log = *draw.pick(&logs);
    let mut bytes = disk.read_file(log).unwrap();
    // Behind the last byte that is not zero little can be damaged.
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if len == 0 {
        return;
    }
    match draw.below(5) {
        0 => return disk.remove_file(log),
        1 => bytes.truncate(draw.below(len)),
        2 => {
            let start = draw.below(len);
            let end = (start + *draw.pick(&[8, 64, 512])).min(len);
            bytes[start..end].fill(0);
        }
        _ => bytes[draw.below(len)] ^= 1 << draw.below(8),
    }
    disk.write_file(log, bytes);
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the Python reader sees, or why it sees nothing; `None` without `python3`.
fn seen_in_python(disk: &SimDisk, dir: &Path) -> Option<Result<Rows, String>> {
    fs::create_dir(dir).unwrap();
    for name in disk.file_names() {
        fs::write(dir.join(name.to_string()), disk.read_file(name).unwrap()).unwrap();
    }
    let answer = ask("tinydb_reader.py", ["scan", dir.to_str().unwrap(), "--visible"])?;
    Some(match answer.errors.iter().find(|line| line.starts_with("error: ")) {
        Some(error) => Err(error.clone()),
        None => Ok(picture_in(&answer.lines)),
    })
}

#[test]
fn the_reader_in_python_sees_of_a_crashed_or_damaged_database_what_recovery_finds() {
    let dir = tempfile::tempdir().unwrap();
    let (mut whole, mut refused, mut same_rule) = (0, 0, 0);
    for seed in first_seed()..first_seed() + runs(40) {
        let _seed = Seed(seed, "a crashed database read in Python".to_owned());
        let mut draw = Draw::new(seed);
        let options = options(&mut draw);
        let disk = crashed(&mut draw, &options);
        if draw.one_in(2) {
            damage(&disk, &mut draw);
        }
        if !disk.file_names().iter().any(|name| matches!(name, FileName::Manifest(_))) {
            continue;
        }
        let Some(in_python) = seen_in_python(&disk, &dir.path().join(seed.to_string())) else {
            return;
        };
        let recovered = open(&disk, &options).and_then(|db| dump(&db));
        match (recovered, in_python) {
            (Ok(recovered), Ok(in_python)) => {
                assert!(recovered == in_python, "other rows are seen");
                whole += 1;
            }
            (Err(tinydb::Error::Corrupt { source, path, .. }), Err(in_python)) => {
                let name = path.file_name().unwrap().to_string_lossy();
                let rule = format!("{name}: rule {} ", source.rule().id);
                same_rule += u64::from(in_python.contains(&rule));
                refused += 1;
            }
            (recovered, in_python) => {
                let (recovered, in_python) = (recovered.map(drop), in_python.map(drop));
                panic!("TinyDB: {recovered:?}, Python: {in_python:?}");
            }
        }
        fs::remove_dir_all(dir.path().join(seed.to_string())).unwrap();
    }
    println!("{whole} read, {refused} refused by both, {same_rule} for the same rule");
}
