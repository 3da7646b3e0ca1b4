//! What a repair tells: what was kept, what was set aside, what is lost or in doubt.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::path::{Path, PathBuf};

/// What [`Db::repair`](crate::Db::repair) found and did.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    pub(super) manifest: Option<PathBuf>,
    pub(super) source: Option<PathBuf>,
    pub(super) last_seqno: u64,
    pub(super) kept: Vec<KeptFile>,
    pub(super) set_aside: Vec<SetAside>,
    pub(super) losses: Vec<Finding>,
    pub(super) doubts: Vec<Finding>,
}

impl RepairReport {
    /// Whether nothing was wrong: then nothing was changed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.manifest.is_none() && self.set_aside.is_empty()
    }

    /// Whether nothing is known to be lost, nor in doubt.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.losses.is_empty() && self.doubts.is_empty()
    }

    /// The manifest that was written; `None` if none had to be.
    #[must_use]
    pub fn manifest(&self) -> Option<&Path> {
        self.manifest.as_deref()
    }

    /// The manifest that said which tables form the database; `None` if none was readable, so that
    /// all tables were taken.
    #[must_use]
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// The largest seqno that the database knows of: a write after the repair gets a larger one.
    #[must_use]
    pub fn last_seqno(&self) -> u64 {
        self.last_seqno
    }

    /// The tables that form the database now, the newest rows first, then the logs that it needs.
    #[must_use]
    pub fn kept(&self) -> &[KeptFile] {
        &self.kept
    }

    /// What was moved into `damaged/`, and why.
    #[must_use]
    pub fn set_aside(&self) -> &[SetAside] {
        &self.set_aside
    }

    /// What is lost, as far as it is known.
    #[must_use]
    pub fn losses(&self) -> &[Finding] {
        &self.losses
    }

    /// What may be wrong now, and can't be told from what is there.
    #[must_use]
    pub fn doubts(&self) -> &[Finding] {
        &self.doubts
    }
}

/// A file that the database consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptFile {
    /// The file.
    pub path: PathBuf,
    /// The level of a table; `None` for a log.
    pub level: Option<u32>,
    /// Rows of a table: every version of every key; batches of a log.
    pub count: u64,
    /// Whether the repair wrote it, of what logs and damaged tables hold.
    pub is_new: bool,
}

/// A file that was moved into `damaged/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// Where it was.
    pub path: PathBuf,
    /// Where it is.
    pub moved_to: PathBuf,
    /// What is wrong with it stands here, in bytes from the start of the file.
    pub offset: u64,
    /// Which rule is broken, or why else it was not used, as a sentence.
    pub rule: String,
}

/// Something that is lost or in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file that it is about.
    pub path: PathBuf,
    /// What is so, as a sentence without a full stop.
    pub text: String,
}
