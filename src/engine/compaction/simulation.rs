//! Long write histories: what compaction costs, and what it leaves to readers.
//!
//! A row of the model stands for 80 kB of rows, and a flush for 40 MB of them, which is what a
//! memtable of 64 MiB holds. `cargo test simulation -- --nocapture` prints the figures.
//!
//! # Invariants
//!
//! - Each figure that the design promises is asserted.
//!
//! Spec: none. I/O: none. Unsafe: none.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::Model;
use super::picker::Policy;
use crate::options::CompactionStyle;

const SEED: u64 = 3;
const ROW_LEN: u64 = 80_000;
const FLUSH_ROWS: u64 = 500;
const ALL_KEYS: u64 = 1 << 40;

fn model(style: CompactionStyle) -> Model {
    let policy = Policy { style, memtable_size: 64 << 20, table_size: 128 << 20 };
    Model::new(policy, ROW_LEN)
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(SEED)
}

fn random_keys(rng: &mut StdRng, below: u64) -> Vec<u64> {
    (0..FLUSH_ROWS).map(|_| rng.random_range(0..below)).collect()
}

/// Prints what a history came to.
fn report(name: &str, model: &Model) {
    println!(
        "{name} (seed {SEED}): write {:.2} x, read {:.2} runs, space {:.3} x, {} plans; {}",
        model.write_amplification(),
        model.read_amplification(),
        model.space_amplification(),
        model.plan_count,
        model.picture(),
    );
}

/// A history of flushes, each followed by all plans.
fn run(
    name: &str,
    style: CompactionStyle,
    flush_count: u64,
    mut keys: impl FnMut(u64) -> Vec<u64>,
) -> Model {
    let mut model = model(style);
    let mut worst_space = 0.0_f64;
    for flush in 0..flush_count {
        model.flush(keys(flush));
        model.settle(false, 0);
        if flush >= flush_count / 2 {
            worst_space = worst_space.max(model.space_amplification());
        }
    }
    model.check();
    report(name, &model);
    println!("  space in the second half: at most {worst_space:.3} x");
    assert!(style != CompactionStyle::Leveled || worst_space <= 1.15);
    model
}

fn quiet(name: &str, model: &mut Model) {
    model.settle(true, 0);
    model.check();
    report(&format!("{name}, quiet"), model);
}

#[test]
fn a_million_rows_are_merged_once_when_quiet() {
    let mut rng = rng();
    let keys = |_| random_keys(&mut rng, ALL_KEYS);
    let mut model = run("1 M random rows", CompactionStyle::Leveled, 3, keys);
    assert_eq!(model.plan_count, 0);
    quiet("1 M random rows", &mut model);
    assert_eq!((model.plan_count, model.shape().run_count()), (1, 1));
    assert!(model.write_amplification() <= 3.2);
}

#[test]
fn ten_million_rows_cost_less_than_six_times_their_length() {
    let mut rng = rng();
    let keys = |_| random_keys(&mut rng, ALL_KEYS);
    let mut model = run("10 M random rows", CompactionStyle::Leveled, 30, keys);
    quiet("10 M random rows", &mut model);
    assert_eq!(model.shape().run_count(), 1);
    assert!(model.write_amplification() <= 6.0);
}

/// Jobs take their time: while a memtable fills, they write `pace` times its length. Returns how
/// often a writer found 16 tables in level 0, and how often 24.
fn load_beside_jobs(model: &mut Model, flush_count: u64, pace: u64) -> (u64, u64) {
    let mut rng = rng();
    let (mut slow_count, mut stop_count) = (0, 0);
    let mut flush = 0;
    while flush < flush_count {
        let zero_count = model.shape().level_zero().len();
        slow_count += u64::from(zero_count >= 16);
        stop_count += u64::from(zero_count >= 24);
        if zero_count < 24 {
            model.flush(random_keys(&mut rng, ALL_KEYS));
            flush += 1;
        }
        while model.jobs.len() < 2 {
            let Some(plan) = model.pick(false, 0) else { break };
            model.begin(plan);
        }
        let mut budget = pace * FLUSH_ROWS * ROW_LEN;
        while budget > 0 && !model.jobs.is_empty() {
            let work = model.jobs[0].rest_len.min(budget);
            model.jobs[0].rest_len -= work;
            budget -= work;
            if model.jobs[0].rest_len == 0 {
                model.end(0);
                model.check();
            }
        }
    }
    while !model.jobs.is_empty() {
        model.end(0);
    }
    (slow_count, stop_count)
}

#[test]
fn jobs_that_lag_behind_the_load_cost_no_more() {
    for pace in [2, 3, 5] {
        let name = format!("10 M random rows, jobs at pace {pace}");
        let mut model = model(CompactionStyle::Leveled);
        let (slow_count, stop_count) = load_beside_jobs(&mut model, 30, pace);
        report(&name, &model);
        println!("  16 tables in level 0: {slow_count} times, 24: {stop_count} times");
        assert_eq!(stop_count, 0);
        quiet(&name, &mut model);
        assert!(model.write_amplification() <= 6.0);
    }
}

#[test]
fn rows_in_the_order_of_their_keys_are_never_rewritten() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        let keys = |flush| (flush * FLUSH_ROWS..(flush + 1) * FLUSH_ROWS).collect();
        let name = format!("{style:?}, ascending keys");
        let mut model = run(&name, style, 200, keys);
        quiet(&name, &mut model);
        assert_eq!((model.rewritten_len, model.shape().run_count()), (0, 1));
    }
}

#[test]
fn time_ordered_rows_are_rewritten_about_once() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        let mut rng = rng();
        // Each row comes up to a tenth of a flush late.
        let late = FLUSH_ROWS / 10 * 64;
        let mut keys = |flush: u64| {
            let rows = flush * FLUSH_ROWS..(flush + 1) * FLUSH_ROWS;
            rows.map(|row| row * 64 + rng.random_range(0..late)).collect()
        };
        let name = format!("{style:?}, time-ordered keys");
        let mut model = run(&name, style, 200, &mut keys);
        quiet(&name, &mut model);
        // Size-tiered merges runs of four neighbors, whether they share keys or not.
        let most = if style == CompactionStyle::Leveled { 3.5 } else { 6.0 };
        assert!(model.write_amplification() <= most);
        assert!(model.space_amplification() <= 1.15);
    }
}

/// Fills a tree with 16 GB and overwrites all of it, on the average, by keys of a distribution.
fn overwrite(style: CompactionStyle, name: &str, mut key: impl FnMut(&mut StdRng) -> u64) {
    let key_count = 400 * FLUSH_ROWS;
    let mut rng = rng();
    let keys = |flush| {
        let rows = flush * FLUSH_ROWS..(flush + 1) * FLUSH_ROWS;
        if flush < 400 { rows.collect() } else { (0..FLUSH_ROWS).map(|_| key(&mut rng)).collect() }
    };
    let name = format!("{style:?}, {name} overwrites");
    let mut model = run(&name, style, 800, keys);
    assert_eq!(model.newest.len() as u64, key_count);
    quiet(&name, &mut model);
    if style == CompactionStyle::Leveled {
        assert!(model.space_amplification() <= 1.15);
    }
    model.settle(true, u64::MAX);
    report(&format!("{name}, paid for by reads"), &model);
    assert_eq!(model.shape().run_count(), 1);
}

#[test]
fn uniform_overwrites_stay_within_their_space() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        overwrite(style, "uniform", |rng| rng.random_range(0..400 * FLUSH_ROWS));
    }
}

#[test]
fn zipfian_overwrites_stay_within_their_space() {
    for style in [CompactionStyle::Leveled, CompactionStyle::SizeTiered] {
        overwrite(style, "zipfian", |rng| {
            // The rank of a key by the inverse of 1/x, scattered over the keys.
            let count = 400 * FLUSH_ROWS;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank is small and positive"
            )]
            let rank = ((count as f64).powf(rng.random::<f64>()) as u64).min(count - 1);
            rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count
        });
    }
}
