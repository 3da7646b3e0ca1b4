//! Time to live: whole seconds, rounded up, by whatever clock the options name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tinydb::{Clock, CompactionStyle, Db, Durability, Options, WriteBatch};

use super::{check_error, keys, temporary};

/// A clock that stands at so many milliseconds since 1970 until it is set.
#[derive(Default)]
struct ManualClock(AtomicU64);

impl ManualClock {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn options(clock: &Arc<ManualClock>) -> Options {
    Options::new().durability(Durability::Buffered).clock(Arc::clone(clock))
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

#[test]
fn expiry_is_rounded_up_to_whole_seconds() {
    let clock = Arc::new(ManualClock::default());
    let (_dir, db) = temporary(options(&clock));
    let check = |now: u64, ttl: Duration, want: u64| {
        clock.set(now);
        db.put_with_ttl("k", "", ttl).unwrap();
        let entry = db.get_entry("k").unwrap().unwrap();
        assert_eq!(entry.expires_at(), Some(at(want)), "{now} ms + {ttl:?}");
        clock.set(want * 1_000 - 1);
        assert!(db.contains_key("k").unwrap(), "until the last millisecond");
        clock.set(want * 1_000);
        assert!(!db.contains_key("k").unwrap(), "expired when now is its expiry");
    };
    check(100_000, Duration::from_secs(1), 101);
    check(100_500, Duration::from_secs(1), 102);
    check(100_000, Duration::from_nanos(1), 101);
    check(100_999, Duration::from_millis(1), 101);
    check(0, Duration::from_millis(1_500), 2);
}

#[test]
fn a_ttl_that_means_nothing_is_refused() {
    let (_dir, db) = temporary(Options::new());
    for ttl in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX)] {
        check_error(db.put_with_ttl("k", "v", ttl), "InvalidArgument");
        check_error(db.write(WriteBatch::new().put_with_ttl("k", "v", ttl)), "InvalidArgument");
    }
    assert!(db.get("k").unwrap().is_none());
}

/// Looks at an expired row in every way.
#[track_caller]
fn check_absent(db: &Db) {
    assert!(db.get("k").unwrap().is_none() && db.get_entry("k").unwrap().is_none());
    assert!(!db.contains_key("k").unwrap() && db.multi_get(&["k"]).unwrap()[0].is_none());
    assert_eq!(keys(db.iter()), "a z");
    assert_eq!(keys(db.iter().rev()), "z a");
    let mut cursor = db.cursor();
    assert!(cursor.seek("k").unwrap() && cursor.key() == b"z");
    assert!(cursor.seek_for_prev("k").unwrap() && cursor.key() == b"a");
    assert!(db.snapshot().get("k").unwrap().is_none());
}

#[test]
fn an_expired_row_is_absent_everywhere_and_a_snapshot_fixes_its_now() {
    let clock = Arc::new(ManualClock::default());
    let (dir, db) = temporary(options(&clock));
    clock.set(10_000);
    db.write(WriteBatch::new().put("a", "").put("k", "old").put("z", "")).unwrap();
    db.flush().unwrap();
    db.put_with_ttl("k", "new", Duration::from_secs(5)).unwrap();
    for flush in [false, true] {
        clock.set(14_999);
        if flush {
            db.flush().unwrap();
        }
        let (snapshot, iter, mut cursor) = (db.snapshot(), db.iter(), db.cursor());
        clock.set(15_000);
        check_absent(&db);
        assert_eq!(snapshot.get("k").unwrap().unwrap(), "new");
        assert_eq!(snapshot.get_entry("k").unwrap().unwrap().expires_at(), Some(at(15)));
        assert_eq!(snapshot.iter().count(), 3);
        assert_eq!(keys(iter), "a k z");
        assert!(cursor.seek("k").unwrap() && cursor.value() == b"new");
    }
    clock.set(14_000);
    assert_eq!(db.get("k").unwrap().unwrap(), "new", "a clock that goes back revives it");
    db.close().unwrap();
    clock.set(20_000);
    check_absent(&options(&clock).open(dir.path()).unwrap());
}

#[test]
fn a_clock_that_goes_back_revives_nothing_that_a_compaction_dropped() {
    for compact in [false, true] {
        let clock = Arc::new(ManualClock::default());
        let (_dir, db) = temporary(options(&clock));
        db.write(WriteBatch::new().put("a", "").put("k", "old").put("z", "")).unwrap();
        db.compact().unwrap();
        db.put_with_ttl("k", "new", Duration::from_secs(5)).unwrap();
        let before = db.snapshot();
        clock.set(5_000);
        if compact {
            db.compact().unwrap();
            assert_eq!(db.stats().levels[0].rows, 2, "nothing of it is left");
        } else {
            db.flush().unwrap();
        }
        clock.set(0);
        check_absent(&db);
        assert_eq!(before.get("k").unwrap().unwrap(), "new", "its now is fixed");
        db.put_with_ttl("k", "newer", Duration::from_secs(1)).unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), "newer");
    }
}

#[test]
fn compact_drops_what_has_expired_in_a_single_table_too() {
    let clock = Arc::new(ManualClock::default());
    let (_dir, db) = temporary(options(&clock));
    db.put_with_ttl("k", "v", Duration::from_secs(5)).unwrap();
    db.put("z", "v").unwrap();
    db.compact().unwrap();
    assert_eq!(db.stats().levels[0].rows, 2);
    let written = db.stats().written.compacted_bytes;
    db.compact().unwrap();
    assert_eq!(db.stats().written.compacted_bytes, written, "nothing has expired yet");
    clock.set(5_000);
    db.compact().unwrap();
    assert_eq!(db.stats().levels[0].rows, 1);
    assert_eq!(db.stats().finished_jobs.last().unwrap().rows_expired, 1);
}

#[test]
fn a_put_without_ttl_never_expires_whatever_was_there() {
    let clock = Arc::new(ManualClock::default());
    let (_dir, db) = temporary(options(&clock));
    db.put_with_ttl("k", "1", Duration::from_secs(1)).unwrap();
    db.put("k", "2").unwrap();
    clock.set(u64::from(u32::MAX) * 1_000);
    let entry = db.get_entry("k").unwrap().unwrap();
    assert_eq!((entry.value(), entry.expires_at()), (&b"2"[..], None));
}

#[test]
fn the_ttl_of_a_batch_counts_from_its_write() {
    let clock = Arc::new(ManualClock::default());
    let (dir, db) = temporary(options(&clock));
    let mut batch = WriteBatch::new();
    batch.put_with_ttl("k", "v", Duration::from_secs(10));
    for now in [500, 700] {
        clock.set(now * 1_000);
        db.write(&batch).unwrap();
        assert_eq!(db.get_entry("k").unwrap().unwrap().expires_at(), Some(at(now + 10)));
    }
    db.close().unwrap();
    let db = options(&clock).open(dir.path()).unwrap();
    assert_eq!(db.get_entry("k").unwrap().unwrap().expires_at(), Some(at(710)), "also replayed");
}

#[test]
fn a_clock_before_1970_expires_nothing() {
    struct Early;
    impl Clock for Early {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH - Duration::from_secs(1_000)
        }
    }
    let (_dir, db) = temporary(Options::new().clock(Early));
    db.put_with_ttl("k", "v", Duration::from_secs(10)).unwrap();
    assert!(db.contains_key("k").unwrap());
}

/// A clock that is slow: between a look at it and its answer a row expires and leaves the tables.
#[derive(Default)]
struct SlowClock {
    secs: AtomicU64,
    meanwhile: Mutex<Option<Db>>,
}

impl Clock for SlowClock {
    fn now(&self) -> SystemTime {
        let secs = self.secs.load(Ordering::SeqCst);
        let db = self.meanwhile.lock().unwrap().take();
        if let Some(db) = db {
            self.secs.store(101, Ordering::SeqCst);
            db.compact_range("a"..="b").unwrap();
        }
        at(secs)
    }
}

#[test]
fn a_snapshot_sees_all_that_expires_at_one_time_or_nothing_of_it() {
    let clock = Arc::new(SlowClock::default());
    let options = Options::new().clock(Arc::clone(&clock)).background_threads(0);
    let (_dir, db) = temporary(options.compaction(CompactionStyle::Manual));
    clock.secs.store(90, Ordering::SeqCst);
    for key in ["a", "z"] {
        db.put_with_ttl(key, key, Duration::from_secs(10)).unwrap();
        db.flush().unwrap();
    }
    clock.secs.store(99, Ordering::SeqCst);
    *clock.meanwhile.lock().unwrap() = Some(db.clone());
    let snapshot = db.snapshot();
    assert!(clock.meanwhile.lock().unwrap().is_none(), "a row left while the snapshot was taken");
    assert_eq!(["a", "z"].map(|key| snapshot.contains_key(key).unwrap()), [true, true]);
    assert_eq!(keys(db.iter()), "");
}
