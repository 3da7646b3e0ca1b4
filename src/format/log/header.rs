//! The header of a log: which database it belongs to, and where it stands among its logs.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::{
    CHECKSUM_OFFSET, HEADER_CHECKSUM, HEADER_LEN, HEADER_MAGIC, IDENTITY, LOG_HEADER_LEN,
    LogHeader, MAGIC, OPERATOR, OPERATOR_CHECKSUM, RECORD_ALIGN, RESERVED, log_seed, pad_len,
};
use crate::format::checksum::{checksum, matches};
use crate::format::error::FormatError;
use crate::format::preamble::{FrameError, Preamble};

/// What the header of a log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogInfo<'a> {
    /// The number in the file's name.
    pub log_number: u64,
    /// The database's identity.
    pub database_id: u64,
    /// The seed of the hashes of keys.
    pub hash_seed: u64,
    /// The newest manifest when the log was made.
    pub manifest_number: u64,
    /// The log before this one that was still needed then; 0 if there was none.
    pub previous_log: u64,
    /// No record has a smaller seqno.
    pub first_seqno: u64,
    /// The name of the merge operator whose operands the database holds; never empty.
    pub merge_operator: Option<&'a str>,
}

impl<'a> LogInfo<'a> {
    /// Parses the start of a log.
    ///
    /// # Errors
    ///
    /// The rule that the bytes break, by offset in the file; or what the file needs and this build
    /// does not have.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let Ok((header, rest)) = LogHeader::ref_from_prefix(bytes) else {
            return Err(HEADER_LEN.found(0, LOG_HEADER_LEN as u64, bytes.len() as u64).into());
        };
        if header.preamble.magic != MAGIC {
            return Err(HEADER_MAGIC.broken(0).into());
        }
        if !matches(header.checked_bytes(), 0, header.checksum.get()) {
            return Err(HEADER_CHECKSUM.broken(CHECKSUM_OFFSET as u64).into());
        }
        header.preamble.check_version()?;
        if header.reserved != [0; 40] {
            return Err(RESERVED.broken(72).into());
        }
        Ok(Self {
            log_number: header.log_number.get(),
            database_id: header.database_id.get(),
            hash_seed: header.hash_seed.get(),
            manifest_number: header.manifest_number.get(),
            previous_log: header.previous_log.get(),
            first_seqno: header.first_seqno.get(),
            merge_operator: parse_operator(header, rest)?,
        })
    }

    /// Checks that the log is the one that it is taken for.
    ///
    /// # Errors
    ///
    /// Rule L7.
    pub const fn check_identity(&self, database_id: u64, number: u64) -> Result<(), FormatError> {
        if self.log_number != number {
            return Err(IDENTITY.found(24, number, self.log_number));
        }
        if self.database_id != database_id {
            return Err(IDENTITY.found(32, database_id, self.database_id));
        }
        Ok(())
    }

    /// The first bytes of a log that says this, up to its first record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = self.merge_operator.unwrap_or_default();
        let mut padded = name.as_bytes().to_vec();
        padded.resize(name.len() + pad_len(name.len() as u64), 0);
        let mut header = LogHeader {
            preamble: Preamble::new(MAGIC),
            operator_len: u32::try_from(name.len()).unwrap_or(u32::MAX).into(),
            log_number: self.log_number.into(),
            database_id: self.database_id.into(),
            hash_seed: self.hash_seed.into(),
            manifest_number: self.manifest_number.into(),
            previous_log: self.previous_log.into(),
            first_seqno: self.first_seqno.into(),
            reserved: [0; 40],
            operator_checksum: checksum(&padded, 0).into(),
            checksum: U64::ZERO,
        };
        header.checksum = checksum(header.checked_bytes(), 0).into();
        let mut bytes = header.as_bytes().to_vec();
        bytes.append(&mut padded);
        bytes
    }

    /// Where the first record starts.
    #[must_use]
    pub fn records_offset(&self) -> u64 {
        let name_len = self.merge_operator.map_or(0, str::len);
        (LOG_HEADER_LEN + name_len.next_multiple_of(RECORD_ALIGN)) as u64
    }

    /// What the checksums of this log are seeded with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        log_seed(self.database_id, self.log_number)
    }
}

impl LogHeader {
    /// The bytes that its checksum covers.
    fn checked_bytes(&self) -> &[u8] {
        self.as_bytes().get(..CHECKSUM_OFFSET).unwrap_or_default()
    }
}

/// The name of the merge operator at the start of `rest`, which follows the header.
fn parse_operator<'a>(header: &LogHeader, rest: &'a [u8]) -> Result<Option<&'a str>, FormatError> {
    let at = LOG_HEADER_LEN as u64;
    let operator_len = u64::from(header.operator_len.get());
    let padded_len = operator_len + pad_len(operator_len) as u64;
    let padded = usize::try_from(padded_len).ok().and_then(|len| rest.get(..len));
    let Some(padded) = padded else {
        return Err(HEADER_LEN.found(20, rest.len() as u64, operator_len));
    };
    if !matches(padded, 0, header.operator_checksum.get()) {
        return Err(OPERATOR_CHECKSUM.broken(112));
    }
    let name_len = padded.len() - pad_len(operator_len);
    let (name, padding) = padded.split_at_checked(name_len).unwrap_or_default();
    if padding.iter().any(|byte| *byte != 0) {
        return Err(RESERVED.broken(at + operator_len));
    }
    let name = std::str::from_utf8(name).map_err(|_| OPERATOR.broken(at))?;
    Ok((!name.is_empty()).then_some(name))
}
