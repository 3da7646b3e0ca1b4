//! The mask: which rows the range tombstones of several lists cover, at a snapshot.
//!
//! Each memtable and each table has a list of its own, and a tombstone covers older rows wherever
//! they stand. So a reader asks all lists.
//!
//! # Invariants
//!
//! - A row is covered if a tombstone over its key is newer than the row and not newer than the
//!   snapshot. Of the versions of a key, the covered ones are the oldest.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use std::sync::Arc;

use super::RangeTombstones;
use crate::format::range_tombstone::RangeTombstone;

/// Lists of range tombstones, as a snapshot sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mask {
    sources: Vec<Arc<RangeTombstones>>,
    snapshot: u64,
}

/// A range of keys that all have the same newest tombstone over them, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch<'a> {
    /// Its first key.
    pub(crate) start: &'a [u8],
    /// The first key behind it; `None` if it has no end.
    pub(crate) end: Option<&'a [u8]>,
    /// The seqno of the newest tombstone that the snapshot sees; 0 if there is none.
    pub(crate) newest: u64,
}

impl Mask {
    /// What the snapshot with this seqno sees of these lists.
    pub(crate) fn new(mut sources: Vec<Arc<RangeTombstones>>, snapshot: u64) -> Self {
        sources.retain(|source| !source.is_empty());
        Self { sources, snapshot }
    }

    /// Whether there are no tombstones, so that no row is covered.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The newest tombstone over `key`, as a fragment of its list, if it covers a row of that
    /// seqno.
    ///
    /// # Cost
    ///
    /// A binary search in each list.
    pub(crate) fn covering(&self, key: &[u8], row_seqno: u64) -> Option<RangeTombstone<'_>> {
        let covers = self.sources.iter().filter_map(|source| source.cover(key, self.snapshot));
        let newest = covers.max_by_key(|tombstone| tombstone.seqno);
        newest.filter(|tombstone| tombstone.seqno > row_seqno)
    }

    /// The stretch around `key` in which no list has a boundary.
    ///
    /// # Cost
    ///
    /// As [`covering`](Self::covering).
    pub(crate) fn stretch(&self, key: &[u8]) -> Stretch<'_> {
        let mut all = Stretch { start: &[], end: None, newest: 0 };
        for source in &self.sources {
            let Stretch { start, end, newest } = source.stretch(key, self.snapshot);
            all.start = all.start.max(start);
            all.end = match (all.end, end) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            all.newest = all.newest.max(newest);
        }
        all
    }
}
