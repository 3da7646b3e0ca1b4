//! Naming the arrays of an index: for whoever shows an index to a person.
//!
//! Spec: `format-spec/05-index.md`. I/O: none. Unsafe: none.

use std::ops::Range;

use super::{FLAG_UNIFORM, HEADER_LEN, IndexLayout};

impl IndexLayout {
    /// The arrays behind the header in their order, each with its bytes from the region's start.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Range<usize>)> {
        let mut starts = vec![("prefix".to_owned(), HEADER_LEN)];
        for (index, (start, _)) in self.levels.iter().take(self.level_count).enumerate() {
            let is_heads = index + 1 == self.level_count;
            let name = if is_heads { "heads".to_owned() } else { format!("level {index}") };
            starts.push((name, *start));
            if self.has_ties() {
                let ties = if is_heads { self.tie_heads } else { start + self.upper_ties };
                let name = if is_heads { String::new() } else { format!(" of level {index}") };
                starts.push((format!("tie_heads{name}"), ties));
            }
        }
        starts.sort_by_key(|(_, start)| *start);
        if self.flags & FLAG_UNIFORM == 0 {
            starts.push(("block_offsets".to_owned(), self.block_offsets));
        }
        starts.push(("separator_offsets".to_owned(), self.separator_offsets));
        starts.push(("separators".to_owned(), self.separators));
        let ends: Vec<usize> = starts.iter().skip(1).map(|part| part.1).chain([self.end]).collect();
        starts.into_iter().zip(ends).map(|((name, start), end)| (name, start..end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Index, IndexBuilder};

    #[test]
    fn trees_of_tie_heads_are_named_beside_the_others() {
        let mut builder = IndexBuilder::new();
        for number in 0..40 {
            let key = format!("the same sixteen{number:03}");
            builder.push(key.as_bytes(), key.as_bytes());
        }
        // One short key makes all others tie.
        builder.push(b"z", b"z");
        let bytes = builder.finish(b"", 1, Some(8192), &[]);
        let parts = Index::parse(&bytes).unwrap().layout().parts();
        let lens: Vec<_> = parts.iter().map(|(name, part)| (name.as_str(), part.len())).collect();
        let trees = &lens[1..lens.len() - 2];
        let want = [("level 0", 128), ("tie_heads of level 0", 128), ("heads", 384)];
        assert_eq!(trees, [&want[..], &[("tie_heads", 384)]].concat());
        assert!(parts.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
    }

    #[test]
    fn arrays_cover_an_index_without_gap() {
        for block_size in [Some(8192), None] {
            let mut builder = IndexBuilder::new();
            for number in 0..40 {
                let key = format!("user{number:03}");
                builder.push(key.as_bytes(), key.as_bytes());
            }
            let offsets: Vec<u64> = (0..=40).map(|block| block * 64).collect();
            let bytes = builder.finish(b"user", 7, block_size, &offsets);
            let parts = Index::parse(&bytes).unwrap().layout().parts();
            let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
            let packed = if block_size.is_none() { &["block_offsets"][..] } else { &[] };
            let want =
                [&["prefix", "level 0", "heads"][..], packed, &["separator_offsets", "separators"]];
            assert_eq!(names, want.concat());
            assert_eq!(parts[0].1.start, 64);
            assert!(parts.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
            assert_eq!(parts.last().unwrap().1.end, bytes.len());
        }
    }
}
