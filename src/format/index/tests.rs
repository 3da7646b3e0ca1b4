//! Searches against a model: the blocks themselves, looked through one by one.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use std::cell::RefCell;
use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::format::error::FormatError;
use crate::format::row::shared_len;

const BLOCK_SIZE: u32 = 4096;

/// A table as the index sees it: the keys of each block, ascending.
#[derive(Debug)]
struct Blocks(Vec<Vec<Vec<u8>>>);

impl Blocks {
    /// Splits sorted keys into blocks of up to `most` keys.
    fn of(keys: &[Vec<u8>], most: usize, rng: &mut StdRng) -> Self {
        let mut blocks = Vec::new();
        let mut rest = keys;
        while !rest.is_empty() {
            let (block, tail) = rest.split_at(rng.random_range(1..=most.min(rest.len())));
            blocks.push(block.to_vec());
            rest = tail;
        }
        Self(blocks)
    }

    fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter().flatten()
    }

    fn first(&self, block: usize) -> &[u8] {
        &self.0[block][0]
    }

    fn last(&self, block: usize) -> &[u8] {
        self.0[block].last().unwrap()
    }

    fn encode(&self, uniform: bool) -> Vec<u8> {
        let mut builder = IndexBuilder::new();
        for block in 0..self.0.len() {
            builder.push(self.first(block), self.last(block));
        }
        assert_eq!(builder.block_count(), self.0.len());
        let prefix_len = shared_len(self.first(0), self.last(self.0.len() - 1));
        let min_key_len = self.keys().map(Vec::len).min().unwrap();
        let block_size = uniform.then_some(BLOCK_SIZE);
        builder.finish(&self.first(0)[..prefix_len], min_key_len, block_size, &self.offsets())
    }

    /// Where the blocks of a packed file lie, and where the last one ends.
    fn offsets(&self) -> Vec<u64> {
        (0..=self.0.len() as u64).map(|block| block * 192 + block.min(1) * 64).collect()
    }

    fn data_len(&self, uniform: bool) -> u64 {
        let slots = self.0.len() as u64 * u64::from(BLOCK_SIZE);
        if uniform { slots } else { self.offsets()[self.0.len()] }
    }

    /// The block that a reader opens for `key`.
    fn resolve(&self, search: Search) -> usize {
        match search {
            Search::BlockOrOneBefore(block) if self.last(block - 1) == self.first(block) => {
                block - 1
            }
            Search::Block(block) | Search::BlockOrOneBefore(block) => block,
        }
    }

    /// Checks that `block` is where `key` stands, or would stand: everything in the blocks before
    /// is smaller, and everything in the blocks behind is larger.
    #[track_caller]
    fn check_place(&self, key: &[u8], block: usize) {
        if block > 0 {
            assert!(self.last(block - 1) < key, "{key:?} is above block {}", block - 1);
        }
        if let Some(behind) = self.0.get(block + 1) {
            let goes_on = behind[0] == key && self.last(block) == key;
            assert!(behind[0].as_slice() > key || goes_on, "{key:?} is below block {block}");
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what touches a region may fail")]
fn untouched(_: Range<usize>) -> Result<(), FormatError> {
    Ok(())
}

/// Encodes both ways and looks for every key, and for neighbours of it that are absent.
#[track_caller]
fn check(blocks: &Blocks) -> Vec<u8> {
    for uniform in [true, false] {
        let bytes = blocks.encode(uniform);
        let index = Index::parse(&bytes).unwrap();
        assert_eq!(index.layout().block_count(), blocks.0.len());
        assert_eq!(index.layout().block_size(), uniform.then_some(BLOCK_SIZE));
        assert_eq!(index.verify(blocks.data_len(uniform)), Ok(()));
        assert!(index.verify(blocks.data_len(uniform) + 64).is_err());
        for (block, offset) in blocks.offsets().into_iter().enumerate() {
            let want = if uniform { (block as u64) * u64::from(BLOCK_SIZE) } else { offset };
            assert_eq!(index.block_offset(block, &untouched), Ok(want));
        }
        let step = (blocks.keys().count() / if cfg!(miri) { 20 } else { 2_000 }).max(1);
        for key in blocks.keys().step_by(step) {
            check_search(blocks, &index, key);
            check_search(blocks, &index, &[&key[..], &[0]].concat());
            check_search(blocks, &index, &[&key[..], &[0xFF]].concat());
            if let Some((last, rest)) = key.split_last() {
                check_search(blocks, &index, rest);
                check_search(blocks, &index, &[rest, &[last.wrapping_add(1)]].concat());
                check_search(blocks, &index, &[rest, &[last.wrapping_sub(1), 0xFF]].concat());
            }
        }
        check_search(blocks, &index, b"");
        check_search(blocks, &index, &[0xFF; 50]);
    }
    blocks.encode(false)
}

#[track_caller]
fn check_search(blocks: &Blocks, index: &Index<'_>, key: &[u8]) {
    let search = index.search(key, &untouched).unwrap();
    blocks.check_place(key, blocks.resolve(search));
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys.dedup();
    keys
}

/// Keys of many shapes, sorted.
fn keys_of(shape: &str, count: usize, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let numbers = 0..count as u64;
    let big_endian = |number: u64| zerocopy::big_endian::U64::new(number).to_bytes();
    let keys = match shape {
        "random" => numbers.map(|_| (0..16).map(|_| rng.random()).collect()).collect(),
        "short" => (0..count.min(600))
            .map(|_| (0..rng.random_range(0..6)).map(|_| rng.random_range(0..4)).collect())
            .collect(),
        "shared prefix" => numbers
            .map(|n| format!("the/forty/bytes/that/all/keys/start/with{n:08}").into_bytes())
            .collect(),
        "tenants" => numbers.map(|n| [&[b'T'; 16][..], &big_endian(n * 7)].concat()).collect(),
        "four tenants" => numbers
            .map(|n| [&[[1, 7, 8, 200][n as usize % 4]; 16][..], &big_endian(n)].concat())
            .collect(),
        "prefixes" => (0..count.min(300)).map(|len| vec![b'a'; len]).collect(),
        "zeros" => (0..count.min(300)).map(|len| vec![0; len]).collect(),
        "all ones" => (0..count.min(300)).map(|len| vec![0xFF; len]).collect(),
        "shorter than a head" => numbers
            .map(|n| {
                let digits = format!("{n:06}");
                [&b"long-prefix-of-all/"[..], &digits.as_bytes()[..=n as usize % 6]].concat()
            })
            .collect(),
        _ => unreachable!("{shape}"),
    };
    sorted(keys)
}

const SHAPES: &[&str] = &[
    "random",
    "short",
    "shared prefix",
    "tenants",
    "four tenants",
    "prefixes",
    "zeros",
    "all ones",
    "shorter than a head",
];

#[test]
fn a_search_finds_the_block_of_a_key_of_any_shape() {
    let count = if cfg!(miri) { 30 } else { 2_000 };
    for (seed, shape) in (0..).zip(SHAPES) {
        println!("{shape}, seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = keys_of(shape, count, &mut rng);
        for most in [1, 3, 40] {
            check(&Blocks::of(&keys, most, &mut rng));
        }
    }
}

#[test]
fn a_key_that_spans_blocks_is_found_in_its_first() {
    for seed in 0..if cfg!(miri) { 2 } else { 60 } {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let shape = SHAPES[rng.random_range(0..SHAPES.len())];
        let mut keys = keys_of(shape, 60, &mut rng);
        keys.shuffle(&mut rng);
        keys.truncate(rng.random_range(1..20));
        let copies: Vec<Vec<u8>> = keys
            .iter()
            .flat_map(|key| std::iter::repeat_n(key.clone(), rng.random_range(1..12)))
            .collect();
        let mut keys = copies;
        keys.sort();
        check(&Blocks::of(&keys, 4, &mut rng));
    }
}

#[test]
fn every_size_of_tree_is_searched() {
    let sizes: &[usize] =
        if cfg!(miri) { &[1, 16, 17] } else { &[1, 2, 15, 16, 17, 255, 256, 257, 4096, 5000] };
    for size in sizes {
        let keys: Vec<Vec<u8>> = (0..*size).map(|n| format!("{n:09}").into_bytes()).collect();
        let blocks = Blocks(keys.into_iter().map(|key| vec![key]).collect());
        let bytes = check(&blocks);
        let header = IndexHeader::read_from_prefix(&bytes).unwrap().0;
        let levels = 1 + (1..4).filter(|level| *size > 16_usize.pow(*level)).count();
        assert_eq!(usize::from(header.level_count), levels, "{size} blocks");
    }
}

#[test]
fn separators_are_the_shortest_between_two_blocks() {
    #[rustfmt::skip]
    let cases = [
        // last    first     separator
        ("",       "a",      "a"),
        ("a",      "b",      "b"),
        ("abc",    "abd",    "abd"),
        ("abc",    "b",      "b"),
        ("abc",    "bcd",    "b"),
        ("abc",    "abcd",   "abcd"),
        ("abc",    "abcdef", "abcd"),
        ("abcdef", "abd",    "abd"),
        ("abc",    "abc",    "abc"), // one key spans both blocks
        ("",       "",       ""),
    ];
    for (last, first, want) in cases {
        let separator = shortest_separator(last.as_bytes(), first.as_bytes());
        assert_eq!(separator, want.as_bytes(), "{last:?}, {first:?}");
    }
}

#[test]
fn heads_are_ordered_as_keys_are() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut keys: Vec<Vec<u8>> = (0..500)
        .map(|_| (0..rng.random_range(0..12)).map(|_| rng.random_range(0..3)).collect())
        .collect();
    keys.sort();
    for offset in [0, 1, 5, 8, 20] {
        let same_start = |pair: &&[Vec<u8>]| {
            pair[0].get(..offset).is_some() && pair[0].get(..offset) == pair[1].get(..offset)
        };
        for pair in keys.windows(2).filter(same_start) {
            assert!(head_of(&pair[0], offset) <= head_of(&pair[1], offset), "{pair:?}");
        }
    }
    #[rustfmt::skip]
    let cases: &[(&[u8], usize, u64)] = &[
        (b"",              0, 0),
        (b"\x01",          0, 0x0100_0000_0000_0000),
        (b"\x01",          1, 0),
        (b"\x01",          9, 0),
        (b"abcdefgh",      0, 0x6162_6364_6566_6768),
        (b"abcdefghi",     0, 0x6162_6364_6566_6768),
        (b"abcdefghi",     1, 0x6263_6465_6667_6869),
        (b"abcdefghi",     2, 0x6364_6566_6768_6900),
        (&[0xFF; 9],       1, u64::MAX),
    ];
    for (key, offset, want) in cases {
        assert_eq!(head_of(key, *offset), *want, "{key:?} from {offset}");
    }
}

/// The 4 KiB chunks of a region that a search names, besides those of the header and the prefix.
fn touched(index: &Index<'_>, key: &[u8]) -> (Search, Vec<Range<usize>>) {
    let header_and_prefix = 0..HEADER_LEN + index.prefix().len();
    let ranges = RefCell::new(vec![header_and_prefix]);
    let touch = |range: Range<usize>| {
        ranges.borrow_mut().push(range);
        Ok::<(), FormatError>(())
    };
    let search = index.search(key, &touch).unwrap();
    (search, ranges.into_inner())
}

#[test]
fn a_search_reads_nothing_that_it_did_not_name() {
    for (seed, shape) in (0..).zip(SHAPES).take(if cfg!(miri) { 2 } else { 99 }) {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = keys_of(shape, 400, &mut rng);
        let blocks = Blocks::of(&keys, 2, &mut rng);
        let bytes = blocks.encode(true);
        let index = Index::parse(&bytes).unwrap();
        for key in keys.iter().step_by(if cfg!(miri) { 100 } else { 7 }) {
            let (search, ranges) = touched(&index, key);
            let mut junk = vec![0xEE; bytes.len()];
            for range in ranges.into_iter().chain(std::iter::once(0..index.layout().heads_start()))
            {
                junk[range.clone()].copy_from_slice(&bytes[range]);
            }
            let blind = Index::with_layout(&junk, *index.layout());
            assert_eq!(blind.search(key, &untouched), Ok(search), "{shape}, {key:?}");
        }
    }
}

#[test]
fn a_search_stops_where_a_chunk_is_bad() {
    let keys = keys_of("four tenants", 400, &mut StdRng::seed_from_u64(1));
    let blocks = Blocks(keys.iter().map(|key| vec![key.clone()]).collect());
    let bytes = blocks.encode(false);
    let index = Index::parse(&bytes).unwrap();
    let (_, ranges) = touched(&index, &keys[77]);
    for bad in 1..ranges.len() {
        let count = RefCell::new(0);
        let touch = |_| {
            *count.borrow_mut() += 1;
            if *count.borrow() == bad { Err(SORTED.broken(7)) } else { Ok(()) }
        };
        assert_eq!(index.search(&keys[77], &touch), Err(SORTED.broken(7)));
    }
}

// ---- what is broken is named ---------------------------------------------------------------

fn small() -> Blocks {
    let keys = ["key", "keyaa", "keyab", "keyab", "keyab", "keyb", "keyzzzzzzzzzz", "kz"];
    Blocks(keys.iter().map(|key| vec![key.as_bytes().to_vec()]).collect())
}

/// Searches, and asks for what is not there.
fn walk(index: &Index<'_>) {
    for key in ["", "a", "key", "keyab", "keyab\0", "kyyyyyyyyyyyyyyy", "z"] {
        let _ = index.search(key.as_bytes(), &untouched);
    }
    for block in (0..20).chain([u32::MAX as usize, usize::MAX]) {
        let _ = index.separator(block, &untouched);
        let _ = index.block_offset(block, &untouched);
    }
    let _ = index.verify(9 * 192);
}

#[test]
fn every_truncation_is_an_error() {
    for uniform in [true, false] {
        let bytes = small().encode(uniform);
        let layout = *Index::parse(&bytes).unwrap().layout();
        for len in 0..bytes.len() {
            let error = Index::parse(&bytes[..len]).unwrap_err();
            assert_eq!(error.rule().id, if len < HEADER_LEN { "I1" } else { "I5" });
            // A layout that was kept, on bytes that are no longer there.
            let cut = Index::with_layout(&bytes[..len], layout);
            walk(&cut);
            assert!(cut.verify(small().data_len(uniform)).is_err(), "cut to {len} bytes");
        }
        assert!(Index::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn every_bit_flip_is_an_error_or_in_a_separator() {
    for uniform in [true, false] {
        let bytes = small().encode(uniform);
        let layout = *Index::parse(&bytes).unwrap().layout();
        for bit in (0..bytes.len() * 8).step_by(if cfg!(miri) { 101 } else { 1 }) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(index) = Index::parse(&flipped) else { continue };
            walk(&index);
            if index.verify(small().data_len(uniform)).is_ok() {
                // Only a chunk's checksum or the blocks can tell: bytes of a separator behind its
                // head, the prefix, and whether some key goes on.
                let at = bit / 8;
                let in_separators = at >= layout.separators;
                let in_prefix = (HEADER_LEN..HEADER_LEN + layout.prefix_len).contains(&at);
                let is_flag = at == 12 && bit % 8 == 1;
                let in_offsets =
                    !uniform && (layout.block_offsets..layout.separator_offsets).contains(&at);
                assert!(in_separators || in_prefix || is_flag || in_offsets, "bit {bit}");
            }
        }
    }
}

#[test]
fn any_header_before_any_bytes_is_read_without_a_panic() {
    for seed in 0..if cfg!(miri) { 30 } else { 3_000 } {
        let mut rng = StdRng::seed_from_u64(seed);
        let block_count = rng.random_range(1..40_u32);
        let uniform = rng.random();
        let separators_len = rng.random_range(0..100);
        let prefix_len = rng.random_range(0..20);
        let levels = level_lens(block_count as usize);
        let tree_len: usize = levels.map(|len| len.next_multiple_of(FANOUT) * 8).sum();
        let header = IndexHeader {
            magic: MAGIC,
            block_count: U32::new(block_count),
            prefix_len: U16::new(prefix_len),
            head_offset: U16::new(rng.random_range(0..=prefix_len)),
            flags: u8::from(uniform) | if rng.random() { FLAG_CONTINUED } else { 0 },
            level_count: level_lens(block_count as usize).count() as u8,
            reserved: [0; 2],
            block_size: U32::new(if uniform { 1 << rng.random_range(10..17) } else { 0 }),
            separators_len: U32::new(separators_len),
            reserved_tail: [U64::ZERO; 5],
        };
        let head_len = (HEADER_LEN + usize::from(prefix_len)).next_multiple_of(NODE_LEN);
        let offsets_len = 4 * (block_count as usize + 1) * if uniform { 1 } else { 2 };
        let mut bytes = vec![0; head_len + tree_len + offsets_len + separators_len as usize];
        if rng.random() {
            rng.fill(&mut bytes[..]);
        } else {
            bytes.fill_with(|| rng.random_range(0..3));
        }
        bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
        let index = Index::parse(&bytes).unwrap();
        walk(&index);
    }
}

#[track_caller]
fn check_broken(id: &str, uniform: bool, change: impl FnOnce(&IndexLayout, &mut Vec<u8>)) {
    let mut bytes = small().encode(uniform);
    let layout = *Index::parse(&bytes).unwrap().layout();
    change(&layout, &mut bytes);
    let data_len = small().data_len(uniform);
    let error = Index::parse(&bytes).and_then(|index| {
        walk(&index);
        index.verify(data_len)
    });
    let error = error.expect_err("a broken rule");
    assert_eq!(error.rule().id, id, "{error}");
    assert!(error.at() < bytes.len() as u64, "at {}", error.at());
}

#[test]
fn each_broken_rule_is_named() {
    check_broken("I1", true, |_, bytes| bytes[3] = b'Y');
    check_broken("I2", true, |_, bytes| bytes[12] |= 4);
    for reserved in [14, 15, 24, 63] {
        check_broken("I2", true, |_, bytes| bytes[reserved] = 1);
    }
    check_broken("I3", true, |_, bytes| bytes[4..8].fill(0));
    check_broken("I4", true, |_, bytes| bytes[13] = 2);
    check_broken("I4", true, |_, bytes| bytes[4..8].fill(0xFF));
    check_broken("I5", true, |_, bytes| bytes[4] += 1);
    check_broken("I5", true, |_, bytes| bytes[23] = 0xFF);
    check_broken("I5", true, |_, bytes| bytes.push(0));
    check_broken("I6", true, |_, bytes| bytes[10] = 2);
    check_broken("I7", true, |at, bytes| bytes[at.separator_offsets] = 1);
    check_broken("I7", true, |at, bytes| bytes[at.separator_offsets + 8] = 200);
    check_broken("I7", true, |at, bytes| bytes[at.separators - 4] -= 1);
    check_broken("I8", true, |_, bytes| bytes[12] &= !FLAG_UNIFORM);
    check_broken("I8", false, |_, bytes| bytes[12] |= FLAG_UNIFORM);
    for block_size in [0, 512, 4097, 1 << 17, 1 << 31] {
        let block_size = U32::new(block_size);
        check_broken("I8", true, |_, bytes| bytes[16..20].copy_from_slice(block_size.as_bytes()));
    }
    check_broken("I9", false, |at, bytes| bytes[at.block_offsets] = 1);
    check_broken("I9", false, |at, bytes| bytes[at.block_offsets + 4] = 0);
    check_broken("I9", false, |at, bytes| bytes[at.separator_offsets - 4] += 1);
    check_broken("I10", true, |at, bytes| bytes[at.levels[0].0] = 1);
    check_broken("I10", true, |at, bytes| bytes[at.separator_offsets - 1] = 0);
    check_broken("I10", true, |at, bytes| bytes[HEADER_LEN + at.prefix_len] = 1);
    check_broken("I11", true, |at, bytes| bytes[at.separators] = 0xFF);
    check_broken("I11", true, |_, bytes| bytes[12] &= !FLAG_CONTINUED);
}

#[test]
fn rules_are_numbered_in_order() {
    for (number, rule) in (1..).zip(RULES) {
        assert_eq!(rule.id, format!("I{number}"));
    }
}
