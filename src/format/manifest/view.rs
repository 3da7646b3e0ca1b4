//! The manifest read in place: checks everything once, then hands out slices of the file.
//!
//! # Invariants
//!
//! - What a [`ManifestView`] hands out was checked by [`ManifestView::parse`]; its accessors
//!   can't fail.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: none. Unsafe: none.

use zerocopy::FromBytes;

use super::{
    BODY_CHECKSUM, CHECKSUM, CHECKSUM_OFFSET, FILE_LEN, HEADER_LEN, HEADER_MAGIC, HEADER_SIZE,
    KEYS, MAGIC, MAX_LEVEL_COUNT, ManifestData, ManifestHeader, NUMBER, OPERATOR, ORDER, Place,
    RESERVED, ROWS, TABLE, TREE, TWICE, TableRecord, TableRow, place, row_offset,
};
use crate::format::checksum::matches;
use crate::format::error::FormatError;
use crate::format::preamble::FrameError;

/// A manifest read in place.
#[derive(Clone, Copy, Debug)]
pub struct ManifestView<'a> {
    header: &'a ManifestHeader,
    rows: &'a [TableRow],
    merge_operator: Option<&'a str>,
    bytes: &'a [u8],
}

/// One table of a manifest read in place.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    /// Its row.
    pub row: &'a TableRow,
    /// Its smallest user key.
    pub smallest: &'a [u8],
    /// Its largest user key.
    pub largest: &'a [u8],
}

impl<'a> ManifestView<'a> {
    /// Parses a whole file and proves everything in it in bounds and in order.
    ///
    /// # Errors
    ///
    /// The rule that the bytes break, by offset in the file; or what the file needs and this build
    /// does not have.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let header = parse_header(bytes)?;
        let Some((rows, rest)) = parse_rows(bytes, header) else {
            return Err(ROWS.broken(HEADER_SIZE as u64).into());
        };
        let operator_at = (bytes.len() - rest.len()) as u64;
        let operator_len = to_usize(header.operator_len.get().into());
        let Some((name, keys)) = rest.split_at_checked(operator_len) else {
            return Err(ROWS.broken(operator_at).into());
        };
        let name = std::str::from_utf8(name).map_err(|_| OPERATOR.broken(operator_at))?;
        let merge_operator = (!name.is_empty()).then_some(name);
        let view = Self { header, rows, merge_operator, bytes };
        view.check_tables((bytes.len() - keys.len()) as u64)?;
        Ok(view)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &'a ManifestHeader {
        self.header
    }

    /// The name of the merge operator whose operands the database holds.
    #[must_use]
    pub const fn merge_operator(&self) -> Option<&'a str> {
        self.merge_operator
    }

    /// The tables by tree and level; in level 0 the newest first, deeper by key.
    #[must_use]
    pub fn tables(&self) -> impl ExactSizeIterator<Item = TableView<'a>> + use<'a> {
        let bytes = self.bytes;
        self.rows.iter().map(move |row| TableView::of(row, bytes))
    }

    /// Checks that the file has the number that its name says.
    ///
    /// # Errors
    ///
    /// Rule M14.
    pub fn check_number(&self, number: u64) -> Result<(), FormatError> {
        let found = self.header.manifest_number.get();
        if found == number { Ok(()) } else { Err(NUMBER.found(40, number, found)) }
    }

    /// Copies all of it.
    ///
    /// # Errors
    ///
    /// Rule M13, which can't be checked without memory and so not by [`ManifestView::parse`].
    pub fn to_data(self) -> Result<ManifestData, FormatError> {
        let mut numbers: Vec<u64> = self.rows.iter().map(|row| row.file_number.get()).collect();
        numbers.sort_unstable();
        let twice = numbers.iter().zip(numbers.iter().skip(1)).find(|(a, b)| a == b);
        if let Some((&number, _)) = twice {
            let index = self.rows.iter().rposition(|row| row.file_number.get() == number);
            return Err(TWICE.broken(row_offset(index.unwrap_or(0))));
        }
        Ok(ManifestData {
            manifest_number: self.header.manifest_number.get(),
            database_id: self.header.database_id.get(),
            hash_seed: self.header.hash_seed.get(),
            next_file_number: self.header.next_file_number.get(),
            last_seqno: self.header.last_seqno.get(),
            oldest_log: self.header.oldest_log.get(),
            merge_operator: self.merge_operator.map(str::to_owned),
            tables: self.tables().map(|table| TableRecord::of(&table)).collect(),
        })
    }

    /// Checks all rows, of which the first one's keys must lie at `keys_offset`.
    fn check_tables(&self, mut keys_offset: u64) -> Result<(), FormatError> {
        let mut previous: Option<TableView<'a>> = None;
        for (index, row) in self.rows.iter().enumerate() {
            let at = row_offset(index);
            if row.keys_offset.get() != keys_offset {
                return Err(KEYS.found(at + 64, keys_offset, row.keys_offset.get()));
            }
            keys_offset += u64::from(row.smallest_len.get()) + u64::from(row.largest_len.get());
            if keys_offset > self.bytes.len() as u64 {
                return Err(KEYS.found(at + 72, self.bytes.len() as u64, keys_offset));
            }
            let table = TableView::of(row, self.bytes);
            self.check_table(&table, at)?;
            if previous.is_some_and(|previous| !previous.comes_before(&table)) {
                return Err(ORDER.broken(at));
            }
            previous = Some(table);
        }
        if keys_offset != self.bytes.len() as u64 {
            return Err(KEYS.found(keys_offset, keys_offset, self.bytes.len() as u64));
        }
        Ok(())
    }

    /// Checks what one row says, apart from where its keys lie.
    fn check_table(&self, table: &TableView<'_>, at: u64) -> Result<(), FormatError> {
        let row = table.row;
        if row.tree_id >= self.header.tree_count || row.level.get() >= MAX_LEVEL_COUNT {
            return Err(TREE.broken(at));
        }
        if row.reserved != [0; 4] {
            return Err(RESERVED.broken(at + 92));
        }
        let possible = row.row_count.get() > 0
            && table.smallest <= table.largest
            && row.min_seqno.get() <= row.max_seqno.get()
            && row.max_seqno.get() <= self.header.last_seqno.get()
            && row.file_number.get() < self.header.next_file_number.get();
        if possible { Ok(()) } else { Err(TABLE.broken(at)) }
    }
}

impl<'a> TableView<'a> {
    /// The table of a row of the manifest `bytes`.
    fn of(row: &'a TableRow, bytes: &'a [u8]) -> Self {
        let keys = bytes.get(to_usize(row.keys_offset.get())..).unwrap_or_default();
        let smallest_len = usize::from(row.smallest_len.get());
        let (smallest, keys) = keys.split_at_checked(smallest_len).unwrap_or_default();
        let largest = keys.get(..usize::from(row.largest_len.get())).unwrap_or_default();
        Self { row, smallest, largest }
    }

    /// Whether a table may stand right before another one.
    fn comes_before(&self, next: &Self) -> bool {
        let same_run = self.row.tree_id == next.row.tree_id
            && self.row.level == next.row.level
            && self.row.level.get() != 0;
        let disjoint = !same_run || self.largest < next.smallest;
        disjoint && self.place() < next.place()
    }

    /// Its place among the rows.
    fn place(&self) -> Place<'a> {
        let row = self.row;
        let (level, max_seqno) = (row.level.get(), row.max_seqno.get());
        place(row.tree_id.get(), level, max_seqno, row.file_number.get(), self.smallest)
    }
}

/// Parses the header of a whole file.
fn parse_header(bytes: &[u8]) -> Result<&ManifestHeader, FrameError> {
    let Ok((header, body)) = ManifestHeader::ref_from_prefix(bytes) else {
        return Err(HEADER_LEN.found(0, HEADER_SIZE as u64, bytes.len() as u64).into());
    };
    if header.preamble.magic != MAGIC {
        return Err(HEADER_MAGIC.broken(0).into());
    }
    if !matches(header.checked_bytes(), 0, header.checksum.get()) {
        return Err(CHECKSUM.broken(CHECKSUM_OFFSET as u64).into());
    }
    header.preamble.check_version()?;
    if header.reserved != [0; 24] {
        return Err(RESERVED.broken(88).into());
    }
    if header.tree_count.get() != 1 {
        return Err(TREE.found(28, 1, header.tree_count.get().into()).into());
    }
    if header.file_len.get() != bytes.len() as u64 {
        return Err(FILE_LEN.found(32, header.file_len.get(), bytes.len() as u64).into());
    }
    let is_right = matches(body, 0, header.body_checksum.get());
    if !mutant!(TrustManifest, true, else is_right) {
        return Err(BODY_CHECKSUM.broken(112).into());
    }
    Ok(header)
}

/// The rows of a whole file, and what follows them.
fn parse_rows<'a>(bytes: &'a [u8], header: &ManifestHeader) -> Option<(&'a [TableRow], &'a [u8])> {
    let count = to_usize(header.table_count.get().into());
    <[TableRow]>::ref_from_prefix_with_elems(bytes.get(HEADER_SIZE..)?, count).ok()
}

/// An offset as an index; one that no slice can have stays out of bounds.
fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;
    use zerocopy::little_endian::{U16, U32, U64};

    use super::*;
    use crate::format::checksum::checksum;
    use crate::format::manifest::TableRecord;
    use crate::format::preamble::Unsupported;

    /// Two tables in level 0, two in level 1.
    fn example() -> Vec<u8> {
        let table = |level, file_number, smallest: &str, largest: &str| TableRecord {
            level,
            file_number,
            file_id: file_number * 1000,
            file_len: 8192,
            checksum: 7,
            row_count: 3,
            min_seqno: file_number,
            max_seqno: file_number + 2,
            smallest: smallest.into(),
            largest: largest.into(),
            ..TableRecord::default()
        };
        let data = ManifestData {
            manifest_number: 42,
            database_id: 1,
            hash_seed: 2,
            next_file_number: 60,
            last_seqno: 55,
            oldest_log: 51,
            merge_operator: Some("counter".into()),
            tables: vec![
                table(0, 53, "b", "y"),
                table(0, 50, "a", "z"),
                table(1, 30, "", "kiwi"),
                table(1, 31, "lemon", "plum"),
            ],
        };
        data.encode()
    }

    /// Makes the checksums right again, as an attacker would.
    fn reseal(bytes: &mut [u8]) {
        let body = checksum(&bytes[128..], 0);
        bytes[112..120].copy_from_slice(&body.to_le_bytes());
        let header = checksum(&bytes[..120], 0);
        bytes[120..128].copy_from_slice(&header.to_le_bytes());
    }

    fn walk(bytes: &[u8]) -> Result<(), FrameError> {
        let view = ManifestView::parse(bytes)?;
        for table in view.tables() {
            assert!(table.smallest <= table.largest);
        }
        Ok(view.to_data().map(|_| ())?)
    }

    /// The number of the rule that the bytes break, and where.
    #[track_caller]
    fn broken(bytes: &[u8]) -> Option<(&'static str, u64)> {
        match walk(bytes) {
            Ok(()) => None,
            Err(FrameError::Broken(error)) => Some((error.rule().id, error.at())),
            Err(FrameError::Unsupported(unsupported)) => panic!("{unsupported}"),
        }
    }

    fn changed(change: impl FnOnce(&mut ManifestHeader, &mut [TableRow])) -> Vec<u8> {
        let mut bytes = example();
        let (header, rest) = ManifestHeader::mut_from_prefix(&mut bytes).unwrap();
        let (rows, _) = <[TableRow]>::mut_from_prefix_with_elems(rest, 4).unwrap();
        change(header, rows);
        reseal(&mut bytes);
        bytes
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ManifestHeader, &mut [TableRow]), want: Option<(&str, u64)>) {
        assert_eq!(broken(&changed(change)), want);
    }

    #[test]
    fn a_manifest_says_what_it_was_made_of() {
        let bytes = example();
        let view = ManifestView::parse(&bytes).unwrap();
        assert_eq!(view.header().manifest_number.get(), 42);
        assert_eq!(view.merge_operator(), Some("counter"));
        assert_eq!(view.check_number(42), Ok(()));
        assert_eq!(view.check_number(43).unwrap_err().rule().id, "M14");
        let tables: Vec<_> = view
            .tables()
            .map(|table| (table.row.file_number.get(), table.smallest, table.largest))
            .collect();
        let want: [(u64, &[u8], &[u8]); 4] =
            [(53, b"b", b"y"), (50, b"a", b"z"), (30, b"", b"kiwi"), (31, b"lemon", b"plum")];
        assert_eq!(tables, want);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = example();
        for len in 0..bytes.len() {
            assert!(broken(&bytes[..len]).is_some(), "{len} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_as_damage() {
        let bytes = example();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(broken(&bytes).is_some(), "bit {bit}");
        }
    }

    #[test]
    fn appended_bytes_are_refused() {
        let mut bytes = example();
        bytes.push(0);
        assert_eq!(broken(&bytes), Some(("M5", 32)));
    }

    #[test]
    fn with_right_checksums_every_change_is_read_or_refused() {
        let original = example();
        for at in 0..original.len() {
            for mask in [0x01, 0x80, 0xFF] {
                let mut bytes = original.clone();
                bytes[at] ^= mask;
                reseal(&mut bytes);
                let _ = walk(&bytes);
            }
        }
        for len in 128..original.len() {
            let mut bytes = original[..len].to_vec();
            bytes[32..40].copy_from_slice(&(len as u64).to_le_bytes());
            reseal(&mut bytes);
            walk(&bytes).unwrap_err();
        }
    }

    #[test]
    fn each_broken_rule_of_the_header_is_named() {
        check(|_, _| (), None);
        check(|h, _| h.preamble.magic[7] = 2, Some(("M2", 0)));
        check(|h, _| h.preamble.features_optional = U32::new(2), None);
        check(|h, _| h.reserved[23] = 1, Some(("M4", 88)));
        check(|h, _| h.tree_count = U32::new(0), Some(("M10", 28)));
        check(|h, _| h.tree_count = U32::new(2), Some(("M10", 28)));
        check(|h, _| h.file_len += 1, Some(("M5", 32)));
        check(|h, _| h.table_count = U32::new(u32::MAX), Some(("M7", 128)));
        check(|h, _| h.operator_len = U32::new(u32::MAX), Some(("M7", 512)));
        check(|h, _| h.table_count = U32::new(3), Some(("M9", 192)));
        check(|h, _| h.operator_len += 1, Some(("M9", 192)));
        check(|h, _| h.operator_len -= 1, Some(("M9", 192)));
        check(|h, _| h.last_seqno = U64::new(54), Some(("M11", 128)));
        check(|h, _| h.next_file_number = U64::new(53), Some(("M11", 128)));
    }

    #[test]
    fn a_manifest_of_the_future_is_not_called_damaged() {
        let unsupported = |bytes: &[u8]| match walk(bytes) {
            Err(FrameError::Unsupported(unsupported)) => unsupported,
            other => panic!("{other:?}"),
        };
        let bytes = changed(|h, _| h.preamble.format_major = U16::new(2));
        assert_eq!(unsupported(&bytes), Unsupported::Major(2));
        let bytes = changed(|h, _| h.preamble.features_required = U32::new(6));
        assert_eq!(unsupported(&bytes), Unsupported::Feature(1));
    }

    #[test]
    fn the_name_of_the_merge_operator_is_utf_8() {
        let mut bytes = example();
        bytes[512] = 0xFF;
        reseal(&mut bytes);
        assert_eq!(broken(&bytes), Some(("M8", 512)));
    }

    #[test]
    fn each_broken_rule_of_a_row_is_named() {
        check(|_, r| r[0].tree_id = U32::new(1), Some(("M10", 128)));
        check(|_, r| r[3].level = U32::new(63), None);
        check(|_, r| r[3].level = U32::new(64), Some(("M10", 416)));
        check(|_, r| r[1].reserved[3] = 1, Some(("M4", 316)));
        check(|_, r| r[1].range_tombstone_count = U64::new(u64::MAX), None);
        check(|_, r| r[1].row_count = U64::ZERO, Some(("M11", 224)));
        check(|_, r| r[1].min_seqno = U64::new(53), Some(("M11", 224)));
        check(|_, r| r[2].keys_offset += 1, Some(("M9", 384)));
        check(|_, r| r[2].keys_offset = U64::new(u64::MAX), Some(("M9", 384)));
        check(|_, r| r[3].largest_len = U16::new(u16::MAX), Some(("M9", 488)));
        check(|_, r| r[3].largest_len -= 1, Some(("M9", 535)));
        check(|_, r| r.swap(0, 1), Some(("M9", 192)));
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        check(|_, r| r[0].max_seqno = U64::new(51), Some(("M11", 128))); // below its min_seqno
        check(
            |_, r| {
                r[0].min_seqno = U64::new(1);
                r[0].max_seqno = U64::new(51); // older than the table behind it
            },
            Some(("M12", 224)),
        );
        check(|_, r| r[1].level = U32::new(2), Some(("M12", 320)));
        // Key ranges of one level that touch: "kiwi" and "lemo", then "" and "kiwilemon".
        check(|_, r| r[1].level = U32::new(1), Some(("M12", 320)));
        check(
            |_, r| {
                r[2].largest_len = U16::new(9);
                r[3].keys_offset += 5;
                r[3].smallest_len = U16::new(2);
                r[3].largest_len = U16::new(2);
            },
            None,
        );
    }

    #[test]
    fn ranges_of_a_deeper_level_must_not_share_a_key() {
        let table = |file_number, smallest: &str, largest: &str| TableRecord {
            level: 1,
            file_number,
            row_count: 1,
            smallest: smallest.into(),
            largest: largest.into(),
            ..TableRecord::default()
        };
        for (largest, want) in [("k", None), ("l", Some("M12")), ("m", Some("M12"))] {
            let tables = vec![table(1, "a", largest), table(2, "l", "z")];
            let data = ManifestData { next_file_number: 9, tables, ..ManifestData::default() };
            assert_eq!(broken(&data.encode()).map(|(rule, _)| rule), want, "{largest}");
        }
    }

    #[test]
    fn a_table_that_stands_twice_is_refused() {
        check(|_, r| r[3].file_number = U64::new(30), Some(("M13", 416)));
    }

    #[test]
    fn the_row_of_a_table_borrows_from_the_file() {
        let bytes = example();
        let range = bytes.as_ptr_range();
        for table in ManifestView::parse(&bytes).unwrap().tables() {
            assert!(range.contains(&table.row.as_bytes().as_ptr()));
            assert!(table.largest.is_empty() || range.contains(&table.largest.as_ptr()));
        }
    }
}
