//! `tinydb compact DIR`: merges everything into one sorted run.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::ops::Bound;
use std::path::PathBuf;

use indicatif::HumanBytes;
use tinydb::{Db, Stats};

use crate::operator::open_with_operator;
use crate::{Answer, Outcome, progress, text};

/// Merge all tables into one sorted run, without hidden versions and tombstones
///
/// Prints how large the tables were and are. With a range, only tables that may hold its keys are
/// merged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// Merge from this key on
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Merge up to this key, which is not part of the range
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
    /// Read the keys as escaped text
    #[arg(long)]
    escaped: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let db = open_with_operator(&args.dir)?;
    let before = db.stats();
    let bar = progress::spinner("merging tables");
    merge(&db, args)?;
    bar.finish_and_clear();
    println!("before: {}", shape(&before));
    println!("after:  {}", shape(&db.stats()));
    db.close()?;
    Ok(Answer::Yes)
}

fn merge(db: &Db, args: &Args) -> Outcome<()> {
    if args.from.is_none() && args.to.is_none() {
        return Ok(db.compact()?);
    }
    let key = |key: &Option<OsString>| {
        key.as_deref().map(|key| text::argument(key, args.escaped)).transpose()
    };
    let (from, to) = (key(&args.from)?, key(&args.to)?);
    let from = from.map_or(Bound::Unbounded, Bound::Included);
    Ok(db.compact_range((from, to.map_or(Bound::Unbounded, Bound::Excluded)))?)
}

fn shape(stats: &Stats) -> String {
    let sum = |of: fn(&tinydb::LevelStats) -> u64| stats.levels.iter().map(of).sum::<u64>();
    let (tables, rows) = (sum(|level| level.tables), sum(|level| level.rows));
    let bytes = HumanBytes(sum(|level| level.bytes));
    format!("{tables} tables in {} levels, {rows} rows, {bytes}", stats.levels.len())
}
