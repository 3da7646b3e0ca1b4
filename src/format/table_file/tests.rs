//! Frames: what is encoded is parsed, and each rule of a hostile one is named.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::format::chunks;

const FILE_ID: u64 = 0xF11E;

/// A file of zeros with a header and a footer: regions of 100 bytes at these pages.
#[derive(Clone)]
struct Frame {
    header: FileHeader,
    footer: Footer,
    regions: Vec<RegionEntry>,
    page_count: u64,
}

impl Frame {
    /// One of every kind, and an optional one of a kind that nobody knows.
    fn sample() -> Self {
        let kinds = [
            (REGION_DATA, 0),
            (REGION_VALUES, 0),
            (REGION_FILTER, FLAG_CHUNKED),
            (REGION_INDEX, FLAG_CHUNKED),
            (REGION_PROPERTIES, 0),
            (77, FLAG_CHUNKED),
            (REGION_RANGE_TOMBSTONES, FLAG_CRITICAL),
        ];
        let regions = (1..).zip(kinds).map(|(page, (kind, flags))| RegionEntry {
            kind: U32::new(kind),
            flags: U32::new(flags),
            offset: U64::new(page * REGION_ALIGN),
            len: U64::new(100),
            checksum: U64::new(u64::from(
                kind == REGION_PROPERTIES || kind == REGION_RANGE_TOMBSTONES,
            )),
        });
        let footer = Footer {
            file_id: U64::new(FILE_ID),
            row_count: U64::new(3),
            min_seqno: U64::new(4),
            max_seqno: U64::new(5),
            ..Footer::default()
        };
        let header = FileHeader::new(FILE_ID, 9, 0);
        Self { header, footer, regions: regions.collect(), page_count: 9 }
    }

    fn footer_offset(&self) -> u64 {
        (self.page_count - 1) * REGION_ALIGN
    }

    fn footer_page(&self) -> Vec<u8> {
        encode_footer(&self.footer, &self.regions, self.footer_offset())
    }

    fn parse(&self) -> Result<TableFile, FrameError> {
        let file_len = self.page_count * REGION_ALIGN;
        TableFile::parse(self.header.as_bytes(), &self.footer_page(), file_len)
    }
}

/// Writes the checksum of a footer page after a change.
fn reseal(page: &mut [u8]) {
    let (body, sum) = page.split_at_mut(FOOTER_LEN - 8);
    sum.copy_from_slice(U64::new(crate::format::checksum::checksum(body, FILE_ID)).as_bytes());
}

#[test]
fn a_frame_reads_back() {
    let frame = Frame::sample();
    let parsed = frame.parse().unwrap();
    assert_eq!(parsed.header, frame.header);
    assert_eq!(parsed.regions, frame.regions);
    assert_eq!(parsed.footer.file_len.get(), 9 * REGION_ALIGN);
    assert_eq!(parsed.footer.row_count.get(), 3);
    assert_eq!(parsed.region(REGION_INDEX), Some(&frame.regions[3]));
    assert_eq!(parsed.region(78), None);
    let page = frame.footer_page();
    assert_eq!(encode_footer(&parsed.footer, &parsed.regions, frame.footer_offset()), page);
}

#[test]
fn a_header_that_is_cut_or_flipped_is_an_error() {
    let frame = Frame::sample();
    let (head, tail) = (frame.header.as_bytes().to_vec(), frame.footer_page());
    let file_len = frame.page_count * REGION_ALIGN;
    for len in 0..head.len() {
        assert!(TableFile::parse(&head[..len], &tail, file_len).is_err(), "cut to {len}");
    }
    for bit in 0..head.len() * 8 {
        let mut flipped = head.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = TableFile::parse(&flipped, &tail, file_len).unwrap_err();
        assert!(matches!(error, FrameError::Broken(_)), "bit {bit} looks like a newer version");
    }
}

#[test]
fn a_footer_that_is_cut_or_flipped_is_an_error() {
    let frame = Frame::sample();
    let (head, tail) = (frame.header.as_bytes(), frame.footer_page());
    let file_len = frame.page_count * REGION_ALIGN;
    for len in (0..tail.len()).step_by(if cfg!(miri) { 999 } else { 7 }) {
        assert!(TableFile::parse(head, &tail[..len], file_len).is_err(), "cut to {len}");
    }
    for bit in (0..tail.len() * 8).step_by(if cfg!(miri) { 997 } else { 1 }) {
        let mut flipped = tail.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(TableFile::parse(head, &flipped, file_len).is_err(), "bit {bit}");
    }
    for len in [0, 4096, file_len - 4096, file_len - 1, file_len + 1, u64::MAX] {
        assert!(TableFile::parse(head, &tail, len).is_err(), "a file of {len} bytes");
    }
}

#[test]
fn a_flipped_footer_with_the_right_checksum_is_read_without_a_panic() {
    let frame = Frame::sample();
    let tail = frame.footer_page();
    let file_len = frame.page_count * REGION_ALIGN;
    let used = size_of::<Footer>() + frame.regions.len() * size_of::<RegionEntry>();
    for bit in (0..used * 8).step_by(if cfg!(miri) { 101 } else { 1 }) {
        let mut flipped = tail.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        reseal(&mut flipped);
        if let Ok(parsed) = TableFile::parse(frame.header.as_bytes(), &flipped, file_len) {
            let again = encode_footer(&parsed.footer, &parsed.regions, frame.footer_offset());
            assert_eq!(again, flipped, "bit {bit}");
        }
    }
}

#[track_caller]
fn check_broken(id: &str, change: impl FnOnce(&mut Frame)) {
    let mut frame = Frame::sample();
    change(&mut frame);
    match frame.parse() {
        Err(FrameError::Broken(error)) => {
            assert_eq!(error.rule().id, id, "{error}");
            assert!(error.at() < 9 * REGION_ALIGN, "at {}", error.at());
        }
        other => panic!("not a broken rule: {other:?}"),
    }
}

#[test]
fn each_broken_rule_is_named() {
    let seal = |frame: &mut Frame| frame.header.seal();
    check_broken("T1", |frame| frame.page_count = 1);
    check_broken("T2", |frame| frame.header.magic[7] = 2);
    check_broken("T3", |frame| frame.header.hash_seed = U64::new(1));
    check_broken("T6", |frame| frame.footer.features_optional = U32::new(1));
    check_broken("T6", |frame| {
        frame.header.format_minor = U16::new(1);
        seal(frame);
    });
    let page = 4096;
    for (index, offset) in [(0, 0), (0, page + 1), (1, page), (3, 3 * page), (5, 8 * page)] {
        check_broken("T8", |frame| frame.regions[index].offset = U64::new(offset));
    }
    // A chunk's checksum of this region lies in the footer, and lengths that overflow.
    for len in [4096 - 4, 4097, u64::MAX, u64::MAX - 4095, u64::MAX / 513 * 512] {
        check_broken("T8", |frame| frame.regions[5].len = U64::new(len));
    }
    check_broken("T9", |frame| frame.regions[5].kind = U32::new(REGION_DATA));
    for (index, missing) in [0, 3, 4].into_iter().enumerate() {
        check_broken("T10", |frame| frame.regions[missing].kind = U32::new(80 + index as u32));
    }
    check_broken("T11", |frame| {
        frame.header.reserved = U32::new(1);
        seal(frame);
    });
    check_broken("T11", |frame| {
        frame.header.reserved_tail[1] = U64::new(1);
        seal(frame);
    });
    check_broken("T11", |frame| frame.footer.reserved[0] = U64::new(1));
    check_broken("T11", |frame| frame.regions[5].flags = U32::new(4));
    check_broken("T12", |frame| frame.footer.row_count = U64::ZERO);
    check_broken("T12", |frame| frame.footer.min_seqno = U64::new(6));
    for flags in [0, FLAG_CHUNKED, FLAG_CRITICAL | FLAG_CHUNKED] {
        check_broken("T23", |frame| frame.regions[6].flags = U32::new(flags));
    }
    for index in [0, 1, 4] {
        check_broken("T23", |frame| frame.regions[index].flags = U32::new(FLAG_CRITICAL));
        check_broken("T23", |frame| frame.regions[index].flags = U32::new(FLAG_CHUNKED));
    }
    for index in [2, 3] {
        check_broken("T23", |frame| frame.regions[index].flags = U32::ZERO);
    }
    for index in [0, 1, 2, 3] {
        check_broken("T23", |frame| frame.regions[index].checksum = U64::new(1));
    }
}

/// As [`check_broken`], for changes to the footer page, with the right checksum or without.
#[track_caller]
fn check_broken_page(id: &str, sealed: bool, change: impl FnOnce(&mut [u8])) {
    let frame = Frame::sample();
    let mut page = frame.footer_page();
    change(&mut page);
    if sealed {
        reseal(&mut page);
    }
    let parsed = TableFile::parse(frame.header.as_bytes(), &page, 9 * REGION_ALIGN);
    assert!(
        matches!(parsed, Err(FrameError::Broken(error)) if error.rule().id == id),
        "{parsed:?}"
    );
}

#[test]
fn each_broken_rule_of_a_page_is_named() {
    check_broken_page("T4", true, |page| page[0] = b'X');
    check_broken_page("T5", false, |page| page[4000] = 1);
    check_broken_page("T6", true, |page| page[8] = 2);
    check_broken_page("T6", true, |page| page[24] ^= 1);
    check_broken_page("T6", true, |page| page[33] = 1);
    check_broken_page("T7", true, |page| page[20] = 65);
    check_broken_page("T7", true, |page| page[23] = 0xFF);
    check_broken_page("T11", true, |page| page[4087] = 1);
}

#[track_caller]
fn check_unsupported(want: Unsupported, change: impl FnOnce(&mut Frame)) {
    let mut frame = Frame::sample();
    change(&mut frame);
    frame.header.seal();
    assert_eq!(frame.parse(), Err(FrameError::Unsupported(want)));
}

#[test]
fn a_file_of_the_future_is_told_from_a_broken_one() {
    check_unsupported(Unsupported::Major(2), |frame| frame.header.format_major = U16::new(2));
    check_unsupported(Unsupported::Region(77), |frame| {
        frame.regions[5].flags = U32::new(FLAG_CRITICAL);
    });
    check_unsupported(Unsupported::Feature(3), |frame| {
        frame.header.features_required = U32::new(8);
        frame.header.reserved = U32::new(1); // perhaps the feature gives it a meaning
    });
    let mut frame = Frame::sample();
    frame.header.features_optional = U32::new(8);
    frame.footer.features_optional = U32::new(8);
    frame.header.seal();
    assert!(frame.parse().is_ok(), "an optional feature may be ignored");
}

/// Symptom: a directory entry with a length near 2^64 panicked, or passed as lying in the file.
/// Cause: adding the checksums of its chunks overflowed. Fix: the sum saturates.
#[test]
fn the_stored_length_of_a_region_does_not_overflow() {
    #[rustfmt::skip]
    let cases = [
        // payload             stored
        (0,                    0),
        (1,                    16),
        (8,                    16),
        (4096,                 4096 + 8),
        (4097,                 4104 + 16),
        (u64::MAX,             u64::MAX),
        (u64::MAX - 7,         u64::MAX),
        (u64::MAX / 513 * 512, u64::MAX / 513 * 512 + u64::MAX / 513),
    ];
    for (len, want) in cases {
        let stored = chunks::region_len(len);
        assert!(stored.abs_diff(want) < 1024, "{len} bytes are stored in {stored}");
        let entry = RegionEntry { flags: U32::new(FLAG_CHUNKED), len: U64::new(len), ..ENTRY };
        assert_eq!(entry.stored_len(), stored);
        assert_eq!(RegionEntry { flags: U32::ZERO, ..entry }.stored_len(), len);
    }
}

const ENTRY: RegionEntry = RegionEntry {
    kind: U32::ZERO,
    flags: U32::ZERO,
    offset: U64::ZERO,
    len: U64::ZERO,
    checksum: U64::ZERO,
};

#[test]
fn properties_read_back_whole_or_not_at_all() {
    let header = PropertiesHeader {
        key_count: U64::new(7),
        range_tombstone_count: U64::new(5),
        smallest_len: U16::new(3),
        largest_len: U16::new(2),
        operator_len: U32::new(4),
        ..PropertiesHeader::default()
    };
    let properties =
        Properties { header: &header, smallest_key: b"abc", largest_key: b"zz", operator: "sum!" };
    let bytes = properties.encode();
    let parsed = Properties::parse(&bytes).unwrap();
    assert_eq!(parsed.header, &header);
    assert_eq!(
        (parsed.smallest_key, parsed.largest_key, parsed.operator),
        (&b"abc"[..], &b"zz"[..], "sum!")
    );
    for len in 0..bytes.len() {
        assert_eq!(Properties::parse(&bytes[..len]).unwrap_err().rule().id, "T13");
    }
    assert!(Properties::parse(&[&bytes[..], &[0]].concat()).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = Properties::parse(&flipped) {
            assert_eq!(parsed.encode(), flipped, "bit {bit}");
        }
    }
    let mut not_utf8 = bytes.clone();
    *not_utf8.last_mut().unwrap() = 0xFF;
    assert_eq!(Properties::parse(&not_utf8).unwrap_err().rule().id, "T25");
    let mut reserved = bytes;
    reserved[127] = 1;
    assert_eq!(Properties::parse(&reserved).unwrap_err().rule().id, "T11");
}

#[test]
fn a_new_header_stands_byte_for_byte() {
    let header = FileHeader::new(0x1122, 0x33, 0);
    let bytes = header.as_bytes();
    assert_eq!(bytes[..12], *b"TINYSST\x01\x01\0\0\0");
    assert_eq!(bytes[24..28], [0x22, 0x11, 0, 0]);
    assert_eq!(bytes[32], 0x33);
    let zeros = bytes[12..24].iter().chain(&bytes[33..56]);
    assert!(zeros.chain(&bytes[26..32]).all(|byte| *byte == 0));
    assert_eq!(FileHeader::read_from_bytes(bytes), Ok(header));
}

#[test]
fn rules_are_numbered_in_order() {
    for (number, rule) in (1..).zip(RULES) {
        assert_eq!(rule.id, format!("T{number}"));
    }
}
