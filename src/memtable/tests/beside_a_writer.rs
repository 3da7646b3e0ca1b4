//! Readers beside a writer: what was published is there, whole, at any time.

use super::*;

/// The writer inserts the rows of one batch and then publishes its last seqno, as the engine
/// does. A reader that takes a seqno must find every row up to it, whole, at any time.
#[test]
fn readers_beside_a_writer_see_every_published_row() {
    check_readers_beside_a_writer(&Memtable::with_capacity_for(1 << 20));
}

#[test]
fn readers_beside_a_writer_see_rows_that_the_index_has_no_room_for() {
    check_readers_beside_a_writer(&Memtable::new());
}

#[track_caller]
fn check_readers_beside_a_writer(memtable: &Memtable) {
    const KEY_COUNT: u64 = if cfg!(miri) { 7 } else { 500 };
    const ROW_COUNT: u64 = if cfg!(miri) { 60 } else { 20_000 };
    const CHECK_COUNT: u64 = if cfg!(miri) { 10 } else { 1_000 };
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let key_of = |seqno: u64| format!("shared prefix of keys {:05}", seqno * 7_919 % KEY_COUNT);
    let value_of = |seqno: u64| seqno.to_le_bytes().repeat(1 + (seqno % 5) as usize);
    let read = |seed: u64| {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut check_count = 0;
        while !done.load(Acquire) || check_count < CHECK_COUNT {
            let snapshot = published.load(Acquire);
            if snapshot < KEY_COUNT {
                std::thread::yield_now();
                continue;
            }
            let seqno = snapshot - random.random_range(0..KEY_COUNT);
            let key = key_of(seqno);
            let row = get(memtable, key.as_bytes(), snapshot).expect("a published row");
            // Every key comes once in KEY_COUNT rows, so this one is its newest version.
            assert_eq!((row.seqno, row.key), (seqno, key.as_bytes()), "at {snapshot}");
            assert_eq!(row.value, value_of(seqno));
            let earlier = seqno.saturating_sub(KEY_COUNT * random.random_range(1..9));
            let row = get(memtable, key.as_bytes(), earlier);
            assert_eq!(row.map(|row| row.seqno), Some(earlier).filter(|seqno| *seqno > 0));
            assert_eq!(get(memtable, format!("absent {seqno}").as_bytes(), snapshot), None);
            check_count += 1;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| read(1));
        scope.spawn(|| read(2));
        for seqno in 1..=ROW_COUNT {
            let (key, value) = (key_of(seqno), value_of(seqno));
            let (key, value) = (key.as_bytes(), value.as_slice());
            let row = Row { key, seqno, kind: Kind::Put, expires_at: 0, value };
            memtable.insert(&row, hash_of(key)).unwrap();
            if seqno % 3 == 0 {
                published.store(seqno, Release);
            }
        }
        done.store(true, Release);
    });
    assert_eq!(memtable.len() as u64, ROW_COUNT);
}
/// One writer, two readers, one walking forward and one backward: at any snapshot each key is
/// shown once, in order, with its newest version of that time.
#[test]
fn readers_beside_a_writer_walk_whole_snapshots() {
    const KEY_COUNT: u64 = if cfg!(miri) { 7 } else { 400 };
    const ROW_COUNT: u64 = if cfg!(miri) { 40 } else { 12_000 };
    let memtable = Arc::new(Memtable::new());
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let key_of = |seqno: u64| format!("a long shared prefix {:05}", seqno * 7_919 % KEY_COUNT);
    let walk = |backward: bool| {
        let mut walk_count = 0;
        while !done.load(Acquire) || walk_count < 3 {
            let snapshot = published.load(Acquire);
            let run = MergingCursor::new(vec![MemtableCursor::new(Arc::clone(&memtable))]);
            let mut cursor = VisibleCursor::new(run, snapshot, 0, None);
            let mut seen: Vec<Vec<u8>> = Vec::new();
            let mut found = if backward { cursor.seek_last() } else { cursor.seek_first() };
            while found.unwrap() {
                let seqno = cursor.seqno();
                assert!(seqno <= snapshot && seqno + KEY_COUNT > snapshot, "{seqno} at {snapshot}");
                assert_eq!(cursor.key(), key_of(seqno).as_bytes());
                assert_eq!(cursor.value(), seqno.to_le_bytes());
                seen.push(cursor.key().to_vec());
                found = if backward { cursor.prev() } else { cursor.next() };
            }
            if backward {
                seen.reverse();
            }
            assert_eq!(seen.len() as u64, snapshot.min(KEY_COUNT));
            assert!(seen.is_sorted_by(|a, b| a < b));
            walk_count += 1;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| walk(false));
        scope.spawn(|| walk(true));
        for seqno in 1..=ROW_COUNT {
            let (key, value) = (key_of(seqno), seqno.to_le_bytes());
            let (key, value) = (key.as_bytes(), value.as_slice());
            let row = Row { key, seqno, kind: Kind::Put, expires_at: 0, value };
            memtable.insert(&row, hash_of(key)).unwrap();
            if seqno % 3 == 0 {
                published.store(seqno, Release);
            }
        }
        done.store(true, Release);
    });
}
