//! The back door: what fuzz targets, benches, `dump` and the spec's tests need to see.
//!
//! Not part of the API: it changes with any release. Re-exports only.
//!
//! Spec: none. I/O: none. Unsafe: none.

pub use crate::format::*;
#[cfg(feature = "mutants")]
pub use crate::mutants::{Mutant, SwitchedOn, switch_on};
pub use crate::options::FilterSize;
pub use crate::storage::*;
pub use crate::table::{TableInfo, TableSettings, TableWriter};
