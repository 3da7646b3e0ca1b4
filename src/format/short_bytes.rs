//! Comparing short byte strings without a call.
//!
//! Prefixes and suffixes of keys are mostly shorter than sixteen bytes. The library's comparison is a
//! call that finds out so first; here two loads of each side that overlap do.
//!
//! Spec: none. I/O: none. Unsafe: none.

/// Whether two byte strings are equal.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call is what this is there to avoid")]
pub(crate) fn short_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if (8..=16).contains(&a.len()) {
        return ends_equal::<8>(a, b);
    }
    match a.len() {
        0 => true,
        1..4 => ends_equal::<1>(a, b) && middles_equal(a, b),
        4..8 => ends_equal::<4>(a, b),
        _ => a == b,
    }
}

/// Whether the first and the last `N` bytes are equal.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn ends_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
}

/// Whether the bytes in the middle of two strings of one to three are equal.
#[inline]
fn middles_equal(a: &[u8], b: &[u8]) -> bool {
    a.get(a.len() / 2) == b.get(b.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::short_equal;

    #[test]
    fn strings_are_equal_exactly_if_all_bytes_are() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..=bytes.len() {
            let a = &bytes[..len];
            assert!(short_equal(a, &Vec::from(a)), "{len}");
            assert!(!short_equal(a, &[a, &[0]].concat()), "{len}");
            for place in 0..len {
                let mut b = a.to_vec();
                b[place] ^= 0x80;
                assert!(!short_equal(a, &b), "byte {place} of {len}");
            }
        }
    }
}
