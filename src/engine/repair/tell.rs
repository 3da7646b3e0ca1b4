//! What a choice of tables leaves to tell: losses, and doubts.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::BTreeMap;

use super::choose::{Chooser, Named, may_replace};
use super::report::Finding;
use super::rescue::Remains;
use super::survey::Found;
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, TableRecord};

/// What comes of lost rows.
pub(super) const AGAIN: &str =
    "where an older value of such a key is left, it shows again, also if it was deleted";

impl Chooser<'_> {
    /// Tells what is lost with damaged tables, of which a manifest names these.
    pub(super) fn tell_remains(&mut self, named: &[TableRecord]) {
        for (number, remains) in self.remains {
            let path = self.storage.path(FileName::Table(*number));
            let record = named.iter().find(|record| record.file_number == *number);
            match (remains, record, &self.survey.manifest) {
                (Remains::Unneeded, ..) => {}
                (Remains::Rescued(rescued), ..) => {
                    let loss = rescued.loss().map(|text| Finding { path, text });
                    self.choice.losses.extend(loss);
                }
                (Remains::Nothing, Some(record), _) => {
                    let text = format!("is damaged; {} are lost: {AGAIN}", describe(record));
                    self.choice.losses.push(Finding { path, text });
                }
                (Remains::Nothing, None, Some(manifest)) => {
                    let name = FileName::Manifest(manifest.manifest_number);
                    let text = format!(
                        "is damaged; {name} does not name it, but if a newer one did, what it held is \
                         lost"
                    );
                    self.choice.doubts.push(Finding { path, text });
                }
                (Remains::Nothing, None, None) => {
                    let text = format!("is damaged; what it held is lost: {AGAIN}");
                    self.choice.losses.push(Finding { path, text });
                }
            }
        }
    }

    /// Tells what is lost with tables that a manifest names, and that are not there.
    pub(super) fn tell_missing(&mut self, named: &Named<'_>, added: &[&Found]) {
        let kept = || named.whole.iter().map(|(found, _)| found).chain(added);
        for record in &named.missing {
            let later = added.iter().filter(|found| may_replace(found, record));
            let later = later.map(|found| FileName::Table(found.record.file_number).to_string());
            let later = later.collect::<Vec<_>>().join(", ");
            let (held, path) =
                (describe(record), self.storage.path(FileName::Table(record.file_number)));
            if !later.is_empty() {
                let text =
                    format!("is missing; it held {held}, and is taken for merged into {later}");
                self.choice.doubts.push(Finding { path, text });
            } else if !kept().any(|found| found.deletes_all_of(record)) {
                let text = format!("is missing; {held} are lost: {AGAIN}");
                self.choice.losses.push(Finding { path, text });
            }
        }
    }

    /// A table of writes that the manifest does not know, when nothing says that there was a newer one,
    /// may come of a flush that was not finished.
    pub(super) fn doubt_flushes(&mut self, manifest: &ManifestData, newer: &[&Found]) {
        let name = FileName::Manifest(manifest.manifest_number);
        let text = format!(
            "holds writes that {name} does not know of, and no log holds them: if the flush that wrote \
             it was not finished, others of the same batches may be missing"
        );
        for found in newer.iter().filter(|_| !self.survey.lacks_newer) {
            let path = self.storage.path(FileName::Table(found.record.file_number));
            self.choice.doubts.push(Finding { path, text: text.clone() });
        }
    }

    /// Tables of an ingest are left over if no file shows that it was finished; a manifest did, if it was.
    pub(super) fn doubt_ingests(&mut self, unfinished: &[&Found]) {
        let text = "holds rows of an ingest; no file shows that it was finished, and so none of its rows is \
                    taken: if a manifest that is lost named them, they are lost";
        for found in unfinished {
            let path = self.storage.path(FileName::Table(found.record.file_number));
            self.choice.doubts.push(Finding { path, text: text.to_owned() });
        }
    }

    /// There was a newer manifest, and no file shows what it changed.
    pub(super) fn doubt_newer(&mut self, manifest: &ManifestData) {
        let path = self.storage.path(FileName::Manifest(manifest.manifest_number));
        let text = "is not the newest, and nothing shows what the newer one changed: it may have moved \
                    tables, or named some that are missing now";
        self.choice.doubts.push(Finding { path, text: text.to_owned() });
    }

    /// A copy may stand in the place of another table.
    pub(super) fn doubt_copy(&mut self, found: &Found, rule: &str) {
        let path = self.storage.path(FileName::Table(found.record.file_number));
        let text = format!("{rule}: what stood under this name is lost, if anything did");
        self.choice.doubts.push(Finding { path, text });
    }

    /// A table whose rows are newer is usually made later. If it is not, a merge ran meanwhile; or it
    /// was an input of that merge and should not be there.
    pub(super) fn doubt_numbers(&mut self) {
        // What was rescued has a number that says nothing of its rows.
        let is_found = |table: &&TableRecord| self.survey.tables.contains_key(&table.file_number);
        let tables: Vec<&TableRecord> = self.choice.tables.iter().filter(is_found).collect();
        let mut pairs = Vec::new();
        for newer in &tables {
            let is_odd = |older: &&&TableRecord| {
                newer.min_seqno > older.max_seqno
                    && newer.file_number < older.file_number
                    && newer.smallest <= older.largest
                    && older.smallest <= newer.largest
            };
            let older = tables.iter().filter(is_odd);
            pairs.extend(older.map(|older| (newer.file_number, older.file_number)));
        }
        self.doubt(&pairs, "holds newer rows than, but was made before,");
    }

    /// Names the tables of which one may have been left behind by a merge.
    pub(super) fn doubt(&mut self, pairs: &[(u64, u64)], what: &str) {
        let mut others: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (table, other) in pairs {
            others.entry(*table).or_default().push(FileName::Table(*other).to_string());
        }
        for (table, others) in others {
            let text = format!(
                "{what} {}: if a merge of one of them was not finished, or not cleaned up, merged \
                 values may count twice and deleted rows may be back",
                others.join(", ")
            );
            let path = self.storage.path(FileName::Table(table));
            self.choice.doubts.push(Finding { path, text });
        }
    }
}

/// What a table held, in words.
fn describe(record: &TableRecord) -> String {
    let tombstones = match record.range_tombstone_count {
        0 => String::new(),
        count => format!(", and {count} deleted ranges,"),
    };
    format!(
        "{} rows with keys \"{}\" to \"{}\" and seqnos {} to {}{tombstones}",
        record.row_count,
        record.smallest.escape_ascii(),
        record.largest.escape_ascii(),
        record.min_seqno,
        record.max_seqno
    )
}
