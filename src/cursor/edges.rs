//! Edges: how far the seeks of a walk have come, so that it ends whatever the rows are.
//!
//! A walk goes past many versions of a key by a seek. Where rows are not in order, as in a table that
//! somebody made and gave right checksums, a seek may lead back to where the walk has been, and round
//! in a circle. Steps alone can not: they come to an end. So each seek of a kind must come further than
//! the one before, until the walk turns.
//!
//! # Invariants
//!
//! - Of one kind, keys ascend in a walk forward and descend in one backward.
//!
//! Spec: `format-spec/04-data-block.md`, rule B13. I/O: none. Unsafe: none.

use std::cmp::Ordering;

/// The keys at which a walk sought last, for each kind of seek.
#[derive(Debug, Default)]
pub(super) struct Edges {
    past_newer: Edge,
    to_newest: Edge,
    before: Edge,
    /// Whether there is one at all.
    is_any: bool,
}

#[derive(Debug, Default)]
struct Edge(Option<Vec<u8>>);

impl Edge {
    /// Goes to `key`; false if that comes no further.
    fn advance(&mut self, key: &[u8], further: Ordering) -> bool {
        match &mut self.0 {
            Some(edge) if key.cmp(edge) != further => false,
            Some(edge) => {
                edge.clear();
                edge.extend_from_slice(key);
                true
            }
            None => {
                self.0 = Some(key.to_vec());
                true
            }
        }
    }
}

impl Edges {
    /// A walk begins anew.
    pub(super) fn forget(&mut self) {
        if self.is_any {
            *self = Self::default();
        }
    }

    /// The walk goes forward now.
    #[inline]
    pub(super) fn turn_forward(&mut self) {
        if self.is_any {
            (self.to_newest, self.before) = (Edge(None), Edge(None));
        }
    }

    /// The walk goes backward now.
    #[inline]
    pub(super) fn turn_backward(&mut self) {
        if self.is_any {
            self.past_newer = Edge(None);
        }
    }

    /// Forward, a seek past versions of `key` that are too new; false if it comes no further.
    pub(super) fn seeks_past_newer(&mut self, key: &[u8]) -> bool {
        self.is_any = true;
        self.past_newer.advance(key, Ordering::Greater)
    }

    /// Backward, a seek to the newest version of `key`; false if it comes no further.
    pub(super) fn seeks_to_newest(&mut self, key: &[u8]) -> bool {
        self.is_any = true;
        self.to_newest.advance(key, Ordering::Less)
    }

    /// Backward, a seek to what is before `key`; false if it comes no further.
    pub(super) fn seeks_before(&mut self, key: &[u8]) -> bool {
        self.is_any = true;
        self.before.advance(key, Ordering::Less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeks_come_further_until_the_walk_turns() {
        let mut edges = Edges::default();
        assert!(edges.seeks_past_newer(b"b") && edges.seeks_past_newer(b"c"));
        assert!(!edges.seeks_past_newer(b"c") && !edges.seeks_past_newer(b"a"));
        edges.turn_forward();
        assert!(!edges.seeks_past_newer(b"c"), "it did not turn");
        edges.turn_backward();
        assert!(edges.seeks_to_newest(b"c") && edges.seeks_before(b"c"));
        assert!(!edges.seeks_to_newest(b"c") && !edges.seeks_before(b"d"));
        assert!(edges.seeks_to_newest(b"a") && edges.seeks_before(b"a"));
        edges.turn_forward();
        assert!(edges.seeks_past_newer(b"a"));
        edges.turn_backward();
        assert!(edges.seeks_to_newest(b"x") && edges.seeks_before(b"x"));
        edges.forget();
        assert!(edges.seeks_before(b"y"));
    }
}
