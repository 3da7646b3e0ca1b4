//! Options: how a database is opened, and the few choices that a call can make.
//!
//! # Invariants
//!
//! - Each choice's default is the safe one.
//!
//! Spec: none. I/O: none. Unsafe: none.

/// How much a write that returned must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, also a kill: the write is handed to the operating system. A crash
    /// of the machine may lose the newest writes, never one in the middle.
    Buffered,
    /// The end of the machine: the write is synced to the disk before it returns.
    #[default]
    Sync,
}

/// When the checksums of a table's blocks are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumPolicy {
    /// When a block is first touched after opening: each byte is checked before it is believed,
    /// and later reads pay nothing.
    #[default]
    Once,
    /// At every read. Finds what changes under a live map, at the price of hashing a whole block
    /// for each row.
    Always,
    /// Never, except by `verify`. Damage then reads as wrong data; a damaged structure is still
    /// refused and never a panic.
    Never,
}

/// How table files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadMode {
    /// Mapped into memory and read in place. A foreign program that truncates a table under the
    /// map ends the process with a signal.
    #[default]
    Mmap,
    /// Read with `pread`, a block at a time, into memory that the value keeps: slower, for files
    /// that other programs may change.
    Heap,
}

/// What opening does about a log that is damaged in its middle.
///
/// A torn tail, which a crash leaves, is no damage: the log ends there under both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogRecovery {
    /// Refuses to open, and names the file and the offset.
    #[default]
    Strict,
    /// Keeps the records before the damage and drops the rest; `stats().recovery` says what was
    /// dropped.
    ToFirstCorruption,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_safe_choices() {
        assert_eq!(Durability::default(), Durability::Sync);
        assert_eq!(ChecksumPolicy::default(), ChecksumPolicy::Once);
        assert_eq!(ReadMode::default(), ReadMode::Mmap);
        assert_eq!(LogRecovery::default(), LogRecovery::Strict);
    }
}
