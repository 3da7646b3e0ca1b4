//! Manifests on disk: publishing a version, and finding the newest one.
//!
//! ```text
//!   publish       TMP-n: create, write, sync ─▶ rename to MANIFEST-n ─▶ sync the directory
//!   load_newest   MANIFEST with the largest number, or nothing
//! ```
//!
//! # Invariants
//!
//! - A manifest has its name only when it is whole and durable, so a crash never leaves a broken
//!   one: a broken newest manifest is damage, and nothing older is opened in its place.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `Storage`. Unsafe: none.

mod reader;
mod writer;

pub(crate) use reader::{load, load_newest};
pub(crate) use writer::publish;

#[cfg(test)]
mod tests;
