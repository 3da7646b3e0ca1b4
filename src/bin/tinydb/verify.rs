//! `tinydb verify DIR`: checks every byte that the database holds.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::path::PathBuf;

use indicatif::HumanCount;
use tinydb::Error;

use crate::{Answer, Outcome, open_existing, progress, with_sources};

/// Check every checksum and rule of every file; exit code 1 if something is damaged
///
/// Prints a line for each problem, tabs between file, offset and the rule that is broken; or one
/// line that says how much is whole.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let db = match open_existing(&args.dir) {
        // So damaged that it can't even be opened: that is an answer too.
        Err(error @ Error::Corrupt { .. }) => {
            println!("{}", with_sources(&error));
            return Ok(Answer::No);
        }
        other => other?,
    };
    let bar = progress::spinner("reading every file");
    let report = db.verify()?;
    bar.finish_and_clear();
    for problem in report.problems() {
        println!("{}\t{}\t{}", problem.path.display(), problem.offset, problem.rule);
    }
    if !report.is_ok() {
        return Ok(Answer::No);
    }
    let (files, bytes) = (HumanCount(report.file_count()), HumanCount(report.byte_count()));
    println!("{files} files with {bytes} bytes are whole");
    Ok(Answer::Yes)
}
