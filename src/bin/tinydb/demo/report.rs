//! What the demo prints: times and files.
//!
//! Spec: none. I/O: standard output; the names and lengths of files. Unsafe: none.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::HumanCount;

/// How long each kind of operation took.
#[derive(Default)]
pub(super) struct Timings(Vec<(&'static str, usize, Duration)>);

impl Timings {
    /// Runs `count` operations at once and notes their time.
    pub(super) fn measure<T>(
        &mut self,
        name: &'static str,
        count: usize,
        run: impl FnOnce() -> T,
    ) -> T {
        let start = Instant::now();
        let result = run();
        self.0.push((name, count, start.elapsed()));
        result
    }

    /// Prints a line for each kind.
    pub(super) fn print(&self) {
        println!("   {:<26}{:>10}{:>12}{:>14}", "operation", "rows", "time", "per row");
        for (name, count, time) in &self.0 {
            let each = time.as_nanos() / (*count).max(1) as u128;
            let (count, time) = (HumanCount(*count as u64).to_string(), format!("{time:.1?}"));
            println!("   {name:<26}{count:>10}{time:>12}{each:>11} ns");
        }
        println!();
    }
}

/// Prints the database's files with their lengths.
pub(super) fn print_files(dir: &Path, user_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files.push((entry.file_name(), entry.metadata()?.len()));
    }
    files.sort();
    println!("   {:<26}{:>10}", "file", "bytes");
    for (name, len) in &files {
        println!("   {:<26}{:>10}", name.display(), HumanCount(*len).to_string());
    }
    let total: u64 = files.iter().map(|(_, len)| len).sum();
    let percent = total * 100 / user_bytes.max(1);
    let total = HumanCount(total).to_string();
    println!("   {:<26}{total:>10}  {percent} % of keys and values\n", "all");
    Ok(())
}
