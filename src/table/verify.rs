//! Verifying a table: every byte, every row, every rule.
//!
//! Lookups verify what they touch. This reads it all, and also checks what no lookup can see: that
//! blocks follow each other in order, that the index and the filter speak of these rows, and that
//! the counts are true.
//!
//! Whoever only wants the rows, to write them elsewhere, gets them from the same walk
//! ([`Table::read_all`]): every byte is under a checksum or compared all the same, and only what a
//! wrong writer could do to blocks and filter is not looked for.
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
use crate::format::row::{Kind, Row, shared_len};
use crate::format::table_file::{self, FOOTER_LEN, HEADER_LEN, REGION_ALIGN, REGION_PROPERTIES};
use crate::format::value_ref::{VALUE_ALIGN, ValueRef};
use crate::storage::Slice;

/// Who walks the rows.
trait Visitor {
    /// Whether blocks and filter have to be those that the rows ask for.
    const IS_STRICT: bool;
    /// Takes a row that was checked.
    fn take(&mut self, row: &Row<'_>) -> Result<()>;
}

/// Wants to know whether all is as it has to be.
struct Inspector;

impl Visitor for Inspector {
    const IS_STRICT: bool = true;

    fn take(&mut self, _: &Row<'_>) -> Result<()> {
        Ok(())
    }
}

/// Wants the rows.
struct Reader<F>(F);

impl<F: FnMut(&Row<'_>) -> Result<()>> Visitor for Reader<F> {
    const IS_STRICT: bool = false;

    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        (self.0)(row)
    }
}

/// What was seen while walking the rows.
#[derive(Default)]
struct Seen {
    row_count: u64,
    key_count: u64,
    delete_count: u64,
    merge_count: u64,
    expiring_count: u64,
    reference_count: u64,
    key_bytes: u64,
    value_bytes: u64,
    min_expiry: u64,
    min_key_len: usize,
    /// Where the last value ends in the value region.
    values_end: u64,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    last_seqno: u64,
    min_seqno: u64,
    max_seqno: u64,
    continues: bool,
    some_continue: bool,
}

impl Table {
    /// Checks the whole file against chapters 03 to 06 and 09. O(file).
    ///
    /// # Errors
    ///
    /// The first rule that is broken, as [`Error::Corrupt`](crate::Error::Corrupt) with its
    /// offset; `Io` from reading.
    pub(crate) fn verify(&self) -> Result<()> {
        self.walk(&mut Inspector)
    }

    /// Gives every row in order, after it was checked, and then checks what concerns them all: so
    /// until this returns `Ok`, what was given may be a part only. O(file).
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify), but that a block or a filter may be another one than its rows
    /// ask for; what `take` gives.
    pub(crate) fn read_all(&self, take: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        self.walk(&mut Reader(take))
    }

    fn walk<V: Visitor>(&self, visitor: &mut V) -> Result<()> {
        self.verify_gaps()?;
        let data_len = self.data_len;
        let index_offset = self.index.offset();
        self.index.verify_all().map_err(|error| self.corrupt(index_offset, error))?;
        self.index().verify(data_len).map_err(|error| self.corrupt(index_offset, error))?;
        if let Some((region, _)) = &self.filter {
            region.verify_all().map_err(|error| self.corrupt(region.offset(), error))?;
        }
        let first_slot = self.index_layout.block_size().map(|len| REGION_ALIGN.max(len.into()));
        if let Some(start) = first_slot.filter(|start| *start != self.data_offset) {
            let found = self.data_offset;
            return Err(self.corrupt(found, table_file::DATA_OFFSET.found(0, start, found)));
        }
        let mut seen = Seen { min_seqno: u64::MAX, min_key_len: usize::MAX, ..Seen::default() };
        for block in 0..self.index_layout.block_count() {
            self.walk_block(block, &mut seen, visitor)?;
        }
        self.verify_counts(&seen)?;
        self.verify_sums(&seen)?;
        self.verify_range_tombstones()
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

    fn walk_block<V: Visitor>(&self, index: usize, seen: &mut Seen, visitor: &mut V) -> Result<()> {
        let offset = self.block_offset(index)?;
        let base = self.data_offset + offset;
        let end = self.block_offset(index + 1)?.min(self.data_len);
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(0);
        let bytes = self.region.read(base, len)?;
        let block = DataBlock::parse(&bytes).map_err(|error| self.corrupt(base, error))?;
        self.verify_block(&block, base)?;
        if V::IS_STRICT {
            block.verify(self.hash_seed).map_err(|error| self.corrupt(base, error))?;
        }
        let block_len = block.layout().block_len();
        let is_last = index + 1 == self.index_layout.block_count();
        let may_have_gap = self.index_layout.block_size().is_some() && !is_last;
        if block_len != bytes.len() && !may_have_gap {
            let error = table_file::DATA_OFFSET.found(8, bytes.len() as u64, block_len as u64);
            return Err(self.corrupt(base, error));
        }
        self.verify_zero(base, &bytes, block_len..bytes.len())?;
        let mut key = Vec::new();
        for row in 0..block.layout().row_count() {
            block.read_key(row, &mut key).map_err(|error| self.corrupt(base, error))?;
            if row == 0 {
                self.verify_start(index, base, &key, seen)?;
            }
            self.walk_row(&block, base, row, &mut key, seen, visitor)?;
        }
        seen.continues = block.layout().continues();
        seen.some_continue |= seen.continues;
        if seen.continues && is_last {
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

    fn walk_row<V: Visitor>(
        &self,
        block: &DataBlock<'_>,
        base: u64,
        row: u32,
        key: &mut Vec<u8>,
        seen: &mut Seen,
        visitor: &mut V,
    ) -> Result<()> {
        let broken = |error| self.corrupt(base, error);
        let (kind, out_of_line) = block.kind(row).map_err(broken)?;
        let seqno = block.seqno(row).map_err(broken)?;
        let first = seen.row_count == 0;
        let by_key = seen.last_key.as_slice().cmp(key);
        if !first && by_key.then(seqno.cmp(&seen.last_seqno)).is_ge() {
            return Err(self.corrupt(base, table_file::ORDER.broken(0)));
        }
        let mut value = Slice::Borrowed(block.value(row).map_err(broken)?);
        if out_of_line {
            value = self.verify_reference(&value, base, seen)?;
        }
        seen.value_bytes += value.len() as u64;
        if let Some((region, block_count)) = self.filter.as_ref().filter(|_| V::IS_STRICT) {
            let hash = hash_key(key, self.hash_seed);
            let probe = Filter::with_block_count(region.payload(), *block_count);
            if !probe.may_contain(hash) {
                let at = probe.block_range(hash).start as u64;
                return Err(self.corrupt(region.offset(), filter::MEMBER.broken(at)));
            }
        }
        seen.row_count += 1;
        seen.key_count += u64::from(first || by_key.is_lt());
        seen.delete_count += u64::from(kind == Kind::Delete);
        seen.merge_count += u64::from(kind == Kind::Merge);
        let expires_at = block.expires_at(row).map_err(broken)?;
        if expires_at != 0 {
            let earliest = if seen.expiring_count == 0 { expires_at } else { seen.min_expiry };
            seen.min_expiry = earliest.min(expires_at);
            seen.expiring_count += 1;
        }
        seen.key_bytes += key.len() as u64;
        seen.min_key_len = seen.min_key_len.min(key.len());
        seen.min_seqno = seen.min_seqno.min(seqno);
        seen.max_seqno = seen.max_seqno.max(seqno);
        if first {
            seen.first_key.extend_from_slice(key);
        }
        seen.last_seqno = seqno;
        std::mem::swap(&mut seen.last_key, key);
        visitor.take(&Row { key: &seen.last_key, seqno, kind, expires_at, value: &value })
    }

    /// Checks a reference, its number, and its value, which it returns.
    fn verify_reference(&self, bytes: &[u8], base: u64, seen: &mut Seen) -> Result<Slice<'_>> {
        let reference = ValueRef::read_from_bytes(bytes)
            .map_err(|_| self.corrupt(base, data_block::VALUE_REF.broken(0)))?;
        let numbers = [
            (seen.reference_count, u64::from(reference.index.get())),
            (seen.values_end.next_multiple_of(VALUE_ALIGN), reference.offset.get()),
        ];
        if let Some((expected, found)) = numbers.into_iter().find(|(a, b)| a != b) {
            return Err(self.corrupt(base, table_file::VALUE_ORDER.found(0, expected, found)));
        }
        let start = self.long_value_start(&reference, base)?;
        self.verify_gap(start - (reference.offset.get() - seen.values_end), start)?;
        let value = self.region.read(start, reference.len.get() as usize)?;
        if !reference.matches(&value, self.file_id) {
            return Err(self.corrupt(start, table_file::VALUE_CHECKSUM.broken(0)));
        }
        seen.values_end = reference.offset.get() + u64::from(reference.len.get());
        seen.reference_count += 1;
        Ok(value)
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
                (header.key_bytes.get(), seen.key_bytes),
                (header.value_bytes.get(), seen.value_bytes),
                (header.min_expiry.get(), seen.min_expiry),
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

    /// Checks what index, filter and value region say of all rows together.
    fn verify_sums(&self, seen: &Seen) -> Result<()> {
        let at = self.index.offset();
        let prefix = self.index().prefix();
        let shared_len = shared_len(&seen.first_key, &seen.last_key);
        let head_offset = shared_len.min(seen.min_key_len.saturating_sub(8));
        if seen.first_key.get(..shared_len) != Some(prefix)
            || self.index_layout.head_offset() != head_offset
        {
            return Err(self.corrupt(at, index::PREFIX.broken(8)));
        }
        if self.index_layout.has_continued_keys() != seen.some_continue {
            return Err(self.corrupt(at, index::CONTINUED.broken(12)));
        }
        if let Some((region, block_count)) = &self.filter {
            let filter = Filter::with_block_count(region.payload(), *block_count);
            let found = filter.key_count().unwrap_or(0);
            if found != seen.key_count {
                let error = filter::KEY_COUNT.found(16, seen.key_count, found);
                return Err(self.corrupt(region.offset(), error));
            }
        }
        let (start, len) = self.values.unwrap_or((0, 0));
        if len != seen.values_end || (self.values.is_some() && len == 0) {
            return Err(self.corrupt(start, table_file::VALUE_ORDER.found(0, seen.values_end, len)));
        }
        Ok(())
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

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use std::sync::Arc;

    use zerocopy::IntoBytes;
    use zerocopy::little_endian::U64;

    use super::*;
    use crate::cursor::Cursor;
    use crate::error::Error;
    use crate::format::checksum::checksum;
    use crate::format::chunks;
    use crate::format::file_name::FileName;
    use crate::format::range_tombstone::RangeTombstone;
    use crate::format::range_tombstones::{self, RangeTombstoneRegion};
    use crate::format::row::Row;
    use crate::format::table_file::{Properties, REGION_RANGE_TOMBSTONES, TableFile};
    use crate::options::{ChecksumPolicy, FilterSize, ReadMode};
    use crate::storage::{SimDisk, Storage};
    use crate::table::{TableCursor, TableSettings, TableWriter};

    const FILE_ID: u64 = 0xF11E;

    /// One row that owns its bytes: key, seqno, kind, expiry, value.
    type OwnedRow = (Vec<u8>, u64, Kind, u64, Vec<u8>);

    /// Rows with everything that a table can hold, over several blocks of 1 KiB.
    fn rows() -> Vec<OwnedRow> {
        let mut rows = Vec::new();
        for number in 0..30 {
            let key = format!("shared/{number:02}").into_bytes();
            let value = vec![b'v'; if number % 7 == 3 { 300 + number } else { 10 }];
            match number % 5 {
                0 => rows.push((key, 1000, Kind::Delete, 0, Vec::new())),
                1 => {
                    rows.push((key.clone(), 70_000, Kind::Merge, 0, value.clone()));
                    rows.push((key, 5, Kind::Put, 1 << 30, value));
                }
                _ => rows.push((key, 40 + number as u64, Kind::Put, 0, value)),
            }
        }
        let busy = |seqno| (b"shared/busy".to_vec(), seqno, Kind::Put, 0, vec![b'b'; 40]);
        rows.extend((100..160).rev().map(busy));
        rows
    }

    /// Disjoint range tombstones: with a gap, touching, and without an end.
    fn range_tombstones() -> Vec<u8> {
        let fragment = |start, end, seqno| RangeTombstone { start, end, seqno };
        range_tombstones::encode([
            fragment(&b""[..], Some(&b"shared/07"[..]), 50),
            fragment(b"shared/1", Some(b"shared/2"), 60),
            fragment(b"shared/2", Some(b"shared/25"), 2000),
            fragment(b"x", None, 70_001),
        ])
    }

    /// The table of these rows and of a region of range tombstones, if that is not empty.
    fn write(
        rows: &[OwnedRow],
        range_tombstones: &[u8],
        settings: &TableSettings,
        file_number: u64,
    ) -> Vec<u8> {
        let disk = SimDisk::new(1);
        disk.create_root().unwrap();
        let mut writer = TableWriter::create(&disk, settings, file_number, 0, FILE_ID).unwrap();
        for (key, seqno, kind, expires_at, value) in rows {
            let (seqno, kind, expires_at) = (*seqno, *kind, *expires_at);
            writer.add(&disk, &Row { key, seqno, kind, expires_at, value }).unwrap();
        }
        let region = RangeTombstoneRegion::parse_again(range_tombstones);
        writer.set_range_tombstones(region.iter().flat_map(RangeTombstoneRegion::iter));
        let info = writer.finish(&disk).unwrap();
        assert_eq!(info.range_tombstone_count, region.map_or(0, |region| region.len() as u64));
        disk.read_file(FileName::Table(file_number)).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Arc<Table>> {
        let disk = SimDisk::new(1);
        disk.create_root()?;
        disk.write_file(FileName::Table(1), bytes);
        let region = disk.open_region(FileName::Table(1), ReadMode::Mmap)?;
        Ok(Arc::new(Table::open(region, ChecksumPolicy::Once)?))
    }

    fn read_rows(table: &Arc<Table>) -> Vec<OwnedRow> {
        let mut cursor = TableCursor::new(Arc::clone(table));
        cursor.seek_first().unwrap();
        let mut rows = Vec::new();
        while cursor.valid() {
            let (key, value) = (cursor.key().to_vec(), cursor.value().to_vec());
            rows.push((key, cursor.seqno(), cursor.kind(), cursor.expires_at(), value));
            cursor.next().unwrap();
        }
        rows
    }

    fn read_all(table: &Table) -> Result<Vec<OwnedRow>> {
        let mut rows = Vec::new();
        table.read_all(|row| {
            let Row { key, seqno, kind, expires_at, value } = *row;
            rows.push((key.to_vec(), seqno, kind, expires_at, value.to_vec()));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Where the blocks of a table stand in the file, and how long they are.
    fn blocks(table: &Table) -> Vec<(usize, usize)> {
        (0..table.index_layout.block_count())
            .map(|block| {
                let start = table.data_offset + table.block_offset(block).unwrap();
                (start as usize, table.block_layout(block).unwrap().block_len())
            })
            .collect()
    }

    /// Makes all checksums of a file right again, but for those of long values.
    fn reseal(bytes: &mut [u8], frame: &TableFile, blocks: &[(usize, usize)]) {
        let mut put = |range: Range<usize>, seed: u64, at: usize| {
            let sum = U64::new(checksum(&bytes[range], seed));
            bytes[at..at + 8].copy_from_slice(sum.as_bytes());
        };
        for (start, len) in blocks {
            put(start + 8..start + len, FILE_ID ^ *start as u64, *start);
        }
        let end = frame.footer.file_len.get() as usize;
        for (entry, index) in frame.regions.iter().zip(0..) {
            let (start, len) = (entry.offset.get() as usize, entry.len.get() as usize);
            if entry.stored_len() != entry.len.get() {
                for chunk in 0..chunks::chunk_count(len) {
                    let range = chunks::chunk_range(len, chunk);
                    let seed = FILE_ID ^ (start + range.start) as u64;
                    let at = start + len.next_multiple_of(8) + 8 * chunk;
                    put(start + range.start..start + range.end, seed, at);
                }
            } else if [REGION_PROPERTIES, REGION_RANGE_TOMBSTONES].contains(&entry.kind.get()) {
                let at = end - FOOTER_LEN + 80 + 32 * index + 24;
                put(start..start + len, FILE_ID ^ start as u64, at);
            }
        }
        put(0..56, 0, 56);
        put(end - FOOTER_LEN..end - 8, FILE_ID, end - 8);
    }

    /// Flips bits of a table under right checksums. Every flip breaks a rule, or makes the one
    /// table that other rows have.
    #[track_caller]
    fn check_flips(rows: &[OwnedRow], range_tombstones: &[u8], settings: &TableSettings) {
        let good = write(rows, range_tombstones, settings, 1);
        let table = open(&good).unwrap();
        table.verify().unwrap();
        let (frame, blocks) = (table.frame.clone(), blocks(&table));
        let mut resealed = good.clone();
        reseal(&mut resealed, &frame, &blocks);
        assert!(resealed == good, "resealing an intact file changes nothing");
        let filter = frame.region(table_file::REGION_FILTER);
        let filter = filter.map_or(0..0, |entry| {
            let start = entry.offset.get() as usize + filter::HEADER_LEN;
            start..start + entry.len.get() as usize
        });
        for at in 0..good.len() {
            // Padding is all alike: of long runs of zeros, every 61st byte will do.
            let in_padding = good[at.saturating_sub(9)..(at + 9).min(good.len())] == [0; 18];
            if filter.contains(&at) || (in_padding && at % 61 > 0) {
                continue;
            }
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            reseal(&mut bytes, &frame, &blocks);
            let verified = open(&bytes).and_then(|table| {
                // Reading may believe what a wrong writer wrote, but it ends well.
                let read = read_all(&table);
                table.verify()?;
                assert!(read.unwrap() == read_rows(&table), "byte {at}");
                Ok(table)
            });
            match verified {
                Err(Error::Corrupt { .. } | Error::UnsupportedFormat { .. }) => {}
                Err(other) => panic!("byte {at}: {other}"),
                // A region that nobody knows, and need not know, is skipped.
                Ok(table) if table.frame.regions.iter().any(|entry| entry.kind.get() > 6) => {}
                Ok(table) => {
                    let named = |properties: &Properties<'_>| {
                        let header = properties.header;
                        (
                            header.file_number.get(),
                            TableSettings {
                                database_id: header.database_id.get(),
                                hash_seed: table.hash_seed,
                                operator: properties.operator.to_owned(),
                                ..settings.clone()
                            },
                        )
                    };
                    let (number, settings) = table.with_properties(named).unwrap();
                    let fragments = table.range_tombstones.as_deref().unwrap_or_default();
                    let again = write(&read_rows(&table), fragments, &settings, number);
                    assert!(again == bytes, "byte {at} means nothing, and no rule forbids it");
                }
            }
        }
    }

    fn settings(block_size: usize, filter: FilterSize) -> TableSettings {
        TableSettings {
            block_size,
            filter,
            database_id: 3,
            hash_seed: 9,
            operator: "sum".to_owned(),
            features_optional: 0,
        }
    }

    #[test]
    fn a_flip_under_right_checksums_breaks_a_rule_or_makes_another_table() {
        check_flips(&rows(), &[], &settings(1 << 10, FilterSize::BitsPerKey(10)));
    }

    #[test]
    fn a_flip_in_a_packed_table_does_so_too() {
        let mut rows = rows();
        rows.push((vec![b't'; 1500], 9, Kind::Put, 0, b"a key that fits no slot".to_vec()));
        check_flips(&rows, &range_tombstones(), &settings(1 << 10, FilterSize::None));
    }

    #[test]
    fn range_tombstones_are_read_back_and_counted() {
        let fragments = range_tombstones();
        let settings = settings(1 << 10, FilterSize::None);
        let table = open(&write(&rows(), &fragments, &settings, 1)).unwrap();
        table.verify().unwrap();
        let region = table.range_tombstones().unwrap();
        let want = RangeTombstoneRegion::parse(&fragments).unwrap();
        assert!(region.iter().eq(want.iter()));
        assert_eq!(region.find(b"shared/12").map(|fragment| fragment.seqno), Some(60));
        let count = |properties: &Properties<'_>| properties.header.range_tombstone_count.get();
        assert_eq!(table.with_properties(count).unwrap(), 4);
        // Seqnos and keys of the table are those of its rows.
        assert_eq!(table.frame.footer.max_seqno.get(), 70_000);

        let without = open(&write(&rows(), &[], &settings, 1)).unwrap();
        assert!(without.range_tombstones().is_none());
        assert!(without.frame.region(REGION_RANGE_TOMBSTONES).is_none());
        assert_eq!(without.with_properties(count).unwrap(), 0);
    }

    #[test]
    fn reading_all_rows_asks_less_of_a_writer_than_verifying() {
        let good = write(&rows(), &[], &settings(1 << 10, FilterSize::None), 1);
        let table = open(&good).unwrap();
        let (frame, blocks) = (table.frame.clone(), blocks(&table));
        let mut bytes = good;
        bytes[blocks[0].0 + data_block::HEADER_LEN] ^= 1;
        assert!(matches!(read_all(&open(&bytes).unwrap()), Err(Error::Corrupt { .. })));
        reseal(&mut bytes, &frame, &blocks);
        let other = open(&bytes).unwrap();
        assert!(matches!(other.verify(), Err(Error::Corrupt { .. })));
        assert!(read_all(&other).unwrap() == rows());
        let refused = other.read_all(|_| Err(Error::Closed));
        assert!(matches!(refused, Err(Error::Closed)));
    }

    /// Opening checks what a reader trusts: the region itself, and the count in the properties.
    #[test]
    fn broken_range_tombstones_are_found_at_opening() {
        let good = write(&rows(), &range_tombstones(), &settings(1 << 10, FilterSize::None), 1);
        let table = open(&good).unwrap();
        let (frame, blocks) = (table.frame.clone(), blocks(&table));
        let offset = |kind| frame.region(kind).unwrap().offset.get() as usize;
        let at = offset(REGION_RANGE_TOMBSTONES);
        let count_at = offset(REGION_PROPERTIES) + 92;
        #[rustfmt::skip]
        let cases = [
            // byte,   flip, rule under right checksums
            (at,       1,    "D1"),
            (at + 4,   1,    "D2"),
            (at + 8,   4,    "D3"),
            (at + 8,   1,    "D4"),
            (count_at, 4,    "T17"),
            (count_at, 1,    "T17"),
        ];
        let rule = |bytes: &[u8]| match open(bytes) {
            Err(Error::Corrupt { source, .. }) => source.rule().id,
            other => panic!("{other:?}"),
        };
        for (byte, flip, want) in cases {
            let mut bytes = good.clone();
            bytes[byte] ^= flip;
            assert_eq!(rule(&bytes), "T14", "byte {byte}");
            reseal(&mut bytes, &frame, &blocks);
            assert_eq!(rule(&bytes), want, "byte {byte}");
        }
    }

    /// Symptom: keys of a table were absent after a flip in its index, without an error.
    /// Cause: a prefix of more than 4032 bytes goes on in the region's second chunk, which no
    /// search named. Fix: all chunks of the prefix are verified when the table is opened.
    #[test]
    fn a_flip_in_a_long_prefix_is_found_at_opening() {
        let key = |last| [&[b'p'; 5000][..], &[last]].concat();
        let rows: Vec<OwnedRow> = (0..9).map(|n| (key(n), 1, Kind::Put, 0, vec![n; 100])).collect();
        let good = write(&rows, &[], &settings(1 << 10, FilterSize::None), 1);
        let index = *open(&good).unwrap().frame.region(table_file::REGION_INDEX).unwrap();
        let mut bytes = good;
        bytes[index.offset.get() as usize + 4500] ^= 1;
        assert!(matches!(open(&bytes), Err(Error::Corrupt { .. })));
    }
}
