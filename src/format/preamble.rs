//! The preamble: the first 20 bytes of every file, which say what it is and who can read it.
//!
//! ```text
//!  0           8       10      12                  16                  20
//!  │ magic     │ major │ minor │ features_required │ features_optional │
//!  │ 8 bytes   │ u16   │ u16   │ u32               │ u32               │
//! ```
//!
//! It stands at the start of a header of 128 bytes (64 in a table) that ends with a checksum of
//! itself. A reader checks the magic, then that checksum, then the version: so a flipped bit is
//! reported as damage and never as a file of the future.
//!
//! # Invariants
//!
//! - Place and meaning of these fields, and of the header's checksum, are the same in every
//!   version to come; otherwise an old reader could not say that a file is too new.
//!
//! Spec: `format-spec/01-files.md`. I/O: none. Unsafe: none.

use std::fmt;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::FormatError;

/// The major version of the format; another one can't be read.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the format that this build writes.
pub const FORMAT_MINOR: u16 = 0;
/// The required features that this build knows: none yet.
pub const FEATURES_KNOWN: u32 = 0;

/// The first 20 bytes of every file.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Preamble {
    /// Which kind of file it is.
    pub magic: [u8; 8],
    /// [`FORMAT_MAJOR`]; a reader refuses any other.
    pub format_major: U16,
    /// [`FORMAT_MINOR`]; for information.
    pub format_minor: U16,
    /// Features that a reader must know.
    pub features_required: U32,
    /// Features that a reader may ignore.
    pub features_optional: U32,
}

const _: () = assert!(size_of::<Preamble>() == 20, "format-spec/01-files.md fixes this size");

impl Preamble {
    /// The preamble of a file that this build writes.
    #[must_use]
    pub const fn new(magic: [u8; 8]) -> Self {
        Self {
            magic,
            format_major: U16::new(FORMAT_MAJOR),
            format_minor: U16::new(FORMAT_MINOR),
            features_required: U32::new(FEATURES_KNOWN),
            features_optional: U32::new(0),
        }
    }

    /// Checks that this build can read the file; only after the header's checksum.
    ///
    /// # Errors
    ///
    /// What the file needs and this build does not have.
    pub fn check_version(&self) -> Result<(), Unsupported> {
        if self.format_major.get() != FORMAT_MAJOR {
            return Err(Unsupported::Major(self.format_major.get()));
        }
        let unknown = self.features_required.get() & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(Unsupported::Feature(unknown.trailing_zeros()));
        }
        Ok(())
    }
}

/// Why a file that is whole can't be read by this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// Its format has this other major version.
    Major(u16),
    /// It needs the feature with this bit number.
    Feature(u32),
    /// It has a critical region of this kind.
    Region(u32),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Major(major) => {
                write!(f, "format version {major}; this build reads {FORMAT_MAJOR}")
            }
            Self::Feature(bit) => write!(f, "feature bit {bit}"),
            Self::Region(kind) => write!(f, "a region of kind {kind}"),
        }
    }
}

/// Why a file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It breaks a rule.
    Broken(FormatError),
    /// It is whole, but needs more than this build has.
    Unsupported(Unsupported),
}

impl From<FormatError> for FrameError {
    fn from(error: FormatError) -> Self {
        Self::Broken(error)
    }
}

impl From<Unsupported> for FrameError {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"TINYTST\x01";

    #[track_caller]
    fn check(change: impl FnOnce(&mut Preamble), want: Option<&str>) {
        let mut preamble = Preamble::new(MAGIC);
        change(&mut preamble);
        let got = preamble.check_version().err().map(|unsupported| unsupported.to_string());
        assert_eq!(got.as_deref(), want);
    }

    #[test]
    fn a_reader_refuses_what_it_does_not_know() {
        check(|_| (), None);
        let version = |major| format!("format version {major}; this build reads 1");
        check(|p| p.format_major = U16::new(0), Some(&version(0)));
        check(|p| p.format_major = U16::new(2), Some(&version(2)));
        check(|p| p.features_required = U32::new(1), Some("feature bit 0"));
        check(|p| p.features_required = U32::new(1 << 31), Some("feature bit 31"));
    }

    #[test]
    fn a_reader_ignores_minor_versions_and_optional_features() {
        check(|p| p.format_minor = U16::new(9), None);
        check(|p| p.features_optional = U32::new(u32::MAX), None);
    }

    #[test]
    fn fields_stand_where_the_spec_says() {
        let preamble = Preamble::new(MAGIC);
        assert_eq!(preamble.as_bytes(), b"TINYTST\x01\x01\0\0\0\0\0\0\0\0\0\0\0");
    }
}
