//! The check of every byte that the newest version needs.
//!
//! Spec: `format-spec/`, every rule. I/O: reads through `storage`. Unsafe: none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::version::TableHandle;
use super::{Engine, lock};
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::{RANGE_TOMBSTONES, TABLE};
use crate::manifest;
use crate::options::ChecksumPolicy;
use crate::storage::Region;
use crate::table::Table;
use crate::wal::read_log;

/// What [`Db::verify`](crate::Db::verify) found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    problems: Vec<Problem>,
    file_count: u64,
    byte_count: u64,
}

impl VerifyReport {
    /// Whether everything is as `format-spec/` says.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong: the first broken rule of each damaged file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many files were read.
    #[must_use]
    pub fn file_count(&self) -> u64 {
        self.file_count
    }

    /// How many bytes were read.
    #[must_use]
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Keeps what the check of a file found.
    fn note(&mut self, path: &Path, checked: Result<u64>) {
        self.file_count += 1;
        let problem = match checked {
            Ok(len) => {
                self.byte_count += len;
                return;
            }
            Err(error) => Problem::of(path, &error),
        };
        self.problems.push(problem);
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Where, in bytes from the start of the file.
    pub offset: u64,
    /// Which rule is broken, as a sentence.
    pub rule: String,
}

impl Problem {
    /// What an error says of a file.
    pub(super) fn of(path: &Path, error: &Error) -> Self {
        if let Error::Corrupt { path, offset, source } = error {
            return Self { path: path.clone(), offset: *offset, rule: source.to_string() };
        }
        let source = std::error::Error::source(error);
        let cause = source.map(|source| format!(": {source}")).unwrap_or_default();
        Self { path: path.to_owned(), offset: 0, rule: format!("{error}{cause}") }
    }
}

impl Engine {
    /// Reads and checks every file that the newest version needs.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; `Io` if the directory can't be listed. Damage is in the report.
    pub(crate) fn verify(&self) -> Result<VerifyReport> {
        self.check_open()?;
        // While these locks are held no log grows, and no flush removes one or publishes a
        // manifest: so a file that is not whole is damaged, not in the making.
        let writer = lock(&self.writer);
        let publisher = lock(&self.publisher);
        let mut report = VerifyReport::default();
        let number = publisher.manifest.manifest_number;
        let checked = manifest::load(&*self.storage, number).map(|_| 0);
        report.note(&self.storage.path(FileName::Manifest(number)), checked);
        if let Some(number) = publisher.previous_manifest {
            // Nothing needs it but a repair: it may be gone.
            let name = FileName::Manifest(number);
            let listing = self.storage.list()?.unwrap_or_default();
            if listing.files.contains(&name) {
                let checked = manifest::load(&*self.storage, number).map(|_| 0);
                report.note(&self.storage.path(name), checked);
            }
        }
        let view = self.view.load_full();
        for handle in view.version.tables() {
            let path = self.storage.path(FileName::Table(handle.record.file_number));
            report.note(&path, self.verify_table(handle));
        }
        let listing = self.storage.list()?.unwrap_or_default();
        for name in listing.files {
            let FileName::Log(number) = name else { continue };
            if number < publisher.manifest.oldest_log {
                continue;
            }
            let read = read_log(&*self.storage, self.database_id, number, |_| Ok(()));
            let checked = read.and_then(|summary| match summary.damage() {
                Some(damage) => Err(damage),
                None => Ok(summary.file_len),
            });
            report.note(&self.storage.path(name), checked);
        }
        drop((publisher, writer));
        Ok(report)
    }

    /// Reads and checks every table of the newest version.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] by the first broken rule; `Io`.
    pub(super) fn verify_tables(&self) -> Result<()> {
        let view = self.view.load_full();
        view.version.tables().iter().try_for_each(|handle| self.verify_table(handle).map(drop))
    }

    fn verify_table(&self, handle: &Arc<TableHandle>) -> Result<u64> {
        let name = FileName::Table(handle.record.file_number);
        let region = self.storage.open_region(name, self.options.read_mode)?;
        verify_region(region, handle, self.options.checksums)
    }
}

/// Opens a table anew, so that nothing is taken on trust, and checks all of it.
fn verify_region(region: Region, handle: &Arc<TableHandle>, policy: ChecksumPolicy) -> Result<u64> {
    let len = region.len();
    let path = region.path().to_owned();
    let table = Table::open(region, policy)?;
    table.verify()?;
    let expected = &handle.record;
    let found = (table.file_id(), len, table.file_checksum()?);
    if found != (expected.file_id, expected.file_len, expected.checksum) {
        let error = TABLE.broken(0);
        return Err(Error::corrupt(&path, 0, error));
    }
    let (expected, found) = (expected.range_tombstone_count, table.range_tombstone_count());
    if found != expected {
        return Err(Error::corrupt(&path, 0, RANGE_TOMBSTONES.found(0, expected, found)));
    }
    Ok(len)
}
