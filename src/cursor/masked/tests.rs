//! Tests of the masked cursor against the rows that its mask leaves.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::cursor::model::{
    Calls, VecCursor, Version, check_moves_agree, check_shows, random_key, random_rows,
    visible_rows,
};
use crate::cursor::tests::{Shelf, cut, dealt, put};
use crate::cursor::{ConcatCursor, MergingCursor, VisibleCursor};
use crate::format::range_tombstone::RangeTombstone;
use crate::range_tombstones::RangeTombstones;

type Written = (Vec<u8>, Option<Vec<u8>>, u64);

fn tombstone(written: &Written) -> RangeTombstone<'_> {
    RangeTombstone { start: &written.0, end: written.1.as_deref(), seqno: written.2 }
}

/// Tombstones over keys such as the rows have, newer and older than those.
fn some_tombstones(random: &mut SmallRng, row_count: u64) -> Vec<Written> {
    let count = [0, 1, 3, 12][random.random_range(0..4)];
    let one = |_| {
        let (a, b) = (random_key(random, 256), random_key(random, 256));
        let end = if random.random_ratio(1, 8) { None } else { Some(a.clone().max(b.clone())) };
        (a.min(b), end, random.random_range(1..row_count + 20))
    };
    (0..count).map(one).collect()
}

/// A mask of the tombstones, dealt out to some lists.
fn mask_of(random: &mut SmallRng, written: &[Written], snapshot: u64) -> Arc<Mask> {
    let mut lists = vec![Vec::new(); random.random_range(1..4)];
    for one in written {
        let index = random.random_range(0..lists.len());
        lists[index].push(tombstone(one));
    }
    let sources = lists.into_iter().map(|list| Arc::new(RangeTombstones::new(list)));
    Arc::new(Mask::new(sources.collect(), snapshot))
}

/// The rows that no tombstone covers, by asking all.
fn uncovered(rows: &[Version], written: &[Written], snapshot: u64) -> Vec<Version> {
    let is_covered = |row: &Version| {
        written
            .iter()
            .any(|one| one.2 <= snapshot && row.seqno < one.2 && tombstone(one).covers(&row.key))
    };
    rows.iter().filter(|row| !is_covered(row)).cloned().collect()
}

fn sorted(mut rows: Vec<Version>) -> Vec<Version> {
    rows.sort_by(|a, b| a.key.cmp(&b.key).then(b.seqno.cmp(&a.seqno)));
    rows
}

/// Rows, tombstones over them, and a snapshot.
struct Case {
    rows: Vec<Version>,
    written: Vec<Written>,
    snapshot: u64,
    left: Vec<Version>,
}

fn case(random: &mut SmallRng) -> Case {
    let row_count = random.random_range(0..300);
    let rows = random_rows(random, row_count, true);
    let written = some_tombstones(random, row_count);
    let snapshot = [row_count, u64::MAX, row_count / 2, 0][random.random_range(0..4)];
    let left = uncovered(&rows, &written, snapshot);
    Case { rows, written, snapshot, left }
}

/// Rows cut into parts that are each of an age of their own.
fn parts_of_mixed_age(random: &mut SmallRng, rows: Vec<Version>) -> Vec<Vec<Version>> {
    let mean_len = random.random_range(1..60);
    cut(random, &sorted(rows), mean_len)
}

#[test]
fn covered_rows_of_a_run_do_not_show() {
    let mut hidden_count = 0;
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let Case { rows, written, snapshot, left } = case(&mut random);
        hidden_count += rows.len() - left.len();
        let mask = mask_of(&mut random, &written, snapshot);
        let mut masked = MaskedCursor::new(VecCursor::new(rows), mask);
        check_moves_agree(&mut random, &mut masked, &mut VecCursor::new(left));
    }
    assert!(hidden_count > 5_000, "{hidden_count} rows were hidden");
}

#[test]
fn a_row_that_is_newer_than_its_tombstone_shows_wherever_old_pieces_are_skipped() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let Case { rows, written, snapshot, left } = case(&mut random);
        let parts = parts_of_mixed_age(&mut random, rows);
        let run = ConcatCursor::new(Shelf(parts, Calls::default()));
        let mut masked = MaskedCursor::new(run, mask_of(&mut random, &written, snapshot));
        check_moves_agree(&mut random, &mut masked, &mut VecCursor::new(left));
    }
}

#[test]
fn a_mask_over_merged_runs_and_merged_masked_runs_show_the_same() {
    for seed in 0..200 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let Case { rows, written, snapshot, left } = case(&mut random);
        let mask = mask_of(&mut random, &written, snapshot);
        let run_count = random.random_range(1..6);

        let runs = dealt(&mut random, &rows, run_count);
        let mut outside = MaskedCursor::new(MergingCursor::new(runs), Arc::clone(&mask));
        check_moves_agree(&mut random, &mut outside, &mut VecCursor::new(left.clone()));

        // The first run has the newest rows, as in a tree.
        let levels = rows.rchunks(rows.len() / run_count + 1).map(<[_]>::to_vec);
        let levels = levels.map(|rows| {
            let parts = parts_of_mixed_age(&mut random, rows);
            let level = ConcatCursor::new(Shelf(parts, Calls::default()));
            MaskedCursor::new(level, Arc::clone(&mask))
        });
        let mut inside = MergingCursor::new(levels.collect());
        check_moves_agree(&mut random, &mut inside, &mut VecCursor::new(left));
    }
}

#[test]
fn a_snapshot_sees_what_its_tombstones_leave() {
    for seed in 0..200 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let row_count = random.random_range(0..300);
        let rows = random_rows(&mut random, row_count, false);
        let written = some_tombstones(&mut random, row_count);
        let snapshot = random.random_range(0..row_count + 30);
        let mask = mask_of(&mut random, &written, snapshot);
        let runs = dealt(&mut random, &rows, 3).into_iter();
        let runs = runs.map(|run| MaskedCursor::new(run, Arc::clone(&mask))).collect();
        let mut visible = VisibleCursor::new(MergingCursor::new(runs), snapshot, 10, None);
        let left = uncovered(&rows, &written, snapshot);
        check_shows(&mut random, &mut visible, visible_rows(&left, snapshot, 10));
    }
}

/// Walks to the end and back, and returns the keys.
fn walk_both_ways<C: Cursor>(cursor: &mut MaskedCursor<C>) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    cursor.seek_first().unwrap();
    while cursor.valid() {
        assert_eq!(cursor.run().key(), cursor.key());
        keys.push(cursor.key().to_vec());
        cursor.next().unwrap();
    }
    let mut reversed = Vec::new();
    cursor.seek_last().unwrap();
    while cursor.valid() {
        reversed.insert(0, cursor.key().to_vec());
        cursor.prev().unwrap();
    }
    assert_eq!(keys, reversed);
    keys
}

/// A run of ten thousand rows of the seqnos from 1 on, and its counter.
fn ten_thousand_rows() -> (VecCursor, Calls) {
    let rows = (0..10_000_u64).map(|i| put(format!("{i:04}").as_bytes(), i + 1));
    let run = VecCursor::new(rows.collect());
    let calls = run.calls.clone();
    (run, calls)
}

#[test]
fn the_covered_rows_of_an_older_piece_are_passed_in_a_few_moves() {
    let (run, calls) = ten_thousand_rows();
    let written = (b"0001".to_vec(), Some(b"9998".to_vec()), 20_000);
    let list = RangeTombstones::new([tombstone(&written)]);
    let mask = Mask::new(vec![Arc::new(list)], u64::MAX);
    let keys = walk_both_ways(&mut MaskedCursor::new(run, Arc::new(mask)));
    assert_eq!(keys, [b"0000", b"9998", b"9999"]);
    assert!(calls.count.get() <= 12, "{} moves", calls.count.get());
}

#[test]
fn older_tombstones_below_a_new_one_do_not_break_its_skip() {
    let (run, calls) = ten_thousand_rows();
    let written = (b"0001".to_vec(), Some(b"9998".to_vec()), 20_000);
    let new = RangeTombstones::new([tombstone(&written)]);
    let small = (0..5_000).map(|i| {
        let [start, end] = [2 * i, 2 * i + 1].map(|key| format!("{key:04}").into_bytes());
        (start, Some(end), 15_000)
    });
    let small: Vec<Written> = small.collect();
    let old = RangeTombstones::new(small.iter().map(tombstone));
    let mask = Mask::new(vec![Arc::new(old), Arc::new(new)], u64::MAX);
    let keys = walk_both_ways(&mut MaskedCursor::new(run, Arc::new(mask)));
    assert_eq!(keys, [b"9999"]);
    assert!(calls.count.get() <= 14, "{} moves", calls.count.get());
}

#[test]
fn without_tombstones_each_move_is_one_move_of_the_run() {
    let (run, calls) = ten_thousand_rows();
    let keys = walk_both_ways(&mut MaskedCursor::new(run, Arc::new(Mask::default())));
    assert_eq!(keys.len(), 10_000);
    assert_eq!(calls.count.get(), 2 * 10_001);
}

#[test]
fn after_an_error_the_cursor_is_off_its_rows_until_a_seek() {
    let rows: Vec<_> = (0..60).map(|i| put(format!("{i:02}").as_bytes(), i + 1)).collect();
    let written = [over("05", "20", 30), over("30", "50", 45), over("55", "57", 99)];
    let left: Vec<_> = uncovered(&rows, &written, 90).into_iter().map(|row| row.key).collect();
    let mut failed_count = 0;
    for fails_at in 1..500 {
        let calls = Calls::default();
        calls.fails_at.set(fails_at);
        let parts = rows.chunks(7).map(<[_]>::to_vec).collect();
        let run = ConcatCursor::new(Shelf(parts, calls.clone()));
        let list = RangeTombstones::new(written.iter().map(tombstone));
        let mask = Mask::new(vec![Arc::new(list)], 90);
        let mut cursor = MaskedCursor::new(run, Arc::new(mask));
        let mut walk = || {
            cursor.seek_first()?;
            while cursor.valid() {
                cursor.next()?;
            }
            cursor.seek_last()?;
            while cursor.valid() {
                cursor.prev()?;
            }
            Ok::<_, crate::error::Error>(())
        };
        if walk().is_err() {
            failed_count += 1;
            assert!(!cursor.valid() && cursor.key().is_empty());
            cursor.next().and(cursor.prev()).unwrap();
            assert!(!cursor.valid(), "no move but a seek revives it");
        }
        calls.fails_at.set(0);
        assert_eq!(walk_both_ways(&mut cursor), left);
    }
    assert!(failed_count > 50, "{failed_count} moves failed");
}

fn over(start: &str, end: &str, seqno: u64) -> Written {
    (start.into(), Some(end.into()), seqno)
}
