//! `tinydb demo [DIR]`: what a newcomer runs first.
//!
//! ```text
//!   demo ── starts ──► demo-child ── writes batches ──► DIR
//!     │ ── "go on" ──►     │
//!     │ ◄── "acked n" ──   │
//!     │ ── SIGKILL ────►   ✝  in the middle of a batch
//!     ├─ reopens: is every acknowledged record there, and a batch whole or absent?
//!     ├─ writes the rest, flushes, closes, reopens
//!     └─ reads everything back by key, by scan, by reverse scan, and as many absent keys
//! ```
//!
//! Spec: none. I/O: a child process; standard output; the database through the library.
//! Unsafe: none.

mod check;
mod child;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{BinaryBytes, HumanCount};
use tinydb::{Db, Options};

use crate::import::Writer;
use crate::records::{Format, Record, Records};
use crate::{Answer, Outcome, open_existing};
pub(crate) use child::{Args as ChildArgs, NAME as CHILD, run as run_child};
use report::Timings;

/// The Unicode 15 character table, one record a character.
const DATA: &[u8] = include_bytes!("../../../../tests/data/unicode.tsv");

/// Records in one atomic, synced write.
const BATCH: u32 = 100;

/// Write 34,924 records, be killed in the middle, recover, and read every record back
///
/// Exit code 1 if anything differs from what was written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to make the database, which is then kept; default: a temporary directory
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if let Some(dir) = &args.dir {
        return run_in(dir);
    }
    let parent = tempfile::Builder::new().prefix("tinydb-demo-").tempdir()?;
    run_in(&parent.path().join("db"))
}

fn run_in(dir: &Path) -> Outcome {
    let records = records()?;
    let bytes = records.iter().map(Record::len).sum();
    let (count, size) = (HumanCount(records.len() as u64), BinaryBytes(bytes));
    println!("{count} records of the Unicode character table, {size} of keys and values\n");
    // Made here, so that the child can't fail on what the user can do something about.
    Options::new().error_if_exists(true).open(dir)?.close()?;

    let acked = child::write_until_killed(dir, records.len())?;
    println!("1. A process wrote batches of {BATCH}, each synced, and was killed with SIGKILL:");
    println!("   {} records were acknowledged", HumanCount(acked as u64));
    let (start, db) = (Instant::now(), open_existing(dir)?);
    let opened_in = start.elapsed();
    let (survived, mut faults) = check::survivors(&db.snapshot(), &records, acked)?;
    println!("2. Reopened in {opened_in:.1?}: {} records survived", HumanCount(survived as u64));

    let mut timings = Timings::default();
    let rest = records.get(survived..).unwrap_or_default();
    timings.measure("write, in synced batches", rest.len(), || write(&db, rest))?;
    db.flush()?;
    db.close()?;
    let (start, db) = (Instant::now(), open_existing(dir)?);
    println!("3. The rest written, flushed, closed, and reopened in {:.1?}\n", start.elapsed());

    faults.extend(check::read_back(&db, &records, &mut timings)?);
    db.close()?;
    timings.print();
    report::print_files(dir, bytes)?;
    for fault in &faults {
        eprintln!("tinydb: {fault}");
    }
    if !faults.is_empty() {
        return Ok(Answer::No);
    }
    println!("Every record was read back by key, by scan and by reverse scan: nothing differs.");
    Ok(Answer::Yes)
}

/// The demo's records, in the order in which they are written.
fn records() -> Outcome<Vec<Record>> {
    Ok(Records::new(DATA, Format::Tsv).collect::<Result<_, _>>()?)
}

fn write(db: &Db, records: &[Record]) -> Outcome<()> {
    let mut writer = Writer::new(db, BATCH);
    records.iter().try_for_each(|record| writer.add(record))?;
    writer.write()
}
