//! The log operation: one put, delete, merge or range delete inside a batch record of the log.
//!
//! A batch record's payload is nothing but operations, back to back. A write batch collects them in
//! this very encoding, so writing it encodes nothing again. Operation `i` of a record has the
//! record's first seqno plus `i`.
//!
//! ```text
//!  0     1         5         7           11           (19)
//!  │ tag │ tree_id │ key_len │ value_len │ expires_at │ key … │ value … │
//!  │ u8  │ u32     │ u16     │ u32       │ u64, if    │       │         │
//!  │     │         │         │           │ tag bit 7  │       │         │
//! ```
//!
//! A range delete has the start of its range for a key and the end for a value.
//!
//! # Invariants
//!
//! - An operation has one encoding: no expiry field that says "never", no value on a delete.
//! - A range delete that is decoded has an end above its start, or none.
//! - The decoder borrows from the payload and copies nothing.
//!
//! Spec: `format-spec/07-log.md`. I/O: none. Unsafe: none.

use std::iter::FusedIterator;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::{FormatError, Rule, rules};
use super::range_tombstone::RangeTombstone;
use super::row::{Kind, MAX_EXPIRY, MAX_KEY_LEN, Row};

rules! { RULES:
    FIELDS_IN_BOUNDS = "O1", "an operation's fixed fields lie inside the payload";
    KNOWN_TAG = "O2", "tag bits 0 to 3 are a known kind, bits 5 and 6 are zero, and bit 4 is set on no \
        other than a range delete";
    KNOWN_TREE = "O3", "the tree id is 0";
    EXPIRY_IN_RANGE = "O4", "an expiry is 1 to 2^48 and stands on no delete, of a key or of a range";
    DELETE_IS_BARE = "O5", "a delete has no value";
    ROW_IN_BOUNDS = "O6", "an operation's key and value lie inside the payload";
    EXACT_COUNT = "O7", "the payload ends with the last operation";
    ENDLESS_IS_BARE = "O8", "a range delete without an end, which has bit 4 set, has no value";
    RANGE = "O9", "a range delete's end is above its start and has at most 65,535 bytes";
}

/// The fixed fields at the start of every operation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OpHeader {
    /// Bits 0 to 3: the [`Kind`], or 3 for a range delete; bit 4: it has no end; bit 7: an expiry
    /// follows this header; the others are zero.
    pub tag: u8,
    /// The tree that the operation belongs to; 0 today.
    pub tree_id: U32,
    /// Length of the user key, or of the start of a range.
    pub key_len: U16,
    /// Length of the value or operand, or of the end of a range; 0 for a delete.
    pub value_len: U32,
}

const OP_HEADER_LEN: usize = size_of::<OpHeader>();
const EXPIRY_LEN: usize = size_of::<U64>();
const _: () = assert!(OP_HEADER_LEN == 11, "format-spec/07-log.md fixes this size");

const KIND_BITS: u8 = 0x0F;
const ENDLESS_BIT: u8 = 0x10;
const EXPIRY_BIT: u8 = 0x80;
/// The kind of a range delete; smaller ones are those of rows.
const RANGE_DELETE: u8 = 3;

/// One operation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Makes a row.
    Row(RowOp<'a>),
    /// Deletes the older rows of a range of keys.
    RangeDelete(RangeDelete<'a>),
}

/// An operation on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOp<'a> {
    /// What it says about the key.
    pub kind: Kind,
    /// The tree that it belongs to; 0 today.
    pub tree_id: u32,
    /// When the row expires, in seconds since 1970; 0 is never.
    pub expires_at: u64,
    /// The user key.
    pub key: &'a [u8],
    /// The value or operand; empty for a delete.
    pub value: &'a [u8],
}

/// An operation on a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeDelete<'a> {
    /// The tree that it belongs to; 0 today.
    pub tree_id: u32,
    /// The first key of the range.
    pub start: &'a [u8],
    /// The first key behind the range; `None` if it has no end.
    pub end: Option<&'a [u8]>,
}

impl<'a> Op<'a> {
    /// The user key, or the start of the range.
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        match self {
            Self::Row(op) => op.key,
            Self::RangeDelete(op) => op.start,
        }
    }
}

impl<'a> From<RowOp<'a>> for Op<'a> {
    fn from(op: RowOp<'a>) -> Self {
        Self::Row(op)
    }
}

impl<'a> From<RangeDelete<'a>> for Op<'a> {
    fn from(op: RangeDelete<'a>) -> Self {
        Self::RangeDelete(op)
    }
}

impl<'a> RangeDelete<'a> {
    /// The range tombstone that this operation makes when it is the one with `seqno`.
    #[must_use]
    pub const fn tombstone(&self, seqno: u64) -> RangeTombstone<'a> {
        RangeTombstone { start: self.start, end: self.end, seqno }
    }
}

impl<'a> RowOp<'a> {
    /// The row that this operation makes when it is the one with `seqno`.
    #[inline]
    #[must_use]
    pub const fn row(&self, seqno: u64) -> Row<'a> {
        let Self { kind, expires_at, key, value, .. } = *self;
        Row { key, seqno, kind, expires_at, value }
    }
}

/// Why an operation has no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// The key is longer than 65,535 bytes.
    Key,
    /// The value is longer than 4 GiB − 1.
    Value,
    /// The end of a range is longer than 65,535 bytes.
    End,
}

/// Length of the encoding of an operation.
#[must_use]
pub const fn op_len(key_len: usize, value_len: usize, has_expiry: bool) -> usize {
    let expiry_len = if has_expiry { EXPIRY_LEN } else { 0 };
    OP_HEADER_LEN.saturating_add(expiry_len).saturating_add(key_len).saturating_add(value_len)
}

/// Appends the encoding of `op`. A delete's value and expiry are left out.
///
/// A range without a key in it gives bytes that [`Ops`] refuses.
///
/// # Errors
///
/// [`TooLarge`] if a length does not fit its field; then `out` is unchanged.
pub fn encode_op(out: &mut Vec<u8>, op: &Op<'_>) -> Result<(), TooLarge> {
    match op {
        Op::Row(op) => encode_row_op(out, op),
        Op::RangeDelete(op) => encode_range_delete(out, op),
    }
}

fn encode_row_op(out: &mut Vec<u8>, op: &RowOp<'_>) -> Result<(), TooLarge> {
    let (value, expires_at) = match op.kind {
        Kind::Delete => (&[][..], 0),
        Kind::Put | Kind::Merge => (op.value, op.expires_at),
    };
    let (key_len, value_len) = check_lens(op.key, value)?;
    let has_expiry = expires_at != 0;
    let header = OpHeader {
        tag: op.kind as u8 | if has_expiry { EXPIRY_BIT } else { 0 },
        tree_id: op.tree_id.into(),
        key_len: key_len.into(),
        value_len: value_len.into(),
    };
    out.reserve(op_len(op.key.len(), value.len(), has_expiry));
    out.extend_from_slice(header.as_bytes());
    if has_expiry {
        out.extend_from_slice(U64::new(expires_at).as_bytes());
    }
    out.extend_from_slice(op.key);
    out.extend_from_slice(value);
    Ok(())
}

fn encode_range_delete(out: &mut Vec<u8>, op: &RangeDelete<'_>) -> Result<(), TooLarge> {
    let end = op.end.unwrap_or_default();
    let (key_len, value_len) = check_lens(op.start, end)?;
    if end.len() > MAX_KEY_LEN {
        return Err(TooLarge::End);
    }
    let header = OpHeader {
        tag: RANGE_DELETE | if op.end.is_none() { ENDLESS_BIT } else { 0 },
        tree_id: op.tree_id.into(),
        key_len: key_len.into(),
        value_len: value_len.into(),
    };
    out.reserve(op_len(op.start.len(), end.len(), false));
    for part in [header.as_bytes(), op.start, end] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// The lengths of a key and a value as their fields hold them.
///
/// # Errors
///
/// [`TooLarge`] if a length does not fit its field.
pub fn check_lens(key: &[u8], value: &[u8]) -> Result<(u16, u32), TooLarge> {
    let key_len = u16::try_from(key.len()).map_err(|_| TooLarge::Key)?;
    let value_len = u32::try_from(value.len()).map_err(|_| TooLarge::Value)?;
    Ok((key_len, value_len))
}

/// Changes the expiry of the operation that starts at `offset` and was encoded with one.
///
/// Returns whether there is such an operation; if not, nothing changes.
pub fn set_expiry(ops: &mut [u8], offset: usize, expires_at: u64) -> bool {
    let op = ops.get_mut(offset..).unwrap_or_default();
    let Ok((header, rest)) = OpHeader::mut_from_prefix(op) else { return false };
    match U64::mut_from_prefix(rest) {
        Ok((field, _)) if header.tag & EXPIRY_BIT != 0 => {
            field.set(expires_at);
            true
        }
        _ => false,
    }
}

/// The operations of one batch record, in order; after an error, nothing.
#[derive(Clone, Debug)]
pub struct Ops<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
    left_count: u32,
    ended: bool,
}

impl<'a> Ops<'a> {
    /// The operations in `payload`, which must be `op_count`.
    #[must_use]
    pub const fn new(payload: &'a [u8], op_count: u32) -> Self {
        Self { payload, rest: payload, left_count: op_count, ended: false }
    }

    /// Where the next operation starts, in bytes from the payload's start.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.payload.len().saturating_sub(self.rest.len())
    }

    fn parse_next(&mut self) -> Result<Op<'a>, FormatError> {
        let start = self.offset();
        let broken = |rule: &'static Rule, at: usize| rule.broken(start.saturating_add(at) as u64);
        let (header, rest) =
            OpHeader::ref_from_prefix(self.rest).map_err(|_| broken(&FIELDS_IN_BOUNDS, 0))?;
        let kind = match Kind::from_u8(header.tag & KIND_BITS) {
            Some(kind) if header.tag & !(KIND_BITS | EXPIRY_BIT) == 0 => kind,
            None if header.tag & KIND_BITS == RANGE_DELETE => return self.parse_range_delete(),
            _ => return Err(broken(&KNOWN_TAG, 0)),
        };
        if header.tree_id != 0 {
            return Err(broken(&KNOWN_TREE, 1));
        }
        let value_len = header.value_len.get();
        if kind == Kind::Delete && value_len != 0 {
            return Err(broken(&DELETE_IS_BARE, 7));
        }
        let (expires_at, rest) = if header.tag & EXPIRY_BIT == 0 {
            (0, rest)
        } else {
            let (expires_at, rest) =
                U64::ref_from_prefix(rest).map_err(|_| broken(&FIELDS_IN_BOUNDS, OP_HEADER_LEN))?;
            if kind == Kind::Delete || !(1..=MAX_EXPIRY).contains(&expires_at.get()) {
                return Err(broken(&EXPIRY_IN_RANGE, OP_HEADER_LEN));
            }
            (expires_at.get(), rest)
        };
        let out_of_bounds = || broken(&ROW_IN_BOUNDS, 5);
        let value_len = usize::try_from(value_len).map_err(|_| out_of_bounds())?;
        let (key, rest) =
            rest.split_at_checked(header.key_len.get().into()).ok_or_else(out_of_bounds)?;
        let (value, rest) = rest.split_at_checked(value_len).ok_or_else(out_of_bounds)?;
        self.rest = rest;
        Ok(Op::Row(RowOp { kind, tree_id: header.tree_id.get(), expires_at, key, value }))
    }

    /// Parses an operation whose tag says that it is a range delete.
    #[cold]
    fn parse_range_delete(&mut self) -> Result<Op<'a>, FormatError> {
        let start_at = self.offset();
        let broken = |rule: &'static Rule, at: usize| rule.broken((start_at + at) as u64);
        let (header, rest) =
            OpHeader::ref_from_prefix(self.rest).map_err(|_| broken(&FIELDS_IN_BOUNDS, 0))?;
        if header.tag & !(KIND_BITS | ENDLESS_BIT | EXPIRY_BIT) != 0 {
            return Err(broken(&KNOWN_TAG, 0));
        }
        if header.tag & EXPIRY_BIT != 0 {
            return Err(broken(&EXPIRY_IN_RANGE, 0));
        }
        if header.tree_id != 0 {
            return Err(broken(&KNOWN_TREE, 1));
        }
        let is_endless = header.tag & ENDLESS_BIT != 0;
        let end_len = header.value_len.get() as usize;
        if is_endless && end_len != 0 {
            return Err(broken(&ENDLESS_IS_BARE, 7));
        }
        if end_len > MAX_KEY_LEN {
            let at = (start_at + 7) as u64;
            return Err(RANGE.found(at, MAX_KEY_LEN as u64, end_len as u64));
        }
        let out_of_bounds = || broken(&ROW_IN_BOUNDS, 5);
        let (start, rest) =
            rest.split_at_checked(header.key_len.get().into()).ok_or_else(out_of_bounds)?;
        let (end, rest) = rest.split_at_checked(end_len).ok_or_else(out_of_bounds)?;
        let end = (!is_endless).then_some(end);
        if end.is_some_and(|end| end <= start) {
            return Err(broken(&RANGE, OP_HEADER_LEN));
        }
        self.rest = rest;
        Ok(Op::RangeDelete(RangeDelete { tree_id: header.tree_id.get(), start, end }))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = match self.left_count.checked_sub(1) {
            Some(left_count) => {
                self.left_count = left_count;
                self.parse_next()
            }
            None if self.rest.is_empty() => {
                self.ended = true;
                return None;
            }
            None => Err(EXACT_COUNT.broken(self.offset() as u64)),
        };
        self.ended = result.is_err();
        Some(result)
    }
}

impl FusedIterator for Ops<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row_op<'a>(kind: Kind, key: &'a [u8], value: &'a [u8], expires_at: u64) -> Op<'a> {
        RowOp { kind, tree_id: 0, expires_at, key, value }.into()
    }

    fn put<'a>(key: &'a [u8], value: &'a [u8], expires_at: u64) -> Op<'a> {
        row_op(Kind::Put, key, value, expires_at)
    }

    fn merge<'a>(key: &'a [u8], value: &'a [u8], expires_at: u64) -> Op<'a> {
        row_op(Kind::Merge, key, value, expires_at)
    }

    fn delete(key: &[u8]) -> Op<'_> {
        row_op(Kind::Delete, key, b"", 0)
    }

    fn range<'a>(start: &'a [u8], end: Option<&'a [u8]>) -> Op<'a> {
        RangeDelete { tree_id: 0, start, end }.into()
    }

    /// Length of the encoding, as a caller knows it beforehand.
    fn len(op: &Op<'_>) -> usize {
        match op {
            Op::Row(op) => op_len(op.key.len(), op.value.len(), op.expires_at != 0),
            Op::RangeDelete(op) => op_len(op.start.len(), op.end.map_or(0, <[u8]>::len), false),
        }
    }

    fn encode(ops: &[Op<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for op in ops {
            encode_op(&mut out, op).unwrap();
        }
        out
    }

    fn decode(payload: &[u8], op_count: u32) -> Result<Vec<Op<'_>>, FormatError> {
        Ops::new(payload, op_count).collect()
    }

    fn count(ops: &[Op<'_>]) -> u32 {
        u32::try_from(ops.len()).unwrap()
    }

    #[test]
    fn every_field_has_its_place() {
        let bytes = encode(&[put(b"key", b"value", 0x0102_0304)]);
        #[rustfmt::skip]
        let want = [
            0x80,                                           // a put with an expiry
            0, 0, 0, 0,                                     // tree 0
            3, 0,                                           // key_len
            5, 0, 0, 0,                                     // value_len
            0x04, 0x03, 0x02, 0x01, 0, 0, 0, 0,             // expires_at
            b'k', b'e', b'y', b'v', b'a', b'l', b'u', b'e',
        ];
        assert_eq!(bytes, want);
        assert_eq!(encode(&[delete(b"k")]), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, b'k']);
        assert_eq!(encode(&[merge(b"", b"1", 0)]), [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'1']);
        let bytes = encode(&[range(b"b", Some(b"cd"))]);
        assert_eq!(bytes, [3, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, b'b', b'c', b'd']);
        let bytes = encode(&[range(b"b", None)]);
        assert_eq!(bytes, [0x13, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, b'b']);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (long_key, long_value) = (vec![7; 65_535], vec![9; 100_000]);
        let cases: &[&[Op<'_>]] = &[
            &[],
            &[put(b"", b"", 0)],
            &[delete(b""), delete(b"\xff")],
            &[put(b"a", b"1", 1), merge(b"a", b"2", MAX_EXPIRY), delete(b"a")],
            &[put(&long_key, &long_value, 0), delete(&long_key)],
            &[range(b"", None), range(b"", Some(b"\0")), range(b"a", Some(b"b")), delete(b"a")],
            &[range(b"", Some(&long_key)), range(&long_key, None)],
        ];
        for ops in cases {
            let bytes = encode(ops);
            assert_eq!(decode(&bytes, count(ops)).as_deref(), Ok(*ops));
            assert_eq!(bytes.len(), ops.iter().map(len).sum::<usize>());
        }
    }

    #[test]
    fn what_does_not_fit_its_field_is_not_encoded() {
        let mut out = vec![1];
        let too_long = vec![0; 65_536];
        assert_eq!(encode_op(&mut out, &put(&too_long, b"", 0)), Err(TooLarge::Key));
        assert_eq!(encode_op(&mut out, &range(&too_long, None)), Err(TooLarge::Key));
        assert_eq!(encode_op(&mut out, &range(b"", Some(&too_long))), Err(TooLarge::End));
        assert_eq!(out, [1]);
    }

    #[test]
    fn an_expiry_changes_in_place() {
        let mut ops = encode(&[delete(b"a"), put(b"b", b"1", 5), put(b"c", b"2", 0)]);
        let (dated, undated) = (op_len(1, 0, false), op_len(1, 0, false) + op_len(1, 1, true));
        assert!(set_expiry(&mut ops, dated, 9));
        assert_eq!(ops, encode(&[delete(b"a"), put(b"b", b"1", 9), put(b"c", b"2", 0)]));
        let before = ops.clone();
        for offset in [0, undated, ops.len() - 1, ops.len(), ops.len() + 1, usize::MAX] {
            assert!(!set_expiry(&mut ops, offset, 7), "offset {offset}");
        }
        assert_eq!(ops, before);
    }

    #[test]
    fn a_delete_is_encoded_bare() {
        let odd = row_op(Kind::Delete, b"k", b"v", 9);
        assert_eq!(encode(&[odd]), encode(&[delete(b"k")]));
    }

    #[track_caller]
    fn check_broken(payload: &[u8], op_count: u32, id: &str, at: u64) {
        let mut ops = Ops::new(payload, op_count);
        let error = ops.find_map(Result::err).expect("a broken rule");
        assert_eq!((error.rule().id, error.at()), (id, at));
        assert!(ops.next().is_none(), "nothing comes after an error");
    }

    #[test]
    fn each_broken_rule_is_named_with_its_place() {
        let good = encode(&[put(b"k", b"v", 0)]);
        let with = |at: usize, bytes: &[u8]| {
            let mut payload = good.clone();
            payload.splice(at..at + bytes.len(), bytes.iter().copied());
            payload
        };
        check_broken(b"", 1, "O1", 0);
        check_broken(&good[..10], 1, "O1", 0);
        check_broken(&with(0, &[0x80]), 1, "O1", 11);
        check_broken(&with(0, &[4]), 1, "O2", 0);
        for bit in 4..7 {
            check_broken(&with(0, &[1 << bit]), 1, "O2", 0);
        }
        check_broken(&with(1, &[1]), 1, "O3", 1);
        check_broken(&with(4, &[1]), 1, "O3", 1);
        let dated = encode(&[put(b"k", b"v", 5)]);
        for (tag, expires_at) in [(0x80, 0), (0x80, MAX_EXPIRY + 1), (0x82, u64::MAX)] {
            let mut payload = dated.clone();
            payload[0] = tag;
            payload[11..19].copy_from_slice(U64::new(expires_at).as_bytes());
            check_broken(&payload, 1, "O4", 11);
        }
        let mut dated_delete = dated;
        dated_delete[0] = 0x81;
        dated_delete[7] = 0;
        check_broken(&dated_delete, 1, "O4", 11);
        check_broken(&with(0, &[1]), 1, "O5", 7);
        check_broken(&with(5, &[2, 0]), 1, "O6", 5);
        check_broken(&with(5, &[3, 0]), 1, "O6", 5);
        check_broken(&with(7, &[2]), 1, "O6", 5);
        check_broken(&with(7, &[0xff; 4]), 1, "O6", 5);
        check_broken(&good, 0, "O7", 0);
        check_broken(&[&good[..], &good].concat(), 1, "O7", 13);
        check_broken(&good, 2, "O1", 13);
    }

    #[test]
    fn each_broken_rule_of_a_range_delete_is_named_with_its_place() {
        let check = |id: &str, at: u64, change: &dyn Fn(&mut Vec<u8>)| {
            let mut payload = encode(&[delete(b"k"), range(b"b", Some(b"cd"))]);
            change(&mut payload);
            check_broken(&payload, 2, id, 12 + at);
        };
        check("O1", 0, &|payload| payload.truncate(12 + 10));
        check("O2", 0, &|payload| payload[12] = 0x23);
        check("O2", 0, &|payload| payload[12] = 0x43);
        check("O3", 1, &|payload| payload[13] = 1);
        check("O4", 0, &|payload| payload[12] = 0x83);
        check("O4", 0, &|payload| payload[12] = 0x93);
        check("O6", 5, &|payload| payload[17] = 4);
        check("O6", 5, &|payload| payload[19] = 3);
        check("O7", 13, &|payload| payload[19] = 1);
        check("O8", 7, &|payload| payload[12] = 0x13);
        check("O9", 7, &|payload| payload[21] = 1); // an end of 65,538 bytes
        check("O9", 11, &|payload| payload[23] = b'd'); // [d, cd) has no key
        let empty = encode(&[range(b"b", Some(b"b"))]);
        check_broken(&empty, 1, "O9", 11);
    }

    #[test]
    fn every_truncation_and_every_bit_flip_is_an_error_or_another_encoding() {
        let ops = [
            put(b"key", b"value", 77),
            delete(b"k2"),
            range(b"f", Some(b"g")),
            range(b"", None),
            merge(b"", b"+1", 0),
        ];
        let good = encode(&ops);
        for len in 0..good.len() {
            assert!(decode(&good[..len], count(&ops)).is_err(), "cut to {len} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = decode(&bytes, count(&ops)) {
                assert_eq!(encode(&found), bytes, "bit {bit}");
            }
        }
    }

    #[test]
    fn an_operation_is_the_row_of_its_seqno() {
        let Op::Row(op) = put(b"k", b"v", 5) else { panic!("a row") };
        let row = op.row(42);
        assert_eq!(row, Row { key: b"k", seqno: 42, kind: Kind::Put, expires_at: 5, value: b"v" });
    }

    #[test]
    fn a_range_delete_is_the_tombstone_of_its_seqno() {
        let op = RangeDelete { tree_id: 0, start: b"a", end: None };
        assert_eq!(op.tombstone(42), RangeTombstone { start: b"a", end: None, seqno: 42 });
    }

    #[test]
    fn rules_are_numbered_in_order() {
        let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids, ["O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O9"]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_one_encoding_or_an_error(
            payload in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 0..64),
            op_count in 0u32..5,
        ) {
            if let Ok(ops) = decode(&payload, op_count) {
                prop_assert_eq!(encode(&ops), payload);
            }
        }
    }
}
