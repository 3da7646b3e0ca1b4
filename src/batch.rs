//! Write batches: operations that are applied together or not at all.
//!
//! A batch is kept as the payload of a log record ([`encode_op`]), so writing it adds a header and
//! copies nothing a second time. Only a time to live needs work at the write, as it counts from
//! then: until then the field of the expiry holds a placeholder.
//!
//! ```text
//!   put("a", "1")   put_with_ttl("b", "2", 5 s)   delete("c")
//!        ▼                    ▼                        ▼
//!   │ tag … a 1 │ tag … │ placeholder │ b 2 │ tag … c │        ops
//!                       └─ 5 s                                 ttls
//! ```
//!
//! # Invariants
//!
//! - After a bad operation nothing more is kept: [`WriteBatch::check`] gives the first one's error,
//!   and nothing of the batch can be applied.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use std::borrow::Cow;
use std::fmt;
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::format::log_op::{
    Op, Ops, RangeDelete, RowOp, TooLarge, check_lens, encode_op, set_expiry,
};
use crate::format::range_tombstone::half_open;
use crate::format::row::{Kind, MAX_EXPIRY, MAX_KEY_LEN};
use crate::range::KeyRange;

/// The most bytes of keys and values in one batch: 4 GiB.
const MAX_DATA_LEN: u64 = 1 << 32;

/// An expiry that means nothing yet: the time to live is added up when the batch is written.
const PLACEHOLDER: u64 = 1;

/// Operations that [`Db::write`](crate::Db::write) applies together or not at all.
///
/// Readers see all of them or none, and a crash keeps all or none. Of several operations on one key
/// the last one wins. Collecting never fails: a bad operation (a key or value that is too large, a
/// time to live of zero) is the error of the write, and then nothing is applied. A batch can be
/// written more than once.
///
/// # Examples
///
/// ```
/// let mut batch = tinydb::WriteBatch::new();
/// batch.put("from", "90").put("to", "110").delete("pending");
/// assert_eq!(batch.len(), 3);
/// ```
#[derive(Clone, Default)]
pub struct WriteBatch {
    /// The operations, as a log record holds them.
    ops: Vec<u8>,
    /// How many there are in `ops`.
    op_count: u32,
    /// How many bytes their keys and values have.
    data_len: u64,
    /// Where in `ops` an operation with a time to live starts, and that time.
    ttls: Vec<(usize, Duration)>,
    /// Whether one of them is a merge operand.
    has_operands: bool,
    /// Whether one of them deletes a range.
    deletes_ranges: bool,
    /// The first bad operation.
    error: Option<Error>,
}

impl WriteBatch {
    /// Makes an empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ops: Vec::new(),
            op_count: 0,
            data_len: 0,
            ttls: Vec::new(),
            has_operands: false,
            deletes_ranges: false,
            error: None,
        }
    }

    /// Adds: `key` gets `value` and never expires.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.add(Kind::Put, key.as_ref(), value.as_ref(), None)
    }

    /// Adds: `key` gets `value` until `ttl` after the batch is written.
    ///
    /// The expiry is kept in whole seconds, rounded up.
    pub fn put_with_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> &mut Self {
        self.add(Kind::Put, key.as_ref(), value.as_ref(), Some(ttl))
    }

    /// Adds: `key` gets what the database's merge operator makes of `operand` and of what is there.
    ///
    /// Nothing is read: the operator works when the key is read, flushed or compacted.
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> &mut Self {
        self.add(Kind::Merge, key.as_ref(), operand.as_ref(), None)
    }

    /// Adds: `key` is absent. Fine if it is already.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.add(Kind::Delete, key.as_ref(), &[], None)
    }

    /// Adds: all keys of a range are absent; later operations of the batch may bring some back.
    ///
    /// An inverted or empty range deletes nothing and counts as no operation.
    pub fn delete_range(&mut self, range: impl KeyRange) -> &mut Self {
        if self.error.is_none()
            && let Err(error) = self.try_delete_range(range.start(), range.end())
        {
            self.error = Some(error);
        }
        self
    }

    /// Removes all operations, and the memory of a bad one; keeps the buffer.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.op_count = 0;
        self.data_len = 0;
        self.ttls.clear();
        self.has_operands = false;
        self.deletes_ranges = false;
        self.error = None;
    }

    /// How many operations were added; a bad one and those after it are not counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.op_count as usize
    }

    /// Whether there is no operation, good or bad.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.op_count == 0 && self.error.is_none()
    }

    /// Whether every operation is good.
    ///
    /// # Errors
    ///
    /// The first bad operation's.
    pub(crate) fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// The key of the first merge operand.
    pub(crate) fn first_merged_key(&self) -> Option<&[u8]> {
        let mut ops = Ops::new(&self.ops, self.op_count).flatten();
        ops.find_map(|op| match op {
            Op::Row(op) if op.kind == Kind::Merge => Some(op.key),
            Op::Row(_) | Op::RangeDelete(_) => None,
        })
    }

    /// Whether there is a merge operand.
    pub(crate) const fn has_operands(&self) -> bool {
        self.has_operands
    }

    /// Whether an operation deletes a range of keys.
    pub(crate) const fn deletes_ranges(&self) -> bool {
        self.deletes_ranges
    }

    /// How many operations the payload holds.
    pub(crate) const fn op_count(&self) -> u32 {
        self.op_count
    }

    /// The payload of this batch's log record when it is written `now`; borrowed unless there is
    /// a time to live to add to it.
    ///
    /// # Errors
    ///
    /// The first bad operation's, or [`Error::InvalidArgument`] if an expiry can't be represented.
    pub(crate) fn payload(&self, now: SystemTime) -> Result<Cow<'_, [u8]>> {
        self.check()?;
        if self.ttls.is_empty() {
            return Ok(Cow::Borrowed(&self.ops));
        }
        let mut ops = self.ops.clone();
        for &(offset, ttl) in &self.ttls {
            let is_set = set_expiry(&mut ops, offset, expires_at(now, ttl)?);
            debug_assert!(is_set, "`try_add` noted where an operation with an expiry starts");
        }
        Ok(Cow::Owned(ops))
    }

    fn add(&mut self, kind: Kind, key: &[u8], value: &[u8], ttl: Option<Duration>) -> &mut Self {
        if self.error.is_none()
            && let Err(error) = self.try_add(kind, key, value, ttl)
        {
            self.error = Some(error);
        }
        self
    }

    fn try_add(
        &mut self,
        kind: Kind,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<()> {
        if ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(Error::invalid("a time to live of zero; it must be longer"));
        }
        if let Some(ttl) = ttl.filter(|ttl| ttl.as_secs() > MAX_EXPIRY) {
            return Err(ends_too_far_away(ttl));
        }
        let too_large = |error| match error {
            TooLarge::Key => Error::KeyTooLarge { len: key.len() },
            TooLarge::Value => Error::ValueTooLarge { len: value.len() },
            TooLarge::End => Error::KeyTooLarge { len: value.len() },
        };
        let (key_len, value_len) = check_lens(key, value).map_err(too_large)?;
        let (op_count, data_len) = self.with_one_more(u64::from(key_len) + u64::from(value_len))?;
        let expires_at = ttl.map_or(0, |_| PLACEHOLDER);
        let offset = self.ops.len();
        let op = RowOp { kind, tree_id: 0, expires_at, key, value };
        encode_op(&mut self.ops, &op.into()).map_err(too_large)?;
        self.op_count = op_count;
        self.data_len = data_len;
        self.has_operands |= kind == Kind::Merge;
        self.ttls.extend(ttl.map(|ttl| (offset, ttl)));
        Ok(())
    }
}

impl WriteBatch {
    fn try_delete_range(&mut self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Result<()> {
        for bound in [start, end] {
            if let Bound::Included(key) | Bound::Excluded(key) = bound
                && key.len() > MAX_KEY_LEN
            {
                return Err(Error::KeyTooLarge { len: key.len() });
            }
        }
        let Some((start, end)) = half_open(start, end) else { return Ok(()) };
        let len = start.len() + end.as_ref().map_or(0, Vec::len);
        let (op_count, data_len) = self.with_one_more(len as u64)?;
        let op = RangeDelete { tree_id: 0, start: &start, end: end.as_deref() };
        let too_large = |_| Error::KeyTooLarge { len };
        encode_op(&mut self.ops, &op.into()).map_err(too_large)?;
        self.op_count = op_count;
        self.data_len = data_len;
        self.deletes_ranges = true;
        Ok(())
    }

    /// How many operations, and bytes of their keys and values, there are with one more.
    fn with_one_more(&self, len: u64) -> Result<(u32, u64)> {
        let data_len = self.data_len + len;
        if data_len > MAX_DATA_LEN {
            return Err(Error::invalid("a batch of more than 4 GiB of keys and values"));
        }
        let Some(op_count) = self.op_count.checked_add(1) else {
            return Err(Error::invalid("a batch of more than 4294967295 operations"));
        };
        Ok((op_count, data_len))
    }
}

impl fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatch")
            .field("len", &self.len())
            .field("data_len", &self.data_len)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// When something expires that lives for `ttl` from `now` on: whole seconds since 1970, rounded up.
fn expires_at(now: SystemTime, ttl: Duration) -> Result<u64> {
    let secs = now.checked_add(ttl).map(|end| {
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        end.as_secs().saturating_add(u64::from(end.subsec_nanos() > 0)).max(1)
    });
    secs.filter(|secs| *secs <= MAX_EXPIRY).ok_or_else(|| ends_too_far_away(ttl))
}

fn ends_too_far_away(ttl: Duration) -> Error {
    Error::invalid(format!("a time to live of {} s; it ends too far away", ttl.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn ops(payload: &[u8], batch: &WriteBatch) -> Vec<(Kind, u64, Vec<u8>, Vec<u8>)> {
        Ops::new(payload, batch.op_count())
            .map(|op| match op.unwrap() {
                Op::Row(op) => (op.kind, op.expires_at, op.key.to_vec(), op.value.to_vec()),
                Op::RangeDelete(op) => panic!("{op:?}"),
            })
            .collect()
    }

    #[track_caller]
    fn check(batch: &WriteBatch, now: SystemTime, want: &[(Kind, u64, &[u8], &[u8])]) {
        let payload = batch.payload(now).unwrap();
        assert_eq!(payload.len(), batch.ops.len());
        let want: Vec<_> = want
            .iter()
            .map(|(kind, expires_at, key, value)| {
                (*kind, *expires_at, key.to_vec(), value.to_vec())
            })
            .collect();
        assert_eq!(ops(&payload, batch), want);
        assert_eq!((batch.len(), batch.is_empty()), (want.len(), want.is_empty()));
    }

    #[test]
    fn a_batch_is_its_operations_in_order() {
        let mut batch = WriteBatch::new();
        check(&batch, NOW, &[]);
        batch.put("a", "1").delete(b"b").put(vec![], [0xff]).put("a", String::from("2"));
        #[rustfmt::skip]
        check(&batch, NOW, &[
            (Kind::Put, 0, b"a", b"1"),
            (Kind::Delete, 0, b"b", b""),
            (Kind::Put, 0, b"", b"\xff"),
            (Kind::Put, 0, b"a", b"2"),
        ]);
        assert!(matches!(batch.payload(NOW), Ok(Cow::Borrowed(_))), "nothing to copy");
    }

    #[test]
    fn clear_forgets_everything() {
        let mut batch = WriteBatch::new();
        batch.put_with_ttl("a", "1", Duration::from_secs(1)).delete(vec![0; 70_000]);
        assert!(batch.check().is_err());
        batch.clear();
        assert!(batch.check().is_ok());
        check(&batch, NOW, &[]);
        check(batch.put("b", "2"), NOW, &[(Kind::Put, 0, b"b", b"2")]);
    }

    #[test]
    fn a_time_to_live_counts_from_the_write() {
        let mut batch = WriteBatch::default();
        batch.put("a", "1").put_with_ttl("b", "2", Duration::from_millis(1_500)).delete("c");
        batch.put_with_ttl("d", "3", Duration::from_nanos(1));
        for (now_millis, b_expires, d_expires) in [(0, 2, 1), (10_000, 12, 11), (10_600, 13, 11)] {
            let now = UNIX_EPOCH + Duration::from_millis(now_millis);
            #[rustfmt::skip]
            check(&batch, now, &[
                (Kind::Put, 0, b"a", b"1"),
                (Kind::Put, b_expires, b"b", b"2"),
                (Kind::Delete, 0, b"c", b""),
                (Kind::Put, d_expires, b"d", b"3"),
            ]);
        }
    }

    #[test]
    fn an_expiry_is_a_whole_second_that_the_format_can_hold() {
        let max = Duration::from_secs(MAX_EXPIRY);
        let nano = Duration::from_nanos(1);
        let before_1970 = UNIX_EPOCH - Duration::from_secs(10);
        #[rustfmt::skip]
        let cases = [
            // now               ttl            expires_at
            (UNIX_EPOCH,         nano,          Some(1)),
            (UNIX_EPOCH + nano,  max.saturating_sub(nano), Some(MAX_EXPIRY)),
            (UNIX_EPOCH,         max,           Some(MAX_EXPIRY)),
            (UNIX_EPOCH + nano,  max,           None),
            (UNIX_EPOCH,         Duration::MAX, None),
            (before_1970,        nano,          Some(1)), // 0 would mean never
            (before_1970,        max,           Some(MAX_EXPIRY - 10)),
        ];
        for (now, ttl, want) in cases {
            assert_eq!(expires_at(now, ttl).ok(), want, "{now:?} + {ttl:?}");
        }
    }

    #[track_caller]
    fn check_bad(add: impl Fn(&mut WriteBatch) -> &mut WriteBatch, want: &str) {
        let mut batch = WriteBatch::new();
        batch.put("good", "1");
        add(&mut batch);
        add(batch.put("after", "2").put_with_ttl("b", "", Duration::ZERO));
        assert!(!batch.is_empty());
        let error = batch.payload(NOW).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn the_first_bad_operation_is_the_error_of_the_write() {
        check_bad(|batch| batch.put(vec![0; 65_536], ""), "the key has 65536 bytes");
        check_bad(|batch| batch.delete(vec![0; 65_537]), "the key has 65537 bytes");
        check_bad(|batch| batch.put_with_ttl("a", "", Duration::ZERO), "of zero");
        check_bad(|batch| batch.put_with_ttl("a", "", Duration::MAX), "too far");
        let mut alone = WriteBatch::new();
        assert!(!alone.delete(vec![0; 65_536]).is_empty(), "its write must fail, not do nothing");
    }

    #[test]
    fn a_batch_holds_at_most_four_gib_of_data() {
        let mut batch = WriteBatch { data_len: MAX_DATA_LEN - 3, ..WriteBatch::new() };
        assert!(batch.put("a", "12").check().is_ok());
        let error = batch.put("", "1").check().unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }

    #[test]
    fn a_batch_counts_its_operations_in_32_bits() {
        let mut batch = WriteBatch { op_count: u32::MAX - 1, ..WriteBatch::new() };
        assert!(batch.delete("").check().is_ok());
        assert!(matches!(batch.delete("").check(), Err(Error::InvalidArgument { .. })));
    }
}
