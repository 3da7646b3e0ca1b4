//! TinyDB: an embedded key-value database whose reads come straight out of mapped files.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests make files, threads and times themselves"
    )
)]

#[macro_use]
mod mutants;

mod batch;
mod cpu;
mod cursor;
mod db;
mod engine;
mod error;
mod format;
mod hooks;
#[doc(hidden)]
pub mod internals;
mod iter;
mod manifest;
mod memtable;
pub mod merge;
mod options;
mod range;
mod range_tombstones;
mod snapshot;
mod storage;
mod sync;
mod table;
mod table_writer;
mod value;
mod wal;

pub use batch::WriteBatch;
pub use bytes::Bytes;
pub use db::Db;
pub use engine::{
    AccessReason, AccessStats, Finding, HookStats, JobStats, KeptFile, LevelStats, Problem,
    RecoveryStats, RepairReport, RunningJob, SetAside, Stats, VerifyReport, WriteStats,
};
pub use error::{Error, FormatError, Result};
pub use hooks::{Clock, CompactionFilter, Decision, MergeError, MergeOperator};
pub use iter::{Cursor, Entry, Iter, KeyCursor};
pub use options::{
    Access, ChecksumPolicy, CompactionStyle, Durability, LogRecovery, Options, ReadMode,
};
pub use range::KeyRange;
pub use snapshot::Snapshot;
pub use table_writer::{TableInfo, TableWriter};
pub use value::Value;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
