//! Broken rules: what a decoder says when bytes are not what `format-spec/` promises.
//!
//! Each chapter of the spec numbers the rules that a reader must check. The decoder of that
//! chapter declares the same rules with `rules!`, and a test compares the two lists, so an
//! error message, a test and the spec always speak of the same thing.
//!
//! # Invariants
//!
//! - A [`FormatError`] is small, `Copy` and knows no path: whoever knows the file adds it.
//!
//! Spec: `format-spec/README.md`. I/O: none. Unsafe: none.

use std::fmt;

/// One numbered rule of `format-spec/`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The number that the spec gives it, such as `"B1"`.
    pub id: &'static str,
    /// What must hold, as a sentence without a full stop.
    pub text: &'static str,
}

impl Rule {
    /// The error of a structure that breaks this rule `at` bytes after its start.
    #[must_use]
    pub const fn broken(&'static self, at: u64) -> FormatError {
        FormatError { rule: self, at, values: None }
    }

    /// As [`Rule::broken`], with the number that was expected and the one found.
    #[must_use]
    pub const fn found(&'static self, at: u64, expected: u64, found: u64) -> FormatError {
        FormatError { rule: self, at, values: Some((expected, found)) }
    }
}

/// Which rule of `format-spec/` some bytes break, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatError {
    rule: &'static Rule,
    at: u64,
    values: Option<(u64, u64)>,
}

impl FormatError {
    /// The rule that is broken.
    #[must_use]
    pub const fn rule(&self) -> &'static Rule {
        self.rule
    }

    /// Where it is broken, in bytes from the start of the structure that was parsed.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// The same error, seen from the start of a structure in which this one starts at `base`.
    #[must_use]
    pub const fn moved(self, base: u64) -> Self {
        Self { at: base.saturating_add(self.at), ..self }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} of format-spec is broken: {}", self.rule.id, self.rule.text)?;
        match self.values {
            Some((expected, found)) => write!(f, " (expected {expected:#x}, found {found:#x})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FormatError {}

/// Declares the rules of one chapter of the spec, and the list of them.
///
/// `rules! { LIST: NAME = "B1", "text"; … }` makes a `pub static NAME: Rule` for each and
/// `pub(crate) static LIST: &[&Rule]`.
macro_rules! rules {
    ($list:ident: $($name:ident = $id:literal, $text:literal;)+) => {
        $(
            #[doc = concat!("Rule ", $id, ": ", $text, ".")]
            pub static $name: $crate::format::error::Rule =
                $crate::format::error::Rule { id: $id, text: $text };
        )+
        /// The rules of this chapter, in the spec's order.
        pub static $list: &[&$crate::format::error::Rule] = &[$(&$name),+];
    };
}
pub(crate) use rules;
