//! A disk whose tables can be held up: how tests stop a flush where they want to look at it.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use tinydb::ReadMode;
use tinydb::Result;
use tinydb::internals::file_name::FileName;
use tinydb::internals::{Listing, LockGuard, Region, SimDisk, Storage, StorageFile};

/// What happens to a flush when it makes its first file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Shut,
    Panics,
}

/// A simulated disk with a gate before temporary files. A clone has the same gate.
#[derive(Clone, Debug)]
pub(super) struct GatedDisk {
    pub(super) disk: SimDisk,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl GatedDisk {
    pub(super) fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), gate: Arc::new((Mutex::new(Gate::Open), Condvar::new())) }
    }

    pub(super) fn set(&self, gate: Gate) {
        *self.gate.0.lock().unwrap() = gate;
        self.gate.1.notify_all();
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
        if matches!(name, FileName::Tmp(_)) {
            let gate = self.gate.0.lock().unwrap();
            let gate = self.gate.1.wait_while(gate, |gate| *gate == Gate::Shut).unwrap();
            let panics = *gate == Gate::Panics;
            drop(gate);
            assert!(!panics, "this test's disk panics");
        }
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

    fn sync_dir(&self) -> Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        self.disk.lock()
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }
}
