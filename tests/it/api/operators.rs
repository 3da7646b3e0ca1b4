//! The merge operator: its name, databases without theirs, and operators that fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use tinydb::internals::manifest::ManifestView;
use tinydb::{Db, Error, MergeError, MergeOperator, Options, Result, WriteBatch, merge};

use super::merge::{check, joining};
use super::{check_error, describe, names_in, temporary};

/// As [`joining`], but without an operator.
fn without() -> Options {
    Options::new().background_threads(0).memtable_size(64 << 10).block_size(1 << 10)
}

#[track_caller]
fn check_other_name(options: Options, dir: &std::path::Path) {
    let error = options.open(dir).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("\"tinydb.max\"") && text.contains("\"tinydb.append(,)\""), "{text}");
}

#[test]
pub(crate) fn the_name_is_stored_at_the_first_open_with_an_operator_and_survives() {
    for way in 0..3 {
        let (dir, db) = temporary(without());
        db.put("k", "v").unwrap();
        assert_eq!(db.stats().merge_operator, None);
        db.close().unwrap();
        let name = || Some("tinydb.append(,)".to_owned());
        let db = joining().open(dir.path()).unwrap();
        assert_eq!(db.stats().merge_operator, name());
        match way {
            0 => {}
            1 => db.merge("k", "m").unwrap(),
            _ => db.compact().unwrap(),
        }
        drop(db);
        check_other_name(without().merge_operator(merge::Max), dir.path());
        for _ in 0..2 {
            let db = without().open(dir.path()).unwrap();
            assert_eq!(db.stats().merge_operator, name(), "also without the operator");
            db.put("other", "v").unwrap();
            db.flush().unwrap();
        }
        check_other_name(without().merge_operator(merge::Max), dir.path());
        check(&joining().open(dir.path()).unwrap(), Some(if way == 1 { "v,m" } else { "v" }));
    }
}

/// As a program leaves it that writes the name into the logs, and into the manifest only later.
#[test]
fn a_log_alone_may_know_the_name() {
    let (dir, db) = temporary(joining());
    db.merge("k", "m").unwrap();
    drop(db);
    let manifests: Vec<_> =
        names_in(dir.path()).into_iter().filter(|name| name.starts_with("MANIFEST-")).collect();
    let path = dir.path().join(manifests.last().unwrap());
    let mut data = ManifestView::parse(&std::fs::read(&path).unwrap()).unwrap().to_data().unwrap();
    data.merge_operator = None;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, data.encode()).unwrap();
    check_other_name(without().merge_operator(merge::Max), dir.path());
    let db = without().open(dir.path()).unwrap();
    assert_eq!(db.stats().merge_operator.as_deref(), Some("tinydb.append(,)"));
    check_error(db.get("k"), "NoMergeOperator");
    db.close().unwrap();
    check_other_name(without().merge_operator(merge::Max), dir.path());
    check(&joining().open(dir.path()).unwrap(), Some("m"));
}

#[test]
fn an_operator_needs_a_name() {
    struct Named(String);
    impl MergeOperator for Named {
        fn name(&self) -> &str {
            assert!(self.0 != "panic", "this name panics");
            &self.0
        }

        fn merge(&self, _: &[u8], _: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, MergeError> {
            Ok(Vec::new())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for name in [String::new(), "x".repeat(1_025), "panic".to_owned()] {
        let opened = without().merge_operator(Named(name)).open(dir.path().join("db"));
        check_error(opened, "InvalidArgument");
    }
    assert!(!dir.path().join("db").exists(), "nothing was made");
    let longest = "名".repeat(341);
    let db = without().merge_operator(Named(longest.clone())).open(dir.path()).unwrap();
    assert_eq!(db.stats().merge_operator, Some(longest));
}

/// A database with operands of `k` in a table and in the log, between other keys, and closed.
fn with_operands() -> tempfile::TempDir {
    let (dir, db) = temporary(joining());
    db.write(WriteBatch::new().put("a", "1").put("b", "2").put("k", "base").put("z", "3")).unwrap();
    db.merge("k", "x").unwrap();
    db.flush().unwrap();
    db.merge("k", "y").unwrap();
    db.flush().unwrap();
    db.merge("k", "z").unwrap();
    db.close().unwrap();
    dir
}

/// What a database shows whose operands can't be folded.
#[track_caller]
fn check_unfolded(db: &Db, error: &str) {
    for key in ["a", "b", "z"] {
        assert!(db.get(key).unwrap().is_some() && db.contains_key(key).unwrap());
    }
    assert!(db.get("y").unwrap().is_none());
    check_error(db.get("k"), error);
    check_error(db.get_entry("k"), error);
    check_error(db.contains_key("k"), error);
    check_error(db.multi_get(&["a", "k"]), error);
    assert_eq!(db.multi_get(&["a", "z"]).unwrap().iter().flatten().count(), 2);
    let seen = |iter: &mut dyn Iterator<Item = Result<tinydb::Entry<'static>>>| {
        let shown = |item: Result<tinydb::Entry<'_>>| match item {
            Ok(entry) => String::from_utf8(entry.key().to_vec()).unwrap(),
            Err(found) => {
                let text = describe::<()>(Err(found));
                assert!(text.starts_with(error), "{text}");
                "!".to_owned()
            }
        };
        iter.map(shown).collect::<String>()
    };
    assert_eq!(seen(&mut db.iter()), "ab!", "what comes before, the error, and no more");
    assert_eq!(seen(&mut db.iter().rev()), "z!");
    assert_eq!(seen(&mut db.range("l"..)), "z");
    let mut cursor = db.cursor();
    assert!(cursor.seek("b").unwrap());
    check_error(cursor.next(), error);
    assert!(!cursor.valid() && cursor.value().is_empty());
    check_error(cursor.prev(), error);
    check_error(cursor.seek("c"), error);
    assert!(cursor.seek("l").unwrap() && cursor.key() == b"z");
    check_error(cursor.prev(), error);
}

#[test]
fn without_its_operator_a_database_reads_all_but_merged_keys() {
    let dir = with_operands();
    let db = without().open(dir.path()).unwrap();
    check_unfolded(&db, "NoMergeOperator { key: [107] }");
    let before = db.stats().last_seqno;
    check_error(db.merge("a", "m"), "NoMergeOperator");
    let mut batch = WriteBatch::new();
    check_error(db.write(batch.put("a", "lost").merge("b", "m")), "NoMergeOperator { key: [98] }");
    assert_eq!(db.stats().last_seqno, before, "nothing was written");
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    db.compact().unwrap();
    check_unfolded(&db, "NoMergeOperator");
    db.put("c", "").and_then(|()| db.delete("c")).unwrap();
    db.compact().unwrap();
    assert!(db.verify().unwrap().is_ok());
    assert_eq!(db.stats().hooks.merge_failures, 0, "nothing was asked");
    db.close().unwrap();
    let db = joining().open(dir.path()).unwrap();
    check(&db, Some("base,x,y,z"));
    db.compact().unwrap();
    check(&db, Some("base,x,y,z"));
    db.close().unwrap();
    let db = without().open(dir.path()).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "base,x,y,z", "a value by now");
}

#[test]
fn without_its_operator_a_key_can_be_put_and_deleted() {
    let dir = with_operands();
    let db = without().open(dir.path()).unwrap();
    db.put("k", "new").unwrap();
    check(&db, Some("new"));
    db.delete("k").unwrap();
    check(&db, None);
    db.compact().unwrap();
    check(&db, None);
}

/// How an operator behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Error,
    Panic,
}

/// Joins with commas as `Append` does, and under its name, but fails on some key.
struct Moody {
    mood: Mood,
    append: merge::Append,
    is_bad: Arc<AtomicBool>,
}

impl MergeOperator for Moody {
    fn name(&self) -> &str {
        self.append.name()
    }

    fn merge(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        if key == b"k" && self.is_bad.load(Ordering::SeqCst) {
            assert!(self.mood != Mood::Panic, "this operator panics");
            return Err(MergeError::new("not today"));
        }
        self.append.merge(key, existing, operand)
    }
}

#[test]
fn an_operator_that_fails_harms_only_the_read_that_asked() {
    for (mood, reason) in
        [(Mood::Error, "not today"), (Mood::Panic, "it panicked: this operator panics")]
    {
        let dir = with_operands();
        let is_bad = Arc::new(AtomicBool::new(true));
        let moody = || Moody { mood, append: merge::Append::new(","), is_bad: Arc::clone(&is_bad) };
        let db = without().merge_operator(moody()).open(dir.path()).unwrap();
        let error = format!("Merge {{ key: [107], reason: \"{reason}\" }}");
        check_unfolded(&db, &error);
        db.merge("k", "q").unwrap();
        check_error(db.get("k"), &error);
        assert_eq!(db.stats().hooks.merge_failures, 0, "reads are told by their errors");
        db.flush().unwrap();
        let after_flush = db.stats().hooks;
        assert!(after_flush.merge_failures >= 1, "two operands met");
        db.compact().unwrap();
        let hooks = db.stats().hooks;
        assert!(hooks.merge_failures > after_flush.merge_failures);
        let wanted = format!("the merge operator failed on key \"k\": {reason}");
        assert_eq!(hooks.last_failure, Some(wanted));
        assert_eq!((hooks.filter_failures, db.stats().background_error), (0, None));
        check_unfolded(&db, &error);
        // Another key's operands are folded.
        db.merge("a", "m").unwrap();
        assert_eq!(db.get("a").unwrap().unwrap(), "1,m");
        db.compact().unwrap();
        is_bad.store(false, Ordering::SeqCst);
        check(&db, Some("base,x,y,z,q"));
        db.close().unwrap();
        let db = joining().open(dir.path()).unwrap();
        check(&db, Some("base,x,y,z,q"));
        db.compact().unwrap();
        check(&db, Some("base,x,y,z,q"));
        assert_eq!(db.stats().hooks.merge_failures, 0);
        assert_eq!(db.stats().levels.iter().map(|level| level.rows).sum::<u64>(), 4);
    }
}

#[test]
fn a_read_that_failed_works_again_when_the_operator_does() {
    let dir = with_operands();
    let is_bad = Arc::new(AtomicBool::new(true));
    let append = merge::Append::new(",");
    let moody = Moody { mood: Mood::Error, append, is_bad: Arc::clone(&is_bad) };
    let db = without().merge_operator(moody).open(dir.path()).unwrap();
    let (snapshot, mut cursor) = (db.snapshot(), db.cursor());
    check_error(snapshot.get("k"), "Merge");
    check_error(cursor.seek("k"), "Merge");
    is_bad.store(false, Ordering::SeqCst);
    assert_eq!(snapshot.get("k").unwrap().unwrap(), "base,x,y,z");
    check_error(cursor.next(), "Merge");
    assert!(cursor.seek("k").unwrap() && cursor.value() == b"base,x,y,z");
}

#[test]
fn a_value_that_a_counter_can_not_read_fails_that_key_alone() {
    let (_dir, db) = temporary(without().merge_operator(merge::Counter));
    let one = 1_i64.to_le_bytes();
    db.put("text", "seven").unwrap();
    for key in ["text", "number"] {
        db.merge(key, one).unwrap();
        db.merge(key, one).unwrap();
    }
    for _ in 0..2 {
        check_error(db.get("text"), "Merge");
        assert_eq!(db.get("number").unwrap().unwrap(), 2_i64.to_le_bytes());
        db.compact().unwrap();
    }
    db.put("text", one).unwrap();
    assert_eq!(db.get("text").unwrap().unwrap(), one, "a put makes it good");
}

/// Once a flush without threads ran under the lock of whoever wrote.
#[test]
fn writes_go_on_while_an_operator_works_in_a_flush() {
    struct Slow {
        started: mpsc::SyncSender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }
    impl MergeOperator for Slow {
        fn name(&self) -> &'static str {
            "test.slow"
        }

        fn merge(&self, _: &[u8], _: Option<&[u8]>, new: &[u8]) -> Result<Vec<u8>, MergeError> {
            // Only the first call waits; then nobody is there any more.
            let _ = self.started.send(());
            let _ = self.go_on.lock().unwrap().recv();
            Ok(new.to_vec())
        }
    }
    let ways: [fn(&Db); 2] =
        [|db| db.put("full", vec![b'v'; 70_000]).unwrap(), |db| db.delete_range("x".."y").unwrap()];
    for (way, threads) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let (started, has_started) = mpsc::sync_channel(0);
        let (goes_on, go_on) = mpsc::channel();
        let operator = Slow { started, go_on: Mutex::new(go_on) };
        let options = without().background_threads(threads).merge_operator(operator);
        let (_dir, db) = temporary(options);
        db.put("some", vec![b'v'; 20_000]).unwrap();
        db.merge("k", "1").unwrap();
        db.merge("k", "2").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| ways[way](&db));
            has_started.recv().unwrap();
            db.put("other", "v").unwrap();
            assert_eq!(db.get("other").unwrap().unwrap(), "v");
            drop((has_started, goes_on));
        });
        db.flush().unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), "2");
    }
}
