//! The items of a dump: a field with its offset, length, name, value and meaning; and damage.
//!
//! Spec: none. I/O: writes what it is given to write to. Unsafe: none.

use std::io::{self, Write};

use serde_json::json;
use tinydb::FormatError;
use tinydb::internals::preamble::{FrameError, Preamble};

use super::hex::Named;
use super::object;
use super::shown::{Value, number};
use crate::text::escape;

/// The most bytes of a key or value on a line.
const MOST_SHOWN: usize = 64;

/// How a dump is written.
pub(super) enum Form {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
    /// Bytes with their names, in the order of the file; they are gathered first.
    Hex(Vec<Named>),
}

/// Where the lines go, and what was found wrong.
pub(super) struct Dump<W> {
    pub(super) out: W,
    pub(super) form: Form,
    /// Whether rows and operations are written.
    pub(super) with_rows: bool,
    is_full: bool,
    /// The structure whose fields come, and the chapter that tells of it.
    part: (String, &'static str),
    /// How many rules were found broken.
    pub(super) damage_count: u64,
}

impl<W: Write> Dump<W> {
    pub(super) const fn new(out: W, form: Form, with_rows: bool, is_full: bool) -> Self {
        Self { out, form, with_rows, is_full, part: (String::new(), ""), damage_count: 0 }
    }

    /// Begins a structure that stands at `at`, and that a chapter tells of.
    pub(super) fn title(&mut self, at: u64, title: &str, spec: &'static str) -> io::Result<()> {
        self.part = (title.to_owned(), spec);
        match &mut self.form {
            Form::Text => writeln!(self.out, "\n{at:>12}  {title}"),
            Form::Json => {
                writeln!(self.out, "{}", json!({ "part": title, "at": at, "spec": spec }))
            }
            Form::Hex(all) => {
                all.push(Named::title(at, title, spec));
                Ok(())
            }
        }
    }

    /// Writes a field.
    pub(super) fn field(
        &mut self,
        at: u64,
        len: usize,
        name: &str,
        value: &Value<'_>,
        meaning: &str,
    ) -> io::Result<()> {
        self.entry((at, len), name, value, meaning, &[])
    }

    /// As [`field`](Self::field), with numbers that belong to it and that the meaning tells of.
    pub(super) fn entry(
        &mut self,
        (at, len): (u64, usize),
        name: &str,
        value: &Value<'_>,
        meaning: &str,
        numbers: &[(&str, u64)],
    ) -> io::Result<()> {
        let text = self.text(value);
        match &mut self.form {
            Form::Text => {
                writeln!(self.out, "{at:>12} {len:>8}  {name:<22}{text:<22}  {meaning}")
            }
            Form::Json => {
                let mut object = object::field(value, numbers);
                let (part, spec) = &self.part;
                object.extend(object::of([("part", json!(part)), ("spec", json!(spec))]));
                object.extend(object::of([("at", json!(at)), ("len", json!(len))]));
                object.extend(object::of([("name", json!(name)), ("meaning", json!(meaning))]));
                writeln!(self.out, "{}", serde_json::Value::Object(object))
            }
            Form::Hex(all) => {
                all.push(Named::field(at, len, name, &text, meaning));
                Ok(())
            }
        }
    }

    /// Whether bytes are what is looked at, so that each is to have a name of its own.
    pub(super) const fn shows_bytes(&self) -> bool {
        matches!(self.form, Form::Hex(_))
    }

    /// Gives bytes a name that have no field; only those who look at bytes need it.
    pub(super) fn name_bytes(&mut self, at: u64, len: usize, name: &str) {
        if let Form::Hex(all) = &mut self.form {
            all.push(Named::field(at, len, name, "", ""));
        }
    }

    /// Notes that a structure which starts at `base` breaks a rule, and goes on.
    pub(super) fn damage(&mut self, base: u64, error: FormatError) -> io::Result<()> {
        self.damage_count += 1;
        self.wrong("DAMAGED", base.saturating_add(error.at()), &error.to_string(), Some(error))
    }

    /// As [`damage`](Self::damage), for a checksum that stands at or near `at`.
    pub(super) fn mismatch(&mut self, at: u64, what: &str) -> io::Result<()> {
        self.damage_count += 1;
        self.wrong("DAMAGED", at, &format!("{what} does not match"), None)
    }

    /// As [`damage`](Self::damage), if there is any.
    pub(super) fn check(&mut self, base: u64, result: Result<(), FormatError>) -> io::Result<()> {
        result.or_else(|error| self.damage(base, error).map(Ok)?)
    }

    /// As [`damage`](Self::damage), for a whole file.
    pub(super) fn file_damage(&mut self, error: FrameError) -> io::Result<()> {
        match error {
            FrameError::Broken(error) => self.damage(0, error),
            FrameError::Unsupported(what) => {
                self.damage_count += 1;
                self.wrong("UNSUPPORTED", 0, &format!("needs {what}"), None)
            }
        }
    }

    /// Says where a log stops being read, as a crash may leave it.
    pub(super) fn torn(&mut self, error: FormatError) -> io::Result<()> {
        self.wrong("", error.at(), &error.to_string(), Some(error))
    }

    /// Writes what is wrong at `at`; `word` says how bad that is.
    fn wrong(
        &mut self,
        word: &str,
        at: u64,
        what: &str,
        error: Option<FormatError>,
    ) -> io::Result<()> {
        let sign = if word.is_empty() { String::new() } else { format!("{word}: ") };
        match &mut self.form {
            Form::Text => writeln!(self.out, "{at:>12}  {sign}{what}"),
            Form::Json => {
                let word = if word.is_empty() { "torn" } else { &word.to_lowercase() };
                let rule = error.map(|error| error.rule().id);
                let line = json!({ "wrong": word, "at": at, "rule": rule, "meaning": what });
                writeln!(self.out, "{line}")
            }
            Form::Hex(all) => {
                all.push(Named::title(at, &format!("{sign}{what}"), ""));
                Ok(())
            }
        }
    }

    /// A value as text.
    fn text(&self, value: &Value<'_>) -> String {
        match value {
            Value::Nothing => String::new(),
            Value::Number(it) => number(*it),
            Value::Numbers(all) if all.iter().all(|number| *number == 0) => "zeros".to_owned(),
            Value::Numbers(all) => all.iter().map(|it| number(*it)).collect::<Vec<_>>().join(" "),
            Value::Fixed(bytes) if bytes.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
            Value::Fixed(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Value::Bytes(bytes) => self.quoted(bytes),
            Value::Row(key, value) => format!("{} {}", self.quoted(key), self.quoted(value)),
            Value::Range(start, end) => {
                let end =
                    end.map_or_else(|| "the end of all keys".to_owned(), |it| self.quoted(it));
                format!("{} to {end}", self.quoted(start))
            }
        }
    }

    /// A key or value as text in quotes, cut off if it is long.
    fn quoted(&self, bytes: &[u8]) -> String {
        let shown = if self.is_full { bytes } else { bytes.get(..MOST_SHOWN).unwrap_or(bytes) };
        let mut text = String::new();
        escape(&mut text, shown);
        match bytes.len() - shown.len() {
            0 => format!("\"{text}\""),
            more => format!("\"{text}\" and {more} bytes more"),
        }
    }
}

/// Writes a field for each field of a struct that lies in the file at `$base`. A field that is
/// neither given a meaning nor left out in `[…]` does not compile.
macro_rules! fields {
    ($dump:ident, $base:expr, $value:expr, $type:ident [$($left_out:ident),*] {
        $($field:ident: $meaning:expr;)+
    }) => {{
        let (base, $type { $($field,)+ $($left_out: _,)* }) = ($base, $value);
        $($dump.field(
            base + std::mem::offset_of!($type, $field) as u64,
            size_of_val($field),
            stringify!($field),
            &$crate::dump::shown::Shown::value($field),
            $meaning,
        )?;)+
    }};
}
pub(super) use fields;

/// Writes the fields that every file starts with.
pub(super) fn preamble<W: Write>(dump: &mut Dump<W>, preamble: &Preamble) -> io::Result<()> {
    fields!(dump, 0, preamble, Preamble [] {
        magic: "which kind of file it is";
        format_major: "a reader refuses any other";
        format_minor: "for information";
        features_required: "bits of what a reader must know";
        features_optional: "bits of what a reader may ignore";
    });
    Ok(())
}
