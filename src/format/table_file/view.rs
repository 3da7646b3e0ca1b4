//! Reading the frame of a table file: header, footer, directory.
//!
//! Spec: `format-spec/03-table.md`. I/O: none. Unsafe: none.

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::{
    END_MAGIC, FLAG_CHUNKED, FLAG_CRITICAL, FOOTER_CHECKSUM, FOOTER_FILE, FOOTER_LEN, FOOTER_MAGIC,
    FileHeader, Footer, HEADER_CHECKSUM, HEADER_LEN, HEADER_MAGIC, LEN, MAGIC, MAX_REGIONS,
    REGION_ALIGN, REGION_BOUNDS, REGION_COUNT, REGION_DATA, REGION_FILTER, REGION_FORM,
    REGION_INDEX, REGION_KIND, REGION_MISSING, REGION_PROPERTIES, REGION_RANGE_TOMBSTONES,
    REGION_VALUES, RESERVED, RegionEntry, SEQNOS,
};
use crate::format::chunks;
use crate::format::error::FormatError;
use crate::format::preamble::{FrameError, Preamble, Unsupported};

/// The frame of a table file, copied out of its header and footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// The first 64 bytes.
    pub header: FileHeader,
    /// The first 80 bytes of the last page.
    pub footer: Footer,
    /// The directory.
    pub regions: Vec<RegionEntry>,
}

impl TableFile {
    /// Reads the frame of a file of `file_len` bytes from its first and last bytes.
    ///
    /// `head` holds at least 64 bytes and `tail` is the last 4096.
    ///
    /// # Errors
    ///
    /// The rule of chapter 03 that is broken, by offset in the file; or what the file needs and
    /// this build does not have.
    pub fn parse(head: &[u8], tail: &[u8], file_len: u64) -> Result<Self, FrameError> {
        let least = 2 * REGION_ALIGN;
        let whole_pages = file_len >= least && file_len.is_multiple_of(REGION_ALIGN);
        let header = FileHeader::ref_from_prefix(head).map(|(header, _)| *header);
        let (Ok(header), true) = (header, whole_pages && tail.len() == FOOTER_LEN) else {
            return Err(LEN.found(0, least, file_len).into());
        };
        if header.magic != MAGIC {
            return Err(HEADER_MAGIC.broken(0).into());
        }
        let body = head.get(..HEADER_LEN - 8).unwrap_or_default();
        if !crate::format::checksum::matches(body, 0, header.checksum.get()) {
            return Err(HEADER_CHECKSUM.broken(56).into());
        }
        if let Ok((preamble, _)) = Preamble::ref_from_prefix(head) {
            // Before all other rules: a feature may give reserved bytes a meaning.
            preamble.check_version()?;
        }
        if header.reserved.get() != 0 || header.reserved_tail.iter().any(|word| word.get() != 0) {
            return Err(RESERVED.broken(20).into());
        }
        let frame = Self::parse_footer(header, tail, file_len - FOOTER_LEN as u64)?;
        match frame.alien_region() {
            Some(kind) => Err(Unsupported::Region(kind).into()),
            None => Ok(frame),
        }
    }

    fn parse_footer(header: FileHeader, tail: &[u8], base: u64) -> Result<Self, FormatError> {
        let Ok((footer, rest)) = Footer::ref_from_prefix(tail) else {
            return Err(LEN.broken(base));
        };
        if footer.magic != END_MAGIC {
            return Err(FOOTER_MAGIC.broken(base));
        }
        let file_id = header.file_id.get();
        let (body, sum) = tail.split_at_checked(FOOTER_LEN - 8).unwrap_or((tail, &[]));
        let stored = U64::read_from_bytes(sum).map_or(0, U64::get);
        if !crate::format::checksum::matches(body, file_id, stored) {
            return Err(FOOTER_CHECKSUM.broken(base + FOOTER_LEN as u64 - 8));
        }
        if !footer.repeats(&header) {
            return Err(FOOTER_FILE.broken(base + 8));
        }
        let file_len = base + FOOTER_LEN as u64;
        if footer.file_len.get() != file_len {
            return Err(FOOTER_FILE.found(base + 32, file_len, footer.file_len.get()));
        }
        if footer.row_count.get() == 0 || footer.min_seqno > footer.max_seqno {
            return Err(SEQNOS.broken(base + 40));
        }
        let count = footer.region_count.get() as usize;
        if count > MAX_REGIONS {
            return Err(REGION_COUNT.found(base + 20, MAX_REGIONS as u64, count as u64));
        }
        let Ok((regions, unused)) = <[RegionEntry]>::ref_from_prefix_with_elems(rest, count) else {
            return Err(REGION_COUNT.broken(base + 20));
        };
        let unused = unused.get(..unused.len().saturating_sub(8)).unwrap_or_default();
        if footer.reserved.iter().any(|word| word.get() != 0) || unused.iter().any(|b| *b != 0) {
            return Err(RESERVED.broken(base + 64));
        }
        check_regions(regions, base)?;
        Ok(Self { header, footer: *footer, regions: regions.to_vec() })
    }

    /// The kind of a region that a reader must know and this build does not.
    fn alien_region(&self) -> Option<u32> {
        let known = REGION_DATA..=REGION_RANGE_TOMBSTONES;
        let alien = self.regions.iter().find(|region| {
            !known.contains(&region.kind.get()) && region.flags.get() & FLAG_CRITICAL != 0
        });
        alien.map(|region| region.kind.get())
    }

    /// The region of this kind, if there is one.
    #[must_use]
    pub fn region(&self, kind: u32) -> Option<&RegionEntry> {
        self.regions.iter().find(|region| region.kind.get() == kind)
    }
}

impl Footer {
    /// Whether the fields that stand in the header as well say the same.
    fn repeats(&self, header: &FileHeader) -> bool {
        self.format_major == header.format_major
            && self.format_minor == header.format_minor
            && self.features_required == header.features_required
            && self.features_optional == header.features_optional
            && self.file_id == header.file_id
    }
}

impl RegionEntry {
    /// Whether flags and checksum are those of the kind, if the kind is known.
    fn has_the_form_of_its_kind(&self) -> bool {
        let (flags, has_checksum) = match self.kind.get() {
            REGION_DATA | REGION_VALUES => (0, false),
            REGION_FILTER | REGION_INDEX => (FLAG_CHUNKED, false),
            REGION_PROPERTIES => (0, true),
            REGION_RANGE_TOMBSTONES => (FLAG_CRITICAL, true),
            _ => return true,
        };
        self.flags.get() == flags && (has_checksum || self.checksum.get() == 0)
    }

    /// Bytes of the region in the file, the checksums of its chunks included; saturates.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        if self.flags.get() & FLAG_CHUNKED != 0 {
            chunks::region_len(self.len.get())
        } else {
            self.len.get()
        }
    }
}

/// Checks the directory of a file whose footer starts at `base`.
fn check_regions(regions: &[RegionEntry], base: u64) -> Result<(), FormatError> {
    let mut free = HEADER_LEN as u64;
    let mut at = base + 80;
    for (index, region) in regions.iter().enumerate() {
        let offset = region.offset.get();
        let end = offset.saturating_add(region.stored_len());
        if !offset.is_multiple_of(REGION_ALIGN) || offset < free || end > base {
            return Err(REGION_BOUNDS.found(at + 8, free, offset));
        }
        if region.flags.get() & !(FLAG_CRITICAL | FLAG_CHUNKED) != 0 {
            return Err(RESERVED.broken(at + 4));
        }
        if regions.iter().take(index).any(|other| other.kind == region.kind) {
            return Err(REGION_KIND.found(at, 0, u64::from(region.kind.get())));
        }
        if !region.has_the_form_of_its_kind() {
            return Err(REGION_FORM.broken(at + 4));
        }
        free = end;
        at += size_of::<RegionEntry>() as u64;
    }
    for kind in [REGION_DATA, REGION_INDEX, REGION_PROPERTIES] {
        if !regions.iter().any(|region| region.kind.get() == kind) {
            return Err(REGION_MISSING.found(base + 20, u64::from(kind), 0));
        }
    }
    Ok(())
}
