//! The key of a cursor's row, put together from the prefix of its block and its own suffix.
//!
//! ```text
//!   short   │     ▸ prefix │ suffix ▸     │     both short: each in its place, so that a step
//!           0             48             64     copies sixteen bytes to where they always go
//!   long    │ prefix │ suffix               │   else
//! ```
//!
//! # Invariants
//!
//! - A short suffix is copied with all the bytes that follow it, by two instructions of fixed size
//!   instead of a call.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use crate::format::row::MAX_KEY_LEN;

/// A prefix of up to so many bytes is short.
const SHORT_PREFIX: usize = 48;
/// A suffix of up to so many bytes is short.
pub(super) const SHORT_SUFFIX: usize = 16;

/// A prefix and a suffix.
#[derive(Clone, Debug)]
pub(super) struct KeyBuffer {
    short: [u8; SHORT_PREFIX + SHORT_SUFFIX],
    start: usize,
    end: usize,
    /// Suffixes that are shorter than this go into `short`.
    short_limit: usize,
    is_long: bool,
    long: Vec<u8>,
    prefix_len: usize,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        Self {
            short: [0; SHORT_PREFIX + SHORT_SUFFIX],
            start: SHORT_PREFIX,
            end: SHORT_PREFIX,
            short_limit: 0,
            is_long: false,
            long: Vec::new(),
            prefix_len: 0,
        }
    }
}

impl KeyBuffer {
    /// The key.
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        if self.is_long {
            return &self.long;
        }
        match self.short.get(self.start..self.end) {
            Some(key) => key,
            None => empty(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.set_prefix(&[]);
    }

    /// Starts a key, for as many suffixes as will come.
    pub(super) fn set_prefix(&mut self, prefix: &[u8]) {
        self.prefix_len = prefix.len();
        self.start = SHORT_PREFIX.saturating_sub(prefix.len());
        self.end = SHORT_PREFIX;
        let room = self.short.get_mut(self.start..SHORT_PREFIX).unwrap_or_default();
        self.is_long = room.len() < prefix.len();
        if self.is_long {
            self.short_limit = 0;
            self.long.clear();
            self.long.extend_from_slice(prefix);
        } else {
            self.short_limit = SHORT_SUFFIX + 1;
            room.copy_from_slice(prefix);
        }
    }

    /// Puts `len` of the bytes from `start` on behind the prefix; false if there are not so many, or
    /// if that is more than a key can have.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a step of a scan is not to be a call")]
    pub(super) fn set_suffix(&mut self, bytes: &[u8], (start, len): (usize, usize)) -> bool {
        let source = bytes.get(start..).and_then(<[u8]>::first_chunk::<SHORT_SUFFIX>);
        let room = self.short.last_chunk_mut::<SHORT_SUFFIX>();
        match (room, source) {
            (Some(room), Some(source)) if len < self.short_limit => {
                *room = *source;
                self.end = SHORT_PREFIX + len;
                self.is_long = false;
                true
            }
            _ => self.copy_suffix(bytes, start, len),
        }
    }

    /// Whether suffixes of this length go where sixteen bytes can be copied.
    pub(super) const fn takes_short(&self, len: usize) -> bool {
        len < self.short_limit
    }

    /// Puts another suffix in the place of a short one of the same length: the first of `bytes`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(super) fn replace_short(&mut self, bytes: &[u8; SHORT_SUFFIX]) {
        if let Some(room) = self.short.last_chunk_mut::<SHORT_SUFFIX>() {
            *room = *bytes;
        }
    }

    #[inline(never)]
    fn copy_suffix(&mut self, bytes: &[u8], start: usize, len: usize) -> bool {
        let room = MAX_KEY_LEN.checked_sub(self.prefix_len);
        let suffix = bytes.get(start..).and_then(|rest| rest.get(..len));
        let suffix = suffix.filter(|suffix| room.is_some_and(|room| suffix.len() <= room));
        if let Some(suffix) = suffix {
            self.set_any_suffix(suffix);
        }
        suffix.is_some()
    }

    /// Puts a suffix of any length behind the prefix.
    pub(super) fn set_any_suffix(&mut self, suffix: &[u8]) {
        if self.short_limit > 0 {
            self.long.clear();
            let prefix = self.short.get(self.start..SHORT_PREFIX).unwrap_or_default();
            self.long.extend_from_slice(prefix);
        } else {
            self.long.truncate(self.prefix_len);
        }
        self.long.extend_from_slice(suffix);
        self.is_long = true;
    }
}

/// What is never needed; a call keeps the compiler from choosing between two slices at each step.
#[cold]
pub(super) fn empty() -> &'static [u8] {
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_prefix_and_suffix_whatever_their_lengths() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut key = KeyBuffer::default();
        for prefix_len in [0, 1, 47, 48, 49, 15, 100, 16, 0] {
            key.set_prefix(&bytes[..prefix_len]);
            assert_eq!(key.as_slice(), &bytes[..prefix_len]);
            for range in [0..0, 3..4, 20..36, 20..37, 0..100, 5..6, 84..100, 85..100, 99..100] {
                let want = [&bytes[..prefix_len], &bytes[range.clone()]].concat();
                assert!(key.set_suffix(&bytes, (range.start, range.len())));
                assert_eq!(key.as_slice(), want);
                key.set_any_suffix(&bytes[range]);
                assert_eq!(key.as_slice(), want);
            }
            for (start, len) in [(99, 2), (101, 0), (usize::MAX, 1), (1, usize::MAX)] {
                assert!(!key.set_suffix(&bytes, (start, len)), "{len} at {start}");
            }
        }
        key.clear();
        assert_eq!(key.as_slice(), b"");
    }
}
