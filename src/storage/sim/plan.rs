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
}

#[derive(Clone, Debug)]
pub(super) struct PlannedFault {
    pub(super) call: u64,
    /// Whether every later call fails too.
    pub(super) lasting: bool,
    pub(super) fault: Fault,
}

impl Plan {
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
