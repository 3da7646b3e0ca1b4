//! A node of the memtable's skip list: one row, and its links to the nodes around it.
//!
//! With the lock that publishes it, a node is 64 bytes in a cache line of its own. The first 16
//! bytes of the key stand in it, so a search reads the row itself only where those are equal.
//!
//! ```text
//!   node  │ head: key[0..16] │ data │ next[0..3] │ upper │ prev │ key_len │ kind │ expires │
//!                               │                    └► the links above level 2, elsewhere
//!                               ▼
//!   data  │ seqno u64 │ key │ value │ expires_at u64, if it expires │
//! ```
//!
//! # Invariants
//!
//! - Only links change after the node is published; they name published nodes, 0 being none.
//! - `data` is laid out for this process alone and never leaves memory.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::cmp::Ordering;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;

use crate::error::{Error, Result};
use crate::format::row::{Kind, Row};

/// How many links stand in the node itself; only one node in 64 has more.
pub(super) const INLINE_LINK_COUNT: usize = 3;
/// Bytes of the key that stand in the node itself.
const HEAD_LEN: usize = 16;
/// Bytes of a seqno or an expiry time in `data`.
const NUMBER_LEN: usize = 8;

/// A place for a node; its line of the cache is its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot(pub(super) OnceLock<Node>);

const _: () = assert!(size_of::<Slot>() == 64, "a probe must touch one line of the cache");

/// One row and its links.
#[derive(Debug)]
pub(super) struct Node {
    /// The first bytes of the key as a number, high half first.
    head: [u64; 2],
    data: Box<[u8]>,
    /// The next node on each of the lowest levels.
    pub(super) next: [AtomicU32; INLINE_LINK_COUNT],
    /// The index of the link on level 3; the higher ones follow it.
    pub(super) upper: u32,
    /// The node before this one, or one a few rows further back.
    pub(super) prev: AtomicU32,
    key_len: u16,
    kind: Kind,
    expires: bool,
}

impl Node {
    /// A copy of `row` with these links.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`].
    pub(super) fn new(
        row: &Row<'_>,
        next: [u32; INLINE_LINK_COUNT],
        upper: u32,
        prev: u32,
    ) -> Result<Self> {
        let too_large = |_| Error::KeyTooLarge { len: row.key.len() };
        let key_len = u16::try_from(row.key.len()).map_err(too_large)?;
        let expires = row.expires_at != 0;
        let numbers_len = if expires { 2 * NUMBER_LEN } else { NUMBER_LEN };
        // Exactly as much as is needed: a box of a vector with room to spare would be copied.
        let mut data = Vec::with_capacity(numbers_len + row.key.len() + row.value.len());
        data.extend_from_slice(&row.seqno.to_le_bytes());
        data.extend_from_slice(row.key);
        data.extend_from_slice(row.value);
        if expires {
            data.extend_from_slice(&row.expires_at.to_le_bytes());
        }
        Ok(Self {
            head: split(head(row.key)),
            data: data.into_boxed_slice(),
            next: next.map(AtomicU32::new),
            upper,
            prev: AtomicU32::new(prev),
            key_len,
            kind: row.kind,
            expires,
        })
    }

    /// The user key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.data.get(NUMBER_LEN..self.key_end()).unwrap_or_default()
    }

    /// The seqno.
    #[inline]
    pub(super) fn seqno(&self) -> u64 {
        self.data.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The kind.
    #[inline]
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// When the row expires, in seconds since 1970; 0 is never.
    #[inline]
    pub(super) fn expires_at(&self) -> u64 {
        if !self.expires {
            return 0;
        }
        self.data.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The value.
    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        let after_len = if self.expires { NUMBER_LEN } else { 0 };
        let end = self.data.len().saturating_sub(after_len);
        self.data.get(self.key_end()..end).unwrap_or_default()
    }

    /// All of it.
    #[inline]
    pub(super) fn row(&self) -> Row<'_> {
        Row {
            key: self.key(),
            seqno: self.seqno(),
            kind: self.kind,
            expires_at: self.expires_at(),
            value: self.value(),
        }
    }

    /// How many bytes the node and its row take, without its upper links.
    pub(super) const fn memory_len(&self) -> usize {
        /// What an allocator keeps with each allocation, about.
        const ALLOCATION_LEN: usize = 16;
        size_of::<Slot>() + ALLOCATION_LEN + self.data.len()
    }

    /// The number of the next row.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        let [next, ..] = &self.next;
        next.load(Acquire)
    }

    /// Whether this is the row of the internal key.
    #[inline]
    pub(super) fn is_at(&self, target: &Target<'_>) -> bool {
        self.has_key(target) && self.seqno() == target.seqno
    }

    /// Whether the row has this user key.
    #[inline]
    pub(super) fn has_key(&self, target: &Target<'_>) -> bool {
        self.head() == target.head && self.compare_behind_head(target).is_eq()
    }

    /// Whether the row comes before the internal key.
    #[inline]
    pub(super) fn is_before(&self, target: &Target<'_>) -> bool {
        let head = self.head();
        if head != target.head {
            return head < target.head;
        }
        match self.compare_behind_head(target) {
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
    fn compare_behind_head(&self, target: &Target<'_>) -> Ordering {
        let key_len = usize::from(self.key_len);
        match target.key.get(HEAD_LEN..) {
            Some(tail) if key_len > HEAD_LEN => {
                let start = NUMBER_LEN + HEAD_LEN;
                self.data.get(start..self.key_end()).unwrap_or_default().cmp(tail)
            }
            _ => key_len.cmp(&target.key.len()),
        }
    }

    #[inline]
    fn head(&self) -> u128 {
        let [high, low] = self.head;
        (u128::from(high) << u64::BITS) | u128::from(low)
    }

    #[inline]
    fn key_end(&self) -> usize {
        NUMBER_LEN + usize::from(self.key_len)
    }
}

/// An internal key to search for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    head: u128,
    key: &'a [u8],
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

/// Halves, because a `u128` would align the node to 16 bytes and push it out of its line.
#[expect(clippy::cast_possible_truncation, reason = "one half at a time")]
const fn split(head: u128) -> [u64; 2] {
    [(head >> u64::BITS) as u64, head as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn node(row: &Row<'_>) -> Result<Node> {
        Node::new(row, [0; INLINE_LINK_COUNT], 0, 0)
    }

    #[test]
    fn nodes_compare_as_internal_keys_do() {
        for a in KEYS {
            for b in KEYS {
                for (a_seqno, b_seqno) in [(0, 0), (7, 8), (8, 7), (u64::MAX, 0), (0, u64::MAX)] {
                    let node = node(&put(a, a_seqno)).unwrap();
                    let target = Target::new(b, b_seqno);
                    let want = crate::format::row::compare(a, a_seqno, b, b_seqno).is_lt();
                    assert_eq!(node.is_before(&target), want, "{a:?}@{a_seqno} {b:?}@{b_seqno}");
                    assert_eq!(node.has_key(&target), a == b, "{a:?} {b:?}");
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
                assert_eq!(node(&row).unwrap().row(), row);
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
