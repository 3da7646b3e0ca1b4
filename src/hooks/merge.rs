//! The merge operator: what the operands of a key make of its value.
//!
//! Spec: `format-spec/02-rows.md`, "What a reader sees". I/O: none. Unsafe: none.

use std::fmt;
use std::sync::Arc;

use super::guarded;
use crate::error::{Error, Result};
use crate::format::row::MAX_VALUE_LEN;

/// Folds merge operands into values.
///
/// [`Db::merge`](crate::Db::merge) writes an operand without reading. When the key is read, and when
/// its rows are flushed or compacted, the operator makes one value of the operands and the value
/// below them.
///
/// # Laws
///
/// An operand is a value of the same type, and operands may be folded among themselves first:
///
/// - `merge(e, merge(Some(a), b)) == merge(Some(merge(e, a)), b)`
/// - `merge(None, a) == a`
///
/// An operator that breaks them gives values that depend on when the database folds. It must give
/// the same result for the same arguments; an error or a panic fails the read that asked, while a
/// flush or compaction keeps the operands as they are, counts it in
/// [`Stats`](crate::Stats), and goes on.
///
/// # Threads
///
/// It is called in whatever thread reads, flushes or compacts: the caller's own, those of the
/// database, and with [`background_threads(0)`](crate::Options::background_threads) the one whose
/// write fills the memtable. Several may call it at once. It must not call the database that it
/// serves: a write may wait for the very flush that waits for the operator.
///
/// # Examples
///
/// ```
/// use tinydb::{MergeError, MergeOperator};
///
/// /// Keeps the longest value.
/// struct Longest;
///
/// impl MergeOperator for Longest {
///     fn name(&self) -> &str {
///         "example.longest"
///     }
///
///     fn merge(
///         &self,
///         _key: &[u8],
///         existing: Option<&[u8]>,
///         operand: &[u8],
///     ) -> Result<Vec<u8>, MergeError> {
///         let existing = existing.unwrap_or_default();
///         Ok(if existing.len() > operand.len() { existing } else { operand }.to_vec())
///     }
/// }
/// ```
pub trait MergeOperator: Send + Sync + 'static {
    /// The operator's name. It is stored: a database that was opened with one operator can't be
    /// opened with one of another name.
    fn name(&self) -> &str;

    /// Folds one operand onto a value. `existing` is `None` if the key is absent, deleted or
    /// expired.
    ///
    /// # Errors
    ///
    /// What the operator can't fold, such as a value of the wrong form.
    fn merge(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError>;

    /// Folds one or more operands, oldest first. By default [`merge`](Self::merge) is called for
    /// one after the other; an operator that can do better with all of them overrides this.
    ///
    /// # Errors
    ///
    /// As [`merge`](Self::merge).
    fn merge_batch(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, MergeError> {
        let mut folded: Option<Vec<u8>> = None;
        for operand in operands {
            folded = Some(self.merge(key, folded.as_deref().or(existing), operand)?);
        }
        folded.ok_or_else(|| MergeError::new("there is no operand"))
    }
}

macro_rules! forwards {
    ($($pointer:ident),+) => {$(
        impl<T: MergeOperator + ?Sized> MergeOperator for $pointer<T> {
            fn name(&self) -> &str {
                self.as_ref().name()
            }

            fn merge(
                &self,
                key: &[u8],
                existing: Option<&[u8]>,
                operand: &[u8],
            ) -> Result<Vec<u8>, MergeError> {
                self.as_ref().merge(key, existing, operand)
            }

            fn merge_batch(
                &self,
                key: &[u8],
                existing: Option<&[u8]>,
                operands: &[&[u8]],
            ) -> Result<Vec<u8>, MergeError> {
                self.as_ref().merge_batch(key, existing, operands)
            }
        }
    )+};
}

forwards!(Arc, Box);

/// Why a merge operator could not fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeError {
    reason: String,
}

impl MergeError {
    /// An error with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for MergeError {}

/// A merge operator as the database calls it.
#[derive(Clone)]
pub(crate) struct Merger {
    operator: Arc<dyn MergeOperator>,
}

impl Merger {
    pub(crate) fn new(operator: impl MergeOperator) -> Self {
        Self { operator: Arc::new(operator) }
    }

    /// The operator's name; what is wrong with it if it is none.
    pub(crate) fn name(&self) -> Result<String> {
        match guarded(|| self.operator.name().to_owned()) {
            Ok(name) if name.is_empty() => Err(Error::invalid("the merge operator has no name")),
            Ok(name) if name.len() > MAX_NAME_LEN => Err(Error::invalid(format!(
                "the merge operator's name has {} bytes; at most {MAX_NAME_LEN} are allowed",
                name.len()
            ))),
            Ok(name) => Ok(name),
            Err(panic) => Err(Error::invalid(format!("the merge operator's name: {panic}"))),
        }
    }

    /// Folds operands, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Merge`] if the operator fails, panics, or gives more than 4 GiB − 1 bytes.
    pub(crate) fn fold(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>> {
        let failed = |reason| Error::Merge { key: key.to_vec(), reason };
        match guarded(|| self.operator.merge_batch(key, existing, operands)) {
            Ok(Ok(value)) if value.len() as u64 <= MAX_VALUE_LEN => Ok(value),
            Ok(Ok(value)) => Err(failed(format!("it gave a value of {} bytes", value.len()))),
            Ok(Err(error)) => Err(failed(error.reason)),
            Err(panic) => Err(failed(panic)),
        }
    }
}

/// The longest name of an operator, in bytes.
const MAX_NAME_LEN: usize = 1024;

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Merger").field(&self.name().unwrap_or_default()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins what it is given; fails on `!` and panics on `?`.
    struct Join;

    impl MergeOperator for Join {
        fn name(&self) -> &'static str {
            "join"
        }

        fn merge(
            &self,
            _key: &[u8],
            existing: Option<&[u8]>,
            operand: &[u8],
        ) -> Result<Vec<u8>, MergeError> {
            match operand {
                b"!" => Err(MergeError::new("no !")),
                b"?" => panic!("a question"),
                operand => Ok([existing.unwrap_or(b"-"), operand].concat()),
            }
        }
    }

    #[test]
    fn operands_are_folded_one_after_the_other_unless_the_operator_knows_better() {
        let merger = Merger::new(Join);
        assert_eq!(merger.fold(b"k", None, &[b"a", b"b"]).unwrap(), b"-ab");
        assert_eq!(merger.fold(b"k", Some(b"x"), &[b"a", b"b"]).unwrap(), b"xab");
        let shared: Box<dyn MergeOperator> = Box::new(Arc::new(Join));
        assert_eq!(Merger::new(shared).fold(b"k", None, &[b"a"]).unwrap(), b"-a");
    }

    #[test]
    fn an_error_and_a_panic_name_the_key_and_the_reason() {
        let merger = Merger::new(Join);
        for (operand, want) in [(b"!", "no !"), (b"?", "it panicked: a question")] {
            let error = merger.fold(b"key", None, &[b"a", operand]).unwrap_err();
            let Error::Merge { key, reason } = error else { panic!("{error}") };
            assert_eq!((&key[..], &*reason), (&b"key"[..], want));
        }
        assert!(merger.fold(b"key", None, &[]).is_err(), "nothing to fold");
    }

    #[test]
    fn a_name_is_neither_empty_nor_endless() {
        struct Named(String);
        impl MergeOperator for Named {
            fn name(&self) -> &str {
                assert_ne!(self.0, "panic", "no name");
                &self.0
            }

            fn merge(&self, _: &[u8], _: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, MergeError> {
                Ok(Vec::new())
            }
        }
        let name = |name: &str| Merger::new(Named(name.into())).name();
        assert_eq!(name("counter").unwrap(), "counter");
        for bad in ["", "panic", &"n".repeat(MAX_NAME_LEN + 1)] {
            assert!(matches!(name(bad), Err(Error::InvalidArgument { .. })), "{bad}");
        }
    }
}
