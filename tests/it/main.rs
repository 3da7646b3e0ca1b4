//! TinyDB from the outside: one binary, so that it links once.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make, break and read files themselves"
)]

mod api;
mod background;
#[cfg(feature = "cli")]
mod cli;
mod comeback;
mod compaction;
mod corruption;
mod counters;
mod crash;
mod filtered;
mod gate;
#[cfg(unix)]
mod kill;
mod model;
#[cfg(feature = "mutants")]
mod mutants;
#[cfg(target_os = "linux")]
mod power;
mod python;
mod recovery;
#[cfg(target_os = "linux")]
mod refused;
mod repair;
#[cfg(target_os = "linux")]
mod sigbus;
mod spec;
mod sums;
mod support;
mod tidy;
mod vectors;
mod workload;
