//! Tables: sorted, immutable files, written once and read in place.
//!
//! ```text
//!   rows in order ─▶ TableWriter ─▶ file ─▶ Table ─▶ get: one row of one key
//!                                             └────▶ TableCursor: rows in order
//! ```
//!
//! A [`Table`] takes bytes, never a path: whoever opens the file hands over a `Region`. Opening
//! reads a few pages, whatever the size; checksums are verified piece by piece as they are touched,
//! and remembered.
//!
//! # Invariants
//!
//! - What a table returns comes from bytes whose checksum held, unless the policy is `Never`.
//! - A mapped table is read without a copy, an allocation, a lock or a shared write (but for the
//!   bit that remembers a verified block, once).
//!
//! Spec: `format-spec/03-table.md`. I/O: reads through a `Region`; the writer through `storage`.
//! Unsafe: none.

mod access;
mod cursor;
mod get;
mod heap;
mod lone;
mod open;
mod output;
mod placement;
mod reader;
mod salvage;
mod settings;
mod spool;
mod verified;
mod verify;
mod writer;

pub(crate) use cursor::{TableCursor, Walk};
pub(crate) use get::{Approached, Found, Probe, Row};
pub(crate) use lone::LoneTable;
pub(crate) use reader::Table;
pub(crate) use salvage::Salvage;
pub(crate) use settings::LONE_DATABASE;
pub use settings::{TableInfo, TableSettings};
pub use writer::TableWriter;

#[cfg(test)]
mod tests;
