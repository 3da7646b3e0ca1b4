//! TinyDB reads the vectors: tables as a database, logs and manifests by their decoders; and
//! finds what the second reader finds.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tinydb::internals::checksum::checksum;
use tinydb::internals::data_block::DataBlock;
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::{LogEnd, LogReader};
use tinydb::internals::log_op::Op;
use tinydb::internals::manifest::{ManifestData, ManifestView, TableRecord};
use tinydb::internals::range_tombstones::RangeTombstoneRegion;
use tinydb::internals::row::Kind;
use tinydb::internals::table_file::{FOOTER_LEN, REGION_RANGE_TOMBSTONES, TableFile};
use tinydb::internals::{SimDisk, Storage};
use tinydb::{Clock, Db, Error, Options, ReadMode};

use super::reader::{self, RangeTombstone, Row, text};
use super::recipe::{self, DATABASE_ID, FILE_ID, FILE_NUMBER, HASH_SEED, LOG_NUMBER};
use super::refused;

/// Between the expiries of the vectors: in 2027.
const NOW: u64 = 1_800_000_000;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

fn vectors(kind: &str) -> Vec<recipe::Vector> {
    recipe::all().into_iter().filter(|vector| vector.name.starts_with(kind)).collect()
}

/// A database whose one table is this file.
fn database(table: &[u8], rows: &[Row], read_mode: ReadMode) -> Db {
    let range_tombstone_count = reader::range_tombstones(table).len() as u64;
    database_with(table, rows, read_mode, range_tombstone_count)
}

/// As [`database`], with a manifest that says how many range tombstones the table has.
fn database_with(
    table: &[u8],
    rows: &[Row],
    read_mode: ReadMode,
    range_tombstone_count: u64,
) -> Db {
    let disk = SimDisk::new(0);
    disk.create_root().unwrap();
    let max_seqno = rows.iter().map(|row| row.seqno).max().unwrap();
    let tombstones = reader::range_tombstones(table);
    let newest = tombstones.iter().map(|tombstone| tombstone.seqno).max();
    let last_seqno = newest.unwrap_or(0).max(max_seqno);
    let record = TableRecord {
        tree_id: 0,
        level: 0,
        file_number: FILE_NUMBER,
        file_id: FILE_ID,
        file_len: table.len() as u64,
        checksum: checksum(table, FILE_ID),
        row_count: rows.len() as u64,
        min_seqno: rows.iter().map(|row| row.seqno).min().unwrap(),
        max_seqno,
        range_tombstone_count,
        cleared_seqno: 0,
        smallest: rows.first().unwrap().key.clone(),
        largest: rows.last().unwrap().key.clone(),
    };
    let manifest = ManifestData {
        manifest_number: 20,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        next_file_number: 30,
        last_seqno,
        oldest_log: 25,
        merge_operator: None,
        tables: vec![record],
    };
    disk.write_file(FileName::Table(FILE_NUMBER), table);
    disk.write_file(FileName::Manifest(20), manifest.encode());
    let options = Options::new().clock(Fixed).read_mode(read_mode).background_threads(0);
    Db::open_on(Arc::new(disk), options).unwrap()
}

/// What a reader sees of a key whose rows these are, the newest first.
#[derive(Debug, PartialEq)]
enum Seen {
    Absent,
    Value(Vec<u8>),
    NeedsOperator,
}

fn seen(rows: &[Row], tombstones: &[RangeTombstone]) -> Seen {
    let stays = |row: &&Row| !tombstones.iter().any(|tombstone| tombstone.deletes(row));
    let Some(newest) = rows.iter().find(stays) else { return Seen::Absent };
    match newest.kind {
        1 => Seen::Absent,
        2 => Seen::NeedsOperator,
        _ if newest.expiry != 0 && newest.expiry <= NOW => Seen::Absent,
        _ => Seen::Value(newest.value.clone()),
    }
}

#[test]
fn tinydb_reads_every_table_as_a_database() {
    for vector in vectors("table") {
        let rows = reader::table_rows(&vector.bytes);
        for read_mode in [ReadMode::Mmap, ReadMode::Heap] {
            let db = database(&vector.bytes, &rows, read_mode);
            let report = db.verify().unwrap();
            assert!(report.is_ok(), "{}: {:?}", vector.name, report.problems());
            let tombstones = reader::range_tombstones(&vector.bytes);
            let keys: Vec<&[Row]> = rows.chunk_by(|a, b| a.key == b.key).collect();
            for rows in &keys {
                let found = match db.get(&rows[0].key) {
                    Ok(None) => Seen::Absent,
                    Ok(Some(value)) => Seen::Value(value.to_vec()),
                    Err(Error::NoMergeOperator { .. }) => Seen::NeedsOperator,
                    Err(error) => panic!("{}: {error}", vector.name),
                };
                assert_eq!(
                    found,
                    seen(rows, &tombstones),
                    "{}: {}",
                    vector.name,
                    text(&rows[0].key)
                );
            }
            check_scan(&db, &keys, &tombstones, vector.name);
        }
    }
}

/// A scan gives what the gets gave, up to the first key that needs an operator.
fn check_scan(db: &Db, keys: &[&[Row]], tombstones: &[RangeTombstone], name: &str) {
    let mut entries = db.iter();
    for rows in keys {
        match seen(rows, tombstones) {
            Seen::Absent => {}
            Seen::Value(value) => {
                let entry = entries.next().expect("an entry").unwrap();
                assert_eq!((entry.key(), entry.value()), (&rows[0].key[..], &value[..]), "{name}");
                assert_eq!(entry.seqno(), rows[0].seqno, "{name}");
            }
            Seen::NeedsOperator => {
                let error = entries.next().expect("an error").unwrap_err();
                assert!(matches!(error, Error::NoMergeOperator { .. }), "{name}: {error}");
                return;
            }
        }
    }
    assert!(entries.next().is_none(), "{name}: more than there is");
}

#[test]
fn tinydb_reads_the_range_tombstones_of_every_table() {
    let mut count = 0;
    for vector in vectors("table") {
        let (file, name) = (&vector.bytes, vector.name);
        let want = reader::range_tombstones(file);
        let frame = TableFile::parse(file, &file[file.len() - FOOTER_LEN..], file.len() as u64);
        let frame = frame.unwrap();
        let Some(entry) = frame.region(REGION_RANGE_TOMBSTONES) else {
            assert!(want.is_empty(), "{name}");
            continue;
        };
        let start = usize::try_from(entry.offset.get()).unwrap();
        let bytes = &file[start..start + usize::try_from(entry.len.get()).unwrap()];
        let region = RangeTombstoneRegion::parse(bytes).unwrap();
        let found = region.iter().map(|it| (it.start, it.end, it.seqno));
        assert!(found.eq(want.iter().map(|it| (&it.start[..], it.end.as_deref(), it.seqno))));
        for row in reader::table_rows(file) {
            let found = region.find(&row.key).is_some_and(|found| row.seqno < found.seqno);
            let deleted = want.iter().any(|tombstone| tombstone.deletes(&row));
            assert_eq!(found, deleted, "{name}: {}", text(&row.key));
        }
        count += 1;
    }
    assert_eq!(count, 1);
}

#[test]
fn a_table_without_the_range_tombstones_of_its_record_is_refused() {
    let vector = vectors("table-range").remove(0);
    let rows = reader::table_rows(&vector.bytes);
    for count in [0, 5, 7] {
        let db = database_with(&vector.bytes, &rows, ReadMode::Mmap, count);
        let error = db.get("quince").unwrap_err();
        let is_named = matches!(&error, Error::Corrupt { source, .. } if source.rule().id == "M15");
        assert!(is_named, "{error}");
        let report = db.verify().unwrap();
        assert!(report.problems().iter().any(|it| it.rule.contains("rule M15 ")), "{report:?}");
    }
}

#[test]
fn tinydb_reads_every_lone_block() {
    for vector in vectors("block") {
        let want = reader::read(vector.name, &vector.bytes);
        let block = DataBlock::parse(&vector.bytes).unwrap();
        assert!(block.checksum_matches(FILE_ID, 4096));
        assert_eq!(block.verify(HASH_SEED), Ok(()));
        let mut key = Vec::new();
        let rows = (0..block.layout().row_count()).map(|row| {
            block.read_key(row, &mut key).unwrap();
            let kind = kind_name(block.kind(row).unwrap().0);
            let (seqno, expiry) = (block.seqno(row).unwrap(), block.expires_at(row).unwrap());
            json!([text(&key), seqno, kind, expiry, text(block.value(row).unwrap())])
        });
        assert_eq!(want["rows"], rows.collect::<Value>(), "{}", vector.name);
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Put => "put",
        Kind::Delete => "delete",
        Kind::Merge => "merge",
    }
}

fn describe_op(op: &Op<'_>) -> Value {
    match op {
        Op::Row(op) => json!([text(op.key), kind_name(op.kind), op.expires_at, text(op.value)]),
        Op::RangeDelete(op) => json!([text(op.start), "range delete", 0, op.end.map(text)]),
    }
}

#[test]
fn tinydb_reads_every_log() {
    for vector in vectors("log") {
        let want = reader::read(vector.name, &vector.bytes);
        let mut log = LogReader::open(&vector.bytes, DATABASE_ID, LOG_NUMBER).unwrap();
        let records: Vec<Value> = (&mut log)
            .map(|record| {
                let operations: Vec<Value> =
                    record.ops().map(|op| describe_op(&op.unwrap())).collect();
                json!({
                    "offset": record.offset,
                    "first_seqno": record.first_seqno,
                    "synced_upto": record.synced_upto,
                    "operations": operations,
                })
            })
            .collect();
        assert_eq!(want["records"], Value::from(records), "{}", vector.name);
        assert_eq!(want["next_seqno"], log.next_seqno(), "{}", vector.name);
        let end = match log.end().unwrap() {
            LogEnd::Clean { at } => json!({"state": "clean", "at": at}),
            LogEnd::Sealed { at } => json!({"state": "sealed", "at": at}),
            LogEnd::Torn { at, error } => {
                json!({"state": "torn", "at": at, "rule": error.rule().id})
            }
            LogEnd::Damaged { at, error, proven_upto } => json!({
                "state": "damaged", "at": at, "rule": error.rule().id, "proven_upto": proven_upto,
            }),
        };
        assert_eq!(want["end"], end, "{}", vector.name);
    }
}

#[test]
fn tinydb_reads_every_manifest() {
    for vector in vectors("manifest") {
        let want = reader::read(vector.name, &vector.bytes);
        let data = ManifestView::parse(&vector.bytes).unwrap().to_data().unwrap();
        // A version that is newer, or a feature that is ignored, is not written again.
        if vector.bytes[8..20] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
            assert_eq!(data.encode(), vector.bytes, "{}", vector.name);
        }
        assert_eq!(want["manifest_number"], data.manifest_number);
        assert_eq!(want["operator"], data.merge_operator.unwrap_or_default());
        assert_eq!(want["oldest_log"], data.oldest_log);
        let tables: Vec<Value> = data
            .tables
            .iter()
            .map(|table| {
                let mut found = json!({
                    "level": table.level,
                    "file_number": table.file_number,
                    "file_id": format!("{:#018x}", table.file_id),
                    "file_len": table.file_len,
                    "checksum": format!("{:#018x}", table.checksum),
                    "row_count": table.row_count,
                    "min_seqno": table.min_seqno,
                    "max_seqno": table.max_seqno,
                    "smallest": text(&table.smallest),
                    "largest": text(&table.largest),
                });
                if table.range_tombstone_count != 0 {
                    found["range_tombstone_count"] = json!(table.range_tombstone_count);
                }
                if table.cleared_seqno != 0 {
                    found["cleared_seqno"] = json!(table.cleared_seqno);
                }
                found
            })
            .collect();
        assert_eq!(want["tables"], Value::from(tables), "{}", vector.name);
    }
}

/// The lengths of a block's prefix and of a key have two bytes: a table that is made of such rows
/// would be a broken one.
#[test]
fn a_key_that_is_too_long_is_neither_shown_nor_carried_on() {
    let all = refused::all();
    let vector = all.iter().find(|it| it.file().contains("/B20-")).unwrap();
    let rows = reader::table_rows(&vector.bytes);
    for read_mode in [ReadMode::Mmap, ReadMode::Heap] {
        let db = database(&vector.bytes, &rows, read_mode);
        db.put("bb", "between").unwrap();
        assert_eq!(db.get("a").unwrap().unwrap(), "first");
        assert_eq!(db.get("b").unwrap().unwrap(), [b'.'; 60][..]);
        let scanned: Result<Vec<_>, Error> = db.iter().collect();
        let backward: Result<Vec<_>, Error> = db.iter().rev().collect();
        for error in [scanned.err(), backward.err(), db.compact().err()] {
            let rule = match &error {
                Some(Error::Corrupt { source, .. }) => source.rule().id,
                _ => "none",
            };
            assert_eq!(rule, "B20", "{error:?}");
        }
        assert_eq!(db.get("c").unwrap().unwrap(), "last");
    }
}
