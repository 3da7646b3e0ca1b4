//! `SimDisk`: a disk in memory that can lose power at any call.
//!
//! Tests of recovery need every way in which a disk may forget, thousands of times a second, and
//! the same one again when it found a bug. A test runs a workload on a simulated disk, crashes it
//! at a call of its choice, reboots, and looks at what is left.
//!
//! ```text
//!   SimDisk (a process) ──▶ State ── Plan: which call fails, at which the power goes
//!   SimDisk (after a reboot) ─┘   ├─ Names: the directory  ┐ live, durable, and what lies
//!                                 └─ File:  one file       ┘ between: pending
//! ```
//!
//! # Invariants
//!
//! - The same seed and the same calls give the same trace, and so the same crash.
//! - What was synced survives every crash, whatever its mode; for a name that takes `sync_dir`.
//! - A handle from before a reboot is a dead process: its calls fail and change nothing. What it
//!   had mapped it still reads, as it copied that when it opened it.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;

use super::region::{Faults, ReadAt, Region};
use super::{Listing, LockGuard, Memory, Storage, StorageFile};
use crate::error::{Error, Result};
use crate::format::file_name::{DAMAGED_DIR, FileName};
use crate::options::ReadMode;
use crate::sync::{Mutex, MutexGuard};

mod draw;
mod file;
mod names;
mod plan;
mod state;

pub use plan::{CrashMode, Fault};

use names::FileId;
use plan::PlannedFault;
use state::{Call, State};

/// A simulated disk, as one process sees it. A clone is the same process.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    boot: u64,
}

impl SimDisk {
    /// A disk whose database directory does not exist yet, and whose chance follows `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), boot: 0 }
    }

    /// How many calls that change the disk were made since it was started: [`Storage`]'s `create_root`,
    /// `create`, `rename`, `remove`, `sync_dir`, `lock` and `set_aside` (two: the rename and the sync),
    /// and [`StorageFile`]'s `write_at` and `sync`. The first has the number 0.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Plans a crash in the middle of call number `call`: it fails, and all after it.
    pub fn crash_at(&self, call: u64, mode: CrashMode) {
        self.state().plan.crash = Some((call, mode));
    }

    /// Crashes now, between two calls.
    pub fn crash(&self, mode: CrashMode) {
        self.state().crash(mode);
    }

    /// Whether the disk has crashed and was not rebooted.
    #[must_use]
    pub fn is_down(&self) -> bool {
        !self.state().powered
    }

    /// Starts the disk again and gives it as the next process finds it, with nothing planned and
    /// calls counted anew. Without a crash before, the old process is killed.
    #[must_use]
    pub fn reboot(&self) -> Self {
        let mut state = self.state();
        if state.powered {
            state.crash(CrashMode::Kill);
        }
        state.start();
        Self { state: Arc::clone(&self.state), boot: state.boot }
    }

    /// A copy of the disk with a chance of its own, unlocked: what happens to one happens to it alone.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let mut state = self.state().clone();
        state.reseed(seed);
        Self { boot: state.boot, state: Arc::new(Mutex::new(state)) }
    }

    /// Lets call number `call` fail.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().plan.faults.push(PlannedFault { call, lasting: false, fault });
    }

    /// Lets call number `call` and every later one fail, until a reboot.
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.state().plan.faults.push(PlannedFault { call, lasting: true, fault });
    }

    /// How often guarded maps were asked for their pages, since the start or `plan_nothing`.
    #[must_use]
    pub fn map_checks(&self) -> u64 {
        self.state().plan.map_checks
    }

    /// Lets the map that is asked at question number `check` lack a page, from then on.
    pub fn fail_map_at(&self, check: u64) {
        self.state().plan.map_fault = Some(check);
    }

    /// Takes back every planned crash and fault.
    pub fn plan_nothing(&self) {
        self.state().plan = plan::Plan::default();
    }

    /// The first call that failed because that is planned, in words.
    #[must_use]
    pub fn failed_call(&self) -> Option<String> {
        self.state().plan.failed_call.clone()
    }

    /// Lets every opening of this file fail, and every read that does not come out of a map.
    pub fn fail_reads(&self, name: FileName, fail: bool) {
        let mut state = self.state();
        if fail {
            state.unreadable.insert(name);
        } else {
            state.unreadable.remove(&name);
        }
    }

    /// Empties the page cache: what a failed sync dropped is not read back any longer.
    pub fn evict(&self) {
        self.state().evict();
    }

    /// Limits the bytes of all files together; a write that needs more is short, then ENOSPC.
    pub fn limit_space(&self, space: Option<u64>) {
        self.state().space = space;
    }

    /// Sets how much memory the machine is said to have, and how much was read from the disk;
    /// both are unknown at first. A simulated disk always has all of its data in memory.
    pub fn set_memory(&self, memory: Memory) {
        self.state().memory = memory;
    }

    /// The hash of everything that happened to this disk so far.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state().trace
    }

    /// The names of all files, sorted; none if there is no directory.
    #[must_use]
    pub fn file_names(&self) -> Vec<FileName> {
        self.state().list().unwrap_or_default()
    }

    /// The bytes of a file as a reader would see them; also while the disk is down.
    #[must_use]
    pub fn read_file(&self, name: FileName) -> Option<Vec<u8>> {
        self.state().read(name).map(<[u8]>::to_vec)
    }

    /// The files that were set aside, by their names in [`DAMAGED_DIR`]; also while the disk is down.
    #[must_use]
    pub fn files_aside(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files_aside()
    }

    /// Puts a file there, durably, in place of what has its name. Names that were not synced yet
    /// become durable with it.
    pub fn write_file(&self, name: FileName, bytes: impl Into<Vec<u8>>) {
        self.state().place(name, Some(bytes.into()));
    }

    /// Takes a file away, durably. Names that were not synced yet become durable with it.
    pub fn remove_file(&self, name: FileName) {
        self.state().place(name, None);
    }

    /// The state. Its methods do not panic half-way, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call that changes the disk.
    fn call(&self, op: &'static str, path: &Path, call: Call<'_>) -> Result<u64> {
        self.state().call(self.boot, call).map_err(|source| Error::io(op, path, source))
    }

    /// Reads from the state, if this process still runs.
    fn look<T>(
        &self,
        op: &'static str,
        path: &Path,
        look: impl FnOnce(&State) -> io::Result<T>,
    ) -> Result<T> {
        let state = self.state();
        let seen = state.check_power(self.boot).and_then(|()| look(&state));
        seen.map_err(|source| Error::io(op, path, source))
    }
}

impl Storage for SimDisk {
    fn root(&self) -> &Path {
        Path::new("simulated")
    }

    fn create_root(&self) -> Result<()> {
        self.call("create", self.root(), Call::CreateRoot).map(drop)
    }

    fn list(&self) -> Result<Option<Listing>> {
        self.look("list", self.root(), |state| {
            let foreign = state.has_aside().then(|| DAMAGED_DIR.to_owned()).into_iter().collect();
            Ok(state.list().map(|files| Listing { files, foreign }))
        })
    }

    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>> {
        let path = self.path(name);
        let file = self.call("create", &path, Call::Create(name))?;
        Ok(Box::new(SimFile { disk: self.clone(), file, path }))
    }

    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region> {
        let path = self.path(name);
        let bytes = self.look("open", &path, |state| {
            if state.unreadable.contains(&name) {
                return Err(Fault::Io.error());
            }
            let bytes = state.read(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(Bytes::copy_from_slice(bytes))
        })?;
        Ok(match mode {
            ReadMode::Mmap => Region::memory(&path, bytes),
            ReadMode::Guarded => {
                let map =
                    SimMap { disk: self.clone(), len: bytes.len() as u64, fault: OnceLock::new() };
                Region::simulated_map(&path, bytes, Arc::new(map))
            }
            ReadMode::Heap => {
                let len = bytes.len() as u64;
                Region::reader(&path, len, Arc::new(SimReader { disk: self.clone(), name, bytes }))
            }
        })
    }

    fn rename(&self, from: FileName, to: FileName) -> Result<()> {
        self.call("rename", &self.path(from), Call::Rename(from, to)).map(drop)
    }

    fn remove(&self, name: FileName) -> Result<()> {
        self.call("remove", &self.path(name), Call::Remove(name)).map(drop)
    }

    fn set_aside(&self, name: FileName) -> Result<PathBuf> {
        let taken = self.call("set aside", &self.path(name), Call::SetAside(name))?;
        self.sync_dir()?;
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        Ok(self.root().join(DAMAGED_DIR).join(name.aside(taken)))
    }

    fn sync_dir(&self) -> Result<()> {
        self.call("sync", self.root(), Call::SyncDir).map(drop)
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        let path = self.path(FileName::Lock);
        match self.state().call(self.boot, Call::Lock) {
            Ok(locking) => Ok(Box::new(SimLock { disk: self.clone(), locking })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked {
                path,
                holder: format!("pid {} on a simulated disk", self.boot),
            }),
            Err(source) => Err(Error::io("lock", &path, source)),
        }
    }

    fn entropy(&self) -> u64 {
        self.state().entropy()
    }

    fn memory(&self) -> Memory {
        self.state().memory
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("boot", &self.boot).finish_non_exhaustive()
    }
}

/// A simulated file being written.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: FileId,
    path: PathBuf,
}

impl StorageFile for SimFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize> {
        let call = Call::Write { file: self.file, offset, bytes };
        let count = self.disk.call("write", &self.path, call)?;
        Ok(usize::try_from(count).unwrap_or(bytes.len()))
    }

    fn sync(&mut self) -> Result<()> {
        self.disk.call("sync", &self.path, Call::Sync(self.file)).map(drop)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.disk.boot, self.file);
    }
}

/// An opened simulated file that is read on request.
struct SimReader {
    disk: SimDisk,
    name: FileName,
    bytes: Bytes,
}

impl ReadAt for SimReader {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.check_power(self.disk.boot)?;
        if state.unreadable.contains(&self.name) {
            return Err(Fault::Io.error());
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(offset..).unwrap_or_default();
        Ok(rest.iter().zip(buffer).map(|(byte, place)| *place = *byte).count())
    }
}

/// A guarded map of a simulated file.
struct SimMap {
    disk: SimDisk,
    len: u64,
    /// Where the page is that it lacks.
    fault: OnceLock<u64>,
}

impl Faults for SimMap {
    fn fault(&self) -> Option<u64> {
        if let Some(offset) = self.fault.get() {
            return Some(*offset);
        }
        let check = self.disk.state().plan.map_fault_now()?;
        // Any page will do, as it is the question that fails.
        let offset = check.wrapping_mul(4096) % self.len.max(1);
        Some(*self.fault.get_or_init(|| offset - offset % 4096))
    }
}

/// The simulated lock.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    locking: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().unlock(self.locking);
    }
}

#[cfg(test)]
mod tests;
