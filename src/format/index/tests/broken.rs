//! What is broken is named, and nothing panics.

use super::*;

fn small() -> Blocks {
    let plain = ["key", "keyaa", "keyab", "keyab", "keyab", "keyb"];
    // The last two of these have separators that differ behind a head which they share.
    let tied = ["keyzzzzzzzzzz", "keyzzzzzzzzzzz", "keyzzzzzzzzzzzz", "kz"];
    let keys = plain.into_iter().chain(tied);
    Blocks(keys.map(|key| vec![key.as_bytes().to_vec()]).collect())
}

/// Searches, and asks for what is not there.
fn walk(index: &Index<'_>) {
    for key in
        ["", "a", "key", "keyab", "keyab\0", "keyzzzzzzzzzzzz", "keyzzzzz", "kyyyyyyyyyyyyyyy", "z"]
    {
        let _ = index.search(key.as_bytes(), &untouched);
    }
    for block in (0..20).chain([u32::MAX as usize, usize::MAX]) {
        let _ = index.separator(block, &untouched);
        let _ = index.block_offset(block, &untouched);
    }
    let _ = index.verify(11 * 192);
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
        let has_ties = rng.random();
        let levels = level_lens(block_count as usize);
        let tree_len: usize = levels.map(|len| len.next_multiple_of(FANOUT) * 8).sum();
        let header = IndexHeader {
            magic: MAGIC,
            block_count: U32::new(block_count),
            prefix_len: U16::new(prefix_len),
            head_offset: U16::new(rng.random_range(0..=prefix_len)),
            flags: u8::from(uniform)
                | if rng.random() { FLAG_CONTINUED } else { 0 }
                | if has_ties { FLAG_TIES } else { 0 },
            level_count: level_lens(block_count as usize).count() as u8,
            tie_offset: U16::new(if has_ties { prefix_len + rng.random_range(0..9) } else { 0 }),
            block_size: U32::new(if uniform { 1 << rng.random_range(10..17) } else { 0 }),
            separators_len: U32::new(separators_len),
            reserved_tail: [U64::ZERO; 5],
        };
        let head_len = (HEADER_LEN + usize::from(prefix_len)).next_multiple_of(NODE_LEN);
        let offsets_len = 4 * (block_count as usize + 1) * if uniform { 1 } else { 2 };
        let both_len = if has_ties { 2 * tree_len } else { tree_len };
        let mut bytes = vec![0; head_len + both_len + offsets_len + separators_len as usize];
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
    check_broken("I2", true, |_, bytes| bytes[12] |= 8);
    for reserved in [24, 63] {
        check_broken("I2", true, |_, bytes| bytes[reserved] = 1);
    }
    check_broken("I3", true, |_, bytes| bytes[4..8].fill(0));
    check_broken("I4", true, |_, bytes| bytes[13] = 2);
    check_broken("I4", true, |_, bytes| bytes[4..8].fill(0xFF));
    check_broken("I5", true, |_, bytes| bytes[4] += 1);
    check_broken("I5", true, |_, bytes| bytes[23] = 0xFF);
    check_broken("I5", true, |_, bytes| bytes.push(0));
    check_broken("I6", true, |_, bytes| bytes[10] = 2);
    check_broken("I6", true, |_, bytes| bytes[14] = 0);
    check_broken("I6", true, |_, bytes| bytes[12] &= !FLAG_TIES);
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
    check_broken("I10", true, |at, bytes| bytes[at.tie_heads - 1] = 0);
    check_broken("I10", true, |at, bytes| bytes[at.tie_heads] = 1);
    check_broken("I10", false, |at, bytes| bytes[at.tie_heads + 8] ^= 1);
    check_broken("I10", false, |at, bytes| bytes[at.block_offsets - 1] = 0);
    check_broken("I10", true, |at, bytes| bytes[HEADER_LEN + at.prefix_len] = 1);
    check_broken("I11", true, |at, bytes| bytes[at.separators] = 0xFF);
    check_broken("I11", true, |_, bytes| bytes[12] &= !FLAG_CONTINUED);
    check_broken("I15", true, |_, bytes| bytes[14] += 1);
    check_broken("I15", false, |at, bytes| {
        bytes[12] &= !FLAG_TIES;
        bytes[14] = 0;
        bytes.drain(at.tie_heads..at.block_offsets);
    });
}

#[test]
fn rules_are_numbered_in_order() {
    for (number, rule) in (1..).zip(RULES) {
        assert_eq!(rule.id, format!("I{number}"));
    }
}
