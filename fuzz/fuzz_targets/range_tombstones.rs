//! Any bytes: a region of range tombstones is read without a panic, and if it is a good one, it has
//! one encoding and a search agrees with a scan.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::range_tombstones::{self, RangeTombstoneRegion};
use tinydb::internals::table_file::REGION_RANGE_TOMBSTONES;

fuzz_target!(|input: &[u8]| {
    let input = tinydb_fuzz::region(input, REGION_RANGE_TOMBSTONES);
    // A file may change under its map after it was parsed.
    if let Some(region) = RangeTombstoneRegion::parse_again(input) {
        for fragment in region.iter().take(256) {
            let _ = region.find(fragment.start);
        }
    }
    let Ok(region) = RangeTombstoneRegion::parse(input) else { return };
    assert_eq!(range_tombstones::encode(region.iter()), input);
    for (index, fragment) in region.iter().enumerate().take(256) {
        assert!(fragment.end.is_none_or(|end| fragment.start < end));
        assert_eq!(region.get(index), Some(fragment));
        assert_eq!(region.find(fragment.start), Some(fragment));
        assert_eq!(region.count_upto(fragment.start), index + 1);
        if let Some(end) = fragment.end {
            let next = region.get(index + 1).filter(|next| next.start == end);
            assert_eq!(region.find(end), next);
        }
    }
});
