//! Tests of the list and of the mask against the tombstones as they were written.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

type Written = (Vec<u8>, Option<Vec<u8>>, u64);

fn tombstone(written: &Written) -> RangeTombstone<'_> {
    RangeTombstone { start: &written.0, end: written.1.as_deref(), seqno: written.2 }
}

fn list(written: &[Written]) -> RangeTombstones {
    RangeTombstones::new(written.iter().map(tombstone))
}

/// A tombstone over these keys; "~" is the end of all.
fn over(start: &str, end: &str, seqno: u64) -> Written {
    (start.into(), (end != "~").then(|| end.into()), seqno)
}

fn key(random: &mut SmallRng) -> Vec<u8> {
    (0..random.random_range(0..3)).map(|_| random.random_range(b'a'..b'e')).collect()
}

/// Tombstones of which some hold no key and some have the seqno of another one.
fn some(random: &mut SmallRng) -> Vec<Written> {
    let count = random.random_range(0..20);
    let one = |_| {
        let end = (random.random_range(0..8) != 0).then(|| key(random));
        (key(random), end, random.random_range(1..20))
    };
    (0..count).map(one).collect()
}

/// The seqno of the newest tombstone over a key, by asking all.
fn newest_of(written: &[Written], key: &[u8], snapshot: u64) -> u64 {
    let over = written.iter().filter(|one| one.2 <= snapshot && tombstone(one).covers(key));
    over.map(|one| one.2).max().unwrap_or(0)
}

#[track_caller]
fn check_invariants(list: &RangeTombstones) {
    for fragment in &list.fragments {
        assert!(fragment.end.as_ref().is_none_or(|end| fragment.start < *end), "not empty");
        assert!(fragment.seqnos.is_sorted_by(|a, b| a > b) && !fragment.seqnos.is_empty());
    }
    for pair in list.fragments.windows(2) {
        let end = pair[0].end.as_ref().expect("only the last has no end");
        assert!(
            *end < pair[1].start || (*end == pair[1].start && pair[0].seqnos != pair[1].seqnos)
        );
    }
}

#[test]
fn a_list_knows_what_lies_over_each_key_at_each_snapshot() {
    for seed in 0..500 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let written = some(&mut random);
        let list = list(&written);
        check_invariants(&list);
        let seqnos: usize = list.fragments.iter().map(|fragment| fragment.seqnos.len()).sum();
        assert_eq!(list.seqno_count(), seqnos);
        assert_eq!(list.is_empty(), !written.iter().any(|one| has_keys(&tombstone(one))));
        let with_keys = written.iter().filter(|one| has_keys(&tombstone(one)));
        assert_eq!(list.max_seqno(), with_keys.map(|one| one.2).max().unwrap_or(0));
        for _ in 0..100 {
            let key = key(&mut random);
            let snapshot = [u64::MAX, random.random_range(0..22)][random.random_range(0..2)];
            let want = newest_of(&written, &key, snapshot);
            assert_eq!(list.newest_over(&key, snapshot), want, "{key:?} at {snapshot}");
            let cover = list.cover(&key, snapshot);
            assert_eq!(cover.map_or(0, |cover| cover.seqno), want, "{key:?} at {snapshot}");
            assert!(cover.is_none_or(|cover| cover.covers(&key)));
        }
    }
}

#[test]
fn a_list_does_not_depend_on_the_order_in_which_its_tombstones_came() {
    for seed in 0..500 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let written = some(&mut random);
        let mut grown = RangeTombstones::default();
        for count in 1..=written.len() {
            grown = grown.with(tombstone(&written[count - 1]));
            check_invariants(&grown);
            assert_eq!(grown, list(&written[..count]), "{written:?}");
        }
        let reversed: Vec<_> = written.iter().rev().cloned().collect();
        assert_eq!(grown, list(&reversed));
    }
}

#[test]
fn a_list_that_grows_leaves_the_one_before_as_it_was() {
    let before = list(&[over("b", "d", 3), over("f", "h", 4)]);
    let as_it_was = before.clone();
    let after = before.with(tombstone(&over("a", "~", 9)));
    assert_eq!(before, as_it_was);
    assert_eq!((before.fragments.len(), after.fragments.len()), (2, 5));
    assert_eq!((before.max_seqno(), after.max_seqno()), (4, 9));
    let kept = before.with(tombstone(&over("x", "z", 9)));
    assert!(Arc::ptr_eq(&kept.fragments[0], &before.fragments[0]), "untouched ones are shared");
}

#[test]
fn the_newest_tombstones_cover_what_all_of_them_cover() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let list = list(&some(&mut random));
        let newest: Vec<_> = list.newest().collect();
        for _ in 0..50 {
            let key = key(&mut random);
            let over: Vec<_> = newest.iter().filter(|one| one.covers(&key)).collect();
            assert!(over.len() <= 1, "they are disjoint");
            assert_eq!(over.first().map_or(0, |one| one.seqno), list.newest_over(&key, u64::MAX));
        }
        let touch_alike = |pair: &[RangeTombstone<'_>]| {
            pair[0].end == Some(pair[1].start) && pair[0].seqno == pair[1].seqno
        };
        assert!(!newest.windows(2).any(touch_alike), "{newest:?}");
    }
}

#[test]
fn older_tombstones_do_not_cut_the_newest_ones() {
    let list = list(&[over("c", "e", 2), over("a", "g", 7), over("g", "~", 7), over("b", "d", 3)]);
    assert_eq!(list.fragments.len(), 5);
    assert_eq!(list.newest().collect::<Vec<_>>(), [tombstone(&over("a", "~", 7))]);
    assert_eq!(list.cover(b"c", 6), Some(tombstone(&over("c", "d", 3))));
    assert_eq!(list.cover(b"c", 1), None);
    assert_eq!(list.cover(b"\xff", 7), Some(tombstone(&over("e", "~", 7))));
}

#[test]
fn the_memory_of_a_list_is_about_what_its_keys_and_fragments_take() {
    assert_eq!(RangeTombstones::default().memory_len(), 0);
    let long = "k".repeat(1000);
    let one = list(&[over("a", &long, 1)]);
    assert!((1000..1300).contains(&one.memory_len()), "{}", one.memory_len());
    let two = one.with(tombstone(&over(&long, "~", 2)));
    assert!((1100..1600).contains(&two.memory_len()), "the key is shared: {}", two.memory_len());
}

#[test]
fn a_mask_asks_all_lists() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let lists: Vec<_> = (0..random.random_range(0..4)).map(|_| some(&mut random)).collect();
        let snapshot = random.random_range(0..22);
        let sources: Vec<_> = lists.iter().map(|written| Arc::new(list(written))).collect();
        let is_empty = sources.iter().all(|source| source.is_empty());
        let mask = Mask::new(sources, snapshot);
        assert_eq!(mask.is_empty(), is_empty);
        let written = lists.concat();
        for _ in 0..100 {
            let (key, other) = (key(&mut random), key(&mut random));
            let newest = newest_of(&written, &key, snapshot);
            let row_seqno = random.random_range(0..22);
            let covering = mask.covering(&key, row_seqno);
            let want = Some(newest).filter(|newest| *newest > row_seqno);
            assert_eq!(covering.map(|tombstone| tombstone.seqno), want, "{key:?} {row_seqno}");
            assert!(covering.is_none_or(|tombstone| tombstone.covers(&key)));

            let Stretch { start, end, newest: seqno } = mask.stretch(&key);
            assert_eq!(seqno, newest);
            let holds = |key: &[u8]| start <= key && end.is_none_or(|end| key < end);
            assert!(holds(&key), "{key:?} is not in {start:?}..{end:?}");
            assert!(!holds(&other) || newest_of(&written, &other, snapshot) == newest);
        }
    }
}
