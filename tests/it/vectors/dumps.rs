//! The examples of the chapters are what `tinydb dump --hex` writes of the vectors, word for word.
//!
//! An example is a fenced block that opens with `dump NAME RANGE…`: of the dump of `NAME.bin`, the
//! lines that start in these ranges of the file. `…` stands between two ranges.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{folder, rewrites};

/// A line of a dump, and where in the file it stands.
struct Line {
    at: usize,
    /// What follows begins a structure: its title belongs to what stands at the same place.
    is_title: bool,
    text: String,
}

/// What the tool writes of a vector.
fn dump_of(name: &str) -> Vec<Line> {
    let path = folder().join(format!("{name}.bin"));
    let mut tool = Command::new(env!("CARGO_BIN_EXE_tinydb"));
    let output = tool.args(["dump", "--hex"]).arg(path).output().expect("the tool runs");
    parse(&String::from_utf8(output.stdout).expect("text"))
}

fn parse(dump: &str) -> Vec<Line> {
    let (mut lines, mut follows_blank) = (Vec::new(), false);
    for line in dump.lines() {
        let at = line.strip_prefix("0x").and_then(|rest| rest.split_once("  "));
        let at = at.and_then(|(at, _)| usize::from_str_radix(at, 16).ok());
        if let Some(at) = at {
            lines.push(Line { at, is_title: follows_blank, text: line.to_owned() });
        }
        follows_blank = line.is_empty();
    }
    lines
}

/// `0x10..0x20`, say.
fn range_of(word: &str) -> Option<std::ops::Range<usize>> {
    let (start, end) = word.split_once("..")?;
    let number = |text: &str| usize::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some(number(start)?..number(end)?)
}

/// What stands in an example with this head.
fn example(head: &str, dump_of: impl Fn(&str) -> Vec<Line>) -> Option<String> {
    let (name, ranges) = head.split_once(' ')?;
    let ranges = ranges.split(' ').map(range_of).collect::<Option<Vec<_>>>()?;
    let lines = dump_of(name);
    let mut parts = Vec::new();
    for range in ranges {
        let mut part = String::new();
        for line in lines.iter().filter(|line| range.contains(&line.at)) {
            if line.is_title && !part.is_empty() {
                part.push('\n');
            }
            part.push_str(&line.text);
            part.push('\n');
        }
        parts.push(part);
    }
    parts.iter().all(|part| !part.is_empty()).then(|| parts.join("…\n"))
}

/// A chapter with the examples that it should have, and how many there are.
fn corrected(text: &str, dump_of: impl Fn(&str) -> Vec<Line>) -> (String, usize) {
    let (mut out, mut count, mut is_inside) = (String::new(), 0, false);
    for line in text.lines() {
        if is_inside && line != "```" {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        is_inside = false;
        if let Some(head) = line.strip_prefix("```dump ") {
            let example = example(head, &dump_of);
            out.push_str(&example.unwrap_or_else(|| panic!("no lines are those of {head:?}")));
            (count, is_inside) = (count + 1, true);
        }
    }
    (out, count)
}

#[test]
fn every_example_is_what_the_tool_writes() {
    let chapters = folder().parent().map(Path::to_owned).expect("format-spec");
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
        let (want, count) = corrected(&text, dump_of);
        assert!(count > 0, "{number}: has no example");
        if rewrites() {
            fs::write(&path, want).expect("a writable clone");
            continue;
        }
        let differs = text.lines().zip(want.lines()).find(|(found, want)| found != want);
        assert!(text == want, "{number}: this line differs from the tool's: {differs:?}");
    }
}

#[test]
fn an_example_that_says_something_else_is_seen() {
    let dump = "file: 3 bytes\n\n0x00000000  part\n0x00000000  01 02  both\n\n0x00000002  end\n\
                0x00000002  03  last\n";
    let correct = |text: &str| corrected(text, |_| parse(dump)).0;
    let whole = "```dump it 0x0..0x3\n0x00000000  part\n0x00000000  01 02  both\n\n\
                 0x00000002  end\n0x00000002  03  last\n```\n";
    assert_eq!(correct(whole), whole);
    assert_eq!(correct(&whole.replace("both", "two")), whole);
    assert_eq!(correct("```dump it 0x2..0x3\n```\n").lines().count(), 4);
    assert!(correct("```dump it 0x0..0x1 0x2..0x3\n```\n").contains("both\n…\n"));
    assert!(example("it 0x3..0x4", |_| parse(dump)).is_none());
    assert!(example("it", |_| parse(dump)).is_none());
}
