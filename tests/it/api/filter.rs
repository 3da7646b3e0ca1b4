//! The compaction filter: what it is asked about, and what becomes of its answers.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tinydb::{
    CompactionFilter, CompactionStyle, Db, Decision, Durability, JobStats, Options, merge,
};

use super::{keys, temporary};
use crate::support::ManualClock;

/// Decides by what a value begins with, and remembers what it was asked about.
#[derive(Default)]
struct ByValue {
    asked: Mutex<Vec<String>>,
    failures: AtomicU64,
}

impl ByValue {
    /// What it was asked about since the last time, sorted.
    fn asked(&self) -> String {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked.join(" ")
    }
}

impl CompactionFilter for ByValue {
    fn name(&self) -> &'static str {
        "by-value"
    }

    fn filter(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Result<Decision, Box<dyn StdError + Send + Sync>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.asked.lock().unwrap().push(format!("{}={}", text(key), text(value)));
        match value {
            [b'-', ..] => Ok(Decision::Remove),
            [b'>', rest @ ..] => Ok(Decision::Replace(rest.to_vec())),
            [b'!', ..] => {
                self.failures.fetch_add(1, Ordering::SeqCst);
                assert!(value != b"!!", "this filter panics");
                Err("not today".into())
            }
            _ => Ok(Decision::Keep),
        }
    }
}

fn options(filter: &Arc<ByValue>) -> Options {
    Options::new()
        .durability(Durability::Buffered)
        .background_threads(0)
        .memtable_size(64 << 10)
        .merge_operator(merge::Append::new(""))
        .compaction_filter(Arc::clone(filter))
}

fn rows(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.rows).sum()
}

#[test]
fn values_are_kept_removed_or_replaced_by_compactions_only() {
    let filter = Arc::new(ByValue::default());
    let (dir, db) = temporary(options(&filter));
    for (key, value) in [("a", "kept"), ("b", "-"), ("c", ">new"), ("d", ">"), ("e", "-")] {
        db.put(key, value).unwrap();
    }
    db.delete("e").unwrap();
    db.merge("f", "-").unwrap();
    db.merge("g", ">").unwrap();
    db.merge("g", "folded").unwrap();
    db.flush().unwrap();
    assert_eq!(filter.asked(), "", "a flush asks for nothing");
    assert_eq!(keys(db.iter()), "a b c d f g");
    db.compact().unwrap();
    assert_eq!(filter.asked(), "a=kept b=- c=>new d=> f=- g=>folded");
    let check = |db: &Db| {
        assert_eq!((keys(db.iter()).as_str(), rows(db)), ("a c d g", 4));
        assert_eq!(db.get("c").unwrap().unwrap(), "new");
        assert_eq!(db.get("d").unwrap().unwrap(), "");
        assert_eq!(db.get("g").unwrap().unwrap(), "folded");
        assert!(db.get("b").unwrap().is_none() && !db.contains_key("f").unwrap());
    };
    check(&db);
    assert_eq!(db.stats().finished_jobs.last().unwrap().rows_removed, 2);
    db.close().unwrap();
    check(&options(&filter).open(dir.path()).unwrap());
}

#[test]
fn a_compaction_of_one_run_asks_again() {
    let filter = Arc::new(ByValue::default());
    let (_dir, db) = temporary(options(&filter));
    db.put("a", ">>>done").unwrap();
    for want in [">>done", ">done", "done"] {
        db.compact().unwrap();
        assert_eq!(db.get("a").unwrap().unwrap(), want);
    }
    db.compact().unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "done");
}

#[test]
fn what_a_live_reader_can_see_is_not_asked_about() {
    type Hold = fn(&Db) -> Box<dyn FnMut() -> String>;
    let holds: [(&str, Hold); 3] = [
        ("snapshot", |db| {
            let snapshot = db.snapshot().clone();
            Box::new(move || format!("{:?}", snapshot.get("a").unwrap().unwrap()))
        }),
        ("iter", |db| {
            let mut iter = db.iter();
            Box::new(move || format!("{:?}", iter.next().unwrap().unwrap().into_value()))
        }),
        ("cursor", |db| {
            let mut cursor = db.cursor();
            Box::new(move || {
                assert!(cursor.seek_first().unwrap());
                format!("b{:?}", String::from_utf8_lossy(cursor.value()))
            })
        }),
    ];
    for (name, hold) in holds {
        let filter = Arc::new(ByValue::default());
        let (_dir, db) = temporary(options(&filter));
        db.put("a", "-").unwrap();
        let mut held = hold(&db);
        db.put("b", "-").unwrap();
        db.compact().unwrap();
        assert_eq!(filter.asked(), "b=-", "{name}");
        assert_eq!(keys(db.iter()), "a");
        // The bottom took the seqno away; what is as old as any is still taken for seen.
        db.compact().unwrap();
        assert_eq!(filter.asked(), "", "{name}");
        // A newer value of the key is none that the reader sees.
        db.put("a", ">new").unwrap();
        db.compact().unwrap();
        assert_eq!(filter.asked(), "a=>new", "{name}");
        assert_eq!(db.get("a").unwrap().unwrap(), "new");
        assert_eq!(held(), "b\"-\"", "{name}");
        drop(held);
        db.put("a", "-").unwrap();
        db.compact().unwrap();
        assert_eq!((keys(db.iter()).as_str(), rows(&db)), ("", 0), "{name}");
    }
}

#[test]
fn a_filter_that_fails_keeps_the_row() {
    let filter = Arc::new(ByValue::default());
    let (_dir, db) = temporary(options(&filter));
    for (key, value) in [("a", "!"), ("b", "!!"), ("c", "-"), ("d", ">new")] {
        db.put(key, value).unwrap();
    }
    db.compact().unwrap();
    assert_eq!(filter.failures.load(Ordering::SeqCst), 2);
    let hooks = db.stats().hooks;
    assert_eq!((hooks.filter_failures, hooks.merge_failures), (2, 0));
    let wanted = "compaction filter by-value: it panicked: this filter panics";
    assert_eq!(hooks.last_failure.as_deref(), Some(wanted));
    assert_eq!(db.stats().background_error, None);
    assert_eq!(keys(db.iter()), "a b d");
    assert_eq!(db.get("b").unwrap().unwrap(), "!!");
}

#[test]
fn a_value_below_operands_that_stay_is_not_asked_about() {
    let filter = Arc::new(ByValue::default());
    let (dir, db) = temporary(options(&filter));
    db.put("a", "-").unwrap();
    db.flush().unwrap();
    db.merge("a", "operand").unwrap();
    db.close().unwrap();
    // Nobody can fold, so what the key reads as is not known.
    let without = Options::new().background_threads(0).compaction_filter(Arc::clone(&filter));
    let db = without.open(dir.path()).unwrap();
    db.compact().unwrap();
    assert_eq!(filter.asked(), "");
    db.close().unwrap();
    let db = options(&filter).open(dir.path()).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "-operand");
    db.compact().unwrap();
    assert_eq!((filter.asked().as_str(), rows(&db)), ("a=-operand", 0));
}

/// Hides `k` in small tables above a large run at the bottom that holds an older value, until
/// a thread has merged these alone.
fn check_above_the_bottom(
    options: Options,
    hide: impl Fn(&Db),
    pass: impl Fn(),
    is_hidden: fn(&JobStats) -> bool,
) {
    let options = options.background_threads(1).compaction(CompactionStyle::SizeTiered);
    let (_dir, db) = temporary(options);
    loop {
        for row in 0..2_000 {
            db.put(format!("bottom {row:04}"), vec![b'x'; 200]).unwrap();
        }
        db.put("k", "old").unwrap();
        db.compact().unwrap();
        let bottom = db.stats().levels.last().unwrap().level;
        for table in 0..4 {
            db.put("j", table.to_string()).unwrap();
            db.put("l", table.to_string()).unwrap();
            if table < 3 {
                hide(&db);
            } else {
                pass();
            }
            db.flush().unwrap();
        }
        // Not by `wait_idle`, which merges all at once.
        while db.stats().levels[0].level == 0 {
            std::thread::yield_now();
        }
        assert!(db.get("k").unwrap().is_none());
        db.wait_idle().unwrap();
        assert!(db.get("k").unwrap().is_none() && !db.contains_key("k").unwrap());
        assert_eq!(keys(db.range("j"..="l")), "j l");
        db.compact().unwrap();
        assert!(db.get("k").unwrap().is_none());
        assert_eq!(rows(&db), 2_002);
        let jobs = db.stats().finished_jobs;
        if jobs.iter().any(|job| job.output_level < bottom && is_hidden(job)) {
            break;
        }
    }
}

#[test]
fn a_removal_above_the_bottom_brings_no_older_value_back() {
    let filter = Arc::new(ByValue::default());
    let hide = |db: &Db| db.put("k", "-").unwrap();
    check_above_the_bottom(options(&filter), hide, || (), |job| job.rows_removed > 0);
}

#[test]
fn an_expiry_above_the_bottom_brings_no_older_value_back() {
    let (filter, clock) = (Arc::new(ByValue::default()), Arc::new(ManualClock::default()));
    let hide = |db: &Db| db.put_with_ttl("k", "new", Duration::from_secs(5)).unwrap();
    let options = options(&filter).clock(Arc::clone(&clock));
    check_above_the_bottom(options, hide, || clock.advance(5), |job| job.rows_expired > 0);
}

#[test]
fn an_expiry_stays_with_a_value_that_is_replaced() {
    let (filter, clock) = (Arc::new(ByValue::default()), Arc::new(ManualClock::default()));
    let (_dir, db) = temporary(options(&filter).clock(Arc::clone(&clock)));
    db.put_with_ttl("k", ">new", Duration::from_secs(5)).unwrap();
    db.compact().unwrap();
    let entry = db.get_entry("k").unwrap().unwrap();
    assert_eq!(entry.value(), b"new");
    assert_eq!(entry.expires_at(), Some(std::time::UNIX_EPOCH + Duration::from_secs(5)));
    clock.advance(5);
    assert!(db.get("k").unwrap().is_none());
}
