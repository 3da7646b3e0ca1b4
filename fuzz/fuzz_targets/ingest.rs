//! A table that somebody wrote over, under right checksums: it is refused and nothing has changed, or
//! what it says is taken in and makes a sound database.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tinydb::internals::SimDisk;
use tinydb_fuzz::{ManualClock, open, write_table};

fuzz_target!(|input: (Vec<(&[u8], &[u8])>, Vec<(u16, u8)>)| {
    let (rows, changes) = input;
    let mut rows: BTreeMap<&[u8], &[u8]> = rows.into_iter().collect();
    rows.insert(b"always", b"there");
    let path = write_table(&rows);
    let mut bytes = std::fs::read(&path).expect("a table");
    for (place, byte) in changes {
        // From the end as well, where the footer is.
        let place = usize::from(place / 2);
        let at = if place % 2 == 0 { place } else { bytes.len().saturating_sub(place) };
        if let Some(at) = bytes.get_mut(at) {
            *at = byte;
        }
    }
    std::fs::remove_file(&path).expect("the table is there");
    std::fs::write(&path, &bytes).expect("a writable temporary directory");

    let db = open(&SimDisk::new(1), &ManualClock::default().into());
    db.put("before", "1").expect("a put");
    match db.ingest(&[&path]) {
        Err(_) => assert_eq!(db.iter().count(), 1, "an error, and a change"),
        Ok(()) => assert!(db.iter().count() > 1, "no row of a table that was taken in"),
    }
    let keys: Vec<_> = db.iter().map(|entry| entry.expect("a sound table").into_pair().0).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "keys out of order");
    db.compact().expect("a sound database");
    assert!(db.verify().expect("files").is_ok(), "a table that breaks a rule");
});
