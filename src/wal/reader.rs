//! Reading a log when a database is opened.
//!
//! Spec: `format-spec/07-log.md`. I/O: through `Storage`. Unsafe: none.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::log::{LogEnd, LogReader, Record};
use crate::options::ReadMode;
use crate::storage::Storage;

/// What a log was found to be.
#[derive(Clone, Debug)]
pub(crate) struct LogSummary {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its length.
    pub(crate) file_len: u64,
    /// What its header says; `None` if that is not whole, and then there are no records.
    pub(crate) header: Option<LogHeaderFacts>,
    /// How it ends.
    pub(crate) end: LogEnd,
    /// How many whole records it has.
    pub(crate) record_count: u64,
    /// One more than its largest seqno, or the `first_seqno` of its header; 0 without a header.
    pub(crate) next_seqno: u64,
    /// Up to here it is known to have been durable; above 0, all logs before it were sealed.
    pub(crate) max_synced_upto: u64,
}

/// What the header of a log says about the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogHeaderFacts {
    /// The seed of the hashes of keys.
    pub(crate) hash_seed: u64,
    /// The newest manifest when the log was made: an older one can't be the newest now.
    pub(crate) manifest_number: u64,
    /// The log before this one that was still needed then; 0 if there was none.
    pub(crate) previous_log: u64,
    /// The name of the merge operator.
    pub(crate) merge_operator: Option<String>,
}

impl LogSummary {
    /// The damage that this log shows by itself, if any: it has lost what was durable.
    pub(crate) fn damage(&self) -> Option<Error> {
        match self.end {
            LogEnd::Damaged { error, .. } => Some(Error::corrupt(&self.path, 0, error)),
            _ => None,
        }
    }

    /// The damage that this log shows if a later one says that it was sealed: any end but a seal.
    pub(crate) fn damage_if_sealed(&self) -> Option<Error> {
        let error = self.end.broken_if_sealed()?;
        Some(Error::corrupt(&self.path, 0, error))
    }

    /// How many bytes behind the whole records are dropped because they are not whole.
    pub(crate) fn dropped_len(&self) -> u64 {
        match self.end {
            LogEnd::Clean { .. } | LogEnd::Sealed { .. } => 0,
            LogEnd::Torn { at, .. } | LogEnd::Damaged { at, .. } => {
                self.file_len.saturating_sub(at)
            }
        }
    }
}

/// Gives each whole record of a log to `apply`, in order, and says how the log ends.
///
/// The log is read into memory, never mapped: another process may be writing it.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Corrupt`] if it is another log's or database's file under this name;
/// [`Error::UnsupportedFormat`]; what `apply` returns. Torn and damaged logs are no errors here:
/// ask the summary.
pub(crate) fn read_log(
    storage: &dyn Storage,
    database_id: u64,
    number: u64,
    mut apply: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<LogSummary> {
    let region = storage.open_region(FileName::Log(number), ReadMode::Heap)?;
    let bytes = region.read(0, usize::try_from(region.len()).unwrap_or(usize::MAX))?;
    let mut reader = LogReader::open(&bytes, database_id, number)
        .map_err(|error| Error::frame(region.path(), error))?;
    let mut record_count = 0;
    let end = loop {
        match reader.next() {
            Some(record) => apply(&record)?,
            None => break reader.end(),
        }
        record_count += 1;
    };
    let header = reader.info().map(|info| LogHeaderFacts {
        hash_seed: info.hash_seed,
        manifest_number: info.manifest_number,
        previous_log: info.previous_log,
        merge_operator: info.merge_operator.map(str::to_owned),
    });
    Ok(LogSummary {
        path: region.path().to_owned(),
        file_len: region.len(),
        header,
        // A reader without records left always has an end.
        end: end.unwrap_or(LogEnd::Clean { at: region.len() }),
        record_count,
        next_seqno: reader.next_seqno(),
        max_synced_upto: reader.max_synced_upto(),
    })
}
