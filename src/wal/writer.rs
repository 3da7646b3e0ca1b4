//! Writing a log: header, batches, and the seal.
//!
//! A sync of a file that grows is several times dearer than one of bytes that were there before,
//! because the file's length has to become durable too. So writes that will be synced find the
//! file filled with zeros ahead of them: 64 KiB at first, twice as much each time, 4 MiB at most.
//!
//! ```text
//!   │ header │ record │ record │ record │ 0 0 0 0 0 0 0 0 0 0 0 │
//!                     ▲                 ▲                       ▲
//!                     synced_upto       len                     filled_upto
//! ```
//!
//! # Invariants
//!
//! - `synced_upto` ≤ `len`; the file holds nothing but zeros behind `len`.
//! - After a failed write or sync of records the writer refuses everything: part of them may be
//!   in the file, and a second sync could call durable what the first one lost. A failed fill
//!   leaves zeros at most, so it fails one append only.
//!
//! Spec: `format-spec/07-log.md`. I/O: through `Storage`. Unsafe: none.

use std::error::Error as _;

use zerocopy::IntoBytes;

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::log::{LogInfo, batch_header, pad_len, record_len, seal_header};
use crate::storage::{Storage, StorageFile};

/// Records are gathered up to this length before they are written.
const BUFFER_LEN: usize = 1 << 20;
/// How many zeros are kept ahead at first.
const FIRST_FILL_LEN: u64 = 64 << 10;
/// How many zeros are kept ahead at most.
const MAX_FILL_LEN: u64 = 4 << 20;
/// Fills end at multiples of this, so that they end with a page.
const FILL_ALIGN: u64 = 4096;

/// One batch, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordParts<'a> {
    /// Its operations, encoded.
    pub(crate) payload: &'a [u8],
    /// The seqno of its first operation.
    pub(crate) first_seqno: u64,
    /// How many operations it holds; at least one.
    pub(crate) op_count: u32,
}

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: Box<dyn StorageFile>,
    number: u64,
    seed: u64,
    state: State,
    next_seqno: u64,
    len: u64,
    synced_upto: u64,
    filled_upto: u64,
    fill_len: u64,
    name_is_durable: bool,
    buffer: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Sealed,
    Failed { reason: String },
}

impl LogWriter {
    /// Creates the log that `info` describes. Nothing of it is durable before the first sync.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; the file is gone again, if possible.
    pub(crate) fn create(storage: &dyn Storage, info: &LogInfo<'_>) -> Result<Self> {
        let name = FileName::Log(info.log_number);
        let mut file = storage.create(name)?;
        let header = info.encode();
        if let Err(error) = file.write_all(&header, 0) {
            drop(file);
            // The write's error is the one to report; a file that stays is found at the next open.
            let _ = storage.remove(name);
            return Err(error);
        }
        let len = header.len() as u64;
        Ok(Self {
            file,
            number: info.log_number,
            seed: info.seed(),
            state: State::Open,
            next_seqno: info.first_seqno,
            len,
            synced_upto: 0,
            filled_upto: len,
            fill_len: FIRST_FILL_LEN,
            name_is_durable: false,
            buffer: header,
        })
    }

    /// The number in the log's name.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Where the next record will stand; zeros that were written ahead don't count.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Whether everything appended is durable.
    pub(crate) const fn is_synced(&self) -> bool {
        self.name_is_durable && self.synced_upto == self.len
    }

    /// Whether a write or sync failed, so that the log takes nothing more.
    pub(crate) const fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed { .. })
    }

    /// Appends batches, in one write call if they are short. With `fill` the file is zero-filled
    /// ahead: for batches that are synced next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. If it was the zero-fill that failed, nothing of the batches was written and
    /// the writer goes on; else it is [`Error::Poisoned`] from now on.
    pub(crate) fn append(&mut self, records: &[RecordParts<'_>], fill: bool) -> Result<()> {
        self.check_open()?;
        let mut end = self.len;
        for record in records {
            let len = record_len(record.payload.len() as u64).unwrap_or(u64::MAX);
            end = end.saturating_add(len);
        }
        if fill && end > self.filled_upto {
            self.fill_ahead_of(end)?;
        }
        let written = self.write(records);
        self.len = self.note_failure(written)?;
        for record in records {
            self.next_seqno = record.first_seqno.saturating_add(record.op_count.into());
        }
        Ok(())
    }

    /// Makes everything appended durable. Costs nothing if it is.
    ///
    /// Records appended from now on say that this log is durable up to here *and* that every log
    /// before it is whole, so those must be sealed first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Poisoned`] from then on.
    pub(crate) fn sync(&mut self, storage: &dyn Storage) -> Result<()> {
        self.check_not_failed()?;
        if self.is_synced() {
            return Ok(());
        }
        let synced = self.sync_all(storage);
        self.note_failure(synced)
    }

    /// Ends the log with the record that proves it whole, durably. Costs nothing if it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Poisoned`] from then on.
    pub(crate) fn seal(&mut self, storage: &dyn Storage) -> Result<()> {
        self.sync(storage)?;
        if self.state == State::Sealed {
            return Ok(());
        }
        mutant!(SealNothing, {
            self.state = State::Sealed;
            return Ok(());
        });
        let seal = seal_header(self.seed, self.len, self.next_seqno);
        let written = self.file.write_all(seal.as_bytes(), self.len);
        self.note_failure(written)?;
        self.len += seal.as_bytes().len() as u64;
        self.sync(storage)?;
        self.state = State::Sealed;
        Ok(())
    }

    /// Writes zeros behind `len`, up to somewhat behind `end`.
    fn fill_ahead_of(&mut self, end: u64) -> Result<()> {
        let from = self.filled_upto.max(self.len);
        let upto = end.saturating_add(self.fill_len);
        let upto = upto.checked_next_multiple_of(FILL_ALIGN).unwrap_or(upto);
        let mut at = from;
        while at < upto {
            let len = usize::try_from(upto - at).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
            self.buffer.clear();
            self.buffer.resize(len, 0);
            self.file.write_all(&self.buffer, at)?;
            at += len as u64;
        }
        self.filled_upto = upto;
        self.fill_len = (self.fill_len * 2).min(MAX_FILL_LEN);
        Ok(())
    }

    /// Writes the records at `len` and returns where they end.
    fn write(&mut self, records: &[RecordParts<'_>]) -> Result<u64> {
        let Self { file, buffer, .. } = self;
        let mut at = self.len;
        buffer.clear();
        for &RecordParts { payload, first_seqno, op_count } in records {
            let offset = at + buffer.len() as u64;
            let upto = self.synced_upto;
            let header = batch_header(self.seed, offset, payload, first_seqno, op_count, upto);
            buffer.extend_from_slice(header.as_bytes());
            if buffer.len() + payload.len() > BUFFER_LEN {
                file.write_all(buffer, at)?;
                at += buffer.len() as u64;
                buffer.clear();
                // A long payload is not copied.
                file.write_all(payload, at)?;
                at += payload.len() as u64;
            } else {
                buffer.extend_from_slice(payload);
            }
            buffer.resize(buffer.len() + pad_len(payload.len() as u64), 0);
        }
        file.write_all(buffer, at)?;
        Ok(at + buffer.len() as u64)
    }

    fn sync_all(&mut self, storage: &dyn Storage) -> Result<()> {
        mutant!(SkipLogSync, Ok(()), else self.file.sync())?;
        if !self.name_is_durable {
            let name = FileName::Log(self.number);
            mutant!(SkipLogNameSync, Ok(()), else storage.sync_names(&[name]))?;
            self.name_is_durable = true;
        }
        self.synced_upto = self.len;
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        match self.state {
            State::Sealed => Err(Error::Closed),
            _ => self.check_not_failed(),
        }
    }

    fn check_not_failed(&self) -> Result<()> {
        match &self.state {
            State::Failed { reason } => Err(Error::Poisoned { reason: reason.clone() }),
            _ => Ok(()),
        }
    }

    /// Passes a result on, and gives the log up if it is an error.
    fn note_failure<T>(&mut self, result: Result<T>) -> Result<T> {
        mutant!(RetryFailedLog, return result);
        if let Err(error) = &result {
            let reason = match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            self.state = State::Failed { reason };
        }
        result
    }
}
