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
