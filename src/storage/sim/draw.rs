//! Draw: the simulated disk's chance, replayable from its seed.
//!
//! `SplitMix64`: a counter whose every value is hashed, so that even seeds 1, 2, 3 differ at once.
//!
//! Spec: none. I/O: none. Unsafe: none.

/// A sequence of numbers that looks random; the same seed gives the same sequence.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is at most a usize")]
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        match (most as u64).checked_add(1) {
            Some(count) => (self.next() % count) as usize,
            None => self.next() as usize,
        }
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn a_seed_gives_its_sequence() {
        let mut draw = Draw::new(1_234_567);
        // The first outputs that the algorithm's authors publish for this seed.
        let want =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(want.map(|_| draw.next()), want);
    }

    #[test]
    fn every_number_up_to_the_most_is_drawn() {
        let mut draw = Draw::new(1);
        for most in [0, 1, 6] {
            let mut seen = vec![0; most + 1];
            (0..200).for_each(|_| seen[draw.up_to(most)] += 1);
            assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        }
        draw.up_to(usize::MAX);
        assert!((0..100).any(|_| draw.coin()) && (0..100).any(|_| !draw.coin()));
    }
}
