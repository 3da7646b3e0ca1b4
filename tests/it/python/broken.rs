//! Files that are broken under right checksums: both readers refuse the same, by the same rule.

use std::fs;
use std::path::Path;

use tinydb::internals::checksum::checksum;
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::{LogEnd, LogReader};
use tinydb::internals::manifest::{ManifestData, ManifestView, TableRecord};
use tinydb::internals::table_file::{FrameError, Properties, REGION_PROPERTIES};
use tinydb::internals::{SimDisk, Storage};
use tinydb::{Db, Options};

use super::ask;
use super::decoded::region;
use crate::sums::{Sum, parse, sums_of_log, sums_of_manifest, sums_of_table};
use crate::support::{Draw, Seed, first_seed, runs};

const LOG_NUMBER: u64 = 7;
const MANIFEST_NUMBER: u64 = 42;
const DATABASE_ID: u64 = 0x0102_0304_0506_0708;
const SECTORS: [usize; 3] = [1, 8, 512];

/// A file as it should be, with its checksums in the order in which they have to be made anew.
struct Whole {
    name: FileName,
    bytes: Vec<u8>,
    sums: Vec<Sum>,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn wholes() -> Vec<Whole> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|it| it == "bin"));
    let whole = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap();
        let kind = path.file_stem().unwrap().to_string_lossy().into_owned();
        Some(match kind.split('-').next()? {
            "table" => Whole { name: FileName::Table(12), sums: sums_of_table(&bytes), bytes },
            "log" if bytes.len() > 128 => Whole {
                name: FileName::Log(LOG_NUMBER),
                sums: sums_of_log(&bytes, DATABASE_ID, LOG_NUMBER),
                bytes,
            },
            "manifest" => {
                let sums = sums_of_manifest(&bytes);
                Whole { name: FileName::Manifest(MANIFEST_NUMBER), sums, bytes }
            }
            _ => return None,
        })
    };
    paths.iter().filter_map(whole).collect()
}

/// Changes one or two places that mean something, and makes most checksums right again.
fn break_it(whole: &Whole, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = whole.bytes.clone();
    for _ in 0..=draw.below(2) {
        // Mostly where there are no long zeros.
        let at = loop {
            let at = draw.below(bytes.len());
            let around = &bytes[at.saturating_sub(9)..(at + 9).min(bytes.len())];
            if around.iter().any(|byte| *byte != 0) || draw.one_in(200) {
                break at;
            }
        };
        match draw.below(6) {
            0 => bytes[at] = *draw.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 => bytes[at] = bytes[at].wrapping_sub(1),
            3 => {
                let start = at - at % *draw.pick(&SECTORS);
                let end = (start + *draw.pick(&SECTORS)).min(bytes.len());
                bytes[start..end].fill(0);
            }
            _ => bytes[at] ^= 1 << draw.below(8),
        }
    }
    if matches!(whole.name, FileName::Log(_)) {
        // Only a database tells which identity a log should have.
        bytes[32..40].copy_from_slice(&whole.bytes[32..40]);
    }
    if draw.one_in(20) {
        let unit = *draw.pick(&[1, 4096]);
        let len = draw.below(bytes.len() + 1);
        bytes.truncate(len - len % unit);
    }
    for sum in &whole.sums {
        if !draw.one_in(30) {
            sum.make_right(&mut bytes);
        }
    }
    bytes
}

// ---- what TinyDB says -------------------------------------------------------------------------

/// What a reader says of a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Every rule holds.
    Whole,
    /// A log that ends with a seal.
    Sealed,
    /// A log that ends as a crash may leave it: where, and the rule.
    Torn(u64, String),
    /// A rule is broken, or a feature is not known.
    Refused(String),
}

pub(crate) fn verdict(name: FileName, bytes: &[u8]) -> Verdict {
    match name {
        FileName::Log(number) => verdict_on_log(number, bytes),
        FileName::Manifest(number) => verdict_on_manifest(number, bytes),
        _ => verdict_on_table(name, bytes),
    }
}

fn of_frame(error: &FrameError) -> Verdict {
    Verdict::Refused(match error {
        FrameError::Broken(error) => error.rule().id.to_owned(),
        FrameError::Unsupported(_) => "unsupported".to_owned(),
    })
}

fn verdict_on_log(number: u64, bytes: &[u8]) -> Verdict {
    let mut log = match LogReader::open(bytes, DATABASE_ID, number) {
        Ok(log) => log,
        Err(error) => return of_frame(&error),
    };
    (&mut log).for_each(drop);
    match log.end().unwrap() {
        LogEnd::Clean { .. } => Verdict::Whole,
        LogEnd::Sealed { .. } => Verdict::Sealed,
        LogEnd::Torn { at, error } => Verdict::Torn(at, error.rule().id.to_owned()),
        LogEnd::Damaged { error, .. } => Verdict::Refused(error.rule().id.to_owned()),
    }
}

fn verdict_on_manifest(number: u64, bytes: &[u8]) -> Verdict {
    let parsed = ManifestView::parse(bytes).and_then(|view| {
        view.check_number(number)?;
        Ok(view.to_data()?)
    });
    parsed.map_or_else(|error| of_frame(&error), |_| Verdict::Whole)
}

/// TinyDB verifies tables of databases only: this is one with a manifest that knows the file.
fn verdict_on_table(name: FileName, bytes: &[u8]) -> Verdict {
    let file_id = if bytes.len() < 32 { 0 } else { word(bytes, 24) };
    let range_tombstone_count = parse(bytes).ok().and_then(|frame| {
        let properties = region(bytes, &frame, REGION_PROPERTIES)?;
        Some(Properties::parse(properties).ok()?.header.range_tombstone_count.get())
    });
    let record = TableRecord {
        file_number: name.number().unwrap(),
        file_id,
        file_len: bytes.len() as u64,
        checksum: checksum(bytes, file_id),
        row_count: 1,
        range_tombstone_count: range_tombstone_count.unwrap_or(0),
        ..TableRecord::default()
    };
    let manifest = ManifestData {
        manifest_number: 20,
        database_id: 1,
        hash_seed: 1,
        next_file_number: 30,
        last_seqno: 0,
        oldest_log: 25,
        merge_operator: None,
        tables: vec![record],
    };
    let disk = SimDisk::new(0);
    disk.create_root().unwrap();
    disk.write_file(name, bytes);
    disk.write_file(FileName::Manifest(20), manifest.encode());
    let options = Options::new().background_threads(0);
    let db = Db::open_on(std::sync::Arc::new(disk), options).unwrap();
    let report = db.verify().unwrap();
    let Some(problem) = report.problems().first() else { return Verdict::Whole };
    let rule = problem.rule.strip_prefix("rule ").and_then(|rest| rest.split(' ').next());
    Verdict::Refused(rule.unwrap_or("unsupported").to_owned())
}

// ---- what the reader in Python says -------------------------------------------------------------

/// The verdict that stands in a line of `tinydb_reader.py verify`.
fn verdict_in(line: &str) -> Verdict {
    if let Some(broken) = line.strip_prefix("BROKEN: ") {
        let rule = broken.split_once(": rule ").and_then(|(_, rest)| rest.split(' ').next());
        return Verdict::Refused(rule.unwrap_or("unsupported").to_owned());
    }
    if let Some(torn) = line.strip_prefix("torn at ") {
        let (at, rest) = torn.split_once(", rule ").unwrap();
        return Verdict::Torn(at.parse().unwrap(), rest.split(';').next().unwrap().to_owned());
    }
    match line {
        "all rules hold; the log is sealed" => Verdict::Sealed,
        "all rules hold; the log is clean" | "all rules hold" => Verdict::Whole,
        _ => panic!("{line}"),
    }
}

#[test]
fn a_file_broken_under_right_checksums_is_refused_by_both_for_the_same_rule() {
    let seed = first_seed();
    let _seed = Seed(seed, "broken files".to_owned());
    let (mut draw, wholes) = (Draw::new(seed), wholes());
    let dir = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for run in 0..runs(150) {
        let whole = draw.pick(&wholes);
        let bytes = break_it(whole, &mut draw);
        let path = dir.path().join(run.to_string());
        fs::create_dir(&path).unwrap();
        let path = path.join(whole.name.to_string());
        fs::write(&path, &bytes).unwrap();
        cases.push((path, verdict(whole.name, &bytes)));
    }
    let mut arguments = vec!["verify".into()];
    arguments.extend(cases.iter().map(|(path, _)| path.clone().into_os_string()));
    let Some(answer) = ask("tinydb_reader.py", arguments) else { return };
    assert!(answer.errors.iter().all(|line| line.ends_with(" are broken")), "{:?}", answer.errors);
    let lines = answer.lines;
    assert_eq!(lines.len(), cases.len());
    let (mut differences, mut refused, mut same_rule) = (Vec::new(), 0, 0);
    for (line, (path, expected)) in lines.iter().zip(&cases) {
        let found = line.strip_prefix(&format!("{}: ", path.display())).expect("a line a file");
        let found = verdict_in(found);
        // Where several rules are broken it is anybody's choice which one is named.
        let agree = match (expected, &found) {
            (Verdict::Refused(_), Verdict::Refused(_)) => true,
            // Without a whole header only a database knows what a proof is seeded with.
            (Verdict::Refused(rule), Verdict::Torn(0, found)) => rule == found,
            (expected, found) => expected == found,
        };
        if !agree {
            differences.push(format!("{}: {expected:?}, in Python {found:?}", path.display()));
        }
        refused += u64::from(matches!(expected, Verdict::Refused(_)));
        same_rule += u64::from(matches!(expected, Verdict::Refused(_)) && *expected == found);
    }
    println!("{} files, {refused} refused, {same_rule} of them for the same rule", cases.len());
    if !differences.is_empty() {
        // So that they can be looked at.
        let dir = dir.keep();
        panic!("{} differ in {}:\n{}", differences.len(), dir.display(), differences.join("\n"));
    }
    assert!(same_rule * 10 > refused * 7, "rules are hardly ever the same");
}
