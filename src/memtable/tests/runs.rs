//! A memtable as a run: its cursor, its locations, and values that outlive it.

use super::*;

fn memtable_of(rows: &[Version]) -> Arc<Memtable> {
    let memtable = Memtable::new();
    for row in rows {
        memtable.insert(&row.row(), hash_of(&row.key)).unwrap();
    }
    Arc::new(memtable)
}

#[test]
fn a_memtable_is_a_run() {
    for seed in 0..50 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let row_count = random.random_range(0..300);
        let rows = random_rows(&mut random, row_count, true);
        let mut cursor = MemtableCursor::new(memtable_of(&rows));
        let mut model = VecCursor::new(rows);
        check_moves_agree(&mut random, &mut cursor, &mut model);
        check_skips_agree(&mut random, &mut cursor, &mut model);
    }
}

#[test]
fn a_snapshot_sees_the_rows_of_two_memtables() {
    for seed in 0..50 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let rows = random_rows(&mut random, 300, seed % 3 == 0);
        let snapshot = random.random_range(0..400);
        let (old, new) = rows.split_at(random.random_range(0..=rows.len()));
        let runs = [new, old].map(|rows| MemtableCursor::new(memtable_of(rows)));
        let mut cursor = VisibleCursor::new(MergingCursor::new(runs.into()), snapshot, 10, None);
        check_shows(&mut random, &mut cursor, visible_rows(&rows, snapshot, 10));
    }
}

#[test]
fn a_location_in_a_memtable_leads_to_the_row() {
    let rows = random_rows(&mut SmallRng::seed_from_u64(0), 100, true);
    let (old, new) = rows.split_at(50);
    let tables = [memtable_of(new), memtable_of(old)];
    let mut merged = MergingCursor::new(tables.clone().map(MemtableCursor::new).into());
    let mut row_count = 0;
    merged.seek_first().unwrap();
    while let Some(row) = Version::of(&merged) {
        let Location::Node(number) = merged.location() else { panic!("not in a memtable") };
        assert_eq!(tables[merged.child_index()].row(number), Some(row.row()));
        row_count += 1;
        merged.next().unwrap();
    }
    assert_eq!(row_count, 100);
}

#[test]
fn a_long_owned_value_shares_its_memtable() {
    for (value_len, shared) in [(0, false), (64, false), (4095, false), (4096, true), (9999, true)]
    {
        let value = vec![7; value_len];
        let key = b"k".to_vec();
        let row = Version { key, seqno: 1, kind: Kind::Put, expires_at: 9, value: value.clone() };
        let memtable = memtable_of(&[row]);
        let found = memtable.find(b"k", hash_of(b"k"), 1).unwrap();
        let owned = memtable.owned_value(found.place(), found.value());
        let place = get(&memtable, b"k", 1).unwrap().value.as_ptr();
        assert_eq!(owned.as_ptr() == place, shared, "{value_len} bytes");
        drop(memtable);
        assert_eq!(owned, value, "it outlives the memtable's other users");
    }
}
