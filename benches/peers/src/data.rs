//! The data: keys of several shapes, values that a checksum can be told of without keeping them.
//!
//! Everything follows from a row's number and the seed, so that each process makes the same.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What keys look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyShape {
    /// `user:0000012345:profile`
    User,
    /// 64 bytes that all keys share, then a number of ten digits.
    LongPrefix,
    /// 16 random bytes.
    Random,
    /// A number in eight bytes.
    Integer,
    /// A random tenant of 16 bytes, one of a hundred, then a number in eight bytes.
    Tenant,
}

/// What every process of a run knows.
#[derive(Clone, Debug)]
pub struct Data {
    pub rows: u32,
    pub value_len: usize,
    pub keys: KeyShape,
    pub seed: u64,
}

impl Data {
    /// The key of a row. Rows beyond `rows` have keys too: absent ones.
    pub fn key(&self, row: u32) -> Vec<u8> {
        match self.keys {
            KeyShape::User => format!("user:{row:010}:profile").into_bytes(),
            KeyShape::LongPrefix => format!("{}{row:010}", "shared/".repeat(9) + "/").into_bytes(),
            KeyShape::Random => self.random(row, 1).random::<[u8; 16]>().to_vec(),
            KeyShape::Integer => u64::from(row).to_be_bytes().to_vec(),
            KeyShape::Tenant => {
                let tenant: [u8; 16] = self.random(row % 100, 2).random();
                [&tenant[..], &u64::from(row).to_be_bytes()].concat()
            }
        }
    }

    /// The value of a row: half of it random, half of it not.
    pub fn value(&self, row: u32) -> Vec<u8> {
        let mut value = vec![b'.'; self.value_len];
        let half = self.value_len / 2;
        self.random(row, 3).fill(&mut value[..half]);
        value
    }

    fn random(&self, row: u32, what: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (u64::from(row) << 8) ^ what)
    }

    /// Bytes of all keys and values.
    pub fn user_bytes(&self) -> u64 {
        u64::from(self.rows) * (self.key(0).len() + self.value_len) as u64
    }

    /// All rows in random order.
    pub fn shuffled(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.rows).collect();
        rows.shuffle(&mut StdRng::seed_from_u64(self.seed));
        rows
    }

    /// All rows in the order of their keys.
    pub fn sorted(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.rows).collect();
        if !matches!(self.keys, KeyShape::User | KeyShape::LongPrefix | KeyShape::Integer) {
            rows.sort_by_cached_key(|row| self.key(*row));
        }
        rows
    }

    /// Rows for requests without an end, uniform.
    pub fn rows_at_random(&self, round: u64) -> impl Iterator<Item = u32> + use<> {
        let (mut rng, rows) = (StdRng::seed_from_u64(self.seed ^ 0x5eed ^ round), self.rows);
        std::iter::repeat_with(move || rng.random_range(0..rows))
    }

    /// Requests for rows: uniform, or as Zipf has it with exponent `theta`.
    pub fn requests(&self, count: usize, theta: Option<f64>, round: u64) -> Requests {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x5eed ^ round);
        let zipf = theta.map(|theta| Zipf::new(self.rows, theta));
        let rows = (0..count).map(|_| match &zipf {
            // The frequent ones lie anywhere: a hash of the rank.
            Some(zipf) => scatter(zipf.draw(&mut rng), self.rows),
            None => rng.random_range(0..self.rows),
        });
        let rows: Vec<u32> = rows.collect();
        Requests::new(self, &rows)
    }

    /// Requests for keys between those that are there.
    pub fn absent(&self, count: usize, round: u64) -> Requests {
        let mut requests = self.requests(count, None, round);
        for key in &mut requests.keys {
            // Sorts behind its neighbor and before the next one.
            key.push(0);
        }
        requests.checksum = 0;
        requests
    }
}

/// Keys to ask for, and what the values together must add up to.
pub struct Requests {
    pub keys: Vec<Vec<u8>>,
    pub rows: Vec<u32>,
    pub checksum: u64,
}

impl Requests {
    fn new(data: &Data, rows: &[u32]) -> Self {
        let keys = rows.iter().map(|row| data.key(*row)).collect();
        let checksum = rows.iter().map(|row| touch(&data.value(*row))).fold(0, u64::wrapping_add);
        Self { keys, rows: rows.to_vec(), checksum }
    }

    /// The keys back to back, so that asking costs no cache miss of its own.
    pub fn packed(&self) -> Packed {
        Packed { bytes: self.keys.concat(), lens: self.keys.iter().map(Vec::len).collect() }
    }
}

/// Keys back to back.
pub struct Packed {
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

impl Packed {
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lens.iter().map(move |len| {
            let (key, tail) = rest.split_at(*len);
            rest = tail;
            key
        })
    }

    pub fn len(&self) -> usize {
        self.lens.len()
    }
}

/// Loads every cache line of a value and adds up what is there.
#[inline]
pub fn touch(value: &[u8]) -> u64 {
    let lines = value.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>();
    lines + u64::from(value.last().copied().unwrap_or(0)) + value.len() as u64
}

/// Ranks as Zipf has it, by rejection-inversion.
///
/// Source: Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone
/// discrete distributions".
struct Zipf {
    theta: f64,
    count: f64,
    first: f64,
    last: f64,
}

impl Zipf {
    fn new(count: u32, theta: f64) -> Self {
        let count = f64::from(count);
        let integral = |x: f64| x.powf(1.0 - theta) / (1.0 - theta);
        Self { theta, count, first: integral(1.5) - 1.0, last: integral(count + 0.5) }
    }

    fn draw(&self, rng: &mut StdRng) -> u32 {
        let integral = |x: f64| x.powf(1.0 - self.theta) / (1.0 - self.theta);
        loop {
            let u = self.last + rng.random::<f64>() * (self.first - self.last);
            let x = ((1.0 - self.theta) * u).powf(1.0 / (1.0 - self.theta));
            let rank = x.round().clamp(1.0, self.count);
            if u >= integral(rank + 0.5) - rank.powf(-self.theta) {
                return rank as u32 - 1;
            }
        }
    }
}

fn scatter(rank: u32, rows: u32) -> u32 {
    let mixed = u64::from(rank).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) % u64::from(rows)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(keys: KeyShape) -> Data {
        Data { rows: 5_000, value_len: 100, keys, seed: 3 }
    }

    #[test]
    fn keys_are_all_different_and_absent_ones_are_not_among_them() {
        use KeyShape::*;
        for shape in [User, LongPrefix, Random, Integer, Tenant] {
            let data = data(shape);
            let keys: std::collections::BTreeSet<_> = (0..data.rows).map(|r| data.key(r)).collect();
            assert_eq!(keys.len(), 5_000, "{shape:?}");
            assert!(data.absent(500, 1).keys.iter().all(|key| !keys.contains(key)), "{shape:?}");
            let sorted = data.sorted().into_iter().map(|row| data.key(row));
            assert!(sorted.eq(keys), "{shape:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_data() {
        let data = data(KeyShape::User);
        assert_eq!(data.value(7), data.value(7));
        assert_ne!(data.value(7), data.value(8));
        assert_eq!(data.requests(100, Some(0.99), 1).rows, data.requests(100, Some(0.99), 1).rows);
        assert_ne!(data.requests(100, None, 1).rows, data.requests(100, None, 2).rows);
    }

    #[test]
    fn zipf_prefers_low_ranks_and_stays_in_range() {
        let (zipf, mut rng) = (Zipf::new(1_000, 0.99), StdRng::seed_from_u64(1));
        let ranks: Vec<u32> = (0..100_000).map(|_| zipf.draw(&mut rng)).collect();
        assert!(ranks.iter().all(|rank| *rank < 1_000));
        let share = |rank| ranks.iter().filter(|it| **it == rank).count() as f64 / 100_000.0;
        // The sum of 1/k^0.99 up to 1,000 is about 7.7.
        assert!((0.12..0.14).contains(&share(0)), "{}", share(0));
        assert!((0.058..0.072).contains(&share(1)), "{}", share(1));
    }

    #[test]
    fn a_checksum_sees_every_line() {
        for at in [0, 64, 99] {
            let (zeros, mut other) = ([0; 100], [0; 100]);
            other[at] = 1;
            assert_ne!(touch(&zeros), touch(&other));
        }
    }
}
