//! Nothing older comes back: when the newest row of a key has expired, was deleted, alone or with a
//! range, or was removed by the compaction filter, no older value of the key may show, wherever that
//! lies in the tree.
//!
//! Beside the database stands what may show of each key. A value that the filter may remove shows or
//! does not, as compactions come; so does one that had expired before the clock went back, until
//! `compact` took it for good. But nothing else ever shows, and a snapshot shows what it showed
//! first.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tinydb::internals::SimDisk;
use tinydb::{CompactionFilter, CompactionStyle, Db, Decision, Options, Snapshot, merge};

use crate::support::{Draw, ManualClock, Seed, first_seed, runs};

/// How many seeds a push tries.
pub(crate) const RUNS: u64 = 60;

/// Removes values that begin with `remove`, and replaces those that begin with `old`.
struct ByName;

impl CompactionFilter for ByName {
    fn name(&self) -> &'static str {
        "by-name"
    }

    fn filter(&self, _: &[u8], value: &[u8]) -> Result<Decision, Box<dyn Error + Send + Sync>> {
        Ok(match value.strip_prefix(b"old") {
            Some(rest) => Decision::Replace([b"new", rest].concat()),
            None if value.starts_with(b"remove") => Decision::Remove,
            None => Decision::Keep,
        })
    }
}

/// A value that was put, and when it expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Base {
    value: String,
    /// In seconds since 1970; 0 is never.
    expires_at: u64,
    /// Whether the clock has been there.
    has_expired: bool,
}

/// What a key may be: a value or none, and the operands on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Possible {
    base: Option<Base>,
    operands: Option<String>,
}

/// All that a key may be.
#[derive(Clone, Debug)]
struct Last(BTreeSet<Possible>);

impl Last {
    fn absent() -> Self {
        Self(BTreeSet::from([Possible::default()]))
    }

    fn put(value: String, expires_at: u64) -> Self {
        let base = Some(Base { value, expires_at, has_expired: false });
        Self(BTreeSet::from([Possible { base, operands: None }])).filtered()
    }

    fn merged(&self, operand: &str) -> Self {
        let merged = self.0.iter().cloned().map(|mut possible| {
            let before = possible.operands.map(|before| format!("{before},"));
            possible.operands = Some(before.unwrap_or_default() + operand);
            possible
        });
        Self(merged.collect()).filtered()
    }

    /// With what the filter may make of it.
    fn filtered(mut self) -> Self {
        for possible in self.0.clone() {
            let Some(base) = &possible.base else { continue };
            if let Some(rest) = base.value.strip_prefix("old") {
                let base = Some(Base { value: format!("new{rest}"), ..base.clone() });
                self.0.insert(Possible { base, ..possible });
            } else if base.value.starts_with("remove") {
                // The base alone, or folded with its operands.
                self.0.insert(Possible { base: None, ..possible });
                self.0.insert(Possible::default());
            }
        }
        self
    }

    /// The clock stands there now.
    fn at(self, now: u64) -> Self {
        let mut known = BTreeSet::new();
        for mut possible in self.0 {
            if let Some(base) = &mut possible.base {
                base.has_expired |= base.expires_at != 0 && base.expires_at <= now;
            }
            known.insert(possible);
        }
        Self(known)
    }

    /// A compaction dropped everything that had expired by now.
    fn compacted(self, now: u64) -> Self {
        let is_left = |base: &Base| base.expires_at == 0 || base.expires_at > now;
        let drop_base =
            |possible: Possible| Possible { base: possible.base.filter(is_left), ..possible };
        Self(self.0.into_iter().map(drop_base).collect())
    }

    /// What a reader may find at this time.
    fn allowed(&self, now: u64) -> BTreeSet<Option<String>> {
        let mut allowed = BTreeSet::new();
        for Possible { base, operands } in &self.0 {
            let live = base.as_ref().filter(|base| base.expires_at == 0 || base.expires_at > now);
            let parts = live.map(|base| &base.value).into_iter().chain(operands);
            let parts: Vec<&str> = parts.map(String::as_str).collect();
            allowed.insert((!parts.is_empty()).then(|| parts.join(",")));
            if live.is_some_and(|base| base.has_expired) {
                allowed.insert(operands.clone());
            }
        }
        allowed
    }

    /// Whether a compaction by now leaves something, where that is certain.
    fn is_kept(&self, now: u64) -> Option<bool> {
        let is_plain = self.0.iter().all(|possible| possible.operands.is_none());
        let seen = self.allowed(now);
        let stays = |value: &Option<String>| {
            value.as_ref().is_some_and(|value| !value.starts_with("remove"))
        };
        let is_doubtful = self.0.iter().any(|possible| {
            possible.base.as_ref().is_some_and(|base| base.has_expired && base.expires_at > now)
        });
        (is_plain && !is_doubtful).then(|| seen.iter().any(stays))
    }
}

type Rows = BTreeMap<String, Last>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn check(db: &Db, rows: &Rows, now: u64) {
    for (key, last) in rows {
        let found = db.get(key).unwrap().map(|value| text(&value));
        let allowed = last.allowed(now);
        assert!(allowed.contains(&found), "{key}: found {found:?}, allowed {allowed:?}");
    }
    for entry in db {
        let entry = entry.unwrap();
        let (key, found) = (text(entry.key()), text(entry.value()));
        let allowed = rows.get(&key).map(|last| last.allowed(now)).unwrap_or_default();
        assert!(allowed.contains(&Some(found)), "{key} in a scan, allowed {allowed:?}");
    }
}

fn name(number: usize) -> String {
    format!("k{number:02}")
}

fn write(db: &Db, rows: &mut Rows, draw: &mut Draw, step: usize, now: u64) {
    let number = draw.below(30);
    let key = name(number);
    let kind = *draw.pick(&["keep", "keep", "remove", "old"]);
    let value = format!("{kind} {step} {}", "x".repeat(draw.below(300)));
    match draw.below(10) {
        0 => {
            db.delete(&key).unwrap();
            rows.insert(key, Last::absent());
        }
        1 => {
            let end = number + 1 + draw.below(8);
            db.delete_range(&key..&name(end)).unwrap();
            rows.range_mut(key..name(end)).for_each(|(_, last)| *last = Last::absent());
        }
        2 | 3 => {
            let operand = format!("and {step}");
            db.merge(&key, &operand).unwrap();
            let last = rows.get(&key).cloned().unwrap_or_else(Last::absent);
            rows.insert(key, last.merged(&operand));
        }
        4..=6 => {
            let ttl = 1 + draw.next() % 20;
            db.put_with_ttl(&key, &value, Duration::from_secs(ttl)).unwrap();
            rows.insert(key, Last::put(value, now + ttl));
        }
        _ => {
            db.put(&key, &value).unwrap();
            rows.insert(key, Last::put(value, 0));
        }
    }
}

/// A snapshot, and what it showed first.
struct Held(Snapshot, BTreeMap<Vec<u8>, Vec<u8>>);

impl Held {
    fn of(db: &Db) -> Self {
        let snapshot = db.snapshot();
        let shown = Self::shown(&snapshot);
        Self(snapshot, shown)
    }

    fn shown(snapshot: &Snapshot) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let entries = snapshot.iter().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect()
    }

    #[track_caller]
    fn check(&self) {
        assert!(Self::shown(&self.0) == self.1, "a snapshot shows something else than before");
        for number in 0..30 {
            let found = self.0.get(name(number)).unwrap();
            assert_eq!(found.as_deref(), self.1.get(name(number).as_bytes()).map(Vec::as_slice));
        }
    }
}

#[test]
fn nothing_older_than_the_last_write_ever_shows() {
    (first_seed()..first_seed() + runs(RUNS)).for_each(check_nothing_comes_back);
}

/// A random history of writes, compactions and a clock that also goes back.
pub(crate) fn check_nothing_comes_back(seed: u64) {
    let _seed = Seed(seed, String::new());
    let mut draw = Draw::new(seed);
    let clock = Arc::new(ManualClock::default());
    clock.advance(1_000);
    let (disk, mut rows) = (SimDisk::new(seed), Rows::new());
    let options = Options::new()
        .background_threads(0)
        .memtable_size(64 << 10)
        .clock(Arc::clone(&clock))
        // With tiers, merges leave older rows below their outputs although there are few.
        .compaction(*draw.pick(&[CompactionStyle::Leveled, CompactionStyle::SizeTiered]))
        .merge_operator(merge::Append::new(","))
        .compaction_filter(ByName);
    let open = || Db::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    let mut db = open();
    let mut held: Vec<Held> = Vec::new();
    for step in 0..400 {
        match draw.below(52) {
            0 | 1 | 44..=47 => db.flush().unwrap(),
            2 => {
                db.compact().unwrap();
                let now = clock.now_secs();
                for last in rows.values_mut() {
                    *last = last.clone().compacted(now);
                }
            }
            3 if draw.one_in(2) => db.wait_idle().unwrap(),
            3 | 48..=51 => drop(db.merge_once().unwrap()),
            4 => db.compact_range(name(draw.below(30)).as_str()..).unwrap(),
            5 => {
                db.close().unwrap();
                db = open();
            }
            6..=9 => {
                match draw.below(4) {
                    0 => clock.go_back(draw.next() % 12),
                    _ => clock.advance(draw.next() % 8),
                }
                let now = clock.now_secs();
                for last in rows.values_mut() {
                    *last = last.clone().at(now);
                }
            }
            10..=12 => check(&db, &rows, clock.now_secs()),
            13 => {
                held.truncate(2);
                held.insert(0, Held::of(&db));
            }
            14 | 15 => held.iter().for_each(Held::check),
            _ => write(&db, &mut rows, &mut draw, step, clock.now_secs()),
        }
    }
    held.iter().for_each(Held::check);
    drop(held);
    check(&db, &rows, clock.now_secs());
    db.compact().unwrap();
    check(&db, &rows, clock.now_secs());
    for (key, last) in &rows {
        if let Some(is_kept) = last.is_kept(clock.now_secs()) {
            let is_there = db.contains_key(key).unwrap();
            assert_eq!(is_there, is_kept, "{key}: a compaction leaves nothing droppable");
        }
    }
}
