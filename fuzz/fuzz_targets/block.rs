//! Any bytes: reading a data block never panics, and a search agrees with a scan.
//!
//! What follows the block is the key that is looked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::data_block::{DataBlock, Lookup, lookup};
use tinydb::internals::{row::compare, table_file::REGION_DATA};

fuzz_target!(|input: &[u8]| {
    let input = tinydb_fuzz::region(input, REGION_DATA);
    let Ok(block) = DataBlock::parse(input) else { return };
    let target = &input[block.layout().block_len()..];
    let _ = block.verify(0);
    let rows = 0..block.layout().row_count();
    for row in rows.clone() {
        let _ = (block.value(row), block.kind(row), block.expires_at(row));
    }
    let looked_up = lookup(input, target, input[32], u64::MAX);
    if let Ok(Some(row)) = block.find(target, input[32], u64::MAX) {
        assert!(block.compare_key(row, target).is_ok_and(std::cmp::Ordering::is_eq));
        let same = matches!(looked_up, Lookup::Found { row: same, .. } if same == row);
        assert!(same || (looked_up == Lookup::Broken && block.value(row).is_err()));
    } else {
        assert!(!matches!(looked_up, Lookup::Found { .. }));
    }
    let read = |row| Some((block.suffix(row).ok()?, block.seqno(row).ok()?));
    let Some(keys) = rows.clone().map(read).collect::<Option<Vec<_>>>() else { return };
    if keys.is_sorted_by(|a, b| compare(a.0, a.1, b.0, b.1).is_lt()) {
        let scan = rows.clone().find(|row| block.compare_key(*row, target).unwrap().is_ge());
        assert_eq!(block.lower_bound(target, u64::MAX), Ok(scan.unwrap_or(rows.end)));
    }
});
