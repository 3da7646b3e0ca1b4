//! The compaction filter: the caller's say in what a compaction keeps.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::guarded;
use crate::format::row::MAX_VALUE_LEN;

/// Decides, when rows are compacted, which values stay.
///
/// It is asked for the newest value of a key among the rows that are compacted, if no live snapshot
/// or iterator can see that row. Newer rows of the key may lie in tables that are not part of the
/// compaction, and a row may be asked about again each time it is compacted. Rows that were never
/// compacted were never asked about: the filter must not be needed for reads to be right.
///
/// A snapshot counts as live from when this handle took it: one of an earlier open, or of another
/// process that reads the same files, is not known.
///
/// An error or a panic keeps the row; [`Stats`](crate::Stats) counts it.
///
/// It is called in the threads that compact: those of the database, and the caller's own in
/// [`compact`](crate::Db::compact) and [`compact_range`](crate::Db::compact_range). Several may call
/// it at once. It must not call the database that it serves: a write may wait for the very compaction
/// that waits for the filter.
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use tinydb::{CompactionFilter, Decision};
///
/// /// Removes sessions that have ended.
/// struct EndedSessions;
///
/// impl CompactionFilter for EndedSessions {
///     fn name(&self) -> &str {
///         "example.ended-sessions"
///     }
///
///     fn filter(&self, key: &[u8], value: &[u8]) -> Result<Decision, Box<dyn Error + Send + Sync>> {
///         let has_ended = key.starts_with(b"session:") && value == b"ended";
///         Ok(if has_ended { Decision::Remove } else { Decision::Keep })
///     }
/// }
/// ```
pub trait CompactionFilter: Send + Sync + 'static {
    /// The filter's name, for statistics and errors.
    fn name(&self) -> &str;

    /// Decides about one value.
    ///
    /// # Errors
    ///
    /// Whatever the filter likes; the row is kept then.
    fn filter(&self, key: &[u8], value: &[u8])
    -> Result<Decision, Box<dyn StdError + Send + Sync>>;
}

/// What a compaction does with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Keep,
    /// Its key is absent from now on, as after a delete; a newer row of it, in a table that is not
    /// compacted, is still seen.
    Remove,
    /// Its key has this value from now on; an expiry stays.
    Replace(Vec<u8>),
}

macro_rules! forwards {
    ($($pointer:ident),+) => {$(
        impl<T: CompactionFilter + ?Sized> CompactionFilter for $pointer<T> {
            fn name(&self) -> &str {
                self.as_ref().name()
            }

            fn filter(
                &self,
                key: &[u8],
                value: &[u8],
            ) -> Result<Decision, Box<dyn StdError + Send + Sync>> {
                self.as_ref().filter(key, value)
            }
        }
    )+};
}

forwards!(Arc, Box);

/// A compaction filter as the database calls it.
#[derive(Clone)]
pub(crate) struct Filter {
    filter: Arc<dyn CompactionFilter>,
}

impl Filter {
    pub(crate) fn new(filter: impl CompactionFilter) -> Self {
        Self { filter: Arc::new(filter) }
    }

    /// Asks about one value; why it failed if it fails.
    pub(crate) fn decide(&self, key: &[u8], value: &[u8]) -> Result<Decision, String> {
        match guarded(|| self.filter.filter(key, value)) {
            Ok(Ok(Decision::Replace(value))) if value.len() as u64 > MAX_VALUE_LEN => {
                Err(format!("it gave a value of {} bytes", value.len()))
            }
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic),
        }
        .map_err(|reason| format!("compaction filter {}: {reason}", self.name()))
    }

    fn name(&self) -> String {
        guarded(|| self.filter.name().to_owned()).unwrap_or_default()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ByValue;

    impl CompactionFilter for ByValue {
        fn name(&self) -> &'static str {
            "by-value"
        }

        fn filter(
            &self,
            _key: &[u8],
            value: &[u8],
        ) -> Result<Decision, Box<dyn StdError + Send + Sync>> {
            match value {
                b"error" => Err("an error".into()),
                b"panic" => panic!("a panic"),
                value => Ok(Decision::Replace(value.to_ascii_uppercase())),
            }
        }
    }

    #[test]
    fn a_filter_that_fails_or_panics_is_named() {
        let filter = Filter::new(Arc::new(ByValue));
        let decide = |value: &[u8]| filter.decide(b"key", value);
        assert_eq!(decide(b"a"), Ok(Decision::Replace(b"A".to_vec())));
        assert_eq!(decide(b"error"), Err("compaction filter by-value: an error".into()));
        let panicked = Err("compaction filter by-value: it panicked: a panic".into());
        assert_eq!(decide(b"panic"), panicked);
        assert_eq!(format!("{filter:?}"), r#"Filter("by-value")"#);
    }
}
