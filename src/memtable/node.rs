//! A node of the memtable's skip list: what a search has to know of a row, and the row's links to
//! those around it.
//!
//! A node is a line of the cache. The first 16 bytes of the key stand in it, so a search looks at the
//! row itself only where those are equal.
//!
//! ```text
//!   node  │ head: key[0..16] │ seqno │ hash │ row │ value_len │ facts │ next[0..3] │ upper │ prev │
//!                                             │                 │                    └► the links
//!               the place of its bytes ◄──────┘                 │     above level 2, elsewhere
//!               key_len u16 │ kind u8 │ expires │ is there ◄────┘
//! ```
//!
//! # Invariants
//!
//! - A node is not there until all of it is written. Then only links change; they name nodes that are
//!   there, 0 being none.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::cmp::Ordering;

use super::rows::{KEY_START, Rows};
use crate::format::row::{Kind, Row};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::zeros::{AtomicU32, AtomicU64};

/// How many links stand in the node itself; only one node in 64 has more.
pub(super) const INLINE_LINK_COUNT: usize = 3;
/// Bytes of the key that stand in the node itself.
const HEAD_LEN: usize = 16;
/// A fact: the node is there.
const IS_THERE: u32 = 1 << 31;
/// A fact: the row expires.
const EXPIRES: u32 = 1 << 30;
/// Where the kind begins among the facts, behind the key's length.
const KIND_SHIFT: u32 = 16;

/// What a search has to know of a row, and its links; nothing at all before it is set.
#[derive(Debug)]
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[repr(C, align(64))]
pub(super) struct Node {
    /// The first bytes of the key as a number, high half first.
    head: [AtomicU64; 2],
    seqno: AtomicU64,
    /// Of the key.
    hash: AtomicU64,
    row: AtomicU32,
    value_len: AtomicU32,
    facts: AtomicU32,
    /// The next node on each of the lowest levels.
    pub(super) next: [AtomicU32; INLINE_LINK_COUNT],
    /// The index of the link on level 3; the higher ones follow it.
    upper: AtomicU32,
    /// The node before this one, or one a few rows further back.
    pub(super) prev: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Node>() == 64, "a probe must touch one line of the cache");

#[cfg(loom)]
impl crate::sync::zeros::FromZeros for Node {
    fn zero() -> Self {
        let (long, short) = (AtomicU64::zero, AtomicU32::zero);
        Self {
            head: [long(), long()],
            seqno: long(),
            hash: long(),
            row: short(),
            value_len: short(),
            facts: short(),
            next: [short(), short(), short()],
            upper: short(),
            prev: short(),
        }
    }
}

impl Node {
    /// Sets the links that stand in it, the index of the others, and the node before.
    pub(super) fn set_links(&self, next: [u32; INLINE_LINK_COUNT], upper: u32, prev: u32) {
        for (link, next) in self.next.iter().zip(next) {
            link.store(next, Relaxed);
        }
        self.upper.store(upper, Relaxed);
        self.prev.store(prev, Relaxed);
    }

    /// Makes it, whose links are set, the node of a row that lies at `place`.
    pub(super) fn set_row(&self, row: &Row<'_>, hash: u64, place: u32) {
        let value_len = u32::try_from(row.value.len()).unwrap_or(u32::MAX);
        let [high, low] = &self.head;
        let [first, second] = split(head(row.key));
        high.store(first, Relaxed);
        low.store(second, Relaxed);
        self.seqno.store(row.seqno, Relaxed);
        self.hash.store(hash, Relaxed);
        self.row.store(place, Relaxed);
        self.value_len.store(value_len, Relaxed);
        let key_len = u32::try_from(row.key.len()).unwrap_or(u32::MAX) & u32::from(u16::MAX);
        let kind = u32::from(row.kind as u8) << KIND_SHIFT;
        let expires = if row.expires_at == 0 { 0 } else { EXPIRES };
        self.facts.store(key_len | kind | expires | IS_THERE, Release);
    }

    /// Whether it was set: all of it is here to be read then.
    #[inline]
    pub(super) fn is_there(&self) -> bool {
        self.facts.load(Acquire) & IS_THERE != 0
    }

    /// The place of the row.
    #[inline]
    pub(super) fn row(&self) -> u32 {
        self.row.load(Relaxed)
    }

    /// The user key, without a look at the row's header: a copy need not wait for that.
    #[inline]
    pub(super) fn key<'r>(&self, rows: &'r Rows) -> &'r [u8] {
        rows.bytes(self.row())
            .get(KEY_START..)
            .and_then(|b| b.get(..self.key_len()))
            .unwrap_or_default()
    }

    /// The value, without a look at the row's header.
    #[inline]
    pub(super) fn value<'r>(&self, rows: &'r Rows) -> &'r [u8] {
        let (start, len) = (KEY_START + self.key_len(), self.value_len.load(Relaxed) as usize);
        rows.bytes(self.row()).get(start..).and_then(|b| b.get(..len)).unwrap_or_default()
    }

    #[inline]
    fn key_len(&self) -> usize {
        let [low, high, ..] = self.facts.load(Relaxed).to_le_bytes();
        u16::from_le_bytes([low, high]).into()
    }

    /// The seqno.
    #[inline]
    pub(super) fn seqno(&self) -> u64 {
        self.seqno.load(Relaxed)
    }

    /// The key's hash.
    pub(super) fn hash(&self) -> u64 {
        self.hash.load(Relaxed)
    }

    /// The kind.
    #[inline]
    pub(super) fn kind(&self) -> Kind {
        let [_, _, kind, _] = self.facts.load(Relaxed).to_le_bytes();
        Kind::from_u8(kind).unwrap_or(Kind::Put)
    }

    /// When the row expires, in seconds since 1970; 0 is never.
    #[inline]
    pub(super) fn expires_at(&self, rows: &Rows) -> u64 {
        if self.facts.load(Relaxed) & EXPIRES == 0 {
            return 0;
        }
        rows.get(self.row()).map_or(0, |record| record.expires_at())
    }

    /// The index of the link on level 3; the higher ones follow it.
    #[inline]
    pub(super) fn upper(&self) -> u32 {
        self.upper.load(Relaxed)
    }

    /// The number of the next row.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        let [next, ..] = &self.next;
        next.load(Acquire)
    }

    /// Whether this is the row of the internal key.
    #[inline]
    pub(super) fn is_at(&self, target: &Target<'_>, rows: &Rows) -> bool {
        self.has_key(target, rows) && self.seqno() == target.seqno
    }

    /// Whether the row has this user key.
    #[inline]
    pub(super) fn has_key(&self, target: &Target<'_>, rows: &Rows) -> bool {
        self.head() == target.head && self.compare_behind_head(target, rows).is_eq()
    }

    /// Whether the row comes before the internal key.
    #[inline]
    pub(super) fn is_before(&self, target: &Target<'_>, rows: &Rows) -> bool {
        let head = self.head();
        if head != target.head {
            return head < target.head;
        }
        match self.compare_behind_head(target, rows) {
            Ordering::Less => true,
            Ordering::Equal => self.seqno() > target.seqno,
            Ordering::Greater => false,
        }
    }

    /// Compares the user keys, given that their heads are equal.
    ///
    /// Heads are padded with zeros, so a key that fits its head is a prefix of the other one,
    /// or both are equal up to zeros at the end: then the shorter comes first.
    #[inline]
    fn compare_behind_head(&self, target: &Target<'_>, rows: &Rows) -> Ordering {
        let key_len = self.key_len();
        match target.key.get(HEAD_LEN..) {
            Some(tail) if key_len > HEAD_LEN => {
                self.key(rows).get(HEAD_LEN..).unwrap_or_default().cmp(tail)
            }
            _ => key_len.cmp(&target.key.len()),
        }
    }

    #[inline]
    fn head(&self) -> u128 {
        let [high, low] = &self.head;
        (u128::from(high.load(Relaxed)) << u64::BITS) | u128::from(low.load(Relaxed))
    }
}

/// An internal key to search for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    head: u128,
    pub(super) key: &'a [u8],
    seqno: u64,
}

impl<'a> Target<'a> {
    /// The internal key of this user key and seqno.
    #[inline]
    pub(super) fn new(key: &'a [u8], seqno: u64) -> Self {
        Self { head: head(key), key, seqno }
    }
}

/// The first 16 bytes of a key, zero padded, as the number that sorts like them.
#[inline]
fn head(key: &[u8]) -> u128 {
    let bytes = key.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; HEAD_LEN];
        padded.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        padded
    });
    // The most significant byte must be the key's first, whatever the machine's byte order.
    u128::from_le_bytes(bytes).swap_bytes()
}

/// Halves, because there are no atomic numbers of 128 bits.
#[expect(clippy::cast_possible_truncation, reason = "one half at a time")]
const fn split(head: u128) -> [u64; 2] {
    [(head >> u64::BITS) as u64, head as u64]
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use zerocopy::FromZeros;

    use super::super::rows::RowAppender;
    use super::*;
    use crate::error::{Error, Result};
    use crate::storage::Pages;

    const KEYS: &[&[u8]] = &[
        b"",
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"a",
        b"a\0",
        b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"ab",
        b"abcdefghijklmno",
        b"abcdefghijklmnop",
        b"abcdefghijklmnop\0",
        b"abcdefghijklmnopq",
        b"abcdefghijklmnopqrstuvwxyz",
        b"abcdefghijklmnoq",
        b"b",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",
    ];

    fn put(key: &[u8], seqno: u64) -> Row<'_> {
        Row { key, seqno, kind: Kind::Put, expires_at: 0, value: b"value" }
    }

    /// The rows, and a node of one.
    fn node(row: &Row<'_>) -> Result<(Rows, Node)> {
        let rows = Rows::new(Pages::Small);
        let (place, _) = rows.add(&mut RowAppender::default(), row, 1)?;
        let node = Node::new_zeroed();
        assert!(!node.is_there());
        node.set_row(row, 7, place);
        assert_eq!(node.hash(), 7);
        assert!(node.is_there());
        Ok((rows, node))
    }

    #[test]
    fn nodes_compare_as_internal_keys_do() {
        for a in KEYS {
            for b in KEYS {
                for (a_seqno, b_seqno) in [(0, 0), (7, 8), (8, 7), (u64::MAX, 0), (0, u64::MAX)] {
                    let (rows, node) = node(&put(a, a_seqno)).unwrap();
                    let target = Target::new(b, b_seqno);
                    let want = crate::format::row::compare(a, a_seqno, b, b_seqno).is_lt();
                    assert_eq!(
                        node.is_before(&target, &rows),
                        want,
                        "{a:?}@{a_seqno} {b:?}@{b_seqno}"
                    );
                    assert_eq!(node.has_key(&target, &rows), a == b, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn a_node_gives_back_its_row() {
        for key in KEYS {
            for (kind, expires_at, value) in [
                (Kind::Put, 0, &b"value"[..]),
                (Kind::Put, 1 << 48, b"value"),
                (Kind::Put, 1, b""),
                (Kind::Merge, 9, b"operand"),
                (Kind::Delete, 0, b""),
            ] {
                let row = Row { key, seqno: 0x0102_0304_0506_0708, kind, expires_at, value };
                let (rows, node) = node(&row).unwrap();
                assert_eq!(rows.get(node.row()).unwrap().row(), row);
                assert_eq!((node.key(&rows), node.value(&rows)), (*key, value));
                let facts = (node.seqno(), node.kind(), node.expires_at(&rows));
                assert_eq!(facts, (row.seqno, kind, expires_at));
            }
        }
    }

    #[test]
    fn a_key_too_long_for_any_row_is_refused() {
        let key = vec![b'k'; 65_536];
        let error = node(&put(&key, 1)).unwrap_err();
        assert!(matches!(error, Error::KeyTooLarge { len: 65_536 }));
        assert!(node(&put(&key[1..], 1)).is_ok());
    }
}
