//! The kinds of damage, and all places of each.

use tinydb::internals::file_name::FileName;

use super::Files;

/// What is done to one file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Xor {
        at: usize,
        mask: u8,
    },
    Zero {
        at: usize,
        len: usize,
    },
    Swap {
        at: usize,
        other: usize,
        len: usize,
    },
    Cut {
        len: usize,
    },
    Append {
        len: usize,
        byte: u8,
    },
    Gone,
    CopyOf(FileName),
    SwapWith(FileName),
    /// The file also stands under another name.
    CopyAs(FileName),
}

impl Change {
    /// Every kind of damage, at every place.
    pub(super) fn all(files: &Files) -> Vec<(FileName, Self)> {
        let mut all = Vec::new();
        for (name, bytes) in files {
            for at in 0..bytes.len() {
                all.extend([0x01, 0x80, 0xFF].map(|mask| (*name, Self::Xor { at, mask })));
                all.push((*name, Self::Zero { at, len: 1 }));
                all.push((*name, Self::Cut { len: at }));
            }
            for len in [512, 4096] {
                let sectors = (0..bytes.len()).step_by(len);
                all.extend(sectors.clone().map(|at| (*name, Self::Zero { at, len })));
                for at in sectors {
                    for other in (0..at).step_by(len) {
                        all.push((*name, Self::Swap { at, other, len }));
                    }
                }
            }
            for len in [1, 7, 8, 48, 511, 4096] {
                all.extend([0, 0xA5].map(|byte| (*name, Self::Append { len, byte })));
            }
            all.push((*name, Self::Gone));
            for other in files.keys().filter(|other| *other != name) {
                all.push((*name, Self::CopyOf(*other)));
                all.push((*name, Self::SwapWith(*other)));
                all.push((
                    *name,
                    Self::CopyAs(match *other {
                        FileName::Table(number) => FileName::Table(number + 100),
                        FileName::Manifest(number) => FileName::Manifest(number + 100),
                        FileName::Log(number) => FileName::Log(number + 100),
                        other => other,
                    }),
                ));
            }
        }
        all
    }

    /// Does it; false if that changes nothing.
    pub(super) fn apply(self, files: &mut Files, name: FileName) -> bool {
        let before = files[&name].clone();
        let other = match self {
            Self::CopyOf(other) | Self::SwapWith(other) => files[&other].clone(),
            _ => Vec::new(),
        };
        let Some(bytes) = files.get_mut(&name) else { return false };
        let end = |at: usize, len: usize| (at + len).min(before.len());
        match self {
            Self::Xor { at, mask } => bytes[at] ^= mask,
            Self::Zero { at, len } => bytes[at..end(at, len)].fill(0),
            Self::Swap { at, other, len } => {
                let len = end(at, len) - at;
                bytes[other..other + len].copy_from_slice(&before[at..at + len]);
                bytes[at..at + len].copy_from_slice(&before[other..other + len]);
            }
            Self::Cut { len } => bytes.truncate(len),
            Self::Append { len, byte } => bytes.resize(before.len() + len, byte),
            Self::Gone => return files.remove(&name).is_some(),
            Self::CopyOf(_) => *bytes = other,
            Self::SwapWith(place) => {
                *bytes = other;
                files.insert(place, before);
                return true;
            }
            Self::CopyAs(other) => return files.insert(other, before).is_none(),
        }
        files[&name] != before
    }
}
