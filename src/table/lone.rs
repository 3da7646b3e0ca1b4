//! A lone table: one that was written outside of any database, to be taken into one.
//!
//! It holds puts that never expire, one a key, all with the seqno 0. Whoever takes it in gives its
//! rows their seqno, and so writes them anew.
//!
//! Spec: `format-spec/03-table.md`. I/O: through a `Region`. Unsafe: none.

use std::path::Path;

use super::reader::Table;
use super::settings::LONE_DATABASE;
use crate::error::{Error, Result};
use crate::format::row::Row;
use crate::format::table_file::{KEY_RANGE, Properties, REGION_PROPERTIES};
use crate::options::ChecksumPolicy;
use crate::storage::Region;

/// A lone table that is open; of its rows nothing was read yet.
#[derive(Debug)]
pub(crate) struct LoneTable {
    table: Table,
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

impl LoneTable {
    /// Opens the lone table in `region`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if it is a table of another kind; else as [`Table::open`].
    pub(crate) fn open(region: Region) -> Result<Self> {
        let table = Table::open(region, ChecksumPolicy::Once)?;
        let footer = &table.frame.footer;
        let (row_count, max_seqno) = (footer.row_count.get(), footer.max_seqno.get());
        let (is_lone, smallest, largest) = table.with_properties(|properties| {
            let Properties { header, smallest_key, largest_key, .. } = properties;
            let others = [&header.delete_count, &header.merge_count, &header.expiring_count];
            let is_lone = header.database_id.get() == LONE_DATABASE
                && header.key_count.get() == row_count
                && header.range_tombstone_count.get() == 0
                && others.iter().all(|count| count.get() == 0);
            (is_lone && max_seqno == 0, smallest_key.to_vec(), largest_key.to_vec())
        })?;
        if !is_lone {
            return Err(Error::invalid(format!(
                "{} is a table that no TableWriter wrote",
                table.region.path().display()
            )));
        }
        Ok(Self { table, smallest, largest })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.table.region.path()
    }

    /// The first key, as the table says.
    pub(crate) fn smallest(&self) -> &[u8] {
        &self.smallest
    }

    /// The last key, as the table says.
    pub(crate) fn largest(&self) -> &[u8] {
        &self.largest
    }

    /// How many rows there are, as the table says.
    pub(crate) fn row_count(&self) -> u64 {
        self.table.frame.footer.row_count.get()
    }

    /// Gives every row in order, the first one not below [`smallest`](Self::smallest). If this returns
    /// `Ok`, what was given is all that the table says it holds.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for whatever of the file is not as it was written; what `take` gives.
    pub(crate) fn read_all(&self, mut take: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let mut is_first = true;
        self.table.read_all(|row| {
            // A last key that is not `largest` is found at the end, before another table's turn.
            if std::mem::take(&mut is_first) && row.key != self.smallest {
                let properties = self.table.frame.region(REGION_PROPERTIES);
                let at = properties.map_or(0, |entry| entry.offset.get());
                return Err(self.table.corrupt(at, KEY_RANGE.broken(0)));
            }
            take(row)
        })
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the tables of these tests are small")]
mod tests {
    use zerocopy::IntoBytes;
    use zerocopy::little_endian::U64;

    use super::*;
    use crate::format::checksum::checksum;
    use crate::format::file_name::FileName;
    use crate::format::range_tombstone::RangeTombstone;
    use crate::format::row::Kind;
    use crate::format::table_file::FOOTER_LEN;
    use crate::options::{FilterSize, ReadMode};
    use crate::storage::{SimDisk, Storage};
    use crate::table::{TableSettings, TableWriter};

    const FILE_ID: u64 = 0xF11E;

    fn written(database_id: u64, rows: &[Row<'_>], range: Option<RangeTombstone<'_>>) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_root().unwrap();
        let filter = FilterSize::BitsPerKey(10);
        let (block_size, hash_seed, operator) = (1 << 10, 9, String::new());
        let settings = TableSettings {
            block_size,
            filter,
            database_id,
            hash_seed,
            operator,
            features_optional: 0,
        };
        let mut writer = TableWriter::create(&disk, &settings, 1, 2, FILE_ID).unwrap();
        writer.set_range_tombstones(range);
        for row in rows {
            writer.add(&disk, row).unwrap();
        }
        writer.finish(&disk).unwrap();
        disk
    }

    fn open(disk: &SimDisk) -> Result<LoneTable> {
        LoneTable::open(disk.open_region(FileName::Table(1), ReadMode::Heap)?)
    }

    fn put(key: &'static str) -> Row<'static> {
        let (key, value) = (key.as_bytes(), b"value");
        Row { key, seqno: 0, kind: Kind::Put, expires_at: 0, value }
    }

    #[test]
    fn a_table_that_could_be_of_a_database_is_no_lone_one() {
        let good = [put("a"), put("b")];
        let table = open(&written(LONE_DATABASE, &good, None)).unwrap();
        assert_eq!(
            (table.smallest(), table.largest(), table.row_count()),
            (&b"a"[..], &b"b"[..], 2)
        );
        let with = |row| [put("a"), row];
        let range = RangeTombstone { start: b"x", end: None, seqno: 7 };
        let others = [
            written(1, &good, None),
            written(LONE_DATABASE, &good, Some(range)),
            written(LONE_DATABASE, &with(Row { seqno: 1, ..put("b") }), None),
            written(LONE_DATABASE, &with(Row { expires_at: 1, ..put("b") }), None),
            written(LONE_DATABASE, &with(Row { kind: Kind::Merge, ..put("b") }), None),
            written(LONE_DATABASE, &with(Row::tombstone(b"b", 0)), None),
            written(LONE_DATABASE, &[Row { seqno: 1, ..put("a") }, put("a")], None),
        ];
        for (disk, number) in others.iter().zip(0..) {
            let opened = open(disk);
            assert!(matches!(opened, Err(Error::InvalidArgument { .. })), "{number}: {opened:?}");
        }
    }

    /// Changes a byte of the properties under right checksums, and reads all rows.
    #[track_caller]
    fn check_lie(at: usize, flip: u8, rows_before: usize) {
        let disk = written(LONE_DATABASE, &[put("b"), put("d"), put("f")], None);
        let entry = *open(&disk).unwrap().table.frame.region(REGION_PROPERTIES).unwrap();
        let mut bytes = disk.read_file(FileName::Table(1)).unwrap();
        let (start, len) = (entry.offset.get() as usize, entry.len.get() as usize);
        bytes[start + at] ^= flip;
        let sum = U64::new(checksum(&bytes[start..start + len], FILE_ID ^ start as u64));
        let footer = bytes.len() - FOOTER_LEN;
        let place = bytes[footer..].windows(8).position(|eight| eight == entry.checksum.as_bytes());
        let place = footer + place.unwrap();
        bytes[place..place + 8].copy_from_slice(sum.as_bytes());
        let end = bytes.len() - 8;
        let sum = U64::new(checksum(&bytes[footer..end], FILE_ID));
        bytes[end..].copy_from_slice(sum.as_bytes());
        disk.write_file(FileName::Table(1), bytes);

        let mut count = 0;
        let read = open(&disk).unwrap().read_all(|_| {
            count += 1;
            Ok(())
        });
        match read {
            Err(Error::Corrupt { offset, .. }) => assert_eq!(offset, entry.offset.get()),
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(count, rows_before, "byte {at}");
    }

    #[test]
    fn a_table_that_lies_about_its_keys_is_found_before_it_does_harm() {
        // The smallest key, before the first row is given.
        check_lie(128, b'b' ^ b'a', 0);
        check_lie(128, b'b' ^ b'c', 0);
        // The largest, when all rows were.
        check_lie(129, b'f' ^ b'e', 3);
        check_lie(129, b'f' ^ b'g', 3);
        // The sum of the bytes of keys.
        check_lie(56, 1, 3);
    }
}
