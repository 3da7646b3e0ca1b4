//! The annotated dumps of the chapters show real bytes of the vectors.
//!
//! A dump is a fenced block that opens with `dump NAME`. Each line is an offset in `NAME.bin`, the
//! bytes there, and what they mean, with two spaces between; `…` stands for what is left out.

use std::fs;
use std::path::Path;

use super::{folder, recipe, rewrites};

/// What is wrong with the dumps of a chapter, and the chapter with the right bytes.
fn compare(name: &str, text: &str, vectors: &[recipe::Vector]) -> (Vec<String>, String, usize) {
    let (mut complaints, mut out, mut count) = (Vec::new(), String::new(), 0);
    let mut bytes: Option<&[u8]> = None;
    let mut expected_at = None;
    for line in text.lines() {
        let mut kept = line.to_owned();
        if let Some(vector) = line.strip_prefix("```dump ") {
            bytes = vectors.iter().find(|it| it.name == vector).map(|it| &it.bytes[..]);
            complaints.extend(bytes.is_none().then(|| format!("{name}: no vector {vector}")));
            (expected_at, count) = (None, count + 1);
        } else if line == "```" {
            bytes = None;
        } else if line.trim() == "…" {
            expected_at = None;
        } else if let Some(bytes) = bytes {
            let mut parts = line.splitn(3, "  ");
            let (at, shown, meaning) = (parts.next(), parts.next(), parts.next());
            let parsed = at.and_then(|at| usize::from_str_radix(at.strip_prefix("0x")?, 16).ok());
            let (Some(at), Some(shown), Some(meaning)) = (parsed, shown, meaning) else {
                complaints.push(format!("{name}: not offset, bytes, meaning: {line}"));
                continue;
            };
            let len = shown.split(' ').count();
            let real = bytes.get(at..at + len).unwrap_or_default();
            let real: Vec<String> = real.iter().map(|byte| format!("{byte:02x}")).collect();
            let real = real.join(" ");
            if real != shown {
                complaints.push(format!("{name}: at {at:#x} stands {real}, not {shown}"));
            }
            if expected_at.is_some_and(|expected| expected != at) {
                complaints.push(format!("{name}: {at:#x} does not follow the line before"));
            }
            expected_at = Some(at + len);
            kept = format!("{at:#08x}  {real}  {meaning}");
        }
        out.push_str(&kept);
        out.push('\n');
    }
    (complaints, out, count)
}

#[test]
fn every_dump_shows_the_bytes_of_its_vector() {
    let vectors = recipe::all();
    let chapters = folder().parent().map(Path::to_owned).expect("format-spec");
    let mut complaints = Vec::new();
    for number in [
        "03-table",
        "04-data-block",
        "05-index",
        "06-filter",
        "07-log",
        "08-manifest",
        "09-range-tombstones",
    ] {
        let path = chapters.join(format!("{number}.md"));
        let text = fs::read_to_string(&path).expect("a chapter");
        let (found, corrected, count) = compare(number, &text, &vectors);
        if rewrites() {
            fs::write(&path, corrected).expect("a writable clone");
            continue;
        }
        complaints.extend(found);
        complaints.extend((count == 0).then(|| format!("{number}: has no dump")));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_wrong_dump_is_seen() {
    let vectors = [recipe::Vector { name: "it", bytes: vec![1, 2, 3] }];
    let complaints = |dump: &str| {
        let (found, ..) = compare("a", &format!("```dump it\n{dump}\n```"), &vectors);
        found.len()
    };
    assert_eq!(complaints("0x000000  01 02  both\n0x000002  03  last"), 0);
    assert_eq!(complaints("0x000000  01  first\n…\n0x000002  03  last"), 0);
    assert_eq!(complaints("0x000000  01 03  both"), 1);
    assert_eq!(complaints("0x000000  01  first\n0x000002  03  a gap"), 1);
    assert_eq!(complaints("0x000002  03 04  beyond the end"), 1);
    assert_eq!(complaints("01 02"), 1);
    assert_eq!(compare("a", "```dump that\n```", &vectors).0.len(), 1);
}
