//! Storage: the dozen file operations that TinyDB needs, and nothing else.
//!
//! Every system call of the engine goes through [`Storage`]. There are two of them: [`Disk`], the
//! real one, and [`SimDisk`], one in memory that can lose power at any call. The trait is used
//! per file and per batch, never per key: readers hold a [`Region`], which is plain bytes.
//!
//! ```text
//!   engine, wal, table, manifest
//!        │ create · write_at · sync · rename · remove · list · lock      │ open_region
//!        ▼                                                               ▼
//!   dyn Storage ── Disk: std::fs                              Region: a map, or reads on request
//!               └─ SimDisk: live, durable and pending bytes
//! ```
//!
//! # Invariants
//!
//! - A finished file is immutable: it is written under a temporary name, synced, renamed, and
//!   its directory is synced; only a log grows under its own name.
//! - Names come from [`FileName`] alone, so nothing outside the database's directory is touched,
//!   and a file with a foreign name is never opened nor removed.
//! - An error names what was attempted and on which path.
//!
//! Spec: `format-spec/01-files.md`. I/O: all of it. Unsafe: `mmap.rs`, `prefetch.rs`.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::format::file_name::FileName;
use crate::options::ReadMode;

mod disk;
mod mmap;
mod prefetch;
mod region;
mod sim;

pub use disk::Disk;
pub(crate) use prefetch::prefetch;
pub use region::{Region, Slice};
pub use sim::{CrashMode, SimDisk};

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
    /// [`Error::NotADatabase`](crate::Error::NotADatabase) if something else has the name,
    /// [`Error::Io`](crate::Error::Io) if the system refuses.
    fn create_root(&self) -> Result<()>;

    /// Lists the directory; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`](crate::Error::NotADatabase) if the path is not a directory,
    /// [`Error::Io`](crate::Error::Io) if the system refuses.
    fn list(&self) -> Result<Option<Listing>>;

    /// Creates a file that must not exist yet, for writing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it exists or the system refuses.
    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>>;

    /// Opens a whole finished file for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it is missing, not a regular file, or the system refuses.
    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region>;

    /// Gives a file another name, replacing what had it, in one step.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); whether it took place is then unknown.
    fn rename(&self, from: FileName, to: FileName) -> Result<()>;

    /// Removes a name; maps of the file stay readable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it is missing or the system refuses.
    fn remove(&self, name: FileName) -> Result<()>;

    /// Makes every earlier create, rename and remove durable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); which of them are durable is then unknown.
    fn sync_dir(&self) -> Result<()>;

    /// Takes the directory's lock until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`](crate::Error::Locked) if somebody has it.
    fn lock(&self) -> Result<Box<dyn LockGuard>>;

    /// A number that nobody can predict, for identities and hash seeds.
    fn entropy(&self) -> u64;
}

/// A file that is being written.
pub trait StorageFile: Debug + Send + 'static {
    /// Writes some of `bytes` at `offset` and returns how many: it may be fewer than all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); what reached the file is then unknown.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize>;

    /// Makes everything written durable, with the file's length.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); what is durable is then unknown, and a second sync of the
    /// same file can't tell: its user must give the file up.
    fn sync(&mut self) -> Result<()>;

    /// The file's path, for error messages.
    fn path(&self) -> &Path;
}

/// The lock of a database directory; dropping it frees the lock.
pub trait LockGuard: Debug + Send + Sync + 'static {}
