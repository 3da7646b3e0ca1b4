//! System calls that the system refuses: a full disk, a limit on files, and any error at any call, put
//! there by `strace`.
//!
//! The worker counts as that of `kill.rs` does, flushes, compacts, opens anew, and goes on after
//! errors as far as it is let. It says each batch that was acknowledged and each error. Whatever it met, it
//! ends by itself, and the database then opens without refusals and holds the first batches, all that were
//! acknowledged among them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tinydb::internals::{Disk, Storage};
use tinydb::{Db, Options, Result};

use crate::kill::{self, counted, number, write};
use crate::power::run;
use crate::support::{Draw, Seed, check_directory, child as child_of, first_seed, runs};

/// Tell a process of this test that it is the child, where it is to write, and with how many threads.
const DIR: &str = "TINYDB_REFUSED_DIR";
const THREADS: &str = "TINYDB_REFUSED_THREADS";

const BATCHES: i64 = 60;
const END: &str = "the end";
const SIGXFSZ: i32 = 25;

/// What the worker said.
#[derive(Debug, Default)]
struct Said {
    /// The last batch that was acknowledged.
    acked: i64,
    attempted: i64,
    errors: Vec<String>,
}

fn options(threads: usize) -> Options {
    kill::options().background_threads(threads)
}

fn text_of(error: &tinydb::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

/// Works until all is done or nothing goes on, and tells of each batch and each error.
fn work(path: &Path, threads: usize, say: &mut impl FnMut(Result<i64>)) {
    for half in 1..=2 {
        let done = options(threads).open(path).and_then(|db| {
            write_some(&db, BATCHES * half / 2, say)?;
            db.close()
        });
        if let Err(error) = done {
            say(Err(error));
            return;
        }
    }
}

/// Writes up to batch `upto`; gives up only if reads fail.
fn write_some(db: &Db, upto: i64, say: &mut impl FnMut(Result<i64>)) -> Result<()> {
    let mut count = number(db, "count")?;
    let mut tries = 0;
    while count < upto && tries < BATCHES {
        tries += 1;
        say(write(db, count + 1).map(|()| count + 1));
        // A batch whose write failed may be there or not; the next one must not hide which.
        count = number(db, "count")?;
        if count % 13 == 6 {
            db.flush().unwrap_or_else(|error| say(Err(error)));
        }
        if count % 29 == 20 {
            db.compact().unwrap_or_else(|error| say(Err(error)));
        }
    }
    Ok(())
}

/// Does the work and says how it goes; only a child of these tests does anything here.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let threads = std::env::var(THREADS).unwrap().parse().unwrap();
    println!();
    work(Path::new(&dir), threads, &mut |told| match told {
        Ok(batch) => println!("acked {batch}"),
        Err(error) => println!("error {}", text_of(&error)),
    });
    println!("{END}");
}

impl Said {
    fn note(&mut self, told: Result<i64>) {
        match told {
            Ok(batch) => self.acked = batch,
            Err(error) => self.errors.push(text_of(&error)),
        }
        self.attempted = self.acked + 1;
    }

    fn of(output: &Output) -> Self {
        let mut said = Self::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(batch) = line.strip_prefix("acked ") {
                said.acked = batch.parse().unwrap_or(said.acked);
            } else if let Some(error) = line.strip_prefix("error ") {
                said.errors.push(error.to_owned());
            }
        }
        said.attempted = said.acked + 1;
        said
    }

    /// Checks what is found when nothing is refused any longer.
    #[track_caller]
    fn check(&self, path: &Path, what: &str) {
        let db = options(0).open(path);
        let db = db.unwrap_or_else(|error| panic!("{what}: {}; {self:?}", text_of(&error)));
        let found = counted(&db);
        let range = self.acked..=self.attempted;
        assert!(range.contains(&found), "{what}: {found}; {self:?}");
        let report = db.verify().unwrap();
        assert!(report.is_ok(), "{what}: {:?}", report.problems());
        write(&db, found + 1).unwrap();
        assert_eq!(counted(&db), found + 1);
        check_directory(&Disk::new(path).list().unwrap().unwrap().files, &db);
        db.close().unwrap();
    }
}

// ---- any error at any call ----------------------------------------------------------------

/// The calls that a database makes or might make, and what each may say. ENOSPC and EDQUOT come from writes, EMFILE from
/// whatever makes a descriptor; EIO from all of them.
const CALLS: &[(&str, &[&str])] = &[
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("write", &["EIO", "ENOSPC", "EINTR"]),
    ("writev", &["EIO", "ENOSPC", "EINTR"]),
    ("pwrite64", &["EIO", "ENOSPC", "EINTR"]),
    ("pwritev", &["EIO", "ENOSPC", "EINTR"]),
    ("read", &["EIO", "EINTR"]),
    ("pread64", &["EIO", "EINTR"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("renameat", &["EIO", "ENOSPC"]),
    ("renameat2", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO", "EACCES"]),
    ("unlinkat", &["EIO", "EACCES"]),
    ("openat", &["EMFILE", "EIO", "EACCES", "ENOSPC"]),
    ("mmap", &["ENOMEM", "EACCES"]),
    ("ftruncate", &["EIO"]),
    ("fallocate", &["ENOSPC"]),
    ("mkdir", &["EIO", "ENOSPC"]),
    ("mkdirat", &["EIO", "ENOSPC"]),
    ("statx", &["EIO"]),
    ("flock", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("lseek", &["EIO"]),
];

/// The child under `strace`, which sees only calls that concern the database's files.
fn traced(path: &Path, log: &Path, threads: usize, calls: &str, inject: Option<&str>) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(log).args(["-e", &format!("trace={calls}")]);
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    let names = (1..80).flat_map(|number| {
        ["LOG", "TABLE", "MANIFEST", "TMP"].map(|kind| path.join(format!("{kind}-{number:06}")))
    });
    let folders = [path.to_owned(), path.parent().unwrap().to_owned(), path.join("LOCK")];
    for file in folders.into_iter().chain(names) {
        command.arg("-P").arg(file);
    }
    let child = child_of("refused::child");
    command.arg(child.get_program()).args(child.get_args());
    command.env(DIR, path).env(THREADS, threads.to_string()).stdin(Stdio::null());
    command.output().unwrap()
}

/// How often each call is made when nothing is refused; what is missing for that, else.
fn counts(path: &Path, log: &Path) -> std::result::Result<BTreeMap<String, u64>, String> {
    run("strace", &["-V"])?;
    // Not every processor has each of them.
    let names: Vec<_> = CALLS.iter().map(|(name, _)| format!("?{name}")).collect();
    let output = traced(path, log, 0, &names.join(","), None);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let said = Said::of(&output);
    assert!(said.acked == BATCHES && said.errors.is_empty(), "{said:?}");
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let call = line.split_whitespace().nth(1).and_then(|call| call.split_once('('));
        if let Some((name, _)) = call {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[test]
fn a_call_that_the_system_refuses_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = (dir.path().join("db"), dir.path().join("trace"));
    let counts = match counts(&path, &log) {
        Ok(counts) => counts,
        Err(missing) => {
            println!("refused system calls: skipped, {}", missing.trim());
            return;
        }
    };
    let mut all = Vec::new();
    for (call, errors) in CALLS {
        for error in *errors {
            let numbers = 1..=counts.get(*call).copied().unwrap_or(0);
            all.extend(numbers.map(|number| (*call, *error, number)));
        }
    }
    let (seed, most) = (first_seed(), usize::try_from(runs(32)).unwrap());
    let _seed = Seed(seed, "refused system calls".to_owned());
    let mut draw = Draw::new(seed);
    let total = all.len();
    // A short run takes as many of each call as of any other.
    while all.len() > most {
        let mut left: BTreeMap<_, usize> = BTreeMap::new();
        for (call, ..) in &all {
            *left.entry(*call).or_default() += 1;
        }
        let (most_frequent, _) = left.iter().max_by_key(|(_, count)| **count).unwrap();
        let places: Vec<_> = (0..all.len()).filter(|at| all[*at].0 == *most_frequent).collect();
        all.swap_remove(*draw.pick(&places));
    }
    let (mut errors, mut silent, mut acked) = (0, 0, 0);
    for (number, (call, error, when)) in all.iter().enumerate() {
        let threads = if number % 4 == 3 { 2 } else { 0 };
        // A call that is interrupted is made again, for as long as that takes.
        let lasting = if number % 2 == 1 && *error != "EINTR" { "+" } else { "" };
        let inject = format!("{call}:error={error}:when={when}{lasting}");
        let path = dir.path().join(format!("db {number}"));
        let output = traced(&path, &log, threads, call, Some(&inject));
        let what = format!("{inject}, {threads} threads");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let ended = String::from_utf8_lossy(&output.stdout).lines().any(|line| line == END);
        assert!(output.status.success() && ended, "{what}: {}\n{stderr}", output.status);
        let said = Said::of(&output);
        said.check(&path, &what);
        (errors, acked) = (errors + said.errors.len(), acked + said.acked);
        silent += usize::from(said.errors.is_empty());
        std::fs::remove_dir_all(&path).unwrap();
    }
    println!(
        "{} of {total} refused system calls, {errors} errors told, {silent} times nothing had to be \
         told, {acked} batches acknowledged, lost 0, panics 0",
        all.len()
    );
}

// ---- no room ------------------------------------------------------------------------------

/// A file system in memory, of so many KiB.
struct Small(PathBuf);

impl Small {
    fn new(at: &Path, kib: u64) -> std::result::Result<Self, String> {
        let size = format!("size={kib}k");
        run("mount", &["-t", "tmpfs", "-o", &size, "none", at.to_str().unwrap()])?;
        Ok(Self(at.to_owned()))
    }

    fn grow(&self) {
        run("mount", &["-o", "remount,size=64m", self.0.to_str().unwrap()]).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = run("umount", &[self.0.to_str().unwrap()]);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let (rounds, mut errors, mut acked) = (runs(20), 0, 0);
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let kib = 4 + 8 * (round * 47 % 61);
        let small = match Small::new(dir.path(), kib) {
            Ok(small) => small,
            Err(missing) => {
                println!("full disks: skipped, {}", missing.trim());
                return;
            }
        };
        let path = dir.path().join("db");
        let mut said = Said::default();
        work(&path, if round % 2 == 0 { 0 } else { 2 }, &mut |told| said.note(told));
        small.grow();
        said.check(&path, &format!("{kib} KiB"));
        (errors, acked) = (errors + said.errors.len(), acked + said.acked);
    }
    println!("{rounds} full disks, {errors} errors told, {acked} batches acknowledged, lost 0");
}

#[test]
fn a_limit_on_the_length_of_files_is_an_error_or_the_end_and_loses_nothing() {
    let (rounds, mut errors, mut signals, mut acked) = (runs(10), 0, 0, 0);
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        // In units of 512 bytes. A signal that is ignored stays so in what is started.
        let (blocks, is_ignored) = (1 + round * 37 % 160, round % 2 == 0);
        let trap = if is_ignored { "trap '' XFSZ; " } else { "" };
        let script = format!("{trap}ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let child = child_of("refused::child");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(child.get_program())
            .args(child.get_args())
            .env(DIR, &path)
            .env(THREADS, "0")
            .output()
            .unwrap();
        let what = format!("{blocks} blocks, signal ignored: {is_ignored}, {}", output.status);
        if is_ignored {
            assert!(output.status.success(), "{what}");
        } else if let Some(signal) = output.status.signal() {
            assert_eq!(signal, SIGXFSZ, "{what}");
            signals += 1;
        }
        let said = Said::of(&output);
        said.check(&path, &what);
        (errors, acked) = (errors + said.errors.len(), acked + said.acked);
    }
    println!(
        "{rounds} limits on files, {errors} errors told, {signals} ended by SIGXFSZ, \
         {acked} batches acknowledged, lost 0"
    );
}
