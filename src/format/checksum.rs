//! Hashing: the checksum of stored bytes and the hash of a user key.
//!
//! Both are XXH3, 64 bits, with a seed. A checksum's seed binds the bytes to their place (file
//! identity and offset), so a block that was copied or written elsewhere does not verify. A
//! key's hash is computed once per lookup and serves every filter and fingerprint.
//!
//! Spec: `format-spec/README.md`, "Checksums and hashes". I/O: none. Unsafe: none.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The XXH3 checksum of `bytes` under `seed`.
#[must_use]
pub fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Whether `bytes` have this checksum under `seed`.
///
/// Under `cfg(fuzzing)` every checksum matches, so that a fuzzer reaches what lies behind it.
#[must_use]
pub fn matches(bytes: &[u8], seed: u64, expected: u64) -> bool {
    cfg!(fuzzing) || checksum(bytes, seed) == expected
}

/// The hash of a user key under a database's hash seed.
#[inline]
#[must_use]
pub fn hash_key(key: &[u8], hash_seed: u64) -> u64 {
    xxh3_64_with_seed(key, hash_seed)
}

/// The fingerprint of a key in a data block: bits 32 to 39 of its hash.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "one byte of the hash is wanted")]
pub const fn fingerprint(hash: u64) -> u8 {
    (hash >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `format-spec/README.md`: the bytes 0, 1, 2, … 255, 0, 1, … One length for
    /// each way in which XXH3 reads its input.
    #[test]
    fn hashes_are_those_of_the_spec() {
        #[rustfmt::skip]
        let cases = [
            // bytes, seed 0,               seed 42
            (0,    0x2d06_8005_38d3_94c2, 0xb029_411f_f43d_84d2),
            (1,    0xc44b_dff4_074e_ecdb, 0x5cf1_0f10_bf2d_d245),
            (3,    0x5f42_99fc_161c_9cbb, 0x7588_1294_bdba_f34c),
            (4,    0x60da_b036_a582_11f2, 0xd857_1bd6_d6d1_7e42),
            (8,    0x3a1c_2d7c_85af_88f8, 0x533b_2c25_fa39_7f0b),
            (9,    0xe961_2598_145b_b9dc, 0xec60_d791_3c54_10f9),
            (16,   0x8355_e3a6_f617_70db, 0x7489_1a34_d3ff_f0a9),
            (17,   0x9ef3_41a9_9de3_7328, 0x2668_e397_7d45_1c23),
            (128,  0x85c6_174c_7ff4_c46b, 0xa7f8_6393_5f4a_4028),
            (129,  0xec76_42b4_31ba_3e5a, 0x82b8_0bdd_4ac2_9db5),
            (240,  0x375a_384d_957f_e865, 0x4c02_3d24_e6a8_4d31),
            (241,  0x02e8_cd95_421c_6d02, 0x26e3_d358_d4e0_a1d6),
            (1000, 0xd33d_d80b_46f6_0e50, 0x1ba5_b309_df6f_67d3),
        ];
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for (len, plain, seeded) in cases {
            let bytes = &bytes[..len];
            assert_eq!((checksum(bytes, 0), checksum(bytes, 42)), (plain, seeded), "{len} bytes");
            assert_eq!((hash_key(bytes, 0), hash_key(bytes, 42)), (plain, seeded));
            assert!(matches(bytes, 42, seeded) && !matches(bytes, 42, seeded ^ 1));
        }
        assert_eq!(checksum(b"abc", 0), 0x78af_5f94_892f_3950);
    }

    #[test]
    fn a_fingerprint_is_one_byte_of_the_hash() {
        assert_eq!(fingerprint(0x0102_03a4_0506_0708), 0xa4);
    }
}
