//! TinyDB: an embedded key-value database whose reads come straight out of mapped files.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod error;
mod format;
mod options;
mod storage;
mod value;

pub use bytes::Bytes;
pub use options::{ChecksumPolicy, Durability, LogRecovery, ReadMode};
pub use value::Value;
