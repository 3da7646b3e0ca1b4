//! Any page of a guarded map gets lost, after all of it was verified or before, and any kind of read is the
//! first to meet it: what it gives is right, or the error that names the page.

use super::*;
use crate::error::{Error, Result};
use crate::format::range_tombstone::RangeTombstone;
use crate::storage::Disk;

const PAGE: usize = 4096;
const HASH_SEED: u64 = 9;

/// Keys with an older version, values in line, on their own and out of line.
fn rows() -> Vec<OwnedRow> {
    let mut rows = Vec::new();
    for number in 0..500_u64 {
        let key = format!("key {number:04}").into_bytes();
        let value = |seqno: u64| {
            let len = if number % 40 == 7 { 5_000 } else { 20 + 10 * (number % 10) };
            let mut rng = StdRng::seed_from_u64(seqno);
            (0..len).map(|_| rng.random()).collect::<Vec<u8>>()
        };
        rows.push((key.clone(), 10_000 + number, Kind::Put, 0, value(10_000 + number)));
        if number.is_multiple_of(9) {
            rows.push((key, 1 + number, Kind::Put, 1 << 40, value(1 + number)));
        }
    }
    rows
}

/// A table on a disk, and what is known of it.
struct Subject {
    disk: Disk,
    rows: Vec<OwnedRow>,
    pages: usize,
    policy: ChecksumPolicy,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn new(filter: FilterSize, policy: ChecksumPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        let rows = rows();
        let mut writer = TableWriter::create(&disk, &settings(8 << 10, filter), 1, 2, 77).unwrap();
        writer.set_range_tombstones([RangeTombstone { start: b"a", end: Some(b"b"), seqno: 3 }]);
        for owned in &rows {
            writer.add(&disk, &row(owned)).unwrap();
        }
        let len = writer.finish(&disk).unwrap().file_len;
        let pages = usize::try_from(len).unwrap().div_ceil(PAGE);
        Self { disk, rows, pages, policy, _dir: dir }
    }

    /// The table, open, without this page; before that all of it was verified, or little.
    fn without(&self, page: usize, is_warm: bool) -> Arc<Table> {
        let region = self.disk.open_region(FileName::Table(1), ReadMode::Guarded).unwrap();
        let table = Arc::new(Table::open(region, self.policy).unwrap());
        for read in READS.iter().filter(|_| is_warm) {
            read(self, &table, page).unwrap();
        }
        table.region().lose_page(page);
        table
    }
}

/// A kind of read, of all rows or keys: panics at a wrong answer, and ends at the first error. Where it
/// starts depends on the page.
type Read = fn(&Subject, &Arc<Table>, usize) -> Result<()>;

const READS: [Read; 8] =
    [gets, gets_of_old_rows, gets_of_absent_keys, filters, scan, scan_back, seeks, verify];

fn in_turn(subject: &Subject, page: usize) -> impl Iterator<Item = &OwnedRow> {
    let start = page * 37 % subject.rows.len();
    subject.rows[start..].iter().chain(&subject.rows[..start])
}

fn get(table: &Table, key: &[u8], seqno: u64, want: Option<&OwnedRow>) -> Result<()> {
    let found = table.get::<false>(key, hash_key(key, HASH_SEED), seqno, true)?;
    let found =
        found.map(|found| (found.seqno, found.kind, found.expires_at, found.value.to_vec()));
    let want = want.map(|(_, seqno, kind, expiry, value)| (*seqno, *kind, *expiry, value.clone()));
    if seqno == u64::MAX {
        let value = table.get::<false>(key, hash_key(key, HASH_SEED), seqno, false)?;
        assert_eq!(
            value.map(|found| found.value.to_vec()),
            want.as_ref().map(|want| want.3.clone())
        );
    }
    assert!(found == want, "{}: {found:?}, not {want:?}", key.escape_ascii());
    Ok(())
}

fn gets(subject: &Subject, table: &Arc<Table>, page: usize) -> Result<()> {
    let mut newest = in_turn(subject, page).filter(|row| row.1 >= 10_000);
    newest.try_for_each(|row| get(table, &row.0, u64::MAX, Some(row)))
}

fn gets_of_old_rows(subject: &Subject, table: &Arc<Table>, page: usize) -> Result<()> {
    let mut old = in_turn(subject, page).filter(|row| row.1 < 10_000);
    old.try_for_each(|row| get(table, &row.0, 9_999, Some(row)))
}

fn gets_of_absent_keys(subject: &Subject, table: &Arc<Table>, page: usize) -> Result<()> {
    in_turn(subject, page).try_for_each(|row| {
        get(table, &[&row.0[..], b"x"].concat(), u64::MAX, None)?;
        // These pass the filter.
        get(table, &row.0, 0, None)
    })
}

fn filters(subject: &Subject, table: &Arc<Table>, page: usize) -> Result<()> {
    in_turn(subject, page).try_for_each(|row| {
        assert!(table.may_contain(hash_key(&row.0, HASH_SEED))?);
        Ok(())
    })
}

fn scan(subject: &Subject, table: &Arc<Table>, _: usize) -> Result<()> {
    let mut cursor = TableCursor::new(Arc::clone(table));
    cursor.seek_first()?;
    for want in &subject.rows {
        assert_at(&cursor, Some(want));
        cursor.next()?;
    }
    assert_at(&cursor, None);
    Ok(())
}

fn scan_back(subject: &Subject, table: &Arc<Table>, _: usize) -> Result<()> {
    let mut cursor = TableCursor::new(Arc::clone(table));
    cursor.seek_last()?;
    for (number, want) in subject.rows.iter().enumerate().rev() {
        assert_at(&cursor, Some(want));
        let same = number > 0 && subject.rows[number - 1].0 == want.0;
        assert_eq!(cursor.prev_has_same_key()?, same);
        assert_eq!(&*cursor.owned_value(), want.4.as_slice());
        cursor.prev()?;
    }
    assert_at(&cursor, None);
    Ok(())
}

fn seeks(subject: &Subject, table: &Arc<Table>, page: usize) -> Result<()> {
    let mut cursor = TableCursor::new(Arc::clone(table));
    in_turn(subject, page).try_for_each(|row| {
        cursor.seek(&row.0, row.1)?;
        assert_at(&cursor, Some(row));
        cursor.seek_for_prev(&[&row.0[..], b"x"].concat(), u64::MAX)?;
        assert_eq!(cursor.key(), row.0);
        Ok(())
    })
}

fn verify(_: &Subject, table: &Arc<Table>, _: usize) -> Result<()> {
    assert_eq!(table.range_tombstone_count(), 1);
    table.file_checksum()?;
    table.verify()
}

#[test]
fn a_lost_page_is_an_error_to_whoever_meets_it_first() {
    for (filter, policy, is_warm) in [
        (FilterSize::BitsPerKey(10), ChecksumPolicy::Once, true),
        (FilterSize::BitsPerKey(10), ChecksumPolicy::Once, false),
        (FilterSize::None, ChecksumPolicy::Once, true),
        (FilterSize::None, ChecksumPolicy::Never, true),
        (FilterSize::BitsPerKey(10), ChecksumPolicy::Always, true),
    ] {
        let subject = Subject::new(filter, policy);
        let mut met = [0; READS.len()];
        for page in 0..subject.pages {
            for (read, met) in READS.iter().zip(&mut met) {
                let table = subject.without(page, is_warm);
                let Err(error) = read(&subject, &table, page) else { continue };
                *met += 1;
                let wanted = format!("at offset {}:", page * PAGE);
                let is_told = |error: &Error| {
                    let text = std::error::Error::source(error).map(ToString::to_string);
                    matches!(error, Error::Io { op: "read", path, .. } if path == table.region().path())
                        && text.is_some_and(|text| text.contains(&wanted))
                };
                assert!(is_told(&error), "page {page}: {error:?}");
                // From then on there is nothing else.
                for read in READS.iter().filter(|_| page % 5 == 0) {
                    let Err(error) = read(&subject, &table, page) else {
                        // Where there is no filter nothing is read of it.
                        assert!(
                            filter == FilterSize::None
                                && std::ptr::fn_addr_eq(*read, filters as Read)
                        );
                        continue;
                    };
                    assert!(is_told(&error), "page {page}: {error:?}");
                }
            }
        }
        println!("{filter:?}, {policy:?}: of {} pages each read met {met:?}", subject.pages);
        assert!(met[0] > subject.pages / 2, "most pages hold rows: {met:?}");
        assert_eq!(met[READS.len() - 1], subject.pages, "a check reads all: {met:?}");
    }
}
