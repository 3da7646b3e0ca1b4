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
//! beside the list leads to the newest row of a key, and the older ones follow it on level 0. The rows
//! themselves, key and value, lie apart from the list, each in one piece.
//!
//! ```text
//!   hash ──► filter ──► index ──► row ──► key, value          what a lookup touches
//!                                  │ ▲
//!                                  ▼ │
//!                                 node ◄──► nodes around it    what a search or scan touches
//! ```
//!
//! All of it is memory of few large pieces. Where a memtable has become large, huge pages hold it.
//!
//! # Invariants
//!
//! - Rows ascend by user key, then descend by seqno; no internal key stands twice.
//! - One writer at a time, which has the lock; a read takes no lock and allocates nothing.
//! - A row is there before its node; a node is published first and then linked from the lowest level
//!   upwards, each link with release order: whoever finds a node on some level finds it complete on
//!   all levels below.
//! - `prev` names the node before, or while a row is being inserted between the two an earlier
//!   one: the way forward from there is always exact.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::error::Result;
use crate::format::row::Row;
use crate::range_tombstones::RangeTombstones;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use crate::sync::zeros::AtomicU32;

mod cursor;
mod growing_array;
mod hash_index;
mod key_filter;
mod lines;
mod lookup;
mod node;
mod range_deletes;
mod rows;
mod shared_value;
mod shortcut;
mod writer;

pub(crate) use cursor::MemtableCursor;
use growing_array::GrowingArray;
use node::{INLINE_LINK_COUNT, Node, Target};
use rows::{Record, Rows};
use shortcut::{Shortcuts, pages_for, with_shortcut};
use writer::{Place, Writer, no_room};

/// Levels enough for four rows to the power of sixteen: every `u32`.
const MAX_HEIGHT: usize = 16;
/// The number that stands for "no node".
const NONE: u32 = 0;

/// The newest rows, sorted in memory.
pub(crate) struct Memtable {
    /// The first node of each level.
    first: [AtomicU32; MAX_HEIGHT],
    /// How many levels have a node.
    height: AtomicUsize,
    rows: Rows,
    nodes: GrowingArray<Node>,
    /// The links above those that stand in the nodes.
    upper_links: GrowingArray<AtomicU32>,
    shortcuts: Shortcuts,
    /// Whether there are range tombstones, for those who only ask that.
    deletes_ranges: AtomicBool,
    range_tombstones: Mutex<Option<Arc<RangeTombstones>>>,
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
    /// A memtable that may become large begins small. Its index, a tenth of its size, is made when it
    /// has grown, which takes the writer one or two milliseconds.
    pub(crate) fn with_capacity_for(memtable_size: usize) -> Self {
        let pages = pages_for(memtable_size);
        Self {
            first: std::array::from_fn(|_| AtomicU32::new(NONE)),
            height: AtomicUsize::new(1),
            rows: Rows::new(pages),
            nodes: GrowingArray::new(pages),
            upper_links: GrowingArray::new(pages),
            shortcuts: Shortcuts::new(memtable_size),
            deletes_ranges: AtomicBool::new(false),
            range_tombstones: Mutex::default(),
            len: AtomicUsize::new(0),
            memory_len: AtomicUsize::new(0),
            max_seqno: AtomicU64::new(0),
            writer: Mutex::new(Writer::new(memtable_size)),
        }
    }

    /// Inserts a copy of `row`, whose key has this hash. Its internal key should be new; if it is
    /// not, the row that is there stays.
    ///
    /// # Cost
    ///
    /// O(log n). Readers go on meanwhile; other writers wait.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`](crate::Error::KeyTooLarge);
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) after four thousand million rows, or
    /// without memory.
    pub(crate) fn insert(&self, row: &Row<'_>, hash: u64) -> Result<()> {
        // Whatever a writer did before it panicked is complete or not linked.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.shortcuts.get().index.touch(hash);
        let target = Target::new(row.key, row.seqno);
        let mut gaps = [Gap::default(); MAX_HEIGHT];
        let found = self.search(&target, |level, gap| {
            if let Some(slot) = gaps.get_mut(level) {
                *slot = gap;
            }
        });
        if self.node(found.after).is_some_and(|node| node.is_at(&target, &self.rows)) {
            return Ok(());
        }
        let place = writer.next_place().ok_or_else(no_room)?;
        let [a, b, c, ..] = gaps.map(|gap| gap.after);
        let node = self.nodes.get_or_grow(place.number).ok_or_else(no_room)?;
        let upper_gaps = gaps.iter().skip(INLINE_LINK_COUNT).take(place.upper_count);
        for (index, gap) in (place.upper..).zip(upper_gaps) {
            let link = self.upper_links.get_or_grow(index).ok_or_else(no_room)?;
            link.store(gap.after, Relaxed);
        }
        let (at, row_len) = self.rows.add(&mut writer.rows, row, place.number)?;
        node.set_links([a, b, c], place.upper, found.before);
        node.set_row(row, hash, at);
        writer.taken(&place);
        self.shortcuts.get().filter.add(hash);
        self.link(&place, &gaps);
        self.note_in_index(&target, hash, at, found);

        let links_len = size_of::<Node>() + size_of::<AtomicU32>() * place.upper_count;
        let memory_len = self.memory_len() + with_shortcut(row_len + links_len);
        self.memory_len.store(memory_len, Relaxed);
        self.max_seqno.store(self.max_seqno().max(row.seqno), Relaxed);
        self.len.store(self.len() + 1, Release);
        if let Some(large) = writer.growth.go_on(memory_len) {
            self.shortcuts.grow(large, self.newest_rows());
        }
        Ok(())
    }

    /// The row with this number; a row keeps its number.
    #[inline]
    pub(crate) fn row(&self, number: u32) -> Option<Row<'_>> {
        let node = self.node(number)?;
        Some(Row {
            key: node.key(&self.rows),
            seqno: node.seqno(),
            kind: node.kind(),
            expires_at: node.expires_at(&self.rows),
            value: node.value(&self.rows),
        })
    }

    /// The row with this number, where it lies.
    #[inline]
    fn record(&self, number: u32) -> Option<Record<'_>> {
        self.rows.get(self.node(number)?.row())
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

    /// How much memory the rows take, in bytes, with what they need of the nodes, the index and the
    /// filter. A large memtable takes up to three huge pages more, which are filling up.
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
            Some(node) if node.is_at(target, &self.rows) => gap.after,
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
                if !node.is_before(target, &self.rows) {
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

    /// The node with this number.
    #[inline]
    fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number).filter(|node| node.is_there())
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
            self.upper_links.get(node.upper().checked_add(index)?)
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
