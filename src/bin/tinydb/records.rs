//! Records: keys and values read from a file, one a line, plain or gzipped.
//!
//! ```text
//!   tsv      key TAB value                      escapes as in `text`: \n \t \r \\ \xNN
//!   jsonl    {"key": "k", "value": "v"}         or "key_hex", "value_hex" for what is no UTF-8
//! ```
//!
//! Spec: none. I/O: reads what it is given. Unsafe: none.

use std::io::{self, BufRead, BufReader, Read};

use clap::ValueEnum;
use flate2::bufread::MultiGzDecoder;
use serde_json::Value as Json;

use crate::text::{from_hex, unescape};

/// How a record is spelled on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// key, tab, value
    Tsv,
    /// one JSON object a line
    Jsonl,
}

impl Format {
    /// The format that a file's name tells, with or without `.gz`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Record {
    /// Bytes of key and value.
    pub(crate) const fn len(&self) -> u64 {
        self.key.len() as u64 + self.value.len() as u64
    }
}

/// The records of an input, in order; an error names the line.
pub(crate) struct Records<R> {
    input: R,
    format: Format,
    line: Vec<u8>,
    line_number: u64,
}

impl<R: BufRead> Records<R> {
    /// Reads `input`, which is not compressed.
    pub(crate) const fn new(input: R, format: Format) -> Self {
        Self { input, format, line: Vec::new(), line_number: 0 }
    }

    fn read(&mut self) -> Result<Option<Record>, String> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line).map_err(|error| error.to_string())?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let record = match self.format {
            Format::Tsv => parse_tsv(line)?,
            Format::Jsonl => parse_jsonl(line)?,
        };
        Ok(Some(record))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line_number += 1;
        let record = self.read();
        record.map_err(|error| format!("line {}: {error}", self.line_number)).transpose()
    }
}

/// The input itself, or what it unpacks to if it starts as a gzip file does.
pub(crate) fn unpacked<'r>(input: impl Read + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let is_gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if is_gzip {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input))));
    }
    Ok(Box::new(input))
}

fn parse_tsv(line: &[u8]) -> Result<Record, String> {
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or("no tab between key and value")?;
    let (key, value) = line.split_at(tab);
    let value = value.strip_prefix(b"\t").unwrap_or(value);
    Ok(Record { key: unescape(key)?, value: unescape(value)? })
}

fn parse_jsonl(line: &[u8]) -> Result<Record, String> {
    let object: Json = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(Record { key: field(&object, "key")?, value: field(&object, "value")? })
}

/// The bytes of a field: a string's own, hexadecimal ones, or the text of any other JSON.
fn field(object: &Json, name: &str) -> Result<Vec<u8>, String> {
    let hex = format!("{name}_hex");
    match (object.get(name), object.get(&hex)) {
        (Some(Json::String(text)), None) => Ok(text.as_bytes().to_vec()),
        (Some(other), None) => Ok(other.to_string().into_bytes()),
        (None, Some(Json::String(digits))) => from_hex(digits),
        _ => Err(format!("want either \"{name}\" or a string \"{hex}\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn read(format: Format, input: &[u8]) -> Result<Vec<(String, String)>, String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let records = Records::new(unpacked(input).unwrap(), format);
        records.map(|it| it.map(|it| (text(&it.key), text(&it.value)))).collect()
    }

    #[track_caller]
    fn check(format: Format, input: &str, want: Result<&[(&str, &str)], &str>) {
        let got = read(format, input.as_bytes());
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(input.as_bytes()).unwrap();
        assert_eq!(read(format, &packed.finish().unwrap()), got, "gzipped");
        match (got, want) {
            (Ok(got), Ok(want)) => {
                let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                assert_eq!(got, want);
            }
            (Err(got), Err(want)) => assert!(got.starts_with(want), "{got}"),
            (got, want) => panic!("{got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn a_tsv_line_is_a_key_a_tab_and_an_escaped_value() {
        let tsv = Format::Tsv;
        check(tsv, "", Ok(&[]));
        check(tsv, "a\t1\nb\t2", Ok(&[("a", "1"), ("b", "2")]));
        check(tsv, "a\t\n\t1\n", Ok(&[("a", ""), ("", "1")]));
        check(tsv, "a\tx\\ty\\nz\\\\n\n", Ok(&[("a", r"x\ty\nz\\n")]));
        check(tsv, "a\tx\ty\n", Ok(&[("a", r"x\ty")]));
        check(tsv, "\\xff\t\\x00\n", Ok(&[(r"\xff", r"\x00")]));
        check(tsv, "a\t1\nb\n", Err("line 2: no tab"));
        check(tsv, "a\t1\n\n", Err("line 2: no tab"));
        check(tsv, "a\t\\q\n", Err("line 1: unknown escape"));
    }

    #[test]
    fn a_jsonl_line_is_an_object_with_a_key_and_a_value() {
        let jsonl = Format::Jsonl;
        check(jsonl, "{\"key\":\"a\",\"value\":\"1\\n\"}\n", Ok(&[("a", r"1\n")]));
        check(jsonl, r#"{"key_hex":"00ff","value_hex":""}"#, Ok(&[(r"\x00\xff", "")]));
        check(jsonl, r#"{"key":7,"value":{"b":[1, null]}}"#, Ok(&[("7", r#"{\"b\":[1,null]}"#)]));
        check(jsonl, r#"{"key":"a"}"#, Err("line 1: want either \"value\""));
        check(
            jsonl,
            r#"{"key":"a","key_hex":"00","value":""}"#,
            Err("line 1: want either \"key\""),
        );
        check(jsonl, "[]\n", Err("line 1: want"));
        check(jsonl, "{\"key\"", Err("line 1: EOF"));
    }

    #[test]
    fn a_files_name_tells_its_format() {
        let cases = [
            ("a.tsv", Some(Format::Tsv)),
            ("dir.jsonl/a.TSV.gz", Some(Format::Tsv)),
            ("a.jsonl.gz", Some(Format::Jsonl)),
            ("a.ndjson", Some(Format::Jsonl)),
            ("a.csv", None),
            ("tsv", None),
        ];
        for (name, want) in cases {
            assert_eq!(Format::of_name(name), want, "{name}");
        }
    }
}
