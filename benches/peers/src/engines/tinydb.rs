use std::path::Path;

use tinydb::{Db, Durability, Options, Snapshot, TableWriter, WriteBatch};

use super::{Batch, Engine, Reader, Setup, Sorted};

pub struct TinyDb(Db);

impl Engine for TinyDb {
    const SETTINGS: &'static str = "default options; Buffered unless durable";
    type Reader<'e> = Snapshot;

    fn open(dir: &Path, _: Setup) -> Self {
        Self(Options::new().durability(Durability::Buffered).open(dir.join("db")).unwrap())
    }

    fn write(&self, batch: &Batch, is_durable: bool) {
        let mut rows = WriteBatch::new();
        for (key, value) in batch {
            rows.put(key, value);
        }
        let durability = if is_durable { Durability::Sync } else { Durability::Buffered };
        self.0.write_with(&rows, durability).unwrap();
    }

    fn load_sorted(&self, dir: &Path, batches: &mut Sorted<'_>) {
        let path = dir.join("sorted.table");
        let mut writer = TableWriter::create(&path, &Options::new()).unwrap();
        for (key, value) in batches.flatten() {
            writer.put(key, value).unwrap();
        }
        writer.finish().unwrap();
        self.0.ingest(&[&path]).unwrap();
        std::fs::remove_file(path).unwrap();
    }

    fn settle(&mut self) {
        self.0.compact().unwrap();
        self.0.wait_idle().unwrap();
    }

    fn reader(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn get_fresh(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.0.get(key).unwrap().map(|value| see(&value)).is_some()
    }
}

impl Reader for Snapshot {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        Snapshot::get(self, key).unwrap().map(|value| see(&value)).is_some()
    }

    fn multi_get(&self, keys: &[&[u8]], mut see: impl FnMut(&[u8])) -> bool {
        Snapshot::multi_get(self, keys).unwrap().iter().flatten().for_each(|value| see(value));
        true
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let mut cursor = self.cursor();
        let mut is_on_row = match (from, is_backward) {
            (Some(key), false) => cursor.seek(key),
            (Some(key), true) => cursor.seek_for_prev(key),
            (None, false) => cursor.seek_first(),
            (None, true) => cursor.seek_last(),
        }
        .unwrap();
        for _ in 0..count {
            if !is_on_row {
                break;
            }
            see(cursor.key(), cursor.value());
            is_on_row = if is_backward { cursor.prev() } else { cursor.next() }.unwrap();
        }
        true
    }
}
