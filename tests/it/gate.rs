//! A disk whose tables can be held up: how tests stop a flush or a merge where they want to look at
//! it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tinydb::ReadMode;
use tinydb::Result;
use tinydb::internals::file_name::FileName;
use tinydb::internals::{Listing, LockGuard, Memory, Region, SimDisk, Storage, StorageFile};

/// What happens to a flush or a merge when it makes its first file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    #[default]
    Open,
    Shut,
    /// Shut for background threads, open for others.
    ShutInBackground,
    Panics,
}

/// A simulated disk with a gate before temporary files. A clone has the same gate.
#[derive(Clone, Debug)]
pub(crate) struct GatedDisk {
    pub(crate) disk: SimDisk,
    door: Arc<(Mutex<Door>, Condvar)>,
}

#[derive(Debug, Default)]
struct Door {
    gate: Gate,
    waiting: usize,
    asked_for: Vec<FileName>,
}

impl GatedDisk {
    pub(crate) fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), door: Arc::default() }
    }

    pub(crate) fn set(&self, gate: Gate) {
        self.door().gate = gate;
        self.door.1.notify_all();
    }

    /// How many threads stand before the gate.
    pub(crate) fn waiting(&self) -> usize {
        self.door().waiting
    }

    /// The names of all files that were to be made, in that order, whether or not they could be.
    pub(crate) fn asked_for(&self) -> Vec<FileName> {
        self.door().asked_for.clone()
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.0.lock().unwrap()
    }

    fn pass(&self, name: FileName) {
        let mut door = self.door();
        door.asked_for.push(name);
        if !matches!(name, FileName::Tmp(_)) {
            return;
        }
        let is_background = std::thread::current().name() == Some("tinydb");
        door.waiting += 1;
        let mut door = (self.door.1)
            .wait_while(door, |door| match door.gate {
                Gate::Shut => true,
                Gate::ShutInBackground => is_background,
                Gate::Open | Gate::Panics => false,
            })
            .unwrap();
        door.waiting -= 1;
        let panics = door.gate == Gate::Panics;
        drop(door);
        assert!(!panics, "this test's disk panics");
    }
}

impl Storage for GatedDisk {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn create_root(&self) -> Result<()> {
        self.disk.create_root()
    }

    fn list(&self) -> Result<Option<Listing>> {
        self.disk.list()
    }

    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>> {
        self.pass(name);
        self.disk.create(name)
    }

    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region> {
        self.disk.open_region(name, mode)
    }

    fn rename(&self, from: FileName, to: FileName) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: FileName) -> Result<()> {
        self.disk.remove(name)
    }

    fn set_aside(&self, name: FileName) -> Result<PathBuf> {
        self.disk.set_aside(name)
    }

    fn sync_dir(&self) -> Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        self.disk.lock()
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }

    fn memory(&self) -> Memory {
        self.disk.memory()
    }
}
