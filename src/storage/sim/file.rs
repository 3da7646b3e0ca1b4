//! File: the bytes of one simulated file, and what a crash leaves of them.
//!
//! ```text
//!   write ──▶ live      what readers see
//!     └─────▶ pending   the writes since the last sync, in order: a crash may take them
//!               │ sync
//!               ▼
//!             durable   what no crash takes
//! ```
//!
//! # Invariants
//!
//! - Without a fault, `durable` plus `pending` is `live`. After [`File::drop_pending`] it is not:
//!   those bytes are read back, but no sync will write them any more.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::BTreeMap;

use super::draw::Draw;
use super::plan::CrashMode;

/// The unit that a disk writes at once.
const SECTOR_LEN: usize = 512;

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

impl File {
    /// A file whose bytes are durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    /// What readers see.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            put(&mut self.live, offset, bytes);
            self.pending.push(Write { offset, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn sync(&mut self) {
        for write in self.pending.drain(..) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
    }

    /// Forgets that the writes since the last sync were ever to reach the disk.
    pub(super) fn drop_pending(&mut self) {
        self.pending.clear();
    }

    /// Reads everything anew that is not waiting to be written.
    pub(super) fn evict(&mut self) {
        self.live.clone_from(&self.durable);
        for write in &self.pending {
            put(&mut self.live, write.offset, &write.bytes);
        }
    }

    /// Goes back to the last sync.
    pub(super) fn revert(&mut self) {
        self.pending.clear();
        self.live.clone_from(&self.durable);
    }

    /// Leaves what `mode` leaves.
    pub(super) fn crash(&mut self, mode: CrashMode, draw: &mut Draw) {
        match mode {
            CrashMode::Kill => return,
            CrashMode::LoseUnsynced => {}
            CrashMode::TornPrefix => self.keep_prefix(draw),
            CrashMode::ZeroExtended => self.extend(|| 0),
            #[expect(clippy::cast_possible_truncation, reason = "one byte of the draw is wanted")]
            CrashMode::Garbage => self.extend(|| draw.next() as u8),
            CrashMode::Sectors => self.keep_sectors(draw),
            CrashMode::Mixed => return self.crash(any_loss(draw), draw),
            CrashMode::NothingLost => self.sync(),
        }
        self.revert();
    }

    /// Makes the first few writes durable, the last of them up to any byte.
    fn keep_prefix(&mut self, draw: &mut Draw) {
        let whole_count = draw.up_to(self.pending.len());
        let mut writes = self.pending.drain(..);
        for write in writes.by_ref().take(whole_count) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
        if let Some(torn) = writes.next() {
            let kept = draw.up_to(torn.bytes.len());
            put(&mut self.durable, torn.offset, torn.bytes.get(..kept).unwrap_or_default());
        }
    }

    /// Makes the length durable, but what is new is `filler`.
    fn extend(&mut self, filler: impl FnMut() -> u8) {
        let len = self.durable.len().max(self.live.len());
        self.durable.resize_with(len, filler);
    }

    /// Makes each sector durable as it was at a moment of its own: after none, some or all of
    /// the writes. So sectors of one write may be old and new in any pattern, and a later write
    /// may be there when an earlier one is not.
    fn keep_sectors(&mut self, draw: &mut Draw) {
        let count = self.pending.len();
        let len_moment = draw.up_to(count);
        let mut len = self.durable.len();
        let mut moments = BTreeMap::new();
        for (index, write) in self.pending.iter().enumerate() {
            if index < len_moment {
                len = len.max(write.offset + write.bytes.len());
            }
            let (mut offset, mut rest) = (write.offset, &*write.bytes);
            while !rest.is_empty() {
                let room = SECTOR_LEN - offset % SECTOR_LEN;
                let (part, after) = rest.split_at(room.min(rest.len()));
                let moment =
                    moments.entry(offset / SECTOR_LEN).or_insert_with(|| draw.up_to(count));
                if index < *moment {
                    put(&mut self.durable, offset, part);
                }
                offset += part.len();
                rest = after;
            }
        }
        self.durable.resize(len, 0);
    }
}

/// One of the modes that end in a power loss.
pub(super) fn any_loss(draw: &mut Draw) -> CrashMode {
    match draw.up_to(5) {
        0 => CrashMode::LoseUnsynced,
        1 => CrashMode::TornPrefix,
        2 => CrashMode::ZeroExtended,
        3 => CrashMode::Garbage,
        4 => CrashMode::Sectors,
        _ => CrashMode::NothingLost,
    }
}

/// Puts `bytes` at `offset`, zeros before them where nothing was.
fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(place) = target.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What crashes under seeds 0 to 299 leave of a file with "old" durable and two writes
    /// pending: "NEW" over it, "++" behind it.
    fn outcomes(mode: CrashMode) -> BTreeSet<Vec<u8>> {
        (0..300)
            .map(|seed| {
                let mut file = File::durable(b"old".to_vec());
                file.write(0, b"NEW");
                file.write(3, b"++");
                assert_eq!(file.live(), b"NEW++");
                file.crash(mode, &mut Draw::new(seed));
                let left = file.live().to_vec();
                file.crash(CrashMode::LoseUnsynced, &mut Draw::new(seed));
                let kept = if mode == CrashMode::Kill { b"old" } else { &*left };
                assert_eq!(file.live(), kept, "what a crash left is durable, under seed {seed}");
                left
            })
            .collect()
    }

    #[track_caller]
    fn check(mode: CrashMode, want: &[&[u8]]) {
        assert_eq!(outcomes(mode), want.iter().map(|bytes| bytes.to_vec()).collect(), "{mode:?}");
    }

    #[test]
    fn each_mode_leaves_what_it_says() {
        check(CrashMode::LoseUnsynced, &[b"old"]);
        check(CrashMode::Kill, &[b"NEW++"]);
        check(CrashMode::NothingLost, &[b"NEW++"]);
        check(CrashMode::ZeroExtended, &[b"old\0\0"]);
        // Cut anywhere in the first write, or anywhere in the second.
        check(CrashMode::TornPrefix, &[b"old", b"Nld", b"NEd", b"NEW", b"NEW+", b"NEW++"]);
        // One sector at three moments, the length at three moments.
        check(CrashMode::Sectors, &[b"old", b"old\0\0", b"NEW", b"NEW\0\0", b"NEW++"]);
    }

    #[test]
    fn garbage_differs_and_keeps_what_was_durable() {
        let left = outcomes(CrashMode::Garbage);
        assert!(left.iter().all(|bytes| bytes.starts_with(b"old") && bytes.len() == 5));
        assert!(left.len() > 250, "{}", left.len());
    }

    #[test]
    fn mixed_leaves_what_some_mode_leaves() {
        let mixed = outcomes(CrashMode::Mixed);
        for want in [&b"old"[..], b"Nld", b"NEW\0\0", b"old\0\0", b"NEW++"] {
            assert!(mixed.contains(want), "{want:?}");
        }
        assert!(mixed.iter().any(|bytes| bytes.starts_with(b"old") && bytes.len() == 5));
    }

    #[test]
    fn sectors_survive_in_any_pattern() {
        let mut patterns = BTreeSet::new();
        for seed in 0..2_000 {
            let mut file = File::default();
            // Three sectors and a bit, not aligned, and then the middle of them again.
            file.write(100, &[1; 3 * SECTOR_LEN]);
            file.write(SECTOR_LEN + 10, &[2; 20]);
            file.crash(CrashMode::Sectors, &mut Draw::new(seed));
            let byte = |offset: usize| file.live().get(offset).copied();
            patterns.insert([byte(100), byte(600), byte(SECTOR_LEN + 10), byte(1100), byte(1600)]);
        }
        let middle = [(0, 0), (1, 1), (1, 2)];
        for first in [0, 1] {
            for (second, again) in middle {
                for (third, last) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let want = [first, second, again, third, last].map(Some);
                    assert!(patterns.contains(&want), "{want:?}");
                }
            }
        }
        assert!(patterns.contains(&[None; 5]), "the length may be lost");
    }

    #[test]
    fn dropped_writes_are_read_until_the_power_goes() {
        let mut file = File::durable(b"old".to_vec());
        file.write(0, b"new");
        file.drop_pending();
        file.write(4, b"!");
        file.sync();
        assert_eq!(file.live(), b"new\0!");
        file.crash(CrashMode::Kill, &mut Draw::new(1));
        assert_eq!(file.live(), b"new\0!");
        let mut cold = file.clone();
        cold.write(5, b"?");
        cold.evict();
        assert_eq!(cold.live(), b"old\0!?");
        file.crash(CrashMode::NothingLost, &mut Draw::new(1));
        assert_eq!(file.live(), b"old\0!");
    }

    #[test]
    fn a_reverted_file_is_what_the_last_sync_left() {
        let mut file = File::default();
        file.write(0, b"first");
        file.sync();
        file.write(0, b"second");
        file.revert();
        assert_eq!(file.live(), b"first");
        file.crash(CrashMode::NothingLost, &mut Draw::new(1));
        assert_eq!(file.live(), b"first");
    }
}
