//! The same work on TinyDB and on what one might use in its place.
//!
//! This process asks; each engine lives in a process of its own, so that memory can be told apart
//! and no engine slows another down, and does one round when it is asked to. Rounds take turns, so
//! that whatever else the machine does meets all alike. See README.md beside this crate.

use std::path::PathBuf;

use clap::Parser;

#[path = "../../control_group/mod.rs"]
mod control_group;
mod data;
mod engines;
mod measure;
mod report;
mod run;
mod work;

/// Runs the same work on several stores and prints a table.
#[derive(Clone, Debug, Parser)]
pub struct Arguments {
    /// Rows of the data.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value_len: usize,
    /// What keys look like.
    #[arg(long, value_enum, default_value = "user")]
    keys: data::KeyShape,
    /// Rounds of each workload, of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Reads of a round; the workloads of longer operations take a part of it.
    #[arg(long, default_value_t = 200_000)]
    reads: usize,
    /// Engines, by name; all if none is named.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Workloads, by the start of their name; all if none is named.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the databases are made; the system's temporary directory otherwise.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where results.json, table.md and the charts go.
    #[arg(long, default_value = "results")]
    out: PathBuf,
    /// Serves one engine (this program starts itself so).
    #[arg(long, hide = true)]
    worker: Option<String>,
}

impl Arguments {
    fn data(&self) -> data::Data {
        let &Self { rows, value_len, keys, seed, .. } = self;
        data::Data { rows, value_len, keys, seed }
    }
}

fn main() {
    let arguments = Arguments::parse();
    match &arguments.worker {
        Some(engine) => work::serve(engine, &arguments),
        None => run::run(&arguments),
    }
}
