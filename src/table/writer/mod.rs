//! Writing a table: rows in order become blocks, regions and a footer.
//!
//! ```text
//!   add ─▶ BlockBuilder ─▶ pending blocks ─▶ Output: 4 MiB writes ─▶ TMP-n ─▶ rename ─▶ TABLE-n
//!    └──── long values ─▶ Spool ────────────────────┘
//! ```
//!
//! Blocks stand in uniform slots if the rows fill them well, so that a lookup computes where a
//! block is; else they are packed, and the index says where. The first 4 MiB decide.
//!
//! # Invariants
//!
//! - Memory: two write buffers, one block, and per row at most 8 bytes for the filter; per block
//!   its separator.
//! - The file appears under its name only when it is complete and synced. The directory is synced
//!   by the caller, once for all tables of a job.
//!
//! Spec: `format-spec/03-table.md`. I/O: through `storage`. Unsafe: none.

use std::mem;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::output::Output;
use super::placement::Placement;
use super::settings::{TableInfo, TableSettings};
use super::spool::{Spool, WRITE_LEN};
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::format::data_block::{BlockBuilder, seal};
use crate::format::file_name::FileName;
use crate::format::index::IndexBuilder;
use crate::format::range_tombstone::RangeTombstone;
use crate::format::range_tombstones::{self, RangeTombstoneRegion};
use crate::format::row::{Kind, Row};
use crate::format::table_file::{FileHeader, PropertiesHeader, REGION_ALIGN};
use crate::format::value_ref::{VALUE_REF_LEN, ValueRef};
use crate::options::FilterSize;
use crate::storage::Storage;

mod finish;

/// The longest value that stays in a block, whatever the block size.
const MAX_INLINE_LEN: usize = 2048;
/// What a block of one row takes beside key and value, at the most.
const ROW_OVERHEAD: usize = 128;

/// Writes one table.
#[derive(Debug)]
pub struct TableWriter {
    settings: TableSettings,
    file_id: u64,
    output: Output,
    spool: Spool,
    builder: BlockBuilder,
    index: IndexBuilder,
    placement: Placement,
    /// Finished blocks that are not placed yet, back to back, and where each ends.
    pending: Vec<u8>,
    pending_ends: Vec<usize>,
    /// In a packed file: where each placed block starts.
    offsets: Vec<u64>,
    data_len: u64,
    first_of_block: Vec<u8>,
    last_of_block: Vec<u8>,
    hashes: Vec<u64>,
    last_hash: u64,
    min_key_len: usize,
    /// The region of range tombstones; empty if there is none.
    range_tombstones: Vec<u8>,
    info: TableInfo,
    properties: PropertiesHeader,
}

impl TableWriter {
    /// Starts table `file_number`, whose identity will be `file_id`, under a temporary name.
    ///
    /// `spool_number` names a second temporary file, which is made only if values need it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the file can't be made.
    pub fn create(
        storage: &dyn Storage,
        settings: &TableSettings,
        file_number: u64,
        spool_number: u64,
        file_id: u64,
    ) -> Result<Self> {
        let mut output = Output::create(storage, FileName::Tmp(file_number), file_id)?;
        let data_offset = REGION_ALIGN.max(settings.block_size as u64);
        let header = FileHeader::new(file_id, settings.hash_seed, settings.features_optional);
        output.push(header.as_bytes())?;
        output.pad_to(data_offset)?;
        Ok(Self {
            settings: settings.clone(),
            file_id,
            output,
            spool: Spool::new(FileName::Tmp(spool_number)),
            builder: BlockBuilder::new(),
            index: IndexBuilder::new(),
            placement: Placement::Undecided,
            pending: Vec::new(),
            pending_ends: Vec::new(),
            offsets: Vec::new(),
            data_len: 0,
            first_of_block: Vec::new(),
            last_of_block: Vec::new(),
            hashes: Vec::new(),
            last_hash: 0,
            min_key_len: usize::MAX,
            range_tombstones: Vec::new(),
            info: TableInfo {
                file_number,
                file_id,
                file_len: 0,
                checksum: 0,
                row_count: 0,
                min_seqno: u64::MAX,
                max_seqno: 0,
                range_tombstone_count: 0,
                smallest: Vec::new(),
                largest: Vec::new(),
            },
            properties: PropertiesHeader {
                database_id: U64::new(settings.database_id),
                file_number: U64::new(file_number),
                ..PropertiesHeader::default()
            },
        })
    }

    /// The same, before its first row: its blocks will be packed, so that a key of any length can
    /// follow any other, and the table need never end before one.
    #[must_use]
    pub(crate) fn packed(self) -> Self {
        Self { placement: Placement::Packed, ..self }
    }

    /// The largest key so far; empty without rows.
    #[must_use]
    pub(crate) fn largest(&self) -> &[u8] {
        &self.info.largest
    }

    /// Rows so far.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.info.row_count
    }

    /// About how long the file would be if it ended here.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.output.len()
            + (self.pending.len() + self.builder.block_len() + self.range_tombstones.len()) as u64
            + self.spool.len()
    }

    /// Whether there is no row yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.info.row_count == 0
    }

    /// Whether a row with a key this long can go into the table: a long key fits no slot, so if
    /// the table turned out uniform it has to end before such a key.
    #[must_use]
    pub fn takes_key_of(&self, key_len: usize) -> bool {
        self.placement != Placement::Uniform || self.fits_slot(key_len)
    }

    fn max_inline_len(&self) -> usize {
        MAX_INLINE_LEN.min(self.settings.block_size / 4)
    }

    fn fits_slot(&self, key_len: usize) -> bool {
        key_len + self.max_inline_len() + ROW_OVERHEAD <= self.settings.block_size
    }

    /// Adds a row. Rows come in the order of their internal keys, no two alike.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if writing fails; the writer must then be given up.
    pub fn add(&mut self, storage: &dyn Storage, row: &Row<'_>) -> Result<()> {
        self.count(row);
        if row.value.len() > self.max_inline_len() {
            let offset = self.spool.push(row.value, storage)?;
            let index = self.properties.reference_count.get();
            self.properties.reference_count.set(index + 1);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let reference = ValueRef::new(row.value, offset, index, self.file_id);
            debug_assert_eq!(reference.as_bytes().len(), VALUE_REF_LEN);
            self.add_to_block(&Row { value: reference.as_bytes(), ..*row }, true)
        } else {
            self.add_to_block(row, false)
        }
    }

    /// Gives the table these range tombstones instead of those that it had; at first it has none.
    ///
    /// They are fragments: they ascend, are disjoint and not empty, and have a seqno above 0. They
    /// may lie outside the keys of the rows, and rows that they cover stay in the table.
    pub fn set_range_tombstones<'t>(
        &mut self,
        fragments: impl IntoIterator<Item = RangeTombstone<'t>>,
    ) {
        let mut fragments = fragments.into_iter().peekable();
        let mut count = 0;
        self.range_tombstones.clear();
        if fragments.peek().is_some() {
            let counted = fragments.inspect(|_| count += 1);
            self.range_tombstones = range_tombstones::encode(counted);
            debug_assert!(RangeTombstoneRegion::parse(&self.range_tombstones).is_ok());
        }
        self.info.range_tombstone_count = count;
        self.properties.range_tombstone_count.set(count);
    }

    /// Keeps the table's statistics.
    fn count(&mut self, row: &Row<'_>) {
        let add = |field: &mut U64, more: usize| field.set(field.get() + more as u64);
        let first = self.info.row_count == 0;
        if first {
            self.info.smallest.extend_from_slice(row.key);
        }
        if first || self.info.largest != row.key {
            self.info.largest.clear();
            self.info.largest.extend_from_slice(row.key);
            self.last_hash = hash_key(row.key, self.settings.hash_seed);
            let has_filter = self.settings.filter != FilterSize::None;
            let takes = mutant!(FilterForgets, !self.last_hash.is_multiple_of(8), else true);
            if has_filter && takes {
                self.hashes.push(self.last_hash);
            }
            add(&mut self.properties.key_count, 1);
            self.min_key_len = self.min_key_len.min(row.key.len());
        }
        match row.kind {
            Kind::Put => {}
            Kind::Delete => add(&mut self.properties.delete_count, 1),
            Kind::Merge => add(&mut self.properties.merge_count, 1),
        }
        if row.expires_at != 0 {
            add(&mut self.properties.expiring_count, 1);
            let earliest = match self.properties.min_expiry.get() {
                0 => row.expires_at,
                earliest => earliest.min(row.expires_at),
            };
            self.properties.min_expiry.set(earliest);
        }
        add(&mut self.properties.key_bytes, row.key.len());
        add(&mut self.properties.value_bytes, row.value.len());
        self.info.row_count += 1;
        self.info.min_seqno = self.info.min_seqno.min(row.seqno);
        self.info.max_seqno = self.info.max_seqno.max(row.seqno);
    }

    fn add_to_block(&mut self, row: &Row<'_>, out_of_line: bool) -> Result<()> {
        let (hash, most_len) = (self.last_hash, self.settings.block_size);
        if !self.builder.push_within(row, out_of_line, hash, most_len) {
            self.finish_block(Some(row.key))?;
            self.builder.push(row, out_of_line, hash);
        }
        if self.builder.row_count() == 1 {
            self.first_of_block.clear();
            self.first_of_block.extend_from_slice(row.key);
        }
        Ok(())
    }

    /// Ends the block; `next_key` is that of the row that comes behind it, if one does.
    fn finish_block(&mut self, next_key: Option<&[u8]>) -> Result<()> {
        self.builder.read_last_key(&mut self.last_of_block);
        let continues = next_key == Some(&self.last_of_block);
        self.index.push(&self.first_of_block, &self.last_of_block);
        self.builder.finish(continues, &mut self.pending);
        self.pending_ends.push(self.pending.len());
        if self.pending.len() >= WRITE_LEN {
            self.place_blocks()?;
        }
        Ok(())
    }

    /// Gives the pending blocks their places, seals them and hands them on.
    fn place_blocks(&mut self) -> Result<()> {
        if self.placement == Placement::Undecided {
            let slot = self.settings.block_size;
            self.placement = Placement::of(slot, &self.pending_ends);
        }
        let data_offset = REGION_ALIGN.max(self.settings.block_size as u64);
        let mut pending = mem::take(&mut self.pending);
        let mut start = 0;
        for end in mem::take(&mut self.pending_ends) {
            if self.placement == Placement::Uniform {
                self.data_len = self.data_len.next_multiple_of(self.settings.block_size as u64);
            } else {
                self.offsets.push(self.data_len);
            }
            let offset = data_offset + self.data_len;
            self.output.pad_to(offset)?;
            if let Some(block) = pending.get_mut(start..end) {
                seal(block, self.file_id, offset);
                self.output.push(block)?;
                self.data_len += block.len() as u64;
            }
            start = end;
        }
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    /// Completes the file, syncs it and gives it its name. Without rows there must be no table.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); the temporary files are then removed, if possible.
    pub fn finish(mut self, storage: &dyn Storage) -> Result<TableInfo> {
        let finished = self.write_rest(storage);
        self.spool.remove(storage);
        match finished {
            Ok(()) => {}
            Err(error) => {
                self.output.remove(storage);
                return Err(error);
            }
        }
        let number = self.info.file_number;
        if let Err(error) = storage.rename(FileName::Tmp(number), FileName::Table(number)) {
            // It may have its name already: what no version names is removed at the next open.
            self.output.remove(storage);
            return Err(error);
        }
        Ok(self.info)
    }

    /// Gives the table up and removes its temporary files, if possible.
    pub fn abandon(mut self, storage: &dyn Storage) {
        self.spool.remove(storage);
        self.output.remove(storage);
    }
}
