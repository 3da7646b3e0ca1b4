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

mod broken;

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
