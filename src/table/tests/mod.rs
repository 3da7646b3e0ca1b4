//! The room's tests: what was written is read back, by key and in order, in every shape.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Table, TableCursor, TableSettings, TableWriter};
use crate::cursor::Cursor;
use crate::format::checksum::hash_key;
use crate::format::file_name::FileName;
use crate::format::row::{Kind, Row, compare};
use crate::options::{ChecksumPolicy, FilterSize, ReadMode};
use crate::storage::{SimDisk, Storage};

#[cfg(all(target_os = "linux", not(miri)))]
mod missing_pages;

type OwnedRow = (Vec<u8>, u64, Kind, u64, Vec<u8>);

fn row(owned: &OwnedRow) -> Row<'_> {
    let (key, seqno, kind, expires_at, value) = owned;
    Row { key, seqno: *seqno, kind: *kind, expires_at: *expires_at, value }
}

fn settings(block_size: usize, filter: FilterSize) -> TableSettings {
    TableSettings {
        block_size,
        filter,
        database_id: 7,
        hash_seed: 9,
        operator: String::new(),
        features_optional: 0,
    }
}

/// Sorted rows with what the shape asks for.
fn rows(rng: &mut StdRng, count: usize, shape: u32) -> Vec<OwnedRow> {
    let mut rows: Vec<OwnedRow> = (0..count)
        .map(|i| {
            let key = match shape % 4 {
                0 => format!("user:{:010}:profile", rng.random_range(0..count * 4)).into_bytes(),
                1 => (0..rng.random_range(0..12)).map(|_| rng.random_range(0..3)).collect(),
                2 => format!("{:016}{:08}", i % 3, rng.random_range(0..count)).into_bytes(),
                _ => vec![b'k'; rng.random_range(0..1500)],
            };
            let kind = match rng.random_range(0..10) {
                0 if shape & 4 != 0 => Kind::Delete,
                1 if shape & 4 != 0 => Kind::Merge,
                _ => Kind::Put,
            };
            let len = if shape & 8 == 0 { 100 } else { rng.random_range(0..6000) };
            let value = if kind == Kind::Delete {
                vec![]
            } else {
                vec![u8::try_from(i % 256).unwrap(); len]
            };
            let expires = shape & 16 != 0 && kind != Kind::Delete && rng.random_bool(0.5);
            let expires_at = if expires { rng.random_range(1..1 << 40) } else { 0 };
            (key, 1 + i as u64, kind, expires_at, value)
        })
        .collect();
    rows.sort_by(|a, b| compare(&a.0, a.1, &b.0, b.1));
    rows
}

fn write(disk: &SimDisk, rows: &[OwnedRow], settings: &TableSettings) -> usize {
    let mut writer = TableWriter::create(disk, settings, 1, 2, 77).unwrap();
    let mut written = 0;
    for owned in rows {
        if !writer.takes_key_of(owned.0.len()) {
            break;
        }
        writer.add(disk, &row(owned)).unwrap();
        written += 1;
    }
    let info = writer.finish(disk).unwrap();
    assert_eq!(info.row_count, written as u64);
    assert_eq!(disk.read_file(FileName::Table(1)).unwrap().len() as u64, info.file_len);
    written
}

fn open(disk: &SimDisk, mode: ReadMode) -> Arc<Table> {
    let region = disk.open_region(FileName::Table(1), mode).unwrap();
    Arc::new(Table::open(region, ChecksumPolicy::Once).unwrap())
}

fn assert_at(cursor: &TableCursor, want: Option<&OwnedRow>) {
    assert_eq!(cursor.valid(), want.is_some());
    if let Some((key, seqno, kind, expires_at, value)) = want {
        assert_eq!(cursor.key().escape_ascii().to_string(), key.escape_ascii().to_string());
        assert_eq!(
            (cursor.seqno(), cursor.kind(), cursor.expires_at()),
            (*seqno, *kind, *expires_at)
        );
        assert_eq!(cursor.value(), value.as_slice());
    }
}

fn check_walks(table: &Arc<Table>, rows: &[OwnedRow]) {
    let mut cursor = TableCursor::new(Arc::clone(table));
    cursor.seek_first().unwrap();
    for want in rows {
        assert_at(&cursor, Some(want));
        cursor.next().unwrap();
    }
    assert_at(&cursor, None);
    cursor.seek_last().unwrap();
    for (i, want) in rows.iter().enumerate().rev() {
        assert_at(&cursor, Some(want));
        let same = i > 0 && rows[i - 1].0 == want.0;
        assert_eq!(cursor.prev_has_same_key().unwrap(), same);
        cursor.prev().unwrap();
    }
    assert_at(&cursor, None);
    cursor.seek_first().unwrap();
    let mut at = 0;
    while at < rows.len() {
        assert_at(&cursor, Some(&rows[at]));
        at += rows[at..].iter().take_while(|other| other.0 == rows[at].0).count();
        cursor.next_key().unwrap();
    }
    assert_at(&cursor, None);
}

fn check_seeks(table: &Arc<Table>, rows: &[OwnedRow], rng: &mut StdRng) {
    let mut cursor = TableCursor::new(Arc::clone(table));
    for _ in 0..100 {
        let near = &rows[rng.random_range(0..rows.len())];
        let mut key = near.0.clone();
        match rng.random_range(0..4) {
            0 => key.push(0),
            1 => drop(key.pop()),
            _ => {}
        }
        let seqno = match rng.random_range(0..4) {
            0 => u64::MAX,
            1 => 0,
            _ => near.1 + rng.random_range(0..2),
        };
        let start = rows.partition_point(|row| compare(&row.0, row.1, &key, seqno).is_lt());
        cursor.seek(&key, seqno).unwrap();
        assert_at(&cursor, rows.get(start));
        let end = rows.partition_point(|row| compare(&row.0, row.1, &key, seqno).is_le());
        cursor.seek_for_prev(&key, seqno).unwrap();
        assert_at(&cursor, end.checked_sub(1).map(|end| &rows[end]));

        let want = rows[start..].first().filter(|row| row.0 == key);
        let (hash, want_seqno) = (hash_key(&key, 9), rng.random_bool(0.5));
        let got = if rng.random_bool(0.5) {
            table.get::<true>(&key, hash, seqno, want_seqno).unwrap()
        } else {
            table.get::<false>(&key, hash, seqno, want_seqno).unwrap()
        };
        assert_eq!(got.is_some(), want.is_some(), "key {:?} at {seqno}", key.escape_ascii());
        assert!(table.may_contain(hash).unwrap() || want.is_none());
        if let (Some(got), Some(want)) = (got, want) {
            assert_eq!((got.kind, got.expires_at), (want.2, want.3));
            assert!(got.seqno == want.1 || (got.seqno == 0 && !want_seqno));
            assert_eq!(&*got.value, want.4.as_slice());
        }
    }
}

fn check_skips(table: &Arc<Table>, rows: &[OwnedRow], rng: &mut StdRng) {
    let mut cursor = TableCursor::new(Arc::clone(table));
    for _ in 0..50 {
        let [from, mut bound] = [(); 2].map(|()| rows[rng.random_range(0..rows.len())].0.clone());
        if rng.random_bool(0.5) {
            bound.push(0);
        }
        cursor.seek(&from, u64::MAX).unwrap();
        assert!(rows.iter().all(|row| row.1 <= cursor.newest_seqno()));
        let place = rows.partition_point(|row| row.0 < bound);
        if bound <= from {
            cursor.skip_backward(&bound).unwrap();
            assert_at(&cursor, place.checked_sub(1).map(|before| &rows[before]));
        } else if rng.random_bool(0.1) {
            cursor.skip_forward(None).unwrap();
            assert_at(&cursor, None);
        } else {
            cursor.skip_forward(Some(&bound)).unwrap();
            assert_at(&cursor, rows.get(place));
        }
        if !cursor.valid() {
            cursor.skip_forward(Some(&bound)).unwrap();
            cursor.skip_backward(&bound).unwrap();
            assert_at(&cursor, None);
        }
    }
}

#[test]
fn every_shape_reads_back() {
    for (case, block_size) in [1 << 10, 1 << 13, 1 << 16].into_iter().enumerate() {
        for shape in 0..32 {
            let seed = 1000 * case as u64 + u64::from(shape);
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let filter = [FilterSize::BitsPerKey(10), FilterSize::None][shape as usize % 2];
            let disk = SimDisk::new(seed);
            disk.create_root().unwrap();
            let count = rng.random_range(1..400);
            let all = rows(&mut rng, count, shape);
            let written = write(&disk, &all, &settings(block_size, filter));
            for mode in [ReadMode::Mmap, ReadMode::Heap] {
                let table = open(&disk, mode);
                table.verify().unwrap();
                check_walks(&table, &all[..written]);
                check_seeks(&table, &all[..written], &mut rng);
                check_skips(&table, &all[..written], &mut rng);
            }
        }
    }
}

#[test]
fn a_large_table_of_fixed_rows_is_uniform_and_small() {
    let disk = SimDisk::new(1);
    disk.create_root().unwrap();
    let mut all = Vec::new();
    for i in 0..50_000_u64 {
        let key = format!("user:{i:010}:profile").into_bytes();
        all.push((key, 1 + i, Kind::Put, 0, vec![7; 100]));
    }
    write(&disk, &all, &settings(8192, FilterSize::BitsPerKey(10)));
    let table = open(&disk, ReadMode::Mmap);
    assert!(table.index_layout.block_size().is_some());
    let user_bytes = 50_000 * (23 + 100);
    assert!(table.region().len() * 100 < user_bytes * 103, "{} bytes", table.region().len());
    table.verify().unwrap();
}
