//! Names: the simulated directory, and what a crash leaves of it.
//!
//! # Invariants
//!
//! - A rename is one step: after a crash it took place or it did not.
//! - A name leads to the file that it was given to, so a lost removal brings back that file.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::collections::BTreeMap;

use super::draw::Draw;
use super::file::any_loss;
use super::plan::CrashMode;
use crate::format::file_name::FileName;

/// The number of a file, whatever its name.
pub(super) type FileId = u64;

/// A name, and where it stands: 0 is the directory, `n` the directory of files set aside, where the
/// file is the `n`-th of its name.
type Spot = (FileName, u32);

/// The names of the directory, and of that of files set aside.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<Spot, FileId>,
    durable: BTreeMap<Spot, FileId>,
    pending: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Add(Spot, FileId),
    Rename(Spot, Spot, FileId),
    Remove(Spot, FileId),
}

impl Names {
    pub(super) fn get(&self, name: FileName) -> Option<FileId> {
        self.live.get(&(name, 0)).copied()
    }

    /// The names that there are, sorted.
    pub(super) fn list(&self) -> Vec<FileName> {
        self.live.keys().filter(|(_, nth)| *nth == 0).map(|(name, _)| *name).collect()
    }

    /// The files that were set aside, by their names there.
    pub(super) fn aside(&self) -> impl Iterator<Item = (String, FileId)> {
        let aside =
            |(&(name, nth), &file): (&Spot, &FileId)| Some((name.aside(nth.checked_sub(1)?), file));
        self.live.iter().filter_map(aside)
    }

    /// The files that have a name.
    pub(super) fn files(&self) -> impl Iterator<Item = FileId> {
        self.live.values().copied()
    }

    /// Whether the file has a name, or may have one again after a crash.
    pub(super) fn may_name(&self, file: FileId) -> bool {
        let pending = self.pending.iter().any(|change| match *change {
            Change::Add(_, id) | Change::Rename(_, _, id) | Change::Remove(_, id) => id == file,
        });
        pending || self.live.values().chain(self.durable.values()).any(|id| *id == file)
    }

    pub(super) fn add(&mut self, name: FileName, file: FileId) {
        self.change(Change::Add((name, 0), file));
    }

    /// Renames; `false` if there is no such name.
    pub(super) fn rename(&mut self, from: FileName, to: FileName) -> bool {
        let found = self.get(from);
        if let Some(file) = found.filter(|_| from != to) {
            self.change(Change::Rename((from, 0), (to, 0), file));
        }
        found.is_some()
    }

    /// Removes; `false` if there is no such name.
    pub(super) fn remove(&mut self, name: FileName) -> bool {
        let found = self.get(name);
        if let Some(file) = found {
            self.change(Change::Remove((name, 0), file));
        }
        found.is_some()
    }

    /// Sets a file aside, and gives how many of its name were there before; `None` if there is no such
    /// name.
    pub(super) fn set_aside(&mut self, name: FileName) -> Option<u64> {
        let file = self.get(name)?;
        let taken = (0..u32::MAX).find(|taken| !self.live.contains_key(&(name, taken + 1)))?;
        self.change(Change::Rename((name, 0), (name, taken + 1), file));
        Some(taken.into())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, change);
        }
    }

    /// Forgets that the changes since the last sync were ever to reach the disk.
    pub(super) fn drop_pending(&mut self) {
        self.pending.clear();
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
            CrashMode::TornPrefix | CrashMode::ZeroExtended | CrashMode::Garbage => {
                self.pending.truncate(draw.up_to(self.pending.len()));
                self.sync();
            }
            CrashMode::Sectors => {
                self.pending.retain(|_| draw.coin());
                self.sync();
            }
            CrashMode::Mixed => return self.crash(any_loss(draw), draw),
            CrashMode::NothingLost => self.sync(),
        }
        self.revert();
    }
}

/// Makes a change, also where changes before it were lost.
fn apply(names: &mut BTreeMap<Spot, FileId>, change: Change) {
    match change {
        Change::Add(name, file) => {
            names.insert(name, file);
        }
        Change::Rename(from, to, file) => {
            apply(names, Change::Remove(from, file));
            names.insert(to, file);
        }
        Change::Remove(name, file) => {
            if names.get(&name) == Some(&file) {
                names.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const OLD: FileName = FileName::Table(1);
    const TMP: FileName = FileName::Tmp(2);
    const NEW: FileName = FileName::Table(2);

    /// What crashes under seeds 0 to 199 leave of a directory where a table was published and
    /// an older one removed, none of it synced.
    fn outcomes(mode: CrashMode) -> BTreeSet<Vec<(FileName, FileId)>> {
        (0..200)
            .map(|seed| {
                let mut names = Names::default();
                names.add(OLD, 10);
                names.sync();
                names.add(TMP, 20);
                assert!(names.rename(TMP, NEW));
                assert!(names.remove(OLD));
                names.crash(mode, &mut Draw::new(seed));
                names.live.into_iter().map(|((name, _), file)| (name, file)).collect()
            })
            .collect()
    }

    #[track_caller]
    fn check(mode: CrashMode, want: &[&[(FileName, FileId)]]) {
        assert_eq!(outcomes(mode), want.iter().map(|names| names.to_vec()).collect(), "{mode:?}");
    }

    #[test]
    fn each_mode_leaves_what_it_says() {
        let (old, tmp, new) = ((OLD, 10), (TMP, 20), (NEW, 20));
        check(CrashMode::LoseUnsynced, &[&[old]]);
        for mode in [CrashMode::Kill, CrashMode::NothingLost] {
            check(mode, &[&[new]]);
        }
        for mode in [CrashMode::TornPrefix, CrashMode::ZeroExtended, CrashMode::Garbage] {
            check(mode, &[&[old], &[old, tmp], &[old, new], &[new]]);
        }
        let any: &[&[_]] = &[&[old], &[old, tmp], &[old, new], &[new], &[], &[tmp]];
        check(CrashMode::Sectors, any);
        check(CrashMode::Mixed, any);
    }

    #[test]
    fn a_kill_loses_nothing_but_saves_nothing() {
        let mut names = Names::default();
        names.add(OLD, 10);
        names.crash(CrashMode::Kill, &mut Draw::new(1));
        assert_eq!(names.get(OLD), Some(10));
        names.crash(CrashMode::LoseUnsynced, &mut Draw::new(1));
        assert_eq!(names.get(OLD), None);
    }

    #[test]
    fn a_name_that_was_given_again_leads_to_the_newer_file() {
        let mut names = Names::default();
        names.add(OLD, 10);
        names.add(TMP, 20);
        names.rename(TMP, OLD);
        assert_eq!((names.get(OLD), names.get(TMP)), (Some(20), None));
        assert!(names.may_name(10), "until the directory is synced");
        names.sync();
        assert!(!names.may_name(10) && names.may_name(20));
        assert!(!names.rename(TMP, NEW) && !names.remove(TMP), "there is none");
        assert!(names.rename(OLD, OLD));
        assert_eq!(names.list(), [OLD]);
    }

    #[test]
    fn what_is_set_aside_has_one_name_after_every_crash() {
        for (mode, seed) in
            CrashMode::ALL.into_iter().flat_map(|mode| (0..20).map(move |n| (mode, n)))
        {
            let mut names = Names::default();
            names.add(OLD, 10);
            names.sync();
            assert_eq!((names.set_aside(OLD), names.set_aside(OLD)), (Some(0), None));
            names.crash(mode, &mut Draw::new(seed));
            let aside: Vec<_> = names.aside().collect();
            let is_aside = aside == [(OLD.to_string(), 10)];
            assert!(is_aside || aside.is_empty(), "{aside:?}");
            assert_eq!(names.get(OLD).is_none(), is_aside);
        }
    }
}
