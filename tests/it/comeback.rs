//! Nothing older comes back: when the newest row of a key has expired, was deleted, or was removed by
//! the compaction filter, no older value of the key may show, wherever that lies in the tree.
//!
//! Beside the database stands what was written last to each key. A value that the filter may
//! remove shows or does not, as compactions come; but nothing else than that value ever does.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tinydb::internals::SimDisk;
use tinydb::{CompactionFilter, Db, Decision, Options};

use crate::support::{Draw, ManualClock, Seed, first_seed, runs};

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

/// What was written last to a key.
#[derive(Clone, Debug)]
struct Last {
    value: String,
    /// In seconds since 1970; 0 is never.
    expires_at: u64,
}

impl Last {
    /// What a reader may find at this time.
    fn allowed(&self, now: u64) -> Vec<Option<String>> {
        if self.expires_at != 0 && self.expires_at <= now {
            return vec![None];
        }
        match self.value.strip_prefix("old") {
            Some(rest) => vec![Some(self.value.clone()), Some(format!("new{rest}"))],
            None if self.value.starts_with("remove") => vec![Some(self.value.clone()), None],
            None => vec![Some(self.value.clone())],
        }
    }
}

#[track_caller]
fn check(db: &Db, last: &BTreeMap<String, Last>, now: u64) {
    for (key, last) in last {
        let found = db.get(key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap());
        let allowed = last.allowed(now);
        assert!(allowed.contains(&found), "{key}: found {found:?}, allowed {allowed:?}");
    }
    for entry in db {
        let entry = entry.unwrap();
        let found = String::from_utf8(entry.value().to_vec()).unwrap();
        let key = String::from_utf8(entry.key().to_vec()).unwrap();
        let allowed = last.get(&key).map(|last| last.allowed(now)).unwrap_or_default();
        assert!(allowed.contains(&Some(found)), "{key} in a scan, allowed {allowed:?}");
    }
}

fn write(db: &Db, last: &mut BTreeMap<String, Last>, draw: &mut Draw, step: usize, now: u64) {
    let key = format!("k{:02}", draw.below(30));
    let name = *draw.pick(&["keep", "keep", "remove", "old"]);
    let value = format!("{name} {step} {}", "x".repeat(draw.below(300)));
    match draw.below(8) {
        0 => {
            db.delete(&key).unwrap();
            last.remove(&key);
            // What is absent for good may show nothing at all.
            last.insert(key, Last { value: String::new(), expires_at: 1 });
        }
        1..=3 => {
            let ttl = 1 + draw.next() % 20;
            db.put_with_ttl(&key, &value, Duration::from_secs(ttl)).unwrap();
            last.insert(key, Last { value, expires_at: now + ttl });
        }
        _ => {
            db.put(&key, &value).unwrap();
            last.insert(key, Last { value, expires_at: 0 });
        }
    }
}

#[test]
fn nothing_older_than_the_last_write_ever_shows() {
    for seed in first_seed()..first_seed() + runs(30) {
        let _seed = Seed(seed, String::new());
        let mut draw = Draw::new(seed);
        let clock = Arc::new(ManualClock::default());
        clock.advance(1_000);
        let (disk, mut last) = (SimDisk::new(seed), BTreeMap::new());
        let options = Options::new()
            .background_threads(0)
            .memtable_size(64 << 10)
            .clock(Arc::clone(&clock))
            .compaction_filter(ByName);
        let open = || Db::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
        let mut db = open();
        for step in 0..400 {
            match draw.below(40) {
                0 | 1 => db.flush().unwrap(),
                2 => db.compact().unwrap(),
                3 => db.wait_idle().unwrap(),
                4 => {
                    let key = format!("k{:02}", draw.below(30));
                    db.compact_range(&key..).unwrap();
                }
                5 => {
                    db.close().unwrap();
                    db = open();
                }
                6..=9 => clock.advance(draw.next() % 8),
                10..=12 => check(&db, &last, clock.now_secs()),
                _ => write(&db, &mut last, &mut draw, step, clock.now_secs()),
            }
        }
        check(&db, &last, clock.now_secs());
        db.compact().unwrap();
        let shown = db.iter().count();
        let live = |last: &&Last| last.expires_at == 0 || last.expires_at > clock.now_secs();
        let kept = last.values().filter(live).filter(|last| !last.value.starts_with("remove"));
        assert_eq!(shown, kept.count(), "a compaction leaves nothing droppable");
    }
}
