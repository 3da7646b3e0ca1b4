//! `tinydb delete DIR KEY`: makes a key absent.
//!
//! Spec: none. I/O: the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::text::argument;
use crate::{Answer, Outcome, open_existing};

/// Make a key absent; fine if it is already
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// The key
    key: OsString,
    /// Read the key as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key = argument(&args.key, args.escaped)?;
    let db = open_existing(&args.dir)?;
    db.delete(key)?;
    db.close()?;
    Ok(Answer::Yes)
}
