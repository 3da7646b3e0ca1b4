//! Region: one immutable file as bytes.
//!
//! Readers of tables, logs and manifests take a region and never see a file. Mapped or in memory
//! it is one slice, and a read is a bounds check; otherwise every read copies what it asks for.
//!
//! ```text
//!   Region ── Whole: a map, or bytes in memory ── bytes(): the whole file, borrowed
//!          └─ Reader: an open file ────────────── read(): the wanted part, owned
//!
//!   guarded ─ a map that may fail ─────────────── read(): a copy, made before check()
//! ```
//!
//! # Invariants
//!
//! - `len` is fixed when the region is opened; nothing past it is ever read.
//! - A length that comes from a file allocates nothing before it is known to be in bounds.
//! - What a guarded region's [`bytes`](Region::bytes) say is believed only if [`check`](Region::check)
//!   succeeds afterwards. Once it fails it always does.
//!
//! Spec: none. I/O: reads of an open file. Unsafe: none here.

use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::mmap::Map;
use crate::error::{Error, FormatError, Result};

/// One immutable file as bytes. A clone is the same file; it stays readable after its removal.
#[derive(Clone)]
pub struct Region {
    path: Arc<Path>,
    len: u64,
    source: Source,
    guard: Option<Guard>,
}

/// Who knows whether the bytes of a map are those of the file.
#[derive(Clone)]
enum Guard {
    Map(Map),
    Simulated(Arc<dyn Faults>),
}

/// What a simulated disk says of a map.
pub(super) trait Faults: Send + Sync + 'static {
    /// Where the first page starts that was missing when it was read, if one was.
    fn fault(&self) -> Option<u64>;
}

#[derive(Clone)]
enum Source {
    /// All of it, as one slice; in a map, if there is one.
    Whole { bytes: Bytes, map: Option<Map> },
    /// A file that is read on request.
    Reader(Arc<dyn ReadAt>),
}

/// An open file that is read on request.
pub(super) trait ReadAt: Send + Sync + 'static {
    /// Reads into `buffer` from `offset` on and returns how much: 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A part of a [`Region`]: borrowed where the region is one slice, else a copy.
#[derive(Clone, Debug)]
pub enum Slice<'a> {
    /// A part of the region's own bytes.
    Borrowed(&'a [u8]),
    /// A copy, read from the file.
    Owned(Bytes),
}

impl Region {
    pub(super) fn mapped(path: &Path, map: Map) -> Self {
        let bytes = map.bytes();
        let len = bytes.len() as u64;
        Self {
            path: path.into(),
            len,
            source: Source::Whole { bytes, map: Some(map) },
            guard: None,
        }
    }

    /// A map that is guarded.
    pub(super) fn guarded(path: &Path, map: Map) -> Self {
        let guard = Some(Guard::Map(map.clone()));
        Self { guard, ..Self::mapped(path, map) }
    }

    /// Bytes in memory that behave as a guarded map does.
    pub(super) fn simulated_map(path: &Path, bytes: Bytes, faults: Arc<dyn Faults>) -> Self {
        Self { guard: Some(Guard::Simulated(faults)), ..Self::memory(path, bytes) }
    }

    pub(super) fn reader(path: &Path, len: u64, file: Arc<dyn ReadAt>) -> Self {
        Self { path: path.into(), len, source: Source::Reader(file), guard: None }
    }

    /// Bytes in memory as a region; `path` serves error messages alone.
    #[must_use]
    pub fn memory(path: &Path, bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        Self { path: path.into(), len, source: Source::Whole { bytes, map: None }, guard: None }
    }

    /// The length of the file when it was opened.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file was empty when it was opened.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file's path, for error messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file, if it is mapped or in memory.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.shared().map(|bytes| &**bytes)
    }

    #[inline]
    fn shared(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole { bytes, .. } => Some(bytes),
            Source::Reader(_) => None,
        }
    }

    fn map(&self) -> Option<&Map> {
        match &self.source {
            Source::Whole { map, .. } => map.as_ref(),
            Source::Reader(_) => None,
        }
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Cost
    ///
    /// A bounds check, if [`bytes`](Self::bytes) has them; else an allocation and a system call. A
    /// guarded map: an allocation and a copy.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file ends before that, or the system refuses; if a page of a guarded map
    /// was missing, now or earlier.
    #[inline]
    pub fn read(&self, offset: u64, len: usize) -> Result<Slice<'_>> {
        let Some(range) = part(self.len, offset, len) else {
            return Err(self.failed(ended(self.len)));
        };
        let read = match &self.source {
            Source::Whole { bytes, .. } => {
                bytes.get(range).map(Slice::Borrowed).ok_or_else(|| ended(self.len))
            }
            Source::Reader(file) => fetch(&**file, offset, len).map(Slice::Owned),
        };
        let slice = read.map_err(|source| self.failed(source))?;
        if self.is_guarded() { self.copied(slice) } else { Ok(slice) }
    }

    /// The bytes as a copy that is proven to be of the file.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline(never)]
    pub(crate) fn copied<'r>(&self, slice: Slice<'r>) -> Result<Slice<'r>> {
        let copy = match slice {
            Slice::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Slice::Owned(bytes) => bytes,
        };
        self.check()?;
        Ok(Slice::Owned(copy))
    }

    /// Whether it is a map whose missing pages read as zeros, so that [`check`](Self::check) has to be asked.
    #[inline]
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Whether what was read of a guarded map so far was there.
    ///
    /// # Cost
    ///
    /// A few loads.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] by file and offset from the first page on that was not: the file was cut, or the
    /// disk failed.
    #[inline]
    pub fn check(&self) -> Result<()> {
        match self.fault() {
            None => Ok(()),
            Some(offset) => Err(self.missing(offset)),
        }
    }

    #[inline]
    fn fault(&self) -> Option<u64> {
        match self.guard.as_ref()? {
            Guard::Map(map) => map.fault(),
            Guard::Simulated(faults) => faults.fault(),
        }
    }

    #[cold]
    fn missing(&self, offset: u64) -> Error {
        let what =
            format!("there is no data at offset {offset}: the file was cut, or the disk failed");
        self.failed(io::Error::other(what))
    }

    /// The error of a structure that starts at `base` and breaks a rule; of the disk, if that may
    /// be why.
    #[cold]
    #[must_use]
    pub fn corrupt(&self, base: u64, error: FormatError) -> Error {
        self.check().err().unwrap_or_else(|| Error::corrupt(&self.path, base, error))
    }

    #[cold]
    fn failed(&self, source: io::Error) -> Error {
        Error::io("read", &self.path, source)
    }

    /// Owned bytes that keep the file's memory alive instead of copying: `Some` if `part` lies
    /// within [`bytes`](Self::bytes). Of a guarded region they are no safer than those.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Option<Bytes> {
        let whole = self.shared()?;
        if part.is_empty() {
            return Some(Bytes::new());
        }
        let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= whole.len()).then(|| whole.slice(start..end))
    }

    /// Asks for huge pages and read-ahead where the file is mapped; a hint.
    pub fn advise_huge(&self) {
        if let Some(map) = self.map() {
            map.advise_huge();
        }
    }

    /// Asks that a missing page be read alone where the file is mapped; a hint.
    pub fn advise_random(&self) {
        if let Some(map) = self.map() {
            map.advise_random();
        }
    }

    /// Has what is missing of a part read from now on where the file is mapped; a hint.
    pub fn will_need(&self, part: Range<u64>) {
        if let Some(map) = self.map() {
            let place = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            map.will_need(place(part.start)..place(part.end));
        }
    }

    /// Brings all of a mapped file into memory; the bytes that are there then, 0 if it is no map.
    #[must_use]
    pub fn populate(&self) -> u64 {
        let Some(map) = self.map() else { return 0 };
        map.populate();
        self.len
    }

    /// Takes a page of the map away, as a disk that fails does.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn lose_page(&self, page: usize) {
        self.map().unwrap().lose_page(page);
    }

    /// How many bytes of the map use huge pages now; `None` if it is no map or the system doesn't
    /// tell.
    #[must_use]
    pub fn huge_page_len(&self) -> Option<u64> {
        self.map()?.huge_page_len()
    }
}

/// The range of `len` bytes at `offset`, if all of it is below `end`.
#[inline]
fn part(end: u64, offset: u64, len: usize) -> Option<Range<usize>> {
    let stop = offset.checked_add(len as u64).filter(|stop| *stop <= end)?;
    Some(usize::try_from(offset).ok()?..usize::try_from(stop).ok()?)
}

/// Reads exactly `len` bytes at `offset`.
fn fetch(file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => return Err(ended(offset + done as u64)),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.into())
}

#[cold]
fn ended(offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends at offset {offset}"))
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Whole { .. } if self.guard.is_some() => "guarded map",
            Source::Whole { map: Some(_), .. } => "map",
            Source::Whole { map: None, .. } => "memory",
            Source::Reader(_) => "file",
        };
        f.debug_struct("Region")
            .field("path", &self.path)
            .field("len", &self.len)
            .field("source", &source)
            .finish()
    }
}

impl Deref for Slice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Answers the way a moody system does: interrupted, one byte at a time, shorter than said.
    struct Moody {
        bytes: &'static [u8],
        calls: Mutex<u32>,
    }

    impl ReadAt for Moody {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            if *calls % 3 == 1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = &self.bytes[self.bytes.len().min(usize::try_from(offset).unwrap())..];
            let count = rest.len().min(1);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    fn moody(len: u64) -> Region {
        let file = Moody { bytes: b"0123456789", calls: Mutex::new(0) };
        Region::reader(Path::new("moody"), len, Arc::new(file))
    }

    fn memory() -> Region {
        Region::memory(Path::new("memory"), Bytes::from_static(b"0123456789"))
    }

    #[track_caller]
    fn check(region: &Region, offset: u64, len: usize, want: Option<&[u8]>) {
        match (region.read(offset, len), want) {
            (Ok(got), Some(want)) => assert_eq!(&*got, want, "{len} at {offset} of {region:?}"),
            (Err(Error::Io { op: "read", path, source }), None) => {
                assert_eq!(path, region.path());
                assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
            }
            (got, _) => panic!("{len} at {offset} of {region:?}: {got:?}"),
        }
    }

    #[test]
    fn a_part_is_read_or_refused() {
        for region in [memory(), moody(10)] {
            check(&region, 0, 10, Some(b"0123456789"));
            check(&region, 3, 4, Some(b"3456"));
            check(&region, 9, 1, Some(b"9"));
            check(&region, 10, 0, Some(b""));
            check(&region, 9, 2, None);
            check(&region, 11, 0, None);
            check(&region, u64::MAX, 1, None);
            check(&region, 0, usize::MAX, None);
            check(&region, u64::MAX, usize::MAX, None);
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        check(&moody(12), 8, 2, Some(b"89"));
        check(&moody(12), 8, 4, None);
    }

    #[test]
    fn only_bytes_in_memory_are_borrowed() {
        assert_eq!(memory().bytes(), Some(&b"0123456789"[..]));
        assert!(matches!(memory().read(1, 2), Ok(Slice::Borrowed(b"12"))));
        assert_eq!(moody(10).bytes(), None);
        assert!(matches!(moody(10).read(1, 2), Ok(Slice::Owned(_))));
    }

    #[test]
    fn a_part_is_shared_without_a_copy() {
        let region = memory();
        let bytes = region.bytes().unwrap();
        for range in [0..10, 2..5, 9..10] {
            let part = &bytes[range];
            let shared = region.share(part).unwrap();
            assert_eq!((shared.as_ptr(), shared.len()), (part.as_ptr(), part.len()));
        }
        assert_eq!(region.share(&[]), Some(Bytes::new()));
        assert_eq!(region.share(&[1, 2, 3]), None, "bytes of somebody else");
        assert_eq!(moody(10).share(bytes), None);
    }

    #[test]
    fn debug_shows_no_contents() {
        let text = format!("{:?}", memory());
        assert_eq!(text, r#"Region { path: "memory", len: 10, source: "memory" }"#);
    }
}
