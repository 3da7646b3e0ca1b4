//! A memtable under every order of a writer's and a reader's steps, with every value that a weak memory
//! may show.
//!
//! Each model inserts rows as the engine does, publishes their last seqno, and reads meanwhile. Threads are
//! preempted twice at most, which keeps the orders to some ten thousand.

use ::loom::model::Builder;
use ::loom::thread;

use super::*;
use crate::format::range_tombstone::RangeTombstone;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 100_000;
    builder.check(check);
}

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
    write: impl Fn(&Memtable, &AtomicU64) + Copy + Send + Sync + 'static,
    read: impl Fn(&Arc<Memtable>, u64) + Send + Sync + 'static,
) {
    model(move || {
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
        |memtable, published| insert(memtable, b"a", 2, published),
        |memtable, snapshot| {
            assert_eq!(seqno_of(memtable, b"a", snapshot), (snapshot == 2).then_some(2));
        },
    );
}

#[test]
fn loom_the_newest_published_row_of_a_key_is_found() {
    beside(
        |memtable, published| insert(memtable, b"b", 2, published),
        |memtable, snapshot| assert_eq!(seqno_of(memtable, b"b", snapshot), Some(snapshot)),
    );
}

/// Without the index: a search down the list.
#[test]
fn loom_the_list_leads_to_every_published_row() {
    beside(
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

/// Backward, where links are changed in between.
#[test]
fn loom_a_walk_meets_every_published_row_both_ways() {
    beside(
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
