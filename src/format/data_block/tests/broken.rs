//! What is broken is named, and nothing panics.

use super::*;

/// Reads everything that a block offers, and at rows and keys that it does not have.
fn walk(block: &DataBlock<'_>) {
    let row_count = block.layout().row_count();
    let mut key = Vec::new();
    for row in (0..row_count.min(300)).chain([row_count, row_count + 1, u32::MAX]) {
        let _ = (block.kind(row), block.seqno(row), block.expires_at(row));
        let _ = (block.value(row), block.suffix(row), block.read_key(row, &mut key));
        let _ = (block.same_key(row, row.wrapping_add(1)), block.compare_key(row, b"key"));
        let key = key.clone();
        let _ = (block.lower_bound(&key, 3), block.find(&key, 0, 3));
        let _ = block.find(&key, fingerprint(hash_key(&key, HASH_SEED)), u64::MAX);
    }
    let _ = (block.verify(HASH_SEED), block.checksum_matches(0, 0));
}

/// A broken value matters only for the row that is sought: it was told of any row whose fingerprint
/// is that of the key, because a lookup asks for the value's memory before it compares keys.
#[test]
fn lookup_passes_over_a_row_whose_value_is_broken() {
    let row = |key: &[u8], value: &[u8]| Stored {
        key: key.to_vec(),
        seqno: 0,
        kind: Kind::Put,
        expires_at: 0,
        value: value.to_vec(),
        out_of_line: false,
    };
    let mut bytes = encode(&[row(b"a", b"1"), row(b"b", b"22"), row(b"c", b"333")], false);
    let offsets = DataBlock::parse(&bytes).unwrap().layout().value_offsets as usize;
    // The first value ends behind the heap, and all rows have one fingerprint.
    bytes[offsets + 2] = 0xff;
    bytes[32..35].fill(7);
    let block = DataBlock::parse(&bytes).unwrap();
    assert!(block.value(0).is_err() && block.value(1).is_err());
    assert_eq!(lookup(&bytes, b"a", 7, 9), Lookup::Broken);
    assert_eq!(lookup(&bytes, b"b", 7, 9), Lookup::Broken);
    assert_eq!(lookup(&bytes, b"c", 7, 9), Lookup::Found { row: 2, plain: Some(b"333") });
    assert_eq!(lookup(&bytes, b"d", 7, 9), Lookup::Absent { continues: false });
}

#[test]
fn lookup_and_walked_rows_bear_bytes_that_were_never_parsed() {
    for bytes in samples() {
        for at in 0..bytes.len().min(200) {
            for mask in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                for len in [bytes.len(), bytes.len() / 2, 40, 31, 0] {
                    let bytes = &bytes[..len.min(bytes.len())];
                    for mark in [0, bytes.get(32).copied().unwrap_or(1)] {
                        let _ = lookup(bytes, b"key", mark, 3);
                    }
                    let Some(block) = DataBlock::parse_again(bytes) else { continue };
                    for row in [0, 1, 7, 65_535, u32::MAX] {
                        let starts = [0, 1, usize::MAX - 100];
                        let rows = starts.map(|start| Rows::of(&block, start));
                        let read = |rows: Rows| (rows.row(bytes, row), rows.seqno(bytes, row));
                        let _ = rows.map(|rows| rows.map(read));
                        let _ = (block.kind(row), block.seqno(row));
                        let _ = (block.suffix(row), block.value(row), block.expires_at(row));
                    }
                }
            }
        }
    }
}

/// Small blocks that between them have every column and every width.
fn samples() -> Vec<Vec<u8>> {
    let with = |seqno, expiry, key_stride, kinds| {
        rows_for(Want { key_stride, value_stride: !key_stride, wide: false, seqno, kinds, expiry })
    };
    let all = [
        with(None, None, true, false),
        with(Some(0), Some(CONSTANT), false, true),
        with(Some(CONSTANT), Some(0), true, true),
        with(Some(1), Some(2), false, false),
        with(Some(3), Some(1), true, false),
        vec![put(b"k", 9, b"v"), delete(b"k", 8), put(b"k", 2, b"u"), put(b"l", 1, b"w")],
        vec![put(b"", 0, b"")],
    ];
    all.iter().map(|rows| encode(rows, false)).collect()
}

#[test]
fn every_truncation_is_an_error() {
    for sample in samples() {
        let layout = *DataBlock::parse(&sample).unwrap().layout();
        for len in 0..sample.len() {
            let error = DataBlock::parse(&sample[..len]).unwrap_err();
            assert_eq!(error.rule().id, if len < HEADER_LEN { "B1" } else { "B2" });
            // A layout that was kept, on bytes that are no longer there.
            if len % 16 == 0 && !cfg!(miri) {
                let cut = DataBlock::with_layout(&sample[..len], layout);
                walk(&cut);
                assert!(cut.verify(HASH_SEED).is_err(), "cut to {len} bytes");
            }
        }
    }
}

#[test]
fn every_bit_flip_is_an_error_or_another_block() {
    for sample in samples() {
        let before = decode(&DataBlock::parse(&sample).unwrap()).unwrap();
        for bit in (0..sample.len() * 8).step_by(if cfg!(miri) { 101 } else { 1 }) {
            let mut bytes = sample.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(block) = DataBlock::parse(&bytes) else { continue };
            assert!(!block.checksum_matches(FILE_ID, OFFSET), "bit {bit}");
            walk(&block);
            if block.verify(HASH_SEED).is_err() {
                continue;
            }
            // All rules hold, so these bytes are the one encoding of other rows.
            let (after, continues) = (decode(&block).unwrap(), block.layout().continues());
            let is_other = bit < 64 || continues || after != before;
            assert!(is_other, "bit {bit} means nothing");
            assert_eq!(encode(&after, continues)[8..], bytes[8..], "bit {bit}");
        }
    }
}

#[test]
fn any_header_before_any_bytes_is_read_without_a_panic() {
    let mut parsed = 0;
    for seed in 0..if cfg!(miri) { 100 } else { 6_000 } {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = vec![0; 64 * rng.random_range(1..12)];
        if rng.random_bool(0.7) {
            rng.fill(&mut bytes[..]);
        }
        let small = |rng: &mut StdRng| rng.random_range(0..bytes.len() as u32 / 3);
        let [keys, values, rows] = [0; 3].map(|_| small(&mut rng));
        let rows = rows.max(1);
        let stride = |rng: &mut StdRng, len: u32, variable: u32| {
            if rng.random_bool(0.5) { variable } else { len / rows }
        };
        let key_stride = stride(&mut rng, keys, VARIABLE_KEYS.into());
        let value_stride = stride(&mut rng, values, VARIABLE_VALUES);
        let exact =
            |stride: u32, variable, len| if stride == variable { len } else { stride * rows };
        let header = BlockHeader {
            checksum: U64::ZERO,
            block_len: U32::new(bytes.len() as u32),
            row_count: U16::new(rows as u16),
            prefix_len: U16::new(rng.random_range(0..40)),
            key_heap_len: U32::new(exact(key_stride, VARIABLE_KEYS.into(), keys)),
            value_heap_len: U32::new(exact(value_stride, VARIABLE_VALUES, values)),
            value_stride: U32::new(value_stride),
            key_stride: U16::new(key_stride as u16),
            columns: rng.random::<u8>() & COLUMNS_KNOWN,
            widths: rng.random::<u8>() & 0o33,
        };
        bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
        if let Ok(block) = DataBlock::parse(&bytes) {
            parsed += 1;
            walk(&block);
        }
    }
    assert!(parsed > if cfg!(miri) { 0 } else { 300 }, "only {parsed} of them parse");
}

/// The rule that a block breaks after a change to its header or bytes.
#[track_caller]
fn check_broken(rows: &[Stored], id: &str, change: impl FnOnce(&mut BlockHeader, &mut [u8])) {
    let mut bytes = encode(rows, false);
    let mut header = header_of(&bytes);
    change(&mut header, &mut bytes[HEADER_LEN..]);
    bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
    let result = DataBlock::parse(&bytes).and_then(|block| {
        walk(&block);
        block.verify(HASH_SEED)
    });
    let error = result.expect_err("a broken rule");
    assert_eq!(error.rule().id, id, "{error}");
    assert!(error.at() < bytes.len() as u64, "at {}", error.at());
}

#[test]
fn each_broken_header_is_named() {
    let rows = [put(b"a", 1, b"x"), put(b"b", 2, b"y")];
    let plain = [put(b"a", 0, b"x"), put(b"b", 0, b"y")];
    for block_len in [0, 32, 65, 192, (16 << 20) + 64, u32::MAX] {
        check_broken(&rows, "B2", |header, _| header.block_len = U32::new(block_len));
    }
    check_broken(&rows, "B4", |header, _| header.row_count = U16::ZERO);
    for bit in 5..8 {
        check_broken(&rows, "B5", |header, _| header.columns |= 1 << bit);
    }
    for widths in [4, 5, 6, 4 << 3, 1 << 3, 1 << 6, 1 << 7] {
        check_broken(&rows, "B6", |header, _| header.widths = widths);
    }
    check_broken(&plain, "B6", |header, _| header.widths = 1);
    check_broken(&rows, "B7", |header, _| header.prefix_len = U16::new(100));
    check_broken(&rows, "B7", |header, _| header.key_heap_len = U32::new(u32::MAX));
    check_broken(&rows, "B7", |header, _| header.value_heap_len = U32::new(u32::MAX));
    check_broken(&rows, "B7", |header, _| header.row_count = U16::new(u16::MAX));
    check_broken(&rows, "B8", |header, _| header.key_stride = U16::new(2));
    check_broken(&rows, "B8", |header, _| header.value_stride = U32::new(u32::MAX - 1));
    check_broken(&rows, "B8", |header, _| header.key_heap_len = U32::new(1));
}

#[test]
fn each_broken_row_is_named() {
    // 32 header, 16 fingerprints, then as the comment says.
    let fixed = [put(b"a", 1, b"x"), put(b"b", 2, b"y")]; // 16: base, deltas; keys; values
    let variable = [put(b"a", 0, b"x"), put(b"bb", 0, b"yy")]; // 16: key, value offsets 0 1 3
    let kinds = [put(b"a", 0, b""), delete(b"b", 0)]; // 16: kinds, keys
    let expiring = [
        Stored { expires_at: MAX_EXPIRY, ..put(b"a", 0, b"") },
        Stored { expires_at: MAX_EXPIRY - 1, ..put(b"b", 0, b"") },
    ]; // 16: base, deltas, keys
    check_broken(&variable, "B9", |_, body| body[16] = 1);
    check_broken(&variable, "B9", |_, body| body[18] = 4);
    check_broken(&variable, "B9", |_, body| body[20] = 2);
    check_broken(&variable, "B10", |_, body| body[22] = 1);
    check_broken(&variable, "B10", |_, body| body[24] = 4);
    check_broken(&variable, "B10", |_, body| body[26] = 2);
    for kind in [3, 4, 15, 0x12 | 0x20, 0x40, 0xFF] {
        check_broken(&kinds, "B11", |_, body| body[16] = kind);
    }
    check_broken(&kinds, "B12", |_, body| body[17] = 0x11);
    let dated_merge = [Stored { kind: Kind::Merge, expires_at: 9, ..put(b"a", 0, b"") }];
    check_broken(&dated_merge, "B12", |_, body| body[17] = 1);
    let valued_merge = [Stored { kind: Kind::Merge, ..put(b"a", 0, b"v") }];
    check_broken(&valued_merge, "B12", |_, body| body[17] = 1);
    check_broken(&[put(b"b", 1, b""), put(b"a", 1, b"")], "B13", |_, _| ());
    check_broken(&[put(b"a", 1, b""), put(b"a", 1, b"")], "B13", |_, _| ());
    check_broken(&[put(b"a", 1, b""), put(b"a", 2, b"")], "B13", |_, _| ());
    check_broken(&fixed, "B14", |_, body| body[1] ^= 1);
    check_broken(&fixed, "B15", |_, body| body[2] = 1);
    check_broken(&fixed, "B15", |_, body| body[31] = 1);
    check_broken(&expiring, "B17", |_, body| body[25] = 3);
    check_broken(&fixed, "B18", |_, body| body[16..24].fill(0xFF));
    let reference = [Stored { out_of_line: true, ..put(b"a", 0, &[1; 23]) }];
    check_broken(&reference, "B19", |_, _| ());
}

#[test]
fn what_has_a_shorter_encoding_is_refused() {
    let body_of = |rows: &[Stored]| encode(rows, false).split_off(HEADER_LEN);
    // A seqno column of zeros, a kind column of puts, an expiry column of "never".
    let plain = [put(b"a", 0, &[b'v'; 4])];
    for (column, widths, len) in [
        (COLUMN_SEQNO, CONSTANT, 8),
        (COLUMN_KIND, 0, 1),
        (COLUMN_EXPIRY, CONSTANT << 3, 8),
        (COLUMN_WIDE_OFFSETS, 0, 0),
    ] {
        check_broken(&plain, "B16", |header, body| {
            header.columns |= column;
            header.widths = widths;
            let end = body.len() - len;
            body.copy_within(17..end, 17 + len);
            body[17..17 + len].fill(0);
            header.block_len = U32::new((HEADER_LEN + body.len()) as u32);
        });
    }
    // A prefix that is one byte too short.
    let shared = [put(b"ab", 0, b""), put(b"ac", 0, b"")];
    assert_eq!(body_of(&shared)[16..19], *b"abc");
    check_broken(&shared, "B16", |header, body| {
        header.prefix_len = U16::ZERO;
        header.key_stride = U16::new(2);
        header.key_heap_len = U32::new(4);
        body[16..20].copy_from_slice(b"abac");
    });
    // A block that is 64 bytes too long.
    let mut bytes = encode(&plain, false);
    bytes.resize(bytes.len() + 64, 0);
    bytes[8] = 128;
    let error = DataBlock::parse(&bytes).unwrap().verify(HASH_SEED).unwrap_err();
    assert!(["B15", "B16"].contains(&error.rule().id), "{error}");
}

#[test]
fn rules_are_numbered_in_order() {
    for (number, rule) in (1..).zip(RULES) {
        assert_eq!(rule.id, format!("B{number}"));
    }
}
