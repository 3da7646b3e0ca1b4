//! The lines of a dump: a field with its offset, length, name, value and meaning.
//!
//! Spec: none. I/O: writes what it is given to write to. Unsafe: none.

use std::io::{self, Write};

use tinydb::FormatError;
use tinydb::internals::preamble::{FrameError, Preamble};

use crate::text::escape;

/// The most bytes of a key or value on a line.
const MOST_SHOWN: usize = 64;

/// Where the lines go, and what was found wrong.
pub(super) struct Dump<W> {
    pub(super) out: W,
    /// Whether rows and operations are written.
    pub(super) with_rows: bool,
    is_full: bool,
    /// How many rules were found broken.
    pub(super) damage_count: u64,
}

impl<W: Write> Dump<W> {
    pub(super) const fn new(out: W, with_rows: bool, is_full: bool) -> Self {
        Self { out, with_rows, is_full, damage_count: 0 }
    }

    /// Writes a line of its own.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Begins a structure that stands at `at`.
    pub(super) fn title(&mut self, at: u64, title: &str) -> io::Result<()> {
        writeln!(self.out, "\n{at:>12}  {title}")
    }

    /// Writes a field.
    pub(super) fn field(
        &mut self,
        at: u64,
        len: usize,
        name: &str,
        value: &str,
        meaning: &str,
    ) -> io::Result<()> {
        writeln!(self.out, "{at:>12} {len:>8}  {name:<22}{value:<22}  {meaning}")
    }

    /// Notes that a structure which starts at `base` breaks a rule, and goes on.
    pub(super) fn damage(&mut self, base: u64, error: FormatError) -> io::Result<()> {
        self.damage_count += 1;
        writeln!(self.out, "{:>12}  DAMAGED: {error}", base.saturating_add(error.at()))
    }

    /// As [`damage`](Self::damage), for a checksum that stands at or near `at`.
    pub(super) fn mismatch(&mut self, at: u64, what: &str) -> io::Result<()> {
        self.damage_count += 1;
        writeln!(self.out, "{at:>12}  DAMAGED: {what} does not match")
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
                writeln!(self.out, "{:>12}  UNSUPPORTED: needs {what}", 0)
            }
        }
    }

    /// A key or value as text in quotes, cut off if it is long.
    pub(super) fn quoted(&self, bytes: &[u8]) -> String {
        let shown = if self.is_full { bytes } else { bytes.get(..MOST_SHOWN).unwrap_or(bytes) };
        let mut text = String::new();
        escape(&mut text, shown);
        match bytes.len() - shown.len() {
            0 => format!("\"{text}\""),
            more => format!("\"{text}\" and {more} bytes more"),
        }
    }

    /// A range of keys: its start, and the first key behind it if there is one.
    pub(super) fn quoted_range(&self, start: &[u8], end: Option<&[u8]>) -> String {
        let end = end.map_or_else(|| "the end of all keys".to_owned(), |end| self.quoted(end));
        format!("{} to {end}", self.quoted(start))
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
            &$crate::dump::shown::Shown::shown($field),
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
