//! The range tombstones of a table: disjoint ranges, each with one seqno, read in place.
//!
//! Range tombstones may overlap; what a table stores are *fragments* of them. Fragments ascend and
//! share no key, and each has the newest seqno of the tombstones that it is a part of. So one
//! binary search says what covers a key.
//!
//! ```text
//!  0        32                 32 + 24 × count
//!  │ header │ 24 B a fragment  │ start, end of fragment 0 │ of fragment 1 │ …
//! ```
//!
//! # Invariants
//!
//! - `parse` borrows and allocates nothing, whatever the counts in the header claim; once it
//!   succeeds, fragments ascend, are disjoint and lie in the region, and none is empty.
//!
//! Spec: `format-spec/09-range-tombstones.md`. I/O: none. Unsafe: none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::error::{FormatError, rules};
use crate::format::range_tombstone::RangeTombstone;

rules! { RULES:
    HEADER = "D1", "the region starts with the 32-byte header and its magic TDBR";
    RESERVED = "D2", "reserved bytes and reserved flags are zero";
    COUNT = "D3", "there is at least one fragment, and all entries lie in the region";
    KEYS = "D4", "the keys lie back to back behind the entries and end with the region";
    RANGE = "D5", "a fragment's end is above its start, and one without an end has no end key";
    ORDER = "D6", "fragments ascend and are disjoint: each ends at or below the start of the next";
    SEQNO = "D7", "a fragment's seqno is at least 1";
}

/// The first 32 bytes of the region.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RangeTombstonesHeader {
    /// Always [`MAGIC`].
    pub magic: [u8; 4],
    /// Zero.
    pub reserved: U32,
    /// Fragments; at least one.
    pub count: U64,
    /// Bytes of all starts and ends.
    pub keys_len: U64,
    /// Zero.
    pub reserved_tail: U64,
}

/// One fragment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RangeTombstoneEntry {
    /// Older rows of the range are deleted.
    pub seqno: U64,
    /// Where, from the start of the region, the start of the range lies; its end follows.
    pub keys_offset: U64,
    /// Length of the start.
    pub start_len: U16,
    /// Length of the end; 0 if there is none.
    pub end_len: U16,
    /// Bit 0: the range has no end.
    pub flags: U32,
}

/// Bytes of a [`RangeTombstonesHeader`].
pub const HEADER_LEN: usize = 32;
/// Bytes of a [`RangeTombstoneEntry`].
pub const ENTRY_LEN: usize = 24;
const _: () = assert!(size_of::<RangeTombstonesHeader>() == HEADER_LEN, "09 fixes this size");
const _: () = assert!(size_of::<RangeTombstoneEntry>() == ENTRY_LEN, "09 fixes this size");

/// The first bytes of the region.
pub const MAGIC: [u8; 4] = *b"TDBR";
/// Bit 0 of a fragment's flags: the range has no end.
pub const FLAG_ENDLESS: u32 = 1;

/// A region of range tombstones, read in place.
#[derive(Clone, Copy, Debug)]
pub struct RangeTombstoneRegion<'a> {
    entries: &'a [RangeTombstoneEntry],
    bytes: &'a [u8],
}

impl<'a> RangeTombstoneRegion<'a> {
    /// Reads a region and proves all rules, in O(fragments); checks no checksum.
    ///
    /// # Errors
    ///
    /// The rule of chapter 09 that is broken, relative to the start of the region.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((header, rest)) = RangeTombstonesHeader::ref_from_prefix(bytes) else {
            return Err(HEADER.found(0, HEADER_LEN as u64, bytes.len() as u64));
        };
        if header.magic != MAGIC {
            return Err(HEADER.broken(0));
        }
        if header.reserved.get() != 0 {
            return Err(RESERVED.broken(4));
        }
        if header.reserved_tail.get() != 0 {
            return Err(RESERVED.broken(24));
        }
        let count = header.count.get();
        let most = (rest.len() / ENTRY_LEN) as u64;
        if count == 0 || count > most {
            return Err(COUNT.found(8, most, count));
        }
        let Some(region) = Self::parse_again(bytes) else { return Err(COUNT.broken(8)) };
        region.check_entries(header.keys_len.get())?;
        Ok(region)
    }

    /// The region that these bytes are, which [`parse`](Self::parse) found to break no rule. O(1).
    ///
    /// Of other bytes, such as those of a file that changed under its map, it gives fragments that
    /// mean nothing, or none.
    #[must_use]
    pub fn parse_again(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = RangeTombstonesHeader::ref_from_prefix(bytes).ok()?;
        let count = usize::try_from(header.count.get()).ok()?;
        let (entries, _) = <[RangeTombstoneEntry]>::ref_from_prefix_with_elems(rest, count).ok()?;
        Some(Self { entries, bytes })
    }

    /// Checks all fragments, whose keys must have `keys_len` bytes.
    fn check_entries(&self, keys_len: u64) -> Result<(), FormatError> {
        let mut keys_offset = (HEADER_LEN + self.entries.len() * ENTRY_LEN) as u64;
        let found_len = self.bytes.len() as u64 - keys_offset;
        if keys_len != found_len {
            return Err(KEYS.found(16, found_len, keys_len));
        }
        // The end of the fragment before: `None` if it has none.
        let mut free_from = Some(&[][..]);
        for (entry, at) in self.entries.iter().zip((HEADER_LEN as u64..).step_by(ENTRY_LEN)) {
            if entry.flags.get() & !FLAG_ENDLESS != 0 {
                return Err(RESERVED.broken(at + 20));
            }
            if entry.seqno.get() == 0 {
                return Err(SEQNO.broken(at));
            }
            if entry.keys_offset.get() != keys_offset {
                return Err(KEYS.found(at + 8, keys_offset, entry.keys_offset.get()));
            }
            keys_offset += u64::from(entry.start_len.get()) + u64::from(entry.end_len.get());
            if keys_offset > self.bytes.len() as u64 {
                return Err(KEYS.found(at + 16, self.bytes.len() as u64, keys_offset));
            }
            let RangeTombstone { start, end, .. } = self.fragment(entry);
            let is_range = match end {
                Some(end) => start < end,
                None => entry.end_len.get() == 0,
            };
            if !is_range {
                return Err(RANGE.broken(at + 16));
            }
            if free_from.is_none_or(|free_from| start < free_from) {
                return Err(ORDER.broken(at));
            }
            free_from = end;
        }
        if keys_offset != self.bytes.len() as u64 {
            return Err(KEYS.found(16, keys_offset, self.bytes.len() as u64));
        }
        Ok(())
    }

    /// How many fragments there are; at least one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no fragment, which no region is that was parsed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A fragment by its number. O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RangeTombstone<'a>> {
        self.entries.get(index).map(|entry| self.fragment(entry))
    }

    /// The fragments, ascending.
    #[must_use]
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = RangeTombstone<'a>> + ExactSizeIterator + Clone + use<'a>
    {
        let region = *self;
        region.entries.iter().map(move |entry| region.fragment(entry))
    }

    /// How many fragments start at or before `key`: only the last of them can cover it, and the
    /// one behind them is the first that starts later. O(log fragments).
    #[inline]
    #[must_use]
    pub fn count_upto(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|entry| self.fragment(entry).start <= key)
    }

    /// The fragment that covers `key`, if there is one. O(log fragments).
    #[inline]
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<RangeTombstone<'a>> {
        let last = self.count_upto(key).checked_sub(1)?;
        self.get(last).filter(|fragment| fragment.covers(key))
    }

    #[inline]
    fn fragment(&self, entry: &RangeTombstoneEntry) -> RangeTombstone<'a> {
        let at = usize::try_from(entry.keys_offset.get()).unwrap_or(usize::MAX);
        let keys = self.bytes.get(at..).unwrap_or_default();
        let (start, keys) = keys.split_at_checked(entry.start_len.get().into()).unwrap_or_default();
        let end = keys.get(..entry.end_len.get().into()).unwrap_or_default();
        let is_endless = entry.flags.get() & FLAG_ENDLESS != 0;
        RangeTombstone { start, end: (!is_endless).then_some(end), seqno: entry.seqno.get() }
    }
}

/// The region of these fragments.
///
/// Fragments that break a rule, or none at all, give bytes that [`RangeTombstoneRegion::parse`]
/// refuses.
#[must_use]
pub fn encode<'t>(fragments: impl IntoIterator<Item = RangeTombstone<'t>>) -> Vec<u8> {
    let (mut entries, mut keys) = (Vec::new(), Vec::new());
    let key_len = |key: &[u8]| U16::new(u16::try_from(key.len()).unwrap_or(u16::MAX));
    for RangeTombstone { start, end, seqno } in fragments {
        entries.push(RangeTombstoneEntry {
            seqno: U64::new(seqno),
            // From the first key on, as long as it is not known how many entries come before it.
            keys_offset: U64::new(keys.len() as u64),
            start_len: key_len(start),
            end_len: key_len(end.unwrap_or_default()),
            flags: U32::new(if end.is_none() { FLAG_ENDLESS } else { 0 }),
        });
        keys.extend_from_slice(start);
        keys.extend_from_slice(end.unwrap_or_default());
    }
    let first_key = HEADER_LEN + entries.len() * ENTRY_LEN;
    for entry in &mut entries {
        entry.keys_offset += first_key as u64;
    }
    let header = RangeTombstonesHeader {
        magic: MAGIC,
        reserved: U32::ZERO,
        count: U64::new(entries.len() as u64),
        keys_len: U64::new(keys.len() as u64),
        reserved_tail: U64::ZERO,
    };
    let mut out = Vec::with_capacity(first_key + keys.len());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(entries.as_bytes());
    out.append(&mut keys);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fragment<'a>(start: &'a [u8], end: Option<&'a [u8]>, seqno: u64) -> RangeTombstone<'a> {
        RangeTombstone { start, end, seqno }
    }

    /// Fragments with a gap, that touch with another seqno and with the same one, and no end.
    fn sample() -> Vec<RangeTombstone<'static>> {
        vec![
            fragment(b"", Some(b"b"), 7),
            fragment(b"c", Some(b"f"), 9),
            fragment(b"f", Some(b"fig"), 4),
            fragment(b"fig", Some(b"g"), 4),
            fragment(b"x\xff", None, u64::MAX),
        ]
    }

    #[track_caller]
    fn round_trip(fragments: &[RangeTombstone<'_>]) {
        let bytes = encode(fragments.iter().copied());
        let region = RangeTombstoneRegion::parse(&bytes).unwrap();
        assert_eq!(region.len(), fragments.len());
        assert!(!region.is_empty());
        assert!(region.iter().eq(fragments.iter().copied()));
        assert!(region.iter().rev().eq(fragments.iter().rev().copied()));
        for (index, want) in fragments.iter().enumerate() {
            assert_eq!(region.get(index), Some(*want));
        }
        assert_eq!(region.get(fragments.len()), None);
        let again = RangeTombstoneRegion::parse_again(&bytes).unwrap();
        assert!(again.iter().eq(region.iter()));
    }

    #[test]
    fn what_is_encoded_is_parsed() {
        let long = vec![0xFF; 65_535];
        let longer_than_short = [&long[..65_534], &[0xFE]].concat();
        round_trip(&sample());
        round_trip(&[fragment(b"", None, 1)]);
        round_trip(&[fragment(b"", Some(b"\0"), 1)]);
        round_trip(&[fragment(b"", Some(&longer_than_short), 1), fragment(&long, None, 2)]);
    }

    #[test]
    fn every_field_has_its_place() {
        let bytes = encode([fragment(b"from", Some(b"to"), 0x0102), fragment(b"x", None, 3)]);
        #[rustfmt::skip]
        let want = [
            &b"TDBR"[..], &[0; 4],
            &[2, 0, 0, 0, 0, 0, 0, 0], &[7, 0, 0, 0, 0, 0, 0, 0], &[0; 8],
            &[2, 1, 0, 0, 0, 0, 0, 0], &[80, 0, 0, 0, 0, 0, 0, 0], &[4, 0], &[2, 0], &[0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0], &[86, 0, 0, 0, 0, 0, 0, 0], &[1, 0], &[0, 0], &[1, 0, 0, 0],
            b"fromtox",
        ].concat();
        assert_eq!(bytes, want);
    }

    #[test]
    fn the_fragment_of_a_key_is_found() {
        let bytes = encode(sample());
        let region = RangeTombstoneRegion::parse(&bytes).unwrap();
        #[rustfmt::skip]
        let cases: &[(&[u8], Option<u64>, usize)] = &[
            // key         seqno            fragments that start at or before it
            (b"",          Some(7),         1),
            (b"a\xff",     Some(7),         1),
            (b"b",         None,            1),
            (b"c",         Some(9),         2),
            (b"e",         Some(9),         2),
            (b"f",         Some(4),         3),
            (b"fig",       Some(4),         4),
            (b"g",         None,            4),
            (b"x",         None,            4),
            (b"x\xff",     Some(u64::MAX),  5),
            (b"\xff\xff",  Some(u64::MAX),  5),
        ];
        for (key, seqno, count) in cases {
            let found = region.find(key);
            assert_eq!(found.map(|fragment| fragment.seqno), *seqno, "{}", key.escape_ascii());
            assert!(found.is_none_or(|fragment| fragment.covers(key)));
            assert_eq!(region.count_upto(key), *count, "{}", key.escape_ascii());
        }
    }

    #[track_caller]
    fn check_broken(id: &str, at: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = encode(sample());
        change(&mut bytes);
        let error = RangeTombstoneRegion::parse(&bytes).unwrap_err();
        assert_eq!((error.rule().id, error.at()), (id, at), "{error}");
    }

    #[test]
    fn each_broken_rule_is_named_with_its_place() {
        check_broken("D1", 0, |bytes| bytes[3] = b'F');
        check_broken("D1", 0, |bytes| bytes.truncate(31));
        check_broken("D2", 4, |bytes| bytes[7] = 1);
        check_broken("D2", 24, |bytes| bytes[31] = 1);
        check_broken("D2", 32 + 20, |bytes| bytes[32 + 20] = 2);
        check_broken("D2", 32 + 20, |bytes| bytes[32 + 23] = 0x80);
        check_broken("D3", 8, |bytes| bytes[8] = 0);
        check_broken("D3", 8, |bytes| bytes[8] = 9);
        check_broken("D3", 8, |bytes| bytes[15] = 0xFF);
        check_broken("D3", 8, |bytes| bytes.truncate(32 + 5 * 24 - 1));
        check_broken("D4", 16, |bytes| bytes[16] += 1);
        check_broken("D4", 16, |bytes| bytes[23] = 0xFF);
        check_broken("D4", 16, |bytes| bytes.push(0));
        check_broken("D4", 32 + 8, |bytes| bytes[32 + 8] += 1);
        check_broken("D4", 32 + 8, |bytes| bytes[32 + 15] = 0xFF);
        check_broken("D4", 128 + 16, |bytes| bytes[128 + 17] = 0xFF);
        check_broken("D4", 16, |bytes| bytes[128 + 16] = 1); // the last key byte is of no key
        check_broken("D7", 128, |bytes| bytes[128..136].fill(0));
    }

    /// As [`check_broken`], for what `encode` was given.
    #[track_caller]
    fn check_refused(id: &str, at: u64, fragments: &[RangeTombstone<'_>]) {
        let bytes = encode(fragments.iter().copied());
        let error = RangeTombstoneRegion::parse(&bytes).unwrap_err();
        assert_eq!((error.rule().id, error.at()), (id, at), "{error}");
    }

    #[test]
    fn ranges_that_are_empty_or_not_in_order_are_refused() {
        let one = |start, end| fragment(start, end, 1);
        check_refused("D3", 8, &[]);
        check_refused("D5", 48, &[one(b"b", Some(b"b"))]);
        check_refused("D5", 48, &[one(b"b", Some(b"a"))]);
        check_refused("D5", 48, &[one(b"", Some(b""))]);
        check_refused("D6", 56, &[one(b"b", Some(b"d")), one(b"c", Some(b"e"))]);
        check_refused("D6", 56, &[one(b"b", Some(b"c")), one(b"a", Some(b"b"))]);
        check_refused("D6", 56, &[one(b"b", None), one(b"c", Some(b"d"))]);
        check_refused("D6", 56, &[one(b"b", None), one(b"c", None)]);
        check_refused("D7", 32, &[fragment(b"a", None, 0)]);
        check_refused("D4", 16, &[one(b"a", Some(&vec![b'b'; 65_536]))]);
        check_broken("D5", 32 + 16, |bytes| bytes[32 + 20] = 1); // no end, and an end key
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = encode(sample());
        for len in 0..bytes.len() {
            assert!(RangeTombstoneRegion::parse(&bytes[..len]).is_err(), "cut to {len} bytes");
            // What changed after it was parsed is read without a panic.
            if let Some(region) = RangeTombstoneRegion::parse_again(&bytes[..len]) {
                assert_eq!(region.iter().count(), 5);
                let _ = (region.find(b"d"), region.find(b"\xff\xff"));
            }
        }
    }

    #[test]
    fn every_bit_flip_is_refused_or_makes_another_region() {
        let bytes = encode(sample());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(region) = RangeTombstoneRegion::parse(&flipped) {
                assert_eq!(encode(region.iter()), flipped, "bit {bit}");
            }
        }
    }

    #[test]
    fn rules_are_numbered_in_order() {
        for (number, rule) in (1..).zip(RULES) {
            assert_eq!(rule.id, format!("D{number}"));
        }
    }

    proptest! {
        #[test]
        fn any_fragments_come_back_and_are_found(
            cuts in prop::collection::btree_set(prop::collection::vec(0..4_u8, 0..5), 2..20),
            seqnos in prop::collection::vec(1..4_u64, 20),
            has_end: bool,
        ) {
            let cuts: Vec<Vec<u8>> = cuts.into_iter().collect();
            let mut fragments: Vec<RangeTombstone<'_>> = cuts
                .windows(2)
                .zip(&seqnos)
                .filter(|(_, seqno)| **seqno != 3)
                .map(|(pair, seqno)| fragment(&pair[0], Some(&pair[1]), *seqno))
                .collect();
            if !has_end {
                fragments.push(fragment(cuts.last().unwrap(), None, 1));
            }
            prop_assume!(!fragments.is_empty());
            round_trip(&fragments);
            let bytes = encode(fragments.iter().copied());
            let region = RangeTombstoneRegion::parse(&bytes).unwrap();
            for key in cuts.iter().flat_map(|cut| [cut.clone(), [&cut[..], &[0]].concat()]) {
                let want = fragments.iter().copied().find(|fragment| fragment.covers(&key));
                prop_assert_eq!(region.find(&key), want);
            }
        }
    }
}
