//! The recipe of the refused vectors: for each numbered rule a file that breaks it, under
//! checksums that are right unless the rule is about them.
//!
//! A file is a good one with few bytes changed, so a difference to a good one is the broken rule.

mod blocks;
mod indexes;
mod logs;
mod manifests;
mod regions;
mod tables;

pub(super) use tables::unknown_region;

use tinydb::internals::checksum::checksum;
use tinydb::internals::data_block::DataBlock;

use crate::python::decoded::blocks_of_table;

/// Where the fields of a table's header, footer and directory stand, for those that break them.
const FOOTER_LEN: usize = 4096;
const DIRECTORY: usize = 80;
const ENTRY_LEN: usize = 32;
const DATA: u32 = 1;
const VALUES: u32 = 2;
const FILTER: u32 = 3;
const INDEX: u32 = 4;
const PROPERTIES: u32 = 5;
const RANGE_TOMBSTONES: u32 = 6;

/// A file that no reader may take for whole.
pub(super) struct Refused {
    /// The rule that is broken, or what the file needs and no reader of version 1 has.
    pub(super) why: Why,
    /// What the file does wrong, in a word or two; a part of its name.
    pub(super) slug: &'static str,
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Rules that such a file can't help breaking too; a reader checks them later than its own.
    pub(super) also: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Rule(&'static str),
    /// Which of major, feature and region it is, and its number.
    Needs(&'static str, u32),
}

impl Refused {
    fn new(kind: &'static str, rule: &'static str, slug: &'static str, bytes: Vec<u8>) -> Self {
        Self { why: Why::Rule(rule), slug, kind, bytes, also: &[] }
    }

    fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// Its file, from `format-spec/vectors/` on.
    pub(super) fn file(&self) -> String {
        match self.why {
            Why::Rule(rule) => format!("refused/{rule}-{}.bin", self.slug),
            Why::Needs(..) => format!("refused/{}-{}.bin", self.kind, self.slug),
        }
    }
}

/// Every refused vector there is.
pub(super) fn all() -> Vec<Refused> {
    let parts = [tables::all(), blocks::all(), indexes::all(), regions::all()];
    parts.into_iter().flatten().chain(logs::all()).chain(manifests::all()).collect()
}

/// A good file of a kind, with bytes of its preamble that a reader ignores.
pub(super) fn ignored(kind: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    match kind {
        "table" => tables::ignored(at, bytes),
        "log" => logs::with_preamble(at, bytes),
        _ => manifests::with_preamble(at, bytes),
    }
}

/// Writes the checksum of a range of these bytes into them.
fn seal(bytes: &mut [u8], at: usize, range: std::ops::Range<usize>, seed: u64) {
    let sum = checksum(&bytes[range], seed);
    bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn size(bytes: &[u8], at: usize) -> usize {
    usize::try_from(word(bytes, at)).expect("a small number")
}

/// A table that is being broken: what is written last are the checksums.
#[derive(Clone)]
struct Table {
    bytes: Vec<u8>,
    /// Where the blocks stand, and how long their checksums take them to be.
    blocks: Vec<(usize, usize)>,
}

impl Table {
    fn of(bytes: Vec<u8>) -> Self {
        Self { blocks: blocks_of_table(&bytes), bytes }
    }

    fn footer(&self) -> usize {
        self.bytes.len() - FOOTER_LEN
    }

    /// Where the directory's entries stand.
    fn entries(&self) -> impl Iterator<Item = usize> {
        let at = self.footer();
        let count = u32::from_le_bytes(self.bytes[at + 20..at + 24].try_into().expect("four"));
        (0..count as usize).map(move |entry| at + DIRECTORY + entry * ENTRY_LEN)
    }

    fn kind_at(&self, entry: usize) -> u32 {
        u32::from_le_bytes(self.bytes[entry..entry + 4].try_into().expect("four bytes"))
    }

    fn entry(&self, kind: u32) -> usize {
        self.entries().find(|at| self.kind_at(*at) == kind).expect("such a region")
    }

    /// Where a region starts.
    fn region(&self, kind: u32) -> usize {
        size(&self.bytes, self.entry(kind) + 8)
    }

    /// Where a column of a block starts.
    fn column(&self, block: usize, name: &str) -> usize {
        let (at, _) = self.blocks[block];
        let layout = DataBlock::parse(&self.bytes[at..]).expect("a good block");
        let mut columns = layout.layout().columns();
        let (_, range) = columns.find(|(it, _)| *it == name).expect("such a column");
        at + range.start
    }

    fn set(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn set_in(self, kind: u32, at: usize, bytes: &[u8]) -> Self {
        let start = self.region(kind);
        self.set(start + at, bytes)
    }

    fn set_in_footer(self, at: usize, bytes: &[u8]) -> Self {
        let start = self.footer();
        self.set(start + at, bytes)
    }

    /// Sets the length that the directory gives of a region; zeros follow what it had.
    fn set_len(self, kind: u32, len: usize) -> Self {
        let (entry, start) = (self.entry(kind), self.region(kind));
        let stored = start + size(&self.bytes, entry + 16);
        let is_chunked = kind == INDEX || kind == FILTER;
        let sums = stored.next_multiple_of(8);
        let this = self.set(entry + 16, &(len as u64).to_le_bytes());
        // The checksums of chunks move with the end of what they cover.
        if is_chunked { this.set(sums, &[0; 8]) } else { this }
    }

    /// An entry of the directory behind those that there are.
    fn add_entry(self, kind: u32, flags: u32, offset: usize, len: usize) -> Self {
        let count = self.entries().count();
        let at = self.footer() + DIRECTORY + count * ENTRY_LEN;
        let count = u32::try_from(count + 1).expect("few regions");
        self.set(at, &kind.to_le_bytes())
            .set(at + 4, &flags.to_le_bytes())
            .set(at + 8, &(offset as u64).to_le_bytes())
            .set(at + 16, &(len as u64).to_le_bytes())
            .set_in_footer(20, &count.to_le_bytes())
    }

    /// The file with right checksums, all of them.
    fn sealed(mut self) -> Vec<u8> {
        let file_id = word(&self.bytes, 24);
        for (at, len) in self.blocks.clone() {
            seal(&mut self.bytes, at, at + 8..at + len, file_id ^ at as u64);
        }
        let entries: Vec<usize> = self.entries().collect();
        for entry in entries {
            let (start, len) = (size(&self.bytes, entry + 8), size(&self.bytes, entry + 16));
            match self.kind_at(entry) {
                FILTER | INDEX => {
                    let sums = start + len.next_multiple_of(8);
                    for (chunk, at) in (start..start + len).step_by(4096).enumerate() {
                        let range = at..(at + 4096).min(start + len);
                        seal(&mut self.bytes, sums + 8 * chunk, range, file_id ^ at as u64);
                    }
                }
                PROPERTIES | RANGE_TOMBSTONES => {
                    let seed = file_id ^ start as u64;
                    seal(&mut self.bytes, entry + 24, start..start + len, seed);
                }
                _ => {}
            }
        }
        self.seal_ends(file_id)
    }

    /// The file with the checksums of header and footer made right, and no others.
    fn seal_ends(mut self, file_id: u64) -> Vec<u8> {
        seal(&mut self.bytes, 56, 0..56, 0);
        let (footer, end) = (self.footer(), self.bytes.len() - 8);
        seal(&mut self.bytes, end, footer..end, file_id);
        self.bytes
    }
}
