//! What is foreign or broken is named.

use super::*;

#[test]
fn the_log_of_another_database_or_number_is_refused() {
    let log = example();
    for (database_id, number, at) in [(DATABASE + 1, NUMBER, 32), (DATABASE, NUMBER + 1, 24)] {
        match LogReader::open(&log.bytes, database_id, number) {
            Err(FrameError::Broken(error)) => assert_eq!((error.rule().id, error.at()), ("L7", at)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn records_of_another_log_or_place_do_not_verify() {
    let log = example();
    // The same bytes, but the header was given to another log.
    let info = LogInfo { merge_operator: Some("counter"), log_number: 8, ..LogInfo::default() };
    let mut bytes = info.encode();
    bytes.extend_from_slice(&log.bytes[log.offsets[0]..]);
    let mut reader = LogReader::open(&bytes, 0, 8).unwrap();
    assert_eq!(reader.by_ref().count(), 0);
    assert_eq!(told(reader.end().unwrap()), ("torn", 136, Some(("L9", 136))));
    // A record that was written once more behind itself.
    let record = log.bytes[log.offsets[2]..log.bytes.len() - 100].to_vec();
    let mut bytes = log.bytes[..log.bytes.len() - 100].to_vec();
    let at = bytes.len();
    bytes.extend_from_slice(&record);
    check(&bytes, 3, "torn", at, Some(("L9", at)));
}

#[test]
fn what_was_written_wrong_with_right_checksums_is_damage() {
    let forged = |change: fn(&mut RecordHeader)| example().forge(1, change);
    let at = example().offsets[1];
    let check = |change: fn(&mut RecordHeader), rule, field| {
        check(&forged(change).bytes, 1, "damaged", at, Some((rule, at + field)));
    };
    check(|h| h.kind = 0, "L11", 40);
    check(|h| h.kind = 3, "L11", 40);
    check(|h| h.kind = KIND_SEAL, "L11", 40); // with operations
    check(|h| h.op_count = U32::new(0), "L11", 40);
    check(|h| h.reserved[2] = 1, "L5", 45);
    check(|h| h.first_seqno = U64::new(100), "L12", 24); // the seqno of the record before
    check(|h| h.first_seqno = U64::new(u64::MAX - 1), "L12", 24);
    check(|h| h.synced_upto += 8, "L13", 32);
    check(|h| h.synced_upto = U64::new(u64::MAX), "L13", 32);
    check(|h| h.op_count = U32::new(1), "O7", 48 + 17);
    check(|h| h.op_count = U32::new(3), "O1", 48 + 35);
    check(|h| h.op_count = U32::new(u32::MAX), "O1", 48 + 35);
}

#[test]
fn lengths_that_no_file_has_are_refused() {
    let at = example().offsets[2];
    for len in [200, u64::from(u32::MAX), u64::MAX - 48, u64::MAX - 7, u64::MAX] {
        let log = example().forge(2, |h| h.payload_len = U64::new(len));
        check(&log.bytes, 2, "torn", at, Some(("L8", at + 16)));
    }
}

#[test]
fn seqnos_may_leave_gaps() {
    let mut log = Log::new(None).batch(&["a"]);
    log.next_seqno = 5000;
    let log = log.batch(&["b"]).seal();
    let mut reader = LogReader::open(&log.bytes, DATABASE, NUMBER).unwrap();
    assert_eq!(reader.by_ref().map(|record| record.first_seqno).collect::<Vec<_>>(), [100, 5000]);
    assert_eq!(reader.next_seqno(), 5001);
}

#[test]
fn padding_that_is_not_zero_ends_the_log() {
    let log = Log::new(None).batch(&["a"]);
    let mut bytes = log.bytes;
    let last = bytes.len() - 1;
    bytes[last] = 1;
    check(&bytes, 0, "torn", 128, Some(("L5", 128 + 48 + 17)));
}

#[test]
fn each_broken_rule_of_the_header_is_named() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut LogHeader, &mut [u8]), want: &str) {
        let mut bytes = example().bytes;
        let (header, name) = LogHeader::mut_from_prefix(&mut bytes).unwrap();
        change(header, &mut name[..8]);
        header.checksum = checksum(&header.as_bytes()[..120], 0).into();
        let got = match LogInfo::parse(&bytes) {
            Ok(_) => String::new(),
            Err(FrameError::Broken(error)) => format!("{} at {}", error.rule().id, error.at()),
            Err(FrameError::Unsupported(unsupported)) => unsupported.to_string(),
        };
        assert_eq!(got, want);
    }
    fn named(header: &mut LogHeader, name: &mut [u8], new: [u8; 8]) {
        name.copy_from_slice(&new);
        header.operator_checksum = checksum(name, 0).into();
    }
    check(|_, _| (), "");
    check(|h, _| h.preamble.magic[7] = 2, "L2 at 0");
    check(|h, _| h.preamble.format_major += 1, "format version 2; this build reads 1");
    check(|h, _| h.preamble.features_required = U32::new(4), "feature bit 2");
    check(|h, _| h.preamble.features_optional = U32::new(4), "");
    check(|h, _| h.reserved[39] = 1, "L5 at 72");
    check(|_, name| name[0] = b'C', "L4 at 112");
    check(|h, _| h.operator_len = U32::new(u32::MAX), "L1 at 20");
    check(|h, _| h.operator_len = U32::new(9), "L4 at 112");
    check(|h, name| named(h, name, *b"\xFFounter\0"), "L6 at 128");
    check(|h, name| named(h, name, *b"counter\x01"), "L5 at 135");
    check(|h, _| h.operator_len = U32::new(8), ""); // a name may end with a zero byte
}

#[test]
fn a_log_of_the_future_is_not_called_damaged() {
    let mut bytes = example().bytes;
    bytes[8] = 2;
    let sum = checksum(&bytes[..120], 0).to_le_bytes();
    bytes[120..128].copy_from_slice(&sum);
    match LogReader::open(&bytes, DATABASE, NUMBER) {
        Err(FrameError::Unsupported(Unsupported::Major(2))) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn lengths_are_rounded_up_to_eight() {
    for (len, pad) in [(0, 0), (1, 7), (7, 1), (8, 0), (9, 7), (u64::MAX, 1)] {
        assert_eq!(pad_len(len), pad, "{len}");
    }
    let cases = [
        (0, Some(48)),
        (1, Some(56)),
        (u64::MAX - 55, Some(u64::MAX - 7)),
        (u64::MAX - 54, None),
        (u64::MAX, None),
    ];
    for (len, want) in cases {
        assert_eq!(record_len(len), want, "{len}");
    }
}
