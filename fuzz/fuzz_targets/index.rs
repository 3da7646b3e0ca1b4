//! Any bytes: searching an index never panics, and in a valid one it agrees with a scan.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::FormatError;
use tinydb::internals::index::{Index, Search};
use tinydb::internals::table_file::REGION_INDEX;

fuzz_target!(|input: &[u8]| {
    let input = tinydb_fuzz::region(input, REGION_INDEX);
    let Ok(index) = Index::parse(input) else { return };
    let touch = |_| Ok::<(), FormatError>(());
    let end = index.block_offset(index.layout().block_count(), &touch).unwrap_or(0);
    let is_valid = index.verify(end).is_ok();
    let read = |block| index.separator(block, &touch).unwrap_or_default();
    let separators: Vec<&[u8]> = (0..index.layout().block_count()).map(read).collect();
    for separator in separators.iter().take(256) {
        for longer in [&[][..], &[0]] {
            let rest = [separator, longer].concat();
            let found = index.search(&[index.prefix(), &rest].concat(), &touch);
            let first = separators.partition_point(|separator| *separator < &rest[..]);
            let is_exact = separators.get(first).is_some_and(|separator| *separator == rest);
            let Ok(Search::Block(got) | Search::BlockOrOneBefore(got)) = found else { continue };
            let _ = index.block_offset::<FormatError>(got, &touch);
            assert!(!is_valid || got + usize::from(!is_exact) == first, "{rest:?}: {got}");
        }
    }
});
