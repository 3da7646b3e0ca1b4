//! Text: how keys and values, which may be any bytes, are spelled on a line.
//!
//! UTF-8 stands as it is, except `\n`, `\t`, `\r` and `\\`; other control characters and bytes that
//! are no UTF-8 are spelled `\xNN`. What [`escape`] writes, [`unescape`] reads.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// Appends `bytes`, escaped so that they stand on one line and in one column.
pub(crate) fn escape(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => escape_bytes(out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        escape_bytes(out, chunk.invalid());
    }
}

fn escape_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// The bytes that an escaped text stands for.
///
/// # Errors
///
/// The escape that it does not know.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (byte, after) = match rest {
            [b'n', after @ ..] => (b'\n', after),
            [b't', after @ ..] => (b'\t', after),
            [b'r', after @ ..] => (b'\r', after),
            [b'\\', after @ ..] => (b'\\', after),
            [b'x', high, low, after @ ..] => (hex_byte(*high, *low)?, after),
            _ => return Err(unknown_escape(rest.get(..1).unwrap_or_default())),
        };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

/// The bytes of a key or value on the command line: as they are, or escaped.
///
/// # Errors
///
/// As [`unescape`].
pub(crate) fn argument(text: &OsStr, is_escaped: bool) -> Result<Vec<u8>, String> {
    if is_escaped { unescape(text.as_bytes()) } else { Ok(text.as_bytes().to_vec()) }
}

/// The bytes that pairs of hexadecimal digits stand for.
///
/// # Errors
///
/// What is wrong with the digits.
pub(crate) fn from_hex(digits: &str) -> Result<Vec<u8>, String> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    pairs.iter().map(|&[high, low]| hex_byte(high, low)).collect()
}

/// `bytes` as pairs of hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn hex_byte(high: u8, low: u8) -> Result<u8, String> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte =
        digit(high).zip(digit(low)).and_then(|(high, low)| (high << 4 | low).try_into().ok());
    byte.ok_or_else(|| {
        format!("\"{}\" is no pair of hexadecimal digits", [high, low].escape_ascii())
    })
}

fn unknown_escape(name: &[u8]) -> String {
    format!("unknown escape \"\\{}\"; known are \\n, \\t, \\r, \\\\ and \\xNN", name.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], text: &str) {
        let mut escaped = String::new();
        escape(&mut escaped, bytes);
        assert_eq!(escaped, text);
        assert_eq!(unescape(text.as_bytes()).as_deref(), Ok(bytes));
    }

    #[test]
    fn any_bytes_have_a_spelling() {
        check(b"", "");
        check(b"plain text", "plain text");
        check("Grüße, 世界".as_bytes(), "Grüße, 世界");
        check(b"a\nb\tc\rd\\e", r"a\nb\tc\rd\\e");
        check(b"\\n", r"\\n");
        check(b"\0\x1b\x7f", r"\x00\x1b\x7f");
        check("\u{85}".as_bytes(), r"\xc2\x85");
        check(b"ok\xff\xc3", r"ok\xff\xc3");
        let all: Vec<u8> = (0..=255).collect();
        let mut escaped = String::new();
        escape(&mut escaped, &all);
        assert_eq!(unescape(escaped.as_bytes()), Ok(all.clone()));
        assert_eq!(from_hex(&to_hex(&all)), Ok(all));
    }

    #[test]
    fn unknown_escapes_are_refused() {
        for text in [r"\", r"a\q", r"\x", r"\x1", r"\xg0", r"\x+1"] {
            assert!(unescape(text.as_bytes()).is_err(), "{text}");
        }
        assert!(from_hex("abc").is_err());
        assert!(from_hex("ag").is_err());
    }
}
