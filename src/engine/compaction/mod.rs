//! Compaction: a tree that keeps itself in shape for its readers.
//!
//! A flush adds a sorted run to level 0. Merging runs makes them fewer, and drops what newer rows
//! hide; each merge costs writing. What to merge, and when, is decided apart from doing it.
//!
//! ```text
//!   Shape (tables of a version) ─┐
//!   Policy (options) ────────────┼─▶ pick ─▶ Plan: these tables become new ones on that level
//!   Situation (jobs, quiet) ─────┘    │
//!                                     ├─ deleted.rs   ranges that were deleted: tables in them
//!                                     ├─ quiet.rs     writes rest: the fewest runs, if cheap
//!                                     ├─ leveled.rs   by score: level 0's tables, levels' sizes
//!                                     └─ tiered.rs    runs of like size, as in SlateDB
//!
//!   Plan ─▶ schedule.rs: its tables are taken ─▶ job.rs: merge, `retention`, check ─▶ new version
//! ```
//!
//! Tables that come from outside are put where the plans would bring them (`places.rs`).
//!
//! # Invariants
//!
//! - Picking is a pure function: no lock, no clock, no file; what it reads, it is given.
//! - A plan never brings an old version of a key above a newer one, nor two tables of a level over
//!   each other, also while other jobs run.
//! - Each plan takes a table out of a level into a deeper one, or rids one of what was deleted, so
//!   that plans come to an end.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through jobs. Unsafe: none.

mod calls;
mod deleted;
mod job;
mod leveled;
mod meter;
#[cfg(test)]
mod model;
mod picker;
mod places;
mod quiet;
mod schedule;
mod selection;
mod shape;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod tiered;

pub(super) use deleted::{Covered, covered_of};
pub(crate) use meter::ReadMeter;
pub(super) use schedule::{Claim, Compactions};
