//! Verifying a table: every byte, every row, every rule.
//!
//! Lookups verify what they touch. This reads it all, and also checks what no lookup can see: that
//! blocks follow each other in order, that the index and the filter speak of these rows, and that
//! the counts are true.
//!
//! Spec: `format-spec/03-table.md`. I/O: through a `Region`. Unsafe: none.

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;
use zerocopy::FromBytes;

use super::reader::Table;
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::format::data_block::{self, DataBlock};
use crate::format::filter::{self, Filter};
use crate::format::index::{self, shortest_separator};
use crate::format::row::{Kind, compare};
use crate::format::table_file::{self, FOOTER_LEN, HEADER_LEN, REGION_PROPERTIES};
use crate::format::value_ref::ValueRef;

/// What was seen while walking the rows.
#[derive(Default)]
struct Seen {
    row_count: u64,
    key_count: u64,
    delete_count: u64,
    merge_count: u64,
    expiring_count: u64,
    reference_count: u64,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    last_seqno: u64,
    min_seqno: u64,
    max_seqno: u64,
    continues: bool,
}

impl Table {
    /// Checks the whole file against chapters 03 to 06. O(file).
    ///
    /// # Errors
    ///
    /// The first rule that is broken, as [`Error::Corrupt`](crate::Error::Corrupt) with its
    /// offset; `Io` from reading.
    pub(crate) fn verify(&self) -> Result<()> {
        self.verify_gaps()?;
        let data_len = self.data_len;
        let index_offset = self.index.offset();
        self.index.verify_all().map_err(|error| self.corrupt(index_offset, error))?;
        self.index().verify(data_len).map_err(|error| self.corrupt(index_offset, error))?;
        if let Some((region, _)) = &self.filter {
            region.verify_all().map_err(|error| self.corrupt(region.offset(), error))?;
        }
        let mut seen = Seen { min_seqno: u64::MAX, ..Seen::default() };
        for block in 0..self.index_layout.block_count() {
            self.verify_one_block(block, &mut seen)?;
        }
        self.verify_counts(&seen)
    }

    /// XXH3 of the whole file, as its manifest row gives it. O(file).
    ///
    /// # Errors
    ///
    /// `Io` from reading.
    pub(crate) fn file_checksum(&self) -> Result<u64> {
        let mut checksum = Xxh3::with_seed(self.file_id);
        let mut at = 0;
        while at < self.region.len() {
            let len = usize::try_from((self.region.len() - at).min(4 << 20)).unwrap_or(0);
            checksum.update(&self.region.read(at, len)?);
            at += len as u64;
        }
        Ok(checksum.digest())
    }

    fn verify_one_block(&self, index: usize, seen: &mut Seen) -> Result<()> {
        let offset = self.block_offset(index)?;
        let base = self.data_offset + offset;
        let end = self.block_offset(index + 1)?.min(self.data_len);
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(0);
        let bytes = self.region.read(base, len)?;
        let block = DataBlock::parse(&bytes).map_err(|error| self.corrupt(base, error))?;
        self.verify_block(&block, base)?;
        block.verify(self.hash_seed).map_err(|error| self.corrupt(base, error))?;
        let rest = block.layout().block_len()..bytes.len();
        self.verify_zero(base, &bytes, rest)?;
        let mut key = Vec::new();
        for row in 0..block.layout().row_count() {
            block.read_key(row, &mut key).map_err(|error| self.corrupt(base, error))?;
            if row == 0 {
                self.verify_start(index, base, &key, seen)?;
            }
            self.verify_row(&block, base, row, &key, seen)?;
        }
        seen.continues = block.layout().continues();
        if seen.continues && index + 1 == self.index_layout.block_count() {
            return Err(self.corrupt(base, table_file::CONTINUES.broken(0)));
        }
        Ok(())
    }

    /// Checks the first key of a block against its separator and the block before.
    fn verify_start(&self, number: usize, base: u64, key: &[u8], seen: &Seen) -> Result<()> {
        if number == 0 {
            return Ok(());
        }
        if seen.continues != (seen.last_key == key) {
            return Err(self.corrupt(base, table_file::CONTINUES.broken(0)));
        }
        let found = self.index().separator(number, &|_| Ok(()));
        let found = found.map_err(|error| self.corrupt(self.index.offset(), error))?;
        let expected = shortest_separator(&seen.last_key, key);
        if expected.get(self.index().prefix().len()..) != Some(found) {
            return Err(
                self.corrupt(self.index.offset(), index::BETWEEN.found(0, 0, number as u64))
            );
        }
        Ok(())
    }

    fn verify_row(
        &self,
        block: &DataBlock<'_>,
        base: u64,
        row: u32,
        key: &[u8],
        seen: &mut Seen,
    ) -> Result<()> {
        let broken = |error| self.corrupt(base, error);
        let (kind, out_of_line) = block.kind(row).map_err(broken)?;
        let seqno = block.seqno(row).map_err(broken)?;
        let first = seen.row_count == 0;
        if !first && compare(&seen.last_key, seen.last_seqno, key, seqno).is_ge() {
            return Err(self.corrupt(base, table_file::ORDER.broken(0)));
        }
        if out_of_line {
            let reference = block.value(row).map_err(broken)?;
            self.verify_reference(reference, base, seen.reference_count)?;
            seen.reference_count += 1;
        }
        if let Some((region, block_count)) = &self.filter {
            let hash = hash_key(key, self.hash_seed);
            let probe = Filter::with_block_count(region.payload(), *block_count);
            if !probe.may_contain(hash) {
                let at = probe.block_range(hash).start as u64;
                return Err(self.corrupt(region.offset(), filter::MEMBER.broken(at)));
            }
        }
        seen.row_count += 1;
        seen.key_count += u64::from(first || seen.last_key != key);
        seen.delete_count += u64::from(kind == Kind::Delete);
        seen.merge_count += u64::from(kind == Kind::Merge);
        seen.expiring_count += u64::from(block.expires_at(row).map_err(broken)? != 0);
        seen.min_seqno = seen.min_seqno.min(seqno);
        seen.max_seqno = seen.max_seqno.max(seqno);
        if first {
            seen.first_key.extend_from_slice(key);
        }
        seen.last_key.clear();
        seen.last_key.extend_from_slice(key);
        seen.last_seqno = seqno;
        Ok(())
    }

    /// Checks a reference, its number and its value.
    fn verify_reference(&self, bytes: &[u8], base: u64, number: u64) -> Result<()> {
        let reference = ValueRef::read_from_bytes(bytes)
            .map_err(|_| self.corrupt(base, data_block::VALUE_REF.broken(0)))?;
        if u64::from(reference.index.get()) != number {
            let found = u64::from(reference.index.get());
            return Err(self.corrupt(base, table_file::VALUE_BOUNDS.found(0, number, found)));
        }
        let start = self.long_value_start(&reference, base)?;
        let value = self.region.read(start, reference.len.get() as usize)?;
        if reference.matches(&value, self.file_id) {
            Ok(())
        } else {
            Err(self.corrupt(start, table_file::VALUE_CHECKSUM.broken(0)))
        }
    }

    fn verify_counts(&self, seen: &Seen) -> Result<()> {
        let footer = &self.frame.footer;
        let at = self.region.len() - FOOTER_LEN as u64;
        let counts = [
            (footer.row_count.get(), seen.row_count),
            (footer.min_seqno.get(), seen.min_seqno),
            (footer.max_seqno.get(), seen.max_seqno),
        ];
        if let Some((stored, counted)) = counts.into_iter().find(|(a, b)| a != b) {
            return Err(self.corrupt(at, table_file::COUNTS.found(0, counted, stored)));
        }
        let (counts, keys_match) = self.with_properties(|properties| {
            let header = properties.header;
            let counts = [
                (header.key_count.get(), seen.key_count),
                (header.delete_count.get(), seen.delete_count),
                (header.merge_count.get(), seen.merge_count),
                (header.expiring_count.get(), seen.expiring_count),
                (header.reference_count.get(), seen.reference_count),
                (header.block_count.get().into(), self.index_layout.block_count() as u64),
            ];
            let keys = properties.smallest_key == seen.first_key
                && properties.largest_key == seen.last_key;
            (counts, keys)
        })?;
        let properties = self.frame.region(REGION_PROPERTIES);
        let at = properties.map_or(0, |entry| entry.offset.get());
        if let Some((stored, counted)) = counts.into_iter().find(|(a, b)| a != b) {
            return Err(self.corrupt(at, table_file::COUNTS.found(0, counted, stored)));
        }
        if keys_match { Ok(()) } else { Err(self.corrupt(at, table_file::KEY_RANGE.broken(0))) }
    }

    /// Checks that what lies between the regions is zero.
    fn verify_gaps(&self) -> Result<()> {
        let mut start = HEADER_LEN as u64;
        for region in &self.frame.regions {
            self.verify_gap(start, region.offset.get())?;
            start = region.offset.get() + region.stored_len();
        }
        self.verify_gap(start, self.region.len() - FOOTER_LEN as u64)
    }

    fn verify_gap(&self, start: u64, end: u64) -> Result<()> {
        // A gap that is too long for a writer to have made is read in pieces all the same.
        let mut at = start;
        while at < end {
            let len = usize::try_from((end - at).min(1 << 20)).unwrap_or(0);
            let bytes = self.region.read(at, len)?;
            self.verify_zero(at, &bytes, 0..len)?;
            at += len as u64;
        }
        Ok(())
    }

    fn verify_zero(&self, base: u64, bytes: &[u8], range: Range<usize>) -> Result<()> {
        let start = range.start;
        let gap = bytes.get(range).unwrap_or_default();
        match gap.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => Err(self.corrupt(base, table_file::GAPS.broken((start + at) as u64))),
        }
    }
}
