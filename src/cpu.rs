//! What a processor can do that Rust has no words for: prefetch, compare many bytes at once, and do
//! more at a time than the oldest of its kind.
//!
//! A lookup that touches memory at random waits for one cache line at a time. Where the next
//! lines are known early, asking for them ahead makes the waits overlap.
//!
//! Hot paths are compiled twice from one source, with AVX2 and without ([`run`]): the compiler finds
//! the wide instructions by itself in loops that are written for it.
//!
//! # Invariants
//!
//! - A prefetch is a hint: it changes no result, and an offset out of bounds asks for nothing.
//! - With and without SIMD the answer is the same.
//!
//! Spec: none. I/O: none. Unsafe: prefetch instructions; SSE2, which every x86-64 processor has;
//! AVX2, where the processor was asked for it.

#[cfg(all(target_arch = "x86_64", not(miri)))]
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Work that is compiled once for every processor and once for those with AVX2.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Does it. `WIDE` tells for which of the two this is compiled, where that should make a
    /// difference. An implementation, and what it calls, has to be inlined to be compiled twice.
    fn run<const WIDE: bool>(self) -> Self::Output;
}

/// Does `work`, with AVX2 where the processor has it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the test of a byte, then a call")]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if has_avx2() {
        // SAFETY: calling a function with target features requires a processor that has them:
        // `has_avx2` found all that are named there.
        #[expect(unsafe_code, reason = "the call of a function with target features; see SAFETY")]
        return unsafe { run_with_avx2(work) };
    }
    work.run::<false>()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,movbe,popcnt")]
fn run_with_avx2<W: Work>(work: W) -> W::Output {
    work.run::<true>()
}

/// Whether the processor has AVX2 and what came with it; asked once.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "the test of a byte")]
fn has_avx2() -> bool {
    match KNOWN.load(Relaxed) {
        HAS_AVX2 => true,
        HAS_NOT => false,
        _ => ask_for_avx2(),
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
static KNOWN: AtomicU8 = AtomicU8::new(0);
#[cfg(all(target_arch = "x86_64", not(miri)))]
const HAS_AVX2: u8 = 1;
#[cfg(all(target_arch = "x86_64", not(miri)))]
const HAS_NOT: u8 = 2;

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[cold]
fn ask_for_avx2() -> bool {
    let has = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe")
        && is_x86_feature_detected!("popcnt");
    KNOWN.store(if has { HAS_AVX2 } else { HAS_NOT }, Relaxed);
    has
}

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

/// One bit for each byte of `group` that equals `byte`, the first byte's the lowest.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn matching_bytes(group: &[u8; 16], byte: u8) -> u16 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let (low, high) = (half::<0>(group).cast_signed(), half::<8>(group).cast_signed());
    // SAFETY: these instructions need SSE2, which is part of x86-64, and read no memory.
    #[expect(unsafe_code, reason = "vendor intrinsics; see SAFETY")]
    let mask = unsafe {
        let equal = _mm_cmpeq_epi8(_mm_set_epi64x(high, low), _mm_set1_epi8(byte.cast_signed()));
        _mm_movemask_epi8(equal)
    };
    let [first, second, ..] = mask.to_le_bytes();
    u16::from_le_bytes([first, second])
}

/// One bit for each byte of `group` that equals `byte`, the first byte's the lowest.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn matching_bytes(group: &[u8; 16], byte: u8) -> u16 {
    matching_bytes_without_simd(group, byte)
}

/// Eight bytes of a group as a number.
#[inline]
fn half<const START: usize>(group: &[u8; 16]) -> u64 {
    let (words, _) = group.as_chunks::<8>();
    words.get(START / 8).map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn matching_bytes_without_simd(group: &[u8; 16], byte: u8) -> u16 {
    matching_bytes_of(half::<0>(group), byte) | (matching_bytes_of(half::<8>(group), byte) << 8)
}

/// One bit for each byte of `word` that equals `byte`, the lowest byte's the lowest.
///
/// Source: Warren, "Hacker's Delight", 6-1 (finding zero bytes) and 7-4 (compressing bits).
#[cfg(any(test, not(target_arch = "x86_64")))]
const fn matching_bytes_of(word: u64, byte: u8) -> u16 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const REST: u64 = LOW * 0x7f;
    let differs = word ^ (LOW * byte as u64);
    // The highest bit of a byte is set exactly if the byte is zero.
    let zeros = !(((differs & REST) + REST) | differs | REST);
    ((zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u16
}

#[cfg(test)]
mod tests {
    use super::{matching_bytes, matching_bytes_without_simd, prefetch};

    #[test]
    fn any_offset_can_be_asked_for() {
        let bytes = [7; 100];
        for offset in [0, 1, 63, 64, 99, 100, 101, usize::MAX] {
            prefetch(&bytes, offset);
            prefetch(&[], offset);
        }
    }

    /// What both have to find, byte by byte.
    fn expected(group: &[u8; 16], byte: u8) -> u16 {
        (0..16).filter(|index| group[*index] == byte).map(|index| 1 << index).sum()
    }

    #[test]
    fn matches_are_found_with_and_without_simd() {
        let ascending = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let carries = std::array::from_fn(|index| [0x80, 0x7f, 0, 0xff, 1][index % 5]);
        for group in [[0; 16], [0xff; 16], [0x80; 16], ascending, carries] {
            for byte in 0..=255 {
                let want = expected(&group, byte);
                assert_eq!(matching_bytes(&group, byte), want, "{byte} in {group:?}");
                assert_eq!(matching_bytes_without_simd(&group, byte), want, "{byte} in {group:?}");
            }
        }
    }
}
