//! `hashes.json`: hashes and checksums with their seeds, for those who write a reader, as a program
//! reads them. Each kind of checksum that the README of the spec lists is shown in a vector.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tinydb::internals::checksum::{checksum, fingerprint, hash_key};
use tinydb::internals::data_block::DataBlock;
use tinydb::internals::filter;
use tinydb::internals::log::log_seed;
use tinydb::internals::table_file::{
    REGION_FILTER, REGION_INDEX, REGION_PROPERTIES, REGION_RANGE_TOMBSTONES, REGION_VALUES,
};
use tinydb::internals::value_ref::ValueRef;
use zerocopy::FromBytes;

use super::recipe::{DATABASE_ID, FILE_ID, HASH_SEED, LOG_NUMBER};
use super::{check_file, folder, render};
use crate::python::decoded::blocks_of_table;
use crate::sums::parse;

fn hex(number: u64) -> String {
    format!("{number:#018x}")
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}

fn vector(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).expect("a vector")
}

/// Lengths at which XXH3 takes another way, and some between.
fn hashes() -> Vec<Value> {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let lens =
        [0, 1, 2, 3, 4, 8, 9, 16, 17, 32, 48, 64, 96, 128, 129, 192, 240, 241, 256, 512, 1000];
    let mut all = Vec::new();
    for len in lens.into_iter().chain([1024, 1025, 2048, 4088, 4096, 5000]) {
        for seed in [0, 1, 42, FILE_ID, u64::MAX] {
            let hash = hex(checksum(&bytes[..len], seed));
            all.push(json!({ "bytes": len, "seed": hex(seed), "hash": hash }));
        }
    }
    all
}

fn keys() -> Vec<Vec<u8>> {
    let texts = ["", "a", "key", "apple", "user:0000000042:profile"];
    let long = [40, 65_535].map(|len| vec![b'k'; len]);
    texts.map(|text| text.as_bytes().to_vec()).into_iter().chain(long).collect()
}

fn key_hashes() -> Vec<Value> {
    let of = |seed: u64| {
        keys().into_iter().map(move |key| {
            let hash = hash_key(&key, seed);
            // A long key is one letter over and over.
            let (text, times) = if key.len() < 40 { (&key[..], 1) } else { (&b"k"[..], key.len()) };
            json!({
                "text": String::from_utf8_lossy(text), "times": times, "hash_seed": hex(seed),
                "hash": hex(hash), "fingerprint": fingerprint(hash),
            })
        })
    };
    [0, HASH_SEED].into_iter().flat_map(of).collect()
}

fn filter_bits() -> Vec<Value> {
    let of_keys = keys().into_iter().map(|key| hash_key(&key, HASH_SEED));
    let mut all = Vec::new();
    for hash in [0, 1, 0x8000_0000_FFFF_FFFF, u64::MAX].into_iter().chain(of_keys) {
        for count in [1, 2, 1000, u32::MAX] {
            let bits: Vec<u32> =
                filter::mask(hash).iter().map(|word| word.trailing_zeros()).collect();
            let block = filter::block_of(hash, count);
            all.push(json!({
                "hash": hex(hash), "block_count": count, "block": block, "bits": bits,
            }));
        }
    }
    all
}

/// A checksum of a vector: what is covered, the seed, and where it is stored.
fn sum(what: &str, file: &str, covered: (usize, usize), seed: u64, stored: (&str, usize)) -> Value {
    let (start, end) = covered;
    let found = checksum(&vector(file)[start..end], seed);
    let (stored_in, at) = stored;
    let stored: [u8; 8] = vector(stored_in)[at..at + 8].try_into().expect("eight bytes");
    assert_eq!(u64::from_le_bytes(stored), found, "{what} in {file}");
    json!({
        "what": what, "file": file, "start": start, "end": end, "seed": hex(seed),
        "checksum": hex(found), "stored_in": stored_in, "stored_at": at,
    })
}

fn checksums_of_tables() -> Vec<Value> {
    let mut all = Vec::new();
    let minimal = "table-minimal.bin";
    let len = vector(minimal).len();
    all.push(sum("header of a table", minimal, (0, 56), 0, (minimal, 56)));
    let footer = (len - 4096, len - 8);
    all.push(sum("footer of a table", minimal, footer, FILE_ID, (minimal, len - 8)));
    for (at, len) in blocks_of_table(&vector("table-columns-packed.bin")).into_iter().take(2) {
        let file = "table-columns-packed.bin";
        all.push(sum("data block", file, (at + 8, at + len), FILE_ID ^ at as u64, (file, at)));
    }
    for (kind, file) in
        [(REGION_FILTER, "table-spanning.bin"), (REGION_INDEX, "table-long-keys.bin")]
    {
        let frame = parse(&vector(file)).expect("a table");
        let region = frame.region(kind).expect("the region");
        let (start, len) = (size(region.offset.get()), size(region.len.get()));
        for (number, at) in (start..start + len).step_by(4096).enumerate() {
            let range = (at, (at + 4096).min(start + len));
            let stored = (file, start + len.next_multiple_of(8) + 8 * number);
            let what = "chunk of index or filter";
            all.push(sum(what, file, range, FILE_ID ^ at as u64, stored));
        }
    }
    for kind in [REGION_PROPERTIES, REGION_RANGE_TOMBSTONES] {
        let file = "table-range-tombstones.bin";
        let bytes = vector(file);
        let frame = parse(&bytes).expect("a table");
        let number = frame.regions.iter().position(|it| it.kind.get() == kind).expect("the region");
        let region = &frame.regions[number];
        let (start, len) = (size(region.offset.get()), size(region.len.get()));
        let stored = (file, bytes.len() - 4096 + 80 + 32 * number + 24);
        let what = "properties, range tombstones of a table";
        all.push(sum(what, file, (start, start + len), FILE_ID ^ start as u64, stored));
    }
    all
}

fn checksums_of_values() -> Vec<Value> {
    let file = "table-long-values.bin";
    let bytes = vector(file);
    let frame = parse(&bytes).expect("a table");
    let values = size(frame.region(REGION_VALUES).expect("long values").offset.get());
    let mut all = Vec::new();
    for (at, _) in blocks_of_table(&bytes) {
        let block = DataBlock::parse(&bytes[at..]).expect("a block");
        for row in 0..block.layout().row_count() {
            if !block.kind(row).expect("a kind").1 {
                continue;
            }
            let place = at + block.value_range(row).expect("a value").start;
            let (reference, _) = ValueRef::read_from_prefix(&bytes[place..]).expect("a reference");
            let (offset, len) = (reference.offset.get(), reference.len.get() as usize);
            let start = values + size(offset);
            let stored = (file, place + 16);
            all.push(sum("long value", file, (start, start + len), FILE_ID ^ offset, stored));
        }
    }
    all
}

fn checksums_of_logs_and_manifests() -> Vec<Value> {
    let (log, manifest) = ("log-clean.bin", "manifest-tables.bin");
    let seed = log_seed(DATABASE_ID, LOG_NUMBER);
    let headers = "header of a log or a manifest";
    let mut all = vec![
        sum(headers, log, (0, 120), 0, (log, 120)),
        sum(headers, manifest, (0, 120), 0, (manifest, 120)),
        sum("operator's name in a log", log, (128, 136), 0, (log, 112)),
        sum("body of a manifest", manifest, (128, vector(manifest).len()), 0, (manifest, 112)),
    ];
    for (at, payload_len) in [(136, 19), (208, 72)] {
        let header = (at + 8, at + 48);
        all.push(sum("record header of a log", log, header, seed ^ at as u64, (log, at)));
        let payload = (at + 48, at + 48 + payload_len);
        all.push(sum("payload of a record", log, payload, seed ^ at as u64, (log, at + 8)));
    }
    let (table, newest) = ("databases/levels/TABLE-000014", "databases/levels/MANIFEST-000020");
    let file_id = u64::from_le_bytes(vector(newest)[144..152].try_into().expect("eight bytes"));
    let whole = (0, vector(table).len());
    all.push(sum("whole table, in the manifest", table, whole, file_id, (newest, 128 + 32)));
    all
}

#[test]
fn hashes_are_those_that_the_vectors_hold() {
    let checksums =
        [checksums_of_tables(), checksums_of_values(), checksums_of_logs_and_manifests()].concat();
    let readme = fs::read_to_string(folder().join("../README.md")).expect("README.md");
    let table = readme.split("| What | Covers | Seed |\n").nth(1).expect("the table of checksums");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<&str> =
        rows.map(|row| row.split('|').nth(1).expect("a cell").trim()).collect();
    let shown: BTreeSet<&str> =
        checksums.iter().map(|it| it["what"].as_str().expect("a name")).collect();
    assert_eq!(listed, shown, "checksums that the README lists, and that are shown");
    let log_seeds = [(DATABASE_ID, LOG_NUMBER), (0, 0), (u64::MAX, 1)].map(|(id, number)| {
        json!({ "database_id": hex(id), "log_number": number, "seed": hex(log_seed(id, number)) })
    });
    let all = json!({
        "checksums": checksums,
        "filter": filter_bits(),
        "keys": key_hashes(),
        "log_seeds": log_seeds,
        "xxh3": hashes(),
    });
    check_file(&folder().join("hashes.json"), (render(&all, 0) + "\n").as_bytes());
}
