//! A database with a compaction filter, against a model of all that it may have become.
//!
//! When the filter is asked about a row is the database's business: so the model keeps, for each
//! key, every state that what was written allows. What a reader sees must be one of them, and from
//! then on the others are ruled out. What was removed or replaced never comes back, a snapshot never
//! changes, and while it lives neither does what it sees; and after a `compact` nothing is left to ask about.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::sync::Arc;

use tinydb::internals::SimDisk;
use tinydb::{CompactionFilter, Db, Decision, Durability, Options, Snapshot, merge};

use crate::support::{Draw, Seed, first_seed, runs};

type Bytes = Vec<u8>;

/// How many seeds a push tries.
pub(crate) const RUNS: u64 = 60;

/// Removes what begins with `r`, and takes an `x` off the front of a value. What it makes of a value it
/// would keep.
struct ByFirstByte;

fn decide(value: &[u8]) -> Decision {
    match value {
        [b'r', ..] => Decision::Remove,
        [b'x', rest @ ..] => Decision::Replace(rest.to_vec()),
        _ => Decision::Keep,
    }
}

impl CompactionFilter for ByFirstByte {
    fn name(&self) -> &'static str {
        "by-first-byte"
    }

    fn filter(&self, _: &[u8], value: &[u8]) -> Result<Decision, Box<dyn StdError + Send + Sync>> {
        Ok(decide(value))
    }
}

/// What a key may have: a value or none, and operands that nobody folded yet.
type State = (Option<Bytes>, Vec<Bytes>);

fn folded(base: Option<&Bytes>, operands: &[Bytes]) -> Option<Bytes> {
    let parts: Vec<&[u8]> = base.into_iter().chain(operands).map(Vec::as_slice).collect();
    (!parts.is_empty()).then(|| parts.join(&b","[..]))
}

fn seen((base, operands): &State) -> Option<Bytes> {
    folded(base.as_ref(), operands)
}

/// The states, and what folding and filtering may make of them.
fn closure(states: &BTreeSet<State>) -> BTreeSet<State> {
    let mut all = BTreeSet::new();
    let mut rest: Vec<State> = states.iter().cloned().collect();
    while let Some(state) = rest.pop() {
        if !all.insert(state.clone()) {
            continue;
        }
        let (base, operands) = state;
        for count in 0..=operands.len() {
            let (now, later) = operands.split_at(count);
            let value = folded(base.as_ref(), now);
            let filtered = value.clone().and_then(|value| match decide(&value) {
                Decision::Remove => None,
                Decision::Replace(value) => Some(value),
                Decision::Keep => Some(value),
            });
            rest.push((value, later.to_vec()));
            rest.push((filtered, later.to_vec()));
        }
    }
    all
}

/// Every key that was ever written, with its possible states.
#[derive(Default)]
struct Model {
    keys: BTreeMap<Bytes, BTreeSet<State>>,
    /// Keys that were written since the oldest snapshot that lives.
    written: BTreeSet<Bytes>,
}

impl Model {
    fn set(&mut self, key: &[u8], value: Option<Bytes>) {
        self.written.insert(key.to_vec());
        self.keys.insert(key.to_vec(), BTreeSet::from([(value, Vec::new())]));
    }

    fn merge(&mut self, key: &[u8], operand: &[u8]) {
        self.written.insert(key.to_vec());
        let states = self.keys.entry(key.to_vec()).or_insert_with(|| [(None, vec![])].into());
        *states = closure(states)
            .into_iter()
            .map(|(base, mut operands)| {
                operands.push(operand.to_vec());
                (base, operands)
            })
            .collect();
    }

    /// Compares what a reader sees, and rules out what it contradicts.
    fn observe(&mut self, found: &BTreeMap<Bytes, Bytes>, is_compacted: bool) {
        for key in found.keys() {
            assert!(self.keys.contains_key(key), "{} was never written", key.escape_ascii());
        }
        for (key, states) in &mut self.keys {
            let value = found.get(key).cloned();
            let possible = closure(states);
            states.clear();
            let fits = |state: &State| {
                let is_done = state.1.is_empty()
                    && state.0.as_ref().is_none_or(|value| matches!(decide(value), Decision::Keep));
                seen(state) == value && (!is_compacted || is_done)
            };
            states.extend(possible.iter().filter(|state| fits(state)).cloned());
            assert!(!states.is_empty(), "{} has {value:?}: {possible:?}", key.escape_ascii());
        }
    }
}

fn picture(snapshot: &Snapshot) -> BTreeMap<Bytes, Bytes> {
    let pair = |entry: tinydb::Result<tinydb::Entry<'_>>| {
        let (key, value) = entry.unwrap().into_pair();
        (key.to_vec(), value.to_vec())
    };
    snapshot.iter().map(pair).collect()
}

fn open(disk: &SimDisk) -> Db {
    let options = Options::new()
        .durability(Durability::Buffered)
        .background_threads(0)
        .memtable_size(64 << 10)
        .block_size(1 << 10)
        .merge_operator(merge::Append::new(","))
        .compaction_filter(ByFirstByte);
    Db::open_on(Arc::new(disk.clone()), options).unwrap()
}

fn value(draw: &mut Draw) -> Bytes {
    let first = *draw.pick(&[&b""[..], b"r", b"x", b"k", b"k"]);
    [first, draw.next().to_string().get(..2).unwrap_or_default().as_bytes()].concat()
}

/// Does something random.
fn step(db: &Db, model: &mut Model, draw: &mut Draw) {
    let key = format!("k{}", draw.below(6)).into_bytes();
    match draw.below(14) {
        0..5 => {
            let value = value(draw);
            db.put(&key, &value).unwrap();
            model.set(&key, Some(value));
        }
        5 => {
            db.delete(&key).unwrap();
            model.set(&key, None);
        }
        // Few operands a key, or there are too many states.
        6..9 if model.keys.get(&key).is_none_or(|states| states.len() < 40) => {
            let operand = value(draw);
            db.merge(&key, &operand).unwrap();
            model.merge(&key, &operand);
        }
        9 => {
            let end = format!("k{}", draw.below(7)).into_bytes();
            db.delete_range(&key[..]..&end[..]).unwrap();
            let is_inside = |other: &&Bytes| key <= **other && **other < end;
            for key in model.keys.keys().filter(is_inside).cloned().collect::<Vec<_>>() {
                model.set(&key, None);
            }
        }
        10 | 11 => db.flush().unwrap(),
        12 => db.wait_idle().unwrap(),
        _ => drop(db.merge_once().unwrap()),
    }
}

#[test]
fn what_a_filter_decided_stays_decided_and_no_snapshot_sees_it_decide() {
    (first_seed()..first_seed() + runs(RUNS)).for_each(check_decisions);
}

/// A random history of writes, compactions that ask the filter, and snapshots.
pub(crate) fn check_decisions(seed: u64) {
    let _seed = Seed(seed, "filtered".to_owned());
    let mut draw = Draw::new(seed);
    let disk = SimDisk::new(seed);
    let (mut db, mut model) = (open(&disk), Model::default());
    let mut snapshots: Vec<(Snapshot, BTreeMap<Bytes, Bytes>)> = Vec::new();
    // Not after a reopening: another handle, maybe another process, has no word of them.
    let mut are_known = true;
    for _ in 0..200 {
        step(&db, &mut model, &mut draw);
        let newest = draw.one_in(3).then(|| picture(&db.snapshot()));
        if let Some(newest) = newest {
            model.observe(&newest, false);
            if let Some((_, oldest)) = snapshots.first().filter(|_| are_known) {
                let unwritten = model.keys.keys().filter(|key| !model.written.contains(*key));
                for key in unwritten {
                    assert_eq!(newest.get(key), oldest.get(key), "a snapshot sees this row");
                }
            }
        }
        match draw.below(30) {
            0 | 1 => {
                let snapshot = db.snapshot();
                let picture = picture(&snapshot);
                model.observe(&picture, false);
                if snapshots.is_empty() {
                    model.written.clear();
                    are_known = true;
                }
                snapshots.push((snapshot, picture));
            }
            2 => {
                for (snapshot, want) in snapshots.drain(..) {
                    assert!(picture(&snapshot) == want, "a snapshot changed");
                }
            }
            3 => {
                db.compact().unwrap();
                model.observe(&picture(&db.snapshot()), snapshots.is_empty());
            }
            4 => {
                db.close().unwrap();
                db = open(&disk);
                are_known = false;
                model.observe(&picture(&db.snapshot()), false);
            }
            _ => {}
        }
    }
    for (snapshot, want) in &snapshots {
        assert!(picture(snapshot) == *want, "a snapshot changed");
    }
    snapshots.clear();
    db.compact().unwrap();
    model.observe(&picture(&db.snapshot()), true);
}
