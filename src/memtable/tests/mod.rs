//! Tests of the memtable, against a sorted map.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::hash_index::Known;
use super::*;
use crate::cursor::model::{
    VecCursor, Version, check_moves_agree, check_shows, check_skips_agree, random_rows,
    visible_rows,
};
use crate::cursor::{Cursor, Location, MergingCursor, VisibleCursor};
use crate::error::Error;
use crate::format::checksum::hash_key;
use crate::format::row::Kind;
use crate::storage::HUGE_LEN;

mod beside_a_writer;
#[cfg(loom)]
mod loom;
mod runs;

/// All versions of all keys, in the order of the internal keys.
type Model = BTreeMap<(Vec<u8>, Reverse<u64>), (Kind, u64, Vec<u8>)>;

fn hash_of(key: &[u8]) -> u64 {
    hash_key(key, 9)
}

/// What a reader at `seqno` finds.
fn get<'m>(memtable: &'m Memtable, key: &[u8], seqno: u64) -> Option<Row<'m>> {
    memtable.find(key, hash_of(key), seqno).map(|record| record.row())
}

/// Keys of a few shapes: short ones that are prefixes of each other up to zeros, long ones that
/// differ only behind the first 16 bytes, and any.
fn random_key(random: &mut SmallRng) -> Vec<u8> {
    match random.random_range(0..4) {
        0 => vec![0; random.random_range(0..20)],
        1 => format!("user:{:010}:profile", random.random_range(0..300)).into_bytes(),
        2 => [&[b'x'; 16][..], &[random.random_range(0..3); 2]].concat(),
        _ => (0..random.random_range(0..6)).map(|_| random.random_range(0..4)).collect(),
    }
}

fn random_row<'a>(random: &mut SmallRng, key: &'a [u8], value: &'a [u8], seqno: u64) -> Row<'a> {
    let expires_at = if random.random_ratio(1, 4) { random.random_range(1..99) } else { 0 };
    match random.random_range(0..4) {
        0 => Row { key, seqno, kind: Kind::Delete, expires_at: 0, value: b"" },
        1 => Row { key, seqno, kind: Kind::Merge, expires_at, value },
        _ => Row { key, seqno, kind: Kind::Put, expires_at, value },
    }
}

/// A memtable with `count` random rows, and the model of it.
fn filled(random: &mut SmallRng, count: u64) -> (Memtable, Model) {
    let memtable = Memtable::new();
    let mut model = Model::new();
    let mut seqnos: Vec<u64> = (1..=count).collect();
    if random.random_ratio(1, 3) {
        seqnos.reverse();
    }
    for seqno in seqnos {
        let key = random_key(random);
        let value = vec![b'v'; random.random_range(0..40)];
        let row = random_row(random, &key, &value, seqno);
        memtable.insert(&row, hash_of(row.key)).unwrap();
        let content = (row.kind, row.expires_at, row.value.to_vec());
        model.insert((key.clone(), Reverse(seqno)), content);
    }
    (memtable, model)
}

fn model_get<'a>(model: &'a Model, key: &[u8], seqno: u64) -> Option<Row<'a>> {
    let from = (key.to_vec(), Reverse(seqno));
    let ((key_found, Reverse(seqno)), (kind, expires_at, value)) = model.range(from..).next()?;
    let row = Row { key: key_found, seqno: *seqno, kind: *kind, expires_at: *expires_at, value };
    (row.key == key).then_some(row)
}

#[test]
fn gets_agree_with_a_sorted_map() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let count = random.random_range(0..2_000);
        let (memtable, model) = filled(&mut random, count);
        assert_eq!(memtable.len() as u64, count);
        assert_eq!(memtable.is_empty(), count == 0);
        assert_eq!(memtable.max_seqno(), count);
        for _ in 0..2_000 {
            let key = random_key(&mut random);
            let seqno = match random.random_range(0..3) {
                0 => u64::MAX,
                _ => random.random_range(0..count + 2),
            };
            let want = model_get(&model, &key, seqno);
            assert_eq!(get(&memtable, &key, seqno), want, "key {key:?} at {seqno}");
        }
    }
}

/// Rows come in any order, with many versions of some keys, and hashes collide: by the index a
/// reader must find what it finds in the list, at any seqno and while rows are still to come.
#[test]
fn the_index_leads_to_what_the_list_holds() {
    type Case = (&'static str, fn(&[u8]) -> u64);
    let few_hashes = |key: &[u8]| (hash_of(key) % 5) << 61;
    let equal_low_halves = |key: &[u8]| hash_of(key) >> u32::BITS << u32::BITS;
    let hashes: [Case; 4] = [
        ("any", hash_of),
        ("few", few_hashes),
        ("equal low halves", equal_low_halves),
        ("one", |_| u64::MAX),
    ];
    for (seed, (name, hash)) in (0..).zip(hashes.repeat(4)) {
        println!("seed {seed}, hashes {name}");
        let mut random = SmallRng::seed_from_u64(seed);
        let memtable = Memtable::with_capacity_for(if seed < 8 { 0 } else { 1 << 20 });
        let keys: Vec<_> = (0..400).map(|_| random_key(&mut random)).collect();
        let (mut inserted, mut found_count) = (0, 0);
        for _ in 0..4_000 {
            let any = random.random_range(0..keys.len());
            let key = &keys[if random.random_ratio(1, 3) { any / 40 } else { any }];
            let seqno = if seed % 2 == 0 { inserted + 1 } else { random.random_range(1..5_000) };
            let row = random_row(&mut random, key, b"value", seqno);
            memtable.insert(&row, hash(key)).unwrap();
            inserted += 1;
            let key = &keys[random.random_range(0..keys.len())];
            let seqno = random.random_range(0..6_000);
            let want = memtable.find_in_list(&Target::new(key, seqno)).map(|it| it.number());
            let found = memtable.find(key, hash(key), seqno).map(|it| it.number());
            assert_eq!(found, want, "{key:?} at {seqno}");
            found_count += usize::from(want.is_some());
        }
        assert!(found_count > 1_000, "{found_count} found");
    }
}

#[test]
fn an_empty_memtable_has_nothing() {
    let memtable = Memtable::new();
    assert!(memtable.is_empty());
    assert_eq!((memtable.len(), memtable.memory_len(), memtable.max_seqno()), (0, 0, 0));
    assert_eq!(get(&memtable, b"", u64::MAX), None);
    assert_eq!(memtable.row(0), None);
    assert_eq!(memtable.row(1), None);
    assert_eq!(memtable.row(u32::MAX), None);
}

#[test]
fn the_longest_key_is_a_key_and_a_longer_one_is_only_absent() {
    let memtable = Memtable::new();
    let longest = vec![b'k'; 65_535];
    let longer = vec![b'k'; 65_536];
    let row = Row { key: &longest, seqno: 1, kind: Kind::Put, expires_at: 0, value: b"v" };
    memtable.insert(&row, hash_of(row.key)).unwrap();
    assert_eq!(get(&memtable, &longest, 1), Some(row));
    assert_eq!(get(&memtable, &longer, 1), None);
    let error = memtable.insert(&Row { key: &longer, seqno: 2, ..row }, 1).unwrap_err();
    assert!(matches!(error, Error::KeyTooLarge { len: 65_536 }));
    assert_eq!((memtable.len(), memtable.max_seqno()), (1, 1));
}

#[test]
fn a_row_that_comes_twice_stays_as_it_was() {
    let memtable = Memtable::new();
    let row = Row { key: b"k", seqno: 7, kind: Kind::Put, expires_at: 0, value: b"first" };
    memtable.insert(&row, hash_of(row.key)).unwrap();
    let memory_len = memtable.memory_len();
    memtable.insert(&Row { value: b"second", ..row }, hash_of(b"k")).unwrap();
    assert_eq!(get(&memtable, b"k", 7), Some(row));
    assert_eq!((memtable.len(), memtable.memory_len()), (1, memory_len));
}

/// Header, key and value in units of 8 bytes, a node, the links above it, and 10.8 % of that for index
/// and filter.
#[test]
fn memory_is_counted_with_its_overhead() {
    for (value_len, least) in [(0, 40 + 64), (100, 136 + 64), (101, 144 + 64), (5_000, 5_040 + 64)]
    {
        let memtable = Memtable::with_capacity_for(1 << 20);
        let value = vec![0; value_len];
        for seqno in 1..=1_000_u64 {
            let key = format!("{seqno:016}");
            let key = key.as_bytes();
            let row = Row { key, seqno, kind: Kind::Put, expires_at: 0, value: &value };
            memtable.insert(&row, hash_of(key)).unwrap();
        }
        let per_row = memtable.memory_len() / 1_000;
        let least = least + least / 10 + least / 128;
        assert!((least..least + 3).contains(&per_row), "{per_row} bytes a row of {value_len}");
    }
}

/// It is made of huge pages then, and has another index. Keys come in any order, some in many
/// versions; a reader looks for them while the memtable grows.
#[test]
fn a_memtable_that_becomes_large_loses_no_row() {
    const ROW_COUNT: u64 = 30_000;
    const KEY_COUNT: u64 = 5_003;
    let memtable = Memtable::with_capacity_for(32 << 20);
    let key_of = |seqno: u64| format!("key {:06}", seqno * 7_919 % KEY_COUNT).into_bytes();
    let value_of = |seqno: u64| vec![seqno.to_le_bytes()[0]; 200];
    let published = AtomicU64::new(0);
    let check = |snapshot: u64, seqno: u64| {
        let key = key_of(seqno);
        let newest = seqno + (snapshot - seqno) / KEY_COUNT * KEY_COUNT;
        let row = get(&memtable, &key, snapshot).expect("a published row");
        assert_eq!((row.seqno, row.key), (newest, &key[..]), "at {snapshot}");
        assert_eq!(row.value, value_of(newest));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = SmallRng::seed_from_u64(1);
            let mut snapshot = 0;
            while snapshot < ROW_COUNT {
                snapshot = published.load(Acquire);
                (1..=snapshot.min(10)).for_each(|age| check(snapshot, snapshot + 1 - age));
                if snapshot > 0 {
                    check(snapshot, random.random_range(1..=snapshot));
                }
            }
        });
        for seqno in 1..=ROW_COUNT {
            let (key, value) = (key_of(seqno), value_of(seqno));
            let row = Row { key: &key, seqno, kind: Kind::Put, expires_at: 0, value: &value };
            memtable.insert(&row, hash_of(&key)).unwrap();
            published.store(seqno, Release);
        }
    });
    assert!(memtable.shortcuts.is_large() && memtable.memory_len() > 4 * HUGE_LEN);
    for seqno in 1..=ROW_COUNT {
        check(ROW_COUNT, seqno);
        // The index has room for all: none has to be looked for in the list.
        let known = memtable.shortcuts.get().index.find(hash_of(&key_of(seqno)), Some);
        assert!(matches!(known, Known::Newest(_)), "{seqno}");
    }
    assert_eq!(get(&memtable, b"key x", ROW_COUNT), None);
}

/// Few hashes: hardly any key has an entry, neither in the small index nor in the large one.
#[test]
fn a_memtable_that_becomes_large_finds_what_no_index_has_room_for() {
    let memtable = Memtable::with_capacity_for(32 << 20);
    let hash = |key: &[u8]| (hash_of(key) % 5) << 61;
    let key_of = |seqno: u64| format!("key {:06}", seqno % 3_001).into_bytes();
    for seqno in 1..=12_000 {
        let key = key_of(seqno);
        let row = Row { key: &key, seqno, kind: Kind::Put, expires_at: 0, value: &[7; 200] };
        memtable.insert(&row, hash(&key)).unwrap();
    }
    assert!(memtable.shortcuts.is_large());
    for seqno in 9_000..=12_000 {
        let key = key_of(seqno);
        let found = memtable.find(&key, hash(&key), 12_000).map(|record| record.seqno());
        assert_eq!(found, Some(seqno));
    }
}

#[test]
fn rows_longer_than_a_chunk_lie_between_short_ones() {
    for memtable_size in [0, 64 << 20] {
        let memtable = Memtable::with_capacity_for(memtable_size);
        let lens = [1, 70 << 10, 5, 0, 3 << 20, 65_535, 9 << 20, 1, 300 << 10];
        let rows: Vec<_> = (1..)
            .zip(lens)
            .map(|(seqno, len)| {
                let (key, value) = (seqno.to_string().into_bytes(), vec![b'v'; len]);
                Version { key, seqno, kind: Kind::Put, expires_at: seqno % 2, value }
            })
            .collect();
        for row in &rows {
            memtable.insert(&row.row(), hash_of(&row.key)).unwrap();
        }
        for row in &rows {
            assert_eq!(get(&memtable, &row.key, u64::MAX), Some(row.row()));
        }
        let sum: usize = lens.iter().sum();
        assert!((sum..sum + sum / 8).contains(&memtable.memory_len()));
    }
}

#[test]
fn the_same_rows_make_the_same_list() {
    let links = |memtable: &Memtable| -> Vec<Vec<u32>> {
        let link = |number, level| memtable.next(memtable.node(number), level);
        let height = memtable.height.load(Relaxed);
        let level = |level| {
            std::iter::successors(Some(memtable.next(None, level)), |number| {
                Some(link(*number, level))
            })
            .take_while(|number| *number != NONE)
            .collect()
        };
        (0..height).map(level).collect()
    };
    let (a, _) = filled(&mut SmallRng::seed_from_u64(1), 5_000);
    let (b, _) = filled(&mut SmallRng::seed_from_u64(1), 5_000);
    let levels = links(&a);
    assert_eq!(levels, links(&b));
    assert_eq!(levels.first().map(Vec::len), Some(a.len()));
    for pair in levels.windows(2) {
        let above: Vec<_> = pair[0].iter().filter(|number| pair[1].contains(number)).collect();
        assert!(above.into_iter().eq(&pair[1]), "a level holds some nodes of the one below");
    }
    assert!((5..=10).contains(&levels.len()), "{} levels for 5,000 rows", levels.len());
}
