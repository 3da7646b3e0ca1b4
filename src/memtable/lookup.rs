//! Point lookups in a memtable, and what the shortcut has to be told for them.
//!
//! # Invariants
//!
//! - What is found by the shortcut is what is found in the list.
//!
//! Spec: none. I/O: none. Unsafe: none.

use super::hash_index::Known;
use super::node::{Node, Target};
use super::rows::Record;
use super::{Gap, Memtable, NONE};

/// After so many versions that are too new, a search is cheaper than going on by steps.
const MAX_STEP_COUNT: usize = 4;

impl Memtable {
    /// Whether a key with this hash may have a row; `false` is certain.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.first() != NONE && self.shortcuts.get().filter.may_contain(hash)
    }

    /// The newest version of `key` that is not newer than `seqno`, of any kind.
    /// `hash` is the one that the key's rows were inserted with.
    ///
    /// # Cost
    ///
    /// One line of the index, and the row's own lines. O(log n) probes of a cache line each if
    /// more than a few versions are newer than `seqno`, or if the index had no room for the key.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], hash: u64, seqno: u64) -> Option<Record<'_>> {
        let shortcut = self.shortcuts.get();
        if !shortcut.filter.may_contain(hash) {
            return None;
        }
        let target = Target::new(key, seqno);
        let row_of_key = |at| self.rows.get(at).filter(|record| record.key() == key);
        let mut record = match shortcut.index.find(hash, row_of_key) {
            Known::Newest(record) => record,
            Known::Absent => return None,
            Known::Nothing => return self.find_in_list(&target),
        };
        for _ in 0..MAX_STEP_COUNT {
            if record.seqno() <= seqno {
                return Some(record);
            }
            let next = self.node(record.number())?.next();
            record = self.record(next).filter(|record| record.key() == key)?;
        }
        self.find_in_list(&target)
    }

    /// What `find` finds, without the index.
    pub(super) fn find_in_list(&self, target: &Target<'_>) -> Option<Record<'_>> {
        self.record(self.first_from(target)).filter(|record| record.key() == target.key)
    }

    /// Leads the index to the row at a place, which was linked between two others.
    pub(super) fn note_in_index(&self, target: &Target<'_>, hash: u64, at: u32, gap: Gap) {
        let of_key = |number| self.node(number).filter(|node| node.has_key(target, &self.rows));
        if of_key(gap.before).is_some() {
            // A newer version was there first: the index leads to that or to a newer one.
            return;
        }
        let index = &self.shortcuts.get().index;
        match of_key(gap.after) {
            Some(older) => index.replace(hash, older.row(), at),
            // Without room for it, the list is searched.
            None => _ = index.add(hash, at),
        }
    }

    /// Of each key the hash, and the place of the newest row. Nodes are taken as they lie in memory:
    /// in the order of the list each would have to be waited for.
    pub(super) fn newest_rows(&self) -> impl Iterator<Item = (u64, u32)> {
        let nodes = (1..).map_while(|number| Some((number, self.node(number)?)));
        let newest = nodes.filter(|(number, node)| self.is_newest(*number, node));
        newest.map(|(_, node)| (node.hash(), node.row()))
    }

    /// Whether a row is the newest one of its key.
    fn is_newest(&self, number: u32, node: &Node) -> bool {
        let is_it = |at| (at == node.row()).then_some(());
        match self.shortcuts.get().index.find(node.hash(), is_it) {
            Known::Newest(()) => true,
            Known::Absent => false,
            Known::Nothing => {
                let before = self.node(self.before(number));
                before.is_none_or(|before| before.key(&self.rows) != node.key(&self.rows))
            }
        }
    }
}
