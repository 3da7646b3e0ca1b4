//! Publishing: a new version becomes the one on disk, then the one that readers see.
//!
//! ```text
//!   tables are durable ─▶ manifest: temp, sync, rename, sync directory ─▶ install ─▶ clean up
//! ```
//!
//! # Invariants
//!
//! - Versions follow each other: each edit is made to the newest version, under the publisher's
//!   lock, so a flush and any number of compactions never lose each other's tables.
//! - If it can't be known whether a manifest was published, all writes end until a reopen, and the
//!   tables that it may name stay.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `storage`. Unsafe: none.

use std::sync::Arc;

use super::version::TableHandle;
use super::{Engine, Publisher, lock};
use crate::error::Result;
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, TableRecord};
use crate::manifest;
use crate::sync::atomic::Ordering;

/// How a version differs from the one before.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// Files whose tables leave the version.
    pub(super) removed: Vec<u64>,
    /// Tables that join it.
    pub(super) added: Vec<Arc<TableHandle>>,
    /// The number of a log whose memtable is in `added`.
    pub(super) flushed_log: Option<u64>,
    /// The largest seqno in `added`.
    pub(super) last_seqno: u64,
}

impl Engine {
    /// Makes an edit to the newest version, on disk and for readers.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Poisoned`](crate::Error::Poisoned) or
    /// `Io`; nothing has changed then, unless the database is poisoned.
    pub(super) fn publish_edit(&self, publisher: &mut Publisher, edit: Edit) -> Result<()> {
        // A close that has ended gave the lock away: nothing may be written after it.
        self.check_open()?;
        self.check_poison()?;
        let before = &publisher.manifest;
        let stays = |table: &&TableRecord| !edit.removed.contains(&table.file_number);
        let tables = before.tables.iter().filter(stays);
        let added = edit.added.iter().map(|handle| &handle.record);
        let needed_from = edit.flushed_log.map_or(before.oldest_log, |log| log.saturating_add(1));
        let data = ManifestData {
            manifest_number: self.take_file_number(),
            last_seqno: before.last_seqno.max(edit.last_seqno),
            oldest_log: mutant!(KeepFlushedLog, before.oldest_log, else needed_from),
            next_file_number: self.next_file_number.load(Ordering::Relaxed),
            tables: tables.chain(added).cloned().collect(),
            ..before.clone()
        };
        self.publish(publisher, data)?;
        self.install_edit(edit);
        self.review_access();
        self.clean_up(publisher);
        Ok(())
    }

    /// Makes `data` the newest version on disk.
    pub(super) fn publish(&self, publisher: &mut Publisher, data: ManifestData) -> Result<()> {
        if let Err(failed) = manifest::publish(&*self.storage, &data) {
            if failed.rename_began {
                // Whether the new version is the newest one after a crash can't be known.
                self.poison(&failed.error);
            }
            return Err(failed.error);
        }
        publisher.previous_manifest = Some(publisher.manifest.manifest_number);
        self.manifest_number.store(data.manifest_number, Ordering::Release);
        publisher.manifest = data;
        Ok(())
    }

    fn install_edit(&self, edit: Edit) {
        if let Some(number) = edit.flushed_log {
            // The log is obsolete now: nobody needs to sync it any more.
            lock(&self.older_logs).retain(|log| log.number() != number);
        }
        let mut tree = lock(&self.tree);
        if edit.flushed_log.is_some() {
            tree.frozen.pop_front();
        }
        let old = self.view.load();
        let kept: Vec<u64> = edit.added.iter().map(|handle| handle.record.file_number).collect();
        let version = Arc::new(old.version.edited(&edit.removed, edit.added));
        self.install(&tree, Arc::clone(&old.active), version);
        drop(tree);
        // Made now, not when the next plan is picked, which holds that lock. Who needs the list is
        // told if it can't be made.
        let _ = self.view.load().version.range_tombstones();
        // Readers of older versions have these files mapped or open: only the names go.
        for number in edit.removed.into_iter().filter(|number| !kept.contains(number)) {
            // A file that can't be removed is removed when the database is opened next.
            let _ = self.storage.remove(FileName::Table(number));
        }
    }

    /// The handle of a table of this database.
    pub(super) fn handle_of(&self, record: TableRecord) -> Arc<TableHandle> {
        let (mode, checksums) = (self.options.read_mode, self.options.checksums);
        let (storage, access) = (Arc::clone(&self.storage), Arc::clone(&self.access));
        Arc::new(TableHandle::new(record, storage, mode, checksums, access))
    }
}
