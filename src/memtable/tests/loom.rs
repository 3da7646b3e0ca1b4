//! A memtable under every order of a writer's and a reader's steps, with every value that a weak memory
//! may show.
//!
//! Each model inserts a row as the engine does, publishes its seqno, and reads meanwhile. Threads are
//! preempted six times at most, where they take many steps once.

use ::loom::thread;

use super::*;
use crate::format::range_tombstone::RangeTombstone;
use crate::sync::explore;

fn insert(memtable: &Memtable, key: &[u8], seqno: u64, published: &AtomicU64) {
    let row = Row { key, seqno, kind: Kind::Put, expires_at: 0, value: &seqno.to_le_bytes() };
    memtable.insert(&row, hash_of(key)).unwrap();
    published.store(seqno, Release);
}

/// What a reader that takes the newest seqno finds of a key: the seqno of the row, whose value has to be
/// that too.
fn seqno_of(memtable: &Memtable, key: &[u8], snapshot: u64) -> Option<u64> {
    let row = get(memtable, key, snapshot)?;
    assert_eq!((row.key, row.value), (key, &row.seqno.to_le_bytes()[..]));
    Some(row.seqno)
}

/// Runs `write` in a thread beside `read`, over a memtable with one row of the key "b".
fn beside(
    most_preemptions: usize,
    write: impl Fn(&Memtable, &AtomicU64) + Copy + Send + Sync + 'static,
    read: impl Fn(&Arc<Memtable>, u64) + Send + Sync + 'static,
) {
    explore(most_preemptions, move || {
        let memtable = Arc::new(Memtable::new());
        let published = Arc::new(AtomicU64::new(0));
        insert(&memtable, b"b", 1, &published);
        let writer = thread::spawn({
            let (memtable, published) = (Arc::clone(&memtable), Arc::clone(&published));
            move || write(&memtable, &published)
        });
        read(&memtable, published.load(Acquire));
        writer.join().unwrap();
        read(&memtable, published.load(Acquire));
    });
}

#[test]
fn loom_a_published_row_of_a_new_key_is_found_and_an_unpublished_one_is_not() {
    beside(
        6,
        |memtable, published| insert(memtable, b"a", 2, published),
        |memtable, snapshot| {
            assert_eq!(seqno_of(memtable, b"a", snapshot), (snapshot == 2).then_some(2));
        },
    );
}

#[test]
fn loom_the_newest_published_row_of_a_key_is_found() {
    beside(
        6,
        |memtable, published| insert(memtable, b"b", 2, published),
        |memtable, snapshot| assert_eq!(seqno_of(memtable, b"b", snapshot), Some(snapshot)),
    );
}

/// Without the index: a search down the list.
#[test]
fn loom_the_list_leads_to_every_published_row() {
    beside(
        6,
        |memtable, published| insert(memtable, b"c", 2, published),
        |memtable, snapshot| {
            for (key, seqno) in [(b"b", 1), (b"c", 2)] {
                let found = memtable.find_in_list(&Target::new(key, snapshot));
                let want = (seqno <= snapshot).then_some(seqno);
                assert_eq!(found.map(|record| record.seqno()), want);
            }
        },
    );
}

/// The second row takes a place in a piece of nodes, and a chunk of rows, that are made for it.
#[test]
fn loom_rows_are_found_while_the_memtable_grows() {
    beside(
        1,
        |memtable, published| {
            insert(memtable, b"c", 2, published);
            insert(memtable, &[b'a'; 80], 3, published);
        },
        |memtable, snapshot| {
            assert_eq!(seqno_of(memtable, b"b", snapshot), Some(1));
            assert_eq!(seqno_of(memtable, b"c", snapshot), (snapshot >= 2).then_some(2));
            assert_eq!(seqno_of(memtable, &[b'a'; 80], snapshot), (snapshot == 3).then_some(3));
        },
    );
}

/// Backward, where links are changed in between.
#[test]
fn loom_a_walk_meets_every_published_row_both_ways() {
    beside(
        6,
        |memtable, published| insert(memtable, b"a", 2, published),
        |memtable, snapshot| {
            let mut forward = Vec::new();
            let mut at = memtable.first();
            while let Some(row) = memtable.row(at) {
                forward.push(row.seqno);
                at = memtable.next(memtable.node(at), 0);
            }
            let mut backward = Vec::new();
            let mut at = memtable.last();
            while let Some(row) = memtable.row(at) {
                backward.push(row.seqno);
                at = memtable.before(at);
            }
            for walk in [forward, backward] {
                assert!((1..=snapshot).all(|seqno| walk.contains(&seqno)), "{walk:?} {snapshot}");
                assert!(walk.len() <= 2, "{walk:?}");
            }
        },
    );
}

/// The list of range tombstones is there before it is visible.
#[test]
fn loom_a_published_range_tombstone_is_found() {
    beside(
        6,
        |memtable, published| {
            let tombstone = RangeTombstone { start: b"a", end: None, seqno: 2 };
            memtable.delete_ranges(&[tombstone]);
            published.store(2, Release);
        },
        |memtable, snapshot| {
            let list = memtable.range_tombstones();
            let newest = list.map_or(0, |list| list.newest_over(b"b", snapshot));
            assert_eq!(newest, if snapshot == 2 { 2 } else { 0 });
        },
    );
}
