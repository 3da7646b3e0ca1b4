//! Cleaning up: removes files that no version needs.
//!
//! # Invariants
//!
//! - Only names that TinyDB itself makes are removed; foreign files are left alone.
//! - The manifest before the newest one stays, for repair.
//! - A removal that fails harms nothing: the file is tried again after the next flush or open.
//!
//! Spec: `format-spec/01-files.md`. I/O: through `storage`. Unsafe: none.

use super::{Engine, Publisher};
use crate::format::file_name::FileName;

impl Engine {
    /// Removes logs and manifests that the newest version made obsolete.
    pub(super) fn clean_up(&self, publisher: &Publisher) {
        self.remove_unless(|name| match name {
            FileName::Log(number) => number >= publisher.manifest.oldest_log,
            FileName::Manifest(number) => is_kept(publisher, number),
            FileName::Table(_) | FileName::Tmp(_) | FileName::Lock => true,
        });
    }

    /// Removes everything that is left of crashes and failures; only while nobody writes.
    pub(super) fn clean_up_after_recovery(&self, publisher: &Publisher, kept_logs: &[u64]) {
        let manifest = &publisher.manifest;
        self.remove_unless(|name| match name {
            FileName::Log(number) => kept_logs.contains(&number),
            FileName::Manifest(number) => is_kept(publisher, number),
            FileName::Table(number) => {
                manifest.tables.iter().any(|table| table.file_number == number)
            }
            FileName::Tmp(_) => false,
            FileName::Lock => true,
        });
    }

    fn remove_unless(&self, keep: impl Fn(FileName) -> bool) {
        let Ok(Some(listing)) = self.storage.list() else { return };
        for name in listing.files {
            if !keep(name) {
                let _ = self.storage.remove(name);
            }
        }
    }
}

fn is_kept(publisher: &Publisher, number: u64) -> bool {
    number == publisher.manifest.manifest_number || Some(number) == publisher.previous_manifest
}
