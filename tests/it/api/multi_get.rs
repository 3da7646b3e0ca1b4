//! Many gets at once give what single gets give, whatever holds the rows.

use tinydb::{CompactionStyle, Db, Error, Options, ReadMode, Value, merge};

use super::temporary;
use crate::support::{Draw, Seed, first_seed, runs};

const KEY_COUNT: usize = 400;

/// Keys of two lengths, of which every other one is written.
fn key(number: usize) -> Vec<u8> {
    let tail = if number.is_multiple_of(3) { "-tail" } else { "" };
    format!("key:{number:05}{tail}").into_bytes()
}

/// Small blocks and a small filter, so that it is wrong now and then.
fn options() -> Options {
    Options::new()
        .background_threads(0)
        .block_size(1 << 10)
        .filter_bits_per_key(4)
        .compaction(CompactionStyle::Manual)
        .merge_operator(merge::Append::new(","))
}

/// Writes some keys, in one of the ways in which rows differ.
fn change(db: &Db, draw: &mut Draw, round: usize) {
    for _ in 0..KEY_COUNT / 4 {
        let key = key(2 * draw.below(KEY_COUNT / 2));
        let value_len = *draw.pick(&[0, 9, 70, 70, 300]);
        match draw.below(8) {
            0 => db.delete(key),
            1 => db.merge(key, format!("operand {round}")),
            2 => db.put_with_ttl(key, "expires", std::time::Duration::from_secs(1 << 20)),
            _ => db.put(key, draw.bytes(value_len)),
        }
        .unwrap();
    }
}

/// Asks for keys in any order, some twice, some never written, as many as `count`.
#[track_caller]
fn check(db: &Db, draw: &mut Draw, count: usize) {
    let wanted: Vec<Vec<u8>> = (0..count).map(|_| key(draw.below(KEY_COUNT))).collect();
    let snapshot = db.snapshot();
    let one_by_one = |key| snapshot.get(key).unwrap().map(Value::into_owned);
    let want: Vec<_> = wanted.iter().map(one_by_one).collect();
    assert_eq!(snapshot.multi_get(&wanted).unwrap(), want, "{count} keys through a snapshot");
    assert_eq!(db.multi_get(&wanted).unwrap(), want, "{count} keys");
}

#[test]
fn many_gets_give_what_single_gets_give_in_the_order_of_the_request() {
    for seed in first_seed()..first_seed() + runs(12) {
        let _seed = Seed(seed, "many gets".to_owned());
        let mut draw = Draw::new(seed);
        let mut options = options();
        if draw.one_in(4) {
            options = options.read_mode(ReadMode::Heap);
        }
        let (dir, mut db) = temporary(options.clone());
        for round in 0..5 {
            change(&db, &mut draw, round);
            match draw.below(4) {
                0 => db.compact().unwrap(),
                1 | 2 => db.flush().unwrap(),
                _ => {}
            }
            if draw.one_in(6) {
                db.delete_range(key(20)..key(60)).unwrap();
            }
            if draw.one_in(3) {
                // Nothing is open or verified yet: neither tables, nor their blocks.
                db.close().unwrap();
                db = options.clone().open(dir.path()).unwrap();
            }
            for count in [0, 1, 15, 16, 17, 64, 100] {
                check(&db, &mut draw, count);
            }
        }
    }
}

#[test]
fn the_first_key_that_fails_gives_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    for number in 0..40 {
        db.put(key(number), "value").unwrap();
    }
    db.merge("operand:a", "x").unwrap();
    db.merge("operand:b", "x").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let without = Options::new().background_threads(0).open(dir.path()).unwrap();
    let mut wanted: Vec<Vec<u8>> = (0..40).map(key).collect();
    assert_eq!(without.multi_get(&wanted).unwrap().iter().flatten().count(), 40);
    wanted.insert(33, b"operand:b".to_vec());
    wanted.insert(35, b"operand:a".to_vec());
    let first = without.get("operand:b").unwrap_err();
    let error = without.multi_get(&wanted).unwrap_err();
    assert!(matches!(error, Error::NoMergeOperator { .. }), "{error:?}");
    assert_eq!(error.to_string(), first.to_string());
}
