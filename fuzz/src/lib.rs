//! What the fuzz targets share.

mod failing;
mod model;

pub use failing::{MoodyModel, open_moody};
pub use model::{ManualClock, Model, Picture, SEPARATOR};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tinydb::internals::SimDisk;
use tinydb::internals::table_file::{FOOTER_LEN, TableFile};
use tinydb::{Db, Entry, Options, Result, Snapshot, TableWriter, merge};

/// The first region of this kind if `input` is a table file, else `input` itself.
///
/// So the golden tables of `format-spec/vectors/` are seeds of every decoder of their parts.
#[must_use]
pub fn region(input: &[u8], kind: u32) -> &[u8] {
    let tail = input.last_chunk::<FOOTER_LEN>().map_or(&[][..], |tail| tail);
    let Ok(frame) = TableFile::parse(input, tail, input.len() as u64) else { return input };
    let Some(entry) = frame.region(kind) else { return input };
    let start = usize::try_from(entry.offset.get()).expect("proved to lie in the file");
    &input[start..][..usize::try_from(entry.len.get()).expect("proved to lie in the file")]
}

/// Opens the database on a simulated disk, as small as it can be and without threads.
#[must_use]
pub fn open(disk: &SimDisk, clock: &Arc<ManualClock>) -> Db {
    let options = Options::new()
        .background_threads(0)
        .memtable_size(64 << 10)
        .block_size(1 << 10)
        .clock(Arc::clone(clock))
        .merge_operator(merge::Append::new(SEPARATOR));
    Db::open_on(Arc::new(disk.clone()), options).expect("a healthy disk opens")
}

/// Writes these rows, at least one, to a table of this process, in place of the one before.
#[must_use]
pub fn write_table(rows: &BTreeMap<&[u8], &[u8]>) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tinydb-fuzz-{}.table", std::process::id()));
    // There is none at first.
    let _ = std::fs::remove_file(&path);
    let options = Options::new().block_size(1 << 10);
    let mut writer = TableWriter::create(&path, &options).expect("a free path");
    for (key, value) in rows {
        writer.put(key, value).expect("a larger key");
    }
    writer.finish().expect("a table");
    path
}

/// Compares all that a snapshot shows with what it has to: by key and by scans both ways.
pub fn check(snapshot: &Snapshot, picture: &Picture) {
    let pairs = |entry: Result<Entry<'_>>| {
        let entry = entry.expect("a healthy file");
        (entry.key().to_vec(), entry.value().to_vec())
    };
    let expected = || picture.clone().into_iter();
    assert!(snapshot.iter().map(pairs).eq(expected()), "forward");
    assert!(snapshot.iter().rev().map(pairs).eq(expected().rev()), "backward");
    // Of the keys that may be there every fifth, each time others: the scans have seen all.
    let first = u8::try_from(picture.len() % 5).expect("less than five");
    for byte in (first..=u8::MAX).step_by(5) {
        let key = vec![byte % 8; usize::from(byte / 32)];
        let value = snapshot.get(&key).expect("a healthy file");
        assert_eq!(value.as_deref(), picture.get(&key).map(Vec::as_slice), "{key:?}");
    }
}
