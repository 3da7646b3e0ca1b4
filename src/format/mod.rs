//! Bytes: every structure that TinyDB stores, as pure functions from and to `&[u8]`.
//!
//! Spec: `format-spec/`, a chapter a file. I/O: none. Unsafe: forbidden.

#![forbid(unsafe_code)]

pub mod checksum;
pub mod error;
pub mod file_name;
pub mod log_op;
pub mod row;
