//! The memtable: the newest rows, sorted in memory while they wait to become a table.
//!
//! A skip list that only grows. Rows are numbered as they come, and links are those numbers; the
//! numbers lead to nodes that never move, so a reader needs no lock and no help from the writer.
//!
//! ```text
//!   level 3   head ──────────────────────► 2 ──────────────────────►      one node in 64
//!   level 2   head ──────────► 4 ────────► 2 ──────────────────────►      one in 16
//!   level 1   head ──► 3 ────► 4 ────────► 2 ────────► 1 ──────────►      one in 4
//!   level 0   head ──► 3 ◄───► 4 ◄──► 6 ◄► 2 ◄──► 5 ◄► 1 ──────────►      every node
//! ```
//!
//! A point lookup need not walk down the levels, where every step waits for memory: a hash index
//! beside the list leads to the newest row of a key, and the older ones follow it on level 0.
//!
//! # Invariants
//!
//! - Rows ascend by user key, then descend by seqno; no internal key stands twice.
//! - One writer at a time, which has the lock; a read takes no lock and allocates nothing.
//! - A node is published first and then linked from the lowest level upwards, each link with
//!   release order: whoever finds a node on some level finds it complete on all levels below.
//! - `prev` names the node before, or while a row is being inserted between the two an earlier
//!   one: the way forward from there is always exact.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::error::Result;
use crate::format::row::Row;
use crate::range_tombstones::RangeTombstones;

mod cursor;
mod growing_array;
mod hash_index;
mod key_filter;
mod lines;
mod node;
mod range_deletes;
mod shared_value;
mod writer;

pub(crate) use cursor::MemtableCursor;
use growing_array::GrowingArray;
use hash_index::{ENTRY_LEN, HashIndex, Known};
use key_filter::KeyFilter;
use node::{INLINE_LINK_COUNT, Node, Slot, Target};
use writer::{Place, Writer, too_many_rows};

/// Levels enough for four rows to the power of sixteen: every `u32`.
const MAX_HEIGHT: usize = 16;
/// The number that stands for "no node".
const NONE: u32 = 0;
/// The hash index has an entry for so many bytes of a full memtable. No row takes less than 96
/// bytes, and one with a value of 100 bytes takes about 220: so it is a third full with such
/// rows, and has room for nearly all of the shortest ones.
const BYTES_PER_ENTRY: usize = 80;
/// The filter has a byte for so many bytes of a full memtable: 14 bits for a row of 220 bytes.
const BYTES_PER_FILTER_BYTE: usize = 128;
/// An index is not smaller than this.
const MIN_ENTRY_COUNT: usize = 256;
/// After so many versions that are too new, a search is cheaper than going on by steps.
const MAX_STEP_COUNT: usize = 4;

/// The newest rows, sorted in memory.
pub(crate) struct Memtable {
    /// The first node of each level.
    first: [AtomicU32; MAX_HEIGHT],
    /// How many levels have a node.
    height: AtomicUsize,
    nodes: GrowingArray<Slot>,
    /// The links above those that stand in the nodes.
    upper_links: GrowingArray<AtomicU32>,
    filter: KeyFilter,
    index: HashIndex,
    /// Whether there are range tombstones, for those who only ask that.
    deletes_ranges: AtomicBool,
    range_tombstones: ArcSwapOption<RangeTombstones>,
    len: AtomicUsize,
    memory_len: AtomicUsize,
    max_seqno: AtomicU64,
    writer: Mutex<Writer>,
}

/// Shows no rows: they are the user's.
impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memtable")
            .field("len", &self.len())
            .field("memory_len", &self.memory_len())
            .finish_non_exhaustive()
    }
}

impl Default for Memtable {
    fn default() -> Self {
        Self::new()
    }
}

impl Memtable {
    /// A memtable without rows that is never going to hold many.
    pub(crate) fn new() -> Self {
        Self::with_capacity_for(0)
    }

    /// A memtable without rows. It may take more memory than this; only then reads slow down,
    /// as its hash index does not grow.
    ///
    /// # Cost
    ///
    /// The index, a tenth of the size, is only reserved: it takes memory as rows come.
    pub(crate) fn with_capacity_for(memtable_size: usize) -> Self {
        Self {
            first: [const { AtomicU32::new(NONE) }; MAX_HEIGHT],
            height: AtomicUsize::new(1),
            nodes: GrowingArray::new(),
            upper_links: GrowingArray::new(),
            filter: KeyFilter::new(memtable_size / BYTES_PER_FILTER_BYTE),
            index: HashIndex::new((memtable_size / BYTES_PER_ENTRY).max(MIN_ENTRY_COUNT)),
            deletes_ranges: AtomicBool::new(false),
            range_tombstones: ArcSwapOption::empty(),
            len: AtomicUsize::new(0),
            memory_len: AtomicUsize::new(0),
            max_seqno: AtomicU64::new(0),
            writer: Mutex::new(Writer::new()),
        }
    }

    /// Inserts a copy of `row`, whose key has this hash. Its internal key should be new; if it is
    /// not, the row that is there stays.
    ///
    /// # Cost
    ///
    /// O(log n) and one allocation. Readers go on meanwhile; other writers wait.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`](crate::Error::KeyTooLarge);
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) after four thousand million rows.
    pub(crate) fn insert(&self, row: &Row<'_>, hash: u64) -> Result<()> {
        // Whatever a writer did before it panicked is complete or not linked.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.touch(hash);
        let target = Target::new(row.key, row.seqno);
        let mut gaps = [Gap::default(); MAX_HEIGHT];
        let found = self.search(&target, |level, gap| {
            if let Some(slot) = gaps.get_mut(level) {
                *slot = gap;
            }
        });
        if self.node(found.after).is_some_and(|node| node.is_at(&target)) {
            return Ok(());
        }
        let place = writer.next_place().ok_or_else(too_many_rows)?;
        let [a, b, c, ..] = gaps.map(|gap| gap.after);
        let node = Node::new(row, [a, b, c], place.upper, found.before)?;
        let memory_len = node.memory_len() + size_of::<AtomicU32>() * place.upper_count;
        let slot = self.nodes.get_or_grow(place.number).ok_or_else(too_many_rows)?;
        let upper_gaps = gaps.iter().skip(INLINE_LINK_COUNT).take(place.upper_count);
        for (index, gap) in (place.upper..).zip(upper_gaps) {
            let link = self.upper_links.get_or_grow(index).ok_or_else(too_many_rows)?;
            link.store(gap.after, Relaxed);
        }
        slot.0.set(node).map_err(|_| too_many_rows())?;
        writer.taken(&place);
        self.filter.add(hash);
        self.link(&place, &gaps);
        let index_len = self.note_in_index(&target, hash, place.number, found);

        self.memory_len.store(self.memory_len() + memory_len + index_len, Relaxed);
        self.max_seqno.store(self.max_seqno().max(row.seqno), Relaxed);
        self.len.store(self.len() + 1, Release);
        Ok(())
    }

    /// Whether a key with this hash may have a row; `false` is certain.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.first() != NONE && self.filter.may_contain(hash)
    }

    /// The number of the newest version of `key` that is not newer than `seqno`, of any kind.
    /// `hash` is the one that the key's rows were inserted with.
    ///
    /// # Cost
    ///
    /// One line of the index, and the row's own lines. O(log n) probes of a cache line each if
    /// more than a few versions are newer than `seqno`, or if the index had no room for the key.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], hash: u64, seqno: u64) -> Option<u32> {
        if !self.filter.may_contain(hash) {
            return None;
        }
        let target = Target::new(key, seqno);
        let has_key = |number| self.node(number).is_some_and(|node| node.has_key(&target));
        let mut number = match self.index.find(hash, has_key) {
            Known::Newest(number) => number,
            Known::Absent => return None,
            Known::Nothing => return self.find_in_list(&target),
        };
        let mut node = self.node(number)?;
        for _ in 0..MAX_STEP_COUNT {
            if node.seqno() <= seqno {
                return Some(number);
            }
            number = node.next();
            node = self.node(number).filter(|node| node.has_key(&target))?;
        }
        self.find_in_list(&target)
    }

    /// What `find` finds, without the index.
    fn find_in_list(&self, target: &Target<'_>) -> Option<u32> {
        let number = self.first_from(target);
        self.node(number)?.has_key(target).then_some(number)
    }

    /// The row with this number; a row keeps its number.
    #[inline]
    pub(crate) fn row(&self, number: u32) -> Option<Row<'_>> {
        self.node(number).map(Node::row)
    }

    /// How many rows there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Whether there are no rows and no range tombstones.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first() == NONE && !self.deletes_ranges()
    }

    /// About how much memory the rows take, in bytes.
    #[inline]
    pub(crate) fn memory_len(&self) -> usize {
        self.memory_len.load(Relaxed)
    }

    /// The largest seqno of any row; 0 if there are none.
    #[inline]
    pub(crate) fn max_seqno(&self) -> u64 {
        self.max_seqno.load(Relaxed)
    }

    /// The first row.
    #[inline]
    fn first(&self) -> u32 {
        self.next(None, 0)
    }

    /// The last row.
    fn last(&self) -> u32 {
        let mut last = NONE;
        for level in (0..self.height.load(Relaxed)).rev() {
            while let next @ 1.. = self.next(self.node(last), level) {
                last = next;
            }
        }
        last
    }

    /// The first row at or after an internal key.
    #[inline]
    fn first_from(&self, target: &Target<'_>) -> u32 {
        self.search(target, |_, _| ()).after
    }

    /// The last row at or before an internal key.
    fn last_until(&self, target: &Target<'_>) -> u32 {
        let gap = self.search(target, |_, _| ());
        match self.node(gap.after) {
            Some(node) if node.is_at(target) => gap.after,
            _ => gap.before,
        }
    }

    /// The row before this one.
    #[inline]
    fn before(&self, number: u32) -> u32 {
        let Some(node) = self.node(number) else { return NONE };
        let mut before = node.prev.load(Acquire);
        loop {
            let next = self.next(self.node(before), 0);
            // Rows that are just being inserted between the two are linked forward first.
            if next == number || next == NONE {
                return before;
            }
            before = next;
        }
    }

    /// The two neighbors on the lowest level between which the internal key belongs: `after` is
    /// the first node at or after it. `visit` sees that gap on every level, from the highest.
    #[inline]
    fn search(&self, target: &Target<'_>, mut visit: impl FnMut(usize, Gap)) -> Gap {
        let mut gap = Gap::default();
        let mut at = None;
        for level in (0..self.height.load(Relaxed)).rev() {
            loop {
                let next = self.next(at, level);
                // Often the node that ended the level above ends this one, too.
                if next == gap.after {
                    break;
                }
                let Some(node) = self.node(next) else { break };
                if !node.is_before(target) {
                    gap.after = next;
                    break;
                }
                gap.before = next;
                at = Some(node);
            }
            visit(level, gap);
        }
        gap
    }

    /// Links a published node into its gaps.
    fn link(&self, place: &Place, gaps: &[Gap; MAX_HEIGHT]) {
        for (level, gap) in gaps.iter().enumerate().take(place.height) {
            if let Some(link) = self.link_after(self.node(gap.before), level) {
                link.store(place.number, Release);
            }
            if level == 0
                && let Some(after) = self.node(gap.after)
            {
                after.prev.store(place.number, Release);
            }
        }
        self.height.fetch_max(place.height, Relaxed);
    }

    /// Leads the index to a row that was linked between two others, and returns how much memory
    /// of the index that takes.
    fn note_in_index(&self, target: &Target<'_>, hash: u64, number: u32, gap: Gap) -> usize {
        let has_key = |number| self.node(number).is_some_and(|node| node.has_key(target));
        if has_key(gap.before) {
            // A newer version was there first: the index leads to that or to a newer one.
            return 0;
        }
        if has_key(gap.after) {
            self.index.replace(hash, gap.after, number);
            return 0;
        }
        if self.index.add(hash, number) { ENTRY_LEN } else { 0 }
    }

    /// The node with this number.
    #[inline]
    fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number)?.0.get()
    }

    /// The node behind `at`, or the first one, on a level where `at` stands.
    #[inline]
    fn next(&self, at: Option<&Node>, level: usize) -> u32 {
        self.link_after(at, level).map_or(NONE, |link| link.load(Acquire))
    }

    /// The link from `at`, or from the head, to the next node of a level.
    #[inline]
    fn link_after<'a>(&'a self, at: Option<&'a Node>, level: usize) -> Option<&'a AtomicU32> {
        let Some(node) = at else { return self.first.get(level) };
        node.next.get(level).or_else(|| {
            let index = u32::try_from(level - INLINE_LINK_COUNT).ok()?;
            self.upper_links.get(node.upper.checked_add(index)?)
        })
    }
}

/// Two neighbors on one level; [`NONE`] before the first and after the last.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    before: u32,
    after: u32,
}

#[cfg(test)]
mod tests;
