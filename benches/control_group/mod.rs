//! Control groups of Linux, of version 1 or 2: how a bench gives a process less memory than the machine has.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "two crates share this file, and control groups are files"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, process};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A control group with a limit of memory; removed when dropped, if no process is in it.
pub struct Group(PathBuf);

impl Group {
    /// Makes one below the group of this process, whose processes get so many bytes of memory, page cache
    /// included.
    pub fn new(limit: u64) -> Outcome<Self> {
        let mut failure = "no controller of memory".into();
        for (parent, file) in parents()? {
            let name = format!("tinydb-bench-{}", process::id());
            // Only version 2 knows this file, and a root group has it set already.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
            let group = Self(parent.join(name));
            let made = fs::create_dir(&group.0);
            match made.and_then(|()| fs::write(group.0.join(file), limit.to_string())) {
                Ok(()) => return Ok(group),
                Err(error) => failure = format!("{}: {error}", group.0.display()),
            }
        }
        Err(failure.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Moves this process into a group.
pub fn join(group: &Path) -> Outcome<()> {
    Ok(fs::write(group.join("cgroup.procs"), process::id().to_string())?)
}

/// The groups of this process that have to do with memory, and the file of a group that limits it.
fn parents() -> Outcome<Vec<(PathBuf, &'static str)>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path_of = |controllers: &str| {
        let of = |line: &str| {
            let mut parts = line.splitn(3, ':').skip(1);
            (parts.next() == Some(controllers)).then(|| parts.next().map(str::to_owned))
        };
        own.lines().find_map(of).flatten()
    };
    let roots = [
        ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("", "/sys/fs/cgroup", "memory.max"),
    ];
    let parent = |(controllers, root, file)| {
        let path = path_of(controllers)?;
        Some((Path::new(root).join(path.trim_start_matches('/')), file))
    };
    Ok(roots.into_iter().filter_map(parent).collect())
}
