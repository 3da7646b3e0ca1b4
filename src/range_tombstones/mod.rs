//! Range tombstones in memory: a list in which it is quick to look up what covers a key.
//!
//! Ranges overlap as they were written. They are cut where one starts or ends, and each *fragment*
//! has the seqnos of all that lie over it. So fragments are disjoint, and a binary search finds
//! the one over a key.
//!
//! ```text
//!   written     7 ├───────────────┤             fragments   ├───┤────────┤──┤   ├────┤
//!               9     ├───────────────┤                       7    9       9      4
//!               4                       ├────┤                     7
//! ```
//!
//! A list never changes: one more tombstone makes another list, which shares the keys and most of
//! the fragments. So readers need no lock.
//!
//! # Invariants
//!
//! - Fragments are not empty, ascend and are disjoint; only the last one may have no end.
//! - A fragment has a seqno at least; they descend, and none stands twice.
//! - Fragments that touch differ in their seqnos: the same tombstones always give the same list,
//!   in whatever order they came.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::range_tombstone::RangeTombstone;

mod mask;

pub(crate) use mask::{Mask, Stretch};

/// Fragmented range tombstones. Cloning one copies a pointer a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeTombstones {
    fragments: Vec<Arc<Fragment>>,
    memory_len: usize,
    seqno_count: usize,
    max_seqno: u64,
}

/// A range of keys, and all tombstones over all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fragment {
    start: Arc<[u8]>,
    /// The first key behind the range; `None` if it has no end.
    end: Option<Arc<[u8]>>,
    /// Descending.
    seqnos: Vec<u64>,
}

impl Fragment {
    /// Whether all of it lies before `key`.
    #[inline]
    fn is_before(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_some_and(|end| **end <= *key)
    }

    /// The largest seqno that is not larger than `snapshot`; 0 if there is none.
    #[inline]
    fn newest(&self, snapshot: u64) -> u64 {
        let too_new = self.seqnos.partition_point(|seqno| *seqno > snapshot);
        self.seqnos.get(too_new).copied().unwrap_or(0)
    }

    fn tombstone(&self, seqno: u64) -> RangeTombstone<'_> {
        RangeTombstone { start: &self.start, end: self.end.as_deref(), seqno }
    }
}

impl RangeTombstones {
    /// The list of these, which may overlap and come in any order; ranges without keys add nothing.
    ///
    /// # Cost
    ///
    /// O(n log n) and the fragments' seqnos: many ranges that all overlap give a square of them.
    pub(crate) fn new<'a>(tombstones: impl IntoIterator<Item = RangeTombstone<'a>>) -> Self {
        Self::swept(tombstones, |over| over.keys().map(|seqno| seqno.0).collect())
    }

    /// As [`new`](Self::new), but each fragment keeps its newest seqno only: for tombstones that
    /// become visible all at once, so that no reader can tell them apart.
    ///
    /// # Cost
    ///
    /// O(n log n).
    pub(crate) fn newest_of<'a>(tombstones: impl IntoIterator<Item = RangeTombstone<'a>>) -> Self {
        Self::swept(tombstones, |over| over.keys().map(|seqno| seqno.0).take(1).collect())
    }

    /// The list of these and others, which are newer.
    ///
    /// # Cost
    ///
    /// O(n log n) for n seqnos of all fragments.
    pub(crate) fn with_all(&self, others: &Self) -> Self {
        let all = self.fragments.iter().chain(&others.fragments);
        Self::new(all.flat_map(|part| part.seqnos.iter().map(|seqno| part.tombstone(*seqno))))
    }

    /// Cuts ranges where one starts or ends; `seqnos` picks from those that lie over a fragment.
    fn swept<'a>(
        tombstones: impl IntoIterator<Item = RangeTombstone<'a>>,
        seqnos: fn(&BTreeMap<Reverse<u64>, usize>) -> Vec<u64>,
    ) -> Self {
        // The places where a tombstone begins to count and where it ends to.
        let mut changes: Vec<(&[u8], Change)> = Vec::new();
        for RangeTombstone { start, end, seqno } in tombstones.into_iter().filter(has_keys) {
            changes.push((start, Change::Starts(seqno)));
            changes.extend(end.map(|end| (end, Change::Ends(seqno))));
        }
        changes.sort_unstable_by_key(|(key, _)| *key);

        let mut fragments = Vec::new();
        // How many tombstones of each seqno lie over the keys from the last place on.
        let mut over: BTreeMap<Reverse<u64>, usize> = BTreeMap::new();
        let mut last: Option<Arc<[u8]>> = None;
        for changes in changes.chunk_by(|a, b| a.0 == b.0) {
            let key: Option<Arc<[u8]>> = changes.first().map(|(key, _)| Arc::from(*key));
            if let Some(start) = last {
                push(&mut fragments, start, key.clone(), seqnos(&over));
            }
            last = key;
            for (_, change) in changes {
                change.apply_to(&mut over);
            }
        }
        if let Some(start) = last {
            push(&mut fragments, start, None, seqnos(&over));
        }
        Self::of(fragments)
    }

    /// The list of these and one more.
    ///
    /// # Cost
    ///
    /// O(fragments): a pointer is copied for each; those in the new one's range are made anew, with
    /// all their seqnos.
    pub(crate) fn with(&self, tombstone: RangeTombstone<'_>) -> Self {
        if !has_keys(&tombstone) {
            return self.clone();
        }
        let RangeTombstone { start, end, seqno } = tombstone;
        let from = self.place_of(start);
        let (before, rest) = self.fragments.split_at_checked(from).unwrap_or_default();
        let upto = rest.partition_point(|fragment| end.is_none_or(|end| *fragment.start < *end));
        let (inside, behind) = rest.split_at_checked(upto).unwrap_or_default();

        let mut fragments = Vec::with_capacity(self.fragments.len() + 2);
        fragments.extend_from_slice(before);
        let end: Option<Arc<[u8]>> = end.map(Arc::from);
        // Where the part of the range starts that is still to come; `None` if all has come.
        let mut at: Option<Arc<[u8]>> = Some(Arc::from(start));
        for fragment in inside {
            let Some(start) = at.take() else { break };
            let Fragment { start: inner, end: inner_end, seqnos } = &**fragment;
            if *inner < start {
                push(&mut fragments, Arc::clone(inner), Some(Arc::clone(&start)), seqnos.clone());
            } else if start < *inner {
                push(&mut fragments, Arc::clone(&start), Some(Arc::clone(inner)), vec![seqno]);
            }
            let start = start.max(Arc::clone(inner));
            if reaches(inner_end.as_deref(), end.as_deref()) {
                push(&mut fragments, start, end.clone(), with_seqno(seqnos, seqno));
                if let Some(end) = end.as_ref().filter(|end| Some(*end) != inner_end.as_ref()) {
                    push(&mut fragments, Arc::clone(end), inner_end.clone(), seqnos.clone());
                }
            } else {
                push(&mut fragments, start, inner_end.clone(), with_seqno(seqnos, seqno));
                at.clone_from(inner_end);
            }
        }
        if let Some(start) = at {
            push(&mut fragments, start, end, vec![seqno]);
        }
        if let Some((first, others)) = behind.split_first() {
            // It may be one with the last of the range.
            let Fragment { start, end, seqnos } = &**first;
            push(&mut fragments, Arc::clone(start), end.clone(), seqnos.clone());
            fragments.extend_from_slice(others);
        }
        Self::of(fragments)
    }

    fn of(fragments: Vec<Arc<Fragment>>) -> Self {
        let newest = fragments.iter().filter_map(|fragment| fragment.seqnos.first());
        let max_seqno = newest.max().copied().unwrap_or(0);
        let seqno_count = fragments.iter().map(|fragment| fragment.seqnos.len()).sum();
        let mut memory_len = 0;
        let mut end_before = None;
        for Fragment { start, end, seqnos } in fragments.iter().map(|fragment| &**fragment) {
            // A fragment that touches the one before shares the key between them.
            let start_len = if end_before == Some(start) { 0 } else { start.len() };
            let end_len = end.as_ref().map_or(0, |end| end.len());
            memory_len += FRAGMENT_LEN + start_len + end_len + size_of_val(seqnos.as_slice());
            end_before = end.as_ref();
        }
        Self { fragments, memory_len, seqno_count, max_seqno }
    }

    /// Whether there are no tombstones.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// How many tombstones lie over the fragments, those over several counted for each.
    #[inline]
    pub(crate) const fn seqno_count(&self) -> usize {
        self.seqno_count
    }

    /// About how much memory the list takes, in bytes.
    #[inline]
    pub(crate) const fn memory_len(&self) -> usize {
        self.memory_len
    }

    /// The largest seqno; 0 if there are no tombstones.
    #[inline]
    pub(crate) const fn max_seqno(&self) -> u64 {
        self.max_seqno
    }

    /// The seqno of the newest tombstone over `key` that is not newer than `snapshot`; 0 if there
    /// is none.
    ///
    /// # Cost
    ///
    /// O(log n); allocates nothing.
    #[inline]
    pub(crate) fn newest_over(&self, key: &[u8], snapshot: u64) -> u64 {
        self.fragment_over(key).map_or(0, |fragment| fragment.newest(snapshot))
    }

    /// The fragment over `key`, with the seqno of the newest tombstone over it that is not newer
    /// than `snapshot`.
    ///
    /// # Cost
    ///
    /// As [`newest_over`](Self::newest_over).
    pub(crate) fn cover(&self, key: &[u8], snapshot: u64) -> Option<RangeTombstone<'_>> {
        let fragment = self.fragment_over(key)?;
        let seqno = fragment.newest(snapshot);
        (seqno != 0).then(|| fragment.tombstone(seqno))
    }

    /// The newest tombstone of each fragment, in order: all that a reader without a snapshot needs.
    /// Fragments that touch and differ only in what is older come as one.
    pub(crate) fn newest(&self) -> impl Iterator<Item = RangeTombstone<'_>> {
        let mut fragments = self.fragments.iter().peekable();
        std::iter::from_fn(move || {
            let first = fragments.next()?;
            let mut tombstone = first.tombstone(first.newest(u64::MAX));
            while let Some(next) = fragments.next_if(|next| {
                tombstone.end == Some(&*next.start) && next.newest(u64::MAX) == tombstone.seqno
            }) {
                tombstone.end = next.end.as_deref();
            }
            Some(tombstone)
        })
    }

    /// The stretch around `key`: the fragment over it, or the gap that it lies in.
    fn stretch(&self, key: &[u8], snapshot: u64) -> Stretch<'_> {
        let place = self.place_of(key);
        match self.fragments.get(place) {
            Some(fragment) if *fragment.start <= *key => {
                let RangeTombstone { start, end, seqno } =
                    fragment.tombstone(fragment.newest(snapshot));
                Stretch { start, end, newest: seqno }
            }
            after => {
                let before = place.checked_sub(1).and_then(|before| self.fragments.get(before));
                let start = before.and_then(|before| before.end.as_deref()).unwrap_or_default();
                Stretch { start, end: after.map(|after| &*after.start), newest: 0 }
            }
        }
    }

    /// The place of the first fragment that does not lie before `key`.
    #[inline]
    fn place_of(&self, key: &[u8]) -> usize {
        self.fragments.partition_point(|fragment| fragment.is_before(key))
    }

    #[inline]
    fn fragment_over(&self, key: &[u8]) -> Option<&Fragment> {
        let fragment = self.fragments.get(self.place_of(key))?;
        (*fragment.start <= *key).then_some(fragment)
    }
}

/// About the bytes of a fragment beside its keys and seqnos: itself, the pointer to it, the counts
/// of what is shared, and what an allocator adds.
const FRAGMENT_LEN: usize = size_of::<Fragment>() + size_of::<Arc<Fragment>>() + 64;

/// What happens to a tombstone at a key.
enum Change {
    Starts(u64),
    Ends(u64),
}

impl Change {
    fn apply_to(&self, over: &mut BTreeMap<Reverse<u64>, usize>) {
        match self {
            Self::Starts(seqno) => *over.entry(Reverse(*seqno)).or_default() += 1,
            Self::Ends(seqno) => {
                // At one key an end may come before a start of the same seqno, but never before
                // its own start: no range is empty.
                let count = over.entry(Reverse(*seqno)).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    over.remove(&Reverse(*seqno));
                }
            }
        }
    }
}

fn has_keys(tombstone: &RangeTombstone<'_>) -> bool {
    tombstone.end.is_none_or(|end| tombstone.start < end)
}

/// Whether a range that ends here reaches at least as far as one that ends there.
fn reaches(end: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    end.is_none_or(|end| other.is_some_and(|other| end >= other))
}

/// Descending seqnos and one more.
fn with_seqno(seqnos: &[u64], seqno: u64) -> Vec<u64> {
    let place = seqnos.partition_point(|other| *other > seqno);
    let mut seqnos = seqnos.to_vec();
    if seqnos.get(place) != Some(&seqno) {
        seqnos.insert(place, seqno);
    }
    seqnos
}

/// Adds a fragment behind the others. Makes one of it and the last if only a key divides them.
fn push(
    fragments: &mut Vec<Arc<Fragment>>,
    start: Arc<[u8]>,
    end: Option<Arc<[u8]>>,
    seqnos: Vec<u64>,
) {
    if seqnos.is_empty() {
        return;
    }
    if let Some(last) = fragments.last_mut()
        && last.end.as_ref() == Some(&start)
        && last.seqnos == seqnos
    {
        *last = Arc::new(Fragment { start: Arc::clone(&last.start), end, seqnos });
        return;
    }
    fragments.push(Arc::new(Fragment { start, end, seqnos }));
}

#[cfg(test)]
mod tests;
