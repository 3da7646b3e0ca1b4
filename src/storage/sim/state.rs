//! State: all of a simulated disk, and the one way to change it.
//!
//! Whatever changes the disk is a [`Call`]. Calls are numbered; the plan says which of them fail
//! and at which the power goes.
//!
//! # Invariants
//!
//! - Nothing here depends on time, addresses or the order of a hash map: the same seed and the
//!   same calls give the same trace.
//! - A process that ran before the last reboot changes nothing any more.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::draw::Draw;
use super::file::File;
use super::names::{FileId, Names};
use super::plan::{CrashMode, Fate, Fault, Plan};
use crate::format::checksum::checksum;
use crate::format::file_name::FileName;
use crate::storage::Memory;

/// No file of a simulation grows beyond this; a larger offset is taken for a mistake.
const MAX_FILE_LEN: u64 = 1 << 32;

/// A call that changes the disk.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    CreateRoot,
    Create(FileName),
    Write { file: FileId, offset: u64, bytes: &'a [u8] },
    Sync(FileId),
    Rename(FileName, FileName),
    Remove(FileName),
    SetAside(FileName),
    SyncDir,
    Lock,
}

/// Everything about one disk.
#[derive(Clone)]
pub(super) struct State {
    /// How often the disk was started.
    pub(super) boot: u64,
    pub(super) powered: bool,
    /// The calls since the last start.
    pub(super) calls: u64,
    pub(super) trace: u64,
    pub(super) plan: Plan,
    /// How many bytes the files may have in all.
    pub(super) space: Option<u64>,
    /// What the machine is said to have.
    pub(super) memory: Memory,
    /// Files whose every read fails.
    pub(super) unreadable: BTreeSet<FileName>,
    /// `None` while the directory does not exist.
    names: Option<Names>,
    files: BTreeMap<FileId, File>,
    /// Files that are being written; they keep their bytes without a name too.
    open: BTreeSet<FileId>,
    next_file: FileId,
    /// Who holds the lock, by the number of the locking.
    lock: Option<u64>,
    lockings: u64,
    chance: Draw,
    entropy: Draw,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Draw::new(seed);
        Self {
            boot: 0,
            powered: true,
            calls: 0,
            trace: seed,
            plan: Plan::default(),
            space: None,
            memory: Memory::default(),
            unreadable: BTreeSet::new(),
            names: None,
            files: BTreeMap::new(),
            open: BTreeSet::new(),
            next_file: 0,
            lock: None,
            lockings: 0,
            entropy: Draw::new(chance.next()),
            chance,
        }
    }

    /// Fails unless the process of this start still runs.
    pub(super) fn check_power(&self, boot: u64) -> io::Result<()> {
        if self.powered && boot == self.boot {
            Ok(())
        } else {
            Err(io::Error::other("simulated power loss"))
        }
    }

    /// Makes a call of the process that began with `boot`, as the plan wants it.
    ///
    /// The answer is the number of the created file or of the locking, or how many bytes were
    /// written, or how many files of the name were set aside before; else 0.
    pub(super) fn call(&mut self, boot: u64, call: Call<'_>) -> io::Result<u64> {
        self.check_power(boot)?;
        let fate = self.plan.fate(self.calls);
        self.calls += 1;
        let answer = match fate {
            Fate::Done => self.perform(call),
            Fate::Fails(fault) => self.fail(call, fault),
            Fate::Crashes(mode) => {
                self.crash_during(call, mode);
                self.check_power(boot).map(|()| 0)
            }
        };
        let (kind, described) = (answer.as_ref().map_err(io::Error::kind), describe(call));
        self.note(&format!("{described} {fate:?} {kind:?}"));
        if let Fate::Fails(_) = fate {
            self.plan.failed_call.get_or_insert(described);
        }
        answer
    }

    /// Adds an event to the trace.
    fn note(&mut self, event: &str) {
        self.trace = checksum(event.as_bytes(), self.trace);
    }

    fn perform(&mut self, call: Call<'_>) -> io::Result<u64> {
        match call {
            Call::CreateRoot => {
                self.names.get_or_insert_default();
                Ok(0)
            }
            Call::Create(name) => {
                if self.names()?.get(name).is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let file = self.add_file(name, File::default())?;
                self.open.insert(file);
                Ok(file)
            }
            Call::Write { file, offset, bytes } => self.write(file, offset, bytes),
            Call::Sync(file) => self.file(file).map(File::sync).map(|()| 0),
            Call::Rename(from, to) => {
                let found = self.names()?.rename(from, to);
                self.found(found)
            }
            Call::Remove(name) => {
                let found = self.names()?.remove(name);
                self.found(found)
            }
            Call::SetAside(name) => {
                self.names()?.set_aside(name).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Call::SyncDir => {
                self.names()?.sync();
                self.found(true)
            }
            Call::Lock => self.take_lock(),
        }
    }

    /// Fails a call, after doing of it what the fault says.
    fn fail(&mut self, call: Call<'_>, fault: Fault) -> io::Result<u64> {
        match (fault, call) {
            (Fault::Short, Call::Write { file, offset, bytes }) => {
                return self.write(file, offset, half(bytes));
            }
            (Fault::Short, _) => return self.perform(call),
            (Fault::Torn, Call::Write { file, offset, bytes }) => {
                self.write(file, offset, half(bytes))?;
            }
            (Fault::IoDone, _) => {
                self.perform(call)?;
            }
            (Fault::Dropped, Call::Sync(file)) => self.file(file)?.drop_pending(),
            (Fault::Dropped, Call::SyncDir) => self.names()?.drop_pending(),
            (Fault::Reverted, Call::Sync(file)) => self.file(file)?.revert(),
            (Fault::Reverted, Call::SyncDir) => self.names()?.revert(),
            _ => {}
        }
        Err(fault.error())
    }

    /// Crashes while `call` is under way: it may have been done, wholly or in part, or not.
    fn crash_during(&mut self, call: Call<'_>, mode: CrashMode) {
        let unsynced = match (call, mode) {
            (Call::Write { file, offset, bytes }, CrashMode::Kill) => {
                let kept = self.chance.up_to(bytes.len());
                let bytes = bytes.get(..kept).unwrap_or_default();
                Some(Call::Write { file, offset, bytes })
            }
            // What it does is not durable yet, so the crash itself decides.
            (
                Call::Write { .. }
                | Call::Create(_)
                | Call::Rename(..)
                | Call::Remove(_)
                | Call::SetAside(_),
                mode,
            ) if mode != CrashMode::Kill => Some(call),
            _ => Some(call).filter(|_| self.chance.coin()),
        };
        if let Some(call) = unsynced {
            // If it fails, it was not done.
            let _ = self.perform(call);
        }
        self.crash(mode);
    }

    /// Ends the process, and unless it is killed takes the power too.
    pub(super) fn crash(&mut self, mode: CrashMode) {
        self.powered = false;
        self.lock = None;
        self.open.clear();
        if let Some(names) = &mut self.names {
            names.crash(mode, &mut self.chance);
        }
        for file in self.files.values_mut() {
            file.crash(mode, &mut self.chance);
        }
        self.collect();
        self.note(&format!("crash {mode:?}"));
    }

    /// Starts the disk again, with nothing planned.
    pub(super) fn start(&mut self) {
        self.powered = true;
        self.boot += 1;
        self.calls = 0;
        self.plan = Plan::default();
        self.note("start");
    }

    /// Gives the copy of a disk a chance of its own; nobody has it locked.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.chance = Draw::new(seed);
        self.lock = None;
        self.note(&format!("fork {seed}"));
    }

    /// Empties the page cache.
    pub(super) fn evict(&mut self) {
        self.files.values_mut().for_each(File::evict);
        self.note("evict");
    }

    pub(super) fn entropy(&mut self) -> u64 {
        self.entropy.next()
    }

    /// The names that there are; `None` if the directory does not exist.
    pub(super) fn list(&self) -> Option<Vec<FileName>> {
        self.names.as_ref().map(Names::list)
    }

    /// The bytes of a file, as readers see them.
    pub(super) fn read(&self, name: FileName) -> Option<&[u8]> {
        self.files.get(&self.names.as_ref()?.get(name)?).map(File::live)
    }

    pub(super) fn has_aside(&self) -> bool {
        self.names.iter().flat_map(Names::aside).next().is_some()
    }

    /// The files that were set aside, by their names there.
    pub(super) fn files_aside(&self) -> BTreeMap<String, Vec<u8>> {
        let named = self.names.iter().flat_map(Names::aside);
        named.filter_map(|(name, id)| Some((name, self.files.get(&id)?.live().to_vec()))).collect()
    }

    /// Makes a file with these bytes, or none, durably and without a call.
    pub(super) fn place(&mut self, name: FileName, bytes: Option<Vec<u8>>) {
        let names = self.names.get_or_insert_default();
        names.remove(name);
        if let Some(bytes) = bytes {
            self.next_file += 1;
            names.add(name, self.next_file);
            self.files.insert(self.next_file, File::durable(bytes));
        }
        names.sync();
        self.collect();
    }

    /// Ends the locking with this number.
    pub(super) fn unlock(&mut self, locking: u64) {
        if self.lock == Some(locking) {
            self.lock = None;
        }
    }

    /// Ends the writing of a file.
    pub(super) fn close(&mut self, boot: u64, file: FileId) {
        if boot == self.boot && self.open.remove(&file) {
            self.collect();
        }
    }

    fn names(&mut self) -> io::Result<&mut Names> {
        self.names.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, file: FileId) -> io::Result<&mut File> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn add_file(&mut self, name: FileName, bytes: File) -> io::Result<FileId> {
        self.next_file += 1;
        let file = self.next_file;
        self.names()?.add(name, file);
        self.files.insert(file, bytes);
        Ok(file)
    }

    /// The answer of a call on a name, after which files may be without one.
    fn found(&mut self, found: bool) -> io::Result<u64> {
        self.collect();
        if found { Ok(0) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Frees the bytes of files that nobody can name or write any more.
    fn collect(&mut self) {
        let Self { names, files, open, .. } = self;
        files.retain(|file, _| {
            open.contains(file) || names.as_ref().is_some_and(|names| names.may_name(*file))
        });
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<u64> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > MAX_FILE_LEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = bytes;
        if let Some(space) = self.space {
            let len = self.file(file)?.live().len() as u64;
            let most = len.saturating_add(space.saturating_sub(self.used()));
            if end > most && !bytes.is_empty() {
                let room = usize::try_from(most.saturating_sub(offset)).unwrap_or(usize::MAX);
                bytes = bytes.get(..room).filter(|part| !part.is_empty()).ok_or_else(full)?;
            }
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file(file)?.write(offset, bytes);
        Ok(bytes.len() as u64)
    }

    /// How many bytes there are in files with a name, and in those being written.
    fn used(&self) -> u64 {
        let named = self.names.iter().flat_map(Names::files);
        let files: BTreeSet<FileId> = named.chain(self.open.iter().copied()).collect();
        let lens = files.iter().filter_map(|file| self.files.get(file));
        lens.map(|file| file.live().len() as u64).sum()
    }

    fn take_lock(&mut self) -> io::Result<u64> {
        if self.names()?.get(FileName::Lock).is_none() {
            self.add_file(FileName::Lock, File::default())?;
        }
        if self.lock.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.lockings += 1;
        self.lock = Some(self.lockings);
        Ok(self.lockings)
    }
}

/// A call as an event of the trace.
fn describe(call: Call<'_>) -> String {
    match call {
        Call::CreateRoot => "create root".to_owned(),
        Call::Create(name) => format!("create {name}"),
        Call::Write { file, offset, bytes } => {
            format!("write {file} {offset} {} {:x}", bytes.len(), checksum(bytes, 0))
        }
        Call::Sync(file) => format!("sync {file}"),
        Call::Rename(from, to) => format!("rename {from} {to}"),
        Call::Remove(name) => format!("remove {name}"),
        Call::SetAside(name) => format!("set aside {name}"),
        Call::SyncDir => "sync directory".to_owned(),
        Call::Lock => "lock".to_owned(),
    }
}

fn full() -> io::Error {
    Fault::NoSpace.error()
}

/// The first half of `bytes`, at least one byte if there is any.
fn half(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().div_ceil(2)).unwrap_or_default()
}
