//! Bytes: every structure that TinyDB stores, as pure functions from and to `&[u8]`.
//!
//! Spec: `format-spec/`, a chapter a file. I/O: none. Unsafe: forbidden.

#![forbid(unsafe_code)]

pub mod checksum;
pub mod chunks;
pub mod data_block;
pub mod error;
pub mod file_name;
pub mod filter;
pub mod index;
pub mod log;
pub mod log_op;
pub mod manifest;
pub mod preamble;
pub mod range_tombstone;
pub mod range_tombstones;
pub mod row;
pub(crate) mod short_bytes;
pub mod table_file;
pub mod value_ref;
