//! What the system says of this process.

use std::os::fd::AsRawFd;
use std::path::Path;

/// A figure of `/proc/self/status`, in bytes; 0 where the system does not tell.
pub fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes that this process gave to `write` and its like.
pub fn bytes_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// Bytes that this process has read from disk.
pub fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// Takes the files of a directory out of the page cache.
pub fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            forget(&entry.path());
        } else if let Ok(file) = std::fs::File::open(entry.path()) {
            // What is not on the disk yet would stay.
            file.sync_all().expect("a sync");
            // SAFETY: a call about a file that is open, by its descriptor.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

/// Seconds that all threads of this process were on a processor.
pub fn cpu_secs() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Seconds that this thread was on a processor.
pub fn cpu_secs_of_thread() -> f64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, through a pointer to one.
    let failed = unsafe { libc::clock_gettime(id, &raw mut time) };
    assert_eq!(failed, 0, "this system has no clock {id}");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes of all files in a directory, as the disk counts them.
pub fn disk_len(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => total += disk_len(&entry.path()),
            Ok(metadata) => total += (metadata.blocks() * 512).min(metadata.len().max(4096)),
            Err(_) => {}
        }
    }
    total
}

/// What kind of machine this is, in a line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    let memory = memory.unwrap_or(0_u64) >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {cores} cores, {memory} GiB, Linux {}", model.unwrap_or("?").trim(), kernel.trim())
}
