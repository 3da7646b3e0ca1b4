//! The values of a dump: how numbers and bytes of a struct are spelled.
//!
//! Spec: none. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};

/// The value of a field, as a dump spells it.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for u64 {
    fn shown(&self) -> String {
        if *self < 1 << 32 { self.to_string() } else { format!("{self:#018x}") }
    }
}

impl Shown for u8 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// Integers of the file.
macro_rules! shown {
    ($($type:ty),+) => {$(
        impl Shown for $type {
            fn shown(&self) -> String {
                u64::from(self.get()).shown()
            }
        }
    )+};
}
shown!(U16, U32, U64);

impl<const N: usize> Shown for [u8; N] {
    fn shown(&self) -> String {
        if *self == [0; N] { "zeros".to_owned() } else { format!("\"{}\"", self.escape_ascii()) }
    }
}

/// Arrays of integers: those in the file are reserved.
macro_rules! shown_arrays {
    ($($type:ty),+) => {$(
        impl<const N: usize> Shown for [$type; N] {
            fn shown(&self) -> String {
                if self.iter().all(|number| number.get() == 0) {
                    return "zeros".to_owned();
                }
                self.iter().map(Shown::shown).collect::<Vec<_>>().join(" ")
            }
        }
    )+};
}
shown_arrays!(U32, U64);
