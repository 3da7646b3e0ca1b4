//! Fences: which table of a run can hold a key, mostly without looking at a key.
//!
//! Of the smallest and the largest key of each table, eight bytes stand here as a number, behind what
//! all keys of the tree start with. Numbers that differ decide; where they tie, the keys themselves
//! are compared.
//!
//! ```text
//!   tables           user:07:a … user:07:k   user:07:m … user:31:z      prefix  "user:"
//!   as numbers       "07:a"    … "07:k"      "07:m"    … "31:z"
//! ```
//!
//! # Invariants
//!
//! - No table that holds a key is ever left out.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ops::Range;

use crate::format::index::head_of;

/// The ends of the ranges of some tables.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// What every key of every table starts with.
    prefix: Box<[u8]>,
    /// The head of each table's smallest key, in the order of the tables.
    smallest: Box<[u64]>,
    /// The head of each table's largest key.
    largest: Box<[u64]>,
}

impl Fences {
    /// The fences of tables with these smallest and largest keys.
    pub(super) fn new<'k>(ranges: impl Iterator<Item = (&'k [u8], &'k [u8])> + Clone) -> Self {
        let mut ends = ranges.clone().flat_map(|(smallest, largest)| [smallest, largest]);
        let first = ends.next().unwrap_or_default();
        let prefix = ends.fold(first, |prefix, key| {
            let shared = prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
            prefix.get(..shared).unwrap_or_default()
        });
        let heads = |key| head_of(key, prefix.len());
        Self {
            prefix: prefix.into(),
            smallest: ranges.clone().map(|(smallest, _)| heads(smallest)).collect(),
            largest: ranges.map(|(_, largest)| heads(largest)).collect(),
        }
    }

    /// The head of a key; `None` if no table can hold it.
    #[inline]
    pub(super) fn head(&self, key: &[u8]) -> Option<u64> {
        key.starts_with(&self.prefix).then(|| head_of(key, self.prefix.len()))
    }

    /// Whether the range of a table may hold a key with this head.
    #[inline]
    pub(super) fn may_cover(&self, table: usize, head: u64) -> bool {
        let smallest = self.smallest.get(table).is_none_or(|smallest| *smallest <= head);
        smallest && self.largest.get(table).is_none_or(|largest| head <= *largest)
    }

    /// Of a run of disjoint tables in ascending order, the one that may hold a key with this head:
    /// `is_below` tells whether all keys of a table are below the key, where heads can't.
    #[inline]
    pub(super) fn find(
        &self,
        run: &Range<usize>,
        head: u64,
        is_below: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let largest = self.largest.get(run.clone())?;
        let mut table = run.start + largest.partition_point(|largest| *largest < head);
        while table < run.end && self.largest.get(table) == Some(&head) && is_below(table) {
            table += 1;
        }
        (table < run.end && self.may_cover(table, head)).then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges that are disjoint and ascend, as of a level.
    const LEVEL: &[(&str, &str)] = &[
        ("user:0", "user:1"),
        ("user:12345678a", "user:12345678c"),
        ("user:12345678d", "user:12345678d"),
        ("user:12345678e", "user:2"),
        ("user:4", "user:5"),
    ];

    fn fences(ranges: &[(&'static str, &'static str)]) -> Fences {
        Fences::new(ranges.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes())))
    }

    #[test]
    fn the_table_that_can_hold_a_key_is_found_also_where_heads_tie() {
        let fences = fences(LEVEL);
        assert_eq!(&*fences.prefix, b"user:");
        let keys = ["0", "05", "1", "12345678a", "12345678b", "12345678c", "12345678d"];
        let more = ["12345678e", "15", "2", "4", "45", "5", "", "/", "3", "6", "12345678"];
        for key in keys.into_iter().chain(more).map(|key| format!("user:{key}")) {
            let is_below = |table: usize| LEVEL[table].1 < key.as_str();
            let head = fences.head(key.as_bytes()).unwrap();
            let found = fences.find(&(0..LEVEL.len()), head, is_below);
            let holds = |(a, b): &(&str, &str)| *a <= key.as_str() && key.as_str() <= *b;
            if let Some(want) = LEVEL.iter().position(holds) {
                assert_eq!(found, Some(want), "{key}");
                assert!(fences.may_cover(want, head));
            }
        }
        for (key, want) in [("user:/", None), ("user:3", None), ("user:6", None)] {
            let head = fences.head(key.as_bytes()).unwrap();
            assert_eq!(fences.find(&(0..LEVEL.len()), head, |_| false), want, "{key}");
        }
    }

    #[test]
    fn no_table_can_hold_a_key_without_the_prefix() {
        let fences = fences(LEVEL);
        for key in ["", "u", "user", "usez", "a", "~"] {
            assert_eq!(fences.head(key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn a_run_is_searched_alone() {
        let fences = fences(LEVEL);
        let head = fences.head(b"user:45").unwrap();
        assert_eq!(fences.find(&(0..3), head, |_| false), None);
        assert_eq!(fences.find(&(4..5), head, |_| false), Some(4));
    }

    #[test]
    fn without_tables_nothing_is_found() {
        let fences = fences(&[]);
        let head = fences.head(b"any").unwrap();
        assert_eq!(fences.find(&(0..0), head, |_| false), None);
        assert_eq!(Fences::default().find(&(0..0), 0, |_| false), None);
    }
}
