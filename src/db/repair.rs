//! Repair, as users call it.
//!
//! Spec: none. I/O: none of its own. Unsafe: none.

use std::path::Path;
use std::sync::Arc;

use super::Db;
use crate::engine::{RepairReport, repair};
use crate::error::Result;
use crate::storage::{Disk, Storage};

impl Db {
    /// Makes a database that opens of one that lost its manifest, or whose files are damaged.
    ///
    /// Nothing is deleted: what can't be used is moved into `damaged/` inside the directory, which an
    /// open ignores. Of a damaged table all blocks that are whole are written to a new one; of a damaged
    /// log, what stands before the damage. The report says what was kept, what was set aside and why,
    /// and what is lost or in doubt. A database that is healthy is not touched.
    ///
    /// The newest manifest that can be read says which tables belong together. Without one all tables
    /// are taken, in the order of their rows; whether a merge left one of them behind can't always be
    /// told then, and is named as a doubt.
    ///
    /// # Cost
    ///
    /// Reads and checks every byte, as [`verify`](Self::verify) does; what is rescued is written anew.
    /// Without a manifest, tables whose keys and seqnos cross are read once more, and written anew if
    /// they contradict each other.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) or
    /// [`Error::NotADatabase`](crate::Error::NotADatabase) for what is there;
    /// [`Error::Locked`](crate::Error::Locked) if the database is open;
    /// [`Error::Corrupt`](crate::Error::Corrupt) if no file tells which database it is;
    /// [`Error::UnsupportedFormat`](crate::Error::UnsupportedFormat) of a file that a newer build wrote;
    /// [`Error::Io`](crate::Error::Io). What ends a repair leaves a directory that can be repaired again.
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # tinydb::Db::open(dir.path())?.put("planet", "earth")?;
    /// let report = tinydb::Db::repair(dir.path())?;
    /// for file in report.set_aside() {
    ///     println!("{} is at {}: {}", file.path.display(), file.moved_to.display(), file.rule);
    /// }
    /// assert!(report.is_healthy());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(path: impl AsRef<Path>) -> Result<RepairReport> {
        Self::repair_on(Arc::new(Disk::new(path.as_ref())))
    }

    /// As [`repair`](Self::repair), on any storage.
    ///
    /// # Errors
    ///
    /// As [`repair`](Self::repair).
    #[doc(hidden)]
    pub fn repair_on(storage: Arc<dyn Storage>) -> Result<RepairReport> {
        repair(storage)
    }
}
