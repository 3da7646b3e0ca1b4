//! Prefetch: asks the processor to fetch a cache line that will be read soon.
//!
//! A lookup that touches memory at random waits for one cache line at a time. Where the next
//! lines are known early, asking for them ahead makes the waits overlap.
//!
//! # Invariants
//!
//! - It is a hint: it changes no result, and an offset out of bounds asks for nothing.
//!
//! Spec: none. I/O: none. Unsafe: one instruction on x86-64 and one on `AArch64`.

/// Asks for the cache line of `bytes[offset]`, into every level of cache.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the caller needs one instruction, not a call")]
pub(crate) fn prefetch(bytes: &[u8], offset: usize) {
    if let Some(byte) = bytes.get(offset) {
        fetch_line(byte);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn fetch_line(byte: &u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: `_mm_prefetch` requires SSE, which every x86-64 processor has. It reads nothing
    // that the program could observe and never faults, whatever the address is; this one even
    // comes from a live reference.
    #[expect(unsafe_code, reason = "prefetching is an intrinsic; see SAFETY")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast());
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn fetch_line(byte: &u8) {
    // SAFETY: PRFM is part of the base instruction set. It is a hint that never faults, changes
    // no register, no flag and no memory, and uses no stack, as the options say; the address
    // even comes from a live reference.
    #[expect(unsafe_code, reason = "stable Rust has no intrinsic for PRFM; see SAFETY")]
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) std::ptr::from_ref(byte),
            options(readonly, nostack, preserves_flags),
        );
    }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn fetch_line(_byte: &u8) {}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn any_offset_is_fine() {
        let bytes = [7; 100];
        for offset in [0, 1, 63, 64, 99, 100, 101, usize::MAX] {
            prefetch(&bytes, offset);
            prefetch(&[], offset);
        }
    }
}
