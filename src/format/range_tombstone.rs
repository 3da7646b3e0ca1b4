//! The range tombstone: all older rows of a range of keys are deleted.
//!
//! A range is half-open, from a key that lies in it up to one that does not, or up to the end of
//! all keys. Every range of user keys is such a one, because keys have a bounded length: behind
//! each key there is a first one that is larger, [`successor`].
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use std::ops::Bound;

use super::row::MAX_KEY_LEN;

/// Says of a range of keys that all rows with smaller seqnos are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeTombstone<'a> {
    /// The first key of the range.
    pub start: &'a [u8],
    /// The first key behind the range; `None` if it has no end.
    pub end: Option<&'a [u8]>,
    /// When it was written.
    pub seqno: u64,
}

impl RangeTombstone<'_> {
    /// Whether `key` lies in the range.
    #[inline]
    #[must_use]
    pub fn covers(&self, key: &[u8]) -> bool {
        self.start <= key && self.end.is_none_or(|end| key < end)
    }
}

/// The smallest key that is larger than `key`; `None` if there is none.
#[must_use]
pub fn successor(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() < MAX_KEY_LEN {
        return Some([key, &[0]].concat());
    }
    // A key that starts with this one would be too long. So the next one differs at the last byte
    // that can grow.
    let grows = key.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = key.get(..=grows)?.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

/// The half-open form of a range: its first key, and the first one behind it if it has an end.
/// `None` if no key lies in it.
#[must_use]
pub fn half_open(start: Bound<&[u8]>, end: Bound<&[u8]>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let start = match start {
        Bound::Unbounded => Vec::new(),
        Bound::Included(start) => start.to_vec(),
        Bound::Excluded(start) => successor(start)?,
    };
    let end = match end {
        Bound::Unbounded => None,
        Bound::Excluded(end) => Some(end.to_vec()),
        Bound::Included(end) => successor(end),
    };
    let is_empty = end.as_ref().is_some_and(|end| *end <= start);
    (!is_empty).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use std::ops::Bound::{Excluded, Included, Unbounded};

    use super::*;

    #[test]
    fn nothing_lies_between_a_key_and_its_successor() {
        assert_eq!(successor(b""), Some(vec![0]));
        assert_eq!(successor(b"a\xff"), Some(b"a\xff\0".to_vec()));
        let mut longest = vec![7; MAX_KEY_LEN];
        let last = longest.len() - 1;
        let mut next = longest.clone();
        next[last] = 8;
        assert_eq!(successor(&longest), Some(next));
        longest[last] = 0xff;
        assert_eq!(successor(&longest), Some([&vec![7; last - 1][..], &[8]].concat()));
        assert_eq!(successor(&vec![0xff; MAX_KEY_LEN]), None);
    }

    #[test]
    fn every_range_has_a_half_open_form() {
        let owned =
            |start: &[u8], end: Option<&[u8]>| Some((start.to_vec(), end.map(<[u8]>::to_vec)));
        #[rustfmt::skip]
        let cases = [
            (Unbounded::<&[u8]>, Unbounded::<&[u8]>, owned(b"", None)),
            (Included(&b"a"[..]),  Excluded(&b"b"[..]),  owned(b"a", Some(&b"b"[..]))),
            (Included(&b"a"[..]),  Included(&b"a"[..]),  owned(b"a", Some(&b"a\0"[..]))),
            (Excluded(&b"a"[..]),  Included(&b"b"[..]),  owned(b"a\0", Some(&b"b\0"[..]))),
            (Unbounded,       Excluded(&b""[..]),   None),
            (Included(&b"a"[..]),  Excluded(&b"a"[..]),  None),
            (Excluded(&b"a"[..]),  Excluded(&b"a"[..]),  None),
            (Excluded(&b"a"[..]),  Excluded(&b"a\0"[..]), None),
            (Included(&b"b"[..]),  Included(&b"a"[..]),  None),
            (Included(&b"b"[..]),  Unbounded,       owned(b"b", None)),
        ];
        for (start, end, want) in cases {
            assert_eq!(half_open(start, end), want, "{start:?} {end:?}");
        }
        let largest = vec![0xff; MAX_KEY_LEN];
        assert_eq!(half_open(Unbounded, Included(&largest)), owned(b"", None));
        assert_eq!(half_open(Excluded(&largest), Unbounded), None);
    }

    #[test]
    fn a_tombstone_covers_its_start_and_not_its_end() {
        let tombstone = RangeTombstone { start: b"b", end: Some(b"d"), seqno: 1 };
        let covered = [&b"a"[..], b"b", b"b\0", b"c\xff", b"d"].map(|key| tombstone.covers(key));
        assert_eq!(covered, [false, true, true, true, false]);
        assert!(RangeTombstone { end: None, ..tombstone }.covers(b"\xff\xff"));
    }
}
