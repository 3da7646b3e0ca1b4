//! `tinydb merge DIR KEY [OPERAND]`: hands an operand to the database's merge operator.
//!
//! Spec: none. I/O: standard input; the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::put::read_value;
use crate::text::argument;
use crate::{Answer, Outcome, operator};

/// Merge an operand into the value of a key; makes the database if there is none
///
/// A database knows its merge operator by name; `--operator` gives it one if it has none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// The key
    key: OsString,
    /// The operand; without it, all of standard input
    operand: Option<OsString>,
    /// The operand is this number, as counters have them: eight bytes, little-endian
    #[arg(long, conflicts_with = "operand", allow_negative_numbers = true)]
    number: Option<i64>,
    /// Read key and operand as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
    #[command(flatten)]
    operator: operator::Choice,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let key = argument(&args.key, args.escaped)?;
    let operand = match (&args.operand, args.number) {
        (_, Some(number)) => number.to_le_bytes().to_vec(),
        (Some(operand), None) => argument(operand, args.escaped)?,
        (None, None) => read_value(args.escaped)?,
    };
    let db = operator::open_to_merge(&args.dir, &args.operator)?;
    if let Err(error) = db.merge(key, operand) {
        return Err(match (error, db.stats().merge_operator) {
            (tinydb::Error::NoMergeOperator { .. }, None) => {
                "the database has no merge operator yet; --operator gives it one".into()
            }
            (tinydb::Error::NoMergeOperator { .. }, Some(name)) => {
                format!("the merge operator \"{name}\" is none of the library's").into()
            }
            (error, _) => error.into(),
        });
    }
    db.close()?;
    Ok(Answer::Yes)
}
