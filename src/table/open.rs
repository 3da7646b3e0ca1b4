//! Opening a table: its frame, and where its regions are.
//!
//! Reads header, footer, properties, range tombstones and the first chunks of index and filter,
//! whatever the size of the file. Everything else is verified when it is first touched.
//!
//! Spec: `format-spec/03-table.md`. I/O: through a `Region`. Unsafe: none.

use bytes::Bytes;

use super::reader::Table;
use super::settings::TableInfo;
use super::verified::{ChunkedRegion, Verified};
use crate::error::{Error, Result};
use crate::format::checksum::matches;
use crate::format::error::FormatError;
use crate::format::filter::Filter;
use crate::format::index::{Index, IndexLayout};
use crate::format::range_tombstones::RangeTombstoneRegion;
use crate::format::table_file::{
    self, FOOTER_LEN, FrameError, HEADER_LEN, INGESTED, Properties, REGION_ALIGN, REGION_DATA,
    REGION_FILTER, REGION_INDEX, REGION_PROPERTIES, REGION_RANGE_TOMBSTONES, REGION_VALUES,
    RegionEntry, TableFile,
};
use crate::options::ChecksumPolicy;
use crate::storage::{Region, Slice};
use crate::sync::atomic::AtomicBool;

impl Table {
    /// Opens the table in `region`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::UnsupportedFormat`] naming the file; `Io` from reading.
    pub(crate) fn open(region: Region, policy: ChecksumPolicy) -> Result<Self> {
        let len = region.len();
        let broken = |at, error| region.corrupt(at, error);
        if len < 2 * REGION_ALIGN {
            return Err(broken(0, table_file::LEN.found(0, 2 * REGION_ALIGN, len)));
        }
        let head = region.read(0, HEADER_LEN)?;
        let tail = region.read(len - FOOTER_LEN as u64, FOOTER_LEN)?;
        let frame = TableFile::parse(&head, &tail, len).map_err(|error| match error {
            FrameError::Broken(error) => broken(0, error),
            FrameError::Unsupported(what) => Error::UnsupportedFormat {
                path: region.path().to_owned(),
                reason: what.to_string(),
            },
        })?;
        drop((head, tail));
        assemble(region, frame, policy)
    }

    /// What the table says of itself.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the properties are; `Io` from reading.
    pub(crate) fn with_properties<T>(&self, read: impl FnOnce(&Properties<'_>) -> T) -> Result<T> {
        self.opening().properties(read)
    }

    /// What a manifest says of the table, which has this number. O(file): sums up all of it.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the properties are; `Io` from reading.
    pub(crate) fn info(&self, file_number: u64) -> Result<TableInfo> {
        let keys = |properties: &Properties<'_>| {
            (properties.smallest_key.to_vec(), properties.largest_key.to_vec())
        };
        let (smallest, largest) = self.with_properties(keys)?;
        let footer = &self.frame.footer;
        Ok(TableInfo {
            file_number,
            file_id: self.file_id,
            file_len: self.region.len(),
            checksum: self.file_checksum()?,
            row_count: footer.row_count.get(),
            min_seqno: footer.min_seqno.get(),
            max_seqno: footer.max_seqno.get(),
            range_tombstone_count: self.range_tombstone_count(),
            smallest,
            largest,
        })
    }

    /// Whether an ingest wrote the table.
    pub(crate) fn is_ingested(&self) -> bool {
        self.frame.footer.features_optional.get() & INGESTED != 0
    }

    /// Checks the range tombstones anew, and that there are as many as the properties say.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if they break a rule; `Io` from reading.
    pub(super) fn verify_range_tombstones(&self) -> Result<()> {
        let opening = self.opening();
        let count = |properties: &Properties<'_>| properties.header.range_tombstone_count.get();
        let count = opening.properties(count)?;
        opening.range_tombstones(count).map(drop)
    }

    fn opening(&self) -> Opening<'_> {
        Opening { region: &self.region, frame: &self.frame, policy: self.policy }
    }
}

/// What is known while the regions are looked up.
struct Opening<'o> {
    region: &'o Region,
    frame: &'o TableFile,
    policy: ChecksumPolicy,
}

impl Opening<'_> {
    fn broken(&self, at: u64, error: FormatError) -> Error {
        self.region.corrupt(at, error)
    }

    fn file_id(&self) -> u64 {
        self.frame.header.file_id.get()
    }

    fn entry(&self, kind: u32) -> Result<&RegionEntry> {
        let missing = || self.broken(0, table_file::REGION_MISSING.found(0, u64::from(kind), 0));
        self.frame.region(kind).ok_or_else(missing)
    }

    /// The bytes of a region that is used as a whole: shared with the map, or read.
    fn load(&self, entry: &RegionEntry) -> Result<Bytes> {
        let len = usize::try_from(entry.stored_len()).unwrap_or(usize::MAX);
        Ok(match self.region.read(entry.offset.get(), len)? {
            Slice::Borrowed(bytes) => {
                self.region.share(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes))
            }
            Slice::Owned(bytes) => bytes,
        })
    }

    /// The same of a region that is verified when it is touched, so not read now if there is a map;
    /// but for one that is believed neither then nor later.
    fn load_lazily(&self, entry: &RegionEntry) -> Result<Bytes> {
        if self.region.is_guarded() && self.policy == ChecksumPolicy::Always {
            return self.load(entry);
        }
        let range = |bytes: &[u8]| {
            let start = usize::try_from(entry.offset.get()).ok()?;
            let end = start.checked_add(usize::try_from(entry.stored_len()).ok()?)?;
            self.region.share(bytes.get(start..end)?)
        };
        match self.region.bytes().and_then(range) {
            Some(bytes) => Ok(bytes),
            None => self.load(entry),
        }
    }

    fn properties<T>(&self, read: impl FnOnce(&Properties<'_>) -> T) -> Result<T> {
        let entry = self.entry(REGION_PROPERTIES)?;
        let bytes = self.load_checked(entry)?;
        let properties = Properties::parse(&bytes);
        let properties = properties.map_err(|error| self.broken(entry.offset.get(), error))?;
        Ok(read(&properties))
    }

    /// The bytes of a region whose checksum stands in the directory, verified.
    fn load_checked(&self, entry: &RegionEntry) -> Result<Bytes> {
        let bytes = self.load(entry)?;
        let offset = entry.offset.get();
        if matches(&bytes, self.file_id() ^ offset, entry.checksum.get()) {
            Ok(bytes)
        } else {
            Err(self.broken(offset, table_file::PROPERTIES_CHECKSUM.broken(0)))
        }
    }

    /// The region of range tombstones, verified and parsed; it must hold `count` of them.
    fn range_tombstones(&self, count: u64) -> Result<Option<Bytes>> {
        let (bytes, found) = match self.frame.region(REGION_RANGE_TOMBSTONES) {
            None => (None, 0),
            Some(entry) => {
                let bytes = self.load_checked(entry)?;
                let region = RangeTombstoneRegion::parse(&bytes);
                let region = region.map_err(|error| self.broken(entry.offset.get(), error))?;
                let found = region.len() as u64;
                (Some(bytes), found)
            }
        };
        if found != count {
            let at = self.entry(REGION_PROPERTIES)?.offset.get();
            return Err(self.broken(at, table_file::COUNTS.found(92, found, count)));
        }
        Ok(bytes)
    }

    fn chunked(&self, entry: &RegionEntry) -> Result<ChunkedRegion> {
        let bytes = self.load_lazily(entry)?;
        let payload_len = usize::try_from(entry.len.get()).unwrap_or(usize::MAX);
        let offset = entry.offset.get();
        Ok(ChunkedRegion::new(bytes, payload_len, self.file_id(), offset, self.policy))
    }

    /// Header, prefix and upper levels of the index are checked now, the rest as it is used.
    fn index(&self) -> Result<(ChunkedRegion, IndexLayout)> {
        let index = self.chunked(self.entry(REGION_INDEX)?)?;
        let broken = |error| self.broken(index.offset(), error);
        index.touch(0..64).map_err(broken)?;
        let layout = *Index::parse(index.payload()).map_err(broken)?.layout();
        index.touch(0..layout.heads_start()).map_err(broken)?;
        Ok((index, layout))
    }

    fn filter(&self) -> Result<Option<(ChunkedRegion, u32)>> {
        let Some(entry) = self.frame.region(REGION_FILTER) else { return Ok(None) };
        let filter = self.chunked(entry)?;
        let broken = |error| self.broken(filter.offset(), error);
        filter.touch(0..64).map_err(broken)?;
        let block_count = Filter::parse(filter.payload()).map_err(broken)?.block_count();
        Ok(Some((filter, block_count)))
    }
}

fn assemble(region: Region, frame: TableFile, policy: ChecksumPolicy) -> Result<Table> {
    let opening = Opening { region: &region, frame: &frame, policy };
    let counts = |properties: &Properties<'_>| {
        let header = properties.header;
        let range_tombstone_count = header.range_tombstone_count.get();
        (header.key_count.get(), header.reference_count.get(), range_tombstone_count)
    };
    let (key_count, reference_count, range_tombstone_count) = opening.properties(counts)?;
    let range_tombstones = opening.range_tombstones(range_tombstone_count)?;
    let (index, index_layout) = opening.index()?;
    let filter = opening.filter()?;
    let (data_offset, data_len) = extent(opening.entry(REGION_DATA)?);
    let block_count = index_layout.block_count();
    if block_count as u64 > data_len.div_ceil(64) {
        return Err(opening.broken(
            index.offset(),
            table_file::DATA_OFFSET.found(4, data_len / 64, block_count as u64),
        ));
    }
    let values = frame.region(REGION_VALUES).map(extent);
    // Each reference takes 24 bytes of a block, so a hostile count can't ask for more bits.
    let reference_count = usize::try_from(reference_count.min(data_len / 24)).unwrap_or(0);
    let data = region.bytes().and_then(|bytes| {
        let start = usize::try_from(data_offset).ok()?;
        let end = start.checked_add(usize::try_from(data_len).ok()?)?;
        region.share(bytes.get(start..end)?)
    });
    Ok(Table {
        file_id: frame.header.file_id.get(),
        hash_seed: frame.header.hash_seed.get(),
        max_seqno: frame.footer.max_seqno.get(),
        unique_keys: key_count == frame.footer.row_count.get(),
        data_offset,
        data_len,
        data,
        blocks: Verified::new(block_count, policy),
        blocks_beyond_memory: Verified::new(block_count, policy),
        index,
        index_layout,
        filter,
        values,
        values_verified: Verified::new(reference_count, policy),
        range_tombstones,
        policy,
        beyond_memory: AtomicBool::new(false),
        region,
        frame,
    })
}

/// Offset and length of a region.
fn extent(entry: &RegionEntry) -> (u64, u64) {
    (entry.offset.get(), entry.len.get())
}
