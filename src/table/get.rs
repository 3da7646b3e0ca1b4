//! Getting one row of a table.
//!
//! ```text
//!   filter line: surely absent? ─▶ index: which block ─▶ fingerprints: which row ─▶ key, value
//! ```
//!
//! There are two ways. The *probe* answers where all that it meets was verified before and nothing
//! is out of the ordinary: it carries no errors, and is compiled into its caller. Whatever it can't
//! answer, the *careful* way does, from the start: it verifies what was not touched yet, reads
//! tables that are not mapped, goes on to a key's next block, and says what is broken.
//!
//! The filter is asked first. A processor that expects a hit goes on to the index and the block
//! while the filter's line is on its way, so a hit does not wait for it.
//!
//! # Invariants
//!
//! - What the probe answers, the careful way would.
//! - A get through a mapped table costs two dependent cache misses where filter and index are in
//!   the cache: the head of the block, and the row.
//!
//! Spec: `format-spec/03-table.md`, "Point lookup". I/O: through a `Region`. Unsafe: none.

use super::reader::Table;
use super::verified::Verified;
use crate::cpu::prefetch;
use crate::error::{Error, Result};
use crate::format::checksum::fingerprint;
use crate::format::data_block::{
    self, DataBlock, Lookup, lookup, lookup_compiled, prefetch_matches,
};
use crate::format::error::FormatError;
use crate::format::filter::Filter;
use crate::format::index::Search;
use crate::format::row::Kind;
use crate::options::ChecksumPolicy;
use crate::storage::Slice;

/// The row that a lookup found.
#[derive(Clone, Debug)]
pub(crate) struct Found<'t> {
    pub(crate) kind: Kind,
    /// 0 unless it was asked for.
    pub(crate) seqno: u64,
    pub(crate) expires_at: u64,
    pub(crate) value: Slice<'t>,
}

impl<'t> Found<'t> {
    /// A value that nobody asked more about.
    #[inline]
    fn plain(value: &'t [u8]) -> Self {
        Self { kind: Kind::Put, seqno: 0, expires_at: 0, value: Slice::Borrowed(value) }
    }
}

/// A block of a table, and where it starts, in bytes from the start of the data region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(super) block: usize,
    pub(super) offset: u64,
}

/// A row of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    place: Place,
    row: u32,
}

/// What a probe found.
pub(crate) enum Probe<'t> {
    Absent,
    /// A put that does not expire.
    Value(&'t [u8]),
    /// A row of which more has to be read.
    Row(Row),
    /// The careful way has to tell.
    Unsure,
}

/// A verified block of a map, on its way into the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Approached<'t> {
    place: Place,
    /// The block, and what follows it.
    bytes: &'t [u8],
}

impl<'t> Approached<'t> {
    /// The last step of a probe: what the block says. A key that is not in this block may be in
    /// another one if the table's [`index_is_vague`](Table::index_is_vague). Where no row of the table is newer than the
    /// snapshot, `seqno` should be [`u64::MAX`]: seqnos need not be looked at then.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(crate) fn probe(&self, key: &[u8], hash: u64, seqno: u64) -> Probe<'t> {
        match lookup_compiled(self.bytes, key, fingerprint(hash), seqno) {
            Lookup::Found { plain: Some(value), .. } => Probe::Value(value),
            Lookup::Found { row, .. } => Probe::Row(Row { place: self.place, row }),
            Lookup::Absent { continues: false } => Probe::Absent,
            Lookup::Absent { continues: true } | Lookup::Broken => Probe::Unsure,
        }
    }

    /// Asks for the rows that may be those of a key with this hash, once the block is there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) fn prefetch_rows(&self, hash: u64) {
        prefetch_matches(self.bytes, fingerprint(hash));
    }
}

/// Why a probe can't tell; not which rule was broken, if one was.
pub(crate) struct Unsure;

impl From<FormatError> for Unsure {
    fn from(_: FormatError) -> Self {
        Self
    }
}

impl Table {
    /// Finds the newest version of `key` with a seqno of at most `seqno`, of whatever kind.
    ///
    /// `hash` is that of the key under [`hash_seed`](Self::hash_seed). The row's seqno is read
    /// only if `want_seqno`. `WIDE` if the caller is compiled for AVX2.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if a checksum fails or a row is broken, by file and offset.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the caller's processor")]
    pub(crate) fn get<const WIDE: bool>(
        &self,
        key: &[u8],
        hash: u64,
        seqno: u64,
        want_seqno: bool,
    ) -> Result<Option<Found<'_>>> {
        if self.region.is_guarded() {
            return self.get_guarded(key, hash, seqno, want_seqno);
        }
        match self.probe::<WIDE>(key, hash, seqno) {
            Probe::Absent => Ok(None),
            Probe::Value(value) if !want_seqno => Ok(Some(Found::plain(value))),
            Probe::Row(row) => self.row(row).map(Some),
            Probe::Value(_) | Probe::Unsure => self.get_carefully(key, hash, seqno),
        }
    }

    /// As [`get`](Self::get), if that needs nothing but what was verified before.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) fn probe<const WIDE: bool>(&self, key: &[u8], hash: u64, seqno: u64) -> Probe<'_> {
        let probed = self.try_probe::<WIDE>(key, hash, self.seqno_that_matters(seqno));
        probed.unwrap_or(Probe::Unsure)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn try_probe<const WIDE: bool>(
        &self,
        key: &[u8],
        hash: u64,
        seqno: u64,
    ) -> Result<Probe<'_>, Unsure> {
        if !self.passes_filter(hash)? {
            return Ok(Probe::Absent);
        }
        match self.approach::<WIDE>(key)?.probe(key, hash, seqno) {
            Probe::Absent if self.index_is_vague() => Err(Unsure),
            probe => Ok(probe),
        }
    }

    /// Where no row is newer than the snapshot, seqnos need not be looked at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) const fn seqno_that_matters(&self, snapshot: u64) -> u64 {
        if self.max_seqno <= snapshot { u64::MAX } else { snapshot }
    }

    /// The first step of a probe: whether the filter lets a key with this hash pass.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) fn passes_filter(&self, hash: u64) -> Result<bool, Unsure> {
        let Some((region, block_count)) = &self.filter else { return Ok(true) };
        let filter = Filter::with_block_count(region.payload(), *block_count);
        if region.is_verified_at(filter.block_range(hash).start) {
            Ok(filter.may_contain(hash))
        } else {
            Err(Unsure)
        }
    }

    /// Whether a probe that finds nothing in the block that it approached may be wrong: separators
    /// tie, and what they compared was not all of the key.
    #[inline]
    pub(crate) fn index_is_vague(&self) -> bool {
        self.index_layout.has_ties()
    }

    /// The second step: the block where `key` belongs, whose first lines are asked for.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(crate) fn approach<const WIDE: bool>(&self, key: &[u8]) -> Result<Approached<'_>, Unsure> {
        let Some(data) = self.data() else { return Err(Unsure) };
        let touch = |range: std::ops::Range<usize>| {
            if self.index.is_verified(range) { Ok(()) } else { Err(Unsure) }
        };
        let index = self.index();
        let Search::Block(block) = index.locate::<WIDE, Unsure>(key, &touch)? else {
            return Err(Unsure);
        };
        let offset = index.block_offset(block, &touch)?;
        let bytes = usize::try_from(offset).ok().and_then(|start| data.get(start..));
        let Some(bytes) = bytes else { return Err(Unsure) };
        // The header and the fingerprints.
        prefetch(bytes, 0);
        prefetch(bytes, 64);
        if self.blocks.is_verified(block) {
            Ok(Approached { place: Place { block, offset }, bytes })
        } else {
            Err(Unsure)
        }
    }

    /// As [`get`](Self::get), where bytes of the map are believed only as a copy, made before it is asked
    /// whether they were there.
    #[inline(never)]
    fn get_guarded(
        &self,
        key: &[u8],
        hash: u64,
        seqno: u64,
        want_seqno: bool,
    ) -> Result<Option<Found<'_>>> {
        let found = match self.probe::<false>(key, hash, seqno) {
            Probe::Absent => None,
            Probe::Value(value) if !want_seqno => Some(Found::plain(value)),
            Probe::Value(_) | Probe::Row(_) | Probe::Unsure => {
                self.get_carefully(key, hash, seqno)?
            }
        };
        match found {
            Some(found) => {
                let value = self.region.copied(found.value)?;
                Ok(Some(Found { value, ..found }))
            }
            None => self.region.check().map(|()| None),
        }
    }

    /// As [`get`](Self::get), verifying what was not touched before.
    #[inline(never)]
    fn get_carefully(&self, key: &[u8], hash: u64, seqno: u64) -> Result<Option<Found<'_>>> {
        if !self.may_contain(hash)? {
            return Ok(None);
        }
        let block = self.search(key)?;
        // What is to be verified at every read is verified as the copy that is read.
        let is_doubted = self.reads_copies() && self.policy == ChecksumPolicy::Always;
        if self.data.is_none() || is_doubted {
            return self.get_from_heap(block, key, hash, seqno);
        }
        let mut place = Place { block, offset: self.block_offset(block)? };
        loop {
            if self.is_beyond_memory() {
                self.need_data(self.block_place(place.block)?);
            }
            let bytes = self.verified_bytes(place)?;
            match lookup(bytes, key, fingerprint(hash), seqno) {
                Lookup::Found { row, .. } => return self.row(Row { place, row }).map(Some),
                Lookup::Absent { continues: false } => return Ok(None),
                Lookup::Absent { continues: true } => match self.next_place(place)? {
                    Some(next) => place = next,
                    None => return Ok(None),
                },
                Lookup::Broken => return Err(self.broken_lookup(place, key, hash, seqno)),
            }
        }
    }

    /// Why a lookup failed.
    #[cold]
    fn broken_lookup(&self, place: Place, key: &[u8], hash: u64, seqno: u64) -> Error {
        let base = self.data_offset + place.offset;
        let found = self.mapped_block_at(place).and_then(|block| {
            let row = block.find(key, fingerprint(hash), seqno);
            let value = row.and_then(|row| row.map_or(Ok(&[][..]), |row| block.value(row)));
            value.map_err(|error| self.corrupt(base, error))
        });
        // A file that changes under the map may read well the second time.
        found.err().unwrap_or_else(|| self.corrupt(base, data_block::CHECKSUM.broken(0)))
    }

    /// The block that goes on with the last key of the one at `place`.
    #[cold]
    fn next_place(&self, place: Place) -> Result<Option<Place>> {
        let block = place.block + 1;
        if block >= self.index_layout.block_count() {
            return Ok(None);
        }
        Ok(Some(Place { block, offset: self.block_offset(block)? }))
    }

    /// A row with all that a reader may want of it.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] by file and offset if it is broken.
    #[inline(never)]
    pub(crate) fn row(&self, Row { place, row }: Row) -> Result<Found<'_>> {
        let block = self.mapped_block_at(place)?;
        let base = self.data_offset + place.offset;
        let read = || {
            let (kind, out_of_line) = block.kind(row)?;
            let (seqno, expires_at) = (block.seqno(row)?, block.expires_at(row)?);
            Ok((kind, out_of_line, seqno, expires_at, block.value(row)?))
        };
        let (kind, out_of_line, seqno, expires_at, value) =
            read().map_err(|error| self.corrupt(base, error))?;
        let value =
            if out_of_line { self.long_value(value, base)? } else { Slice::Borrowed(value) };
        Ok(Found { kind, seqno, expires_at, value })
    }

    /// A block of a mapped file; its checksum held, now or earlier.
    #[inline]
    pub(super) fn mapped_block(&self, block: usize) -> Result<DataBlock<'_>> {
        let offset = self.block_offset(block)?;
        self.mapped_block_at(Place { block, offset })
    }

    #[inline]
    fn mapped_block_at(&self, place: Place) -> Result<DataBlock<'_>> {
        DataBlock::parse_again(self.verified_bytes(place)?).ok_or_else(|| {
            self.corrupt(self.data_offset + place.offset, data_block::HEADER.broken(0))
        })
    }

    /// A verified block of a mapped file, and what follows it.
    #[inline]
    fn verified_bytes(&self, place: Place) -> Result<&[u8]> {
        let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let bytes = self.data().and_then(|data| data.get(start..)).unwrap_or_default();
        let verified = self.verified_blocks();
        if !verified.is_verified(place.block) {
            self.first_touch(verified, place, bytes)?;
        }
        Ok(bytes)
    }

    /// Proves and verifies the block that starts `bytes`.
    #[cold]
    fn first_touch(&self, verified: &Verified, place: Place, bytes: &[u8]) -> Result<()> {
        let base = self.data_offset + place.offset;
        let parsed = DataBlock::parse(bytes).map_err(|error| self.corrupt(base, error))?;
        verified.check(place.block, || self.verify_block(&parsed, base))
    }
}
