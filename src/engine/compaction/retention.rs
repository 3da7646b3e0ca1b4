//! Retention: which versions of a key a compaction carries on.
//!
//! ```text
//!   in, newest first        above the bottom        at the bottom
//!   put 9, put 5            put 9                   put 0
//!   delete 9, put 5         delete 9                nothing
//!   merge 9, put 5, put 3   merge 9, put 5          merge 9, put 0
//! ```
//!
//! A reader holds on to the view that it began with, and so to the tables that a compaction
//! replaces. So no version has to be kept for a snapshot: what the newest rows hide is hidden from
//! everybody who will ever read the new tables. Rows that expire are carried on as they are; reads
//! know when they are gone.
//!
//! # Invariants
//!
//! - A tombstone goes only where nothing below can hold its key: else an older version would come
//!   back.
//! - A seqno becomes zero only there too, and only on the oldest row of a key that is carried on:
//!   so no key has two rows with the seqno zero.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use crate::format::row::{Kind, Row};

/// Decides about the rows of a merge, in their order.
#[derive(Debug, Default)]
pub(super) struct Retention {
    key: Vec<u8>,
    /// Whether there was a row yet.
    has_key: bool,
    /// Whether a newer row of the key hides all that follow.
    is_hidden: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on, with this seqno.
    Kept {
        /// Its own, or zero.
        seqno: u64,
    },
    /// A newer row hides it.
    Hidden,
    /// A tombstone with nothing left to hide.
    Spent,
}

impl Retention {
    /// Decides about the next row. `nothing_below` tells whether no older table can hold its key.
    pub(super) fn decide(&mut self, row: &Row<'_>, nothing_below: impl FnOnce() -> bool) -> Fate {
        if !self.has_key || self.key != row.key {
            self.has_key = true;
            self.is_hidden = false;
            self.key.clear();
            self.key.extend_from_slice(row.key);
        }
        if self.is_hidden {
            return Fate::Hidden;
        }
        match row.kind {
            Kind::Merge => Fate::Kept { seqno: row.seqno },
            Kind::Put => {
                self.is_hidden = true;
                Fate::Kept { seqno: if nothing_below() { 0 } else { row.seqno } }
            }
            Kind::Delete => {
                self.is_hidden = true;
                if nothing_below() { Fate::Spent } else { Fate::Kept { seqno: row.seqno } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fate::{Hidden, Kept, Spent};
    use Kind::{Delete, Merge, Put};

    #[track_caller]
    fn check(nothing_below: bool, rows: &[(&str, u64, Kind)], want: &[Fate]) {
        let mut retention = Retention::default();
        let decide = |&(key, seqno, kind): &(&str, u64, Kind)| {
            let row = Row { key: key.as_bytes(), seqno, kind, expires_at: 0, value: b"" };
            retention.decide(&row, || nothing_below)
        };
        assert_eq!(rows.iter().map(decide).collect::<Vec<_>>(), want, "{rows:?}");
    }

    #[test]
    fn above_the_bottom_the_newest_row_is_kept_as_it_is() {
        let kept = |seqno| Kept { seqno };
        check(false, &[("", 3, Put), ("", 2, Put)], &[kept(3), Hidden]);
        check(false, &[("a", 9, Put), ("a", 5, Put), ("b", 4, Put)], &[kept(9), Hidden, kept(4)]);
        check(false, &[("a", 9, Delete), ("a", 5, Put)], &[kept(9), Hidden]);
        check(
            false,
            &[("a", 9, Merge), ("a", 8, Merge), ("a", 5, Put), ("a", 3, Put)],
            &[kept(9), kept(8), kept(5), Hidden],
        );
        check(
            false,
            &[("a", 9, Merge), ("a", 8, Delete), ("a", 5, Put)],
            &[kept(9), kept(8), Hidden],
        );
    }

    #[test]
    fn at_the_bottom_tombstones_and_seqnos_go() {
        let kept = |seqno| Kept { seqno };
        check(true, &[("a", 9, Put), ("a", 5, Put), ("b", 4, Put)], &[kept(0), Hidden, kept(0)]);
        check(true, &[("a", 9, Delete), ("a", 5, Put), ("a", 4, Delete)], &[Spent, Hidden, Hidden]);
        check(
            true,
            &[("a", 9, Merge), ("a", 8, Merge), ("a", 5, Put)],
            &[kept(9), kept(8), kept(0)],
        );
        check(true, &[("a", 9, Merge), ("a", 8, Delete)], &[kept(9), Spent]);
    }
}
