//! Any bytes: a manifest parses without a panic, and what it says has one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::manifest::ManifestView;

fuzz_target!(|input: &[u8]| {
    let Ok(view) = ManifestView::parse(input) else { return };
    let keys_len: usize =
        view.tables().map(|table| table.smallest.len() + table.largest.len()).sum();
    assert!(keys_len < input.len());
    let Ok(data) = view.to_data() else { return };
    let encoded = data.encode();
    assert_eq!(encoded.len(), input.len());
    let again = ManifestView::parse(&encoded).expect("what was encoded parses");
    assert_eq!(again.to_data().as_ref(), Ok(&data));
    assert_eq!(data.encode(), encoded);
});
