//! Storage: the dozen file operations that TinyDB needs, and nothing else.
//!
//! Every system call of the engine goes through [`Storage`]. There are three of them: [`Disk`], the
//! real one; [`LoneFile`], which holds one table outside of any database; and [`SimDisk`], one in
//! memory that can lose power at any call. The trait is used per file and per batch, never per key:
//! readers hold a [`Region`], which is plain bytes.
//!
//! ```text
//!   engine, wal, table, manifest
//!        │ create · write_at · sync · rename · remove · list · lock ·    │ open_region
//!        │ set_aside                                                     │
//!        ▼                                                               ▼
//!   dyn Storage ┬─ Disk: std::fs                              Region: a map, or reads on request
//!               ├─ LoneFile: one file of std::fs
//!               └─ SimDisk: live, durable and pending bytes
//! ```
//!
//! # Invariants
//!
//! - A finished file is immutable: it is written under a temporary name, synced, renamed, and
//!   its directory is synced; only a log grows under its own name.
//! - Names come from [`FileName`] alone, so nothing outside the database's directory is touched,
//!   and a file with a foreign name is never opened nor removed; but for a table that the caller
//!   names by its path.
//! - A name that was there when the sync of the directory failed is never called durable.
//! - An error names what was attempted and on which path.
//!
//! Spec: `format-spec/01-files.md`. I/O: all of it. Unsafe: `mmap.rs`, `guard.rs`, `arena.rs`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the room of system calls and maps"
)]

use std::fmt::Debug;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::options::ReadMode;

mod arena;
mod disk;
mod guard;
mod lone_file;
mod memory;
mod mmap;
mod region;
mod session;
mod sim;

pub(crate) use arena::{APPEND_ALIGN, Appender, Chunk, HUGE_LEN, LINE_LEN, Pages, Zeroed};
pub use disk::Disk;
pub(crate) use lone_file::LoneFile;
pub use memory::Memory;
pub use region::{Region, Slice};
pub(crate) use session::Session;
pub use sim::{CrashMode, Fault, SimDisk};

/// What stands in a database's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// TinyDB's own files, sorted.
    pub files: Vec<FileName>,
    /// The names of everything else, sorted; never opened, never removed.
    pub foreign: Vec<String>,
}

/// The file operations of one database directory.
pub trait Storage: Debug + Send + Sync + 'static {
    /// The directory, for error messages.
    fn root(&self) -> &Path;

    /// The path of a file of this directory, for error messages.
    fn path(&self, name: FileName) -> PathBuf {
        self.root().join(name.to_string())
    }

    /// Makes the directory and its missing parents, durably; fine if it exists.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`] if something else has the name,
    /// [`Error::Io`] if the system refuses.
    fn create_root(&self) -> Result<()>;

    /// Lists the directory; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`] if the path is not a directory,
    /// [`Error::Io`] if the system refuses.
    fn list(&self) -> Result<Option<Listing>>;

    /// Creates a file that must not exist yet, for writing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it exists or the system refuses.
    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>>;

    /// Opens a whole finished file for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it is missing, not a regular file, or the system refuses.
    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region>;

    /// Gives a file another name, replacing what had it, in one step.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; whether it took place is then unknown.
    fn rename(&self, from: FileName, to: FileName) -> Result<()>;

    /// Removes a name; maps of the file stay readable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it is missing or the system refuses.
    fn remove(&self, name: FileName) -> Result<()>;

    /// Moves a file into the directory [`DAMAGED_DIR`](crate::format::file_name::DAMAGED_DIR), which
    /// is made if need be, and gives the path it has there. Durable on return, with every earlier
    /// create, rename and remove. What is there already stays: the file gets another name then.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; whether it took place is then unknown.
    fn set_aside(&self, name: FileName) -> Result<PathBuf>;

    /// Makes every earlier create, rename and remove durable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; which of them are durable is then unknown.
    fn sync_dir(&self) -> Result<()>;

    /// Makes these names durable, and as a rule all others.
    ///
    /// # Errors
    ///
    /// As [`sync_dir`](Self::sync_dir); also if one of them was there when an earlier sync failed.
    fn sync_names(&self, names: &[FileName]) -> Result<()> {
        let _ = names;
        self.sync_dir()
    }

    /// Takes the directory's lock until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if somebody has it.
    fn lock(&self) -> Result<Box<dyn LockGuard>>;

    /// A number that nobody can predict, for identities and hash seeds.
    fn entropy(&self) -> u64;

    /// How much memory what is read from here may fill.
    fn memory(&self) -> Memory;
}

/// A file that is being written.
pub trait StorageFile: Debug + Send + 'static {
    /// Writes some of `bytes` at `offset` and returns how many: it may be fewer than all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; what reached the file is then unknown.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize>;

    /// Writes all of `bytes` at `offset`, in as many calls as it takes.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    fn write_all(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        mutant!(TakeShortWrites, return self.write_at(bytes, offset).map(drop));
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write_at(rest, offset + done as u64)? {
                0 => return Err(Error::io("write", self.path(), ErrorKind::WriteZero.into())),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Makes everything written durable, with the file's length.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; what is durable is then unknown, and a second sync of the
    /// same file can't tell: its user must give the file up.
    fn sync(&mut self) -> Result<()>;

    /// The file's path, for error messages.
    fn path(&self) -> &Path;
}

/// The lock of a database directory; dropping it frees the lock.
pub trait LockGuard: Debug + Send + Sync + 'static {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::file_name::DAMAGED_DIR;

    /// The storages that must behave alike, with whatever keeps their directory alive.
    fn storages() -> Vec<(Box<dyn Storage>, Option<tempfile::TempDir>)> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("db"));
        vec![(Box::new(disk), Some(dir)), (Box::new(SimDisk::new(1)), None)]
    }

    fn write(storage: &dyn Storage, name: FileName, bytes: &[u8]) {
        let mut file = storage.create(name).unwrap();
        file.write_all(bytes, 0).unwrap();
        file.sync().unwrap();
    }

    fn read(storage: &dyn Storage, name: FileName, mode: ReadMode) -> Vec<u8> {
        let region = storage.open_region(name, mode).unwrap();
        let len = usize::try_from(region.len()).unwrap();
        region.read(0, len).unwrap().to_vec()
    }

    #[track_caller]
    fn check_kind<T: Debug>(result: Result<T>, op: &str, path: &Path, kind: ErrorKind) {
        match result {
            Err(Error::Io { op: got, path: at, source }) => {
                assert_eq!((got, &*at, source.kind()), (op, path, kind));
            }
            other => panic!("wanted {kind:?} of {op}, got {other:?}"),
        }
    }

    #[cfg(target_os = "linux")]
    const MODES: [ReadMode; 3] = [ReadMode::Mmap, ReadMode::Guarded, ReadMode::Heap];
    #[cfg(not(target_os = "linux"))]
    const MODES: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Heap];

    #[test]
    fn a_published_file_reads_as_written() {
        for (storage, _dir) in storages() {
            assert_eq!(storage.list().unwrap(), None, "{storage:?}");
            storage.create_root().unwrap();
            storage.create_root().unwrap();
            let big: Vec<u8> = (0..=255).cycle().take(100_000).collect();
            for (number, bytes) in [(1, &b""[..]), (2, b"x"), (3, &big)] {
                write(&*storage, FileName::Tmp(number), bytes);
                storage.rename(FileName::Tmp(number), FileName::Table(number)).unwrap();
                storage.sync_dir().unwrap();
                for mode in MODES {
                    assert_eq!(read(&*storage, FileName::Table(number), mode), bytes);
                }
            }
            let files = (1..=3).map(FileName::Table).collect();
            assert_eq!(storage.list().unwrap(), Some(Listing { files, foreign: vec![] }));
        }
    }

    #[test]
    fn writes_land_where_they_are_sent() {
        for (storage, _dir) in storages() {
            storage.create_root().unwrap();
            let mut file = storage.create(FileName::Log(1)).unwrap();
            assert_eq!(file.path(), storage.root().join("LOG-000001"));
            for (bytes, offset) in [(&b"head"[..], 0), (b"tail", 8), (b"EA", 1), (b"", 50)] {
                file.write_all(bytes, offset).unwrap();
            }
            file.sync().unwrap();
            assert_eq!(read(&*storage, FileName::Log(1), ReadMode::Heap), b"hEAd\0\0\0\0tail");
        }
    }

    #[test]
    fn a_file_is_created_once() {
        for (storage, _dir) in storages() {
            let name = FileName::Table(7);
            let path = storage.path(name);
            check_kind(storage.create(name), "create", &path, ErrorKind::NotFound);
            storage.create_root().unwrap();
            write(&*storage, name, b"first");
            check_kind(storage.create(name), "create", &path, ErrorKind::AlreadyExists);
            assert_eq!(read(&*storage, name, ReadMode::Mmap), b"first");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (storage, _dir) in storages() {
            storage.create_root().unwrap();
            let (name, other) = (FileName::Manifest(1), FileName::Manifest(2));
            let path = storage.path(name);
            for mode in MODES {
                check_kind(storage.open_region(name, mode), "open", &path, ErrorKind::NotFound);
            }
            check_kind(storage.remove(name), "remove", &path, ErrorKind::NotFound);
            check_kind(storage.rename(name, other), "rename", &path, ErrorKind::NotFound);
            check_kind(storage.set_aside(name), "set aside", &path, ErrorKind::NotFound);
        }
    }

    #[test]
    fn what_is_set_aside_leaves_the_directory_and_replaces_nothing() {
        for (storage, _dir) in storages() {
            storage.create_root().unwrap();
            let name = FileName::Table(1);
            let paths = ["first", "second", "third"].map(|bytes| {
                write(&*storage, name, bytes.as_bytes());
                storage.set_aside(name).unwrap()
            });
            let dir = storage.root().join(DAMAGED_DIR);
            let want = ["TABLE-000001", "TABLE-000001.1", "TABLE-000001.2"];
            assert_eq!(paths, want.map(|name| dir.join(name)));
            let foreign = vec![DAMAGED_DIR.to_owned()];
            assert_eq!(storage.list().unwrap(), Some(Listing { files: vec![], foreign }));
        }
    }

    #[test]
    fn a_region_outlives_its_name() {
        for (storage, _dir) in storages() {
            storage.create_root().unwrap();
            let (name, other) = (FileName::Table(1), FileName::Table(2));
            write(&*storage, name, b"old");
            write(&*storage, other, b"new");
            let regions = MODES.map(|mode| storage.open_region(name, mode).unwrap());
            storage.rename(other, name).unwrap();
            assert_eq!(read(&*storage, name, ReadMode::Mmap), b"new");
            storage.remove(name).unwrap();
            for region in regions {
                assert_eq!(&*region.read(0, 3).unwrap(), b"old");
            }
            assert_eq!(storage.list().unwrap(), Some(Listing::default()));
        }
    }

    #[test]
    fn the_lock_is_held_once_until_dropped() {
        for (storage, _dir) in storages() {
            storage.create_root().unwrap();
            let guard = storage.lock().unwrap();
            match storage.lock() {
                Err(Error::Locked { path, holder }) => {
                    assert_eq!(path, storage.path(FileName::Lock));
                    assert!(holder.starts_with("pid "), "{holder:?}");
                }
                other => panic!("a second lock: {other:?}"),
            }
            drop(guard);
            drop(storage.lock().unwrap());
            assert_eq!(storage.list().unwrap().unwrap().files, [FileName::Lock]);
        }
    }

    /// A file that takes a few bytes at a time, and then none.
    #[derive(Debug)]
    struct Slow(Vec<u8>);

    impl StorageFile for Slow {
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize> {
            assert_eq!(offset, self.0.len() as u64);
            let room = 10 - self.0.len();
            let taken = &bytes[..bytes.len().min(3).min(room)];
            self.0.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn sync(&mut self) -> Result<()> {
            Ok(())
        }

        fn path(&self) -> &Path {
            Path::new("slow")
        }
    }

    #[test]
    fn short_writes_go_on_where_they_stopped() {
        let mut file = Slow(Vec::new());
        file.write_all(b"01234567", 0).unwrap();
        assert_eq!(file.0, b"01234567");
        check_kind(file.write_all(b"89x", 8), "write", Path::new("slow"), ErrorKind::WriteZero);
    }
}
