//! The write-ahead log: a write is in a log before it is in a memtable.
//!
//! ```text
//!   LogWriter   create ─▶ append … sync … append … sync … ─▶ seal
//!                         └ any number of batches at once: group commit
//!   read_log    the whole records, in order, then how the log ends
//! ```
//!
//! A log belongs to one memtable. When that is full the log is sealed and the next one begins;
//! when the memtable has become a table, a manifest makes the log obsolete.
//!
//! # Invariants
//!
//! - Nothing is appended behind a write or sync that failed: what reached the file is unknown.
//! - A log is never written again once its writer is gone. What recovery reads from it goes to
//!   new files, so the place where a log was torn stays its end.
//!
//! Spec: `format-spec/07-log.md`. I/O: through `Storage`. Unsafe: none.

mod reader;
mod writer;

pub(crate) use reader::{LogSummary, read_log};
pub(crate) use writer::{LogWriter, RecordParts};

#[cfg(test)]
mod tests;
