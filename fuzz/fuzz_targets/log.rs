//! Any bytes: a log reads to an end without a panic, its records follow one another with rising
//! seqnos, and each operation has one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::log::{LogInfo, LogReader, record_len};
use tinydb::internals::log_op::encode_op;

fuzz_target!(|input: &[u8]| {
    let Ok(info) = LogInfo::parse(input) else { return };
    assert_eq!(info.encode().len() as u64, info.records_offset());
    let opened = LogReader::open(input, info.database_id, info.log_number);
    let mut reader = opened.expect("its own identity");
    let (mut offset, mut next_seqno) = (info.records_offset(), info.first_seqno);
    for record in reader.by_ref() {
        assert_eq!(record.offset, offset);
        assert!(record.first_seqno >= next_seqno && record.synced_upto <= offset);
        let mut payload = Vec::new();
        for op in record.ops() {
            encode_op(&mut payload, &op.expect("checked already")).expect("it was encoded before");
        }
        assert_eq!(payload, record.payload);
        offset += record_len(record.payload.len() as u64).expect("it lies in the file");
        next_seqno = record.first_seqno + u64::from(record.op_count);
    }
    assert_eq!(reader.end().expect("the records are over").at(), offset);
});
