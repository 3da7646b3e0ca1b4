//! Plan: what goes wrong on the simulated disk, and at which call.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::io;

/// What a crash leaves of everything that was not synced.
///
/// "Writes" are those to one file since its last sync, "names" the creations, renames and
/// removals since the directory's last sync. Files and names lose independently of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashMode {
    /// Nothing: neither writes nor names.
    LoseUnsynced,
    /// The first few writes, the last of them cut at any byte; the first few names.
    TornPrefix,
    /// The files' lengths but no writes: what is new reads as zeros; the first few names.
    ZeroExtended,
    /// As [`CrashMode::ZeroExtended`], but what is new reads as garbage.
    Garbage,
    /// Each sector of 512 bytes as it was at a moment of its own, and each length too; any of
    /// the names.
    Sectors,
    /// One of the other modes for each file, and one for the names.
    Mixed,
    /// Everything, in memory: only the process ends, and a later power loss may still take it.
    Kill,
    /// Everything: it reached the disk just in time.
    NothingLost,
}

impl CrashMode {
    /// Every mode.
    pub const ALL: [Self; 8] = [
        Self::LoseUnsynced,
        Self::TornPrefix,
        Self::ZeroExtended,
        Self::Garbage,
        Self::Sectors,
        Self::Mixed,
        Self::Kill,
        Self::NothingLost,
    ];
}

/// How a single call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// ENOSPC; nothing was done.
    NoSpace,
    /// EMFILE; nothing was done.
    TooManyFiles,
    /// EACCES; nothing was done.
    Denied,
    /// EIO; nothing was done.
    Io,
    /// EIO, but it was done.
    IoDone,
    /// EIO from a write that wrote a part; other calls do nothing.
    Torn,
    /// No error: a write takes only a part; other calls do their work.
    Short,
    /// EIO from a sync, and what was to be synced counts as clean: it is read back until the next
    /// power loss, which takes it, whatever later syncs say (ext4). Other calls do nothing.
    Dropped,
    /// EIO from a sync, and the file is again what it was after the last one (btrfs). Other calls
    /// do nothing.
    Reverted,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 9] = [
        Self::NoSpace,
        Self::TooManyFiles,
        Self::Denied,
        Self::Io,
        Self::IoDone,
        Self::Torn,
        Self::Short,
        Self::Dropped,
        Self::Reverted,
    ];

    /// What the system says.
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::NoSpace => libc::ENOSPC,
            Self::TooManyFiles => libc::EMFILE,
            Self::Denied => libc::EACCES,
            Self::Io | Self::IoDone | Self::Torn | Self::Short | Self::Dropped | Self::Reverted => {
                libc::EIO
            }
        })
    }
}

/// What is to happen to one call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Done,
    Fails(Fault),
    Crashes(CrashMode),
}

/// Everything that is to go wrong until the next reboot.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) crash: Option<(u64, CrashMode)>,
    pub(super) faults: Vec<PlannedFault>,
    /// How often guarded maps were asked whether their pages were there.
    pub(super) map_checks: u64,
    /// At which of these questions one lacks a page.
    pub(super) map_fault: Option<u64>,
    /// The first call that failed because of it.
    pub(super) failed_call: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedFault {
    pub(super) call: u64,
    /// Whether every later call fails too.
    pub(super) lasting: bool,
    pub(super) fault: Fault,
}

impl Plan {
    /// Whether a map lacks a page when it is asked this time, by the number of the question.
    pub(super) fn map_fault_now(&mut self) -> Option<u64> {
        let check = self.map_checks;
        self.map_checks += 1;
        self.map_fault.filter(|at| *at == check)
    }

    pub(super) fn fate(&self, call: u64) -> Fate {
        if let Some((_, mode)) = self.crash.filter(|(at, _)| *at == call) {
            return Fate::Crashes(mode);
        }
        let hit = |planned: &&PlannedFault| {
            planned.call == call || planned.lasting && planned.call < call
        };
        self.faults.iter().find(hit).map_or(Fate::Done, |planned| Fate::Fails(planned.fault))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SimDisk;
    use super::*;
    use crate::error::Error;
    use crate::format::file_name::FileName;
    use crate::storage::Storage;

    const TABLE: FileName = FileName::Table(1);
    const LOG: FileName = FileName::Log(2);

    fn started(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        disk.create_root().unwrap();
        disk
    }

    /// Fails the write or the sync of a log that already holds "old" durably; checks what is read
    /// then, and what is left by a power loss that takes nothing that can still be written.
    #[track_caller]
    fn check_fault(fault: Fault, op: &str, errno: Option<i32>, live: &[u8], left: &[u8]) {
        let disk = started(1);
        let mut file = disk.create(LOG).unwrap();
        file.write_all(b"old", 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        disk.fail_at(disk.calls() + u64::from(op == "sync"), fault);
        let written = file.write_at(b"new+", 0);
        let result = if op == "sync" { file.sync() } else { written.map(drop) };
        match (result, errno) {
            (Ok(()), None) => {}
            (Err(Error::Io { op: got, path, source }), Some(errno)) => {
                assert_eq!((got, path), (op, disk.path(LOG)), "{fault:?}");
                assert_eq!(source.raw_os_error(), Some(errno), "{fault:?}");
            }
            (result, _) => panic!("{fault:?} of {op}: {result:?}"),
        }
        assert_eq!(disk.read_file(LOG).unwrap(), live, "{fault:?} of {op}, read");
        file.sync().unwrap();
        disk.crash(CrashMode::LoseUnsynced);
        assert_eq!(disk.read_file(LOG).unwrap(), left, "{fault:?} of {op}, left");
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let eio = Some(libc::EIO);
        for (fault, errno) in [
            (Fault::NoSpace, Some(libc::ENOSPC)),
            (Fault::TooManyFiles, Some(libc::EMFILE)),
            (Fault::Denied, Some(libc::EACCES)),
            (Fault::Io, eio),
        ] {
            check_fault(fault, "write", errno, b"old", b"old");
            check_fault(fault, "sync", errno, b"new+", b"new+");
        }
        check_fault(Fault::IoDone, "write", eio, b"new+", b"new+");
        check_fault(Fault::IoDone, "sync", eio, b"new+", b"new+");
        check_fault(Fault::Torn, "write", eio, b"ned", b"ned");
        check_fault(Fault::Short, "write", None, b"ned", b"ned");
        check_fault(Fault::Short, "sync", None, b"new+", b"new+");
        check_fault(Fault::Dropped, "sync", eio, b"new+", b"old");
        check_fault(Fault::Reverted, "sync", eio, b"old", b"old");
    }

    #[test]
    fn calls_on_names_fail_too() {
        for fault in Fault::ALL {
            let done = matches!(fault, Fault::IoDone | Fault::Short);
            let disk = started(1);
            disk.write_file(TABLE, "table");
            disk.fail_at(disk.calls(), fault);
            let renamed = disk.rename(TABLE, FileName::Table(9));
            assert_eq!(renamed.is_ok(), fault == Fault::Short, "{fault:?}");
            assert_eq!(disk.read_file(FileName::Table(9)).is_some(), done, "{fault:?}");

            let disk = started(1);
            drop(disk.create(LOG));
            disk.fail_at(disk.calls(), fault);
            assert_eq!(disk.sync_dir().is_ok(), fault == Fault::Short, "{fault:?}");
            assert_eq!(disk.read_file(LOG).is_some(), fault != Fault::Reverted, "{fault:?}");
            disk.crash(CrashMode::LoseUnsynced);
            assert_eq!(disk.read_file(LOG).is_some(), done, "{fault:?}");
        }
    }

    #[test]
    fn dropped_names_are_lost_whatever_later_syncs_say() {
        let disk = started(1);
        drop(disk.create(LOG));
        disk.fail_at(disk.calls(), Fault::Dropped);
        assert!(disk.sync_dir().is_err());
        disk.sync_dir().unwrap();
        assert_eq!(disk.file_names(), [LOG]);
        disk.crash(CrashMode::NothingLost);
        assert_eq!(disk.file_names(), []);
    }

    #[test]
    fn dropped_writes_are_gone_once_the_cache_is_emptied() {
        let disk = started(1);
        let mut file = disk.create(LOG).unwrap();
        file.write_all(b"dropped", 0).unwrap();
        disk.fail_at(disk.calls(), Fault::Dropped);
        assert!(file.sync().is_err());
        assert_eq!(disk.read_file(LOG).unwrap(), b"dropped");
        disk.evict();
        assert_eq!(disk.read_file(LOG).unwrap(), b"");
    }

    #[test]
    fn a_lasting_fault_ends_with_the_plan() {
        let disk = started(1);
        disk.fail_from(2, Fault::NoSpace);
        disk.create(LOG).unwrap();
        assert!(disk.sync_dir().is_err() && disk.create(TABLE).is_err() && disk.lock().is_err());
        assert!(disk.create(LOG).is_err(), "and hides other errors");
        disk.plan_nothing();
        disk.sync_dir().unwrap();
        disk.fail_from(0, Fault::Io);
        assert!(disk.sync_dir().is_err());
        disk.reboot().sync_dir().unwrap();
    }
}
