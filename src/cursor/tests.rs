//! Tests of the merging and the visible cursor against their models.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::model::{
    Calls, VecCursor, Version, check_moves_agree, check_shows, random_rows, visible_rows,
};
use super::*;
use crate::hooks::Merger;
use crate::merge::Append;

/// Deals the rows out to so many runs.
pub(super) fn dealt(random: &mut SmallRng, rows: &[Version], run_count: usize) -> Vec<VecCursor> {
    let mut runs = vec![Vec::new(); run_count];
    for row in rows {
        runs[random.random_range(0..run_count)].push(row.clone());
    }
    runs.into_iter().map(VecCursor::new).collect()
}

pub(super) fn put(key: &[u8], seqno: u64) -> Version {
    Version { key: key.to_vec(), seqno, kind: Kind::Put, expires_at: 0, value: Vec::new() }
}

#[test]
fn many_runs_merge_into_one() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let row_count = random.random_range(0..300);
        let rows = random_rows(&mut random, row_count, true);
        let run_count = random.random_range(1..9);
        let runs = dealt(&mut random, &rows, run_count);
        let mut merged = MergingCursor::new(runs);
        check_moves_agree(&mut random, &mut merged, &mut VecCursor::new(rows));
    }
}

#[test]
fn a_row_in_two_runs_comes_from_the_first_one_first() {
    for seed in 0..50 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let rows = random_rows(&mut random, 60, true);
        let run = |index: u8| {
            let in_run = |row: &Version| Version { value: vec![index], ..row.clone() };
            rows.iter().skip(usize::from(index) * 7).map(in_run).collect::<Vec<_>>()
        };
        let all = (0..4).flat_map(run).collect();
        let mut merged = MergingCursor::new((0..4).map(|i| VecCursor::new(run(i))).collect());
        check_moves_agree(&mut random, &mut merged, &mut VecCursor::new(all));
        if let Some(row) = Version::of(&merged) {
            assert_eq!(row.value, [u8::try_from(merged.child_index()).unwrap()]);
        }
    }
}

/// Runs in memory whose keys ascend from one to the next.
pub(super) struct Shelf(pub(super) Vec<Vec<Version>>, pub(super) Calls);

impl Parts for Shelf {
    type Cursor = VecCursor;

    fn part_count(&self) -> usize {
        self.0.len()
    }

    fn largest(&self, part: usize) -> &[u8] {
        self.0.get(part).and_then(|rows| rows.last()).map_or(&[], |row| &row.key)
    }

    fn open(&self, part: usize) -> Result<Option<VecCursor>> {
        let rows = self.0.get(part).cloned();
        Ok(rows.map(|rows| {
            let mut cursor = VecCursor::new(rows);
            cursor.calls = self.1.clone();
            cursor
        }))
    }
}

/// Cuts sorted rows into parts, never between two versions of a key.
pub(super) fn cut(random: &mut SmallRng, rows: &[Version], mean_len: usize) -> Vec<Vec<Version>> {
    let mut parts: Vec<Vec<Version>> = Vec::new();
    for row in rows {
        let last_key = parts.last().and_then(|part| part.last()).map(|row| &row.key);
        let may_cut = last_key.is_none_or(|key| *key != row.key);
        if may_cut && (parts.is_empty() || random.random_range(0..mean_len) == 0) {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(row.clone());
    }
    parts
}

#[test]
fn disjoint_runs_end_to_end_are_one_run() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let row_count = random.random_range(0..200);
        let mut rows = random_rows(&mut random, row_count, true);
        rows.sort_by(|a, b| a.key.cmp(&b.key).then(b.seqno.cmp(&a.seqno)));
        let mean_len = random.random_range(1..40);
        let parts = cut(&mut random, &rows, mean_len);
        let mut concat = ConcatCursor::new(Shelf(parts, Calls::default()));
        check_moves_agree(&mut random, &mut concat, &mut VecCursor::new(rows));
    }
}

#[test]
fn no_runs_are_a_run_without_rows() {
    let mut merged = MergingCursor::<VecCursor>::new(Vec::new());
    let mut random = SmallRng::seed_from_u64(0);
    check_moves_agree(&mut random, &mut merged, &mut VecCursor::new(Vec::new()));
}

#[test]
fn a_snapshot_sees_the_newest_row_of_its_time() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let row_count = random.random_range(0..300);
        let rows = random_rows(&mut random, row_count, seed % 3 == 0);
        let snapshot = [row_count, u64::MAX, row_count / 2, 0][random.random_range(0..4)];
        let now_secs = random.random_range(0..25);
        let visible = visible_rows(&rows, snapshot, now_secs);
        let run_count = random.random_range(1..9);
        let run = MergingCursor::new(dealt(&mut random, &rows, run_count));
        check_shows(&mut random, &mut VisibleCursor::new(run, snapshot, now_secs, None), visible);
    }
}

#[test]
fn an_error_is_repeated_until_a_seek() {
    let mut random = SmallRng::seed_from_u64(7);
    let rows: Vec<_> = (1..=60).map(|seqno| put(&[(seqno % 19) as u8], seqno)).collect();
    for run_count in [1, 4] {
        let mut failed_count = 0;
        for fails_at in 1..400 {
            let mut runs = dealt(&mut random, &rows, run_count);
            let calls = Calls::default();
            calls.fails_at.set(fails_at);
            for run in &mut runs {
                run.calls = calls.clone();
            }
            let mut cursor = VisibleCursor::new(MergingCursor::new(runs), 40, 0, None);
            let mut seen = Vec::new();
            let mut found = cursor.seek_first();
            while let Ok(true) = found {
                seen.push(cursor.key().to_vec());
                found = cursor.next();
            }
            if found.is_ok() {
                found = cursor.seek_last();
            }
            while let Ok(true) = found {
                assert_eq!(seen.pop().as_deref(), Some(cursor.key()));
                found = cursor.prev();
            }
            if found.is_ok() {
                assert!(seen.is_empty());
                continue;
            }
            failed_count += 1;
            assert!(!cursor.valid() && cursor.key().is_empty() && cursor.value().is_empty());
            assert!(cursor.next().is_err() && cursor.prev().is_err() && cursor.next().is_err());
            assert!(cursor.seek_first().unwrap(), "a seek revives it");
            assert_eq!(cursor.key(), [0]);
            assert!(cursor.next().unwrap());
            assert_eq!(cursor.key(), [1]);
        }
        assert!(failed_count > 100, "{failed_count} calls");
    }
}

#[test]
fn of_many_versions_only_a_few_are_walked() {
    let cases: &[(u64, &[u64])] = &[(2, &[1]), (500, &[1, 500]), (9_999, &[1, 2_999, 3_000])];
    for &(snapshot, want) in cases {
        let hot = (3..3_000).map(|seqno| put(b"b", seqno));
        let rows = hot.chain([put(b"a", 1), put(b"c", 3_000)]);
        let mut run = VecCursor::new(rows.collect());
        let calls = Calls::default();
        run.calls = calls.clone();
        let mut cursor = VisibleCursor::new(run, snapshot, 0, None);
        let mut seen = Vec::new();
        let mut found = cursor.seek_first().unwrap();
        while found {
            seen.push(cursor.seqno());
            found = cursor.next().unwrap();
        }
        assert_eq!(seen, want);
        let mut reversed = Vec::new();
        let mut found = cursor.seek_last().unwrap();
        while found {
            reversed.insert(0, cursor.seqno());
            found = cursor.prev().unwrap();
        }
        assert_eq!(seen, reversed);
        assert!(calls.count.get() < 100, "{} calls at {snapshot}", calls.count.get());
    }
}

/// A table that somebody made, with keys that do not ascend, led a walk backward round in a circle: a
/// seek past the operands of a key came out behind them. Found by damaging tables under right
/// checksums.
#[test]
fn a_walk_over_rows_without_order_ends() {
    let mut random = SmallRng::seed_from_u64(1);
    let (mut ended, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let count = random.random_range(1..60);
        let rows = (0..count).map(|_| Version {
            key: vec![random.random_range(b'a'..b'd')],
            seqno: random.random_range(1..30),
            kind: *[Kind::Put, Kind::Delete, Kind::Merge, Kind::Merge]
                .get(random.random_range(0..4))
                .unwrap(),
            expires_at: 0,
            value: b"v".to_vec(),
        });
        let run = VecCursor::without_order(rows.collect());
        let merger = Some(Merger::new(Append::new(",")));
        let mut cursor = VisibleCursor::new(run, random.random_range(1..30), 0, merger);
        for forward in [true, false, true] {
            let mut moved = if forward { cursor.seek_first() } else { cursor.seek_last() };
            for steps in 0.. {
                assert!(steps <= 10 * count, "a walk over {count} rows goes on");
                match moved {
                    Ok(true) => moved = if forward { cursor.next() } else { cursor.prev() },
                    Ok(false) => {
                        ended += 1;
                        break;
                    }
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(ended > 1_000 && refused > 100, "{ended} ended, {refused} were refused");
}
