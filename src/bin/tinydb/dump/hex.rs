//! The dump as bytes with their names: each byte of the file once, in its order.
//!
//! Spec: none. I/O: writes what it is given to write to. Unsafe: none.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Bytes on a line.
const BYTES_A_LINE: usize = 16;

/// A name of bytes, or a line between them.
pub(super) struct Named {
    at: u64,
    /// `None` for a line that names no bytes: a title, or what is wrong there.
    len: Option<usize>,
    text: String,
}

impl Named {
    pub(super) fn title(at: u64, title: &str, spec: &str) -> Self {
        let spec = if spec.is_empty() { String::new() } else { format!("  ({spec})") };
        Self { at, len: None, text: format!("{title}{spec}") }
    }

    pub(super) fn field(at: u64, len: usize, name: &str, value: &str, meaning: &str) -> Self {
        let value = if value.is_empty() { String::new() } else { format!(": {value}") };
        let meaning = if meaning.is_empty() { String::new() } else { format!(" ({meaning})") };
        Self { at, len: Some(len), text: format!("{name}{value}{meaning}") }
    }
}

/// Writes all bytes of the file. What lies in bytes that have a name already, such as a row in a
/// column, is left out.
pub(super) fn write<W: Write>(out: &mut W, mut named: Vec<Named>, bytes: &[u8]) -> io::Result<()> {
    named.sort_by_key(|it| (it.at, it.len.is_some(), Reverse(it.len)));
    let mut position = 0;
    for it in named {
        let at = usize::try_from(it.at).unwrap_or(usize::MAX).min(bytes.len());
        let Some(len) = it.len else {
            if at > position {
                write_gap(out, bytes, position, at)?;
                position = at;
            }
            writeln!(out, "\n{:#010x}  {}", it.at, it.text)?;
            continue;
        };
        if at < position || len == 0 {
            continue;
        }
        write_gap(out, bytes, position, at)?;
        position = at.saturating_add(len).min(bytes.len());
        write_bytes(out, bytes, at, position, &it.text)?;
    }
    write_gap(out, bytes, position, bytes.len())
}

fn write_gap<W: Write>(out: &mut W, bytes: &[u8], start: usize, end: usize) -> io::Result<()> {
    let is_zero = bytes.get(start..end).is_some_and(|gap| gap.iter().all(|byte| *byte == 0));
    let text = if is_zero { "zeros between" } else { "bytes without a name" };
    write_bytes(out, bytes, start, end, text)
}

/// Writes these bytes, named on their first line. Long zeros are told, not shown.
fn write_bytes<W: Write>(
    out: &mut W,
    bytes: &[u8],
    start: usize,
    end: usize,
    text: &str,
) -> io::Result<()> {
    let mut text = text;
    let mut at = start;
    while at < end {
        let rest = bytes.get(at..end).unwrap_or_default();
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let (len, mut shown) = if zeros > 2 * BYTES_A_LINE {
            (zeros, format!("00 \u{d7} {zeros}"))
        } else {
            (rest.len().min(BYTES_A_LINE), String::new())
        };
        if shown.is_empty() {
            for byte in rest.iter().take(len) {
                let space = if shown.is_empty() { "" } else { " " };
                // Writing to a string can't fail.
                let _ = write!(shown, "{space}{byte:02x}");
            }
        }
        writeln!(out, "{}", format!("{at:#010x}  {shown:<47}  {text}").trim_end())?;
        text = "";
        at += len;
    }
    Ok(())
}
