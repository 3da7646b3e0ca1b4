//! Mutants: bugs that databases have had, to be switched on by a test that must find them.
//!
//! With the feature `mutants` each place that `mutant!` marks can go wrong; it does only on a thread
//! that asked for that, so other tests of the same process notice nothing. Without the feature the
//! macro leaves nothing but what is right.
//!
//! # Invariants
//!
//! - A mutant is off until [`switch_on`], and off again when its guard is dropped.
//! - No other file asks for the feature, but for the names in `internals.rs`; `tests/it/tidy.rs`
//!   holds that.
//!
//! Spec: none. I/O: none. Unsafe: none.

/// Does something wrong if the mutant of this name is switched on; with `else`, instead of what is
/// right.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:ident, $wrong:expr) => {
        if $crate::mutants::is_on($crate::mutants::Mutant::$name) {
            $wrong
        }
    };
    ($name:ident, $wrong:expr, else $right:expr) => {
        if $crate::mutants::is_on($crate::mutants::Mutant::$name) { $wrong } else { $right }
    };
}

/// What is right, if anything.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:ident, $wrong:expr) => {};
    ($name:ident, $wrong:expr, else $right:expr) => {
        $right
    };
}

#[cfg(feature = "mutants")]
mod switched {
    use std::cell::Cell;
    use std::marker::PhantomData;

    macro_rules! mutants {
        ($($(#[$doc:meta])* $name:ident,)+) => {
            /// A bug that can be switched on.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Mutant { $($(#[$doc])* $name,)+ }

            impl Mutant {
                /// All of them.
                pub const ALL: &[Self] = &[$(Self::$name,)+];
            }
        };
    }

    mutants! {
        // ---- the log ----
        /// A write is acknowledged before the sync that it asked for.
        AcknowledgeUnsynced,
        /// A log is called durable, and its bytes were not synced (as an `fsync` of the wrong file).
        SkipLogSync,
        /// A log is called durable, and its name was not synced (RocksDB and its `CURRENT`).
        SkipLogNameSync,
        /// A sync that failed counts as done, so that those who wait for it are acknowledged.
        SwallowSyncErrors,
        /// Writes go on in a log that could not be written or synced: the next sync says that all is
        /// well ("fsyncgate"), and what stands behind a torn record is not found.
        RetryFailedLog,
        /// What a short write took counts as all of it.
        TakeShortWrites,
        /// A log is synced while the one before it is not (LevelDB's issue 193).
        LeaveOlderLogsOpen,
        /// A log is called sealed and has no seal, so that nothing tells that its end is missing.
        SealNothing,
        /// A record is believed whatever its payload's checksum says (LevelDB's issue 251 was a torn
        /// tail that was taken for data).
        TrustPayload,
        /// Damage in the middle of a log counts as its end: what was acknowledged goes without a word.
        TakeDamageForAnEnd,
        /// Records behind a gap are replayed: the history has a hole.
        IgnoreGaps,
        // ---- recovery ----
        /// Seqnos of replayed batches are given out again.
        ReuseSeqnos,
        /// The manifest that a log names is missing, and an older one is used in its place.
        IgnoreMissingManifest,
        /// What was replayed is shown before it is durable anew.
        SkipRecoverySync,
        /// Logs are removed before what they held is durable elsewhere: a second crash loses it.
        RemoveReplayedLogsEarly,
        /// Operands are read with another merge operator than they were written for.
        IgnoreOperatorName,
        // ---- manifests and tables ----
        /// A manifest gets its name before its bytes are durable.
        SkipManifestSync,
        /// A manifest's name is not synced.
        SkipManifestNameSync,
        /// A manifest is believed whatever the checksum of its body says.
        TrustManifest,
        /// A damaged newest manifest gives way to the one before.
        OpenOlderManifest,
        /// A manifest names a table whose bytes are not durable.
        SkipTableSync,
        /// A manifest names a table whose name is not durable.
        SkipTableNameSync,
        /// A flush or a merge that fails leaves its tables behind: they fill the disk.
        KeepFailedTables,
        /// A manifest that could not be published may be the newest after all, and the tables that it
        /// names are removed (RocksDB's pull request 5379).
        RemoveUnknownTables,
        /// A flushed log still counts as needed and is replayed again: operands count twice.
        KeepFlushedLog,
        /// A log is removed before the manifest that does without it is durable.
        RemoveFlushedLogEarly,
        /// A merge's inputs are removed before the manifest that does without them is durable.
        RemoveInputsEarly,
        /// A name that a failed sync lost is called durable by the next sync.
        ForgetLostNames,
        // ---- the tree ----
        /// A tombstone goes while older rows lie below: what was deleted comes back.
        DropTombstones,
        /// A tombstone stays for ever.
        KeepTombstones,
        /// A merge keeps what has expired.
        KeepExpired,
        /// An operand is folded onto a value that will expire.
        FoldOntoExpiring,
        /// Folding loses the oldest operand.
        LoseOperands,
        /// A flush loses its range tombstones.
        LoseRangeTombstones,
        /// A merge drops range tombstones that other tables still need.
        DropRangeTombstones,
        /// The compaction filter is asked about rows that snapshots see.
        FilterUnderSnapshots,
        /// Of tables that overlap, the one with older rows is asked first (RocksDB ordered them by
        /// file number once).
        OldestTableFirst,
        // ---- reading ----
        /// A scan shows rows that are newer than its snapshot.
        SeeTheFuture,
        /// A filter denies keys that its table holds.
        FilterForgets,
        /// A block is believed whatever its checksum says.
        TrustBlocks,
        /// A block's checksum says nothing about its place: another block passes for it.
        UnboundBlocks,
        /// Going backward, a key's older versions are shown too.
        ShowOlderVersions,
        /// A scan does not see that a row has expired.
        ShowExpired,
        /// An iterator ends at an error as if there were no more rows.
        EndAtErrors,
    }

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Switches the mutant off again; stays on its thread.
    #[derive(Debug)]
    pub struct SwitchedOn(PhantomData<*const ()>);

    impl Drop for SwitchedOn {
        fn drop(&mut self) {
            ON.set(None);
        }
    }

    /// Switches a mutant on, for this thread.
    #[must_use]
    pub fn switch_on(mutant: Mutant) -> SwitchedOn {
        ON.set(Some(mutant));
        SwitchedOn(PhantomData)
    }

    /// Whether it is switched on, on this thread.
    #[inline]
    pub(crate) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use switched::is_on;
#[cfg(feature = "mutants")]
pub use switched::{Mutant, SwitchedOn, switch_on};
