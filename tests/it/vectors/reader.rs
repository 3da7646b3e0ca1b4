//! A second reader, written from `format-spec/` alone: plain loops, plain slices, no TinyDB.
//!
//! It is slow and panics on what is not as the spec says; it is here to show that the spec is
//! enough, and to say in JSON what a correct reader finds in a vector.

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed as xxh3;

/// A little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn size(bytes: &[u8], at: usize, len: usize) -> usize {
    usize::try_from(number(bytes, at, len)).unwrap()
}

fn hex64(number: u64) -> Value {
    json!(format!("{number:#018x}"))
}

/// Bytes as text: hexadecimal, or length and XXH3 if they are many.
pub(super) fn text(bytes: &[u8]) -> String {
    if bytes.len() > 64 {
        format!("{} bytes, xxh3 {:#018x}", bytes.len(), xxh3(bytes, 0))
    } else {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }
}

/// What a vector holds; the start of its name says what it is.
pub(super) fn read(name: &str, bytes: &[u8]) -> Value {
    match name.split('-').next() {
        Some("table") => read_table(bytes).0,
        Some("block") => read_lone_block(bytes),
        Some("log") => read_log(bytes),
        Some("manifest") => read_manifest(bytes),
        _ => panic!("{name}: what is it?"),
    }
}

fn check_preamble(bytes: &[u8], magic: &[u8], checksum_at: usize) {
    assert_eq!(&bytes[..8], magic);
    assert_eq!(number(bytes, checksum_at, 8), xxh3(&bytes[..checksum_at], 0));
    assert_eq!(number(bytes, 8, 2), 1, "format_major");
    assert_eq!(number(bytes, 12, 4), 0, "features_required");
}

// ---- 03: the table --------------------------------------------------------------------------

struct Entry {
    kind: u64,
    flags: u64,
    offset: usize,
    len: usize,
    checksum: u64,
}

/// The rows of a table, in order.
pub(super) fn table_rows(file: &[u8]) -> Vec<Row> {
    read_table(file).1
}

fn read_table(file: &[u8]) -> (Value, Vec<Row>) {
    check_preamble(file, b"TINYSST\x01", 56);
    let (file_id, hash_seed) = (number(file, 24, 8), number(file, 32, 8));
    let footer = &file[file.len() - 4096..];
    assert_eq!(&footer[..8], b"TINYEND\x01");
    assert_eq!(number(footer, 4088, 8), xxh3(&footer[..4088], file_id));
    assert_eq!(footer[8..20], file[8..20]);
    assert_eq!(number(footer, 24, 8), file_id);
    assert_eq!(size(footer, 32, 8), file.len());
    let entries = directory(footer);
    check_gaps(file, &entries);
    let region = |kind: u64| entries.iter().find(|entry| entry.kind == kind);
    let payload = |kind| region(kind).map(|entry| chunked(file, entry, file_id));
    let index = Index::read(payload(4).expect("an index"));
    let data = region(1).expect("data");
    let values = region(2).map_or(&[][..], |entry| &file[entry.offset..entry.offset + entry.len]);
    let offsets = index.block_offsets(data.len);
    let mut blocks = Vec::new();
    let mut rows = Vec::new();
    for offset in &offsets {
        let block = &file[data.offset + offset..data.offset + data.len];
        let block = Block::read(block, file_id ^ (data.offset + offset) as u64);
        blocks.push(block.describe(*offset));
        rows.extend((0..block.row_count).map(|row| block.row(row, values, file_id)));
    }
    check_order(&rows);
    index.check(&rows, &blocks);
    let filter = payload(3);
    check_filter(filter, &rows, hash_seed);
    let properties = region(5).expect("properties");
    let seqnos: Vec<u64> = rows.iter().map(|row| row.seqno).collect();
    assert_eq!(number(footer, 40, 8), rows.len() as u64);
    assert_eq!(number(footer, 48, 8), seqnos.iter().copied().min().unwrap());
    assert_eq!(number(footer, 56, 8), seqnos.iter().copied().max().unwrap());
    let mut found = json!({
        "what": "table",
        "file_len": file.len(),
        "file_id": hex64(file_id),
        "hash_seed": hex64(hash_seed),
        "row_count": rows.len(),
        "min_seqno": number(footer, 48, 8),
        "max_seqno": number(footer, 56, 8),
        "regions": entries.iter().map(|entry| json!({
            "kind": entry.kind, "flags": entry.flags, "offset": entry.offset, "len": entry.len,
        })).collect::<Vec<_>>(),
        "properties": read_properties(file, properties, file_id, &rows),
        "index": index.describe(),
        "filter": filter.map(|filter| describe_filter(filter, hash_seed)),
        "blocks": blocks,
        "rows": rows.iter().map(Row::describe).collect::<Vec<_>>(),
    });
    let fragments = range_tombstones(file);
    assert_eq!(number(&file[properties.offset..], 92, 8), fragments.len() as u64);
    if !fragments.is_empty() {
        found["range_tombstones"] = fragments.iter().map(RangeTombstone::describe).collect();
    }
    (found, rows)
}

fn directory(footer: &[u8]) -> Vec<Entry> {
    (0..size(footer, 20, 4))
        .map(|index| {
            let entry = &footer[80 + 32 * index..];
            Entry {
                kind: number(entry, 0, 4),
                flags: number(entry, 4, 4),
                offset: size(entry, 8, 8),
                len: size(entry, 16, 8),
                checksum: number(entry, 24, 8),
            }
        })
        .collect()
}

fn check_gaps(file: &[u8], entries: &[Entry]) {
    let mut at = 64;
    for entry in entries {
        assert!(entry.offset >= at && entry.offset.is_multiple_of(4096));
        assert!(file[at..entry.offset].iter().all(|byte| *byte == 0));
        let checksums_len = if entry.flags & 2 == 0 { 0 } else { entry.len.div_ceil(4096) * 8 };
        let len = if checksums_len == 0 { entry.len } else { entry.len.next_multiple_of(8) };
        at = entry.offset + len + checksums_len;
    }
    assert!(file[at..file.len() - 4096].iter().all(|byte| *byte == 0));
}

/// The payload of a chunked region, all of its chunks verified.
fn chunked<'f>(file: &'f [u8], entry: &Entry, file_id: u64) -> &'f [u8] {
    assert_eq!(entry.flags, 2);
    let payload = &file[entry.offset..entry.offset + entry.len];
    let checksums_at = entry.offset + entry.len.next_multiple_of(8);
    for (index, chunk) in payload.chunks(4096).enumerate() {
        let seed = file_id ^ (entry.offset + 4096 * index) as u64;
        assert_eq!(number(file, checksums_at + 8 * index, 8), xxh3(chunk, seed));
    }
    payload
}

fn read_properties(file: &[u8], entry: &Entry, file_id: u64, rows: &[Row]) -> Value {
    let bytes = &file[entry.offset..entry.offset + entry.len];
    assert_eq!(entry.checksum, xxh3(bytes, file_id ^ entry.offset as u64));
    let (operator_len, smallest_len, largest_len) =
        (size(bytes, 84, 4), size(bytes, 88, 2), size(bytes, 90, 2));
    let (smallest, rest) = bytes[128..].split_at(smallest_len);
    let (largest, operator) = rest.split_at(largest_len);
    assert_eq!(operator.len(), operator_len);
    assert_eq!(smallest, rows[0].key);
    assert_eq!(largest, rows[rows.len() - 1].key);
    let count = |is: fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count() as u64;
    assert_eq!(number(bytes, 24, 8), count(|row| row.kind == 1));
    assert_eq!(number(bytes, 32, 8), count(|row| row.kind == 2));
    assert_eq!(number(bytes, 40, 8), count(|row| row.expiry != 0));
    assert_eq!(number(bytes, 48, 8), count(|row| row.reference.is_some()));
    let sum = |len: fn(&Row) -> usize| rows.iter().map(len).sum::<usize>() as u64;
    assert_eq!(number(bytes, 56, 8), sum(|row| row.key.len()));
    assert_eq!(number(bytes, 64, 8), sum(|row| row.value.len()));
    let expiries = rows.iter().map(|row| row.expiry).filter(|expiry| *expiry != 0);
    assert_eq!(number(bytes, 72, 8), expiries.min().unwrap_or(0));
    json!({
        "database_id": hex64(number(bytes, 0, 8)),
        "file_number": number(bytes, 8, 8),
        "key_count": number(bytes, 16, 8),
        "delete_count": number(bytes, 24, 8),
        "merge_count": number(bytes, 32, 8),
        "expiring_count": number(bytes, 40, 8),
        "reference_count": number(bytes, 48, 8),
        "key_bytes": number(bytes, 56, 8),
        "value_bytes": number(bytes, 64, 8),
        "min_expiry": number(bytes, 72, 8),
        "block_count": number(bytes, 80, 4),
        "smallest_key": text(smallest),
        "largest_key": text(largest),
        "operator": std::str::from_utf8(operator).unwrap(),
    })
}

fn check_order(rows: &[Row]) {
    for pair in rows.windows(2) {
        let same = pair[0].key == pair[1].key;
        assert!(pair[0].key < pair[1].key || (same && pair[0].seqno > pair[1].seqno));
    }
    let mut end = 0_usize;
    let references = rows.iter().filter_map(|row| row.reference.map(|at| (at, row.value.len())));
    for (number, ((offset, index), len)) in references.enumerate() {
        assert_eq!((offset, index), (end.next_multiple_of(64), number));
        end = offset + len;
    }
}

// ---- 04: the data block ---------------------------------------------------------------------

/// One row, whole.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) seqno: u64,
    pub(super) kind: u8,
    pub(super) expiry: u64,
    pub(super) value: Vec<u8>,
    /// Offset and number of a reference.
    reference: Option<(usize, usize)>,
}

impl Row {
    fn describe(&self) -> Value {
        let kind = ["put", "delete", "merge"][usize::from(self.kind)];
        json!([text(&self.key), self.seqno, kind, self.expiry, text(&self.value)])
    }
}

/// A block, with its columns as vectors.
struct Block<'f> {
    bytes: &'f [u8],
    row_count: usize,
    prefix: &'f [u8],
    keys: Vec<&'f [u8]>,
    values: Vec<&'f [u8]>,
    seqnos: Vec<u64>,
    kinds: Vec<u8>,
    expiries: Vec<u64>,
}

/// Hands out the columns of a block, one behind the other.
struct Columns<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl<'f> Columns<'f> {
    fn take(&mut self, len: usize) -> &'f [u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    /// Where each of `count` parts starts, and where the last one ends.
    fn offsets(&mut self, count: usize, stride: Option<usize>, width: usize) -> Vec<usize> {
        if let Some(stride) = stride {
            return (0..=count).map(|index| index * stride).collect();
        }
        let column = self.take(width * (count + 1));
        (0..=count).map(|index| size(column, width * index, width)).collect()
    }

    /// Base and deltas; no deltas for the width code 7.
    fn numbers(&mut self, count: usize, code: u8) -> (u64, Option<Vec<u64>>) {
        let base = number(self.take(8), 0, 8);
        if code == 7 {
            return (base, None);
        }
        let width = 1 << code;
        let column = self.take(width * count);
        (base, Some((0..count).map(|row| number(column, width * row, width)).collect()))
    }
}

impl<'f> Block<'f> {
    fn read(bytes: &'f [u8], seed: u64) -> Self {
        let bytes = &bytes[..size(bytes, 8, 4)];
        assert_eq!(number(bytes, 0, 8), xxh3(&bytes[8..], seed));
        let count = size(bytes, 12, 2);
        let (columns, widths) = (bytes[30], bytes[31]);
        let width = if columns & 1 == 0 { 2 } else { 4 };
        let mut at = Columns { bytes, at: 32 };
        at.take(count.next_multiple_of(16));
        let stride = |at, len, none| Some(size(bytes, at, len)).filter(|stride| *stride != none);
        let key_offsets = at.offsets(count, stride(28, 2, 0xffff), width);
        let value_offsets = at.offsets(count, stride(24, 4, 0xffff_ffff), width);
        let prefix = at.take(size(bytes, 14, 2));
        let seqnos = if columns & 2 == 0 { (0, None) } else { at.numbers(count, widths & 7) };
        let kinds = if columns & 4 == 0 { vec![0; count] } else { at.take(count).to_vec() };
        let expiries = if columns & 8 == 0 { (0, None) } else { at.numbers(count, widths >> 3) };
        let (keys, values) = (at.take(size(bytes, 16, 4)), at.take(size(bytes, 20, 4)));
        assert!(bytes[at.at..].iter().all(|byte| *byte == 0) && bytes.len() - at.at < 64);
        let parts = |heap: &'f [u8], offsets: &[usize]| {
            assert_eq!(offsets[count], heap.len());
            offsets.windows(2).map(|pair| &heap[pair[0]..pair[1]]).collect()
        };
        let never_or = |base: u64, delta: u64| if delta == 0 { 0 } else { base + delta - 1 };
        Self {
            bytes,
            row_count: count,
            prefix,
            keys: parts(keys, &key_offsets),
            values: parts(values, &value_offsets),
            seqnos: match seqnos {
                (base, None) => vec![base; count],
                (base, Some(deltas)) => deltas.iter().map(|delta| base + delta).collect(),
            },
            kinds,
            expiries: match expiries {
                (base, None) => vec![base; count],
                (base, Some(deltas)) => deltas.iter().map(|d| never_or(base, *d)).collect(),
            },
        }
    }

    fn row(&self, row: usize, values: &[u8], file_id: u64) -> Row {
        let stored = self.values[row];
        let reference = (self.kinds[row] & 16 != 0).then(|| {
            assert_eq!(stored.len(), 24);
            (size(stored, 0, 8), size(stored, 8, 4), size(stored, 12, 4))
        });
        let value = reference.map_or(stored, |(offset, len, _)| &values[offset..offset + len]);
        if let Some((offset, ..)) = reference {
            assert_eq!(number(stored, 16, 8), xxh3(value, file_id ^ offset as u64));
        }
        Row {
            key: [self.prefix, self.keys[row]].concat(),
            seqno: self.seqnos[row],
            kind: self.kinds[row] & !16,
            expiry: self.expiries[row],
            value: value.to_vec(),
            reference: reference.map(|(offset, _, index)| (offset, index)),
        }
    }

    fn describe(&self, offset: usize) -> Value {
        json!({
            "offset": offset,
            "block_len": self.bytes.len(),
            "row_count": self.row_count,
            "prefix_len": self.prefix.len(),
            "columns": self.bytes[30],
            "widths": self.bytes[31],
            "key_stride": size(self.bytes, 28, 2),
            "value_stride": size(self.bytes, 24, 4),
        })
    }
}

/// A block on its own: the recipe says that it stands at 4096 of a file with this identity.
fn read_lone_block(bytes: &[u8]) -> Value {
    let file_id = super::recipe::FILE_ID;
    let block = Block::read(bytes, file_id ^ 4096);
    let rows = (0..block.row_count).map(|row| block.row(row, &[], file_id).describe());
    json!({
        "what": "block",
        "file_id": hex64(file_id),
        "file_offset": 4096,
        "blocks": [block.describe(0)],
        "rows": rows.collect::<Vec<_>>(),
    })
}

// ---- 05: the index --------------------------------------------------------------------------

struct Index<'f> {
    bytes: &'f [u8],
    prefix: &'f [u8],
    head_offset: usize,
    levels: Vec<Vec<u64>>,
    tie_offset: usize,
    /// The tree of tie heads, if separators tie.
    tie_levels: Option<Vec<Vec<u64>>>,
    /// In a packed table: where each block starts and the last one ends.
    offsets: Option<Vec<usize>>,
    separators: Vec<&'f [u8]>,
}

impl<'f> Index<'f> {
    fn read(bytes: &'f [u8]) -> Self {
        assert_eq!(&bytes[..4], b"TDIX");
        let count = size(bytes, 4, 4);
        let prefix_len = size(bytes, 8, 2);
        let mut counts = vec![count];
        while counts[0] > 16 {
            counts.insert(0, counts[0].div_ceil(16));
        }
        assert_eq!(usize::from(bytes[13]), counts.len());
        let mut at = (64 + prefix_len).next_multiple_of(128);
        let mut level = |count: &usize| {
            let entries = (0..*count).map(|entry| number(bytes, at + 8 * entry, 8)).collect();
            let end = at + 8 * count.next_multiple_of(16);
            assert!(bytes[at + 8 * count..end].iter().all(|byte| *byte == 0xff));
            at = end;
            entries
        };
        let has_ties = bytes[12] & 4 != 0;
        let (lowest, upper) = counts.split_last().unwrap();
        let mut levels: Vec<Vec<u64>> = upper.iter().map(&mut level).collect();
        let mut tie_levels: Option<Vec<Vec<u64>>> =
            has_ties.then(|| upper.iter().map(&mut level).collect());
        levels.push(level(lowest));
        if let Some(tie_levels) = &mut tie_levels {
            tie_levels.push(level(lowest));
        }
        let offsets = (bytes[12] & 1 == 0).then(|| {
            at += 4 * (count + 1);
            let start = at - 4 * (count + 1);
            (0..=count).map(|block| 64 * size(bytes, start + 4 * block, 4)).collect()
        });
        let separators_at = at + 4 * (count + 1);
        let ends: Vec<usize> = (0..=count).map(|block| size(bytes, at + 4 * block, 4)).collect();
        assert_eq!(ends[count], size(bytes, 20, 4));
        assert_eq!(separators_at + ends[count], bytes.len());
        let separator = |pair: &[usize]| &bytes[separators_at + pair[0]..separators_at + pair[1]];
        Self {
            bytes,
            prefix: &bytes[64..64 + prefix_len],
            head_offset: size(bytes, 10, 2),
            levels,
            tie_offset: size(bytes, 14, 2),
            tie_levels,
            offsets,
            separators: ends.windows(2).map(separator).collect(),
        }
    }

    /// Where the blocks start in the data region.
    fn block_offsets(&self, data_len: usize) -> Vec<usize> {
        let count = self.separators.len();
        match &self.offsets {
            Some(offsets) => {
                assert_eq!(offsets[count], data_len);
                offsets[..count].to_vec()
            }
            None => (0..count).map(|block| block * size(self.bytes, 16, 4)).collect(),
        }
    }

    /// The eight bytes of a key from `offset`, as a number.
    fn eight_bytes(key: &[u8], offset: usize) -> u64 {
        let bytes = key.iter().copied().skip(offset).chain([0; 8]).take(8);
        bytes.fold(0, |head, byte| (head << 8) | u64::from(byte))
    }

    fn head(&self, key: &[u8]) -> u64 {
        Self::eight_bytes(key, self.head_offset)
    }

    /// Where ties part, worked out from the separators.
    fn expected_tie_offset(&self) -> Option<usize> {
        let whole: Vec<Vec<u8>> =
            self.separators.iter().skip(1).map(|it| [self.prefix, it].concat()).collect();
        let ties = whole.chunk_by(|a, b| self.head(a) == self.head(b));
        let parts = ties.filter(|tie| tie[0] != tie[tie.len() - 1]);
        let shared = parts.map(|tie| {
            let (first, last) = (&tie[0], &tie[tie.len() - 1]);
            first.iter().zip(last).take_while(|(a, b)| a == b).count()
        });
        shared.min()
    }

    /// Checks the heads, and that each key is found in the block where it stands.
    fn check(&self, rows: &[Row], blocks: &[Value]) {
        let heads = self.levels.last().unwrap();
        let whole = |separator: &[u8]| [self.prefix, separator].concat();
        for (block, separator) in self.separators.iter().enumerate().skip(1) {
            assert_eq!(heads[block], self.head(&whole(separator)));
        }
        for levels in std::iter::once(&self.levels).chain(&self.tie_levels) {
            for (upper, lower) in levels.iter().zip(levels.iter().skip(1)) {
                assert!(upper.iter().eq(lower.iter().step_by(16)));
            }
        }
        let tie_offset = self.tie_levels.is_some().then_some(self.tie_offset);
        assert_eq!(tie_offset, self.expected_tie_offset());
        for tie_heads in self.tie_levels.iter().filter_map(|levels| levels.last()) {
            assert_eq!(tie_heads[0], 0);
            for (block, separator) in self.separators.iter().enumerate().skip(1) {
                let whole = whole(separator);
                assert_eq!(tie_heads[block], Self::eight_bytes(&whole, self.tie_offset));
            }
            let pairs: Vec<_> = heads.iter().zip(tie_heads).collect();
            assert!(pairs.is_sorted());
        }
        let counts = blocks.iter().map(|block| block["row_count"].as_u64().unwrap());
        let mut numbered =
            (0_usize..).zip(counts).flat_map(|(block, rows)| (0..rows).map(move |_| block));
        for (index, row) in rows.iter().enumerate() {
            let block = numbered.next().unwrap();
            if index == 0 || rows[index - 1].key != row.key {
                assert!(row.key.starts_with(self.prefix));
                let found = self.search(&row.key);
                let goes_on = |block: usize| blocks[block]["columns"].as_u64().unwrap() & 16 != 0;
                let begins_before = found.1 && found.0 > 0 && goes_on(found.0 - 1);
                assert_eq!(found.0 - usize::from(begins_before), block, "row {index}");
            }
        }
    }

    /// The block of a key of the table, and whether it may have begun one block earlier.
    fn search(&self, key: &[u8]) -> (usize, bool) {
        let head = self.head(key);
        let rest = &key[self.prefix.len()..];
        let mut node = 0;
        for level in &self.levels {
            let end = level.len().min(16 * node + 16);
            let entries = &level[16 * node..end];
            let not_above = entries.iter().filter(|entry| **entry <= head).count();
            node = 16 * node + not_above.saturating_sub(1);
        }
        if self.levels.last().unwrap()[node] != head {
            return (node, false);
        }
        let separators = &self.separators[..=node];
        if let Some(equal) = separators.iter().position(|separator| *separator == rest) {
            return (equal, self.bytes[12] & 2 != 0);
        }
        (separators.iter().rposition(|separator| *separator < rest).unwrap(), false)
    }

    fn describe(&self) -> Value {
        let placement = if self.bytes[12] & 1 == 0 { "packed" } else { "uniform" };
        json!({
            "placement": placement,
            "block_size": number(self.bytes, 16, 4),
            "some_key_goes_on": self.bytes[12] & 2 != 0,
            "prefix": text(self.prefix),
            "head_offset": self.head_offset,
            "tie_offset": self.tie_levels.is_some().then_some(self.tie_offset),
            "level_lens": self.levels.iter().map(Vec::len).collect::<Vec<_>>(),
            "separators": self.separators.iter().map(|it| text(it)).collect::<Vec<_>>(),
        })
    }
}

// ---- 06: the filter -------------------------------------------------------------------------

const SALTS: [u64; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

fn filter_has(filter: &[u8], hash: u64) -> bool {
    let block = ((hash >> 32) * number(filter, 8, 4)) >> 32;
    let block = &filter[64 + 32 * usize::try_from(block).unwrap()..];
    SALTS.iter().enumerate().all(|(word, salt)| {
        let bit = (((hash & 0xffff_ffff) * salt) & 0xffff_ffff) >> 27;
        number(block, 4 * word, 4) >> bit & 1 == 1
    })
}

fn check_filter(filter: Option<&[u8]>, rows: &[Row], hash_seed: u64) {
    let Some(filter) = filter else { return };
    assert_eq!(&filter[..8], b"TDBF\x01\0\0\0");
    assert_eq!(filter.len(), 64 + 32 * size(filter, 8, 4));
    assert!(rows.iter().all(|row| filter_has(filter, xxh3(&row.key, hash_seed))));
    let mut keys: Vec<&[u8]> = rows.iter().map(|row| row.key.as_slice()).collect();
    keys.dedup();
    assert_eq!(number(filter, 16, 8), keys.len() as u64);
}

/// The filter, and which of a hundred absent keys it lets through.
fn describe_filter(filter: &[u8], hash_seed: u64) -> Value {
    let passed: Vec<String> = (0..100)
        .map(|number| format!("absent {number}"))
        .filter(|key| filter_has(filter, xxh3(key.as_bytes(), hash_seed)))
        .collect();
    json!({
        "block_count": number(filter, 8, 4),
        "key_count": number(filter, 16, 8),
        "lets_through_of_absent_0_to_99": passed,
    })
}

// ---- 07: the log ----------------------------------------------------------------------------

/// Why a log ends where it does: the rule that what stands there breaks, and whether bytes with
/// right checksums break it.
struct Broken(&'static str, bool);

fn read_log(file: &[u8]) -> Value {
    let (database_id, log_number) = (super::recipe::DATABASE_ID, super::recipe::LOG_NUMBER);
    let identity = [database_id.to_le_bytes(), log_number.to_le_bytes()].concat();
    let seed = xxh3(&identity, 0);
    let mut records = Vec::new();
    let mut max_synced_upto = 0;
    let header = read_log_header(file);
    let mut next_seqno =
        header.as_ref().map_or(0, |header| header["first_seqno"].as_u64().unwrap());
    let mut at = header.as_ref().map_or(0, |_| 128 + size(file, 20, 4).next_multiple_of(8));
    let end = loop {
        if header.is_none() {
            let rule = if file.len() < 128 { "L1" } else { "L3" };
            break end_of(file, at, seed, rule, max_synced_upto);
        }
        if file[at..].iter().all(|byte| *byte == 0) {
            break json!({"state": "clean", "at": at});
        }
        match read_record(file, at, seed, next_seqno) {
            Ok(None) => {
                next_seqno = number(file, at + 24, 8);
                break json!({"state": "sealed", "at": at});
            }
            Ok(Some(record)) => {
                next_seqno = number(file, at + 24, 8) + number(file, at + 40, 4);
                max_synced_upto = max_synced_upto.max(number(file, at + 32, 8));
                at += 48 + size(file, at + 16, 8).next_multiple_of(8);
                records.push(record);
            }
            Err(Broken(rule, false)) => break end_of(file, at, seed, rule, max_synced_upto),
            Err(Broken(rule, true)) => {
                let proven = max_synced_upto;
                break json!({"state": "damaged", "at": at, "rule": rule, "proven_upto": proven});
            }
        }
    };
    json!({
        "what": "log",
        "expected_database_id": hex64(database_id),
        "expected_log_number": log_number,
        "header": header,
        "records": records,
        "end": end,
        "next_seqno": next_seqno,
    })
}

fn read_log_header(file: &[u8]) -> Option<Value> {
    if file.len() < 128 || number(file, 120, 8) != xxh3(&file[..120], 0) {
        return None;
    }
    check_preamble(file, b"TINYLOG\x01", 120);
    let name_len = size(file, 20, 4);
    let padded = &file[128..128 + name_len.next_multiple_of(8)];
    assert_eq!(number(file, 112, 8), xxh3(padded, 0));
    Some(json!({
        "log_number": number(file, 24, 8),
        "database_id": hex64(number(file, 32, 8)),
        "hash_seed": hex64(number(file, 40, 8)),
        "manifest_number": number(file, 48, 8),
        "previous_log": number(file, 56, 8),
        "first_seqno": number(file, 64, 8),
        "operator": std::str::from_utf8(&padded[..name_len]).unwrap(),
    }))
}

/// The record at `at`; nothing for a seal.
fn read_record(
    file: &[u8],
    at: usize,
    seed: u64,
    next_seqno: u64,
) -> Result<Option<Value>, Broken> {
    let seed = seed ^ at as u64;
    let Some(header) = file.get(at..at + 48) else { return Err(Broken("L8", false)) };
    if header.iter().all(|byte| *byte == 0) {
        return Err(Broken("L14", false));
    }
    if number(header, 0, 8) != xxh3(&header[8..], seed) {
        return Err(Broken("L9", false));
    }
    let (len, count) = (size(header, 16, 8), number(header, 40, 4));
    if !matches!((header[44], count, len), (1, 1.., _) | (2, 0, 0)) {
        return Err(Broken("L11", true));
    }
    if header[45..48] != [0; 3] {
        return Err(Broken("L5", true));
    }
    if number(header, 24, 8) < next_seqno {
        return Err(Broken("L12", true));
    }
    if size(header, 32, 8) > at {
        return Err(Broken("L13", true));
    }
    if header[44] == 2 {
        return Ok(None);
    }
    let body = file.get(at + 48..at + 48 + len.next_multiple_of(8));
    let Some(body) = body else { return Err(Broken("L8", false)) };
    if number(header, 8, 8) != xxh3(&body[..len], seed) {
        return Err(Broken("L10", false));
    }
    Ok(Some(json!({
        "offset": at,
        "first_seqno": number(header, 24, 8),
        "synced_upto": number(header, 32, 8),
        "operations": read_operations(&body[..len], count),
    })))
}

fn read_operations(mut payload: &[u8], count: u64) -> Vec<Value> {
    let mut operations = Vec::new();
    for _ in 0..count {
        let kind = ["put", "delete", "merge", "range delete"][usize::from(payload[0] & 15)];
        assert_eq!(number(payload, 1, 4), 0, "tree_id");
        let (key_len, value_len) = (size(payload, 5, 2), size(payload, 7, 4));
        let has_expiry = payload[0] & 128 != 0;
        let expiry = if has_expiry { number(payload, 11, 8) } else { 0 };
        let (key, rest) = payload[if has_expiry { 19 } else { 11 }..].split_at(key_len);
        let (value, rest) = rest.split_at(value_len);
        let has_no_end = payload[0] & 16 != 0;
        assert!(!has_no_end || (kind == "range delete" && value.is_empty()));
        assert!(kind != "range delete" || has_no_end || key < value);
        let value = if has_no_end { Value::Null } else { json!(text(value)) };
        operations.push(json!([text(key), kind, expiry, value]));
        payload = rest;
    }
    assert!(payload.is_empty());
    operations
}

/// Torn or damaged: what a proof behind the bad offset decides.
fn end_of(file: &[u8], bad_at: usize, seed: u64, rule: &str, max_synced_upto: u64) -> Value {
    let first = bad_at.next_multiple_of(8);
    let proof = (first..file.len().saturating_sub(47)).step_by(8).find_map(|at| {
        let header = &file[at..at + 48];
        let synced_upto = number(header, 32, 8);
        let verifies = number(header, 0, 8) == xxh3(&header[8..], seed ^ at as u64);
        (verifies && synced_upto > bad_at as u64).then_some(synced_upto)
    });
    match proof {
        None => json!({"state": "torn", "at": bad_at, "rule": rule}),
        Some(proven) => {
            let proven = proven.max(max_synced_upto);
            json!({"state": "damaged", "at": bad_at, "rule": rule, "proven_upto": proven})
        }
    }
}

// ---- 08: the manifest -----------------------------------------------------------------------

fn read_manifest(file: &[u8]) -> Value {
    check_preamble(file, b"TINYMAN\x01", 120);
    assert_eq!(size(file, 32, 8), file.len());
    assert_eq!(number(file, 112, 8), xxh3(&file[128..], 0));
    let count = size(file, 20, 4);
    let operator_at = 128 + 96 * count;
    let operator = &file[operator_at..operator_at + size(file, 24, 4)];
    let mut keys_at = operator_at + operator.len();
    let mut tables = Vec::new();
    for row in file[128..operator_at].chunks(96) {
        assert_eq!(size(row, 64, 8), keys_at);
        let (smallest, rest) = file[keys_at..].split_at(size(row, 72, 2));
        let largest = &rest[..size(row, 74, 2)];
        keys_at += smallest.len() + largest.len();
        let mut table = json!({
            "level": number(row, 4, 4),
            "file_number": number(row, 8, 8),
            "file_id": hex64(number(row, 16, 8)),
            "file_len": number(row, 24, 8),
            "checksum": hex64(number(row, 32, 8)),
            "row_count": number(row, 40, 8),
            "min_seqno": number(row, 48, 8),
            "max_seqno": number(row, 56, 8),
            "smallest": text(smallest),
            "largest": text(largest),
        });
        if number(row, 76, 8) != 0 {
            table["range_tombstone_count"] = json!(number(row, 76, 8));
        }
        if number(row, 84, 8) != 0 {
            table["cleared_seqno"] = json!(number(row, 84, 8));
        }
        tables.push(table);
    }
    assert_eq!(keys_at, file.len());
    json!({
        "what": "manifest",
        "manifest_number": number(file, 40, 8),
        "database_id": hex64(number(file, 48, 8)),
        "hash_seed": hex64(number(file, 56, 8)),
        "next_file_number": number(file, 64, 8),
        "last_seqno": number(file, 72, 8),
        "oldest_log": number(file, 80, 8),
        "operator": std::str::from_utf8(operator).unwrap(),
        "tables": tables,
    })
}

// ---- 09: the range tombstones ---------------------------------------------------------------

/// One fragment of range tombstones.
#[derive(Debug)]
pub(super) struct RangeTombstone {
    pub(super) start: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
    pub(super) seqno: u64,
}

impl RangeTombstone {
    pub(super) fn deletes(&self, row: &Row) -> bool {
        let covers = self.start <= row.key && self.end.as_ref().is_none_or(|end| row.key < *end);
        covers && row.seqno < self.seqno
    }

    fn describe(&self) -> Value {
        json!([text(&self.start), self.end.as_deref().map(text), self.seqno])
    }
}

/// The range tombstones of a table, in order.
pub(super) fn range_tombstones(file: &[u8]) -> Vec<RangeTombstone> {
    let entries = directory(&file[file.len() - 4096..]);
    let Some(region) = entries.iter().find(|entry| entry.kind == 6) else { return Vec::new() };
    assert_eq!(region.flags, 1);
    let bytes = &file[region.offset..region.offset + region.len];
    assert_eq!(region.checksum, xxh3(bytes, number(file, 24, 8) ^ region.offset as u64));
    assert_eq!(&bytes[..8], b"TDBR\0\0\0\0");
    let count = size(bytes, 8, 8);
    let mut keys_at = 32 + 24 * count;
    assert_eq!(size(bytes, 16, 8), bytes.len() - keys_at);
    let mut found: Vec<RangeTombstone> = Vec::new();
    for entry in bytes[32..keys_at].chunks(24) {
        assert_eq!(size(entry, 8, 8), keys_at);
        let (start, rest) = bytes[keys_at..].split_at(size(entry, 16, 2));
        let end = &rest[..size(entry, 18, 2)];
        keys_at += start.len() + end.len();
        let has_end = number(entry, 20, 4) == 0;
        assert!(if has_end { start < end } else { end.is_empty() });
        if let Some(before) = found.last() {
            assert!(before.end.as_ref().is_some_and(|end| end[..] <= *start));
        }
        let end = has_end.then(|| end.to_vec());
        found.push(RangeTombstone { start: start.to_vec(), end, seqno: number(entry, 0, 8) });
    }
    assert!(keys_at == bytes.len() && count > 0);
    found
}
