//! The values of a dump: what a field holds, for whichever form writes it.
//!
//! Spec: none. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};

/// What a field holds.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// Too much to be written, such as a column.
    Nothing,
    Number(u64),
    Numbers(Vec<u64>),
    /// Bytes of a fixed length: a magic, or reserved.
    Fixed(&'a [u8]),
    /// A key, a value or a name.
    Bytes(&'a [u8]),
    /// A row's key and value.
    Row(&'a [u8], &'a [u8]),
    /// A range of keys: its start, and the first key behind it if there is one.
    Range(&'a [u8], Option<&'a [u8]>),
}

/// A number, as people read it.
pub(super) fn number(number: u64) -> String {
    if number < 1 << 32 { number.to_string() } else { format!("{number:#018x}") }
}

/// A field of a struct that lies in the file.
pub(super) trait Shown {
    fn value(&self) -> Value<'_>;
}

impl Shown for u8 {
    fn value(&self) -> Value<'_> {
        Value::Number(u64::from(*self))
    }
}

/// Integers of the file.
macro_rules! shown {
    ($($type:ty),+) => {$(
        impl Shown for $type {
            fn value(&self) -> Value<'_> {
                Value::Number(u64::from(self.get()))
            }
        }

        // Arrays of integers in the file are reserved.
        impl<const N: usize> Shown for [$type; N] {
            fn value(&self) -> Value<'_> {
                Value::Numbers(self.iter().map(|number| u64::from(number.get())).collect())
            }
        }
    )+};
}
shown!(U16, U32, U64);

impl<const N: usize> Shown for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Fixed(self)
    }
}
