//! Power cuts on real file systems: ext4 and XFS on a loop device, shut down under a process that
//! writes, mounted again.
//!
//! `xfs_io -x -c shutdown` ends all of a file system's writing at once, the journal's too, as a power cut
//! does. It needs root, loop devices, `mkfs.ext4`, `mkfs.xfs` and `xfs_io`; without them the test says
//! what is missing and passes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kill::{READY, counted, options, start};
use crate::support::{Draw, Seed, first_seed, lines_of, runs};

/// Bytes of the file system's image, of which most are never written.
const IMAGE_LEN: u64 = 400 << 20;

/// Runs a program; what it said if it failed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

/// A file system that is mounted.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn new(image: &Path, at: &Path) -> Result<Self, String> {
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()])?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = run("umount", &[self.0.to_str().unwrap()]);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

/// Cuts the power so often, and says how many batches were written by then.
fn check(mkfs: &str, cuts: u64, draw: &mut Draw) -> Result<i64, String> {
    let dir = tempfile::tempdir().unwrap();
    let (image, at) = (dir.path().join("image"), dir.path().join("mounted"));
    std::fs::create_dir(&at).unwrap();
    std::fs::File::create(&image).unwrap().set_len(IMAGE_LEN).unwrap();
    run(mkfs, &["-q", image.to_str().unwrap()])?;
    run("xfs_io", &["-V"])?;
    let path = at.join("db");
    let mut durable = 0;
    for cut in 0..cuts {
        let mounted = Mounted::new(&image, &at)?;
        let mut child = start(&path, Stdio::null());
        let mut lines = lines_of(&mut child);
        assert!(lines.any(|line| line == READY), "the child ended by itself");
        let mut acked = durable;
        for line in lines.by_ref().take(1 + draw.below(150)) {
            acked = line.parse().unwrap();
        }
        let shut_down = run("xfs_io", &["-x", "-c", "shutdown", at.to_str().unwrap()]);
        if shut_down.is_err() {
            child.kill().unwrap();
        }
        let before = acked - acked % 5;
        // What it said until it met the error, and then it ends.
        for line in lines {
            acked = line.parse::<i64>().unwrap_or(acked).max(acked);
        }
        child.wait().unwrap();
        shut_down?;
        drop(mounted);
        let mounted = Mounted::new(&image, &at)?;
        let db = options().open(&path).unwrap();
        let found = counted(&db);
        // Every fifth batch was synced. The sync that the cut meets may succeed all the same, and then it is
        // the last that does: XFS looks whether it is shut down and then whether there is anything
        // left to write, which the shutdown threw away meanwhile. After a power cut nobody hears of it.
        let least = durable.max(before).max(acked - acked % 5 - 5);
        assert!((least..=acked + 1).contains(&found), "cut {cut}: {found}, {least} to {acked} + 1");
        assert!(db.verify().unwrap().is_ok());
        durable = found;
        db.close().unwrap();
        drop(mounted);
    }
    Ok(durable)
}

#[test]
fn a_power_cut_loses_nothing_that_was_durable() {
    let (seed, cuts) = (first_seed(), runs(3));
    let _seed = Seed(seed, format!("{cuts} power cuts"));
    let mut draw = Draw::new(seed);
    for mkfs in ["mkfs.ext4", "mkfs.xfs"] {
        match check(mkfs, cuts, &mut draw) {
            Ok(batches) => println!("{mkfs}: {cuts} power cuts, {batches} batches"),
            Err(missing) => println!("{mkfs}: skipped, {}", missing.trim()),
        }
    }
}
