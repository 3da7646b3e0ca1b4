//! What does a probe of the filter cost, against the `bloomfilter` crate?
//!
//! Data: filters of 1 M keys at 10 bits each, probed in random order with the same hashes. The
//! crate is the oracle of the size; it can't be read in place and so would make opening O(filter).

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time, asks the system, and prints ratios"
)]

use std::hint::black_box;

use bloomfilter::Bloom;
use criterion::{Criterion, criterion_group, criterion_main};
use tinydb::internals::checksum::hash_key;
use tinydb::internals::filter::{Filter, build};

#[path = "data/mod.rs"]
mod data;

use data::{Requests, absent_key, key, rows};

fn probes(requests: &Requests, mut probe: impl FnMut(&[u8]) -> bool) -> u64 {
    let mut count = 0;
    for key in requests.iter() {
        black_box(probe(key));
        count += 1;
    }
    count
}

fn filter(c: &mut Criterion) {
    let hashes: Vec<u64> = (0..rows()).map(|row| hash_key(&key(row), 9)).collect();
    let region = build(&hashes, 10 * rows() as u64);
    let own = Filter::parse(&region).expect("a filter as built");
    let mut peer = Bloom::<[u8]>::new_with_seed(10 * rows() / 8, rows(), &[7; 32])
        .expect("a filter of legal size");
    (0..rows()).for_each(|row| peer.set(&key(row)));
    let (present, absent) = (Requests::new(rows(), key), Requests::new(rows(), absent_key));

    let mut group = c.benchmark_group("filter");
    group.sample_size(10);
    for (name, requests) in [("hit", &present), ("absent", &absent)] {
        let mut keys = requests.cycle();
        group.bench_function(format!("split_block/{name}"), |b| {
            b.iter(|| own.may_contain(hash_key(keys.next().expect("an endless cycle"), 9)));
        });
        let mut keys = requests.cycle();
        group.bench_function(format!("bloomfilter/{name}"), |b| {
            b.iter(|| peer.check(keys.next().expect("an endless cycle")));
        });
    }
    group.finish();

    let false_positives = |probe: &dyn Fn(&[u8]) -> bool| {
        absent.iter().filter(|key| probe(key)).count() as f64 * 100.0 / rows() as f64
    };
    println!(
        "false positives at 10 bits a key: split block {:.2} %, bloomfilter {:.2} %",
        false_positives(&|key| own.may_contain(hash_key(key, 9))),
        false_positives(&|key| peer.check(key)),
    );
    let medians = data::in_turn(
        9,
        &mut [
            (
                "split block, hit",
                Box::new(|| probes(&present, |k| own.may_contain(hash_key(k, 9)))),
            ),
            (
                "split block, absent",
                Box::new(|| probes(&absent, |k| own.may_contain(hash_key(k, 9)))),
            ),
            ("bloomfilter, hit", Box::new(|| probes(&present, |k| peer.check(k)))),
            ("bloomfilter, absent", Box::new(|| probes(&absent, |k| peer.check(k)))),
        ],
    );
    if let [hit, absent, peer_hit, peer_absent] = medians[..] {
        println!("hit / bloomfilter {:.2}, absent {:.2}", hit / peer_hit, absent / peer_absent);
    }
}

criterion_group!(benches, filter);
criterion_main!(benches);
