//! How a table's map is read: as one that stays in memory, or as one that does not fit.
//!
//! In memory the kernel may map it in huge pages, and reads far around a page that is missing. When
//! the data outgrows memory both cost megabytes of reading per get. Then each page is read alone, and
//! who goes to a block first asks for it whole, so that it comes in one disk read.
//!
//! # Invariants
//!
//! - What is read never depends on it, only when and how much of the file is.
//! - While the table is read as one that fits, a get pays nothing for it: beyond memory the blocks
//!   have bits of their own for what was verified, and a probe, which sees none set, leaves the
//!   table to the careful way.
//!
//! Spec: none. I/O: advice through a `Region`. Unsafe: none.

use std::ops::Range;

use super::reader::Table;
use super::verified::Verified;
use crate::sync::atomic::Ordering;

impl Table {
    /// Whether the map is read as one that does not fit into memory.
    #[inline]
    pub(crate) fn is_beyond_memory(&self) -> bool {
        self.beyond_memory.load(Ordering::Relaxed)
    }

    /// Has the map read as one that does not fit into memory, or as one that does.
    ///
    /// Filter and index are read by every get: beyond memory they are asked for at once.
    pub(crate) fn set_beyond_memory(&self, beyond: bool) {
        // Only a map knows the difference.
        if self.data.is_none() || self.beyond_memory.swap(beyond, Ordering::Relaxed) == beyond {
            return;
        }
        // A reader that comes between may set a bit again: its block is then read page by page.
        self.blocks.forget();
        if beyond {
            self.region.advise_random();
            self.need_lookup_regions();
        } else {
            self.region.advise_huge();
        }
    }

    /// Brings what the table's mode keeps in memory there; how many bytes that is.
    pub(crate) fn warm(&self) -> u64 {
        if self.region.bytes().is_none() {
            0
        } else if self.is_beyond_memory() {
            self.need_lookup_regions()
        } else {
            self.region.populate()
        }
    }

    /// Which blocks were verified, as far as the mode knows.
    #[inline]
    pub(super) fn verified_blocks(&self) -> &Verified {
        if self.is_beyond_memory() { &self.blocks_beyond_memory } else { &self.blocks }
    }

    /// Asks for filter and index, and says how long they are.
    fn need_lookup_regions(&self) -> u64 {
        let filter = self.filter.as_ref().map(|(region, _)| region.place());
        let mut sum = 0;
        for place in filter.into_iter().chain([self.index.place()]) {
            sum += place.end - place.start;
            self.region.will_need(place);
        }
        sum
    }

    /// Asks for a part of the data region.
    #[cold]
    pub(super) fn need_data(&self, part: Range<u64>) {
        let end = part.end.min(self.data_len);
        self.region.will_need(self.data_offset + part.start..self.data_offset + end);
    }
}
