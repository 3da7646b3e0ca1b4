use std::path::Path;

use fjall::config::PinningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::{Batch, Engine, Reader, Setup, Sorted};

pub struct Fjall {
    db: Database,
    rows: Keyspace,
}

pub struct FjallReader<'e> {
    snapshot: Snapshot,
    rows: &'e Keyspace,
}

impl Engine for Fjall {
    const SETTINGS: &'static str =
        "LZ4, a cache of twice the data, filters and indexes pinned; a snapshot held";
    type Reader<'e> = FjallReader<'e>;

    fn open(dir: &Path, setup: Setup) -> Self {
        let cache_len = setup.cache_len(64 << 20);
        let db = Database::builder(dir.join("db")).cache_size(cache_len).open().unwrap();
        let options = || {
            KeyspaceCreateOptions::default()
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .index_block_pinning_policy(PinningPolicy::all(true))
        };
        let rows = db.keyspace("rows", options).unwrap();
        Self { db, rows }
    }

    fn write(&self, batch: &Batch, is_durable: bool) {
        let mut rows = self.db.batch();
        for (key, value) in batch {
            rows.insert(&self.rows, key.as_slice(), value.as_slice());
        }
        // Without a mode the rows stay in a buffer of the process, and a kill loses them.
        let mode = if is_durable { PersistMode::SyncData } else { PersistMode::Buffer };
        rows.durability(Some(mode)).commit().unwrap();
    }

    fn load_sorted(&self, _: &Path, batches: &mut Sorted<'_>) {
        let mut ingestion = self.rows.start_ingestion().unwrap();
        for (key, value) in batches.flatten() {
            ingestion.write(key, value).unwrap();
        }
        ingestion.finish().unwrap();
    }

    fn settle(&mut self) {
        self.rows.rotate_memtable_and_wait().unwrap();
        self.rows.major_compact().unwrap();
    }

    fn reader(&self) -> FjallReader<'_> {
        FjallReader { snapshot: self.db.snapshot(), rows: &self.rows }
    }

    fn get_fresh(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.rows.get(key).unwrap().map(|value| see(&value)).is_some()
    }
}

impl Reader for FjallReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.snapshot.get(self.rows, key).unwrap().map(|value| see(&value)).is_some()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let rows = match (from, is_backward) {
            (Some(key), false) => self.snapshot.range(self.rows, key..),
            (Some(key), true) => self.snapshot.range(self.rows, ..=key),
            (None, _) => self.snapshot.iter(self.rows),
        };
        let mut show = |row: fjall::Guard| {
            let (key, value) = row.into_inner().unwrap();
            see(&key, &value);
        };
        if is_backward {
            rows.rev().take(count).for_each(&mut show);
        } else {
            rows.take(count).for_each(&mut show);
        }
        true
    }
}
