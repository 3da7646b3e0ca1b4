//! Where the blocks of a table stand: in slots of one size, or one behind the other.
//!
//! In slots a lookup computes where a block is; packed, the index says it, and nothing is wasted.
//!
//! Spec: `format-spec/03-table.md`. I/O: none. Unsafe: none.

/// Slots are used if they waste at most one part in this many: 3 %.
const MAX_WASTE: u64 = 33;

/// Where blocks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Not known before enough blocks are there.
    Undecided,
    /// At multiples of the block size.
    Uniform,
    /// One behind the other.
    Packed,
}

impl Placement {
    /// Slots, if every block fits one and they waste little. The last block wastes nothing: the
    /// region ends behind it. `ends` tells where each of some blocks ends that lie back to back.
    pub(super) fn of(slot_len: usize, ends: &[usize]) -> Self {
        let slot = slot_len as u64;
        let mut start = 0;
        let (mut used, mut slots) = (0, 0);
        for (index, end) in ends.iter().enumerate() {
            let len = (*end - start) as u64;
            if len > slot {
                return Self::Packed;
            }
            if index + 1 < ends.len() {
                used += len;
                slots += slot;
            }
            start = *end;
        }
        if (slots - used) * MAX_WASTE > slots { Self::Packed } else { Self::Uniform }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_if_blocks_fit_and_fill_them() {
        #[track_caller]
        fn check(ends: &[usize], want: Placement) {
            assert_eq!(Placement::of(1_000, ends), want, "{ends:?}");
        }
        check(&[], Placement::Uniform);
        check(&[10], Placement::Uniform);
        check(&[1_001], Placement::Packed);
        check(&[1_000, 2_000, 2_001], Placement::Uniform);
        check(&[970, 1_940, 1_950], Placement::Uniform);
        check(&[960, 1_920, 1_930], Placement::Packed);
        check(&[1_000, 2_001], Placement::Packed);
    }
}
