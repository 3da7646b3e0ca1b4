//! Logs that break a rule (chapter 07), behind one good record where it can be.

use tinydb::internals::log::{LogInfo, log_seed};
use tinydb::internals::row::Kind;

use super::super::recipe::{DATABASE_ID, HASH_SEED, LOG_NUMBER, Log, op};
use super::{Refused, Why, seal};

/// Where the second record of [`two_records`] starts.
const SECOND: usize = 200;

/// Two batches of one put each.
fn two_records() -> Log {
    let mut log = Log::new(None);
    log.batch(&[op(Kind::Put, b"a", 0, b"whole")]);
    assert_eq!(log.bytes.len(), SECOND);
    log.batch(&[op(Kind::Put, b"b", 0, b"to be broken")]);
    log
}

/// As [`two_records`], with these bytes in the second record's header, under a right checksum.
fn second(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut log = two_records().bytes;
    log[SECOND + at..SECOND + at + bytes.len()].copy_from_slice(bytes);
    let seed = log_seed(DATABASE_ID, LOG_NUMBER) ^ SECOND as u64;
    seal(&mut log, SECOND, SECOND + 8..SECOND + 48, seed);
    log
}

/// As [`two_records`], with a bit flipped.
fn flipped(at: usize) -> Vec<u8> {
    let mut log = two_records().bytes;
    log[at] ^= 1;
    log
}

/// As [`two_records`], with these bytes in the log's header, under a right checksum.
pub(super) fn with_preamble(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut log = two_records().bytes;
    log[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut log, 120, 0..120, 0);
    log
}

/// A whole log, but for its name.
fn another_number() -> Vec<u8> {
    let mut log = Log::of(&LogInfo {
        log_number: LOG_NUMBER + 1,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        manifest_number: 6,
        previous_log: 4,
        first_seqno: 100,
        merge_operator: None,
    });
    log.batch(&[op(Kind::Put, b"a", 0, b"whole")]);
    log.bytes
}

/// A good record, and one with this payload.
fn payload(op_count: u32, payload: &[u8]) -> Vec<u8> {
    let mut log = Log::new(None);
    log.batch(&[op(Kind::Put, b"a", 0, b"whole")]).record(op_count, payload);
    log.bytes
}

/// The fixed fields of an operation, and what follows them.
fn operation(tag: u8, key_len: u8, value_len: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, 0, 0, 0, 0, key_len, 0, value_len, 0, 0, 0];
    bytes.extend_from_slice(rest);
    bytes
}

pub(super) fn all() -> Vec<Refused> {
    let mut all = headers();
    all.extend(records());
    all.extend(operations());
    let needs = |what, number, slug, bytes| Refused {
        why: Why::Needs(what, number),
        ..Refused::new("log", "", slug, bytes)
    };
    all.push(needs("major", 2, "major", with_preamble(8, &[2])));
    all.push(needs("feature", 7, "required-feature", with_preamble(12, &[0x80])));
    all
}

fn headers() -> Vec<Refused> {
    let mut named = Log::new(Some("sum")).bytes;
    named[128] = 0xff;
    let len = named.len();
    seal(&mut named, 112, 128..len, 0);
    seal(&mut named, 120, 0..120, 0);
    let rule = |rule, slug, bytes| Refused::new("log", rule, slug, bytes);
    vec![
        rule("L1", "operator-len", with_preamble(20, &[0, 4])),
        rule("L2", "magic", with_preamble(0, b"TINYLOX\x01")),
        rule("L3", "header-checksum", flipped(120)),
        rule("L4", "operator-checksum", with_preamble(112, &[1])),
        rule("L5", "reserved", with_preamble(72, &[1])),
        rule("L6", "operator", named),
        rule("L7", "another-number", another_number()),
    ]
}

fn records() -> Vec<Refused> {
    let mut behind = two_records();
    behind.zeros(64);
    *behind.bytes.last_mut().expect("a byte") = 1;
    let at = two_records().bytes.len() as u64;
    let rule = |rule, slug, bytes| Refused::new("log", rule, slug, bytes);
    vec![
        rule("L8", "longer-than-the-file", second(16, &[200])),
        rule("L9", "record-checksum", flipped(SECOND)),
        rule("L10", "payload", flipped(SECOND + 48 + 12)),
        rule("L11", "batch-of-nothing", payload(0, b"")),
        rule("L12", "seqno-again", second(24, &[100])),
        rule("L13", "synced-ahead", second(32, &at.to_le_bytes())),
        rule("L14", "behind-zeros", behind.bytes),
    ]
}

fn operations() -> Vec<Refused> {
    let rule = |rule, slug, op_count, bytes: &[u8]| {
        Refused::new("log", rule, slug, payload(op_count, bytes))
    };
    let put = operation(0, 1, 1, b"b1");
    let of_tree_1 = [&put[..1], &[1], &put[2..]].concat();
    let never = [&operation(0x80, 1, 1, b"")[..], &[0; 8], b"b1"].concat();
    let twice = [&put[..], &put[..]].concat();
    vec![
        rule("O1", "cut-off", 1, &put[..10]),
        rule("O2", "unknown-kind", 1, &operation(4, 1, 1, b"b1")),
        rule("O3", "another-tree", 1, &of_tree_1),
        rule("O4", "expiry-0", 1, &never),
        rule("O5", "delete-with-a-value", 1, &operation(1, 1, 1, b"b1")),
        rule("O6", "value-cut-off", 1, &operation(0, 1, 2, b"b1")),
        rule("O7", "more-than-counted", 1, &twice),
        rule("O8", "endless-with-an-end", 1, &operation(0x13, 1, 1, b"bc")),
        rule("O9", "ends-at-its-start", 1, &operation(3, 1, 1, b"bb")),
    ]
}
