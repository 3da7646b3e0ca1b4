//! `merge.json`: what the merge operators that come with TinyDB make of bases and operands; and the
//! same as a table in chapter 11.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use tinydb::MergeOperator;
use tinydb::merge::{Append, Counter, Max, Min};

use super::{check_file, folder, render};

const HEADING: &str = "| operator | base | operands | value |\n| --- | --- | --- | --- |\n";

struct Case {
    name: String,
    base: Option<Vec<u8>>,
    operands: Vec<Vec<u8>>,
    /// `None`: it fails, or nobody knows the operator.
    value: Option<Vec<u8>>,
}

fn case(operator: &dyn MergeOperator, base: Option<&[u8]>, operands: &[&[u8]]) -> Case {
    Case {
        name: operator.name().to_owned(),
        base: base.map(<[u8]>::to_vec),
        operands: operands.iter().map(|it| it.to_vec()).collect(),
        value: operator.merge_batch(b"key", base, operands).ok(),
    }
}

fn counters() -> Vec<Case> {
    let n = |number: i64| number.to_le_bytes();
    let counter = |base: Option<&[u8]>, operands: &[&[u8]]| case(&Counter, base, operands);
    vec![
        counter(None, &[&n(2), &n(-5)]),
        counter(Some(&n(300)), &[&n(-300)]),
        counter(Some(&n(i64::MAX)), &[&n(1)]),
        counter(None, &[&n(i64::MIN), &n(-1)]),
        counter(Some(b""), &[&n(1)]),
        counter(Some(b"123456789"), &[&n(1)]),
        counter(None, &[b"1234567"]),
        counter(None, &[&n(1), b"", &n(1)]),
    ]
}

fn others() -> Vec<Case> {
    let comma = Append::new(", ");
    let mut all = vec![
        case(&comma, None, &[b"a", b"b"]),
        case(&comma, Some(b"x"), &[b"a"]),
        case(&comma, None, &[b"a"]),
        case(&comma, Some(b""), &[b"", b"a"]),
        case(&Append::new(""), Some(b"x"), &[b"", b"a"]),
    ];
    for separator in [&b"\t"[..], b"\x00\xff", b"'\"\\", b"\x7f", b")"] {
        all.push(case(&Append::new(separator), Some(b"a"), &[b"b"]));
    }
    for operator in [&Max as &dyn MergeOperator, &Min] {
        all.push(case(operator, Some(b"b"), &[b"a", b"c"]));
        all.push(case(operator, None, &[b"ab", b"a"]));
        all.push(case(operator, Some(b"\x7f"), &[b"\xff"]));
        all.push(case(operator, Some(b""), &[b"\x00"]));
    }
    // Another spelling of a name that there is, and names that nobody knows.
    for name in [r"tinydb.append(\x09)", "tinydb.append(\\q)", "tinydb.append", "tinydb.sum", "sum"]
    {
        let operands = vec![b"a".to_vec()];
        all.push(Case { name: name.to_owned(), base: None, operands, value: None });
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

/// A cell of the table: bytes in hexadecimal, none of them as quotes.
fn cell(bytes: &[u8]) -> String {
    if bytes.is_empty() { "\"\"".to_owned() } else { hex(bytes) }
}

#[test]
fn merges_are_those_of_the_spec() {
    let cases = [counters(), others()].into_iter().flatten();
    let (mut all, mut rows) = (Vec::new(), String::from(HEADING));
    for Case { name, base, operands, value } in cases {
        let shown: Vec<String> = operands.iter().map(|it| cell(it)).collect();
        let base_cell = base.as_deref().map_or("none".to_owned(), cell);
        let value_cell = value.as_deref().map_or("fails".to_owned(), cell);
        writeln!(rows, "| `{name}` | {base_cell} | {} | {value_cell} |", shown.join(", "))
            .expect("memory");
        let operands: Vec<String> = operands.iter().map(|it| hex(it)).collect();
        let (base, value) = (base.as_deref().map(hex), value.as_deref().map(hex));
        all.push(json!({ "operator": name, "base": base, "operands": operands, "value": value }));
    }
    let text = render(&Value::Array(all), 0) + "\n";
    check_file(&folder().join("merge.json"), text.as_bytes());
    let path = folder().join("../11-merge-operators.md");
    let chapter = fs::read_to_string(&path).expect("the chapter");
    let (before, behind) = chapter.split_once(HEADING).expect("the table");
    let behind: String =
        behind.split_inclusive('\n').skip_while(|line| line.starts_with('|')).collect();
    check_file(&path, format!("{before}{rows}{behind}").as_bytes());
}
