//! Map: a whole file as memory, read-only.
//!
//! The file's pages stand in the page cache once, for all processes, and a read is a load. The
//! map outlives the descriptor and the name: a removed file keeps its blocks until the last map
//! of it is gone.
//!
//! # Invariants
//!
//! - Only finished files are mapped, and nothing in TinyDB writes to a finished file.
//! - A map is never empty: the system refuses that, so an empty file is plain empty bytes.
//! - A page that the disk can't deliver ends the process, unless the map is guarded (`guard.rs`).
//!
//! Spec: none. I/O: the map itself, `/proc/self/smaps`. Unsafe: `mmap`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions};

use super::guard::Guard;

/// The kernel reads no more than its read-ahead for one request, and that is 128 KiB by default.
const READ_AHEAD: usize = 128 << 10;
/// A part of a map is brought in by pieces of so many bytes: a huge page, or a few.
const PIECE: usize = 8 << 20;

/// A mapped file. A clone is the same map.
#[derive(Clone)]
pub(super) struct Map(Arc<Inner>);

struct Inner {
    /// Dropped before the map, whose addresses may be another one's afterwards.
    guard: Option<Guard>,
    mmap: Mmap,
}

impl Map {
    /// Maps the first `len` bytes of `file`, at least one; the file may be closed afterwards.
    pub(super) fn new(file: &File, len: usize) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { guard: None, mmap: Self::map(file, len)? })))
    }

    /// As [`new`](Self::new), but a page that is missing reads as zeros, and [`fault`](Self::fault) says so.
    pub(super) fn guarded(file: &File, len: usize) -> io::Result<Self> {
        let mmap = Self::map(file, len)?;
        let guard = Guard::over(mmap.as_ptr().addr(), len)?;
        Ok(Self(Arc::new(Inner { guard: Some(guard), mmap })))
    }

    fn map(file: &File, len: usize) -> io::Result<Mmap> {
        // SAFETY: mapping a file requires that nobody changes or truncates it while the map
        // lives. Finished files are immutable: a writer renames them into place only when they
        // are complete, no code path opens one for writing (`Disk::create` demands a new name),
        // and removal takes the name away while the map keeps the inode. LOCK keeps other
        // writers out. A log is mapped only by recovery, before this process writes to any, and
        // is never written again afterwards. `len` is the length that the file has now, so no
        // page lies wholly past its end. A foreign program that truncates or overwrites the file
        // breaks this contract; the README tells users so, and offers `ReadMode::Guarded`,
        // which finds out and believes nothing then, and `ReadMode::Heap`.
        #[expect(unsafe_code, reason = "mapping a file is unsafe; see SAFETY")]
        let map = unsafe { MmapOptions::new().len(len).map(file)? };
        Ok(map)
    }

    /// Where the first page starts that was missing when somebody read it, if the map is guarded.
    #[inline]
    pub(super) fn fault(&self) -> Option<u64> {
        self.0.guard.as_ref()?.fault()
    }

    /// The mapped bytes; they keep the map alive.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Asks for huge pages and for read-ahead; a hint that systems without them ignore.
    pub(super) fn advise_huge(&self) {
        let _ = self.0.mmap.advise(Advice::Normal);
        #[cfg(target_os = "linux")]
        let _ = self.0.mmap.advise(Advice::HugePage);
    }

    /// Asks that a page that is missing be read alone.
    ///
    /// A map that asks for huge pages reads as much as one of them, whatever else was advised.
    pub(super) fn advise_random(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.mmap.advise(Advice::NoHugePage);
        let _ = self.0.mmap.advise(Advice::Random);
    }

    /// Has what is missing of a part read from now on, and returns at once; a hint.
    pub(super) fn will_need(&self, part: Range<usize>) {
        let end = part.end.min(self.0.mmap.len());
        for start in (part.start..end).step_by(READ_AHEAD) {
            let _ = self.0.mmap.advise_range(Advice::WillNeed, start, READ_AHEAD.min(end - start));
        }
    }

    /// Brings all of the map into memory and into the page tables, on return; where the system has
    /// no such call, has it read from now on.
    pub(super) fn populate(&self) {
        let len = self.0.mmap.len();
        for start in (0..len).step_by(PIECE) {
            let piece = start..len.min(start + PIECE);
            #[cfg(target_os = "linux")]
            if self.0.mmap.advise_range(Advice::PopulateRead, start, piece.len()).is_ok() {
                continue;
            }
            self.will_need(piece);
        }
    }

    /// Takes a page of the map away: a load of it is SIGBUS, as if the disk failed.
    #[cfg(all(test, target_os = "linux"))]
    #[expect(unsafe_code, reason = "replacing a page; see SAFETY")]
    pub(super) fn lose_page(&self, page: usize) {
        use std::os::fd::AsRawFd;

        let empty = tempfile::tempfile().unwrap();
        let place = self.0.mmap.as_ptr().wrapping_add(page * 4096).cast_mut().cast();
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: the page is one of the map's, and is unmapped with it. No byte of it is seen any more,
        // as the file that it is of now has none: the guard of the map takes care of who tries.
        let lost = unsafe {
            assert!(page * 4096 < self.0.mmap.len() && self.0.guard.is_some());
            libc::mmap(place, 4096, libc::PROT_READ, flags, empty.as_raw_fd(), 0)
        };
        assert_eq!(lost, place);
    }

    /// How many bytes of the map use huge pages now; `None` if the system doesn't tell.
    pub(super) fn huge_page_len(&self) -> Option<u64> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let start = self.0.mmap.as_ptr().addr() as u64;
        huge_page_len(&smaps, start, start.saturating_add(self.0.mmap.len() as u64))
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0.mmap
    }
}

/// The sum of `FilePmdMapped` over the areas of `smaps` that start in `start..end`.
///
/// An area is a line `7f00-7fff r--s …` in hexadecimal, followed by lines `Name:  8 kB`.
fn huge_page_len(smaps: &str, start: u64, end: u64) -> Option<u64> {
    let mut inside = false;
    let mut sum = None;
    for line in smaps.lines() {
        if let Some(kib) = line.strip_prefix("FilePmdMapped:").filter(|_| inside) {
            let kib: u64 = kib.trim().strip_suffix(" kB")?.parse().ok()?;
            sum = Some(sum.unwrap_or(0) + kib * 1024);
        } else if let Some(area) = area_start(line) {
            inside = (start..end).contains(&area);
        }
    }
    sum
}

/// Where the area starts that `line` introduces, if it introduces one.
fn area_start(line: &str) -> Option<u64> {
    let (start, _) = line.split_once(' ')?.0.split_once('-')?;
    u64::from_str_radix(start, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_map_outlives_the_descriptor_and_the_name() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"in place").unwrap();
        let map = Map::new(file.as_file(), 8).unwrap();
        drop(file);
        assert_eq!(&map.bytes()[..], b"in place");
        let part = map.bytes().slice(3..);
        drop(map);
        assert_eq!(&part[..], b"place");
    }

    /// Reports whether huge pages were reached: that takes Linux 6.16, ext4 or XFS, and large
    /// writes, so it is no fault without them.
    #[test]
    fn huge_pages_are_a_hint() {
        const LEN: usize = 8 << 20;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![1; LEN]).unwrap();
        let map = Map::new(file.as_file(), LEN).unwrap();
        map.advise_huge();
        assert!(map.bytes().iter().step_by(4096).all(|byte| *byte == 1));
        let huge = map.huge_page_len();
        println!("{huge:?} of {LEN} bytes use huge pages");
        assert!(huge.is_none_or(|huge| huge <= LEN as u64));
    }

    /// The flags of the areas of the map: `rr` is random access, `hg` and `nh` huge pages or none.
    #[cfg(target_os = "linux")]
    fn flags(map: &Map) -> Vec<String> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut inside, mut found) = (false, Vec::new());
        for line in smaps.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                found.extend(flags.split_whitespace().map(str::to_owned));
            } else if let Some(area) = area_start(line) {
                inside = area == map.0.mmap.as_ptr().addr() as u64;
            }
        }
        found
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn advice_is_taken_back_by_the_other_one() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 3 << 20]).unwrap();
        let map = Map::new(file.as_file(), 3 << 20).unwrap();
        let has = |flag: &str| flags(&map).iter().any(|found| found == flag);
        for _ in 0..2 {
            map.advise_random();
            assert!(has("rr") && !has("hg"), "{:?}", flags(&map));
            map.advise_huge();
            assert!(!has("rr") && !has("nh"), "{:?}", flags(&map));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_populated_map_is_in_the_page_tables() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 10 << 20]).unwrap();
        let map = Map::new(file.as_file(), 10 << 20).unwrap();
        let resident = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let start = format!("{:x}-", map.0.mmap.as_ptr().addr());
            let mut area = smaps.lines().skip_while(|line| !line.starts_with(&start));
            let rss = area.find_map(|line| line.strip_prefix("Rss:")).unwrap();
            rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        assert_eq!(resident(), 0);
        map.will_need(0..usize::MAX);
        map.will_need(usize::MAX..usize::MAX);
        map.populate();
        // Before Linux 5.14 there is no such call.
        assert!([0, 10 << 20].contains(&resident()), "{}", resident());
        println!("{} of 10 MiB are in the page tables", resident() >> 20);
        assert_eq!(map.bytes().last(), Some(&7));
    }

    #[test]
    fn smaps_are_summed_over_the_areas_of_the_map() {
        let smaps = "\
1000-2000 r--s 00000000 08:01 7 /db/TABLE-000001
Size:                  4 kB
FilePmdMapped:         1 kB
VmFlags: rd mr
2000-4000 r--s 00000000 08:01 8 /db/TABLE-000002
FilePmdMapped:      2048 kB
4000-5000 r--s 00002000 08:01 8 /db/TABLE-000002
FilePmdMapped:      4096 kB
5000-6000 r--s 00000000 08:01 9 /db/TABLE-000003
FilePmdMapped:         8 kB
";
        for (start, end, want) in [
            (0x1000, 0x2000, Some(1 << 10)),
            (0x2000, 0x5000, Some(6 << 20)),
            (0x6000, 0x7000, None),
            (0x0, 0x1000, None),
        ] {
            assert_eq!(huge_page_len(smaps, start, end), want, "{start:#x}..{end:#x}");
        }
        assert_eq!(huge_page_len("", 0, u64::MAX), None);
        assert_eq!(huge_page_len("1000-2000 r\nFilePmdMapped: x kB", 0, u64::MAX), None);
    }
}
