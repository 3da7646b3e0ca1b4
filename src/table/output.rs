//! The output: a file that grows in large writes, and its checksum.
//!
//! # Invariants
//!
//! - All writes but the last have [`WRITE_LEN`] bytes: ext4 and XFS then
//!   keep 2 MiB folios in the page cache, and a map of the file uses huge pages.
//!
//! Spec: none. I/O: through `storage`. Unsafe: none.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::spool::WRITE_LEN;
use crate::error::Result;
use crate::format::file_name::FileName;
use crate::storage::{Storage, StorageFile};

/// A file being written from its start to its end.
pub(super) struct Output {
    name: FileName,
    file: Box<dyn StorageFile>,
    buffer: Vec<u8>,
    written: u64,
    checksum: Xxh3,
}

impl Output {
    pub(super) fn create(storage: &dyn Storage, name: FileName, seed: u64) -> Result<Self> {
        Ok(Self {
            name,
            file: storage.create(name)?,
            buffer: Vec::new(),
            written: 0,
            checksum: Xxh3::with_seed(seed),
        })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = WRITE_LEN - self.buffer.len();
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == WRITE_LEN {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to `offset`, if that lies ahead.
    pub(super) fn pad_to(&mut self, offset: u64) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.len() < offset {
            let len = usize::try_from(offset - self.len()).unwrap_or(usize::MAX);
            self.push(ZEROS.get(..len).unwrap_or(&ZEROS))?;
        }
        Ok(())
    }

    /// Appends zeros up to a multiple of `unit` and returns it.
    pub(super) fn align(&mut self, unit: u64) -> Result<u64> {
        let offset = self.len().next_multiple_of(unit);
        self.pad_to(offset)?;
        Ok(offset)
    }

    fn write(&mut self) -> Result<()> {
        self.checksum.update(&self.buffer);
        self.file.write_all(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest and syncs the file. Returns its length and checksum.
    pub(super) fn finish(&mut self) -> Result<(u64, u64)> {
        self.write()?;
        mutant!(SkipTableSync, Ok(()), else self.file.sync())?;
        Ok((self.written, self.checksum.digest()))
    }

    /// Removes the file, if possible: what is left is removed when the database is opened next.
    pub(super) fn remove(&self, storage: &dyn Storage) {
        let _ = storage.remove(self.name);
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
