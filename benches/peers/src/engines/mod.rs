//! The engines, each behind the same two traits.
//!
//! A failure of an engine ends its process with what it said: a figure of a failed call would be
//! worth nothing.

use std::path::Path;

mod fjall;
mod lmdb;
mod maps;
mod mdbx;
mod redb;
mod rocksdb;
mod sled;
mod tinydb;

pub use self::fjall::Fjall;
pub use self::lmdb::Lmdb;
pub use self::maps::{BTree, Hash};
pub use self::mdbx::Mdbx;
pub use self::redb::Redb;
pub use self::rocksdb::{RocksDbCached, RocksDbMapped};
pub use self::sled::Sled;
pub use self::tinydb::TinyDb;

/// Keys and values of a batch.
pub type Batch = [(Vec<u8>, Vec<u8>)];

/// Batches of rows that come in the order of their keys.
pub type Sorted<'b> = dyn Iterator<Item = Vec<(Vec<u8>, Vec<u8>)>> + 'b;

/// How an engine should be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Bytes of all keys and values.
    pub user_bytes: u64,
    /// Bytes of memory that there are for them, the page cache included, if that is less.
    pub memory: Option<u64>,
}

impl Setup {
    /// What a cache may take: twice the data and `more`, or half of the memory.
    fn cache_len(self, more: u64) -> u64 {
        self.memory.map_or(self.user_bytes * 2 + more, |memory| memory / 2)
    }
}

/// A store of keys and values.
pub trait Engine: Sync + Sized {
    /// How it is set up, for the reader of the figures.
    const SETTINGS: &'static str;
    /// Whether what is written outlives the process.
    const IS_PERSISTENT: bool = true;
    /// A held transaction or snapshot.
    type Reader<'e>: Reader
    where
        Self: 'e;

    fn open(dir: &Path, setup: Setup) -> Self;
    /// Writes a batch; until a crash of the process, or also of the machine.
    fn write(&self, batch: &Batch, is_durable: bool);
    /// Writes into an empty store what comes in the order of its keys, the way that is made for this;
    /// `dir` is for files of its own.
    fn load_sorted(&self, _dir: &Path, batches: &mut Sorted<'_>) {
        batches.for_each(|batch| self.write(&batch, false));
    }
    /// Does all that it would do by itself if nobody called, and merges what can be merged.
    fn settle(&mut self);
    fn reader(&self) -> Self::Reader<'_>;
    /// A get that holds nothing before and after.
    fn get_fresh(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.reader().get(key, see)
    }
}

/// Reads of one moment.
pub trait Reader {
    /// Shows the value; whether there is one.
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool;
    /// Shows the values of many keys; false if the engine has no such call.
    fn multi_get(&self, _keys: &[&[u8]], _see: impl FnMut(&[u8])) -> bool {
        false
    }
    /// Shows up to `count` rows from a key on, or from the end; false if the engine has no order.
    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        see: impl FnMut(&[u8], &[u8]),
    ) -> bool;
}
