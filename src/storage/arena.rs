//! Arena: memory that fills up while others read it, in huge pages where there is much of it.
//!
//! There are two kinds: [`Zeroed`] values that many threads change, which therefore are atomic, and
//! [`Chunk`]s of bytes that one [`Appender`] writes, once each. Nothing moves, and nothing is freed
//! before all of it is.
//!
//! ```text
//!   Chunk  │ bytes that readers may have │ what the appender writes next │ zeros │
//!          0                             └ published                            └ its length
//! ```
//!
//! # Invariants
//!
//! - It begins at a line of the cache; one of a huge page's length or more, at a huge page.
//! - All bytes are initialized: they are zero until they are written.
//! - Bytes of a chunk below `published` never change again; those above, no reader has.
//! - Memory that is not touched costs nothing: the system gives a page when it is first used.
//!
//! Spec: none. I/O: anonymous maps. Unsafe: memory that is written while it is shared.

use std::fmt;
#[cfg(not(loom))]
use std::marker::PhantomData;
#[cfg(not(loom))]
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::{Acquire, Release};
#[cfg(not(loom))]
use crate::sync::zeros::FromZeros;

#[cfg(loom)]
mod loom;
#[cfg(loom)]
pub(crate) use loom::Zeroed;

/// The length of a huge page, where there are any.
pub(crate) const HUGE_LEN: usize = 2 << 20;
/// Bytes of a line of the cache.
pub(crate) const LINE_LEN: usize = 64;
/// What is appended starts at a multiple of this.
pub(crate) const APPEND_ALIGN: usize = 8;
/// So little comes from the heap: it is not worth a map. Under Miri, which knows no advice for
/// maps, all does.
const MAX_HEAP_LEN: usize = if cfg!(miri) { usize::MAX } else { 32 << 10 };

/// Which pages memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// The smallest.
    Small,
    /// Huge ones, if there is enough for one and the system has some.
    Huge,
}

/// A line of the cache.
#[derive(zerocopy::FromZeros)]
#[repr(C, align(64))]
struct Line([u8; LINE_LEN]);

/// Memory that its owner may write through `base`, also while it is shared.
struct Memory {
    base: NonNull<u8>,
    /// A multiple of a line's.
    len: usize,
    source: Source,
}

/// What the memory belongs to. `base` lies in it; a move of this moves no byte of that. Until it is
/// dropped, `base` is the only way to the bytes.
enum Source {
    Heap(#[expect(dead_code, reason = "it owns the memory")] Vec<Line>),
    Map(MmapRaw),
}

// SAFETY: sending a `Memory` to another thread must not share what only one thread may use. It is
// the only owner of plain bytes, a vector or a map, which are freed the same way on any thread.
// `NonNull` is not `Send` only because nothing is known of what it points to.
#[expect(unsafe_code, reason = "a pointer is never Send; see SAFETY")]
unsafe impl Send for Memory {}

// SAFETY: sharing a `Memory` must not make a data race possible. Its fields do not change after
// `new`, and its methods read or write none of the bytes. Those who do, `Zeroed` and `Chunk`, prove
// for themselves that they may.
#[expect(unsafe_code, reason = "a pointer is never Sync; see SAFETY")]
unsafe impl Sync for Memory {}

impl Memory {
    /// At least `len` bytes of zeros; `None` if the system has not got them.
    fn new(len: usize, pages: Pages) -> Option<Self> {
        if len <= MAX_HEAP_LEN {
            return Self::on_heap(len);
        }
        // The system may give a map at any small page: one huge page more holds a huge page's start.
        let align = if len < HUGE_LEN { LINE_LEN } else { HUGE_LEN };
        let len = len.checked_next_multiple_of(align)?;
        let map_len = if align == HUGE_LEN { len.checked_add(HUGE_LEN)? } else { len };
        isize::try_from(map_len).ok()?;
        let map = MmapRaw::from(MmapOptions::new().len(map_len).map_anon().ok()?);
        let start = map.as_ptr().align_offset(align);
        start.checked_add(len).filter(|end| *end <= map.len())?;
        // The map's first byte is `start` bytes below, so this neither wraps nor leaves the map.
        let base = NonNull::new(map.as_mut_ptr().wrapping_add(start))?;
        let memory = Self { base, len, source: Source::Map(map) };
        if pages == Pages::Huge {
            memory.advise_huge();
        }
        Some(memory)
    }

    fn on_heap(len: usize) -> Option<Self> {
        let mut lines =
            <Line as zerocopy::FromZeros>::new_vec_zeroed(len.div_ceil(LINE_LEN)).ok()?;
        let len = lines.len() * LINE_LEN;
        // A vector's pointer dangles if it is empty, and is good for no bytes then.
        let base = NonNull::new(lines.as_mut_ptr().cast())?;
        Some(Self { base, len, source: Source::Heap(lines) })
    }

    /// Asks for huge pages, in the parts that have no pages yet; a hint.
    fn advise_huge(&self) {
        #[cfg(target_os = "linux")]
        if let Source::Map(map) = &self.source {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
    }
}

/// Values that are zero at first and that threads share: they change themselves, or never.
#[cfg(not(loom))]
pub(crate) struct Zeroed<T> {
    memory: Memory,
    len: usize,
    /// It is shared and sent as a vector of these.
    values: PhantomData<Vec<T>>,
}

#[cfg(not(loom))]
impl<T: FromZeros> Zeroed<T> {
    /// So many values; `None` if the system has no memory for them.
    pub(crate) fn new(len: usize, pages: Pages) -> Option<Self> {
        const {
            assert!(align_of::<T>() <= LINE_LEN, "memory begins at a line of the cache");
            assert!(!std::mem::needs_drop::<T>(), "the values are not dropped");
        }
        let memory = Memory::new(len.checked_mul(size_of::<T>())?, pages)?;
        Some(Self { memory, len, values: PhantomData })
    }
}

#[cfg(not(loom))]
impl<T> Deref for Zeroed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: a slice requires, as long as it lives:
        // - a pointer that is not null, aligned, and good for reads of `len` values within one
        //   allocation: `base` begins a line of the cache, which `new` found to be enough for `T`,
        //   and `memory.len`, at least `len * size_of::<T>()` bytes and at most `isize::MAX`, lie in
        //   the one map or vector that `memory` owns. The slice borrows `self`, which owns `memory`.
        // - initialized values: only `new` makes a `Zeroed`; there all bytes are zero, `T` is
        //   `FromZeros`, and from then on only such slices lead to the bytes.
        // - that nothing changes but inside of an `UnsafeCell`: there are only shared slices, for
        //   ever of the same `T`. The memory is written as that of a vector would be, and `T`
        //   decides, as an element of that vector, whether threads may share it.
        #[expect(unsafe_code, reason = "a slice from a pointer; see SAFETY")]
        unsafe {
            std::slice::from_raw_parts(self.memory.base.as_ptr().cast(), self.len)
        }
    }
}

#[cfg(not(loom))]
impl<T> fmt::Debug for Zeroed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zeroed").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Bytes that one appender writes while others read those that are there.
pub(crate) struct Chunk {
    memory: Memory,
    published: AtomicUsize,
    /// What loom watches in place of the bytes.
    #[cfg(loom)]
    watched: loom::Watched,
}

impl Chunk {
    /// The bytes from `start` on that are there by now; none if it is not that far.
    #[inline]
    pub(crate) fn from(&self, start: usize) -> &[u8] {
        let published = self.published.load(Acquire);
        let Some(len) = published.checked_sub(start) else { return &[] };
        #[cfg(loom)]
        self.watched.read(start..published);
        // SAFETY: a slice requires, as long as it lives:
        // - a pointer that is good for reads of `len` bytes within one allocation: `start + len` is
        //   `published`, which the appender keeps at most `memory.len`; so the bytes lie in the one
        //   map or vector that `memory` owns, at most `isize::MAX` long. The slice borrows `self`,
        //   which owns `memory`.
        // - initialized bytes: all were zero from the beginning.
        // - that nobody writes them: only the one appender writes, never below the end that it
        //   published last. It wrote these bytes before it stored that end with release order, which
        //   was loaded with acquire order: its writes happened before this.
        #[expect(unsafe_code, reason = "a slice from a pointer; see SAFETY")]
        unsafe {
            std::slice::from_raw_parts(self.memory.base.as_ptr().add(start), len)
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.memory.len).finish_non_exhaustive()
    }
}

/// The one that writes to a chunk: there is no other, and it can't be cloned.
#[derive(Debug)]
pub(crate) struct Appender {
    chunk: Arc<Chunk>,
    /// What `published` of the chunk is; nobody else changes that.
    end: usize,
}

impl Appender {
    /// The appender of a new chunk with room for `len` bytes; `None` if the system has none.
    pub(crate) fn new(len: usize, pages: Pages) -> Option<Self> {
        let memory = Memory::new(len, pages)?;
        let chunk = Arc::new(Chunk {
            #[cfg(loom)]
            watched: loom::Watched::new(memory.len),
            memory,
            published: AtomicUsize::new(0),
        });
        Some(Self { chunk, end: 0 })
    }

    /// The chunk, for its readers.
    pub(crate) fn chunk(&self) -> Arc<Chunk> {
        Arc::clone(&self.chunk)
    }

    /// Appends copies of the parts, one behind the other, and returns where the first one starts;
    /// `None` if there is no room for all of them.
    #[inline]
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> Option<usize> {
        let start = self.end.checked_next_multiple_of(APPEND_ALIGN)?;
        let end = parts.iter().try_fold(start, |end, part| end.checked_add(part.len()))?;
        if end > self.chunk.memory.len {
            return None;
        }
        #[cfg(loom)]
        self.chunk.watched.write(start..end);
        let mut at = start;
        for part in parts {
            // SAFETY: copying requires:
            // - a source of `part.len()` bytes that nobody writes meanwhile: it is a slice.
            // - a target that is good for so many bytes: the parts' lengths from `start` on sum up
            //   to `end`, at most `memory.len`, and so `at` and the bytes behind it lie in the map
            //   or vector that the chunk owns. `base` may be written through: it comes from a raw
            //   map or from `as_mut_ptr`.
            // - that both don't overlap, and that nobody else reads or writes the target: no slice
            //   leads there, because `Chunk::from` ends at `published`, which is `self.end`, at most
            //   `start`. And there is no second writer: only `new` makes an appender, it makes one a
            //   chunk, and this borrows it mutably.
            #[expect(unsafe_code, reason = "writing behind what is shared; see SAFETY")]
            unsafe {
                let target = self.chunk.memory.base.as_ptr().add(at);
                std::ptr::copy_nonoverlapping(part.as_ptr(), target, part.len());
            }
            at += part.len();
        }
        self.end = end;
        self.chunk.published.store(end, Release);
        Some(start)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    /// Under Miri all memory is the heap's, and a long one takes long.
    const LENS: [usize; 8] = if cfg!(miri) {
        [0, 1, 63, 64, 65, 100, 1000, 1001]
    } else {
        [0, 1, 64, 1000, 32 << 10, (32 << 10) + 1, HUGE_LEN - 1, 2 * HUGE_LEN + 1]
    };

    #[test]
    fn zeroed_values_are_aligned_and_zero_and_keep_what_is_stored() {
        for len in LENS {
            for pages in [Pages::Small, Pages::Huge] {
                let words = Zeroed::<AtomicU64>::new(len / 8, pages).unwrap();
                assert_eq!(words.len(), len / 8);
                let align = if len < HUGE_LEN || cfg!(miri) { LINE_LEN } else { HUGE_LEN };
                assert!(words.as_ptr().addr().is_multiple_of(align), "{len} bytes");
                assert!(words.iter().all(|word| word.load(Relaxed) == 0));
                let last = |words: &Zeroed<AtomicU64>| words.last().map(|word| word.load(Relaxed));
                if let Some(word) = words.last() {
                    word.store(7, Relaxed);
                }
                let moved = words;
                assert_eq!(last(&moved).unwrap_or(7), 7, "a move does not change them");
                assert!(moved.iter().rev().skip(1).all(|word| word.load(Relaxed) == 0));
            }
        }
    }

    #[test]
    fn without_memory_there_is_none() {
        assert!(Zeroed::<AtomicU64>::new(usize::MAX, Pages::Huge).is_none());
        assert!(Zeroed::<AtomicU64>::new(usize::MAX / 8, Pages::Huge).is_none());
        assert!(Zeroed::<AtomicU64>::new(isize::MAX as usize / 8, Pages::Small).is_none());
        assert!(Appender::new(usize::MAX, Pages::Small).is_none());
        assert!(Appender::new(isize::MAX as usize - 1, Pages::Huge).is_none());
    }

    #[test]
    fn what_is_appended_stays_and_fills_the_chunk_to_its_end() {
        for len in LENS {
            let mut appender = Appender::new(len, Pages::Huge).unwrap();
            let chunk = appender.chunk();
            let room = chunk.memory.len;
            assert!(room >= len && chunk.from(0).is_empty());
            assert_eq!(appender.append(&[&vec![1; room + 1]]), None);
            assert_eq!(appender.append(&[&vec![1; room], b"1"]), None, "nor in parts");
            assert_eq!(appender.append(&[]), Some(0));
            assert_eq!(appender.append(&[b"", b""]), Some(0));
            if room == 0 {
                continue;
            }
            assert_eq!(appender.append(&[b"a", b"", b"bc"]), Some(0));
            let first = chunk.from(0);
            assert_eq!(appender.append(&[&vec![2; room - 8]]), Some(8), "aligned");
            assert_eq!(appender.append(&[b"x"]), None);
            assert_eq!(appender.append(&[]), Some(room), "nothing has room");
            drop(appender);
            assert_eq!(first, b"abc", "a slice stays as it was");
            assert_eq!(chunk.from(0).len(), room);
            assert_eq!(&chunk.from(0)[..9], b"abc\0\0\0\0\0\x02");
            assert!(chunk.from(8).iter().all(|byte| *byte == 2));
            for beyond in [room, room + 1, usize::MAX] {
                assert!(chunk.from(beyond).is_empty());
            }
        }
    }

    /// What is published was written before: never a zero, and what it was appended as.
    #[test]
    fn readers_beside_an_appender_see_only_what_was_written() {
        const COUNT: u8 = if cfg!(miri) { 5 } else { 200 };
        const PART_LEN: usize = if cfg!(miri) { 64 } else { 16 << 10 };
        const LEN: usize = 3 * PART_LEN;
        let mut appender = Appender::new(usize::from(COUNT) * LEN, Pages::Huge).unwrap();
        let chunk = appender.chunk();
        let read = || {
            let mut at = 0;
            while at < usize::from(COUNT) * LEN {
                let bytes = chunk.from(at);
                assert!(bytes.len().is_multiple_of(LEN), "{} bytes at {at}", bytes.len());
                for record in bytes.chunks(LEN) {
                    let want = u8::try_from(at / LEN + 1).unwrap();
                    assert!(record.iter().all(|byte| *byte == want), "at {at}");
                    at += LEN;
                }
            }
        };
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(read)));
            for number in 1..=COUNT {
                let part = [number; PART_LEN];
                appender.append(&[&part, &part, &part]).unwrap();
                std::thread::yield_now();
            }
        });
        assert_eq!(chunk.from(0).len(), usize::from(COUNT) * LEN);
    }
}
