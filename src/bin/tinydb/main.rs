//! The `tinydb` command line: a user of the library like any other.
//!
//! One file a verb. Every verb reads `tinydb VERB DIR [KEY [VALUE]]`; only `dump` takes a file.
//!
//! ```text
//!   main ── verb ── tinydb's public API
//!             ├──── text      how keys and values are spelled on a line
//!             ├──── operator  opens a database with the merge operator that it stores
//!             ├──── records   tsv and jsonl, plain or .gz
//!             └──── progress  a bar for long work
//! ```
//!
//! # Invariants
//!
//! - Standard output carries answers and nothing else; messages and progress go to standard error.
//! - The exit code tells a script what happened: see [`Answer`] and [`EXIT_CODES`].
//!
//! Spec: none. I/O: arguments, standard streams, input files; the database through the library.
//! Unsafe: none.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tool opens input files and measures time; it has no part in the engine"
)]

mod compact;
mod delete;
mod delete_range;
mod demo;
mod dump;
mod get;
mod import;
mod merge;
mod operator;
mod progress;
mod put;
mod records;
mod repair;
mod scan;
mod stats;
mod text;
mod verify;

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tinydb::{Db, Options};

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the answer is no (the key is absent, damage was \
                          found, something is lost); 2 the command line is wrong; 3 it failed.";

/// An embedded key-value database, from the command line.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Args),
    #[command(name = demo::CHILD, hide = true)]
    DemoChild(demo::ChildArgs),
    Import(import::Args),
    Get(get::Args),
    Put(put::Args),
    Merge(merge::Args),
    Delete(delete::Args),
    DeleteRange(delete_range::Args),
    Scan(scan::Args),
    Compact(compact::Args),
    Stats(stats::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Dump(dump::Args),
}

/// What a verb that did not fail has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

/// What a verb gives: any error will do, as the user only reads it.
type Outcome<T = Answer> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::DemoChild(args) => demo::run_child(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Get(args) => get::run(&args),
        Verb::Put(args) => put::run(&args),
        Verb::Merge(args) => merge::run(&args),
        Verb::Delete(args) => delete::run(&args),
        Verb::DeleteRange(args) => delete_range::run(&args),
        Verb::Scan(args) => scan::run(&args),
        Verb::Compact(args) => compact::run(&args),
        Verb::Stats(args) => stats::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Repair(args) => repair::run(&args),
        Verb::Dump(args) => dump::run(&args),
    };
    match outcome {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        // Whoever reads our output has read enough, as in `tinydb scan … | head`.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tinydb: {}", with_sources(error.as_ref()));
            ExitCode::from(3)
        }
    }
}

/// Opens a database that must exist. Merged values can't be read: for that there is `operator`.
fn open_existing(dir: &Path) -> tinydb::Result<Db> {
    Options::new().create_if_missing(false).open(dir)
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and, after colons, what caused it.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
