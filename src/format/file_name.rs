//! File names: which files of a directory are TinyDB's, and what they are.
//!
//! ```text
//!  LOCK             who has the database open
//!  LOG-000007       a log: what the memtables hold, in the order it was written
//!  MANIFEST-000042  a version: which tables form the tree
//!  TABLE-000012     a table: a sorted run, immutable
//!  TMP-000012       a file that is being written and will get one of the names above
//!  damaged/         a directory: where a repair puts what it could not use
//! ```
//!
//! # Invariants
//!
//! - A number has one spelling: six digits with leading zeros, or more digits without. So two
//!   names are never the same file, and `LOG-7` is a foreign file.
//! - A name holds no path separator, so joining it to a directory stays in that directory.
//!
//! Spec: `format-spec/01-files.md`. I/O: none. Unsafe: none.

use std::fmt;

use super::error::rules;

rules! {
    RULES:
    MANIFEST = "F1", "a directory that holds tables or logs holds a manifest";
    NEWEST = "F2", "no log was made under a newer manifest than the newest there is";
    CHAIN = "F3", "the log before a log is there, unless it is obsolete";
    SEQUENCE = "F4", "a record continues the seqnos of the tables and logs before it, without a gap";
}

/// The directory, inside that of the database, to which a repair moves what it could not use.
pub const DAMAGED_DIR: &str = "damaged";

/// The name of one of TinyDB's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileName {
    /// The lock file; it is never removed.
    Lock,
    /// A log.
    Log(u64),
    /// A manifest.
    Manifest(u64),
    /// A table.
    Table(u64),
    /// A file that is not finished.
    Tmp(u64),
}

impl FileName {
    /// The file with this name, or `None` if it is not one of TinyDB's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == "LOCK" {
            return Some(Self::Lock);
        }
        let (kind, digits) = name.split_once('-')?;
        let number = parse_number(digits)?;
        match kind {
            "LOG" => Some(Self::Log(number)),
            "MANIFEST" => Some(Self::Manifest(number)),
            "TABLE" => Some(Self::Table(number)),
            "TMP" => Some(Self::Tmp(number)),
            _ => None,
        }
    }

    /// The name that this file gets in [`DAMAGED_DIR`] if `taken` files of its name are there already:
    /// its own, then that with a number behind it.
    #[must_use]
    pub fn aside(self, taken: u32) -> String {
        if taken == 0 { self.to_string() } else { format!("{self}.{taken}") }
    }

    /// The number in the name; `None` for the lock file.
    #[must_use]
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Lock => None,
            Self::Log(number)
            | Self::Manifest(number)
            | Self::Table(number)
            | Self::Tmp(number) => Some(number),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => f.write_str("LOCK"),
            Self::Log(number) => write!(f, "LOG-{number:06}"),
            Self::Manifest(number) => write!(f, "MANIFEST-{number:06}"),
            Self::Table(number) => write!(f, "TABLE-{number:06}"),
            Self::Tmp(number) => write!(f, "TMP-{number:06}"),
        }
    }
}

/// A number in its one spelling: six digits, or more that do not start with a zero.
fn parse_number(digits: &str) -> Option<u64> {
    // `u64::from_str` accepts a plus sign, hence the check for digits.
    let spelled_once = digits.len() == 6 || (digits.len() > 6 && !digits.starts_with('0'));
    (spelled_once && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<FileName>) {
        assert_eq!(FileName::parse(text), want, "{text:?}");
        if let Some(name) = want {
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn every_name_has_one_spelling() {
        #[rustfmt::skip]
        let cases = [
            ("LOCK",                        Some(FileName::Lock)),
            ("LOG-000007",                  Some(FileName::Log(7))),
            ("MANIFEST-000042",             Some(FileName::Manifest(42))),
            ("TABLE-000012",                Some(FileName::Table(12))),
            ("TMP-000012",                  Some(FileName::Tmp(12))),
            ("LOG-000000",                  Some(FileName::Log(0))),
            ("LOG-999999",                  Some(FileName::Log(999_999))),
            ("LOG-1000000",                 Some(FileName::Log(1_000_000))),
            ("TABLE-18446744073709551615",  Some(FileName::Table(u64::MAX))),
            ("TABLE-18446744073709551616",  None), // one more than a u64 holds
            ("LOG-7",                       None), // too few digits
            ("LOG-00007",                   None),
            ("LOG-0000007",                 None), // too many zeros
            ("LOG-+00007",                  None), // a sign
            ("LOG--00007",                  None),
            ("LOG-00000a",                  None),
            ("LOG-٠٠٠",                     None), // six bytes, but no ASCII digits
            ("LOG-",                        None),
            ("LOG",                         None),
            ("LOCK-000001",                 None),
            ("lock",                        None),
            ("log-000007",                  None),
            ("LOG-000007 ",                 None),
            (" LOG-000007",                 None),
            ("LOG-000007.old",              None),
            ("LOG_000007",                  None),
            ("../LOG-000007",               None),
            ("-000007",                     None),
            ("",                            None),
        ];
        for (text, want) in cases {
            check(text, want);
        }
    }

    #[test]
    fn the_number_of_a_name_is_the_one_it_was_made_with() {
        for number in [0, 7, 999_999, 1_000_000, u64::MAX] {
            let names = [
                FileName::Log(number),
                FileName::Manifest(number),
                FileName::Table(number),
                FileName::Tmp(number),
            ];
            for name in names {
                assert_eq!(name.number(), Some(number));
                check(&name.to_string(), Some(name));
            }
        }
        assert_eq!(FileName::Lock.number(), None);
    }

    #[test]
    fn names_aside_are_all_different() {
        let name = FileName::Table(12);
        let names: Vec<_> = (0..3).map(|taken| name.aside(taken)).collect();
        assert_eq!(names, ["TABLE-000012", "TABLE-000012.1", "TABLE-000012.2"]);
        assert_eq!(FileName::parse(DAMAGED_DIR), None);
    }
}
