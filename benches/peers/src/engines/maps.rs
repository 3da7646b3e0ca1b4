//! The maps of the standard library, behind a lock that a reader holds: the least that a lookup in
//! memory costs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::sync::{RwLock, RwLockReadGuard};

use super::{Batch, Engine, Reader, Setup};

type Bytes = Vec<u8>;

#[derive(Default)]
pub struct Hash(RwLock<HashMap<Bytes, Bytes>>);

#[derive(Default)]
pub struct BTree(RwLock<BTreeMap<Bytes, Bytes>>);

pub struct HashReader<'e>(RwLockReadGuard<'e, HashMap<Bytes, Bytes>>);
pub struct BTreeReader<'e>(RwLockReadGuard<'e, BTreeMap<Bytes, Bytes>>);

impl Engine for Hash {
    const SETTINGS: &'static str = "in memory only, a read lock held";
    const IS_PERSISTENT: bool = false;
    type Reader<'e> = HashReader<'e>;

    fn open(_: &Path, _: Setup) -> Self {
        Self::default()
    }

    fn write(&self, batch: &Batch, _: bool) {
        self.0.write().unwrap().extend(batch.iter().cloned());
    }

    fn settle(&mut self) {}

    fn reader(&self) -> HashReader<'_> {
        HashReader(self.0.read().unwrap())
    }
}

impl Engine for BTree {
    const SETTINGS: &'static str = "in memory only, a read lock held";
    const IS_PERSISTENT: bool = false;
    type Reader<'e> = BTreeReader<'e>;

    fn open(_: &Path, _: Setup) -> Self {
        Self::default()
    }

    fn write(&self, batch: &Batch, _: bool) {
        self.0.write().unwrap().extend(batch.iter().cloned());
    }

    fn settle(&mut self) {}

    fn reader(&self) -> BTreeReader<'_> {
        BTreeReader(self.0.read().unwrap())
    }
}

impl Reader for HashReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.0.get(key).map(|value| see(value)).is_some()
    }

    fn scan(&self, _: Option<&[u8]>, _: usize, _: bool, _: impl FnMut(&[u8], &[u8])) -> bool {
        false
    }
}

impl Reader for BTreeReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.0.get(key).map(|value| see(value)).is_some()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let bound = from.map_or(Bound::Unbounded, Bound::Included);
        if is_backward {
            let rows = self.0.range::<[u8], _>((Bound::Unbounded, bound));
            rows.rev().take(count).for_each(|(key, value)| see(key, value));
        } else {
            let rows = self.0.range::<[u8], _>((bound, Bound::Unbounded));
            rows.take(count).for_each(|(key, value)| see(key, value));
        }
        true
    }
}
