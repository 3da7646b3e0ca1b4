//! Blocks against a model: what is encoded is found again, and nothing else is believed.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::format::checksum::{fingerprint, hash_key};
use crate::format::error::FormatError;
use crate::format::row::{Kind, MAX_EXPIRY, Row, compare};

mod broken;

const FILE_ID: u64 = 0x0102_0304_0506_0708;
const OFFSET: u64 = 4096;
const HASH_SEED: u64 = 42;

/// A row that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    key: Vec<u8>,
    seqno: u64,
    kind: Kind,
    expires_at: u64,
    value: Vec<u8>,
    out_of_line: bool,
}

impl Stored {
    fn row(&self) -> Row<'_> {
        let Self { seqno, kind, expires_at, .. } = *self;
        Row { key: &self.key, seqno, kind, expires_at, value: &self.value }
    }
}

fn put(key: &[u8], seqno: u64, value: &[u8]) -> Stored {
    Stored {
        key: key.to_vec(),
        seqno,
        kind: Kind::Put,
        expires_at: 0,
        value: value.to_vec(),
        out_of_line: false,
    }
}

fn delete(key: &[u8], seqno: u64) -> Stored {
    Stored { kind: Kind::Delete, ..put(key, seqno, b"") }
}

/// The sealed block of these rows. The builder must have foreseen its length after every row.
#[track_caller]
fn encode(rows: &[Stored], continues: bool) -> Vec<u8> {
    let (mut builder, mut last_key) = (BlockBuilder::new(), Vec::new());
    for stored in rows {
        let foreseen = builder.len_with(&stored.row(), stored.out_of_line);
        builder.push(&stored.row(), stored.out_of_line, hash_key(&stored.key, HASH_SEED));
        assert_eq!(foreseen, Some(builder.block_len()));
        builder.read_last_key(&mut last_key);
        assert_eq!(last_key, stored.key);
    }
    let (row_count, block_len) = (builder.row_count(), builder.block_len());
    assert_eq!(row_count, rows.len());
    let mut out = vec![0xEE; 64];
    builder.finish(continues, &mut out);
    builder.read_last_key(&mut last_key);
    assert!(builder.is_empty() && builder.block_len() == 0 && last_key.is_empty());
    let mut block = out.split_off(64);
    assert_eq!(block.len(), block_len);
    seal(&mut block, FILE_ID, OFFSET);
    block
}

fn header_of(block: &[u8]) -> BlockHeader {
    BlockHeader::read_from_prefix(block).unwrap().0
}

/// What a block says its rows are.
fn decode(block: &DataBlock<'_>) -> Result<Vec<Stored>, FormatError> {
    let mut key = Vec::new();
    (0..block.layout().row_count())
        .map(|row| {
            block.read_key(row, &mut key)?;
            let (kind, out_of_line) = block.kind(row)?;
            let (seqno, expires_at) = (block.seqno(row)?, block.expires_at(row)?);
            let value = block.value(row)?.to_vec();
            Ok(Stored { key: key.clone(), seqno, kind, expires_at, value, out_of_line })
        })
        .collect()
}

/// Encodes sorted rows and checks everything that a reader asks of the block.
#[track_caller]
fn check(rows: &[Stored], continues: bool) -> Vec<u8> {
    let bytes = encode(rows, continues);
    let block = DataBlock::parse(&bytes).unwrap();
    assert_eq!(block.verify(HASH_SEED), Ok(()));
    assert!(block.checksum_matches(FILE_ID, OFFSET));
    assert!(!block.checksum_matches(FILE_ID ^ 1, OFFSET), "another file's block");
    assert!(!block.checksum_matches(FILE_ID, OFFSET + 64), "a block in another place");
    assert_eq!(block.layout().continues(), continues);
    assert_eq!(block.layout().block_len(), bytes.len());
    assert_eq!(decode(&block).as_deref(), Ok(rows));
    let same = |pair: &[Stored]| pair[0].key == pair[1].key;
    for (row, pair) in (0..).zip(rows.windows(2)) {
        assert_eq!(block.same_key(row, row + 1), Ok(same(pair)));
    }
    check_walk(&block, rows);
    let sample = rows.len().div_ceil(if cfg!(miri) { 4 } else { 60 });
    for stored in rows.iter().step_by(sample) {
        check_search(&block, rows, &stored.key);
        check_search(&block, rows, &[&stored.key[..], &[0]].concat());
        check_search(&block, rows, &[&stored.key[..], &[0xFF]].concat());
        check_search(&block, rows, &stored.key[..stored.key.len().saturating_sub(1)]);
    }
    check_search(&block, rows, b"");
    check_search(&block, rows, &[0xFF; 40]);
    bytes
}

/// Compares the rows of a walk with those of the block, which lies in something longer.
#[track_caller]
fn check_walk(block: &DataBlock<'_>, rows: &[Stored]) {
    let bytes = [&[7; 3], block.bytes()].concat();
    let Some(walk) = Rows::of(block, 3) else {
        let Layout { columns, widths, .. } = *block.layout();
        let may_overflow = widths & 7 == 3 || rows.iter().any(|row| row.seqno > u64::MAX >> 1);
        assert!(columns & COLUMN_EXPIRY != 0 || may_overflow, "these rows could be walked");
        return;
    };
    let part = |(start, len): (usize, usize)| &bytes[start..start + len];
    for row in 0..block.layout().row_count() {
        let (kind, out_of_line) = block.kind(row).unwrap();
        assert_eq!(walk.seqno(&bytes, row), block.seqno(row).unwrap());
        let walked = walk.row(&bytes, row);
        assert_eq!(walked.is_none(), out_of_line, "row {row}");
        let Some(walked) = walked else { continue };
        assert_eq!(part(walked.suffix), block.suffix(row).unwrap());
        assert_eq!(part(walked.value), block.value(row).unwrap());
        assert_eq!(walked.kind, kind);
        assert!(kind == Kind::Put || !walk.are_puts());
    }
    assert_eq!(Rows::default().row(&bytes, 0), None);
}

/// Compares `find` and `lower_bound` of one key, at every seqno around its own, with a scan.
#[track_caller]
fn check_search(block: &DataBlock<'_>, rows: &[Stored], key: &[u8]) {
    let own: Vec<u64> = rows.iter().filter(|r| r.key == key).map(|r| r.seqno).collect();
    let around = |s: &u64| [s.saturating_sub(1), *s, s.saturating_add(1)];
    let seqnos = own.iter().take(6).flat_map(around).chain([0, u64::MAX]);
    let mark = fingerprint(hash_key(key, HASH_SEED));
    for seqno in seqnos {
        let newest = rows.iter().position(|r| r.key == key && r.seqno <= seqno);
        let found = block.find(key, mark, seqno).unwrap();
        assert_eq!(found.map(|row| row as usize), newest, "find {key:?} at {seqno}");
        check_lookup(block, key, mark, seqno);
        let first = rows.iter().position(|r| compare(&r.key, r.seqno, key, seqno).is_ge());
        let bound = block.lower_bound(key, seqno).unwrap() as usize;
        assert_eq!(bound, first.unwrap_or(rows.len()), "lower_bound {key:?} at {seqno}");
    }
}

/// Compares `lookup` with `find`.
#[track_caller]
fn check_lookup(block: &DataBlock<'_>, key: &[u8], mark: u8, seqno: u64) {
    let want = match block.find(key, mark, seqno) {
        Ok(Some(row)) => {
            let has_more = block.layout().columns & (COLUMN_KIND | COLUMN_EXPIRY) != 0;
            let plain = if has_more { None } else { Some(block.value(row).unwrap()) };
            Lookup::Found { row, plain }
        }
        Ok(None) => Lookup::Absent { continues: block.layout().continues() },
        Err(_) => Lookup::Broken,
    };
    let followed = [block.bytes(), &[mark; 100]].concat();
    for bytes in [block.bytes(), &followed] {
        assert_eq!(lookup(bytes, key, mark, seqno), want, "lookup {key:?} at {seqno}");
    }
}

fn sorted(mut rows: Vec<Stored>) -> Vec<Stored> {
    rows.sort_by(|a, b| compare(&a.key, a.seqno, &b.key, b.seqno));
    rows.dedup_by(|a, b| (&a.key, a.seqno) == (&b.key, b.seqno));
    rows
}

// ---- what is encoded is read ---------------------------------------------------------------

/// Which columns a block is to have.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column that is there or not")]
struct Want {
    key_stride: bool,
    value_stride: bool,
    wide: bool,
    seqno: Option<u8>,
    kinds: bool,
    expiry: Option<u8>,
}

/// Twelve rows that need exactly these columns.
fn rows_for(want: Want) -> Vec<Stored> {
    let base = 1_u64 << 40;
    let far = |width| [100_u64, 1_000, 100_000, 1 << 33][usize::from(width)];
    let number = |width: Option<u8>, index: u64| match width {
        None => 0,
        Some(CONSTANT) => base,
        Some(width) => base + far(width) * (index % 3) / 2,
    };
    let value_len = if want.wide { 6000 } else { 8 };
    (0..12)
        .map(|index| {
            let key = format!("tree/{index:02}/leaf");
            let key = if want.key_stride || index % 2 == 0 { key } else { key + "s" };
            let mut row = put(key.as_bytes(), number(want.seqno, index), &[]);
            let variable = if want.value_stride { 0 } else { (index as usize + 1) % 3 };
            row.value = vec![b'a' + index as u8; value_len - variable];
            row.expires_at = match want.expiry {
                Some(width) if width != CONSTANT && index == 1 => 0,
                width => number(width, index),
            };
            if want.kinds {
                row.kind = Kind::Merge;
            }
            row
        })
        .collect()
}

#[test]
fn every_column_combination_reads_back() {
    let widths = [None, Some(CONSTANT), Some(0), Some(1), Some(2), Some(3)];
    let flags = [false, true];
    let step = if cfg!(miri) { 37 } else { 1 };
    let mut wants = Vec::new();
    for seqno in widths {
        for expiry in widths {
            for bits in 0..16 {
                let [key_stride, value_stride, wide, kinds] =
                    [0, 1, 2, 3].map(|bit| flags[(bits >> bit) & 1]);
                wants.push(Want { key_stride, value_stride, wide, seqno, kinds, expiry });
            }
        }
    }
    for (index, want) in wants.into_iter().enumerate().step_by(step) {
        let continues = index % 2 == 1;
        let header = header_of(&check(&rows_for(want), continues));
        let expected = [
            (want.wide, COLUMN_WIDE_OFFSETS),
            (want.seqno.is_some(), COLUMN_SEQNO),
            (want.kinds, COLUMN_KIND),
            (want.expiry.is_some(), COLUMN_EXPIRY),
            (continues, COLUMN_CONTINUES),
        ];
        let columns = expected.iter().filter(|(has, _)| *has).map(|(_, bit)| bit).sum::<u8>();
        assert_eq!(header.columns, columns, "{want:?}");
        let widths = want.seqno.unwrap_or(0) | (want.expiry.unwrap_or(0) << 3);
        assert_eq!(header.widths, widths, "{want:?}");
        assert_eq!(header.key_stride != VARIABLE_KEYS, want.key_stride, "{want:?}");
        assert_eq!(header.value_stride != VARIABLE_VALUES, want.value_stride, "{want:?}");
        assert_eq!(header.prefix_len.get(), 5, "{want:?}");
    }
}

#[test]
fn odd_blocks_read_back() {
    let long = vec![b'k'; 65_535];
    let longer_by_one = [&long[..65_534], b"l"].concat();
    let reference = |key: &[u8], kind| Stored {
        kind,
        out_of_line: true,
        ..put(key, 7, &[9; crate::format::value_ref::VALUE_REF_LEN])
    };
    #[rustfmt::skip]
    let cases: &[(&str, Vec<Stored>)] = &[
        ("the empty key",            vec![put(b"", 0, b"v")]),
        ("the empty key, thrice",    vec![put(b"", 9, b"c"), delete(b"", 8), put(b"", 0, b"a")]),
        ("empty key and value",      vec![put(b"", 0, b"")]),
        ("one long key",             vec![put(&long, 1, b"v")]),
        ("a suffix of 65,535 bytes", vec![put(b"", 1, b"v"), put(&long, 1, b"v")]),
        ("long keys, long prefix",   vec![put(&long, 3, b""), put(&long, 2, b"x"), put(&longer_by_one, 1, b"")]),
        ("a tombstone",              vec![delete(b"k", 3)]),
        ("prefixes of each other",   vec![put(b"a", 1, b""), put(b"aa", 1, b""), put(b"aaa", 1, b"")]),
        ("bytes 0 and 255",          vec![put(b"\0", 1, b""), put(b"\0\0", 1, b""), put(b"\xff", 1, b""), put(b"\xff\xff", 1, b"")]),
        ("the largest seqno",        vec![put(b"a", u64::MAX, b""), put(b"b", 0, b"")]),
        ("the same largest seqno",   vec![put(b"a", u64::MAX, b""), put(b"b", u64::MAX, b"")]),
        ("the longest expiries",     vec![Stored { expires_at: 1, ..put(b"a", 1, b"") }, Stored { expires_at: MAX_EXPIRY, ..put(b"b", 1, b"") }]),
        ("one expiry, one never",    vec![put(b"a", 1, b""), Stored { expires_at: 5, ..put(b"b", 1, b"") }]),
        ("values out of line",       vec![reference(b"a", Kind::Put), reference(b"b", Kind::Merge)]),
        ("a value as long as a reference", vec![put(b"a", 1, &[1; 24]), reference(b"b", Kind::Put)]),
    ];
    for (name, rows) in cases {
        println!("{name}");
        check(rows, false);
    }
}

#[test]
fn a_prefix_that_gets_shorter_leaves_no_key_behind() {
    let keys = ["abcdefgh", "abcdefghi", "abcdefz", "abcdz", "abx", "b"];
    for count in 1..=keys.len() {
        let rows: Vec<Stored> =
            keys[..count].iter().map(|key| put(key.as_bytes(), 3, b"v")).collect();
        check(&rows, false);
    }
}

#[test]
#[cfg_attr(miri, ignore = "65,535 rows are too many to interpret")]
fn a_block_holds_65_535_rows_and_no_more() {
    let mut rows: Vec<Stored> =
        (0..65_536).map(|n| put(format!("{n:05}").as_bytes(), n, b"v")).collect();
    let extra = rows.pop().unwrap();
    let mut builder = BlockBuilder::new();
    for row in &rows {
        builder.push(&row.row(), false, hash_key(&row.key, HASH_SEED));
    }
    assert_eq!(builder.len_with(&extra.row(), false), None);
    let header = header_of(&check(&rows, true));
    assert_eq!(header.row_count.get(), 65_535);
}

#[test]
#[cfg_attr(miri, ignore = "16 MiB are too much to interpret")]
fn a_block_is_at_most_16_mib_long() {
    let room = usize::try_from(MAX_BLOCK_LEN).unwrap() - HEADER_LEN - 16 - 1;
    let check_len = |value_len: usize, want: Option<usize>| {
        let row = put(b"k", 0, &vec![0; value_len]);
        assert_eq!(BlockBuilder::new().len_with(&row.row(), false), want);
    };
    check_len(room, Some(16 << 20));
    check_len(room + 1, None);
}

#[test]
#[cfg_attr(miri, ignore = "a million hashed bytes are too many to interpret")]
fn ten_thousand_versions_of_one_key_read_back() {
    let versions = |key: &'static [u8]| (0..10_000).rev().map(move |seqno| put(key, seqno, b"v"));
    let rows: Vec<Stored> = versions(b"a").chain(versions(b"b")).collect();
    check(&rows, true);
}

/// Symptom: verifying a block of 200 KB could take 4 GiB of memory.
/// Cause: the builder held every key whole, the 65,535-byte prefix included, for each row.
/// Fix: it holds what comes after the prefix.
#[test]
#[cfg_attr(miri, ignore = "too many bytes to interpret")]
fn a_builder_stays_as_small_as_its_block() {
    let key = vec![7; 65_535];
    let rows: Vec<Stored> = (0..200).rev().map(|seqno| put(&key, seqno, b"")).collect();
    let mut builder = BlockBuilder::new();
    for row in &rows {
        builder.push(&row.row(), false, 0);
    }
    assert!(builder.held_len() < 2 * builder.block_len() + 3 * 65_535);
}

/// A random set of rows of a random shape.
fn random_rows(rng: &mut StdRng) -> Vec<Stored> {
    let row_count = rng.random_range(1..if cfg!(miri) { 20 } else { 200 });
    let prefix: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
    let fixed_key = rng.random_bool(0.5).then(|| rng.random_range(1..20));
    let fixed_value = rng.random_bool(0.5).then(|| rng.random_range(0..50));
    let most = if rng.random_bool(0.3) { 1 } else { u8::MAX };
    let seqnos = 1_u64 << rng.random_range(0..64);
    let [some_delete, some_merge, some_expire] = [0, 0, 0].map(|_| rng.random_bool(0.4));
    let expiries = 1_u64 << rng.random_range(0..48);
    let rows = (0..row_count).map(|_| {
        let key_len = fixed_key.unwrap_or_else(|| rng.random_range(0..20));
        let mut key = prefix.clone();
        key.extend((0..key_len).map(|_| rng.random_range(0..=most)));
        let value_len = fixed_value.unwrap_or_else(|| rng.random_range(0..50));
        let value: Vec<u8> = (0..value_len).map(|_| rng.random()).collect();
        let mut row = put(&key, rng.random_range(0..seqnos), &value);
        if some_expire && rng.random_bool(0.7) {
            row.expires_at = rng.random_range(1..=expiries);
        }
        match rng.random_range(0..4) {
            0 if some_delete => row = delete(&key, row.seqno),
            1 if some_merge => row.kind = Kind::Merge,
            _ => {}
        }
        row
    });
    sorted(rows.collect())
}

#[test]
fn random_rows_read_back() {
    for seed in 0..if cfg!(miri) { 3 } else { 100 } {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let rows = random_rows(&mut rng);
        check(&rows, rng.random());
    }
}
