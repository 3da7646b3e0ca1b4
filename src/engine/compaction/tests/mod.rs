//! Tests of the picker, by tables of shapes.

use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::deleted::{Covered, pick_partly};
use super::model::{Model, key_bytes};
use super::picker::{Plan, Policy, Reason, Running, Situation, pick, pick_all, pick_range};
use super::places::level_for;
use super::shape::{Shape, Span};
use crate::format::manifest::TableRecord;
use crate::options::CompactionStyle::{self, Leveled, Manual, SizeTiered};

mod random_trees;

const MB: u64 = 1_000_000;

fn policy(style: CompactionStyle) -> Policy {
    Policy { style, memtable_size: 64 << 20, table_size: 128 << 20 }
}

/// The tables that a line of text draws: `0 a-f:40 c-d:40 | 6 a-z:100` is two tables of 40 MB in
/// level 0, newest first, and one of 100 MB in level 6. File numbers count from 1 on.
fn tables(text: &str) -> Vec<TableRecord> {
    let mut tables = Vec::new();
    for level in text.split('|').filter(|level| !level.trim().is_empty()) {
        let mut words = level.split_whitespace();
        let number = words.next().unwrap().parse().unwrap();
        for word in words {
            let (keys, len) = word.split_once(':').unwrap();
            let (smallest, largest) = keys.split_once('-').unwrap();
            tables.push(TableRecord {
                level: number,
                file_number: tables.len() as u64 + 1,
                file_len: len.parse::<u64>().unwrap() * MB,
                smallest: smallest.into(),
                largest: largest.into(),
                ..TableRecord::default()
            });
        }
    }
    tables
}

/// A plan as text: `1 2 > 6 quiet`, and `1 = 6 move` if nothing is rewritten; cuts follow.
fn text(plan: Option<Plan>) -> String {
    let Some(plan) = plan else { return "none".into() };
    let inputs: Vec<_> = plan.inputs.iter().map(u64::to_string).collect();
    let sign = if plan.is_move { '=' } else { '>' };
    let cuts = plan.cuts.iter().map(|cut| format!(" {}", String::from_utf8_lossy(cut)));
    let cuts: String = cuts.collect();
    format!("{} {sign} {} {}{cuts}", inputs.join(" "), plan.output_level, plan.reason)
}

#[track_caller]
fn check_pick(style: CompactionStyle, is_quiet: bool, read_credit: u64, shape: &str, want: &str) {
    let tables = tables(shape);
    let situation = Situation { running: &[], is_quiet, read_credit: read_credit * MB };
    let plan = pick(&Shape::of(tables.iter()), &policy(style), &situation);
    assert_eq!(text(plan), want, "{style:?}, quiet {is_quiet}, {shape}");
}

#[test]
fn leveled_trees_are_kept_in_shape_while_writing() {
    #[rustfmt::skip]
    let cases = [
        // few tables, though they overlap
        ("", "none"),
        ("0 a-z:40 a-z:40 a-z:40", "none"),
        ("0 a-z:40 a-z:40 a-z:40 a-z:40 a-z:40 a-z:40 a-z:40 | 6 a-m:99 n-z:99", "none"),
        // eight go down, to the bottom of an empty tree and to a small bottom
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9", "1 2 3 4 5 6 7 8 > 6 level-0"),
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 | 6 a-c:99", "1 2 3 4 5 6 7 8 9 > 6 level-0"),
        // a larger bottom waits for twelve
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 | 6 a-c:999", "none"),
        // a bottom that is too large is spared: a level begins above it
        ("0 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 a-z:1 | 6 a-z:999", "1 2 3 4 5 6 7 8 9 10 11 12 > 5 level-0"),
        // only what overlaps, and what lies between
        ("0 k-l:9 a-b:9 a-b:9 a-b:9 a-b:9 a-b:9 a-b:9 a-b:9 | 6 a-c:9 d-z:9", "2 3 4 5 6 7 8 9 > 6 level-0"),
        ("0 a-b:9 k-l:9 a-b:9 a-b:9 a-b:9 a-b:9 a-b:9 a-b:9 | 6 a-c:9 d-z:9", "1 2 3 4 5 6 7 8 9 10 > 6 level-0"),
        // what shares no key moves, as deep as it can
        ("0 x-z:40 v-w:40 t-u:40 r-s:40 p-q:40 n-o:40 l-m:40 j-k:40", "8 = 6 move"),
        ("0 x-z:40 v-w:40 t-u:40 r-s:40 p-q:40 n-o:40 l-m:40 j-k:40 | 5 a-i:50 | 6 a-i:900", "8 = 6 move"),
        ("0 x-z:40 v-w:40 t-u:40 r-s:40 p-q:40 n-o:40 l-m:40 j-k:40 | 5 a-b:50 | 6 a-k:600", "8 = 5 move"),
        // a level above its target gives away what overlaps least for its length
        ("5 a-e:10 f-g:30 h-z:20 | 6 a-b:90 c-f:90 g-m:90 n-z:90", "2 5 6 > 6 size"),
        ("5 a-e:10 f-g:30 | 6 a-b:90 c-e:90 h-m:90", "2 = 6 move"),
        ("5 a-b:5 c-d:9 e-f:9 | 6 a-g:90", "1 2 3 4 > 6 size"),
        ("4 a-b:9 | 5 a-c:80 | 6 a-g:900", "1 2 > 5 size"),
        ("5 a-z:90 | 6 a-z:901", "none"),
        // little may hide rows of the bottom
        ("0 a-z:60 | 5 a-z:90 | 6 a-z:950", "2 3 > 6 space"),
        ("0 a-z:150 | 5 a-z:9 | 6 a-z:950", "none"),
    ];
    for (shape, want) in cases {
        check_pick(Leveled, false, 0, shape, want);
        check_pick(Leveled, false, u64::MAX / MB, shape, want);
        check_pick(Manual, false, 0, shape, "none");
    }
}

#[test]
fn quiet_trees_become_few_runs_if_that_is_cheap() {
    #[rustfmt::skip]
    let cases = [
        // credit, shape, plan: one run is left as it is
        (0, "0 a-z:40", "none"),
        (0, "6 a-m:40 n-z:40", "none"),
        (0, "5 a-m:40 n-z:40", "none"),
        // all at once
        (0, "0 a-z:40 a-z:40 a-z:40", "1 2 3 > 6 quiet"),
        (0, "0 a-z:40 a-z:40 | 5 a-m:90 | 6 a-m:900 n-z:900", "1 2 3 4 5 > 6 quiet"),
        (0, "0 a-z:1 | 6 a-z:500", "1 2 > 6 quiet"),
        // not for so little, unless reads have paid
        (0, "0 a-z:30 | 6 a-z:600", "none"),
        (629, "0 a-z:30 | 6 a-z:600", "none"),
        (630, "0 a-z:30 | 6 a-z:600", "1 2 > 6 reads"),
        (0, "5 a-z:30 | 6 a-z:600", "none"),
        (630, "5 a-z:30 | 6 a-z:600", "1 2 > 6 reads"),
        // but then the runs above become one
        (0, "0 a-z:9 a-z:9 | 6 a-z:600", "1 2 > 5 quiet"),
        (0, "0 a-z:9 a-z:9 | 5 a-z:9 | 6 a-z:600", "1 2 3 > 5 quiet"),
        // the group that is worth it
        (0, "0 a-b:9 | 6 a-c:99 d-z:900", "1 2 > 6 quiet"),
        (0, "5 a-b:1 d-e:90 | 6 a-c:99 d-z:900", "2 4 > 6 quiet"),
        // moves
        (0, "0 t-z:40 a-k:40", "2 = 6 move"),
        (0, "0 t-z:1 a-k:1", "1 2 > 6 quiet"),
        (0, "0 t-z:40 | 6 a-k:900", "1 = 6 move"),
        (0, "4 t-z:1 | 5 l-m:1 | 6 a-k:900", "1 = 6 move"),
        // levels of another style
        (0, "0 a-z:40 | 62 a-z:40 | 63 a-z:40", "1 2 3 > 63 quiet"),
    ];
    for (read_credit, shape, want) in cases {
        check_pick(Leveled, true, read_credit, shape, want);
        check_pick(Manual, true, read_credit, shape, "none");
    }
    check_pick(SizeTiered, true, 0, "0 a-z:40 a-z:40", "1 2 > 63 quiet");
    check_pick(SizeTiered, true, 0, "0 a-z:40 | 62 a-z:9 | 63 a-z:9", "1 2 3 > 63 quiet");
}

#[test]
fn tables_with_deleted_rows_are_written_anew_when_writes_rest_if_that_is_worth_it() {
    /// `covered` has pairs of a file number and about how many MB of it are covered.
    #[track_caller]
    fn check(credit: u64, shape: &str, covered: &[(u64, u64)], want: &str) {
        let tables = tables(shape);
        let covered: Vec<_> = covered
            .iter()
            .map(|(number, len)| Covered { file_number: *number, len: len * MB })
            .collect();
        let pick = |style, is_quiet, running: &[Running]| {
            let situation = Situation { running, is_quiet, read_credit: credit * MB };
            text(pick_partly(&Shape::of(tables.iter()), &policy(style), &situation, &covered))
        };
        assert_eq!(pick(Leveled, true, &[]), want, "{shape}, {covered:?}");
        assert_eq!(pick(SizeTiered, true, &[]), want, "{shape}, {covered:?}");
        assert_eq!(pick(Manual, true, &[]), "none");
        assert_eq!(pick(Leveled, false, &[]), "none");
        let running = |input| Running {
            inputs: vec![input],
            output_level: 6,
            smallest: b"a".into(),
            largest: b"z".into(),
        };
        let taken: Vec<_> = covered.iter().map(|covered| running(covered.file_number)).collect();
        assert_eq!(pick(Leveled, true, &taken), "none");
    }
    #[rustfmt::skip]
    let cases = [
        (0, "6 a-m:90 n-z:90", &[][..], "none"),
        // a small tree: whatever is covered
        (0, "6 a-m:90 n-z:90", &[(2, 0)], "2 > 6 range-delete"),
        (0, "6 a-f:90 g-m:90 n-z:90", &[(1, 3), (2, 40), (3, 20)], "2 > 6 range-delete"),
        // a large one: where a fair part is covered
        (0, "6 a-m:900 n-z:900", &[(1, 50), (2, 56)], "none"),
        (0, "6 a-m:900 n-z:900", &[(1, 57), (2, 56)], "1 > 6 range-delete"),
        // or reads have paid for it
        (899, "6 a-m:900 n-z:900", &[(2, 0)], "none"),
        (900, "6 a-m:900 n-z:900", &[(2, 0)], "2 > 6 range-delete"),
        // tables of level 0 wait for a merge
        (0, "0 a-z:9 | 6 a-m:90", &[(1, 9)], "none"),
        (0, "5 a-c:9 | 6 a-m:90", &[(1, 9), (2, 1)], "1 > 5 range-delete"),
    ];
    for (credit, shape, covered, want) in cases {
        check(credit, shape, covered, want);
    }
}

#[test]
fn size_tiered_trees_merge_neighbors_of_like_size() {
    #[rustfmt::skip]
    let cases = [
        ("0 a-z:9 a-z:9 a-z:9", "none"),
        ("0 a-z:9 a-z:9 a-z:9 a-z:9", "1 2 3 4 > 63 level-0"),
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 | 63 a-z:36", "1 2 3 4 > 62 level-0"),
        // the oldest eight
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9", "2 3 4 5 6 7 8 9 > 63 level-0"),
        // what shares no key joins a run
        ("0 a-z:9 a-z:9 a-z:9 a-b:9 | 62 c-d:9 | 63 c-d:9", "1 2 3 4 > 61 level-0"),
        ("0 c-d:9 c-d:9 c-d:9 a-b:9 | 62 c-d:9 | 63 c-d:9", "4 = 63 move"),
        ("0 c-d:9 c-d:9 c-d:9 a-b:9 | 62 c-d:9 | 63 a-d:9", "4 = 62 move"),
        // a series of at least four, each at most four times the smallest
        ("61 a-z:9 | 62 a-z:9 | 63 a-z:9", "none"),
        ("60 a-z:9 | 61 a-z:36 | 62 a-z:9 | 63 a-z:9", "1 2 3 4 > 63 size"),
        ("60 a-z:9 | 61 a-z:37 | 62 a-z:9 | 63 a-z:9", "none"),
        ("58 a-z:1 | 59 a-z:9 | 60 a-z:9 | 61 a-z:9 | 62 a-z:9 | 63 a-z:99", "2 3 4 5 > 62 size"),
        // level 0 waits while a long series waits below it
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 | 56 a-z:9 | 57 a-z:9 | 58 a-z:9 | 59 a-z:9 | 60 a-z:9 | 61 a-z:9 | 62 a-z:9 | 63 a-z:9",
            "5 6 7 8 9 10 11 12 > 63 size"),
        // where no level is left above, more is merged
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 | 2 a-z:99 | 3 a-z:135 | 4 a-z:400", "1 2 3 4 5 6 > 3 level-0"),
        ("0 a-z:9 a-z:9 a-z:9 a-z:9 | 1 a-z:99 | 3 a-z:900", "1 2 3 4 5 > 1 level-0"),
    ];
    for (shape, want) in cases {
        check_pick(SizeTiered, false, 0, shape, want);
    }
}

#[test]
fn a_plan_stays_clear_of_running_jobs() {
    #[track_caller]
    fn check(shape: &str, inputs: &[u64], output_level: u32, want: &str) {
        let tables = tables(shape);
        let records = || tables.iter().filter(|table| inputs.contains(&table.file_number));
        let running = [Running {
            inputs: inputs.to_vec(),
            output_level,
            smallest: records().map(|record| &record.smallest).min().unwrap().clone(),
            largest: records().map(|record| &record.largest).max().unwrap().clone(),
        }];
        let situation = Situation { running: &running, is_quiet: false, read_credit: 0 };
        let plan = pick(&Shape::of(tables.iter()), &policy(Leveled), &situation);
        assert_eq!(text(plan), want, "{shape}, running {inputs:?} to {output_level}");
    }
    let eight = "0 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 a-z:9";
    // One job at a time out of level 0.
    check(eight, &[8, 9], 6, "none");
    // The next table, if the one that overlaps least is busy or its keys are.
    let levels = "5 a-b:30 c-d:30 e-f:30 | 6 a-a:1 c-c:2 e-e:3";
    check(levels, &[1, 4], 6, "2 5 > 6 size");
    check(levels, &[1, 4, 2, 5], 6, "3 6 > 6 size");
    check("5 a-b:30 d-e:30 | 6 a-g:1 h-i:9", &[1, 3], 6, "none");
    // Level 0 waits for a job in the level that it meets, but not under pressure.
    let below = "| 5 a-z:50 | 6 a-z:900";
    check(&format!("{eight} {below}"), &[10, 11], 6, "none");
    let many = format!("{eight} a-z:9 a-z:9 a-z:9 a-z:9 a-z:9 {below}");
    check(&many, &[15, 16], 6, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 > 4 level-0");
}

#[test]
fn a_newcomer_goes_as_deep_as_it_can() {
    #[track_caller]
    fn check(style: CompactionStyle, shape: &str, running: &[(&str, u32)], want: u32) {
        let tables = tables(shape);
        let running = running.iter().map(|(keys, output_level)| {
            let (smallest, largest) = keys.split_once('-').unwrap();
            let (smallest, largest) = (smallest.into(), largest.into());
            Running { inputs: Vec::new(), output_level: *output_level, smallest, largest }
        });
        let running: Vec<_> = running.collect();
        let span = Span { smallest: b"k", largest: b"m" };
        let level = level_for(&Shape::of(tables.iter()), &policy(style), &running, span);
        assert_eq!(level, want, "{style:?} {shape} beside {running:?}");
    }
    check(Leveled, "", &[], 6);
    check(Manual, "", &[], 6);
    check(SizeTiered, "", &[], 63);
    // Over nothing it joins the last run, also where tables lie around it.
    check(Leveled, "0 a-j:9 n-z:9 | 5 a-j:9 n-z:9 | 6 a-j:9 n-z:9", &[], 6);
    check(SizeTiered, "0 a-j:9 | 61 a-j:9 n-z:9 | 62 n-z:9", &[], 62);
    check(Leveled, "5 a-j:9", &[], 5);
    // Over others it stays above them, in a run that there is or in a new one.
    check(Leveled, "4 a-j:9 | 5 n-z:9 | 6 m-z:9", &[], 5);
    check(Leveled, "3 a-j:9 | 6 m-z:9", &[], 3);
    check(Leveled, "6 m-z:9", &[], 5);
    check(SizeTiered, "61 m-z:9 | 62 n-z:9", &[], 60);
    check(Leveled, "1 m-z:9 | 6 n-z:9", &[], 0);
    // A job may bring a table over its keys in there, though it takes none that has them.
    check(Leveled, "0 a-b:9 y-z:9", &[("a-z", 6)], 0);
    check(Leveled, "4 n-z:9 | 5 a-b:9 y-z:9 | 6 a-b:9", &[("a-z", 6)], 5);
    check(Leveled, "4 n-z:9 | 5 a-b:9 y-z:9 | 6 a-b:9", &[("a-z", 5)], 4);
    check(Leveled, "0 a-b:9 y-z:9", &[("a-j", 6), ("n-z", 6)], 6);
}

#[test]
fn outputs_are_cut_where_they_overlap_too_much_below() {
    #[rustfmt::skip]
    let cases = [
        // more than 10 x 134 MB below: no move, and a cut before each table that comes too late
        ("4 a-f:9 | 5 g-z:9 | 6 a-b:700 c-c:700 d-d:700 e-e:700 f-f:700 g-g:700", "1 > 5 size d f"),
        ("4 a-b:9 | 5 g-z:9 | 6 a-b:700 c-c:700 d-d:700 e-e:700", "1 = 5 move"),
    ];
    for (shape, want) in cases {
        check_pick(Leveled, false, 0, shape, want);
    }
}

#[test]
fn all_tables_become_one_run_on_call() {
    #[track_caller]
    fn check(style: CompactionStyle, shape: &str, want: &str) {
        let tables = tables(shape);
        let plan = pick_all(&Shape::of(tables.iter()), &policy(style));
        assert_eq!(text(plan), want, "{style:?} {shape}");
    }
    check(Leveled, "", "none");
    check(Leveled, "0 a-z:9", "none");
    check(Leveled, "5 a-b:9 c-d:9", "none");
    check(Leveled, "0 c-d:9 a-b:9", "1 2 > 6 manual");
    check(Manual, "0 a-d:9 a-b:9 | 5 x-y:9", "1 2 3 > 6 manual");
    check(SizeTiered, "0 a-d:9 a-b:9", "1 2 > 63 manual");
    check(SizeTiered, "0 a-d:9 | 61 a-b:9", "1 2 > 61 manual");
    check(Leveled, "0 a-d:9 | 61 a-b:9", "1 2 > 61 manual");
}

#[test]
fn a_range_is_brought_to_the_bottom_on_call() {
    #[track_caller]
    fn check(start: Bound<&[u8]>, end: Bound<&[u8]>, shape: &str, want: &str) {
        let tables = tables(shape);
        let plan = pick_range(&Shape::of(tables.iter()), &policy(Leveled), start, end);
        assert_eq!(text(plan), want, "{start:?} {end:?} {shape}");
    }
    use Bound::{Excluded, Included, Unbounded};
    let shape = "0 a-c:9 f-h:9 a-c:9 | 5 a-b:9 g-k:9 | 6 b-d:9 m-p:9";
    check(Unbounded, Unbounded, shape, "1 2 3 4 5 6 > 6 manual");
    check(Included(b"d"), Included(b"f"), shape, "2 3 4 5 6 > 6 manual");
    check(Included(b"d"), Excluded(b"f"), shape, "none");
    check(Excluded(b"h"), Unbounded, shape, "5 > 6 manual");
    check(Excluded(b"k"), Unbounded, shape, "none");
    check(Included(b"z"), Included(b"a"), shape, "none");
}

#[test]
fn reasons_are_short_words() {
    assert_eq!(format!("{:>8}|", Reason::LevelZero), " level-0|");
}
