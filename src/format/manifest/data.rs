//! The manifest on the heap: what a version is made of, and the file that says so.
//!
//! # Invariants
//!
//! - Two equal sets of tables give the same bytes, in whatever order they are listed.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: none. Unsafe: none.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::{HEADER_SIZE, MAGIC, ManifestHeader, Place, TableRow, TableView, place, row_offset};
use crate::format::checksum::checksum;
use crate::format::preamble::Preamble;

/// Everything that a manifest says, on the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestData {
    /// The number in the file's name.
    pub manifest_number: u64,
    /// The database's identity.
    pub database_id: u64,
    /// The seed of the hashes of keys, in every table that this database writes.
    pub hash_seed: u64,
    /// Every file number in use is smaller.
    pub next_file_number: u64,
    /// The largest seqno in the tables, or larger.
    pub last_seqno: u64,
    /// Logs with smaller numbers are obsolete.
    pub oldest_log: u64,
    /// The name of the merge operator whose operands the database holds; never empty.
    pub merge_operator: Option<String>,
    /// The tables, in any order; [`ManifestView::to_data`](super::ManifestView::to_data) gives
    /// them in the order of the rows.
    pub tables: Vec<TableRecord>,
}

/// What a manifest says about one table, on the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRecord {
    /// The tree that it belongs to: 0.
    pub tree_id: u32,
    /// The level that it belongs to.
    pub level: u32,
    /// The number in the file's name.
    pub file_number: u64,
    /// The identity in the file's header.
    pub file_id: u64,
    /// The file's length.
    pub file_len: u64,
    /// The checksum of the whole file.
    pub checksum: u64,
    /// How many rows it holds, tombstones and merge operands included.
    pub row_count: u64,
    /// The smallest seqno in it.
    pub min_seqno: u64,
    /// The largest seqno in it.
    pub max_seqno: u64,
    /// How many range tombstones it holds, as fragments; seqnos and keys here are those of rows.
    pub range_tombstone_count: u64,
    /// No range tombstone up to this seqno covers a row of it.
    pub cleared_seqno: u64,
    /// Its smallest user key.
    pub smallest: Vec<u8>,
    /// Its largest user key.
    pub largest: Vec<u8>,
}

impl ManifestData {
    /// The file that says this.
    ///
    /// What breaks a rule, such as a key of more than 65,535 bytes, gives bytes that
    /// [`ManifestView::parse`](super::ManifestView::parse) refuses; parse them before you publish them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut tables: Vec<&TableRecord> = self.tables.iter().collect();
        tables.sort_by(|a, b| a.place().cmp(&b.place()));
        let operator = self.merge_operator.as_deref().unwrap_or_default();

        let mut body = Vec::new();
        let mut keys_offset = row_offset(tables.len()) + operator.len() as u64;
        for table in &tables {
            body.extend_from_slice(table.row(keys_offset).as_bytes());
            keys_offset += (table.smallest.len() + table.largest.len()) as u64;
        }
        body.extend_from_slice(operator.as_bytes());
        for table in &tables {
            body.extend_from_slice(&table.smallest);
            body.extend_from_slice(&table.largest);
        }

        let mut header = self.header(tables.len(), operator.len());
        header.file_len = ((HEADER_SIZE + body.len()) as u64).into();
        header.body_checksum = checksum(&body, 0).into();
        header.checksum = checksum(header.checked_bytes(), 0).into();
        let mut bytes = header.as_bytes().to_vec();
        bytes.append(&mut body);
        bytes
    }

    /// The header, but for what depends on the body.
    fn header(&self, table_count: usize, operator_len: usize) -> ManifestHeader {
        ManifestHeader {
            preamble: Preamble::new(MAGIC),
            table_count: saturated(table_count).into(),
            operator_len: saturated(operator_len).into(),
            tree_count: U32::new(1),
            file_len: U64::ZERO,
            manifest_number: self.manifest_number.into(),
            database_id: self.database_id.into(),
            hash_seed: self.hash_seed.into(),
            next_file_number: self.next_file_number.into(),
            last_seqno: self.last_seqno.into(),
            oldest_log: self.oldest_log.into(),
            reserved: [0; 24],
            body_checksum: U64::ZERO,
            checksum: U64::ZERO,
        }
    }
}

impl TableRecord {
    /// Copies a table out of a manifest.
    pub(super) fn of(table: &TableView<'_>) -> Self {
        let row = table.row;
        Self {
            tree_id: row.tree_id.get(),
            level: row.level.get(),
            file_number: row.file_number.get(),
            file_id: row.file_id.get(),
            file_len: row.file_len.get(),
            checksum: row.checksum.get(),
            row_count: row.row_count.get(),
            min_seqno: row.min_seqno.get(),
            max_seqno: row.max_seqno.get(),
            range_tombstone_count: row.range_tombstone_count.get(),
            cleared_seqno: row.cleared_seqno.get(),
            smallest: table.smallest.to_vec(),
            largest: table.largest.to_vec(),
        }
    }

    /// The row of a table whose keys lie at `keys_offset`.
    fn row(&self, keys_offset: u64) -> TableRow {
        let key_len = |key: &[u8]| U16::new(u16::try_from(key.len()).unwrap_or(u16::MAX));
        TableRow {
            tree_id: self.tree_id.into(),
            level: self.level.into(),
            file_number: self.file_number.into(),
            file_id: self.file_id.into(),
            file_len: self.file_len.into(),
            checksum: self.checksum.into(),
            row_count: self.row_count.into(),
            min_seqno: self.min_seqno.into(),
            max_seqno: self.max_seqno.into(),
            keys_offset: keys_offset.into(),
            smallest_len: key_len(&self.smallest),
            largest_len: key_len(&self.largest),
            range_tombstone_count: self.range_tombstone_count.into(),
            cleared_seqno: self.cleared_seqno.into(),
            reserved: [0; 4],
        }
    }

    /// Its place among the rows.
    fn place(&self) -> Place<'_> {
        place(self.tree_id, self.level, self.max_seqno, self.file_number, &self.smallest)
    }
}

/// A count as it is stored; one that is too large becomes one that the file belies.
fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::manifest::ManifestView;
    use crate::format::preamble::FrameError;

    fn table(level: u32, file_number: u64, keys: [&str; 2]) -> TableRecord {
        TableRecord {
            level,
            file_number,
            row_count: 1,
            max_seqno: file_number,
            smallest: keys[0].into(),
            largest: keys[1].into(),
            ..TableRecord::default()
        }
    }

    fn manifest(tables: Vec<TableRecord>) -> ManifestData {
        ManifestData { next_file_number: 100, last_seqno: 100, tables, ..ManifestData::default() }
    }

    #[track_caller]
    fn round_trip(data: &ManifestData) -> ManifestData {
        let bytes = data.encode();
        let again = ManifestView::parse(&bytes).unwrap().to_data().unwrap();
        assert_eq!(again.encode(), bytes, "one content has one encoding");
        again
    }

    #[test]
    fn every_field_has_its_place() {
        let data = ManifestData {
            manifest_number: 0x11,
            database_id: 0x22,
            hash_seed: 0x33,
            next_file_number: 0x44,
            last_seqno: 0x55,
            oldest_log: 0x66,
            merge_operator: Some("op".into()),
            tables: vec![TableRecord {
                tree_id: 0,
                level: 3,
                file_number: 0x07,
                file_id: 0x08,
                file_len: 0x09,
                checksum: 0x0A,
                row_count: 0x0B,
                min_seqno: 0x0C,
                max_seqno: 0x0D,
                range_tombstone_count: 0x0E,
                cleared_seqno: 0x0F,
                smallest: b"from".to_vec(),
                largest: b"to".to_vec(),
            }],
        };
        let bytes = data.encode();
        let len = 128 + 96 + 2 + 6;
        #[rustfmt::skip]
        let header = [
            &b"TINYMAN\x01"[..], &[1, 0], &[0, 0], &[0; 4], &[0; 4],
            &[1, 0, 0, 0], &[2, 0, 0, 0], &[1, 0, 0, 0], // tables, operator_len, trees
            &[len, 0, 0, 0, 0, 0, 0, 0],
            &[0x11, 0, 0, 0, 0, 0, 0, 0], &[0x22, 0, 0, 0, 0, 0, 0, 0],
            &[0x33, 0, 0, 0, 0, 0, 0, 0], &[0x44, 0, 0, 0, 0, 0, 0, 0],
            &[0x55, 0, 0, 0, 0, 0, 0, 0], &[0x66, 0, 0, 0, 0, 0, 0, 0],
            &[0; 24],
        ].concat();
        #[rustfmt::skip]
        let body = [
            &[0, 0, 0, 0][..], &[3, 0, 0, 0],
            &[7, 0, 0, 0, 0, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0],
            &[10, 0, 0, 0, 0, 0, 0, 0], &[11, 0, 0, 0, 0, 0, 0, 0], &[12, 0, 0, 0, 0, 0, 0, 0],
            &[13, 0, 0, 0, 0, 0, 0, 0], &[226, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0], &[2, 0], &[14, 0, 0, 0, 0, 0, 0, 0],
            &[15, 0, 0, 0, 0, 0, 0, 0], &[0; 4],
            b"opfromto",
        ].concat();
        assert_eq!(bytes.len(), usize::from(len));
        assert_eq!(bytes[..112], header);
        assert_eq!(bytes[128..], body);
        assert_eq!(bytes[112..120], checksum(&body, 0).to_le_bytes());
        assert_eq!(bytes[120..128], checksum(&bytes[..120], 0).to_le_bytes());
        assert_eq!(round_trip(&data), data);
    }

    #[test]
    fn rows_are_sorted_however_they_are_listed() {
        let sorted = vec![
            table(0, 9, ["a", "z"]), // the newest of level 0 first
            table(0, 4, ["c", "d"]),
            table(1, 5, ["a", "b"]), // deeper by key
            table(1, 6, ["c", "d"]),
            table(2, 3, ["a", "b"]),
        ];
        let mut reversed = sorted.clone();
        reversed.reverse();
        assert_eq!(manifest(reversed.clone()).encode(), manifest(sorted.clone()).encode());
        assert_eq!(round_trip(&manifest(reversed)).tables, sorted);
    }

    #[test]
    fn the_extremes_of_keys_and_names_come_back() {
        let long = "k".repeat(65_535);
        let cases = [
            manifest(vec![]),
            manifest(vec![table(0, 1, ["", ""])]),
            manifest(vec![table(1, 1, ["", ""]), table(1, 2, ["\0", &long])]),
            manifest(vec![table(63, 1, [&long, &long])]),
            ManifestData { merge_operator: Some("名前".into()), ..manifest(vec![]) },
        ];
        for data in cases {
            assert_eq!(round_trip(&data), data);
        }
    }

    #[test]
    fn what_has_no_encoding_gives_bytes_that_are_refused() {
        let too_long = "k".repeat(65_536);
        let bytes = manifest(vec![table(0, 1, ["", &too_long])]).encode();
        let error = ManifestView::parse(&bytes).unwrap_err();
        assert!(matches!(error, FrameError::Broken(error) if error.rule().id == "M9"));
    }

    proptest! {
        #[test]
        fn any_content_comes_back(
            keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..9), 0..20),
            level in 0..64_u32,
            numbers in any::<[u64; 4]>(),
            merge_operator in prop::option::of("[a-z]{1,9}"),
        ) {
            let keys: Vec<Vec<u8>> = keys.into_iter().collect();
            let mut tables: Vec<TableRecord> = keys
                .chunks_exact(2)
                .zip(1..)
                .map(|(keys, n)| TableRecord {
                    smallest: keys[0].clone(),
                    largest: keys[1].clone(),
                    ..table(level, n, ["", ""])
                })
                .collect();
            if level == 0 {
                tables.reverse();
            }
            let [manifest_number, database_id, hash_seed, oldest_log] = numbers;
            let data = ManifestData {
                manifest_number, database_id, hash_seed, oldest_log, merge_operator,
                ..manifest(tables)
            };
            prop_assert_eq!(round_trip(&data), data);
        }
    }
}
