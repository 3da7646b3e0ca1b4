//! A model of a tree for tests: tables as lists of rows, on which plans are carried out.
//!
//! # Invariants
//!
//! - [`Model::check`] compares every key with what was written last, and the order of its versions
//!   with their age.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::picker::{Plan, Policy, Running, Situation, pick};
use super::places::level_for;
use super::shape::{Shape, Span};
use crate::format::manifest::TableRecord;

/// A tree whose keys are numbers and whose values are seqnos.
pub(super) struct Model {
    pub(super) policy: Policy,
    /// Bytes that each row stands for.
    pub(super) row_len: u64,
    /// As a version lists them.
    pub(super) tables: Vec<Table>,
    pub(super) jobs: Vec<Job>,
    pub(super) newest: BTreeMap<u64, u64>,
    pub(super) plan_count: usize,
    /// Bytes of rows that were written, that were flushed, and that jobs wrote.
    pub(super) user_len: u64,
    pub(super) flushed_len: u64,
    pub(super) rewritten_len: u64,
    seqno: u64,
    file_number: u64,
}

pub(super) struct Table {
    pub(super) record: TableRecord,
    rows: Vec<(u64, u64)>,
}

/// A plan that is carried out.
pub(super) struct Job {
    plan: Plan,
    running: Running,
    /// Bytes that it still has to write.
    pub(super) rest_len: u64,
}

impl Model {
    pub(super) fn new(policy: Policy, row_len: u64) -> Self {
        Self {
            policy,
            row_len,
            tables: Vec::new(),
            jobs: Vec::new(),
            newest: BTreeMap::new(),
            plan_count: 0,
            user_len: 0,
            flushed_len: 0,
            rewritten_len: 0,
            seqno: 0,
            file_number: 0,
        }
    }

    /// Writes these keys and makes a table of them.
    pub(super) fn flush(&mut self, keys: impl IntoIterator<Item = u64>) {
        self.put(0, keys);
    }

    /// Adds a table from outside with these keys where a place is for it; `meanwhile` other jobs may
    /// begin, but none ends.
    pub(super) fn ingest(
        &mut self,
        keys: impl IntoIterator<Item = u64>,
        meanwhile: impl FnOnce(&mut Self),
    ) {
        let keys: Vec<_> = keys.into_iter().collect();
        let smallest = key_bytes(*keys.iter().min().unwrap());
        let largest = key_bytes(*keys.iter().max().unwrap());
        let running: Vec<_> = self.jobs.iter().map(|job| job.running.clone()).collect();
        let span = Span { smallest: &smallest, largest: &largest };
        let (first, last) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
        let is_met = self.tables.iter().any(|table| {
            let mut rows = table.rows.iter();
            table.record.level == 0 && rows.any(|(key, _)| (first..=last).contains(&key))
        });
        let found = level_for(&self.shape(), &self.policy, &running, span);
        let level = if is_met { 0 } else { found };
        let plan = Plan::rewrite(Vec::new(), level);
        let running = Running { inputs: Vec::new(), output_level: level, smallest, largest };
        let place = self.jobs.len();
        self.jobs.push(Job { plan, running, rest_len: 0 });
        meanwhile(self);
        self.jobs.remove(place);
        self.put(level, keys);
    }

    /// Adds a table whose rows are newer than all others; below level 0 only while it is true of
    /// the place.
    pub(super) fn put(&mut self, level: u32, keys: impl IntoIterator<Item = u64>) {
        let mut rows = BTreeMap::new();
        for key in keys {
            self.seqno += 1;
            self.user_len += self.row_len;
            rows.insert(key, self.seqno);
            self.newest.insert(key, self.seqno);
        }
        let rows: Vec<_> = rows.into_iter().collect();
        self.flushed_len += rows.len() as u64 * self.row_len;
        self.add(level, rows);
        self.sort();
    }

    fn add(&mut self, level: u32, rows: Vec<(u64, u64)>) {
        self.file_number += 1;
        let seqnos = || rows.iter().map(|row| row.1);
        let record = TableRecord {
            level,
            file_number: self.file_number,
            file_len: rows.len() as u64 * self.row_len,
            row_count: rows.len() as u64,
            min_seqno: seqnos().min().unwrap(),
            max_seqno: seqnos().max().unwrap(),
            smallest: key_bytes(rows.first().unwrap().0),
            largest: key_bytes(rows.last().unwrap().0),
            ..TableRecord::default()
        };
        self.tables.push(Table { record, rows });
    }

    fn sort(&mut self) {
        self.tables.sort_by_key(|table| {
            let record = &table.record;
            let is_deep = record.level > 0;
            let key = is_deep.then(|| record.smallest.clone());
            (record.level, key, Reverse((record.max_seqno, record.file_number)))
        });
    }

    pub(super) fn shape(&self) -> Shape<'_> {
        Shape::of(self.tables.iter().map(|table| &table.record))
    }

    pub(super) fn pick(&self, is_quiet: bool, read_credit: u64) -> Option<Plan> {
        let running: Vec<_> = self.jobs.iter().map(|job| job.running.clone()).collect();
        pick(&self.shape(), &self.policy, &Situation { running: &running, is_quiet, read_credit })
    }

    /// Begins to carry out a plan, which must be a sound one.
    pub(super) fn begin(&mut self, plan: Plan) {
        let records: Vec<_> =
            self.tables.iter().map(|table| &table.record).filter(|r| is_input(&plan, r)).collect();
        assert_eq!(records.len(), plan.inputs.len(), "inputs are tables, each once: {plan:?}");
        assert!(records.iter().all(|record| record.level <= plan.output_level), "{plan:?}");
        assert!(records.iter().any(|record| record.level < plan.output_level), "{plan:?}");
        assert!(!plan.is_move || records.len() == 1, "{plan:?}");
        let zero: Vec<_> = self.tables.iter().filter(|table| table.record.level == 0).collect();
        let chosen: Vec<_> = zero.iter().map(|table| is_input(&plan, &table.record)).collect();
        assert!(chosen.is_sorted(), "only the oldest of level 0: {plan:?}");
        assert!(plan.cuts.is_sorted(), "{plan:?}");
        for job in &self.jobs {
            let shared = plan.inputs.iter().find(|input| job.running.inputs.contains(input));
            assert_eq!(shared, None, "{plan:?} takes an input of {:?}", job.plan);
        }
        let rest_len = records.iter().map(|record| record.file_len).sum();
        let running = Running {
            inputs: plan.inputs.clone(),
            output_level: plan.output_level,
            smallest: records.iter().map(|record| &record.smallest).min().unwrap().clone(),
            largest: records.iter().map(|record| &record.largest).max().unwrap().clone(),
        };
        let rest_len = if plan.is_move { 0 } else { rest_len };
        self.plan_count += 1;
        self.jobs.push(Job { plan, running, rest_len });
    }

    /// Ends a job: its outputs take the place of its inputs.
    pub(super) fn end(&mut self, job_index: usize) {
        let plan = self.jobs.remove(job_index).plan;
        let is_input = |table: &mut Table| is_input(&plan, &table.record);
        let mut inputs: Vec<_> = self.tables.extract_if(.., is_input).collect();
        if plan.is_move {
            inputs[0].record.level = plan.output_level;
            self.tables.append(&mut inputs);
        } else {
            let mut rows: Vec<_> = inputs.into_iter().flat_map(|table| table.rows).collect();
            rows.sort_by_key(|row| (row.0, Reverse(row.1)));
            rows.dedup_by_key(|row| row.0);
            self.rewritten_len += rows.len() as u64 * self.row_len;
            for rows in self.outputs(&plan, rows) {
                self.add(plan.output_level, rows);
            }
        }
        self.sort();
    }

    fn outputs(&self, plan: &Plan, rows: Vec<(u64, u64)>) -> Vec<Vec<(u64, u64)>> {
        let most = usize::try_from((self.policy.table_size / self.row_len).max(1)).unwrap();
        let mut cuts = plan.cuts.iter().map(|cut| key_number(cut));
        let mut cut = cuts.next();
        let mut outputs = vec![Vec::new()];
        for row in rows {
            let mut is_cut = false;
            while cut.is_some_and(|cut| cut <= row.0) {
                is_cut = true;
                cut = cuts.next();
            }
            let last = outputs.last_mut().unwrap();
            if !last.is_empty() && (is_cut || last.len() == most) {
                outputs.push(vec![row]);
            } else {
                last.push(row);
            }
        }
        outputs
    }

    /// Carries out plans until there is none. Panics if that takes too long.
    pub(super) fn settle(&mut self, is_quiet: bool, read_credit: u64) {
        for _ in 0..100_000 {
            let Some(plan) = self.pick(is_quiet, read_credit) else { return };
            self.begin(plan);
            self.end(self.jobs.len() - 1);
        }
        panic!("plans do not come to an end: {}", self.picture());
    }

    /// Checks that levels are runs, and that reads find the newest version of each key before all
    /// older ones.
    pub(super) fn check(&self) {
        for pair in self.tables.windows(2) {
            let (a, b) = (&pair[0].record, &pair[1].record);
            let is_apart = a.level == 0 || a.level != b.level || a.largest < b.smallest;
            assert!(is_apart, "level {} overlaps: {}", a.level, self.picture());
        }
        let mut found: HashMap<u64, u64> = HashMap::new();
        for (key, seqno) in self.tables.iter().flat_map(|table| &table.rows) {
            match found.insert(*key, *seqno) {
                None => assert_eq!(self.newest[key], *seqno, "key {key}: {}", self.picture()),
                Some(newer) => assert!(newer > *seqno, "key {key}: {}", self.picture()),
            }
        }
        assert_eq!(found.len(), self.newest.len(), "a key is lost: {}", self.picture());
    }

    /// The tree in a line: for each level its number, tables and bytes.
    pub(super) fn picture(&self) -> String {
        let shape = self.shape();
        let zero = shape.level_zero();
        let zero = format!("0: {} ({} MB)", zero.len(), shape.len_down_to(0) / 1_000_000);
        let deeper = shape.deeper().iter().map(|level| {
            format!("{}: {} ({} MB)", level.number, level.tables.len(), level.len / 1_000_000)
        });
        std::iter::once(zero).chain(deeper).collect::<Vec<_>>().join(", ")
    }

    /// Bytes of all tables.
    pub(super) fn total_len(&self) -> u64 {
        self.tables.iter().map(|table| table.record.file_len).sum()
    }

    /// Bytes written for each byte of the user's: log, flushes and jobs.
    pub(super) fn write_amplification(&self) -> f64 {
        1.05 + ratio(self.flushed_len + self.rewritten_len, self.user_len)
    }

    /// Bytes of tables for each byte of live rows.
    pub(super) fn space_amplification(&self) -> f64 {
        ratio(self.total_len(), self.newest.len() as u64 * self.row_len)
    }

    /// How many runs a get of a key may have to look into, until it is found: by key ranges alone.
    pub(super) fn read_amplification(&self) -> f64 {
        let step = (self.newest.len() / 200).max(1);
        let keys: Vec<_> = self.newest.keys().step_by(step).collect();
        let runs = keys.iter().map(|key| {
            let bytes = key_bytes(**key);
            let covers = |table: &&Table| {
                table.record.smallest[..] <= bytes[..] && bytes[..] <= table.record.largest[..]
            };
            let holds = |table: &Table| table.rows.binary_search_by_key(*key, |row| row.0).is_ok();
            let on_the_way = self.tables.iter().filter(covers);
            on_the_way.take_while(|table| !holds(table)).count() as u64 + 1
        });
        ratio(runs.sum(), keys.len() as u64)
    }
}

/// The key of a number: keys and numbers have one order.
pub(super) fn key_bytes(number: u64) -> Vec<u8> {
    format!("{number:020}").into_bytes()
}

fn key_number(key: &[u8]) -> u64 {
    str::from_utf8(key).unwrap().parse().unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn is_input(plan: &Plan, record: &TableRecord) -> bool {
    plan.inputs.contains(&record.file_number)
}
