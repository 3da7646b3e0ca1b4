//! Errors: everything that can go wrong in TinyDB, in one enum.
//!
//! Two layers. A decoder says which rule some bytes break ([`FormatError`]: small, no path); the
//! caller that knows the file turns it into [`Error::Corrupt`]. Absence is `None`, never an error.
//!
//! # Invariants
//!
//! - `Display` is one line without a full stop and does not repeat `source()`.
//! - Each variant says what its user can do.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::format::error::FormatError;
use crate::format::preamble::FrameError;

/// The result of most of TinyDB's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong in TinyDB.
///
/// One enum for the whole API: callers report it, or match the few variants they can act on.
/// It is `Clone`, because one failed sync may have to be reported to many waiting writers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    Io {
        /// What was attempted, as a verb: `"open"`, `"sync"`.
        op: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Bytes break a rule of `format-spec/`: a disk fault, or another program wrote to the file.
    /// Restore the file from a backup, or let [`Db::repair`](crate::Db::repair) make a database of what
    /// is whole.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// Which rule is broken.
        source: FormatError,
    },
    /// Another process, or another handle of this one, has the database open. Close it first.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as that process wrote it; empty if unknown.
        holder: String,
    },
    /// There is no database here, and `create_if_missing` is off.
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is here already, and it was asked that there be nothing.
    AlreadyExists {
        /// What exists.
        path: PathBuf,
    },
    /// The path is a file, or a directory that holds other things than a database. Nothing was
    /// changed.
    NotADatabase {
        /// What was opened.
        path: PathBuf,
        /// What was found there.
        reason: String,
    },
    /// The file is of a version, or uses a feature, that this build does not know. Use a newer
    /// build.
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What it needs.
        reason: String,
    },
    /// An argument or an option is out of its range. Nothing was done.
    InvalidArgument {
        /// Which, and what is allowed.
        reason: String,
    },
    /// A key is longer than 65,535 bytes. Nothing was written.
    KeyTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// A value is longer than 4 GiB − 1. Nothing was written.
    ValueTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The handle was opened read-only.
    ReadOnly,
    /// A write or sync to the log failed earlier, so what reached the disk is unknown. Reads go
    /// on; reopen the database to write again.
    Poisoned {
        /// What failed first.
        reason: String,
    },
    /// The merge operator failed on a key.
    Merge {
        /// The key.
        key: Vec<u8>,
        /// What the operator said.
        reason: String,
    },
    /// The key holds merge operands, and no merge operator is configured. Open with the operator
    /// that wrote them.
    NoMergeOperator {
        /// The key.
        key: Vec<u8>,
    },
    /// The database was closed.
    Closed,
}

impl Error {
    /// The error of a refused system call.
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { op, path: path.to_owned(), source: Arc::new(source) }
    }

    /// The error of a structure that starts at `base` in the file and breaks a rule.
    pub(crate) fn corrupt(path: &Path, base: u64, source: FormatError) -> Self {
        let offset = base.saturating_add(source.at());
        Self::Corrupt { path: path.to_owned(), offset, source }
    }

    /// The error of a file that breaks a rule or needs a newer build.
    pub(crate) fn frame(path: &Path, error: FrameError) -> Self {
        match error {
            FrameError::Broken(source) => Self::corrupt(path, 0, source),
            FrameError::Unsupported(unsupported) => {
                Self::UnsupportedFormat { path: path.to_owned(), reason: unsupported.to_string() }
            }
        }
    }

    /// The error of an argument out of range.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidArgument { reason: reason.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { op, path, .. } => write!(f, "could not {op} {}", path.display()),
            Self::Corrupt { path, offset, .. } => write!(
                f,
                "{} is damaged at offset {offset}; restore it from a backup, or repair the database",
                path.display()
            ),
            Self::Locked { path, holder } if holder.is_empty() => {
                write!(f, "the database is open elsewhere: {} is locked", path.display())
            }
            Self::Locked { path, holder } => {
                write!(
                    f,
                    "the database is open elsewhere: {} is locked by {holder}",
                    path.display()
                )
            }
            Self::NotFound { path } => write!(f, "there is no database at {}", path.display()),
            Self::AlreadyExists { path } => write!(f, "{} exists already", path.display()),
            Self::NotADatabase { path, reason } => {
                write!(f, "{} is not a TinyDB database: {reason}", path.display())
            }
            Self::UnsupportedFormat { path, reason } => {
                write!(f, "{} needs a newer TinyDB: {reason}", path.display())
            }
            Self::InvalidArgument { reason } => write!(f, "invalid argument: {reason}"),
            Self::KeyTooLarge { len } => {
                write!(f, "the key has {len} bytes; at most 65535 are allowed")
            }
            Self::ValueTooLarge { len } => {
                write!(f, "the value has {len} bytes; at most 4294967295 are allowed")
            }
            Self::ReadOnly => f.write_str("the database was opened read-only"),
            Self::Poisoned { reason } => write!(
                f,
                "writes are refused until the database is reopened, as a write to the log failed: \
                 {reason}"
            ),
            Self::Merge { key, reason } => {
                write!(f, "the merge operator failed on key \"{}\": {reason}", key.escape_ascii())
            }
            Self::NoMergeOperator { key } => write!(
                f,
                "key \"{}\" holds merge operands; open the database with its merge operator",
                key.escape_ascii()
            ),
            Self::Closed => f.write_str("the database is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source.as_ref()),
            Self::Corrupt { source, .. } => Some(source),
            _ => None,
        }
    }
}
