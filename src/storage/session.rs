//! The session: a directory as one opening of a database uses it.
//!
//! When the sync of a directory fails, the system may forget which names it was to write, and the
//! next sync succeeds without them: that of a log that somebody else had just made, say, which would
//! not be there after a power loss. So a session remembers which names were waiting when a sync
//! failed. A name that is made anew has nothing to fear.
//!
//! # Invariants
//!
//! - A name that was not durable yet when a sync failed is never called durable, however many syncs
//!   succeed later.
//!
//! Source: for files, the reports known as "fsyncgate"; a directory is no different. Spec: none.
//! I/O: that of the storage below. Unsafe: none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::{Listing, LockGuard, Memory, Region, Storage, StorageFile};
use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::options::ReadMode;
use crate::sync::{Mutex, MutexGuard};

/// A storage that remembers which names may be lost.
#[derive(Debug)]
pub(crate) struct Session {
    storage: Arc<dyn Storage>,
    /// The names that are not durable, and how the sync failed that was to make them so.
    pending: Mutex<BTreeMap<FileName, Option<Error>>>,
}

impl Session {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, pending: Mutex::default() }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<FileName, Option<Error>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Session {
    fn root(&self) -> &Path {
        self.storage.root()
    }

    fn path(&self, name: FileName) -> PathBuf {
        self.storage.path(name)
    }

    fn create_root(&self) -> Result<()> {
        self.storage.create_root()
    }

    fn list(&self) -> Result<Option<Listing>> {
        self.storage.list()
    }

    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>> {
        // Noted first: a sync that fails meanwhile may take it along.
        self.pending().insert(name, None);
        self.storage.create(name)
    }

    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region> {
        self.storage.open_region(name, mode)
    }

    fn rename(&self, from: FileName, to: FileName) -> Result<()> {
        let mut pending = self.pending();
        pending.remove(&from);
        pending.insert(to, None);
        drop(pending);
        self.storage.rename(from, to)
    }

    fn remove(&self, name: FileName) -> Result<()> {
        self.pending().remove(&name);
        self.storage.remove(name)
    }

    fn set_aside(&self, name: FileName) -> Result<PathBuf> {
        let mut pending = self.pending();
        pending.remove(&name);
        let moved = self.storage.set_aside(name);
        if let Err(error) = &moved {
            // It may be the sync that failed.
            note_failure(&mut pending, error);
        }
        moved
    }

    fn sync_dir(&self) -> Result<()> {
        self.sync_names(&[])
    }

    fn sync_names(&self, names: &[FileName]) -> Result<()> {
        // Held during the sync: what is made meanwhile must not be taken for synced, and whoever comes
        // while it fails must know.
        let mut pending = self.pending();
        mutant!(ForgetLostNames, pending.clear());
        if let Some(error) = names.iter().find_map(|name| pending.get(name)?.as_ref()) {
            return Err(error.clone());
        }
        let synced = self.storage.sync_dir();
        match &synced {
            Ok(()) => pending.retain(|_, failure| failure.is_some()),
            Err(error) => note_failure(&mut pending, error),
        }
        synced
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        self.storage.lock()
    }

    fn entropy(&self) -> u64 {
        self.storage.entropy()
    }

    fn memory(&self) -> Memory {
        self.storage.memory()
    }
}

/// Remembers of all names that are not durable how the sync failed.
fn note_failure(pending: &mut BTreeMap<FileName, Option<Error>>, error: &Error) {
    for failure in pending.values_mut() {
        failure.get_or_insert_with(|| error.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sim::{Fault, SimDisk};

    #[test]
    fn a_name_that_waited_when_a_sync_failed_is_never_called_durable() {
        let disk = Arc::new(SimDisk::new(1));
        let session = Session::new(Arc::clone(&disk) as Arc<dyn Storage>);
        session.create_root().unwrap();
        let [durable, waiting, later] = [1, 2, 3].map(FileName::Log);
        drop(session.create(durable).unwrap());
        session.sync_names(&[durable]).unwrap();
        drop(session.create(waiting).unwrap());
        disk.fail_at(disk.calls(), Fault::Dropped);
        let first = session.sync_dir().unwrap_err().to_string();
        drop(session.create(later).unwrap());
        for _ in 0..2 {
            let again = session.sync_names(&[durable, waiting]).unwrap_err();
            assert_eq!(again.to_string(), first);
            session.sync_names(&[durable, later]).unwrap();
        }
        disk.crash(crate::storage::CrashMode::LoseUnsynced);
        assert_eq!(disk.file_names(), [durable, later]);
    }

    #[test]
    fn a_name_that_is_made_anew_becomes_durable() {
        let disk = Arc::new(SimDisk::new(1));
        let session = Session::new(Arc::clone(&disk) as Arc<dyn Storage>);
        session.create_root().unwrap();
        let [one, other] = [1, 2].map(FileName::Table);
        for way in 0..2 {
            drop(session.create(one).unwrap());
            disk.fail_at(disk.calls(), Fault::Dropped);
            session.sync_names(&[one]).unwrap_err();
            match way {
                0 => session.remove(one).unwrap(),
                _ => session.rename(one, other).unwrap(),
            }
            session.sync_names(&[one, other]).unwrap();
        }
        assert_eq!(disk.file_names(), [other]);
    }
}
