//! `tinydb stats DIR`: prints what the database consists of.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Map, Value as Json};
use tinydb::Stats;

use crate::{Answer, Outcome, open_existing};

/// Print what the database consists of, and what opening it recovered
///
/// A line for each figure: its name, spaces, its value.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let db = open_existing(&args.dir)?;
    let figures = figures(&db.stats());
    let mut out = io::stdout().lock();
    if args.json {
        let object: Map<String, Json> = figures.into_iter().collect();
        writeln!(out, "{}", Json::Object(object))?;
    } else {
        for (name, value) in figures {
            match value {
                Json::String(text) => writeln!(out, "{name:<24}{text}")?,
                number => writeln!(out, "{name:<24}{number}")?,
            }
        }
    }
    out.flush()?;
    Ok(Answer::Yes)
}

/// Every figure with its name; those that do not apply are left out.
fn figures(stats: &Stats) -> Vec<(String, Json)> {
    let mut figures = Vec::new();
    let mut add = |name: &str, value: Json| figures.push((name.to_owned(), value));
    for level in &stats.levels {
        let number = level.level;
        add(&format!("level_{number}_tables"), level.tables.into());
        add(&format!("level_{number}_bytes"), level.bytes.into());
        add(&format!("level_{number}_rows"), level.rows.into());
        if level.range_tombstones > 0 {
            add(&format!("level_{number}_range_tombstones"), level.range_tombstones.into());
        }
    }
    add("memtable_rows", stats.memtable_rows.into());
    add("memtable_bytes", stats.memtable_bytes.into());
    add("frozen_memtables", stats.frozen_memtables.into());
    add("last_seqno", stats.last_seqno.into());
    let written = &stats.written;
    add("written_user_bytes", written.user_bytes.into());
    add("written_log_bytes", written.log_bytes.into());
    add("written_flushed_bytes", written.flushed_bytes.into());
    add("written_compacted_bytes", written.compacted_bytes.into());
    add("written_ingested_bytes", written.ingested_bytes.into());
    add("running_jobs", stats.running_jobs.len().into());
    add("finished_jobs", stats.finished_jobs.len().into());
    if let Some(name) = &stats.merge_operator {
        add("merge_operator", name.as_str().into());
    }
    let hooks = &stats.hooks;
    add("merge_failures", hooks.merge_failures.into());
    add("filter_failures", hooks.filter_failures.into());
    if let Some(failure) = &hooks.last_failure {
        add("last_hook_failure", failure.as_str().into());
    }
    let recovery = &stats.recovery;
    add("recovered_logs", recovery.log_count.into());
    add("recovered_batches", recovery.batch_count.into());
    add("recovered_rows", recovery.row_count.into());
    add("dropped_bytes", recovery.dropped_bytes.into());
    if let Some((path, offset)) = &recovery.stopped_at {
        add("replay_stopped_in", path.display().to_string().into());
        add("replay_stopped_at", (*offset).into());
    }
    if let Some(error) = &stats.background_error {
        add("background_error", error.as_str().into());
    }
    figures
}
