//! The recipe of every vector: the rows, and the writer that turns them into bytes.
//!
//! All identities, seeds and numbers are fixed here, so a vector is the same byte for byte
//! wherever and whenever it is made.

use tinydb::internals::checksum::hash_key;
use tinydb::internals::data_block::{BlockBuilder, seal};
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::{LogInfo, batch_header, log_seed, pad_len, seal_header};
use tinydb::internals::log_op::{Op, RangeDelete, RowOp, encode_op};
use tinydb::internals::manifest::{ManifestData, TableRecord};
use tinydb::internals::range_tombstone::RangeTombstone;
use tinydb::internals::row::{Kind, Row};
use tinydb::internals::{FilterSize, SimDisk, Storage, TableSettings, TableWriter};
use zerocopy::IntoBytes;

use super::refused;

/// The identity of the database that the vectors belong to.
pub(super) const DATABASE_ID: u64 = 0x0102_0304_0506_0708;
/// The number of every log among the vectors.
pub(super) const LOG_NUMBER: u64 = 7;
/// The identity of every table and block among the vectors.
pub(super) const FILE_ID: u64 = 0xF11E_F11E_F11E_F11E;
pub(super) const HASH_SEED: u64 = 0x1112_1314_1516_1718;
pub(super) const FILE_NUMBER: u64 = 12;

/// One vector: its name without extension, and its bytes.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Every vector there is.
pub(super) fn all() -> Vec<Vector> {
    let ten = FilterSize::BitsPerKey(10);
    let none = FilterSize::None;
    let vector = |name, bytes| Vector { name, bytes };
    vec![
        vector("block-wide", wide_block()),
        vector("log-clean", clean_log()),
        vector("log-damaged", damaged_log()),
        vector("log-newer-minor", refused::ignored("log", 10, &[9])),
        vector("log-optional-feature", refused::ignored("log", 16, &[0x80])),
        vector("log-range-deletes", range_delete_log()),
        vector("log-sealed", sealed_log()),
        vector("log-torn", torn_log()),
        vector("log-torn-header", clean_log()[..100].to_vec()),
        vector("manifest-empty", manifest(None, Vec::new())),
        vector("manifest-newer-minor", refused::ignored("manifest", 10, &[9])),
        vector("manifest-optional-feature", refused::ignored("manifest", 16, &[0x80])),
        vector("manifest-range-tombstones", manifest(None, range_tombstone_records())),
        vector("manifest-tables", manifest(Some("sum"), table_records())),
        vector("table-columns-packed", table(&column_rows(896), none, "")),
        vector("table-columns-uniform", table(&column_rows(1024), ten, "")),
        vector("table-ingested", refused::ignored("table", 16, &[1])),
        vector("table-kinds", table(&kind_rows(), none, "sum")),
        vector("table-long-keys", table(&long_key_rows(), ten, "")),
        vector("table-long-values", table(&long_value_rows(), ten, "")),
        vector("table-minimal", table(&[put(b"key", 1, b"value")], none, "")),
        vector("table-newer-minor", refused::ignored("table", 10, &[9])),
        vector("table-optional-feature", refused::ignored("table", 16, &[0x80])),
        vector("table-prefix", table(&prefix_rows(), ten, "")),
        vector("table-range-tombstones", range_tombstone_table()),
        vector("table-spanning", table(&spanning_rows(), ten, "")),
        vector("table-ties", table(&tie_rows(), ten, "")),
        vector("table-unknown-region", refused::unknown_region()),
    ]
}

// ---- tables ---------------------------------------------------------------------------------

/// A row that owns its bytes.
#[derive(Clone, Debug)]
pub(super) struct OwnedRow {
    pub(super) key: Vec<u8>,
    pub(super) seqno: u64,
    pub(super) kind: Kind,
    pub(super) expires_at: u64,
    pub(super) value: Vec<u8>,
}

impl OwnedRow {
    pub(super) fn row(&self) -> Row<'_> {
        let Self { seqno, kind, expires_at, .. } = *self;
        Row { key: &self.key, seqno, kind, expires_at, value: &self.value }
    }

    pub(super) fn expiring(self, expires_at: u64) -> Self {
        Self { expires_at, ..self }
    }
}

pub(super) fn put(key: &[u8], seqno: u64, value: &[u8]) -> OwnedRow {
    let (key, value) = (key.to_vec(), value.to_vec());
    OwnedRow { key, seqno, kind: Kind::Put, expires_at: 0, value }
}

pub(super) fn merge(key: &[u8], seqno: u64, operand: &[u8]) -> OwnedRow {
    OwnedRow { kind: Kind::Merge, ..put(key, seqno, operand) }
}

pub(super) fn delete(key: &[u8], seqno: u64) -> OwnedRow {
    OwnedRow { kind: Kind::Delete, ..put(key, seqno, b"") }
}

/// A value whose bytes can be told apart: the numbers from `first` on, over and over.
pub(super) fn numbered(first: u8, len: usize) -> Vec<u8> {
    (first..=u8::MAX).cycle().take(len).collect()
}

/// The table of these rows, in blocks of 1 KiB.
pub(super) fn table(rows: &[OwnedRow], filter: FilterSize, operator: &str) -> Vec<u8> {
    table_with(rows, &[], filter, operator)
}

/// As [`table`], with range tombstones.
pub(super) fn table_with(
    rows: &[OwnedRow],
    fragments: &[RangeTombstone<'_>],
    filter: FilterSize,
    operator: &str,
) -> Vec<u8> {
    table_numbered((FILE_NUMBER, FILE_ID), rows, fragments, filter, operator)
}

/// As [`table_with`], with this number and identity.
pub(super) fn table_numbered(
    (number, file_id): (u64, u64),
    rows: &[OwnedRow],
    fragments: &[RangeTombstone<'_>],
    filter: FilterSize,
    operator: &str,
) -> Vec<u8> {
    let disk = SimDisk::new(0);
    disk.create_root().expect("a directory");
    let settings = TableSettings {
        block_size: 1024,
        filter,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        operator: operator.to_owned(),
        features_optional: 0,
    };
    let writer = TableWriter::create(&disk, &settings, number, number + 1, file_id);
    let mut writer = writer.expect("a writer");
    for row in rows {
        writer.add(&disk, &row.row()).expect("room on the disk");
    }
    writer.set_range_tombstones(fragments.iter().copied());
    writer.finish(&disk).expect("room on the disk");
    disk.read_file(FileName::Table(number)).expect("the table")
}

/// A block for each set of columns that a table's block can have: offsets of keys and of values,
/// seqnos, kinds, expiries; the widths of the numbers take turns. Each block is `block_len` long,
/// and the row behind it does not fit.
fn column_rows(block_len: usize) -> Vec<OwnedRow> {
    let mut next: Option<OwnedRow> = None;
    let mut blocks = Vec::new();
    for set in (0..32_u8).rev() {
        let fits = |value_len: &usize| {
            let rows = rows_of_set(set, *value_len);
            let mut builder = BlockBuilder::new();
            for row in &rows {
                builder.push(&row.row(), false, 0);
            }
            let len_with_next = next.as_ref().and_then(|row| builder.len_with(&row.row(), false));
            builder.block_len() == block_len && len_with_next.is_none_or(|len| len > 1024)
        };
        let value_len = (1..=256).rev().find(fits).expect("a length that fits");
        let rows = rows_of_set(set, value_len);
        next = rows.first().cloned();
        blocks.push(rows);
    }
    blocks.into_iter().rev().flatten().collect()
}

/// Four rows that need the columns whose bits are set.
fn rows_of_set(set: u8, value_len: usize) -> Vec<OwnedRow> {
    const WIDTHS: [u64; 5] = [0, 0xff, 0xffff, 0xffff_ffff, 0x3_0000_0000];
    let has = |bit: u8| set >> bit & 1 == 1;
    // Differences between the smallest and the largest number of a column.
    let seqno_span = WIDTHS[usize::from(set / 4 * 2 + set % 4 / 2) % 5];
    let expiry_span = WIDTHS[usize::from(set) % 5];
    (0..4_u8)
        .map(|row| {
            let part = |span: u64| span * u64::from(row) / 3;
            let mut key = format!("set{set:02}/{row}").into_bytes();
            key.extend(std::iter::repeat_n(b'+', usize::from(has(0) && row % 2 == 1)));
            let len = value_len - usize::from(has(1) && row % 2 == 0);
            let seqno = if has(2) { 1000 + part(seqno_span) } else { 0 };
            let mut made = put(&key, seqno, &numbered(set, len));
            if has(3) && row == 2 {
                made.kind = Kind::Merge;
            }
            let never = row == 0 && expiry_span != 0;
            made.expires_at = if has(4) && !never { 1_700_000_000 + part(expiry_span) } else { 0 };
            made
        })
        .collect()
}

/// Every kind of row, in every state that a reader has to tell apart.
fn kind_rows() -> Vec<OwnedRow> {
    vec![
        put(b"apple", 9, b"newest"),
        put(b"apple", 4, b"older"),
        delete(b"banana", 8),
        put(b"banana", 3, b"gone"),
        put(b"cherry", 7, b"fresh until 2033").expiring(2_000_000_000),
        put(b"date", 12, b"expired in 1970").expiring(1),
        put(b"date", 2, b"must not come back"),
        merge(b"elder", 15, b"+3"),
        merge(b"elder", 14, b"+2").expiring(2_000_000_000),
        put(b"elder", 1, b"1"),
        merge(b"fig", 16, b"+4"),
        delete(b"fig", 5),
        put(b"grape", 11, b""),
        delete(b"grape", 10),
    ]
}

/// The empty key, keys that are prefixes of each other, and one that fits no slot.
fn long_key_rows() -> Vec<OwnedRow> {
    let keys = [
        Vec::new(),
        vec![0],
        vec![0, 0],
        vec![0, 255],
        b"k".to_vec(),
        numbered(b'k', 1500),
        [numbered(b'k', 1500), vec![0]].concat(),
        vec![255],
        vec![255; 300],
    ];
    let rows = keys.iter().zip(1..);
    rows.map(|(key, seqno)| put(key, seqno, format!("{} bytes", key.len()).as_bytes())).collect()
}

/// Values around the length from which they lie out of line, which is 257 for blocks of 1 KiB.
fn long_value_rows() -> Vec<OwnedRow> {
    let lens = [0, 24, 255, 256, 257, 320, 1000, 2049, 64, 4097];
    let rows = lens.iter().enumerate().map(|(index, len)| {
        let key = format!("value of {len:04}");
        let row = put(key.as_bytes(), 100 + index as u64, &numbered(65, *len));
        if *len == 1000 { OwnedRow { kind: Kind::Merge, ..row } } else { row }
    });
    let mut rows: Vec<OwnedRow> = rows.collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Keys that share forty bytes, in so many blocks that the index has two levels.
fn prefix_rows() -> Vec<OwnedRow> {
    (0..560_u64)
        .map(|n| put(format!("forty bytes at the start of all the keys{n:08}").as_bytes(), n, b"v"))
        .collect()
}

/// One key with so many versions that they fill four blocks, between others.
pub(super) fn spanning_rows() -> Vec<OwnedRow> {
    let busy = (0..120).rev().map(|seqno| put(b"busy", 50 + seqno, &numbered(48, 20)));
    let before = [put(b"bus", 3, b"before"), put(b"busx", 2, b"just before")];
    let after = [put(b"busy\0", 1, b"just after"), put(b"bz", 7, b"after")];
    before.into_iter().chain(busy).chain(after).collect()
}

/// Tenants of sixteen bytes and a number: heads tie, so that separators decide.
fn tie_rows() -> Vec<OwnedRow> {
    let tenant = |n: u64| format!("tenant-{:09}", n * 1_000_003);
    let rows = (0..3).flat_map(|t| (0..60_u64).map(move |n| (t, n)));
    rows.map(|(t, n)| put(format!("{}{n:06}", tenant(t)).as_bytes(), n, &numbered(97, 60)))
        .collect()
}

/// Range tombstones that delete some of the table's own rows, cover keys that it has not, touch
/// each other with and without the same seqno, and go on to the end of all keys.
fn range_tombstone_table() -> Vec<u8> {
    let rows = [
        put(b"apple", 30, b"newer than the tombstone"),
        put(b"apple", 10, b"older: deleted"),
        put(b"banana", 20, b"as new as the tombstone: stays"),
        merge(b"cherry", 27, b"+1"),
        merge(b"cherry", 22, b"+2, deleted"),
        put(b"cherry", 21, b"deleted"),
        put(b"date", 3, b"at the end of a range: stays"),
        put(b"melon", 0, b"zero is older than all: deleted"),
        put(b"pear", 39, b"deleted"),
        put(b"quince", 40, b"in a gap: stays"),
        delete(b"zebra", 50),
    ];
    let fragment = |start, end, seqno| RangeTombstone { start, end, seqno };
    let fragments = [
        fragment(&b""[..], Some(&b"a"[..]), 60),
        fragment(b"a", Some(b"cherry"), 20),
        fragment(b"cherry", Some(b"date"), 25),
        fragment(b"kiwi", Some(b"nut"), 40),
        fragment(b"nut", Some(b"q"), 40),
        fragment(b"z\xff", None, 61),
    ];
    table_with(&rows, &fragments, FilterSize::None, "sum")
}

/// A block whose value heap is too long for offsets of two bytes; a table's writer makes none.
fn wide_block() -> Vec<u8> {
    let mut builder = BlockBuilder::new();
    let rows = [
        put(b"wide/1", 5, &numbered(1, 32_768)),
        put(b"wide/2", 4, &numbered(2, 32_767)),
        put(b"wide/3", 3, b"!"),
    ];
    for row in &rows {
        builder.push(&row.row(), false, hash_key(&row.key, HASH_SEED));
    }
    let mut block = Vec::new();
    builder.finish(false, &mut block);
    seal(&mut block, FILE_ID, 4096);
    block
}

// ---- logs -----------------------------------------------------------------------------------

/// A log in the making.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) bytes: Vec<u8>,
    number: u64,
    next_seqno: u64,
    synced_upto: u64,
}

impl Log {
    pub(super) fn new(merge_operator: Option<&str>) -> Self {
        let info = LogInfo {
            log_number: LOG_NUMBER,
            database_id: DATABASE_ID,
            hash_seed: HASH_SEED,
            manifest_number: 6,
            previous_log: 4,
            first_seqno: 100,
            merge_operator,
        };
        Self::of(&info)
    }

    /// A log with this header, and no record yet.
    pub(super) fn of(info: &LogInfo<'_>) -> Self {
        let (number, next_seqno) = (info.log_number, info.first_seqno);
        Self { bytes: info.encode(), number, next_seqno, synced_upto: 0 }
    }

    pub(super) fn batch(&mut self, operations: &[Op<'_>]) -> &mut Self {
        let mut payload = Vec::new();
        for op in operations {
            encode_op(&mut payload, op).expect("a short operation");
        }
        self.record(u32::try_from(operations.len()).expect("few operations"), &payload)
    }

    /// A record of this payload, whatever it means.
    pub(super) fn record(&mut self, op_count: u32, payload: &[u8]) -> &mut Self {
        let (seed, at) = (log_seed(DATABASE_ID, self.number), self.bytes.len() as u64);
        let header = batch_header(seed, at, payload, self.next_seqno, op_count, self.synced_upto);
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(payload);
        self.zeros(pad_len(payload.len() as u64));
        self.next_seqno += u64::from(op_count);
        self
    }

    /// From here on, records say that everything up to here is durable.
    pub(super) fn synced(&mut self) -> &mut Self {
        self.synced_upto = self.bytes.len() as u64;
        self
    }

    pub(super) fn zeros(&mut self, count: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    pub(super) fn seal(&mut self) -> &mut Self {
        let (seed, at) = (log_seed(DATABASE_ID, self.number), self.bytes.len() as u64);
        self.bytes.extend_from_slice(seal_header(seed, at, self.next_seqno).as_bytes());
        self
    }
}

pub(super) fn op<'a>(kind: Kind, key: &'a [u8], expires_at: u64, value: &'a [u8]) -> Op<'a> {
    RowOp { kind, tree_id: 0, expires_at, key, value }.into()
}

/// Three batches with every kind of operation, then zeros.
fn clean_log() -> Vec<u8> {
    let mut log = Log::new(Some("sum"));
    log.batch(&[op(Kind::Put, b"apple", 0, b"red")]).synced();
    log.batch(&[
        op(Kind::Put, b"cherry", 2_000_000_000, b"until 2033"),
        op(Kind::Delete, b"banana", 0, b""),
        op(Kind::Merge, b"counter", 0, b"+1"),
    ]);
    log.batch(&[op(Kind::Put, b"", 0, b""), op(Kind::Merge, b"m", 2_000_000_000, b"+2")]);
    log.zeros(96).bytes.clone()
}

fn sealed_log() -> Vec<u8> {
    let mut log = Log::new(None);
    log.batch(&[op(Kind::Put, b"a", 0, b"1")]).batch(&[op(Kind::Put, b"b", 0, b"2")]);
    log.synced().seal().zeros(32).bytes.clone()
}

/// Range deletes between rows of their ranges, with and without an end.
fn range_delete_log() -> Vec<u8> {
    let range = |start, end| Op::from(RangeDelete { tree_id: 0, start, end });
    let mut log = Log::new(None);
    log.batch(&[range(b"b", Some(b"d"))]);
    log.batch(&[
        op(Kind::Put, b"c", 0, b"older than the range delete"),
        range(b"b", Some(b"c\0")),
        op(Kind::Put, b"c", 0, b"newer"),
    ]);
    log.batch(&[range(b"x", None), range(b"", Some(b"\0"))]);
    log.batch(&[range(b"", None)]);
    log.seal().bytes.clone()
}

/// The second record lacks its end, of which nobody was told that it is durable. The third is
/// whole, but behind the tear.
fn torn_log() -> Vec<u8> {
    let mut log = Log::new(None);
    log.batch(&[op(Kind::Put, b"a", 0, b"durable")]).synced();
    log.batch(&[op(Kind::Put, b"b", 0, b"torn, and nobody was told of it")]);
    let torn_at = log.bytes.len() - 8;
    log.batch(&[op(Kind::Put, b"c", 0, b"whole, but too late")]);
    log.bytes[torn_at] = 0;
    log.zeros(16).bytes.clone()
}

/// The second record is damaged, and the fourth proves that it was durable once.
fn damaged_log() -> Vec<u8> {
    let mut log = Log::new(None);
    log.batch(&[op(Kind::Put, b"a", 0, b"durable")]);
    log.batch(&[op(Kind::Put, b"b", 0, b"damaged")]);
    let damaged_at = log.bytes.len() - 8;
    log.batch(&[op(Kind::Put, b"c", 0, b"says nothing")]).synced();
    log.batch(&[op(Kind::Put, b"d", 0, b"says that all before it is durable")]);
    log.bytes[damaged_at] ^= 1;
    log.bytes.clone()
}

// ---- manifests ------------------------------------------------------------------------------

pub(super) fn manifest(merge_operator: Option<&str>, tables: Vec<TableRecord>) -> Vec<u8> {
    let data = ManifestData {
        manifest_number: 42,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        next_file_number: 43,
        last_seqno: 1000,
        oldest_log: 41,
        merge_operator: merge_operator.map(str::to_owned),
        tables,
    };
    data.encode()
}

/// Two tables that overlap in level 0, two that do not in level 1, one in level 3.
pub(super) fn table_records() -> Vec<TableRecord> {
    let record = |level, file_number, seqnos: [u64; 2], keys: [&[u8]; 2]| TableRecord {
        tree_id: 0,
        level,
        file_number,
        file_id: FILE_ID ^ file_number,
        file_len: 4096 * file_number,
        checksum: 0xC0DE_0000_0000_0000 | file_number,
        row_count: 100 + file_number,
        min_seqno: seqnos[0],
        max_seqno: seqnos[1],
        range_tombstone_count: 0,
        cleared_seqno: 0,
        smallest: keys[0].to_vec(),
        largest: keys[1].to_vec(),
    };
    vec![
        record(0, 40, [900, 1000], [b"a", b"z"]),
        record(0, 38, [800, 899], [b"", b"\xff\xff"]),
        record(1, 30, [0, 700], [b"apple", b"mango"]),
        record(1, 31, [5, 799], [b"melon", b"pear"]),
        record(3, 20, [0, 0], [b"kiwi", b"kiwi"]),
    ]
}

/// A table with range tombstones above one without; their seqnos count for the last one.
fn range_tombstone_records() -> Vec<TableRecord> {
    let [newest, .., oldest] = &table_records()[..] else { panic!("several tables") };
    let newest = TableRecord { max_seqno: 950, range_tombstone_count: 6, ..newest.clone() };
    vec![newest, TableRecord { cleared_seqno: 940, ..oldest.clone() }]
}
