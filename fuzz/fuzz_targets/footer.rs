//! Any bytes: a table's frame parses without a panic; one that does lies in the file, its regions
//! overlap nowhere, and it encodes to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tinydb::internals::table_file::{
    FOOTER_LEN, FORMAT_MINOR, Properties, REGION_PROPERTIES, TableFile, encode_footer,
};

fuzz_target!(|input: &[u8]| {
    let _ = Properties::parse(tinydb_fuzz::region(input, REGION_PROPERTIES));
    let Some(tail) = input.last_chunk::<FOOTER_LEN>() else { return };
    let Ok(frame) = TableFile::parse(input, tail, input.len() as u64) else { return };
    let mut free = 0;
    for region in &frame.regions {
        assert!(region.offset.get() >= free);
        free = region.offset.get() + region.stored_len();
    }
    let offset = (input.len() - FOOTER_LEN) as u64;
    assert!(free <= offset);
    if frame.footer.format_minor.get() == FORMAT_MINOR && frame.footer.format_major.get() == 1 {
        let encoded = encode_footer(&frame.footer, &frame.regions, offset);
        assert_eq!(encoded[..FOOTER_LEN - 8], tail[..FOOTER_LEN - 8]);
    }
});
