//! Key ranges: any of Rust's range forms over anything that is bytes.
//!
//! The standard `RangeBounds<K>` can't serve here: from `..`, `&a..&b` of vectors, or a pair of
//! bounds the compiler can't tell `K`. [`KeyRange`] has no such parameter to infer.
//!
//! # Invariants
//!
//! - A range is only two bounds: an inverted one is legal, and no key lies in it.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::ops::{
    Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};

/// A range of keys, in bytewise order.
///
/// Implemented for all of Rust's range forms, and for pairs of [`Bound`]s, over anything that is
/// bytes. A range whose start lies behind its end holds nothing.
///
/// # Examples
///
/// ```
/// use std::ops::Bound::{Excluded, Included};
/// use tinydb::KeyRange;
///
/// fn accepts(range: impl KeyRange) {}
///
/// accepts(..);
/// accepts("a".."b");
/// accepts(b"a"..=b"b");
/// accepts(vec![0]..);
/// accepts((Excluded("a"), Included("b")));
/// ```
pub trait KeyRange {
    /// Where the range starts.
    fn start(&self) -> Bound<&[u8]>;
    /// Where the range ends.
    fn end(&self) -> Bound<&[u8]>;
}

/// Implements [`KeyRange`] for a range form over any bytes `K`.
macro_rules! key_range {
    ($($range:ty),+) => {$(
        impl<K: AsRef<[u8]>> KeyRange for $range {
            #[inline]
            fn start(&self) -> Bound<&[u8]> {
                RangeBounds::<K>::start_bound(self).map(K::as_ref)
            }

            #[inline]
            fn end(&self) -> Bound<&[u8]> {
                RangeBounds::<K>::end_bound(self).map(K::as_ref)
            }
        }
    )+};
}

key_range!(Range<K>, RangeInclusive<K>, RangeFrom<K>, RangeTo<K>, RangeToInclusive<K>);
key_range!((Bound<K>, Bound<K>));

impl KeyRange for RangeFull {
    fn start(&self) -> Bound<&[u8]> {
        Bound::Unbounded
    }

    fn end(&self) -> Bound<&[u8]> {
        Bound::Unbounded
    }
}

impl<R: KeyRange + ?Sized> KeyRange for &R {
    fn start(&self) -> Bound<&[u8]> {
        R::start(self)
    }

    fn end(&self) -> Bound<&[u8]> {
        R::end(self)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound::{Excluded, Included, Unbounded};

    use super::*;

    #[track_caller]
    fn check(range: impl KeyRange, start: Bound<&[u8]>, end: Bound<&[u8]>) {
        assert_eq!((range.start(), range.end()), (start, end));
        let by_reference = &&range;
        assert_eq!((by_reference.start(), by_reference.end()), (start, end));
    }

    #[test]
    fn every_range_form_gives_its_bounds() {
        check(.., Unbounded, Unbounded);
        check("a".."b", Included(b"a"), Excluded(b"b"));
        check("a"..="b", Included(b"a"), Included(b"b"));
        check("a".., Included(b"a"), Unbounded);
        check(.."b", Unbounded, Excluded(b"b"));
        check(..="b", Unbounded, Included(b"b"));
        check((Excluded("a"), Included("b")), Excluded(b"a"), Included(b"b"));
        check((Unbounded, Excluded("b")), Unbounded, Excluded(b"b"));
    }

    #[test]
    fn every_type_of_bytes_makes_a_range() {
        let (low, high) = (vec![1, 0], vec![2]);
        check(&low..&high, Included(&[1, 0]), Excluded(&[2]));
        check(&low[..]..&high[..], Included(&[1, 0]), Excluded(&[2]));
        check(low.clone()..=high.clone(), Included(&[1, 0]), Included(&[2]));
        check((Excluded(&low), Included(&high)), Excluded(&[1, 0]), Included(&[2]));
        check((Excluded(low), Unbounded), Excluded(&[1, 0]), Unbounded);
        check(b"ab"..b"cd", Included(b"ab"), Excluded(b"cd"));
        check([0u8; 4].., Included(&[0; 4]), Unbounded);
        check(String::from("x").., Included(b"x"), Unbounded);
        check(..bytes::Bytes::from_static(b"x"), Unbounded, Excluded(b"x"));
    }

    #[test]
    fn odd_ranges_are_legal() {
        check("b".."a", Included(b"b"), Excluded(b"a"));
        check((Excluded("a"), Excluded("a")), Excluded(b"a"), Excluded(b"a"));
        check("".."", Included(b""), Excluded(b""));
        check(""..="", Included(b""), Included(b""));
    }

    #[test]
    fn a_range_may_be_chosen_at_run_time() {
        let ranges: [&dyn KeyRange; 2] = [&.., &("a".."b")];
        check(ranges[0], Unbounded, Unbounded);
        check(ranges[1], Included(b"a"), Excluded(b"b"));
    }
}
