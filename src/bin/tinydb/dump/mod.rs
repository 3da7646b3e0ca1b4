//! `tinydb dump FILE`: names every field of a file.
//!
//! It goes on after damage as far as it can: a damaged file is the one that somebody looks at.
//!
//! ```text
//!   mod ── by the magic ── table ── block, index, filter, range tombstones, properties
//!                     ├─── log
//!                     └─── manifest            each writes through `fields`, in lines, by `object` or by `hex`
//! ```
//!
//! Spec: all of `format-spec/`. I/O: the file; standard output. Unsafe: none.

mod block;
mod fields;
mod hex;
mod log;
mod manifest;
mod object;
mod properties;
mod range_tombstones;
mod regions;
mod shown;
mod table;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use indicatif::HumanCount;
use serde_json::json;
use tinydb::internals::{log as log_format, manifest as manifest_format, table_file};

use crate::{Answer, Outcome};
use fields::{Dump, Form};

/// Name every field of a database's file, with its offset; exit code 1 if the file is damaged
///
/// A line for each field: its offset in the file, its length in bytes, its name, its value, and
/// what it means. Numbers from 2^32 on are written in hexadecimal.
///
/// With --json it is a JSON object a line. The first has "file" and "len". One with "part", "at" and "spec" begins
/// a structure, and names the chapter of the format's description. Fields follow, with "part", "spec", "at", "len",
/// "name", "meaning" and what they hold: "value" is a number (up to 2^64 - 1, exact), an array of numbers, or bytes
/// in hexadecimal, and is absent where a field holds many things, such as a column. Rows and operations have
/// "key", "value", "seqno" and "expiry"; a row whose value lies out of line has the "reference", "offset"
/// and "checksum" of its value, too. Ranges have "seqno", "start" and "end" (null: no end). What is broken is an object
/// with "wrong" (damaged, unsupported, or torn: a log's end that a crash left), "at", "rule" and "meaning".
///
/// With --hex each byte of the file is shown once, with its field's name, and each structure with its chapter.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// The file: a table, a log or a manifest, whatever its name
    file: PathBuf,
    /// Leave out the rows of blocks and the operations of logs
    #[arg(long)]
    no_rows: bool,
    /// Write keys and values to their end, however long; as JSON they always are
    #[arg(long)]
    full: bool,
    /// Write a JSON object a line, for programs
    #[arg(long, conflicts_with = "hex")]
    json: bool,
    /// Write the bytes of the file, each with the name of its field
    #[arg(long)]
    hex: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let path = args.file.display();
    let in_file = |error: io::Error| format!("{path}: {error}");
    if !fs::metadata(&args.file).map_err(in_file)?.is_file() {
        return Err(format!("{path}: not a regular file").into());
    }
    let bytes = fs::read(&args.file).map_err(in_file)?;
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let form = match (args.json, args.hex) {
        (true, _) => Form::Json,
        (false, true) => Form::Hex(Vec::new()),
        (false, false) => Form::Text,
    };
    let mut dump = Dump::new(out, form, !args.no_rows, args.full);
    if !write(&mut dump, &path.to_string(), &bytes)? {
        return Err(format!("{path}: starts like no table, log or manifest").into());
    }
    dump.out.flush()?;
    Ok(if dump.damage_count == 0 { Answer::Yes } else { Answer::No })
}

/// Writes a whole file; `false`, and nothing written, if its magic is not known.
fn write<W: Write>(dump: &mut Dump<W>, path: &str, bytes: &[u8]) -> io::Result<bool> {
    let write: fn(&mut Dump<W>, &[u8]) -> io::Result<()> = match bytes.first_chunk::<8>() {
        Some(&table_file::MAGIC) => table::write,
        Some(&log_format::MAGIC) => log::write,
        Some(&manifest_format::MAGIC) => manifest::write,
        _ => return Ok(false),
    };
    if matches!(dump.form, Form::Json) {
        writeln!(dump.out, "{}", json!({ "file": path, "len": bytes.len() }))?;
    } else {
        writeln!(dump.out, "{path}: {} bytes", HumanCount(bytes.len() as u64))?;
    }
    write(dump, bytes)?;
    if let Form::Hex(named) = &mut dump.form {
        hex::write(&mut dump.out, std::mem::take(named), bytes)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use tinydb::internals::file_name::FileName;
    use tinydb::internals::log::{LogInfo, batch_header, seal_header};
    use tinydb::internals::log_op::{RangeDelete, RowOp, encode_op};
    use tinydb::internals::manifest::{ManifestData, TableRecord};
    use tinydb::internals::range_tombstone::RangeTombstone;
    use tinydb::internals::row::{Kind, Row};
    use tinydb::internals::{FilterSize, SimDisk, Storage, TableSettings, TableWriter};
    use zerocopy::IntoBytes;

    use super::*;

    /// What the dump says, and how many rules it found broken.
    fn dump(bytes: &[u8]) -> (String, u64) {
        dump_as(Form::Text, bytes)
    }

    fn dump_as(form: Form, bytes: &[u8]) -> (String, u64) {
        let mut dump = Dump::new(Vec::new(), form, true, false);
        write(&mut dump, "file", bytes).unwrap();
        (String::from_utf8(dump.out).unwrap(), dump.damage_count)
    }

    /// In every form; nothing but rules may be found broken.
    fn dump_in_all_forms(bytes: &[u8]) {
        let counts = [Form::Text, Form::Json, Form::Hex(Vec::new())];
        let counts = counts.map(|form| dump_as(form, bytes).1);
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    }

    /// Each of `wanted` are the words of a line, without its meaning.
    #[track_caller]
    fn check(text: &str, wanted: &[&str]) {
        for want in wanted {
            let has_words = |line: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.join(" ").starts_with(want)
            };
            assert!(text.lines().any(has_words), "no line {want:?} in\n{text}");
        }
    }

    fn manifest() -> Vec<u8> {
        let table = TableRecord {
            file_number: 5,
            row_count: 2,
            range_tombstone_count: 3,
            smallest: b"a\n".into(),
            largest: vec![b'z'; 100],
            ..TableRecord::default()
        };
        let operator = Some("counter".to_owned());
        let data = ManifestData { merge_operator: operator, tables: vec![table], ..next(9) };
        data.encode()
    }

    fn next(next_file_number: u64) -> ManifestData {
        ManifestData { next_file_number, database_id: u64::MAX, ..ManifestData::default() }
    }

    fn log() -> Vec<u8> {
        let info = LogInfo { log_number: 7, first_seqno: 1, ..LogInfo::default() };
        let mut bytes = info.encode();
        let mut ops = Vec::new();
        let put = RowOp { kind: Kind::Put, tree_id: 0, expires_at: 99, key: b"k", value: b"v\0" };
        let range = RangeDelete { tree_id: 0, start: b"a\n", end: Some(b"b") };
        let delete = RowOp { kind: Kind::Delete, expires_at: 0, ..put };
        let endless = RangeDelete { end: None, ..range };
        for op in [put.into(), delete.into(), range.into(), endless.into()] {
            encode_op(&mut ops, &op).unwrap();
        }
        let at = bytes.len() as u64;
        bytes.extend_from_slice(batch_header(info.seed(), at, &ops, 1, 4, 0).as_bytes());
        bytes.extend_from_slice(&ops);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let at = bytes.len() as u64;
        bytes.extend_from_slice(seal_header(info.seed(), at, 5).as_bytes());
        bytes
    }

    #[test]
    fn a_manifest_shows_its_tables_and_keys() {
        let (text, damage_count) = dump(&manifest());
        assert_eq!(damage_count, 0, "{text}");
        let z = "z".repeat(64);
        #[rustfmt::skip]
        check(&text, &[
            r#"0 8 magic "TINYMAN\x01""#,
            "20 4 table_count 1",
            "48 8 database_id 0xffffffffffffffff",
            "64 8 next_file_number 9",
            "128 table 0",
            "136 8 file_number 5",
            "204 8 range_tombstone_count 3",
            r#"224 7 operator "counter""#,
            r#"231 2 smallest key "a\n" of table 0"#,
            &format!("233 100 largest key \"{z}\" and 36 bytes more"),
        ]);
    }

    #[test]
    fn a_log_shows_its_records_and_operations() {
        let (text, damage_count) = dump(&log());
        assert_eq!(damage_count, 0, "{text}");
        #[rustfmt::skip]
        check(&text, &[
            "24 8 log_number 7",
            "128 batch",
            "168 4 op_count 4",
            r#"176 22 Put "k" "v\x00" seqno 1, tree 0, expires at 99"#,
            r#"198 12 Delete "k" "" seqno 2"#,
            r#"210 14 RangeDelete "a\n" to "b" seqno 3, tree 0"#,
            r#"224 13 RangeDelete "a\n" to the end of all keys seqno 4"#,
            "240 seal",
            "272 8 synced_upto 240",
        ]);
    }

    /// A table of one row and two range tombstones, whose region starts at 12,288.
    fn table() -> Vec<u8> {
        let disk = SimDisk::new(0);
        disk.create_root().unwrap();
        let settings = TableSettings {
            block_size: 1024,
            filter: FilterSize::None,
            database_id: 1,
            hash_seed: 2,
            operator: String::new(),
            features_optional: 0,
        };
        let mut writer = TableWriter::create(&disk, &settings, 5, 6, 7).unwrap();
        let row = Row { key: b"k", seqno: 1, kind: Kind::Put, expires_at: 0, value: b"v" };
        writer.add(&disk, &row).unwrap();
        writer.set_range_tombstones([
            RangeTombstone { start: b"a", end: Some(b"c\n"), seqno: 8 },
            RangeTombstone { start: b"x", end: None, seqno: 9 },
        ]);
        writer.finish(&disk).unwrap();
        disk.read_file(FileName::Table(5)).unwrap()
    }

    #[test]
    fn a_table_shows_its_range_tombstones() {
        let (text, damage_count) = dump(&table());
        assert_eq!(damage_count, 0, "{text}");
        #[rustfmt::skip]
        check(&text, &[
            "12288 region of 84 bytes, 84 in all: range tombstones",
            r#"12288 4 magic "TDBR""#,
            "12296 8 count 2",
            r#"12320 24 fragment 0 "a" to "c\n" rows below seqno 8"#,
            r#"12344 24 fragment 1 "x" to the end of all keys rows below seqno 9"#,
            "12368 4 keys",
            "16476 8 range_tombstone_count 2",
        ]);
        for byte in 12_288..12_288 + 84 {
            let mut bytes = table();
            bytes[byte] ^= 1;
            let (text, damage_count) = dump(&bytes);
            assert!(damage_count > 0, "byte {byte}: {text}");
        }
    }

    #[test]
    fn damage_is_named_and_the_rest_is_still_shown() {
        let mut bytes = manifest();
        bytes[230] ^= 1;
        let (text, damage_count) = dump(&bytes);
        assert_eq!(damage_count, 1);
        check(&text, &["112 DAMAGED: rule M6", "136 8 file_number 5"]);

        let mut bytes = log();
        bytes[180] ^= 1;
        let (text, damage_count) = dump(&bytes);
        assert_eq!(damage_count, 1, "the seal proves that the record was whole");
        check(&text, &["24 8 log_number 7", "128 damaged, though it was durable up to 240"]);
    }

    #[test]
    fn operations_and_fragments_are_shown_field_by_field_beside_their_bytes() {
        let (text, damage_count) = dump_as(Form::Hex(Vec::new()), &log());
        assert_eq!(damage_count, 0, "{text}");
        #[rustfmt::skip]
        check(&text, &[
            "0x000000b0 80 tag: 128",
            "0x000000bb 63 00 00 00 00 00 00 00 expiry: 99",
            r#"0x000000c3 6b key: "k""#,
            r#"0x000000c4 76 00 value: "v\x00""#,
            "0x000000d2 RangeDelete, seqno 3 (07-log.md, Operations)",
            r#"0x000000dd 61 0a start: "a\n""#,
        ]);
        let (text, damage_count) = dump_as(Form::Hex(Vec::new()), &table());
        assert_eq!(damage_count, 0, "{text}");
        #[rustfmt::skip]
        check(&text, &[
            "0x00003038 fragment 1 (09-range-tombstones.md, Fragments)",
            "0x0000304c 01 00 00 00 flags: 1",
            r#"0x00003051 63 0a end: "c\n" (of fragment 0)"#,
        ]);
    }

    #[test]
    fn no_bytes_stop_it() {
        for bytes in [manifest(), log()] {
            for len in 0..bytes.len() {
                dump_in_all_forms(&bytes[..len]);
            }
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                dump_in_all_forms(&bytes);
            }
        }
        // Of a table, a bit of each byte that is not among zeros.
        let whole = table();
        for at in 0..whole.len() {
            if whole[at.saturating_sub(8)..(at + 8).min(whole.len())].iter().any(|it| *it != 0) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                dump_in_all_forms(&bytes);
            }
        }
    }
}
