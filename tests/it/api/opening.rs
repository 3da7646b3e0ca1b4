//! What opening says about a place, and that it leaves alone what is no database.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tinydb::{Db, Durability, Error, Options};

use super::{check_error, names_in, temporary};

#[test]
fn a_missing_database_is_made_only_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    let only_existing = Options::new().create_if_missing(false);
    assert!(matches!(
        only_existing.clone().open(&deep),
        Err(Error::NotFound { path }) if path == deep
    ));
    assert!(names_in(dir.path()).is_empty(), "nothing was created");
    fs::create_dir(dir.path().join("empty")).unwrap();
    check_error(only_existing.clone().open(dir.path().join("empty")), "NotFound");
    assert!(names_in(&dir.path().join("empty")).is_empty());
    Db::open(&deep).unwrap().close().unwrap();
    only_existing.open(&deep).unwrap();
}

#[test]
fn an_existing_database_is_refused_if_asked_for() {
    let (dir, db) = temporary(Options::new());
    db.put("k", "v").unwrap();
    db.close().unwrap();
    let before = names_in(dir.path());
    assert!(matches!(
        Options::new().error_if_exists(true).open(dir.path()),
        Err(Error::AlreadyExists { path }) if path == dir.path()
    ));
    assert_eq!(names_in(dir.path()), before);
    assert_eq!(Db::open(dir.path()).unwrap().get("k").unwrap().unwrap(), "v");
}

#[test]
fn what_is_no_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "text").unwrap();
    for place in [&file, &foreign] {
        for options in [Options::new(), Options::new().create_if_missing(false)] {
            match options.open(place) {
                Err(Error::NotADatabase { path, reason }) => {
                    assert_eq!(&path, place);
                    assert!(!reason.is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    check_error(Db::open(file.join("below")), "NotADatabase");
    assert_eq!(fs::read(&file).unwrap(), b"text");
    assert_eq!(names_in(&foreign), ["notes.txt"]);
}

#[test]
fn tables_or_logs_without_a_manifest_are_damage() {
    for flush in [false, true] {
        let (dir, db) = temporary(Options::new());
        db.put("k", "v").unwrap();
        if flush {
            db.flush().unwrap();
        }
        db.close().unwrap();
        for name in names_in(dir.path()).iter().filter(|name| name.starts_with("MANIFEST")) {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        let before = names_in(dir.path());
        check_error(Db::open(dir.path()), "Corrupt");
        check_error(Options::new().create_if_missing(false).open(dir.path()), "Corrupt");
        assert_eq!(names_in(dir.path()), before, "never a fresh database");
    }
}

#[test]
fn a_file_that_is_none_is_refused_and_never_waited_for() {
    #[track_caller]
    fn check(prefix: &str, replace: impl Fn(&Path)) {
        let (dir, db) = temporary(Options::new());
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        db.put("l", "w").unwrap();
        db.close().unwrap();
        let names = names_in(dir.path());
        let name = names.iter().rfind(|name| name.starts_with(prefix)).expect("such a file");
        let path = dir.path().join(name);
        fs::rename(&path, dir.path().with_extension(prefix)).unwrap();
        replace(&path);
        let read = Db::open(dir.path()).and_then(|db| db.get("k"));
        match read {
            Err(Error::Io { path: at, .. }) => assert_eq!(at, path),
            other => panic!("{name}: {other:?}"),
        }
        let _ = fs::remove_file(dir.path().with_extension(prefix));
    }
    for prefix in ["LOCK", "LOG-", "MANIFEST-", "TABLE-"] {
        check(prefix, |path| {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        });
        check(prefix, |path| symlink(path.parent().unwrap().with_extension(prefix), path).unwrap());
        check(prefix, |path| fs::create_dir(path).unwrap());
    }
}

#[test]
fn a_bad_option_is_named_and_nothing_is_created() {
    #[track_caller]
    fn check(options: Options, name: &str) {
        let dir = tempfile::tempdir().unwrap();
        match options.open(dir.path().join("db")) {
            Err(Error::InvalidArgument { reason }) => assert!(reason.contains(name), "{reason}"),
            other => panic!("{name}: {other:?}"),
        }
        assert!(names_in(dir.path()).is_empty());
    }
    check(Options::new().memtable_size(1), "memtable_size");
    check(Options::new().memtable_size(usize::MAX), "memtable_size");
    check(Options::new().table_size(1), "table_size");
    check(Options::new().table_size(u64::MAX), "table_size");
    check(Options::new().block_size(0), "block_size");
    check(Options::new().block_size(5_000), "block_size");
    check(Options::new().filter_bits_per_key(33), "filter_bits_per_key");
    check(Options::new().filter_false_positive_rate(f64::NAN), "filter_false_positive_rate");
    check(Options::new().background_threads(usize::MAX), "background_threads");
}

#[test]
fn a_second_open_is_refused_with_the_holders_name() {
    let (dir, db) = temporary(Options::new());
    let names = names_in(dir.path());
    match Db::open(dir.path()) {
        Err(Error::Locked { path, holder }) => {
            assert_eq!(path, dir.path().join("LOCK"));
            assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names_in(dir.path()), names);
    db.put("k", "v").unwrap();
    drop(db);
    Db::open(dir.path()).unwrap();
}

/// The path of the database that a second process of this test opens.
const SECOND_PROCESS: &str = "TINYDB_TEST_SECOND_PROCESS";

#[test]
fn a_second_process_is_refused_until_the_first_ends() {
    if let Some(path) = std::env::var_os(SECOND_PROCESS) {
        match Db::open(path) {
            Ok(_) => println!("it opened"),
            Err(error) => println!("{error:?}"),
        }
        return;
    }
    let (dir, db) = temporary(Options::new());
    let second = || {
        let name = "api::opening::a_second_process_is_refused_until_the_first_ends";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(SECOND_PROCESS, dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let refused = second();
    assert!(refused.contains("Locked"), "{refused}");
    db.close().unwrap();
    let opened = second();
    assert!(opened.contains("it opened"), "{opened}");
}

#[test]
fn a_read_only_directory_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(place.join("probe"), "").is_ok() {
        println!("skipped: this user may write into a read-only directory");
        return;
    }
    match Db::open(&place) {
        Err(Error::Io { path, .. }) => assert!(path.starts_with(&place), "{path:?}"),
        other => panic!("{other:?}"),
    }
    assert!(names_in(&place).is_empty());
}

#[test]
fn a_moved_database_opens_at_its_new_place() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let db = Options::new().durability(Durability::Buffered).open(&old).unwrap();
    db.put("in a table", "1").unwrap();
    db.flush().unwrap();
    db.put_with_ttl("in the log", "2", Duration::from_secs(1_000)).unwrap();
    db.close().unwrap();
    fs::rename(&old, &new).unwrap();
    let db = Db::open(&new).unwrap();
    assert_eq!(db.get("in a table").unwrap().unwrap(), "1");
    assert_eq!(db.get("in the log").unwrap().unwrap(), "2");
    assert!(!old.exists());
}

#[test]
fn foreign_files_beside_a_database_are_left_alone() {
    let (dir, db) = temporary(Options::new());
    db.put("k", "v").unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("LOG-7"), "not a name of TinyDB's").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().get("k").unwrap().unwrap(), "v");
    assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
    assert!(dir.path().join("LOG-7").exists());
}
