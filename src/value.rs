//! Values: bytes that borrow from a snapshot, or own what they show.
//!
//! A read through a snapshot gives a slice of the snapshot's own data. A read through a handle must
//! outlive any snapshot, so it owns its bytes: short ones lie in the value itself, long ones share
//! the map (or the memtable) that they come from and keep it alive.
//!
//! ```text
//!   Value<'a> ─┬─ borrowed   &'a [u8], into a map or a memtable
//!              └─ owned ─────┬─ inline   up to 64 bytes, in the value itself: no allocation
//!                            └─ shared   Bytes: a counted share of what holds them
//! ```
//!
//! # Invariants
//!
//! - A value behaves as the byte slice that it derefs to: `Eq`, `Ord` and `Hash` are the slice's,
//!   so where the bytes lie can't be seen by comparing.
//! - Making an owned value of at most [`INLINE_LEN`] bytes neither allocates nor counts references.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// Up to this many bytes are copied into the value; an allocation, or the counter of a shared map,
/// would cost more than the copy.
pub(crate) const INLINE_LEN: usize = 64;

/// A value, as a read returns it: a byte slice that may own its bytes.
///
/// Everything that takes a `&[u8]` takes a `&Value`. From a [`Snapshot`](crate::Snapshot) it
/// borrows, so nothing is copied or counted; from a [`Db`](crate::Db) it is a `Value<'static>`.
///
/// A long owned value points into its table's map and so keeps the file's disk space: drop it soon,
/// or copy it out with `to_vec`.
#[derive(Clone)]
pub struct Value<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    Borrowed(&'a [u8]),
    Owned(SmallBytes),
}

impl<'a> Value<'a> {
    /// A value that points to `bytes`.
    #[inline]
    pub(crate) const fn borrowed(bytes: &'a [u8]) -> Self {
        Self(Inner::Borrowed(bytes))
    }

    /// Returns the bytes with the snapshot's own lifetime, if the value points into its data.
    ///
    /// The slice may outlive the value, as long as the snapshot does. `None` means that the value
    /// owns its bytes.
    #[inline]
    #[must_use]
    pub const fn as_borrowed(&self) -> Option<&'a [u8]> {
        match self.0 {
            Inner::Borrowed(bytes) => Some(bytes),
            Inner::Owned(_) => None,
        }
    }

    /// Makes a value that borrows from nothing.
    ///
    /// # Cost
    ///
    /// Free if the value is owned already; else a copy, with an allocation if it is longer than
    /// 64 bytes.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self.0 {
            Inner::Borrowed(bytes) => Value::copied(bytes),
            Inner::Owned(bytes) => Value(Inner::Owned(bytes)),
        }
    }

    /// Turns the value into [`Bytes`].
    ///
    /// # Cost
    ///
    /// An owned value of more than 64 bytes is passed on as it is; else a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Inner::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Inner::Owned(bytes) => bytes.into_bytes(),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Borrowed(bytes) => bytes,
            Inner::Owned(bytes) => bytes,
        }
    }
}

impl Value<'static> {
    /// A value with a copy of `bytes`.
    #[inline]
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self(Inner::Owned(SmallBytes::copied(bytes)))
    }

    /// A value with a share of `bytes`.
    #[inline]
    pub(crate) const fn shared(bytes: Bytes) -> Self {
        Self(Inner::Owned(SmallBytes::shared(bytes)))
    }
}

impl Deref for Value<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Value<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Value<'_> {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bytes(self.as_bytes(), f)
    }
}

impl PartialEq<Value<'_>> for Value<'_> {
    fn eq(&self, other: &Value<'_>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Value<'_> {}

impl PartialOrd<Value<'_>> for Value<'_> {
    fn partial_cmp(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(self.as_bytes().cmp(other.as_bytes()))
    }
}

impl Ord for Value<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Equality of a value with another type of bytes, both ways.
macro_rules! eq_with {
    ($([$($generic:tt)*] $other:ty;)+) => {$(
        impl<$($generic)*> PartialEq<$other> for Value<'_> {
            fn eq(&self, other: &$other) -> bool {
                let other: &[u8] = other.as_ref();
                self.as_bytes() == other
            }
        }

        impl<$($generic)*> PartialEq<Value<'_>> for $other {
            fn eq(&self, other: &Value<'_>) -> bool {
                other == self
            }
        }
    )+};
}

eq_with! {
    [] [u8];
    [] &[u8];
    [const N: usize] [u8; N];
    [const N: usize] &[u8; N];
    [] Vec<u8>;
    [] str;
    [] &str;
    [] Bytes;
}

impl From<Value<'_>> for Bytes {
    fn from(value: Value<'_>) -> Self {
        value.into_bytes()
    }
}

impl From<Value<'_>> for Vec<u8> {
    fn from(value: Value<'_>) -> Self {
        match value.0 {
            Inner::Owned(bytes) => bytes.into_vec(),
            Inner::Borrowed(bytes) => bytes.to_vec(),
        }
    }
}

/// Owned bytes: up to [`INLINE_LEN`] of them in place, more of them as a share.
#[derive(Clone)]
pub(crate) struct SmallBytes(Repr);

#[derive(Clone)]
enum Repr {
    /// `len` is at most [`INLINE_LEN`].
    Inline {
        len: u8,
        bytes: [u8; INLINE_LEN],
    },
    Shared(Bytes),
}

impl SmallBytes {
    /// A copy of `bytes`.
    #[inline]
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        let mut copy = [0; INLINE_LEN];
        match (copy.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self(Repr::Inline { len, bytes: copy })
            }
            _ => Self(Repr::Shared(Bytes::copy_from_slice(bytes))),
        }
    }

    /// A share of `bytes`, however short they are.
    #[inline]
    pub(crate) const fn shared(bytes: Bytes) -> Self {
        Self(Repr::Shared(bytes))
    }

    /// The bytes as [`Bytes`]; inline ones are copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Shared(bytes) => bytes,
            Repr::Inline { .. } => Bytes::copy_from_slice(&self),
        }
    }

    /// The bytes as a vector: without a copy if nobody else shares the allocation.
    fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Repr::Shared(bytes) => bytes.into(),
            Repr::Inline { .. } => self.to_vec(),
        }
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bytes(self, f)
    }
}

/// Writes bytes as Rust spells them: `b"…"`.
fn debug_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "b\"{}\"", bytes.escape_ascii())
}

const _: () = assert!(size_of::<Value<'_>>() <= 72, "an inline value and one word, no more");

#[cfg(test)]
mod tests {
    use std::collections::hash_map::DefaultHasher;
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    /// The same bytes, held in every way that a value can hold them.
    fn every_form(bytes: &[u8]) -> [Value<'_>; 3] {
        let shared = Value::shared(Bytes::copy_from_slice(bytes));
        [Value::borrowed(bytes), Value::copied(bytes), shared]
    }

    const LENS: [usize; 8] = [0, 1, 7, 63, 64, 65, 200, 70_000];

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    fn hash(value: &(impl Hash + ?Sized)) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn every_form_reads_as_its_bytes() {
        for len in LENS {
            let bytes = sample(len);
            for value in every_form(&bytes) {
                assert_eq!(&*value, &bytes[..], "deref, {len} bytes");
                assert_eq!(value.as_ref(), &bytes[..], "as_ref, {len} bytes");
                assert_eq!(Borrow::<[u8]>::borrow(&value), &bytes[..], "borrow, {len} bytes");
                assert_eq!(value.clone().into_bytes(), bytes, "into_bytes, {len} bytes");
                assert_eq!(Bytes::from(value.clone()), bytes, "Bytes::from, {len} bytes");
                assert_eq!(Vec::from(value.clone()), bytes, "Vec::from, {len} bytes");
                assert_eq!(value.into_owned(), bytes, "into_owned, {len} bytes");
            }
        }
    }

    #[test]
    fn every_form_compares_and_hashes_as_its_bytes() {
        for left in LENS {
            for right in LENS {
                let (left, right) = (sample(left), sample(right));
                for a in every_form(&left) {
                    assert_eq!(hash(&a), hash(&left[..]));
                    for b in every_form(&right) {
                        assert_eq!(a == b, left == right);
                        assert_eq!(a.cmp(&b), left.cmp(&right));
                        assert_eq!(a.partial_cmp(&b), Some(left.cmp(&right)));
                    }
                }
            }
        }
    }

    #[track_caller]
    fn check_equal_both_ways<T>(value: &Value<'_>, other: &T)
    where
        T: PartialEq<Value<'static>> + ?Sized,
        for<'v> Value<'v>: PartialEq<T>,
    {
        assert!(value == other);
        assert!(other == &value.clone().into_owned());
    }

    #[test]
    fn values_equal_other_types_of_bytes_both_ways() {
        let value = Value::copied(b"abc");
        check_equal_both_ways(&value, &b"abc"[..]);
        check_equal_both_ways(&value, &&b"abc"[..]);
        check_equal_both_ways(&value, b"abc");
        check_equal_both_ways(&value, &b"abc");
        check_equal_both_ways(&value, &b"abc".to_vec());
        check_equal_both_ways(&value, "abc");
        check_equal_both_ways(&value, &"abc");
        check_equal_both_ways(&value, &Bytes::from_static(b"abc"));
        assert!(value != "abd");
        assert!("ab" != value);
        assert!(value != b"abcd");
    }

    #[test]
    fn values_are_keys_that_slices_find() {
        let key = Value::copied(b"k");
        assert_eq!(HashMap::from([(key.clone(), 1)]).get(&b"k"[..]), Some(&1));
        assert_eq!(BTreeMap::from([(key, 1)]).get(&b"k"[..]), Some(&1));
    }

    #[test]
    fn only_a_borrowed_value_gives_its_lender_away() {
        for len in LENS {
            let bytes = sample(len);
            let [borrowed, copied, shared] = every_form(&bytes);
            assert_eq!(borrowed.as_borrowed().map(<[u8]>::as_ptr), Some(bytes.as_ptr()));
            assert_eq!(copied.as_borrowed(), None);
            assert_eq!(shared.as_borrowed(), None);
            assert_eq!(borrowed.into_owned().as_borrowed(), None);
        }
    }

    #[test]
    fn long_owned_values_are_passed_on_without_a_copy() {
        let bytes = Bytes::from(sample(65));
        let value = Value::shared(bytes.clone());
        assert_eq!(value.clone().into_owned().as_ptr(), bytes.as_ptr());
        assert_eq!(value.clone().clone().into_bytes().as_ptr(), bytes.as_ptr());
        let pointer = bytes.as_ptr();
        drop((bytes, value.clone()));
        let vec = Vec::from(value);
        assert_eq!(vec.as_ptr(), pointer, "the last share gives its allocation away");
    }

    #[test]
    fn debug_is_a_byte_string() {
        let value = Value::copied(b"a\"\n\xff");
        assert_eq!(format!("{value:?}"), r#"b"a\"\n\xff""#);
        assert_eq!(format!("{:?}", SmallBytes::copied(b"")), r#"b"""#);
    }
}
