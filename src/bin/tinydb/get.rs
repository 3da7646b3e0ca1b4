//! `tinydb get DIR KEY`: prints a value.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::operator::open_with_operator;
use crate::text::{argument, escape};
use crate::{Answer, Outcome};

/// Print the value of a key; exit code 1 if it is absent
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// The key
    key: OsString,
    /// Read the key and print the value as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
    /// Print no newline after the value
    #[arg(long, short)]
    no_newline: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key = argument(&args.key, args.escaped)?;
    let db = open_with_operator(&args.dir)?;
    let Some(value) = db.get(key)? else { return Ok(Answer::No) };
    let mut out = io::stdout().lock();
    if args.escaped {
        let mut text = String::new();
        escape(&mut text, &value);
        out.write_all(text.as_bytes())?;
    } else {
        out.write_all(&value)?;
    }
    if !args.no_newline {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(Answer::Yes)
}
