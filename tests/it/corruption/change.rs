//! The kinds of damage, and all places of each.

use tinydb::internals::file_name::FileName;

use super::Files;
use crate::python::decoded::blocks_of_table;

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
    /// Two blocks of a table change places.
    SwapBlocks {
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

/// How much a change touches, and so how many of its kind there are: the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scale {
    Byte,
    Sector,
    /// A file, or a block of a table.
    Whole,
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
            if let FileName::Table(_) = name {
                all.extend(block_swaps(bytes).into_iter().map(|swap| (*name, swap)));
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

    /// How much it touches.
    pub(super) fn scale(self) -> Scale {
        match self {
            Self::Xor { .. } | Self::Cut { .. } | Self::Zero { len: 1, .. } => Scale::Byte,
            Self::Zero { .. } | Self::Swap { .. } => Scale::Sector,
            _ => Scale::Whole,
        }
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
            Self::Swap { at, other, len } | Self::SwapBlocks { at, other, len } => {
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

/// The blocks of a table that fit into each other's places, two and two.
fn block_swaps(table: &[u8]) -> Vec<Change> {
    let blocks = blocks_of_table(table);
    // With the room behind it; nothing is known of what follows the last one.
    let rooms = blocks.iter().skip(1).map(|(at, _)| *at).chain([usize::MAX]);
    let rooms: Vec<_> =
        blocks.iter().zip(rooms).map(|((at, len), next)| (*at, *len, next)).collect();
    let mut swaps = Vec::new();
    for (number, &(at, len, next)) in rooms.iter().enumerate() {
        for &(other, other_len, other_next) in &rooms[..number] {
            let longer = len.max(other_len);
            let fits = |at: usize, len: usize, next: usize| {
                len == longer || next != usize::MAX && at + longer <= next
            };
            if fits(at, len, next) && fits(other, other_len, other_next) {
                swaps.push(Change::SwapBlocks { at, other, len: longer });
            }
        }
    }
    swaps
}
