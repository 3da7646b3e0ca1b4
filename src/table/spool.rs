//! The spool: long values wait here until the blocks before them are written.
//!
//! Blocks stream out in key order and the value region stands behind them, so values that are
//! kept out of line are collected: in memory while they are few, else in a temporary file.
//!
//! # Invariants
//!
//! - Each value starts at a multiple of 64 in the region, and gaps are zero.
//! - At most two buffers are in memory, however many values there are.
//!
//! Spec: `format-spec/03-table.md`, "Value region". I/O: through `storage`. Unsafe: none.

use crate::error::Result;
use crate::format::file_name::FileName;
use crate::format::value_ref::VALUE_ALIGN;
use crate::options::ReadMode;
use crate::storage::{Storage, StorageFile};

/// Bytes that are written at once: 2 MiB and more let the page cache use huge pages.
pub(super) const WRITE_LEN: usize = 4 << 20;

/// Long values on their way into a table.
#[derive(Debug)]
pub(super) struct Spool {
    name: FileName,
    file: Option<Box<dyn StorageFile>>,
    written: u64,
    buffer: Vec<u8>,
}

impl Spool {
    pub(super) fn new(name: FileName) -> Self {
        Self { name, file: None, written: 0, buffer: Vec::new() }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a value and returns where it starts.
    pub(super) fn push(&mut self, value: &[u8], storage: &dyn Storage) -> Result<u64> {
        let offset = self.len().next_multiple_of(VALUE_ALIGN);
        let gap = offset - self.len();
        self.buffer.extend(std::iter::repeat_n(0, usize::try_from(gap).unwrap_or(0)));
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= WRITE_LEN {
            self.spill(storage)?;
        }
        Ok(offset)
    }

    fn spill(&mut self, storage: &dyn Storage) -> Result<()> {
        if self.file.is_none() {
            self.file = Some(storage.create(self.name)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer, self.written)?;
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Hands everything to `take` in the order of the region.
    pub(super) fn drain(
        &mut self,
        storage: &dyn Storage,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if self.file.is_some() {
            let region = storage.open_region(self.name, ReadMode::Heap)?;
            let mut at = 0;
            while at < self.written {
                let len = (self.written - at).min(WRITE_LEN as u64);
                let piece = region.read(at, usize::try_from(len).unwrap_or(WRITE_LEN))?;
                take(&piece)?;
                at += len;
            }
        }
        take(&self.buffer)
    }

    /// Removes the temporary file, if there is one.
    pub(super) fn remove(&mut self, storage: &dyn Storage) {
        if self.file.take().is_some() {
            // A file that can't be removed is removed when the database is opened next.
            let _ = storage.remove(self.name);
        }
    }
}
