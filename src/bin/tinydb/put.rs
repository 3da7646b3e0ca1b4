//! `tinydb put DIR KEY [VALUE]`: gives a key a value.
//!
//! Spec: none. I/O: standard input; the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use tinydb::Db;

use crate::text::{argument, unescape};
use crate::{Answer, Outcome};

/// Give a key a value; makes the database if there is none
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// The key
    key: OsString,
    /// The value; without it, all of standard input
    value: Option<OsString>,
    /// Read key and value as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
    /// Let the key expire after so many seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key = argument(&args.key, args.escaped)?;
    let value = match &args.value {
        Some(value) => argument(value, args.escaped)?,
        None => read_value(args.escaped)?,
    };
    let db = Db::open(&args.dir)?;
    match args.ttl {
        Some(ttl) => db.put_with_ttl(key, value, Duration::from_secs(ttl))?,
        None => db.put(key, value)?,
    }
    db.close()?;
    Ok(Answer::Yes)
}

/// All of standard input.
pub(crate) fn read_value(escaped: bool) -> Outcome<Vec<u8>> {
    let mut value = Vec::new();
    io::stdin().lock().read_to_end(&mut value)?;
    Ok(if escaped { unescape(&value)? } else { value })
}
