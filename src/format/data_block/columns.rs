//! Naming the columns of a block: for whoever shows a block to a person.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use std::ops::Range;

use super::{HEADER_LEN, Layout};

/// The columns behind the header in their order, and the padding that ends a block.
const NAMES: [&str; 10] = [
    "fingerprints",
    "key_offsets",
    "value_offsets",
    "prefix",
    "seqnos",
    "kinds",
    "expiries",
    "keys",
    "values",
    "padding",
];

impl Layout {
    /// The columns that the block has, each with its bytes from the block's start.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> + use<> {
        let starts = [
            HEADER_LEN,
            self.key_offsets as usize,
            self.value_offsets as usize,
            self.prefix as usize,
            self.seqnos as usize,
            self.kinds as usize,
            self.expiries as usize,
            self.keys as usize,
            self.values as usize,
            self.values as usize + self.value_heap_len as usize,
        ];
        let ends = starts.into_iter().skip(1).chain([self.block_len()]);
        let ranges = starts.into_iter().zip(ends).map(|(start, end)| start..end);
        NAMES.into_iter().zip(ranges).filter(|(_, range)| !range.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockBuilder, DataBlock};
    use crate::format::row::{Kind, Row};

    #[test]
    fn columns_cover_a_block_without_gap() {
        let mut builder = BlockBuilder::new();
        for (key, seqno, kind, value) in
            [("ab", 9, Kind::Put, "1"), ("abc", 8, Kind::Delete, ""), ("b", 7, Kind::Put, "22")]
        {
            let row =
                Row { key: key.as_bytes(), seqno, kind, expires_at: 0, value: value.as_bytes() };
            builder.push(&row, false, 0);
        }
        let mut bytes = Vec::new();
        builder.finish(false, &mut bytes);
        let columns: Vec<_> = DataBlock::parse(&bytes).unwrap().layout().columns().collect();
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let want =
            ["fingerprints", "key_offsets", "value_offsets", "seqnos", "kinds", "keys", "values"];
        assert_eq!(names[..7], want);
        assert_eq!(columns[0].1.start, 32);
        assert!(columns.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert_eq!(columns.last().unwrap().1.end, bytes.len());
    }
}
