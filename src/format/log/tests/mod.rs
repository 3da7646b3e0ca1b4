//! Tests of the log: what a reader makes of whole, torn, damaged and hostile bytes.

use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::format::error::FormatError;
use crate::format::log_op::{RowOp, encode_op};
use crate::format::preamble::{FrameError, Unsupported};
use crate::format::row::Kind;

mod broken;

const DATABASE: u64 = 0x1111_2222_3333_4444;
const NUMBER: u64 = 7;

/// A log in memory, and where its records stand.
struct Log {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    synced_upto: u64,
    next_seqno: u64,
}

impl Log {
    fn new(merge_operator: Option<&str>) -> Self {
        let info = LogInfo {
            log_number: NUMBER,
            database_id: DATABASE,
            hash_seed: 3,
            manifest_number: 4,
            previous_log: 5,
            first_seqno: 100,
            merge_operator,
        };
        let bytes = info.encode();
        assert_eq!(bytes.len() as u64, info.records_offset());
        Self { bytes, offsets: Vec::new(), synced_upto: 0, next_seqno: 100 }
    }

    fn seed() -> u64 {
        log_seed(DATABASE, NUMBER)
    }

    /// Appends a batch of puts.
    fn batch(mut self, keys: &[&str]) -> Self {
        let mut payload = Vec::new();
        for key in keys {
            let (kind, key, value) = (Kind::Put, key.as_bytes(), &b"value"[..]);
            let op = RowOp { kind, tree_id: 0, expires_at: 0, key, value };
            encode_op(&mut payload, &op.into()).unwrap();
        }
        let op_count = u32::try_from(keys.len()).unwrap();
        self.record(&payload, op_count);
        self
    }

    fn record(&mut self, payload: &[u8], op_count: u32) {
        let at = self.bytes.len();
        let header = batch_header(
            Self::seed(),
            at as u64,
            payload,
            self.next_seqno,
            op_count,
            self.synced_upto,
        );
        self.offsets.push(at);
        self.next_seqno += u64::from(op_count);
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len() + pad_len(payload.len() as u64), 0);
        assert_eq!(record_len(payload.len() as u64), Some((self.bytes.len() - at) as u64));
    }

    fn sync(mut self) -> Self {
        self.synced_upto = self.bytes.len() as u64;
        self
    }

    fn seal(mut self) -> Self {
        let at = self.bytes.len();
        let header = seal_header(Self::seed(), at as u64, self.next_seqno);
        self.offsets.push(at);
        self.bytes.extend_from_slice(header.as_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    /// Changes the header of a record and makes its checksum right again.
    fn forge(mut self, index: usize, change: impl FnOnce(&mut RecordHeader)) -> Self {
        let at = self.offsets[index];
        let (header, _) = RecordHeader::mut_from_prefix(&mut self.bytes[at..]).unwrap();
        change(header);
        let sum = checksum(&header.as_bytes()[8..], Self::seed() ^ at as u64);
        header.header_checksum = sum.into();
        self
    }
}

/// Three batches of which two are known to be durable, then zeros.
fn example() -> Log {
    Log::new(Some("counter"))
        .batch(&["a"])
        .sync()
        .batch(&["b", "bb"])
        .sync()
        .batch(&["c", "cc", "ccc"])
        .zeros(100)
}

fn read(bytes: &[u8]) -> (Vec<Record<'_>>, LogEnd) {
    let mut reader = LogReader::open(bytes, DATABASE, NUMBER).unwrap();
    let records: Vec<_> = reader.by_ref().collect();
    assert!(reader.next().is_none());
    for record in &records {
        assert_eq!(record.ops().flatten().count(), record.op_count as usize);
    }
    (records, reader.end().unwrap())
}

/// An end as the tests write it: its name, where the whole records end, and the broken rule.
fn told(end: LogEnd) -> (&'static str, u64, Option<(&'static str, u64)>) {
    let rule = |error: FormatError| Some((error.rule().id, error.at()));
    match end {
        LogEnd::Clean { at } => ("clean", at, None),
        LogEnd::Sealed { at } => ("sealed", at, None),
        LogEnd::Torn { at, error } => ("torn", at, rule(error)),
        LogEnd::Damaged { at, error, .. } => ("damaged", at, rule(error)),
    }
}

#[track_caller]
fn check(bytes: &[u8], count: usize, end: &str, at: usize, rule: Option<(&str, usize)>) {
    let (records, got) = read(bytes);
    let rule = rule.map(|(id, at)| (id, at as u64));
    assert_eq!((records.len(), told(got)), (count, (end, at as u64, rule)));
}

#[test]
fn a_log_says_what_was_written() {
    let log = example();
    let mut reader = LogReader::open(&log.bytes, DATABASE, NUMBER).unwrap();
    let info = *reader.info().unwrap();
    assert_eq!((info.hash_seed, info.manifest_number, info.previous_log), (3, 4, 5));
    assert_eq!((info.first_seqno, info.merge_operator), (100, Some("counter")));
    assert_eq!((reader.next_seqno(), reader.max_synced_upto(), reader.end()), (100, 0, None));

    let mut got = Vec::new();
    for record in reader.by_ref() {
        let keys: Vec<_> = record.ops().map(|op| op.unwrap().key().to_vec()).collect();
        got.push((record.offset, record.first_seqno, record.synced_upto, keys));
    }
    let [a, b, c] = [0, 1, 2].map(|index| log.offsets[index] as u64);
    assert_eq!(a, 136);
    let want = [
        (a, 100, 0, vec![b"a".to_vec()]),
        (b, 101, b, vec![b"b".to_vec(), b"bb".to_vec()]),
        (c, 103, c, vec![b"c".to_vec(), b"cc".to_vec(), b"ccc".to_vec()]),
    ];
    assert_eq!(got, want);
    assert_eq!((reader.next_seqno(), reader.max_synced_upto()), (106, c));
}

#[test]
fn every_field_has_its_place() {
    let log = Log::new(Some("op")).batch(&["k"]).sync().seal();
    #[rustfmt::skip]
    let header = [
        &b"TINYLOG\x01"[..], &[1, 0], &[0, 0], &[0; 4], &[0; 4], &[2, 0, 0, 0],
        &[7, 0, 0, 0, 0, 0, 0, 0],
        &[0x44, 0x44, 0x33, 0x33, 0x22, 0x22, 0x11, 0x11],
        &[3, 0, 0, 0, 0, 0, 0, 0], &[4, 0, 0, 0, 0, 0, 0, 0], &[5, 0, 0, 0, 0, 0, 0, 0],
        &[100, 0, 0, 0, 0, 0, 0, 0],
        &[0; 40],
    ].concat();
    assert_eq!(log.bytes[..112], header);
    assert_eq!(log.bytes[112..120], checksum(b"op\0\0\0\0\0\0", 0).to_le_bytes());
    assert_eq!(log.bytes[120..128], checksum(&log.bytes[..120], 0).to_le_bytes());
    assert_eq!(log.bytes[128..136], *b"op\0\0\0\0\0\0");

    let payload = b"\0\0\0\0\0\x01\0\x05\0\0\0kvalue";
    let identity = [DATABASE.to_le_bytes(), NUMBER.to_le_bytes()].concat();
    let seed = checksum(&identity, 0);
    let mut fields = Vec::from(checksum(payload, seed ^ 0x88).to_le_bytes());
    fields.extend([17, 0, 0, 0, 0, 0, 0, 0]); // payload_len
    fields.extend([100, 0, 0, 0, 0, 0, 0, 0]); // first_seqno
    fields.extend([0; 8]); // synced_upto
    fields.extend([1, 0, 0, 0, 1, 0, 0, 0]); // op_count, kind
    assert_eq!(log.bytes[136..144], checksum(&fields, seed ^ 0x88).to_le_bytes());
    assert_eq!(log.bytes[144..184], fields);
    assert_eq!(log.bytes[184..208], [&payload[..], &[0; 7]].concat());

    let mut fields = Vec::from(checksum(b"", seed ^ 0xD0).to_le_bytes());
    fields.extend([0; 8]);
    fields.extend([101, 0, 0, 0, 0, 0, 0, 0]);
    fields.extend([208, 0, 0, 0, 0, 0, 0, 0]);
    fields.extend([0, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(log.bytes[208..216], checksum(&fields, seed ^ 0xD0).to_le_bytes());
    assert_eq!(log.bytes[216..], fields);
}

#[test]
fn zeros_or_the_end_of_the_file_are_a_clean_end() {
    for zeros in [0, 1, 7, 8, 47, 48, 49, 10_000] {
        check(&Log::new(None).zeros(zeros).bytes, 0, "clean", 128, None);
        let log = Log::new(None).batch(&["a"]);
        let at = log.bytes.len();
        check(&log.zeros(zeros).bytes, 1, "clean", at, None);
    }
}

#[test]
fn a_seal_ends_its_log_and_proves_it() {
    let log = Log::new(None).batch(&["a"]).seal();
    let at = log.offsets[1];
    check(&log.bytes, 1, "sealed", at, None);
    let log = log.zeros(500);
    let mut reader = LogReader::open(&log.bytes, DATABASE, NUMBER).unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    assert_eq!(reader.end(), Some(LogEnd::Sealed { at: at as u64 }));
    assert_eq!((reader.next_seqno(), reader.max_synced_upto()), (101, at as u64));

    let mut bytes = log.bytes;
    bytes[128 + 60] ^= 1;
    check(&bytes, 0, "damaged", 128, Some(("L10", 128 + 48)));
}

#[test]
fn a_log_cut_anywhere_gives_the_records_before_the_cut() {
    let log = example();
    let header_len = log.offsets[0];
    let mut ends = log.offsets.clone();
    ends.push(log.bytes.len() - 100);
    for len in 0..log.bytes.len() {
        let (records, end) = read(&log.bytes[..len]);
        let whole = ends[1..].iter().filter(|end| **end <= len).count();
        assert_eq!(records.len(), whole, "cut at {len}");
        let at = if len < header_len { 0 } else { ends[whole] };
        assert_eq!(end.at(), at as u64, "cut at {len}");
        let clean = len >= header_len && (len == at || whole == 3);
        let want = if clean { "clean" } else { "torn" };
        assert_eq!(told(end).0, want, "cut at {len}");
    }
}

#[test]
fn a_flipped_bit_is_damage_where_a_later_record_proves_it() {
    let log = example();
    let mut ends = log.offsets.clone();
    ends.push(log.bytes.len() - 100);
    let clean = read(&log.bytes).0;
    for bit in 0..log.bytes.len() * 8 {
        let mut bytes = log.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (records, end) = read(&bytes);
        // The record that the flip is in; the first two are proven by the third.
        let hit = ends.iter().rposition(|end| *end <= bit / 8);
        let (whole, at, want) = match hit {
            None => (0, 0, "damaged"),
            Some(index @ (0 | 1)) => (index, ends[index], "damaged"),
            Some(index) => (index, ends[index], "torn"),
        };
        assert_eq!((told(end).0, end.at()), (want, at as u64), "bit {bit}");
        assert_eq!(records, clean[..whole], "bit {bit}");
        if let LogEnd::Damaged { proven_upto, .. } = end {
            assert!(proven_upto > end.at() && ends.iter().any(|end| *end as u64 == proven_upto));
        }
    }
}

#[test]
fn sectors_lost_behind_the_last_proof_are_a_torn_end() {
    let log = example();
    for (index, want) in [(0, "damaged"), (1, "damaged"), (2, "clean")] {
        let mut bytes = log.bytes.clone();
        let end = log.offsets.get(index + 1).map_or(bytes.len(), |end| *end);
        bytes[log.offsets[index]..end].fill(0);
        let at = log.offsets[index];
        let rule = (want == "damaged").then_some(("L14", at));
        check(&bytes, index, want, at, rule);
    }
    // The same without any sync: a later record stands there whole, and still is dropped.
    let log = Log::new(None).batch(&["a"]).batch(&["b"]);
    let mut bytes = log.bytes.clone();
    bytes[log.offsets[0]..log.offsets[1]].fill(0);
    check(&bytes, 0, "torn", 128, Some(("L14", 128)));
}

#[test]
fn a_record_whose_payload_is_lost_still_proves_what_came_before() {
    let log = example();
    let mut bytes = log.bytes.clone();
    bytes[log.offsets[1] + 48] ^= 1;
    bytes.truncate(log.offsets[2] + 48);
    check(&bytes, 1, "damaged", log.offsets[1], Some(("L10", log.offsets[1] + 48)));
    bytes.truncate(log.offsets[2] + 47);
    check(&bytes, 1, "torn", log.offsets[1], Some(("L10", log.offsets[1] + 48)));
}

#[test]
fn a_header_that_is_not_whole_is_torn_unless_records_prove_it() {
    check(&[], 0, "torn", 0, Some(("L1", 0)));
    check(&[0; 127], 0, "torn", 0, Some(("L1", 0)));
    check(&[0; 4096], 0, "torn", 0, Some(("L2", 0)));
    let log = Log::new(None).batch(&["a"]).batch(&["b"]);
    let mut bytes = log.bytes;
    bytes[..128].fill(0);
    check(&bytes, 0, "torn", 0, Some(("L2", 0)));
    let log = Log::new(None).batch(&["a"]).sync().batch(&["b"]);
    let (mut bytes, proven_upto) = (log.bytes, log.offsets[1] as u64);
    bytes[..128].fill(0);
    check(&bytes, 0, "damaged", 0, Some(("L2", 0)));
    let reader = LogReader::open(&bytes, DATABASE, NUMBER).unwrap();
    assert_eq!((reader.info(), reader.max_synced_upto()), (None, proven_upto));
}
