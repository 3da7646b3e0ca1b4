//! The rows of a memtable as bytes: one behind the other, each in one piece.
//!
//! A reader that knows a row's *place* has all of it: header, key and value are neighbors in memory.
//! Chunks get longer as they become more, and take memory only as they fill.
//!
//! ```text
//!   place  │ number of the chunk, 8 bits │ offset in it in units of 8 bytes, 24 bits │   0: none
//!
//!   row    │ seqno │ value_len │ number │ key_len │ kind │ expires │ key │ value │ expires_at │
//!            u64     u32         u32      u16       u8     u8                      u64, if so
//! ```
//!
//! # Invariants
//!
//! - A row never changes and never moves. It is laid out for this process alone.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt;
use std::sync::Arc;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::writer::no_room;
use crate::error::{Error, Result};
use crate::format::row::{Kind, Row};
use crate::storage::{APPEND_ALIGN, Appender, Chunk, HUGE_LEN, Pages};
use crate::sync::OnceLock;

/// Bits of a place that say where in its chunk a row starts.
const OFFSET_BITS: u32 = 24;
/// Chunk 0 is never used, so that no row has the place 0.
const CHUNK_COUNT: usize = if cfg!(loom) { 3 } else { 1 << (u32::BITS - OFFSET_BITS) };
/// The length of the first chunk.
const MIN_CHUNK_LEN: usize = if cfg!(loom) { 128 } else { 64 << 10 };
/// No chunk is longer, but for one whose only row is.
const MAX_CHUNK_LEN: usize = 64 << 20;

/// The bytes of the rows, for readers.
pub(super) struct Rows {
    chunks: [OnceLock<Arc<Chunk>>; CHUNK_COUNT],
    /// Of chunks that fill huge ones.
    pages: Pages,
}

/// The place where the next row goes.
#[derive(Debug, Default)]
pub(super) struct RowAppender {
    appender: Option<Appender>,
    /// The number of its chunk.
    chunk: usize,
    /// What all chunks have room for.
    len: usize,
}

/// What stands before a row's key.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    seqno: U64,
    value_len: U32,
    number: U32,
    key_len: U16,
    kind: u8,
    expires: u8,
}

/// Where the key begins.
pub(super) const KEY_START: usize = size_of::<Header>();

/// A row, where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Record<'r> {
    header: &'r Header,
    /// From the key on.
    tail: &'r [u8],
    place: u32,
}

impl Rows {
    /// No rows yet. Chunks that fill huge pages are made of `pages`.
    pub(super) fn new(pages: Pages) -> Self {
        Self { chunks: std::array::from_fn(|_| OnceLock::new()), pages }
    }

    /// The row at a place.
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<Record<'_>> {
        let (header, tail) = Header::ref_from_prefix(self.bytes(place)).ok()?;
        Some(Record { header, tail, place })
    }

    /// The bytes from a row's header on, also those of later rows.
    #[inline]
    pub(super) fn bytes(&self, place: u32) -> &[u8] {
        let chunk = self.chunks.get((place >> OFFSET_BITS) as usize).and_then(OnceLock::get);
        let start = (place & ((1 << OFFSET_BITS) - 1)) as usize * APPEND_ALIGN;
        chunk.map_or(&[], |chunk| chunk.from(start))
    }

    /// Adds a copy of a row, which knows the number of its node; returns its place and how many
    /// bytes it takes.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`]; [`Error::InvalidArgument`] without memory.
    pub(super) fn add(
        &self,
        appender: &mut RowAppender,
        row: &Row<'_>,
        number: u32,
    ) -> Result<(u32, usize)> {
        let key_len = u16::try_from(row.key.len());
        let value_len = u32::try_from(row.value.len());
        let header = Header {
            seqno: row.seqno.into(),
            value_len: value_len.map_err(|_| Error::ValueTooLarge { len: row.value.len() })?.into(),
            number: number.into(),
            key_len: key_len.map_err(|_| Error::KeyTooLarge { len: row.key.len() })?.into(),
            kind: row.kind as u8,
            expires: (row.expires_at != 0).into(),
        };
        let expiry = row.expires_at.to_le_bytes();
        let expiry = if row.expires_at == 0 { &[][..] } else { &expiry[..] };
        let parts = [header.as_bytes(), row.key, row.value, expiry];
        let len = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if let Some(place) = appender.append(&parts) {
            return Ok((place, len.next_multiple_of(APPEND_ALIGN)));
        }
        self.grow(appender, len).ok_or_else(no_room)?;
        let place = appender.append(&parts).ok_or_else(no_room)?;
        Ok((place, len.next_multiple_of(APPEND_ALIGN)))
    }

    /// Makes another chunk that has room for `len` bytes. What is left of the one before was never
    /// touched, and so takes no memory.
    #[cold]
    fn grow(&self, appender: &mut RowAppender, len: usize) -> Option<()> {
        let number = appender.chunk + 1;
        let slot = self.chunks.get(number)?;
        let usual = appender.len.clamp(MIN_CHUNK_LEN, MAX_CHUNK_LEN);
        let chunk_len = usual.max(len);
        let pages = if chunk_len >= HUGE_LEN { self.pages } else { Pages::Small };
        let next = Appender::new(chunk_len, pages)?;
        slot.set(next.chunk()).ok()?;
        let len = appender.len.saturating_add(chunk_len);
        *appender = RowAppender { appender: Some(next), chunk: number, len };
        Some(())
    }
}

impl RowAppender {
    /// Appends to the newest chunk, if there is room and the place can be told.
    #[inline]
    fn append(&mut self, parts: &[&[u8]]) -> Option<u32> {
        let start = self.appender.as_mut()?.append(parts)?;
        let offset = u32::try_from(start / APPEND_ALIGN).ok()?;
        let chunk = u32::try_from(self.chunk).ok()?;
        (offset >> OFFSET_BITS == 0).then_some((chunk << OFFSET_BITS) | offset)
    }
}

/// Shows no rows: they are the user's.
impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'r> Record<'r> {
    /// The user key.
    #[inline]
    pub(super) fn key(&self) -> &'r [u8] {
        self.tail.get(..self.key_len()).unwrap_or_default()
    }

    /// The seqno.
    #[inline]
    pub(crate) fn seqno(&self) -> u64 {
        self.header.seqno.get()
    }

    /// The kind.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_u8(self.header.kind).unwrap_or(Kind::Put)
    }

    /// When the row expires, in seconds since 1970; 0 is never.
    #[inline]
    pub(crate) fn expires_at(&self) -> u64 {
        if self.header.expires == 0 {
            return 0;
        }
        let start = self.key_len() + self.value_len();
        let expiry = self.tail.get(start..).and_then(|bytes| bytes.first_chunk());
        expiry.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The value.
    #[inline]
    pub(crate) fn value(&self) -> &'r [u8] {
        let start = self.key_len();
        self.tail.get(start..start.saturating_add(self.value_len())).unwrap_or_default()
    }

    /// All of it.
    #[cfg(test)]
    pub(super) fn row(&self) -> Row<'r> {
        Row {
            key: self.key(),
            seqno: self.seqno(),
            kind: self.kind(),
            expires_at: self.expires_at(),
            value: self.value(),
        }
    }

    /// The number of its node.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.header.number.get()
    }

    /// Where it lies.
    #[inline]
    pub(crate) const fn place(&self) -> u32 {
        self.place
    }

    #[inline]
    fn key_len(&self) -> usize {
        self.header.key_len.get().into()
    }

    #[inline]
    fn value_len(&self) -> usize {
        self.header.value_len.get() as usize
    }
}
