//! `tinydb delete-range DIR`: makes all keys of a range absent.
//!
//! Spec: none. I/O: the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

use crate::text::argument;
use crate::{Answer, Outcome, open_existing};

/// Make all keys of a range absent, in no time
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// This key and those behind it; without it, from the first
    #[arg(long, value_name = "KEY", required_unless_present_any = ["to", "all"])]
    from: Option<OsString>,
    /// Only keys before this one; without it, to the last
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
    /// All keys
    #[arg(long, conflicts_with_all = ["from", "to"])]
    all: bool,
    /// Read the keys as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key =
        |key: &Option<OsString>| key.as_ref().map(|key| argument(key, args.escaped)).transpose();
    let (from, to) = (key(&args.from)?, key(&args.to)?);
    let db = open_existing(&args.dir)?;
    db.delete_range((from.map_or(Unbounded, Included), to.map_or(Unbounded, Excluded)))?;
    db.close()?;
    Ok(Answer::Yes)
}
