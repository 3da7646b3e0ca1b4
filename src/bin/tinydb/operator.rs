//! Merge operators by name: the tool knows those that come with the library.
//!
//! A database stores the name of its operator, so nobody has to say it again: without the operator,
//! keys that were merged could not be read.
//!
//! Spec: none. I/O: the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;
use tinydb::{Db, MergeOperator, Options, merge};

use crate::text::{argument, unescape};
use crate::{Outcome, open_existing};

/// Which operator a database without one shall have.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// The merge operator of a database that has none yet; one that has keeps its own
    #[arg(long, value_enum)]
    operator: Option<Builtin>,
    /// What `append` puts between any two values, as escaped text; nothing by default
    #[arg(long, value_name = "TEXT", requires = "operator")]
    separator: Option<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Builtin {
    /// Adds numbers of eight bytes
    Counter,
    /// Joins values
    Append,
    /// Keeps the largest value
    Max,
    /// Keeps the smallest value
    Min,
}

type Operator = Box<dyn MergeOperator>;

/// Opens a database that must exist, with its operator if that is one of the library's.
pub(crate) fn open_with_operator(dir: &Path) -> tinydb::Result<Db> {
    with_own_operator(open_existing(dir)?, dir)
}

/// Opens a database to merge into it, and makes it if there is none.
pub(crate) fn open_to_merge(dir: &Path, choice: &Choice) -> Outcome<Db> {
    let Some(operator) = choice.named()? else {
        return Ok(with_own_operator(Db::open(dir)?, dir)?);
    };
    Ok(Options::new().merge_operator(operator).open(dir)?)
}

/// Opens it once more, with the operator whose name it stores.
fn with_own_operator(db: Db, dir: &Path) -> tinydb::Result<Db> {
    let name = db.stats().merge_operator;
    let Some(operator) = name.as_deref().and_then(by_name) else { return Ok(db) };
    db.close()?;
    Options::new().create_if_missing(false).merge_operator(operator).open(dir)
}

impl Choice {
    fn named(&self) -> Outcome<Option<Operator>> {
        let Some(operator) = self.operator else { return Ok(None) };
        if self.separator.is_some() && operator != Builtin::Append {
            return Err("only the operator append has a separator".into());
        }
        let separator = self.separator.as_deref().map(|text| argument(text, true)).transpose()?;
        Ok(Some(match operator {
            Builtin::Counter => Box::new(merge::Counter),
            Builtin::Append => Box::new(merge::Append::new(separator.unwrap_or_default())),
            Builtin::Max => Box::new(merge::Max),
            Builtin::Min => Box::new(merge::Min),
        }))
    }
}

/// The library's operator of this name.
fn by_name(name: &str) -> Option<Operator> {
    let plain: [Operator; 3] =
        [Box::new(merge::Counter), Box::new(merge::Max), Box::new(merge::Min)];
    let append = || {
        let separator = name.strip_prefix("tinydb.append(")?.strip_suffix(')')?;
        let append = merge::Append::new(unescape_ascii(separator)?);
        (append.name() == name).then(|| Box::new(append) as Operator)
    };
    plain.into_iter().find(|operator| operator.name() == name).or_else(append)
}

/// What `<[u8]>::escape_ascii` was given, if it gave this.
fn unescape_ascii(text: &str) -> Option<Vec<u8>> {
    // It knows two escapes more than the tool's own text does; no other one holds a quote.
    let text = text.replace("\\'", "'").replace("\\\"", "\"");
    unescape(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_found_by_its_name() {
        let all: Vec<u8> = (0..=255).collect();
        let separators = [&b""[..], b",", b", ", b"\n", b"'", b"\"", b"\\", b"\\'", b")", &all];
        let appends = separators.map(|separator| merge::Append::new(separator).name().to_owned());
        let names = ["tinydb.counter", "tinydb.max", "tinydb.min"].map(str::to_owned);
        for name in appends.into_iter().chain(names) {
            let found = by_name(&name).map(|operator| operator.name().to_owned());
            assert_eq!(found, Some(name));
        }
        for name in ["", "counter", "tinydb.append", "tinydb.append(\\q)", "tinydb.append(\x7f)"] {
            assert!(by_name(name).is_none(), "{name}");
        }
    }
}
