//! The dump of a log.
//!
//! Spec: `format-spec/07-log.md`. I/O: none of its own. Unsafe: none.

use std::io::{self, Write};

use tinydb::internals::log::{
    LOG_HEADER_LEN, LogEnd, LogHeader, LogInfo, LogReader, RECORD_HEADER_LEN, Record, RecordHeader,
};
use tinydb::internals::log_op::{Op, OpHeader};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::fields::{Dump, fields, preamble};
use super::shown::{Shown, Value};

const END: &str = "07-log.md, How a log ends";

pub(super) fn write<W: Write>(dump: &mut Dump<W>, bytes: &[u8]) -> io::Result<()> {
    if let Ok((header, _)) = LogHeader::ref_from_prefix(bytes) {
        write_header(dump, header)?;
    }
    let info = match LogInfo::parse(bytes) {
        Ok(info) => info,
        Err(error) => return dump.file_damage(error),
    };
    if let Some(operator) = info.merge_operator {
        let (at, name) = (LOG_HEADER_LEN as u64, operator.as_bytes());
        dump.field(at, name.len(), "operator", &Value::Bytes(name), "the merge operator's name")?;
    }
    // The log is taken for what its own header says.
    let mut records = match LogReader::open(bytes, info.database_id, info.log_number) {
        Ok(records) => records,
        Err(error) => return dump.file_damage(error),
    };
    for record in records.by_ref() {
        write_record(dump, bytes, &record)?;
    }
    write_end(dump, bytes, records.end())
}

fn write_header<W: Write>(dump: &mut Dump<W>, header: &LogHeader) -> io::Result<()> {
    dump.title(0, "log header", "07-log.md, Header")?;
    preamble(dump, &header.preamble)?;
    fields!(dump, 0, header, LogHeader [preamble] {
        operator_len: "length of the merge operator's name";
        log_number: "the number in this file's name";
        database_id: "the database's identity";
        hash_seed: "seeds the hash of keys";
        manifest_number: "the newest manifest when the log was made";
        previous_log: "the log before it that was still needed; 0: none";
        first_seqno: "no record has a smaller seqno";
        reserved: "zero";
        operator_checksum: "of the name and its padding";
        checksum: "of the 120 bytes before";
    });
    Ok(())
}

fn write_record<W: Write>(dump: &mut Dump<W>, bytes: &[u8], record: &Record<'_>) -> io::Result<()> {
    write_record_header(dump, bytes, record.offset, "batch")?;
    if !dump.with_rows {
        return Ok(());
    }
    let mut ops = record.ops();
    let mut seqno = record.first_seqno;
    loop {
        let start = ops.offset();
        let Some(Ok(op)) = ops.next() else { return Ok(()) };
        let at = record.offset + (RECORD_HEADER_LEN + start) as u64;
        if dump.shows_bytes() {
            let encoded = record.payload.get(start..ops.offset()).unwrap_or_default();
            write_op_bytes(dump, at, encoded, &op, seqno)?;
        } else {
            write_op(dump, at, ops.offset() - start, &op, seqno)?;
        }
        seqno += 1;
    }
}

fn write_op<W: Write>(
    dump: &mut Dump<W>,
    at: u64,
    len: usize,
    op: &Op<'_>,
    seqno: u64,
) -> io::Result<()> {
    match op {
        Op::Row(op) => {
            let expiry = match op.expires_at {
                0 => String::new(),
                secs => format!(", expires at {secs}"),
            };
            let value = Value::Row(op.key, op.value);
            let numbers =
                [("seqno", seqno), ("expiry", op.expires_at), ("tree", u64::from(op.tree_id))];
            let name = format!("{:?}", op.kind);
            let meaning = format!("seqno {seqno}, tree {}{expiry}", op.tree_id);
            dump.entry((at, len), &name, &value, &meaning, &numbers)
        }
        Op::RangeDelete(op) => {
            let range = Value::Range(op.start, op.end);
            let numbers = [("seqno", seqno), ("tree", u64::from(op.tree_id))];
            let meaning = format!("seqno {seqno}, tree {}", op.tree_id);
            dump.entry((at, len), "RangeDelete", &range, &meaning, &numbers)
        }
    }
}

/// Writes the fields of an operation one by one, for those who look at bytes.
fn write_op_bytes<W: Write>(
    dump: &mut Dump<W>,
    at: u64,
    encoded: &[u8],
    op: &Op<'_>,
    seqno: u64,
) -> io::Result<()> {
    let Ok((header, rest)) = OpHeader::ref_from_prefix(encoded) else { return Ok(()) };
    let (kind, first, second) = match op {
        Op::Row(op) => (format!("{:?}", op.kind), ("key", op.key), ("value", op.value)),
        Op::RangeDelete(op) => {
            let end = ("end", op.end.unwrap_or_default());
            ("RangeDelete".to_owned(), ("start", op.start), end)
        }
    };
    dump.title(at, &format!("{kind}, seqno {seqno}"), "07-log.md, Operations")?;
    fields!(dump, at, header, OpHeader [] {
        tag: "bits 0-3: 0 put, 1 delete, 2 merge, 3 range delete; 16 no end, 128 an expiry follows";
        tree_id: "the tree that it belongs to";
        key_len: "length of the key, or of the start";
        value_len: "length of the value, or of the end";
    });
    let mut at = at + size_of::<OpHeader>() as u64;
    if let (true, Ok((expiry, _))) = (header.tag & 0x80 != 0, U64::ref_from_prefix(rest)) {
        dump.field(at, 8, "expiry", &expiry.value(), "in seconds since 1970")?;
        at += 8;
    }
    for (name, bytes) in [first, second] {
        dump.field(at, bytes.len(), name, &Value::Bytes(bytes), "")?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Writes the fields of the record header at `at`, if there are so many bytes.
fn write_record_header<W: Write>(
    dump: &mut Dump<W>,
    bytes: &[u8],
    at: u64,
    title: &str,
) -> io::Result<()> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let Ok((header, _)) = RecordHeader::ref_from_prefix(rest) else { return Ok(()) };
    dump.title(at, title, "07-log.md, Records")?;
    fields!(dump, at, header, RecordHeader [] {
        header_checksum: "of the other 40 bytes of this header";
        payload_checksum: "of the payload";
        payload_len: "length of the payload";
        first_seqno: "seqno of the first operation";
        synced_upto: "the log was durable up to here";
        op_count: "operations in the payload";
        kind: "1 batch, 2 seal";
        reserved: "zero";
    });
    Ok(())
}

fn write_end<W: Write>(dump: &mut Dump<W>, bytes: &[u8], end: Option<LogEnd>) -> io::Result<()> {
    match end {
        Some(LogEnd::Clean { at }) => {
            let zeros = (bytes.len() as u64).saturating_sub(at);
            dump.title(at, &format!("the clean end: {zeros} zeros up to the file's end"), END)
        }
        Some(LogEnd::Sealed { at }) => {
            write_record_header(dump, bytes, at, "seal: the end, and nothing is missing")
        }
        Some(LogEnd::Torn { at, error }) => {
            write_record_header(dump, bytes, at, "torn tail, as a crash leaves it: the end")?;
            dump.torn(error)
        }
        Some(LogEnd::Damaged { at, error, proven_upto }) => {
            let title = format!("damaged, though it was durable up to {proven_upto}");
            write_record_header(dump, bytes, at, &title)?;
            dump.damage(0, error)
        }
        None => Ok(()),
    }
}
