//! `tinydb scan DIR`: prints records in the order of their keys.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Map, Value as Json};
use tinydb::{Entry, Snapshot};

use crate::operator::open_with_operator;
use crate::text::{argument, escape, to_hex};
use crate::{Answer, Outcome};

/// Print records in the order of their keys
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of the command line")]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// Only keys that start with this
    #[arg(long, conflicts_with_all = ["from", "to"])]
    prefix: Option<OsString>,
    /// Only this key and those behind it
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// At most so many records
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print no values
    #[arg(long)]
    keys_only: bool,
    /// Print only how many records there are
    #[arg(long)]
    count: bool,
    /// How a record is printed; `import` reads both
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Read the keys given here as escaped text: \n, \t, \r, \\, \xNN
    #[arg(long, short)]
    escaped: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// key, tab, value; with the escapes \n, \t, \r, \\, \xNN
    Text,
    /// one JSON object a line
    Jsonl,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let db = open_with_operator(&args.dir)?;
    let snapshot = db.snapshot();
    let entries = entries(args, &snapshot)?.take(args.limit.unwrap_or(usize::MAX));
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = String::new();
    let mut count = 0_u64;
    for entry in entries {
        let entry = entry?;
        count += 1;
        if args.count {
            continue;
        }
        line.clear();
        let value = (!args.keys_only).then_some(entry.value());
        match args.format {
            Format::Text => write_text(&mut line, entry.key(), value),
            Format::Jsonl => write_json(&mut line, entry.key(), value),
        }
        out.write_all(line.as_bytes())?;
    }
    if args.count {
        writeln!(out, "{count}")?;
    }
    out.flush()?;
    Ok(Answer::Yes)
}

type Entries<'s> = Box<dyn Iterator<Item = tinydb::Result<Entry<'s>>> + 's>;

fn entries<'s>(args: &Args, snapshot: &'s Snapshot) -> Outcome<Entries<'s>> {
    let key =
        |key: &Option<OsString>| key.as_ref().map(|key| argument(key, args.escaped)).transpose();
    let iter = if let Some(prefix) = key(&args.prefix)? {
        snapshot.prefix(prefix)
    } else {
        let from = key(&args.from)?.map_or(Unbounded, Included);
        let to = key(&args.to)?.map_or(Unbounded, Excluded);
        snapshot.range((from, to))
    };
    Ok(if args.reverse { Box::new(iter.rev()) } else { Box::new(iter) })
}

fn write_text(line: &mut String, key: &[u8], value: Option<&[u8]>) {
    escape(line, key);
    if let Some(value) = value {
        line.push('\t');
        escape(line, value);
    }
    line.push('\n');
}

fn write_json(line: &mut String, key: &[u8], value: Option<&[u8]>) {
    let mut object = Map::new();
    let mut add = |name: &str, bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), Json::from(text)),
        Err(_) => object.insert(format!("{name}_hex"), Json::from(to_hex(bytes))),
    };
    add("key", key);
    if let Some(value) = value {
        add("value", value);
    }
    line.push_str(&Json::Object(object).to_string());
    line.push('\n');
}
