"""XXH3 with 64 bits, in plain Python: for machines that lack the package `xxhash`.

Lengths up to 240 bytes are hashed in one of five ways, longer ones by stripes of 64 bytes. The longer path lets
Python's large numbers and C loops do the work, so it is slow but not hopeless: tens of megabytes a second.
"""
import struct
from functools import lru_cache
from operator import mul

M64 = 2**64 - 1
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
    "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a"
    "51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8f"
    "f8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def word(data, at, size=8):
    return int.from_bytes(data[at:at + size], "little")


def folded(a, b):
    product = (a & M64) * (b & M64)
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h = ((h ^ h >> 37) * 0x165667919E3779F9) & M64
    return h ^ h >> 32


def avalanche_of_xxh64(h):
    h = ((h ^ h >> 33) * P64_2) & M64
    h = ((h ^ h >> 29) * P64_3) & M64
    return h ^ h >> 32


def mix(data, at, secret_at, seed):
    return folded(word(data, at) ^ (word(SECRET, secret_at) + seed) & M64,
                  word(data, at + 8) ^ (word(SECRET, secret_at + 8) - seed) & M64)


def xxh3_short(data, seed):
    n = len(data)
    if n == 0:
        return avalanche_of_xxh64(seed ^ word(SECRET, 56) ^ word(SECRET, 64))
    if n <= 3:
        combined = data[0] << 16 | data[n >> 1] << 24 | data[-1] | n << 8
        return avalanche_of_xxh64(combined ^ ((word(SECRET, 0, 4) ^ word(SECRET, 4, 4)) + seed) & M64)
    if n <= 8:
        seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
        h = (word(data, n - 4, 4) + (word(data, 0, 4) << 32)) ^ ((word(SECRET, 8) ^ word(SECRET, 16)) - seed) & M64
        h ^= ((h << 49 | h >> 15) ^ (h << 24 | h >> 40)) & M64
        h = (h * 0x9FB21C651E98DF25) & M64
        h = ((h ^ (h >> 35) + n) * 0x9FB21C651E98DF25) & M64
        return h ^ h >> 28
    if n <= 16:
        low = word(data, 0) ^ ((word(SECRET, 24) ^ word(SECRET, 32)) + seed) & M64
        high = word(data, n - 8) ^ ((word(SECRET, 40) ^ word(SECRET, 48)) - seed) & M64
        return avalanche((n + int.from_bytes(low.to_bytes(8, "little"), "big") + high + folded(low, high)) & M64)
    h = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            h += mix(data, 16 * i, 32 * i, seed) + mix(data, n - 16 * (i + 1), 32 * i + 16, seed)
        return avalanche(h & M64)
    h = avalanche((h + sum(mix(data, 16 * i, 16 * i, seed) for i in range(8))) & M64)
    h += sum(mix(data, 16 * i, 16 * i - 125, seed) for i in range(8, n // 16))
    return avalanche((h + mix(data, n - 16, 119, seed)) & M64)


@lru_cache(maxsize=64)
def secret_of(seed):
    """The secret of a seed, and what the 16 stripes of a block are mixed with, as one number."""
    words = struct.unpack("<24Q", SECRET)
    secret = struct.pack("<24Q", *((w + (-seed if i & 1 else seed)) & M64 for i, w in enumerate(words)))
    return secret, int.from_bytes(b"".join(secret[8 * i:8 * i + 64] for i in range(16)), "little")


def accumulate(sums, stripes, keys):
    """Adds up to 16 stripes of 64 bytes. Sums are cut to 64 bits only at the end: the result is the same."""
    words = struct.unpack(f"<{len(stripes) // 8}Q", stripes)
    mixed = (int.from_bytes(stripes, "little") ^ keys).to_bytes(len(stripes), "little")
    halves = struct.unpack(f"<{len(stripes) // 4}I", mixed)
    return [(s + sum(words[i ^ 1::8]) + sum(map(mul, halves[2 * i::16], halves[2 * i + 1::16]))) & M64
            for i, s in enumerate(sums)]


def xxh3(data, seed=0):
    data, n = bytes(data), len(data)
    if n <= 240:
        return xxh3_short(data, seed)
    secret, keys = secret_of(seed)
    scramble = struct.unpack("<8Q", secret[128:192])
    sums = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    last_block = (n - 1) // 1024 * 1024
    for at in range(0, last_block, 1024):
        sums = accumulate(sums, data[at:at + 1024], keys)
        sums = [((s ^ s >> 47 ^ key) * P32_1) & M64 for s, key in zip(sums, scramble)]
    rest = (n - 1 - last_block) // 64 * 64
    if rest:
        sums = accumulate(sums, data[last_block:last_block + rest], keys & (1 << 8 * rest) - 1)
    sums = accumulate(sums, data[n - 64:], word(secret, 121, 64))
    h = n * P64_1
    for i in range(0, 8, 2):
        h += folded(sums[i] ^ word(secret, 11 + 8 * i), sums[i + 1] ^ word(secret, 19 + 8 * i))
    return avalanche(h & M64)
