//! Reading a log: its whole records, then what ended them.
//!
//! # Invariants
//!
//! - A record is handed out only after both of its checksums and every operation in it were
//!   checked, so whoever applies it applies all of it.
//! - After the last record there is one [`LogEnd`], and never another record.
//!
//! # Cost
//!
//! Linear in the file: each payload is hashed once, and after a bad record the rest is searched
//! once for a proof, at a few comparisons every 8 bytes.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use std::iter::FusedIterator;

use zerocopy::FromBytes;

use super::{
    END, HEADER_CHECKSUM, HEADER_LEN, HEADER_MAGIC, KIND, KIND_SEAL, LogInfo, OPERATOR_CHECKSUM,
    PAYLOAD_CHECKSUM, RECORD_ALIGN, RECORD_BOUNDS, RECORD_CHECKSUM, RECORD_HEADER_LEN, RESERVED,
    RecordHeader, SEAL, SEQNOS, SYNCED, log_seed, record_len,
};
use crate::format::checksum::matches;
use crate::format::error::{FormatError, Rule};
use crate::format::log_op::Ops;
use crate::format::preamble::FrameError;

/// A whole record: one atomic batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it starts in the file.
    pub offset: u64,
    /// The seqno of its first operation.
    pub first_seqno: u64,
    /// How many operations it holds; at least one.
    pub op_count: u32,
    /// Up to here the log was durable when the record was written.
    pub synced_upto: u64,
    /// Its operations, encoded.
    pub payload: &'a [u8],
}

/// How a log ends. Every offset is one in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// With zeros, or with the file.
    Clean {
        /// Where the next record would stand.
        at: u64,
    },
    /// With the record that says so: nothing of it is missing.
    Sealed {
        /// Where that record stands.
        at: u64,
    },
    /// With something that a crash can leave: nothing that was known to be durable is missing.
    Torn {
        /// Where the first thing that is not whole stands.
        at: u64,
        /// What is wrong with it.
        error: FormatError,
    },
    /// With something that no crash leaves.
    Damaged {
        /// Where the first thing that is not whole stands.
        at: u64,
        /// What is wrong with it.
        error: FormatError,
        /// Up to here the log is known to have been durable.
        proven_upto: u64,
    },
}

/// The records of one log, in order; when they are over, [`LogReader::end`] says why.
#[derive(Clone, Debug)]
pub struct LogReader<'a> {
    bytes: &'a [u8],
    info: Option<LogInfo<'a>>,
    seed: u64,
    at: usize,
    next_seqno: u64,
    max_synced_upto: u64,
    end: Option<LogEnd>,
}

/// What stands where a record may.
enum Found<'a> {
    Batch(Record<'a>, usize),
    Seal(&'a RecordHeader),
    Zeros,
}

/// Why no record stands where one may.
enum Broken {
    /// Bytes that nobody vouches for: what a crash leaves, or damage.
    Unverified(FormatError),
    /// Bytes with the right checksum: they were written like that.
    Verified(FormatError),
}

impl<'a> LogReader<'a> {
    /// Reads the header of a log that should have this number and belong to this database.
    ///
    /// A header that is not whole gives a reader without records, whose end is told already.
    ///
    /// # Errors
    ///
    /// It is another log's or another database's header, or the file needs a newer build.
    pub fn open(bytes: &'a [u8], database_id: u64, log_number: u64) -> Result<Self, FrameError> {
        let seed = log_seed(database_id, log_number);
        let mut reader =
            Self { bytes, info: None, seed, at: 0, next_seqno: 0, max_synced_upto: 0, end: None };
        match LogInfo::parse(bytes) {
            Ok(info) => {
                info.check_identity(database_id, log_number)?;
                // The name was in bounds, so this offset is one in `bytes`.
                reader.at = usize::try_from(info.records_offset()).unwrap_or(bytes.len());
                reader.next_seqno = info.first_seqno;
                reader.info = Some(info);
            }
            Err(FrameError::Broken(error)) if is_unverified(error.rule()) => {
                reader.stop(&Broken::Unverified(error));
            }
            Err(FrameError::Broken(error)) => reader.stop(&Broken::Verified(error)),
            Err(error) => return Err(error),
        }
        Ok(reader)
    }

    /// What the header says; `None` if it is not whole.
    #[must_use]
    pub const fn info(&self) -> Option<&LogInfo<'a>> {
        self.info.as_ref()
    }

    /// How the log ends; `None` while there may be records.
    #[must_use]
    pub const fn end(&self) -> Option<LogEnd> {
        self.end
    }

    /// One more than the largest seqno that was read; at first, the header's `first_seqno`.
    #[must_use]
    pub const fn next_seqno(&self) -> u64 {
        self.next_seqno
    }

    /// Up to where this log is known to have been durable, from what was read. Above 0, it proves
    /// that all logs before this one are whole.
    #[must_use]
    pub const fn max_synced_upto(&self) -> u64 {
        self.max_synced_upto
    }

    /// Reads what stands at `self.at`.
    fn read(&self) -> Result<Found<'a>, Broken> {
        let at = self.at as u64;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Ok((header, body)) = RecordHeader::ref_from_prefix(rest) else {
            if is_zero(rest) {
                return Ok(Found::Zeros);
            }
            let len = RECORD_HEADER_LEN as u64;
            return Err(Broken::Unverified(RECORD_BOUNDS.found(at, len, rest.len() as u64)));
        };
        if is_zero(rest.get(..RECORD_HEADER_LEN).unwrap_or_default()) {
            let end = if is_zero(body) { Ok(Found::Zeros) } else { Err(END.broken(at)) };
            return end.map_err(Broken::Unverified);
        }
        if !header.verifies(self.seed ^ at) {
            return Err(Broken::Unverified(RECORD_CHECKSUM.broken(at)));
        }
        self.check_header(header).map_err(Broken::Verified)?;
        if header.kind == KIND_SEAL {
            return Ok(Found::Seal(header));
        }
        self.read_payload(header, body)
    }

    /// Checks what a header with the right checksum says.
    fn check_header(&self, header: &RecordHeader) -> Result<(), FormatError> {
        let at = self.at as u64;
        if !header.has_valid_kind() {
            return Err(KIND.broken(at + 40));
        }
        if header.reserved != [0; 3] {
            return Err(RESERVED.broken(at + 45));
        }
        let first_seqno = header.first_seqno.get();
        if first_seqno < self.next_seqno
            || first_seqno.checked_add(header.op_count.get().into()).is_none()
        {
            return Err(SEQNOS.found(at + 24, self.next_seqno, first_seqno));
        }
        if header.synced_upto.get() > at {
            return Err(SYNCED.found(at + 32, at, header.synced_upto.get()));
        }
        Ok(())
    }

    /// Reads the payload of a batch at `self.at`; `body` follows its header.
    fn read_payload(&self, header: &RecordHeader, body: &'a [u8]) -> Result<Found<'a>, Broken> {
        let at = self.at as u64;
        let payload_at = at + RECORD_HEADER_LEN as u64;
        let payload_len = header.payload_len.get();
        let out_of_bounds = || {
            let error = RECORD_BOUNDS.found(at + 16, body.len() as u64, payload_len);
            Broken::Unverified(error)
        };
        let record_len = record_len(payload_len).ok_or_else(out_of_bounds)?;
        let record_len = usize::try_from(record_len).map_err(|_| out_of_bounds())?;
        let body = body.get(..record_len - RECORD_HEADER_LEN).ok_or_else(out_of_bounds)?;
        let payload_len = usize::try_from(payload_len).map_err(|_| out_of_bounds())?;
        let (payload, padding) = body.split_at_checked(payload_len).ok_or_else(out_of_bounds)?;
        let is_right = matches(payload, self.seed ^ at, header.payload_checksum.get());
        if !mutant!(TrustPayload, true, else is_right) {
            return Err(Broken::Unverified(PAYLOAD_CHECKSUM.broken(payload_at)));
        }
        if !is_zero(padding) {
            let padding_at = payload_at + payload.len() as u64;
            return Err(Broken::Unverified(RESERVED.broken(padding_at)));
        }
        for op in Ops::new(payload, header.op_count.get()) {
            op.map_err(|error| Broken::Verified(error.moved(payload_at)))?;
        }
        let record = Record {
            offset: at,
            first_seqno: header.first_seqno.get(),
            op_count: header.op_count.get(),
            synced_upto: header.synced_upto.get(),
            payload,
        };
        Ok(Found::Batch(record, self.at + record_len))
    }

    /// Ends the log at `self.at`, because of what stands there.
    #[cold]
    fn stop(&mut self, broken: &Broken) {
        let at = self.at as u64;
        let end = match *broken {
            Broken::Verified(error) => {
                LogEnd::Damaged { at, error, proven_upto: self.max_synced_upto }
            }
            Broken::Unverified(error) => match self.proof_beyond() {
                Some(proven_upto) => {
                    self.max_synced_upto = self.max_synced_upto.max(proven_upto);
                    LogEnd::Damaged { at, error, proven_upto }
                }
                None => LogEnd::Torn { at, error },
            },
        };
        self.end = Some(end);
    }

    /// The first proof behind `self.at` that the log was once whole beyond `self.at`: the
    /// `synced_upto` of a record header that verifies by itself.
    fn proof_beyond(&self) -> Option<u64> {
        let bad_at = self.at as u64;
        let mut at = self.at.checked_next_multiple_of(RECORD_ALIGN)?;
        while let Some(rest) = self.bytes.get(at..) {
            let Ok((header, _)) = RecordHeader::ref_from_prefix(rest) else {
                break;
            };
            let offset = at as u64;
            let synced_upto = header.synced_upto.get();
            // Comparisons first: they spare nearly every candidate the checksum.
            if synced_upto > bad_at
                && synced_upto <= offset
                && header.reserved == [0; 3]
                && header.has_valid_kind()
                && header.verifies(self.seed ^ offset)
            {
                return Some(synced_upto);
            }
            at += RECORD_ALIGN;
        }
        None
    }
}

impl<'a> Iterator for LogReader<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.end.is_some() {
            return None;
        }
        match self.read() {
            Ok(Found::Batch(record, next_at)) => {
                self.at = next_at;
                self.next_seqno = record.first_seqno + u64::from(record.op_count);
                self.max_synced_upto = self.max_synced_upto.max(record.synced_upto);
                return Some(record);
            }
            Ok(Found::Seal(header)) => {
                self.next_seqno = header.first_seqno.get();
                self.max_synced_upto = self.max_synced_upto.max(header.synced_upto.get());
                self.end = Some(LogEnd::Sealed { at: self.at as u64 });
            }
            Ok(Found::Zeros) => self.end = Some(LogEnd::Clean { at: self.at as u64 }),
            Err(broken) => self.stop(&broken),
        }
        None
    }
}

impl FusedIterator for LogReader<'_> {}

impl<'a> Record<'a> {
    /// Its operations. The reader has checked them, so none is an error.
    #[must_use]
    pub const fn ops(&self) -> Ops<'a> {
        Ops::new(self.payload, self.op_count)
    }
}

impl LogEnd {
    /// Where the whole records end.
    #[must_use]
    pub const fn at(&self) -> u64 {
        match *self {
            Self::Clean { at }
            | Self::Sealed { at }
            | Self::Torn { at, .. }
            | Self::Damaged { at, .. } => at,
        }
    }

    /// What is wrong with this end if the log is known to have been sealed.
    #[must_use]
    pub const fn broken_if_sealed(&self) -> Option<FormatError> {
        match *self {
            Self::Sealed { .. } => None,
            Self::Clean { at } => Some(SEAL.broken(at)),
            Self::Torn { error, .. } | Self::Damaged { error, .. } => Some(error),
        }
    }
}

/// Whether a log's header that breaks this rule may be what a crash left of one.
fn is_unverified(rule: &Rule) -> bool {
    [&HEADER_LEN, &HEADER_MAGIC, &HEADER_CHECKSUM, &OPERATOR_CHECKSUM].contains(&rule)
}

/// Whether all bytes are zero; by chunks, so that it runs at the speed of memory.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}
