use std::path::Path;

use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition,
};

use super::{Batch, Engine, Reader, Setup};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

pub struct Redb(Database);

pub struct RedbReader {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    _txn: ReadTransaction,
}

impl Engine for Redb {
    const SETTINGS: &'static str =
        "a cache of twice the data; Durability::None unless durable; one read transaction held";
    type Reader<'e> = RedbReader;

    fn open(dir: &Path, setup: Setup) -> Self {
        let cache_len = usize::try_from(setup.cache_len(256 << 20)).unwrap();
        let db = Database::builder().set_cache_size(cache_len).create(dir.join("db")).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(TABLE).unwrap();
        txn.commit().unwrap();
        Self(db)
    }

    fn write(&self, batch: &Batch, is_durable: bool) {
        let mut txn = self.0.begin_write().unwrap();
        let durability = if is_durable { Durability::Immediate } else { Durability::None };
        txn.set_durability(durability).unwrap();
        {
            let mut table = txn.open_table(TABLE).unwrap();
            for (key, value) in batch {
                table.insert(key.as_slice(), value.as_slice()).unwrap();
            }
        }
        txn.commit().unwrap();
    }

    fn settle(&mut self) {
        // What is not durable yet stands in the way.
        self.0.begin_write().unwrap().commit().unwrap();
        self.0.compact().unwrap();
    }

    fn reader(&self) -> RedbReader {
        let txn = self.0.begin_read().unwrap();
        RedbReader { table: txn.open_table(TABLE).unwrap(), _txn: txn }
    }
}

impl Reader for RedbReader {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.table.get(key).unwrap().map(|value| see(value.value())).is_some()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let rows = match (from, is_backward) {
            (Some(key), false) => self.table.range(key..),
            (Some(key), true) => self.table.range(..=key),
            (None, _) => self.table.range::<&[u8]>(..),
        }
        .unwrap();
        if is_backward {
            rows.rev().take(count).map(Result::unwrap).for_each(|(k, v)| see(k.value(), v.value()));
        } else {
            rows.take(count).map(Result::unwrap).for_each(|(k, v)| see(k.value(), v.value()));
        }
        true
    }
}
