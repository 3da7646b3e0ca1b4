//! A lone table: one that is written outside of any database, where its user wants it.
//!
//! A table's writer asks a [`Storage`] for its files by the names that they have in a database. Here
//! the table has the user's path, and what is in the making lies beside it.
//!
//! # Invariants
//!
//! - A name that is taken stays as it is: nothing is replaced, nothing else is removed.
//! - Nothing is synced: such a file is read and checked as a whole before a database takes its rows,
//!   and is written into that database then.
//!
//! Spec: none. I/O: creates, reads, renames and removes files beside one path. Unsafe: none.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, entropy};
use super::{Listing, LockGuard, Memory, Region, Storage, StorageFile};
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::options::ReadMode;

/// Where one table is written.
#[derive(Debug)]
pub(crate) struct LoneFile {
    path: PathBuf,
    /// Part of the temporary names, so that what a crash left stands in nobody's way.
    draw: u64,
}

impl LoneFile {
    /// The table that shall have this path; creates nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] if something has that path.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        // A relative path is taken from where the process stands now, as that of a database.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let table = Self { path, draw: entropy() };
        table.check_free()?;
        Ok(table)
    }

    fn check_free(&self) -> Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Err(Error::AlreadyExists { path: self.path.clone() }),
            // Whatever else is wrong is told by who creates the file.
            Err(_) => Ok(()),
        }
    }

    fn unsupported(&self, op: &'static str) -> Error {
        Error::io(op, &self.path, ErrorKind::Unsupported.into())
    }
}

impl Storage for LoneFile {
    fn root(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn path(&self, name: FileName) -> PathBuf {
        let FileName::Tmp(number) = name else { return self.path.clone() };
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{:016x}-{number}.tmp", self.draw));
        path.into()
    }

    fn create_root(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self) -> Result<Option<Listing>> {
        Ok(None)
    }

    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>> {
        Ok(Box::new(Unsynced(DiskFile::create(self.path(name), 0o600)?)))
    }

    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region> {
        Disk::open_path(&self.path(name), mode)
    }

    fn rename(&self, from: FileName, to: FileName) -> Result<()> {
        // Somebody may have taken the name meanwhile.
        self.check_free()?;
        let from = self.path(from);
        fs::rename(&from, self.path(to)).map_err(|source| Error::io("rename", &from, source))
    }

    fn remove(&self, name: FileName) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))
    }

    fn set_aside(&self, name: FileName) -> Result<PathBuf> {
        // Whoever made the file decides about it; here is no directory of a database.
        Err(Error::io("set aside", &self.path(name), ErrorKind::Unsupported.into()))
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        Err(self.unsupported("lock"))
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }
}

/// A file that is written and never synced.
#[derive(Debug)]
struct Unsynced(DiskFile);

impl StorageFile for Unsynced {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_beside(path: &Path) -> usize {
        fs::read_dir(path.parent().unwrap()).unwrap().count()
    }

    #[test]
    fn a_table_appears_under_its_path_when_it_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a table");
        let lone = LoneFile::new(&path).unwrap();
        let mut file = lone.create(FileName::Tmp(0)).unwrap();
        file.write_all(b"rows", 0).unwrap();
        file.sync().unwrap();
        assert!(!path.exists() && file.path().starts_with(dir.path()));
        let region = lone.open_region(FileName::Tmp(0), ReadMode::Heap).unwrap();
        assert_eq!(&*region.read(0, 4).unwrap(), b"rows");
        lone.rename(FileName::Tmp(0), FileName::Table(0)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"rows");
        assert_eq!(names_beside(&path), 1);
    }

    #[test]
    fn what_has_the_path_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        let (early, late) = (LoneFile::new(&path).unwrap(), LoneFile::new(&path).unwrap());
        for lone in [&early, &late] {
            drop(lone.create(FileName::Tmp(0)).unwrap());
        }
        early.rename(FileName::Tmp(0), FileName::Table(0)).unwrap();
        let renamed = late.rename(FileName::Tmp(0), FileName::Table(0));
        assert!(matches!(renamed, Err(Error::AlreadyExists { path: at }) if at == path));
        late.remove(FileName::Tmp(0)).unwrap();
        assert!(matches!(LoneFile::new(&path), Err(Error::AlreadyExists { .. })));
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let dangling = LoneFile::new(&dir.path().join("link"));
        assert!(matches!(dangling, Err(Error::AlreadyExists { .. })));
        assert_eq!(names_beside(&path), 2);
    }

    #[test]
    fn a_lone_file_is_no_database() {
        let lone = LoneFile::new(Path::new("nowhere/table")).unwrap();
        assert_eq!(lone.list().unwrap(), None);
        assert!(matches!(lone.lock(), Err(Error::Io { op: "lock", .. })));
        assert!(matches!(lone.create(FileName::Tmp(0)), Err(Error::Io { op: "create", .. })));
    }
}
