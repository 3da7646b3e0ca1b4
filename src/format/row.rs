//! The row: one version of one user key, the unit that every sorted run is made of.
//!
//! Rows ascend by user key (bytewise) and, within one key, *descend* by seqno, so the newest
//! version comes first. The pair (user key, seqno) is the *internal key* and is unique in a
//! database while a seqno is not yet zeroed at the bottom of the tree.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use std::cmp::Ordering;

/// The longest user key, in bytes.
pub const MAX_KEY_LEN: usize = 65_535;
/// The longest value, in bytes: 4 GiB − 1.
pub const MAX_VALUE_LEN: u64 = u32::MAX as u64;
/// The largest expiry time, in seconds since 1970; 0 means that the row never expires.
pub const MAX_EXPIRY: u64 = 1 << 48;

/// What a row says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The key has this value.
    Put = 0,
    /// The key is absent: a tombstone. Its value is empty.
    Delete = 1,
    /// An operand that a merge operator folds onto the older versions.
    Merge = 2,
}

impl Kind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Put),
            1 => Some(Self::Delete),
            2 => Some(Self::Merge),
            _ => None,
        }
    }
}

/// One version of one user key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// When it was written: larger is newer.
    pub seqno: u64,
    /// What it says.
    pub kind: Kind,
    /// When it expires, in seconds since 1970; 0 is never.
    pub expires_at: u64,
    /// The value or operand; empty for a tombstone.
    pub value: &'a [u8],
}

impl<'a> Row<'a> {
    /// The row that says that `key` is absent.
    #[must_use]
    pub const fn tombstone(key: &'a [u8], seqno: u64) -> Self {
        Self { key, seqno, kind: Kind::Delete, expires_at: 0, value: &[] }
    }
}

/// Compares two internal keys: user key ascending, then seqno descending.
#[must_use]
pub fn compare(a_key: &[u8], a_seqno: u64, b_key: &[u8], b_seqno: u64) -> Ordering {
    a_key.cmp(b_key).then(b_seqno.cmp(&a_seqno))
}

/// How many bytes two keys start with in common.
#[must_use]
pub fn shared_len(a: &[u8], b: &[u8]) -> usize {
    // Eight at a time: keys of one table often share long prefixes.
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.iter().skip(words * 8), b.iter().skip(words * 8));
    words * 8 + a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_of_a_key_come_first() {
        #[rustfmt::skip]
        let cases: &[(&[u8], _, &[u8], _, _)] = &[
            (b"",    0,        b"",    0, Ordering::Equal),
            (b"",    0,        b"\0",  9, Ordering::Less),
            (b"a",   1,        b"a",   2, Ordering::Greater),
            (b"a",   u64::MAX, b"a",   0, Ordering::Less),
            (b"a",   1,        b"aa",  9, Ordering::Less),
            (b"\xff", 1,       b"a",   1, Ordering::Greater),
        ];
        for (a, a_seqno, b, b_seqno, want) in cases {
            assert_eq!(compare(a, *a_seqno, b, *b_seqno), *want);
            assert_eq!(compare(b, *b_seqno, a, *a_seqno), want.reverse());
        }
    }

    #[test]
    fn what_keys_share_is_counted_to_the_byte() {
        let key: Vec<u8> = (1..40).collect();
        for len in 0..key.len() {
            let mut other = key.clone();
            other[len] = 0;
            assert_eq!(shared_len(&key, &other), len);
            assert_eq!(shared_len(&key[..len], &key), len);
            assert_eq!(shared_len(&key, &key[..len]), len);
        }
        assert_eq!(shared_len(&key, &key), key.len());
    }

    #[test]
    fn a_kind_has_one_number() {
        for number in 0..=u8::MAX {
            let kind = Kind::from_u8(number);
            assert_eq!(kind.map(|kind| kind as u8), (number <= 2).then_some(number));
        }
    }
}
