//! Range tombstones of tables: which of them still matter.
//!
//! A range tombstone covers older rows wherever they stand. It lies in the table that its memtable
//! became, and goes along when that is compacted, until nothing is left that it could cover:
//!
//! ```text
//!   tombstone 50 over b ≤ key < x        older?      may hold covered rows?
//!     table   c … m   seqnos  3 to 40    yes         yes, if it was written before the tombstone
//!     table   c … m   seqnos 61 to 80    no          no
//!     table   y … z   seqnos  3 to 40    yes         no, its keys lie elsewhere
//! ```
//!
//! A table remembers up to which seqno the range tombstones were applied when it was written
//! (`cleared_seqno`). So a tombstone is done with when all tables in its range know of it.
//!
//! Spec: `format-spec/09-range-tombstones.md`. I/O: opens tables. Unsafe: none.

use std::sync::Arc;

use super::version::{TableHandle, Version};
use crate::error::Result;
use crate::format::manifest::TableRecord;
use crate::format::range_tombstone::RangeTombstone;
use crate::format::range_tombstones::RangeTombstoneRegion;
use crate::range_tombstones::{Mask, RangeTombstones};

/// What a compaction does about range tombstones.
#[derive(Debug)]
pub(super) struct RangeDeletes {
    /// Hides the rows that are covered; `None` if there are no range tombstones.
    pub(super) mask: Option<Arc<Mask>>,
    /// Those of the inputs that may cover rows of other tables: the outputs carry them on.
    pub(super) carried: Arc<RangeTombstones>,
    /// All that will be there when the inputs are gone.
    pub(super) remaining: RangeTombstones,
    /// The largest seqno of any: the outputs hold nothing that those up to it cover.
    pub(super) cleared_seqno: u64,
}

impl RangeDeletes {
    /// For a compaction of these tables of a version.
    ///
    /// # Errors
    ///
    /// As opening the tables that have range tombstones.
    pub(super) fn of(inputs: &[Arc<TableHandle>], version: &Version) -> Result<Self> {
        if !version.deletes_ranges() {
            let (carried, remaining) = (Arc::default(), RangeTombstones::default());
            return Ok(Self { mask: None, carried, remaining, cleared_seqno: 0 });
        }
        let is_input = |table: &Arc<TableHandle>| {
            inputs.iter().any(|input| input.record.file_number == table.record.file_number)
        };
        let others: Vec<_> =
            version.tables().iter().filter(|table| !is_input(table)).cloned().collect();
        let (own, of_others) = (range_tombstones_of(inputs)?, range_tombstones_of(&others)?);
        let live = live_among(&own, others.iter().map(|table| &table.record));
        let carried = mutant!(DropRangeTombstones, RangeTombstones::default(), else live);
        let remaining = RangeTombstones::new(carried.newest().chain(of_others.newest()));
        let cleared_seqno = own.max_seqno().max(of_others.max_seqno());
        let mask = Mask::new(vec![Arc::new(own), Arc::new(of_others)], u64::MAX);
        Ok(Self {
            mask: Some(Arc::new(mask)),
            carried: Arc::new(carried),
            remaining,
            cleared_seqno,
        })
    }
}

/// The range tombstones that lie in these tables.
///
/// # Errors
///
/// As opening a table.
pub(super) fn range_tombstones_of(tables: &[Arc<TableHandle>]) -> Result<RangeTombstones> {
    let mut regions = Vec::new();
    for handle in tables.iter().filter(|handle| handle.record.range_tombstone_count > 0) {
        regions.extend(handle.table()?.range_tombstones());
    }
    Ok(RangeTombstones::new(regions.iter().flat_map(RangeTombstoneRegion::iter)))
}

/// Those of a list that may cover a row of one of these tables.
pub(super) fn live_among<'t>(
    list: &RangeTombstones,
    tables: impl IntoIterator<Item = &'t TableRecord>,
) -> RangeTombstones {
    let fragments: Vec<RangeTombstone<'_>> = list.newest().collect();
    let mut is_live = vec![false; fragments.len()];
    for table in tables {
        let first = fragments.partition_point(|fragment| {
            fragment.end.is_some_and(|end| end <= table.smallest.as_slice())
        });
        let end = fragments.partition_point(|fragment| fragment.start <= table.largest.as_slice());
        for (fragment, is_live) in fragments.iter().zip(&mut is_live).take(end).skip(first) {
            *is_live |= table.min_seqno < fragment.seqno && table.cleared_seqno < fragment.seqno;
        }
    }
    let live = fragments.iter().zip(is_live).filter(|(_, is_live)| *is_live);
    RangeTombstones::new(live.map(|(fragment, _)| *fragment))
}

/// Whether a list covers all rows of a table.
pub(super) fn covers_all_of(list: &RangeTombstones, table: &TableRecord) -> bool {
    let cover = list.cover(&table.smallest, u64::MAX);
    cover.is_some_and(|cover| {
        cover.covers(&table.largest)
            && table.max_seqno < cover.seqno
            && table.cleared_seqno < cover.seqno
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tombstones: &[(&'static str, &'static str, u64)]) -> RangeTombstones {
        RangeTombstones::new(tombstones.iter().map(|(start, end, seqno)| RangeTombstone {
            start: start.as_bytes(),
            end: Some(end.as_bytes()),
            seqno: *seqno,
        }))
    }

    fn table(keys: [&str; 2], seqnos: [u64; 2], cleared_seqno: u64) -> TableRecord {
        TableRecord {
            smallest: keys[0].into(),
            largest: keys[1].into(),
            min_seqno: seqnos[0],
            max_seqno: seqnos[1],
            cleared_seqno,
            ..TableRecord::default()
        }
    }

    #[test]
    fn a_tombstone_lives_while_a_table_may_hold_what_it_covers() {
        let list = list(&[("b", "x", 50)]);
        #[rustfmt::skip]
        let cases = [
            (table(["c", "m"], [3, 40],  0),  true),
            (table(["a", "b"], [3, 40],  0),  true),
            (table(["a", "z"], [3, 90],  0),  true),
            (table(["c", "m"], [0, 0],   0),  true),
            (table(["c", "m"], [3, 40],  49), true),
            (table(["c", "m"], [3, 40],  50), false),
            (table(["c", "m"], [61, 80], 0),  false),
            (table(["x", "z"], [3, 40],  0),  false),
            (table(["a", "a"], [3, 40],  0),  false),
        ];
        for (table, lives) in &cases {
            assert_eq!(!live_among(&list, [table]).is_empty(), *lives, "{table:?}");
        }
        assert!(live_among(&list, []).is_empty());
    }

    #[test]
    fn each_fragment_is_judged_by_itself() {
        let list = list(&[("a", "c", 50), ("e", "g", 60), ("k", "m", 70)]);
        let live = live_among(&list, [&table(["f", "k"], [1, 1], 60)]);
        let starts: Vec<_> = live.newest().map(|fragment| fragment.start.to_vec()).collect();
        assert_eq!(starts, [b"k"]);
    }

    #[test]
    fn a_table_is_covered_if_all_its_rows_are_older_and_inside() {
        let list = list(&[("b", "x", 50)]);
        assert!(covers_all_of(&list, &table(["b", "w"], [0, 49], 0)));
        assert!(!covers_all_of(&list, &table(["a", "w"], [0, 49], 0)));
        assert!(!covers_all_of(&list, &table(["b", "x"], [0, 49], 0)));
        assert!(!covers_all_of(&list, &table(["b", "w"], [0, 51], 0)));
        assert!(!covers_all_of(&list, &table(["b", "w"], [0, 0], 50)), "newer rows, zeroed");
    }
}
