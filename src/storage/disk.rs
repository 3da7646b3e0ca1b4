//! Disk: the real file system.
//!
//! Nothing is followed, overwritten or waited for: a symbolic link, a pipe or a directory in
//! place of a file is an error, never a detour and never a hang.
//!
//! # Invariants
//!
//! - A file is created under a name that was free, and truncated never. What is published later
//!   (everything but logs) is read-only for everybody else from its first byte on.
//! - The lock file is never removed: who holds a lock on a removed file keeps nobody out.
//! - A call that a signal interrupted is repeated.
//!
//! Spec: `format-spec/01-files.md`. I/O: all of it. Unsafe: none here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::mmap::Map;
use super::region::{ReadAt, Region};
use super::{Listing, LockGuard, Memory, Storage, StorageFile};
use crate::error::{Error, Result};
use crate::format::file_name::{DAMAGED_DIR, FileName};
use crate::options::ReadMode;

/// One database directory of the real file system.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The disk whose directory is `root`; touches nothing.
    ///
    /// A relative path is taken from where the process stands now, wherever it goes later.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { root: std::path::absolute(&root).unwrap_or(root) }
    }

    /// Opens a finished file wherever it is, as [`Storage::open_region`] does by name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it is missing, not a regular file, or the system refuses.
    pub fn open_path(path: &Path, mode: ReadMode) -> Result<Region> {
        let open = || {
            let (file, len) = open_regular(path, OpenOptions::new().read(true))?;
            let map_len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
            Ok(match mode {
                _ if map_len == 0 => Region::memory(path, Bytes::new()),
                ReadMode::Heap => Region::reader(path, len, Arc::new(Reader(file))),
                ReadMode::Mmap => Region::mapped(path, Map::new(&file, map_len)?),
                ReadMode::Guarded => Region::guarded(path, Map::guarded(&file, map_len)?),
            })
        };
        open().map_err(|source| Error::io("open", path, source))
    }
}

impl Storage for Disk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn create_root(&self) -> Result<()> {
        match create_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(not_a_directory(&self.root))
            }
            done => done.map_err(|source| Error::io("create", &self.root, source)),
        }
    }

    fn list(&self) -> Result<Option<Listing>> {
        let failed = |source| Error::io("list", &self.root, source);
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::NotADirectory => return Err(not_a_directory(&self.root)),
                _ => return Err(failed(error)),
            },
        };
        let mut listing = Listing::default();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            match name.to_str().and_then(FileName::parse) {
                Some(name) => listing.files.push(name),
                None => listing.foreign.push(name.to_string_lossy().into_owned()),
            }
        }
        listing.files.sort_unstable();
        listing.foreign.sort_unstable();
        Ok(Some(listing))
    }

    fn create(&self, name: FileName) -> Result<Box<dyn StorageFile>> {
        let mode = if matches!(name, FileName::Tmp(_)) { 0o400 } else { 0o600 };
        Ok(Box::new(DiskFile::create(self.path(name), mode)?))
    }

    fn open_region(&self, name: FileName, mode: ReadMode) -> Result<Region> {
        Self::open_path(&self.path(name), mode)
    }

    fn rename(&self, from: FileName, to: FileName) -> Result<()> {
        let from = self.path(from);
        fs::rename(&from, self.path(to)).map_err(|source| Error::io("rename", &from, source))
    }

    fn remove(&self, name: FileName) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))
    }

    fn set_aside(&self, name: FileName) -> Result<PathBuf> {
        let (from, dir) = (self.path(name), self.root.join(DAMAGED_DIR));
        let move_there = || {
            // Looked at first: nothing is made for a file that is not there.
            fs::symlink_metadata(&from)?;
            create_dir(&dir)?;
            if !fs::symlink_metadata(&dir)?.is_dir() {
                return Err(io::Error::other(format!("\"{DAMAGED_DIR}\" is a symbolic link")));
            }
            let to = free_path(&dir, name)?;
            fs::rename(&from, &to)?;
            // The new name first: so the file never is without one.
            sync_dir(&dir)?;
            sync_dir(&self.root)?;
            Ok(to)
        };
        move_there().map_err(|source| Error::io("set aside", &from, source))
    }

    fn sync_dir(&self) -> Result<()> {
        sync_dir(&self.root).map_err(|source| Error::io("sync", &self.root, source))
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        let path = self.path(FileName::Lock);
        let failed = |source| Error::io("lock", &path, source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let (file, _) = open_regular(&path, &mut options).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path, holder: read_holder(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let guard = DiskLock(file);
        if !is_at(&guard.0, &path).map_err(failed)? {
            return Err(failed(io::Error::other("the lock file was replaced meanwhile")));
        }
        // It only serves the other one's error message, so a full disk does not matter.
        let _ = write_holder(&guard.0);
        Ok(Box::new(guard))
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    fn memory(&self) -> Memory {
        Memory::now()
    }
}

/// A number that nobody can predict.
pub(super) fn entropy() -> u64 {
    // The hasher's keys come from the system and differ from call to call; the process id
    // tells a forked child from its parent.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// A file being written.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// Creates a file whose name must be free.
    pub(super) fn create(path: PathBuf, mode: u32) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| Error::io("create", &path, source))?;
        Ok(Self { file, path })
    }
}

impl StorageFile for DiskFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize> {
        loop {
            match self.file.write_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(|source| Error::io("write", &self.path, source)),
            }
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|source| Error::io("sync", &self.path, source))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// An open file, for regions without a map.
struct Reader(File);

impl ReadAt for Reader {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// The locked lock file.
#[derive(Debug)]
struct DiskLock(File);

impl LockGuard for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that another thread is just starting may hold
        // a copy of the descriptor for a moment, and with it the lock.
        let _ = self.0.unlock();
    }
}

/// Opens a regular file, and nothing else that may have its name; also gives its length.
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<(File, u64)> {
    // Without O_NONBLOCK a pipe would block until somebody writes to it.
    let file = match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link"));
        }
        file => file?,
    };
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Makes a directory and its missing parents, each durable before the next.
///
/// `AlreadyExists` means that something else has the name.
fn create_dir(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut next = Some(path);
    while let Some(dir) = next.filter(|dir| !dir.is_dir()) {
        missing.push(dir);
        next = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    }
    for dir in missing.iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            done => done?,
        }
        sync_dir(parent(dir))?;
    }
    if missing.is_empty() {
        // Whoever made it may have died before syncing; but a parent that can't be read was not
        // made by this user.
        match sync_dir(parent(path)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            done => done?,
        }
    }
    Ok(())
}

/// The directory that holds `path`'s name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Makes the names in a directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn not_a_directory(path: &Path) -> Error {
    Error::NotADatabase { path: path.to_owned(), reason: "it is not a directory".to_owned() }
}

/// The first name that a file can have in a directory of files that were set aside. Nobody else makes
/// one meanwhile: who sets aside holds the lock.
fn free_path(dir: &Path, name: FileName) -> io::Result<PathBuf> {
    for taken in 0..u32::MAX {
        let path = dir.join(name.aside(taken));
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            found => found.map(drop)?,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether `path` still names this open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    let named = fs::symlink_metadata(path)?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Writes who holds the lock into it.
fn write_holder(file: &File) -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut holder = format!("pid {}", std::process::id());
    if !host.trim().is_empty() {
        holder.push_str(" on ");
        holder.push_str(host.trim());
    }
    file.write_all_at(holder.as_bytes(), 0)?;
    // Cut to nothing before it is written, a file is sent to the disk by ext4 when it is closed, and
    // the next cut waits for that: longer than all the rest of an open takes.
    let len = holder.len() as u64;
    if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
}

/// What the holder of the lock wrote into it, fit for one line; empty if nothing.
fn read_holder(file: &File) -> String {
    let mut buffer = [0; 256];
    let len = file.read_at(&mut buffer, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        (dir, disk)
    }

    #[track_caller]
    fn check_io<T: std::fmt::Debug>(result: Result<T>, op: &str, path: &Path, text: &str) {
        match result {
            Err(Error::Io { op: got, path: at, source }) => {
                assert_eq!((got, &*at), (op, path));
                assert!(source.to_string().contains(text), "{source} does not say {text:?}");
            }
            other => panic!("wanted an error of {op}, got {other:?}"),
        }
    }

    #[track_caller]
    fn check_not_a_directory<T: std::fmt::Debug>(result: Result<T>, want: &Path) {
        match result {
            Err(Error::NotADatabase { path, .. }) => assert_eq!(path, want),
            other => panic!("wanted NotADatabase, got {other:?}"),
        }
    }

    #[test]
    fn missing_parents_are_made_too() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("a/b/c"));
        assert_eq!(disk.list().unwrap(), None);
        disk.create_root().unwrap();
        disk.create_root().unwrap();
        assert_eq!(disk.list().unwrap(), Some(Listing::default()));
    }

    #[test]
    fn something_else_in_place_of_the_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        let disk = Disk::new(&file);
        check_not_a_directory(disk.list(), &file);
        check_not_a_directory(disk.create_root(), &file);
        check_io(disk.lock(), "lock", &file.join("LOCK"), "ot a directory");
        check_not_a_directory(Disk::new(file.join("db")).create_root(), &file.join("db"));
        assert_eq!(fs::read(&file).unwrap(), b"mine");

        let dangling = dir.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        assert_eq!(Disk::new(&dangling).list().unwrap(), None);
        check_not_a_directory(Disk::new(&dangling).create_root(), &dangling);
    }

    #[test]
    fn a_link_to_the_directory_is_the_directory() {
        let (dir, disk) = disk();
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        let linked = Disk::new(&link);
        linked.create_root().unwrap();
        linked.create(FileName::Log(1)).unwrap();
        assert_eq!(disk.list().unwrap().unwrap().files, [FileName::Log(1)]);
    }

    #[test]
    fn an_empty_path_is_an_error() {
        let disk = Disk::new("");
        assert_eq!(disk.list().unwrap(), None);
        check_io(disk.create_root(), "create", Path::new(""), "");
    }

    #[test]
    fn foreign_names_are_listed_apart() {
        let (dir, disk) = disk();
        for name in ["LOG-7", "TABLE-000003", "notes.txt", "LOG-000001", "LOCK"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("damaged")).unwrap();
        let want = Listing {
            files: vec![FileName::Lock, FileName::Log(1), FileName::Table(3)],
            foreign: ["LOG-7", "damaged", "notes.txt"].map(str::to_owned).into(),
        };
        assert_eq!(disk.list().unwrap(), Some(want));
    }

    #[test]
    fn odd_files_are_refused_at_once() {
        let (dir, disk) = disk();
        let path = |number| disk.path(FileName::Table(number));
        fs::create_dir(path(1)).unwrap();
        symlink("/etc/hostname", path(2)).unwrap();
        assert!(Command::new("mkfifo").arg(path(3)).status().unwrap().success());
        let cases = [(1, "not a regular file"), (2, "symbolic link"), (3, "not a regular file")];
        for (number, text) in cases {
            for mode in [ReadMode::Mmap, ReadMode::Heap] {
                let region = disk.open_region(FileName::Table(number), mode);
                check_io(region, "open", &path(number), text);
            }
            check_io(disk.create(FileName::Table(number)), "create", &path(number), "exists");
        }
        let socket = path(4);
        std::os::unix::net::UnixListener::bind(&socket).unwrap();
        check_io(Disk::open_path(&socket, ReadMode::Heap), "open", &socket, "");

        symlink("/etc/hostname", disk.path(FileName::Lock)).unwrap();
        check_io(disk.lock(), "lock", &dir.path().join("LOCK"), "symbolic link");
        fs::remove_file(dir.path().join("LOCK")).unwrap();
        assert!(Command::new("mkfifo").arg(dir.path().join("LOCK")).status().unwrap().success());
        check_io(disk.lock(), "lock", &dir.path().join("LOCK"), "not a regular file");
    }

    #[test]
    fn what_will_be_published_is_read_only() {
        let (_dir, disk) = disk();
        for (name, want) in [(FileName::Tmp(1), 0o400), (FileName::Log(1), 0o600)] {
            let mut file = disk.create(name).unwrap();
            file.write_all(b"written all the same", 0).unwrap();
            let mode = fs::metadata(disk.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, want, "{name}");
        }
    }

    #[test]
    fn the_lock_names_its_holder() {
        let (dir, disk) = disk();
        fs::write(dir.path().join("LOCK"), "a holder with a very long name, who is gone").unwrap();
        let guard = disk.lock().unwrap();
        let text = fs::read_to_string(dir.path().join("LOCK")).unwrap();
        assert!(!text.contains("gone"), "nothing of a longer text is left: {text}");
        assert!(text.starts_with(&format!("pid {}", std::process::id())), "{text}");
        match Disk::new(dir.path()).lock() {
            Err(Error::Locked { path, holder }) => {
                assert_eq!((path, holder), (dir.path().join("LOCK"), text));
            }
            other => panic!("a second lock: {other:?}"),
        }
        drop(guard);
        drop(disk.lock().unwrap());
        assert!(dir.path().join("LOCK").exists(), "the lock file stays");
    }

    #[test]
    fn a_lock_file_that_is_someone_elses_text_stays_one_line() {
        let (dir, disk) = disk();
        let _guard = disk.lock().unwrap();
        fs::write(
            dir.path().join("LOCK"),
            [b"a\n\x1b[1mb\xff".to_vec(), vec![b'x'; 1000]].concat(),
        )
        .unwrap();
        let Err(Error::Locked { holder, .. }) = disk.lock() else { panic!("locked twice") };
        assert!(holder.starts_with("a[1mb\u{fffd}x") && holder.len() < 300, "{holder}");
    }

    #[test]
    fn the_lock_ends_although_a_child_holds_its_descriptor() {
        let (_dir, disk) = disk();
        let file = File::create(disk.path(FileName::Lock)).unwrap();
        file.try_lock().unwrap();
        let in_child = file.try_clone().unwrap();
        assert!(matches!(disk.lock(), Err(Error::Locked { .. })));
        drop(DiskLock(file));
        disk.lock().unwrap();
        drop(in_child);
    }

    #[test]
    fn a_relative_path_is_taken_from_where_the_process_stands() {
        let disk = Disk::new("some/db");
        assert_eq!(disk.root(), std::env::current_dir().unwrap().join("some/db"));
    }

    #[test]
    fn entropy_does_not_repeat() {
        let disk = Disk::new("nowhere");
        let mut numbers: Vec<u64> = (0..1000).map(|_| disk.entropy()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1000);
    }
}
