//! Any bytes: probing a filter never panics or leaves it, and a built one holds all its keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::filter::{self, Filter};
use tinydb::internals::table_file::REGION_FILTER;

fuzz_target!(|input: &[u8]| {
    let input = tinydb_fuzz::region(input, REGION_FILTER);
    let hashes: Vec<u64> =
        input.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
    if let Ok(found) = Filter::parse(input) {
        for hash in &hashes {
            let words = input[found.block_range(*hash)].as_chunks().0.iter();
            let mut pairs = words.map(|word| u32::from_le_bytes(*word)).zip(filter::mask(*hash));
            assert_eq!(found.may_contain(*hash), pairs.all(|(word, bit)| word & bit != 0));
        }
    }
    let bytes = filter::build(&hashes, 10 * hashes.len() as u64);
    let built = Filter::parse(&bytes).expect("what was built is a filter");
    assert!(hashes.iter().all(|hash| built.may_contain(*hash)));
});
