//! Random trees under concurrent jobs: no plan hides a newer row, and plans come to an end.

use super::*;

const KEYS: u64 = 64;

/// A tree with tables at random places of random levels.
fn random_tree(rng: &mut StdRng) -> Model {
    let style = if rng.random() { Leveled } else { SizeTiered };
    // From rows of a kilobyte to rows of a table: all limits are met.
    let row_len = [1_000, MB, 20 * MB, 300 * MB][rng.random_range(0..4)];
    let mut model = Model::new(policy(style), row_len);
    for level in [63, 62, 61, 6, 5, 4, 3, 2, 1] {
        let mut key = rng.random_range(0..KEYS);
        while rng.random_range(0..3) > 0 && key + 8 < KEYS {
            let end = key + rng.random_range(1..8);
            model.put(level, (key..end).filter(|_| rng.random()).chain([key]).collect::<Vec<_>>());
            key = end + rng.random_range(0..8);
        }
    }
    for _ in 0..rng.random_range(0..20) {
        random_flush(rng, &mut model);
    }
    model
}

fn random_keys(rng: &mut StdRng) -> Vec<u64> {
    let start = rng.random_range(0..KEYS);
    let end = (start + rng.random_range(1..KEYS)).min(KEYS);
    (0..rng.random_range(1..9)).map(|_| rng.random_range(start..end)).collect()
}

fn random_flush(rng: &mut StdRng, model: &mut Model) {
    model.flush(random_keys(rng));
}

fn random_plan(rng: &mut StdRng, model: &mut Model) {
    if let Some(plan) = model.pick(rng.random(), random_credit(rng)) {
        model.begin(plan);
    }
}

fn random_credit(rng: &mut StdRng) -> u64 {
    [0, 10 * MB, 1_000 * MB, u64::MAX][rng.random_range(0..4)]
}

/// Runs a test with trees of many seeds, and says which one failed.
fn for_seeds(test: impl Fn(&mut StdRng)) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {}", self.0);
            }
        }
    }
    for seed in 0..300 {
        let seed = Seed(seed);
        test(&mut StdRng::seed_from_u64(seed.0));
    }
}

#[test]
fn jobs_at_once_never_hide_a_newer_row_or_overlap() {
    for_seeds(|rng| {
        let mut model = random_tree(rng);
        model.check();
        for _ in 0..80 {
            match rng.random_range(0..8) {
                0..=1 => random_flush(rng, &mut model),
                2..=3 if model.jobs.len() < 4 => random_plan(rng, &mut model),
                4 => {
                    model.ingest(random_keys(rng), |model| {
                        if rng.random() {
                            random_plan(rng, model);
                        }
                    });
                    model.check();
                }
                // Each style goes on from what another one left.
                5 if rng.random_range(0..20) == 0 => {
                    let other = if rng.random() { Leveled } else { SizeTiered };
                    model.policy.style = other;
                }
                _ if !model.jobs.is_empty() => {
                    model.end(rng.random_range(0..model.jobs.len()));
                    model.check();
                }
                _ => (),
            }
        }
    });
}

#[test]
fn plans_come_to_an_end_and_paid_ones_in_one_run() {
    for_seeds(|rng| {
        let mut model = random_tree(rng);
        model.settle(false, random_credit(rng));
        model.check();
        model.settle(true, random_credit(rng));
        model.check();
        let before = model.shape().run_count();
        model.settle(true, u64::MAX);
        model.check();
        let after = model.shape().run_count();
        assert!(after <= before && after <= 1, "{}", model.picture());
    });
}

#[test]
fn calls_bring_a_range_and_then_all_to_the_bottom() {
    for_seeds(|rng| {
        let mut model = random_tree(rng);
        let (start, end) = (rng.random_range(0..KEYS), rng.random_range(0..KEYS));
        let (start, end) = (key_bytes(start.min(end)), key_bytes(start.max(end)));
        let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
        while let Some(plan) = pick_range(&model.shape(), &model.policy, bounds.0, bounds.1) {
            model.begin(plan);
            model.end(0);
            model.check();
        }
        let left = model
            .tables
            .iter()
            .map(|table| &table.record)
            .filter(|record| record.smallest[..] <= end[..] && start[..] <= record.largest[..]);
        let levels: Vec<_> = left.map(|record| record.level).collect();
        assert!(levels.iter().all(|level| *level == levels[0]), "{}", model.picture());
        if let Some(plan) = pick_all(&model.shape(), &model.policy) {
            model.begin(plan);
            model.end(0);
        }
        model.check();
        assert!(model.shape().run_count() <= 1, "{}", model.picture());
    });
}
