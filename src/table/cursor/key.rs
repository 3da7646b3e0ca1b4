//! The key of a cursor's row, put together from the prefix of its block and its own suffix.
//!
//! # Invariants
//!
//! - Behind the prefix there is always room for [`SHORT`] bytes: a short suffix is copied with all
//!   the bytes that follow it, by two instructions of fixed size instead of a call.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::ops::Range;

/// A suffix of up to so many bytes is short.
const SHORT: usize = 16;

/// A prefix and a suffix.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyBuffer {
    bytes: Vec<u8>,
    prefix_len: usize,
    len: usize,
}

impl KeyBuffer {
    /// The key.
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.prefix_len = 0;
        self.len = 0;
    }

    /// Starts a key, for as many suffixes as will come.
    pub(super) fn set_prefix(&mut self, prefix: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(prefix);
        self.prefix_len = prefix.len();
        self.len = prefix.len();
        self.bytes.resize(prefix.len() + SHORT, 0);
    }

    /// Puts `bytes[range]` behind the prefix; `None` if the range is not within `bytes`.
    #[inline]
    pub(super) fn set_suffix(&mut self, bytes: &[u8], range: Range<usize>) -> Option<()> {
        let suffix = bytes.get(range.clone())?;
        let room = self.bytes.get_mut(self.prefix_len..).and_then(<[u8]>::first_chunk_mut::<SHORT>);
        let source = bytes.get(range.start..).and_then(<[u8]>::first_chunk::<SHORT>);
        match (room, source) {
            (Some(room), Some(source)) if suffix.len() <= SHORT => {
                *room = *source;
                self.len = self.prefix_len + suffix.len();
            }
            _ => self.set_long_suffix(suffix),
        }
        Some(())
    }

    /// Puts a suffix of any length behind the prefix.
    pub(super) fn set_long_suffix(&mut self, suffix: &[u8]) {
        self.bytes.truncate(self.prefix_len);
        self.bytes.extend_from_slice(suffix);
        self.len = self.bytes.len();
        self.bytes.resize(self.len.max(self.prefix_len + SHORT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_prefix_and_suffix_whatever_their_lengths() {
        let bytes: Vec<u8> = (0..100).collect();
        for prefix_len in [0, 1, 15, 16, 17, 40] {
            let mut key = KeyBuffer::default();
            key.set_prefix(&bytes[..prefix_len]);
            for range in [0..0, 3..4, 20..36, 20..37, 0..100, 5..6, 84..100, 85..100, 99..100] {
                assert_eq!(key.set_suffix(&bytes, range.clone()), Some(()));
                assert_eq!(key.as_slice(), [&bytes[..prefix_len], &bytes[range]].concat());
            }
            assert_eq!(key.set_suffix(&bytes, 99..101), None);
            key.clear();
            assert_eq!(key.as_slice(), b"");
        }
    }
}
