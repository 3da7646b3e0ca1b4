//! The reader in `format-spec/readers/python/` against TinyDB: both read the same files, and find
//! the same. The reader was written from the spec, so a difference is a bug of one of the three.
//!
//! Where there is no `python3`, the tests say so and pass.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) mod broken;
mod databases;
pub(crate) mod decoded;
mod recovered;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/readers/python")
}

/// What a script printed, by lines.
struct Answer {
    lines: Vec<String>,
    /// What went to the standard error; never a traceback.
    errors: Vec<String>,
}

/// Runs a script of the reader; `None`, and a line that says so, without `python3`.
#[track_caller]
fn ask<A: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Option<Answer> {
    let mut command = Command::new("python3");
    // `-B`: the clone is not to be littered with compiled scripts.
    let command = command.arg("-B").arg(folder().join(script)).args(arguments);
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no python3");
            return None;
        }
        output => output.expect("python3 runs"),
    };
    let lines = |bytes| {
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (lines, errors) = (lines(output.stdout), lines(output.stderr));
    let failed = errors.iter().any(|line| line.starts_with("Traceback"));
    assert!(!failed, "{script} failed:\n{}", errors.join("\n"));
    Some(Answer { lines, errors })
}

/// As [`ask`], where nothing is to go wrong.
#[track_caller]
fn lines<A: AsRef<OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Option<Vec<String>> {
    let answer = ask(script, arguments)?;
    assert!(answer.errors.is_empty(), "{script}: {}", answer.errors.join("\n"));
    Some(answer.lines)
}

#[test]
fn the_reader_in_python_finds_in_every_vector_what_its_json_says() {
    let Some(lines) = lines("test_vectors.py", [""; 0]) else { return };
    let last = lines.last().expect("a last line");
    assert!(last.contains(" vectors, 0 failed, "), "{}", lines.join("\n"));
}
