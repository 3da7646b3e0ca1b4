//! The end of a table: the regions behind the blocks, and the footer that says where they are.
//!
//! Spec: `format-spec/03-table.md`. I/O: through `storage`. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};

use super::TableWriter;
use crate::error::Result;
use crate::format::checksum::checksum;
use crate::format::chunks;
use crate::format::filter;
use crate::format::table_file::{
    FLAG_CHUNKED, FLAG_CRITICAL, Footer, Properties, REGION_ALIGN, REGION_DATA, REGION_FILTER,
    REGION_INDEX, REGION_PROPERTIES, REGION_RANGE_TOMBSTONES, REGION_VALUES, RegionEntry,
    encode_footer,
};
use crate::storage::Storage;
use crate::table::placement::Placement;

impl TableWriter {
    /// Writes what is left of the blocks and all that stands behind them, and syncs the file.
    pub(super) fn write_rest(&mut self, storage: &dyn Storage) -> Result<()> {
        if !self.builder.is_empty() {
            self.finish_block(None)?;
        }
        self.place_blocks()?;
        let data_offset = REGION_ALIGN.max(self.settings.block_size as u64);
        let mut regions = vec![region(REGION_DATA, 0, data_offset, self.data_len, 0)];
        if self.spool.len() > 0 {
            let offset = self.output.align(REGION_ALIGN)?;
            let output = &mut self.output;
            self.spool.drain(storage, |bytes| output.push(bytes))?;
            regions.push(region(REGION_VALUES, 0, offset, self.spool.len(), 0));
        }
        let bit_count = self.settings.filter.bits_for(self.hashes.len() as u64);
        if bit_count > 0 {
            let payload = filter::build(&self.hashes, bit_count);
            regions.push(self.push_chunked(REGION_FILTER, payload)?);
        }
        let payload = self.index_payload();
        regions.push(self.push_chunked(REGION_INDEX, payload)?);
        if !self.range_tombstones.is_empty() {
            let payload = std::mem::take(&mut self.range_tombstones);
            regions.push(self.push_checked(REGION_RANGE_TOMBSTONES, FLAG_CRITICAL, &payload)?);
        }
        regions.push(self.push_properties()?);
        self.push_footer(&regions)
    }

    fn index_payload(&mut self) -> Vec<u8> {
        let shared = self.info.smallest.iter().zip(&self.info.largest);
        let prefix_len = shared.take_while(|(a, b)| a == b).count();
        let prefix = self.info.smallest.get(..prefix_len).unwrap_or_default();
        self.offsets.push(self.data_len);
        let slot = u32::try_from(self.settings.block_size).ok();
        let slot = slot.filter(|_| self.placement == Placement::Uniform);
        self.index.finish(prefix, self.min_key_len, slot, &self.offsets)
    }

    fn push_chunked(&mut self, kind: u32, mut payload: Vec<u8>) -> Result<RegionEntry> {
        let offset = self.output.align(REGION_ALIGN)?;
        let len = payload.len() as u64;
        chunks::seal(&mut payload, self.file_id, offset);
        self.output.push(&payload)?;
        Ok(region(kind, FLAG_CHUNKED, offset, len, 0))
    }

    fn push_properties(&mut self) -> Result<RegionEntry> {
        let len = |bytes: &[u8]| U16::new(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        let operator = self.settings.operator.as_str();
        self.properties.block_count =
            U32::new(u32::try_from(self.index.block_count()).unwrap_or(u32::MAX));
        self.properties.operator_len = U32::new(u32::try_from(operator.len()).unwrap_or(u32::MAX));
        self.properties.smallest_len = len(&self.info.smallest);
        self.properties.largest_len = len(&self.info.largest);
        let bytes = Properties {
            header: &self.properties,
            smallest_key: &self.info.smallest,
            largest_key: &self.info.largest,
            operator,
        }
        .encode();
        self.push_checked(REGION_PROPERTIES, 0, &bytes)
    }

    /// Writes a region whose checksum stands in the directory.
    fn push_checked(&mut self, kind: u32, flags: u32, bytes: &[u8]) -> Result<RegionEntry> {
        let offset = self.output.align(REGION_ALIGN)?;
        let sum = checksum(bytes, self.file_id ^ offset);
        self.output.push(bytes)?;
        Ok(region(kind, flags, offset, bytes.len() as u64, sum))
    }

    fn push_footer(&mut self, regions: &[RegionEntry]) -> Result<()> {
        let offset = self.output.align(REGION_ALIGN)?;
        let footer = Footer {
            features_optional: U32::new(self.settings.features_optional),
            file_id: U64::new(self.file_id),
            row_count: U64::new(self.info.row_count),
            min_seqno: U64::new(self.info.min_seqno),
            max_seqno: U64::new(self.info.max_seqno),
            ..Footer::default()
        };
        let page = encode_footer(&footer, regions, offset);
        self.output.push(&page)?;
        (self.info.file_len, self.info.checksum) = self.output.finish()?;
        Ok(())
    }
}

fn region(kind: u32, flags: u32, offset: u64, len: u64, checksum: u64) -> RegionEntry {
    RegionEntry {
        kind: U32::new(kind),
        flags: U32::new(flags),
        offset: U64::new(offset),
        len: U64::new(len),
        checksum: U64::new(checksum),
    }
}
