//! What the fuzz targets share.

use tinydb::internals::table_file::{FOOTER_LEN, TableFile};

/// The first region of this kind if `input` is a table file, else `input` itself.
///
/// So the golden tables of `format-spec/vectors/` are seeds of every decoder of their parts.
#[must_use]
pub fn region(input: &[u8], kind: u32) -> &[u8] {
    let tail = input.last_chunk::<FOOTER_LEN>().map_or(&[][..], |tail| tail);
    let Ok(frame) = TableFile::parse(input, tail, input.len() as u64) else { return input };
    let Some(entry) = frame.region(kind) else { return input };
    let start = usize::try_from(entry.offset.get()).expect("proved to lie in the file");
    &input[start..][..usize::try_from(entry.len.get()).expect("proved to lie in the file")]
}
