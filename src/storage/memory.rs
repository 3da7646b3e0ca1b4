//! Memory: how much of it this process may fill, and what it has read from disk.
//!
//! The limit is the least of the machine's memory and of the limits of each control group that the
//! process is in, up to the root: `memory.max` and `memory.high` (version 2), and
//! `memory.limit_in_bytes` (version 1).
//!
//! # Invariants
//!
//! - What can't be read or understood is not known; it is never an error.
//! - Whatever `/proc/self/cgroup` says, only files below the usual mount points are read.
//!
//! Spec: none. I/O: `/proc`, `/sys/fs/cgroup`. Unsafe: none.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where version 2 is mounted: alone, or beside version 1.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const UNIFIED_LIMITS: &[&str] = &["memory.max", "memory.high"];
/// Where version 1 has its limits of memory.
const SEPARATE: &str = "/sys/fs/cgroup/memory";
const SEPARATE_LIMITS: &[&str] = &["memory.limit_in_bytes"];
/// Control groups may be nested deeper; then the outer ones count.
const MOST_GROUPS: usize = 32;

/// Memory, as this process sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that the process may fill, the page cache of what it reads included.
    pub limit: Option<u64>,
    /// Bytes that the process had to read from disk since it was started.
    pub read_bytes: Option<u64>,
}

impl Memory {
    /// Asks the system.
    ///
    /// # Cost
    ///
    /// Some ten small files that the kernel makes up: tens of microseconds.
    pub(super) fn now() -> Self {
        Self::found_by(&|path| fs::read_to_string(path).ok())
    }

    /// What the files say that `read` reads.
    fn found_by(read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let meminfo = read(Path::new("/proc/meminfo")).unwrap_or_default();
        let machine = field(&meminfo, "MemTotal:").and_then(|kib| kib.checked_mul(1024));
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let limits = limit_files(&groups).into_iter();
        let limits = limits.filter_map(|path| read(&path)?.trim().parse().ok());
        let io = read(Path::new("/proc/self/io")).unwrap_or_default();
        Self { limit: limits.chain(machine).min(), read_bytes: field(&io, "read_bytes:") }
    }
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The files that may hold a limit, by `/proc/self/cgroup`: lines `number:controllers:/path`.
///
/// In a container the path may be that of the host: then it does not exist here, and the mount
/// point itself is the process's group.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next(), parts.next(), parts.next());
        let (Some(controllers), Some(path)) = (controllers, path) else { continue };
        if number == Some("0") && controllers.is_empty() {
            for root in UNIFIED {
                add_limits(&mut files, root, path, UNIFIED_LIMITS);
            }
        } else if controllers.split(',').any(|controller| controller == "memory") {
            add_limits(&mut files, SEPARATE, path, SEPARATE_LIMITS);
        }
    }
    files
}

/// Adds the files of the group at `path` below `root`, and of those around it.
fn add_limits(files: &mut Vec<PathBuf>, root: &str, path: &str, names: &[&str]) {
    let mut group = PathBuf::from(root);
    let parts = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        _ => None,
    });
    files.extend(names.iter().map(|name| group.join(name)));
    for part in parts.take(MOST_GROUPS) {
        group.push(part);
        files.extend(names.iter().map(|name| group.join(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24105268 kB\nMemFree:        19005120 kB\n";
    const MACHINE: u64 = 24_105_268 << 10;
    const IO: &str = "rchar: 3980\nwchar: 0\nsyscr: 9\nread_bytes: 4096\nwrite_bytes: 0\n";

    #[track_caller]
    fn check(files: &[(&str, &str)], limit: Option<u64>, read_bytes: Option<u64>) {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(Memory::found_by(&read), Memory { limit, read_bytes }, "{files:?}");
    }

    #[test]
    fn the_least_limit_counts() {
        let (meminfo, io) = (("/proc/meminfo", MEMINFO), ("/proc/self/io", IO));
        check(&[], None, None);
        check(&[meminfo, io], Some(MACHINE), Some(4096));
        let groups = ("/proc/self/cgroup", "0::/user.slice/job.scope\n");
        check(&[meminfo, groups], Some(MACHINE), None);
        let max = ("/sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n");
        let outer = ("/sys/fs/cgroup/user.slice/memory.max", "4294967296\n");
        let high = ("/sys/fs/cgroup/user.slice/job.scope/memory.high", "1073741824\n");
        check(&[meminfo, groups, max], Some(MACHINE), None);
        check(&[meminfo, groups, max, outer], Some(4 << 30), None);
        check(&[meminfo, groups, max, outer, high], Some(1 << 30), None);
        check(&[groups, high], Some(1 << 30), None);
    }

    #[test]
    fn version_1_and_containers_are_understood() {
        let meminfo = ("/proc/meminfo", MEMINFO);
        let text = "9:name=systemd:/\n5:cpu,memory:/docker/0a1b\n3:cpuset:/\n0::/\n";
        let groups = ("/proc/self/cgroup", text);
        let own = ("/sys/fs/cgroup/memory/docker/0a1b/memory.limit_in_bytes", "536870912\n");
        let root = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let mounted = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        check(&[meminfo, groups, own, root], Some(512 << 20), None);
        check(&[meminfo, groups, root], Some(MACHINE), None);
        check(&[meminfo, groups, mounted], Some(256 << 20), None);
        let beside = ("/sys/fs/cgroup/unified/memory.max", "1000000\n");
        check(&[meminfo, groups, root, beside], Some(1_000_000), None);
    }

    #[test]
    fn hostile_texts_say_nothing() {
        for text in ["", "\n", "MemTotal:", "MemTotal: -1 kB", "MemTotal: x", "\u{0}MemTotal: 1"] {
            check(&[("/proc/meminfo", text), ("/proc/self/io", text)], None, None);
        }
        check(&[("/proc/meminfo", "MemTotal: 18446744073709551615 kB")], None, None);
        check(&[("/proc/self/io", "read_bytes: 99999999999999999999")], None, None);
        let limit = ("/sys/fs/cgroup/memory.max", "-5");
        check(&[("/proc/self/cgroup", "0::/"), limit], None, None);
        for text in [":", "::", "0:", "0:::::", "memory", "0::\u{0}", "1:memory"] {
            check(&[("/proc/self/cgroup", text)], None, None);
        }
    }

    #[test]
    fn no_path_leads_out_of_the_mount_points() {
        let deep = format!("0::{}", "/x".repeat(100_000));
        for text in ["0::/../../etc", "7:memory:/../..//./a/../../../b", "0::etc", &deep] {
            let files = limit_files(text);
            assert!(!files.is_empty() && files.len() <= 4 * (MOST_GROUPS + 1), "{}", files.len());
            for file in files {
                assert!(file.starts_with("/sys/fs/cgroup"), "{file:?}");
                assert!(!file.components().any(|part| part == Component::ParentDir), "{file:?}");
            }
        }
    }
}
