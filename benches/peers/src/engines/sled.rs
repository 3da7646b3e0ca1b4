use std::path::Path;

use super::{Engine, Reader, Setup};

pub struct Sled(sled::Db);

pub struct SledReader<'e>(&'e sled::Db);

impl Engine for Sled {
    const SETTINGS: &'static str = "a cache of twice the data, HighThroughput";
    type Reader<'e> = SledReader<'e>;

    fn open(dir: &Path, setup: Setup) -> Self {
        let cache_len = setup.cache_len(64 << 20);
        let config = sled::Config::new().path(dir.join("db")).cache_capacity(cache_len);
        Self(config.mode(sled::Mode::HighThroughput).open().unwrap())
    }

    fn write(&self, batch: &super::Batch, is_durable: bool) {
        let mut rows = sled::Batch::default();
        for (key, value) in batch {
            rows.insert(key.as_slice(), value.as_slice());
        }
        self.0.apply_batch(rows).unwrap();
        if is_durable {
            self.0.flush().unwrap();
        }
    }

    fn settle(&mut self) {
        self.0.flush().unwrap();
    }

    fn reader(&self) -> SledReader<'_> {
        SledReader(&self.0)
    }
}

impl Reader for SledReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.0.get(key).unwrap().map(|value| see(&value)).is_some()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let rows = match (from, is_backward) {
            (Some(key), false) => self.0.range(key..),
            (Some(key), true) => self.0.range(..=key),
            (None, _) => self.0.iter(),
        };
        if is_backward {
            rows.rev().take(count).map(Result::unwrap).for_each(|(k, v)| see(&k, &v));
        } else {
            rows.take(count).map(Result::unwrap).for_each(|(k, v)| see(&k, &v));
        }
        true
    }
}
