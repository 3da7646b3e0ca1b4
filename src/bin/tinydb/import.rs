//! `tinydb import DIR [FILE]`: puts the records of a file.
//!
//! Spec: none. I/O: the file or standard input; the database through the library. Unsafe: none.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{BinaryBytes, HumanCount, ProgressBar};
use tinydb::{Db, Durability, Options, TableWriter, WriteBatch};

use crate::records::{Format, Record, Records, unpacked};
use crate::{Answer, Outcome, progress, with_sources};

/// Put every record of a file; makes the database if there is none
///
/// In tsv, a line is a key, a tab and a value, both with the escapes \n, \t, \r, \\ and \xNN. In
/// jsonl, a line is an object with `key` and `value`; strings stand for their UTF-8 bytes, any
/// other JSON value for its text, and `key_hex` and `value_hex` for any bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// The file, may be gzipped; without it, or as "-", standard input
    file: Option<PathBuf>,
    /// How a record is spelled; default: by the file's name, else tsv
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Records in one atomic write
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Sync every write, not only the end of the import
    #[arg(long)]
    sync: bool,
    /// The keys ascend: all records are imported at once through a temporary file, or none; faster
    #[arg(long, conflicts_with_all = ["batch", "sync"])]
    sorted: bool,
}

/// A write is begun at the latest when this many bytes are collected.
const MOST_BATCH_BYTES: u64 = 8 << 20;

pub(crate) fn run(args: &Args) -> Outcome {
    let file = args.file.as_ref().filter(|file| file.as_os_str() != "-");
    let name = file.map(|file| file.to_string_lossy());
    let format = args.format.or_else(|| Format::of_name(name.as_deref()?)).unwrap_or(Format::Tsv);
    let name = name.as_deref().unwrap_or("standard input");
    let in_file = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let (input, bar) = open(file).map_err(|error| in_file(&error))?;
    let input = unpacked(bar.wrap_read(input)).map_err(|error| in_file(&error))?;

    let start = Instant::now();
    let durability = if args.sync { Durability::Sync } else { Durability::Buffered };
    let db = Options::new().durability(durability).open(&args.dir)?;
    let records = Records::new(input, format).map(|record| Ok(record.map_err(|e| in_file(&e))?));
    let (written, outcome) =
        if args.sorted { ingest(&db, records) } else { write(&db, args.batch, records) };
    let Written { rows, bytes } = written;
    db.close()?;
    bar.finish_and_clear();
    let (rows, bytes) = (HumanCount(rows), BinaryBytes(bytes));
    outcome.map_err(|error| format!("{}; {rows} records were imported", with_sources(&*error)))?;
    println!("{rows} records, {bytes} of keys and values, in {:.1?}", start.elapsed());
    Ok(Answer::Yes)
}

/// Writes records in batches. Also after a bad one what came before it is kept.
fn write(
    db: &Db,
    batch: u32,
    mut records: impl Iterator<Item = Outcome<Record>>,
) -> (Written, Outcome<()>) {
    let mut writer = Writer::new(db, batch);
    let outcome = records.try_for_each(|record| writer.add(&record?));
    let outcome = outcome.and(writer.write());
    (writer.written, outcome)
}

/// Brings in records whose keys ascend, all or none.
fn ingest(db: &Db, records: impl Iterator<Item = Outcome<Record>>) -> (Written, Outcome<()>) {
    match try_ingest(db, records) {
        Ok(written) => (written, Ok(())),
        Err(error) => (Written::default(), Err(error)),
    }
}

fn try_ingest(db: &Db, mut records: impl Iterator<Item = Outcome<Record>>) -> Outcome<Written> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("sorted.table");
    let mut writer = TableWriter::create(&path, &Options::new())?;
    let mut written = Written::default();
    records.try_for_each(|record| -> Outcome<()> {
        let record = record?;
        writer.put(&record.key, &record.value)?;
        written.rows += 1;
        written.bytes += record.len();
        Ok(())
    })?;
    if written.rows > 0 {
        writer.finish()?;
        db.ingest(&[path])?;
    }
    Ok(written)
}

/// The input and a bar that fits it.
fn open(file: Option<&PathBuf>) -> io::Result<(Box<dyn Read>, ProgressBar)> {
    let Some(path) = file else {
        return Ok((Box::new(io::stdin().lock()), progress::bytes(None)));
    };
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let len = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), progress::bytes(len)))
}

/// Puts records in batches.
pub(crate) struct Writer<'a> {
    db: &'a Db,
    most_rows: u32,
    batch: WriteBatch,
    pending: Written,
    /// What the database has acknowledged.
    pub(crate) written: Written,
}

/// An amount of records.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl<'a> Writer<'a> {
    /// A writer of batches of so many rows.
    pub(crate) fn new(db: &'a Db, most_rows: u32) -> Self {
        let (pending, written) = (Written::default(), Written::default());
        Self { db, most_rows, batch: WriteBatch::new(), pending, written }
    }

    /// Adds a record, and writes the batch if that fills it.
    pub(crate) fn add(&mut self, record: &Record) -> Outcome<()> {
        self.batch.put(&record.key, &record.value);
        self.pending.rows += 1;
        self.pending.bytes += record.len();
        let is_full = self.pending.rows >= self.most_rows.into();
        if is_full || self.pending.bytes >= MOST_BATCH_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes what was added and not written yet.
    pub(crate) fn write(&mut self) -> Outcome<()> {
        self.db.write(&self.batch)?;
        self.batch.clear();
        let pending = std::mem::take(&mut self.pending);
        self.written.rows += pending.rows;
        self.written.bytes += pending.bytes;
        Ok(())
    }
}
