use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use libmdbx::{
    Database, DatabaseOptions, Mode, NoWriteMap, RO, ReadWriteOptions, SyncMode, Transaction,
    WriteFlags,
};

use super::{Batch, Engine, Reader, Setup, Sorted};

/// The database, and how often it was written to.
pub struct Mdbx(Database<NoWriteMap>, AtomicU32);

pub struct MdbxReader<'e>(Transaction<'e, RO, NoWriteMap>);

type Row<'t> = (Cow<'t, [u8]>, Cow<'t, [u8]>);

impl Mdbx {
    fn put(&self, batch: &Batch, flags: WriteFlags, is_durable: bool) {
        let txn = self.0.begin_rw_txn().unwrap();
        let table = txn.open_table(None).unwrap();
        for (key, value) in batch {
            txn.put(&table, key, value, flags).unwrap();
        }
        txn.commit().unwrap();
        if is_durable || self.1.fetch_add(1, Relaxed) % 500 == 499 {
            self.0.sync(true).unwrap();
        }
    }
}

impl Engine for Mdbx {
    const SETTINGS: &'static str = "SAFE_NOSYNC, a sync every 500 writes, or it would use no page twice, and for a durable one; a read transaction held";
    type Reader<'e> = MdbxReader<'e>;

    fn open(dir: &Path, setup: Setup) -> Self {
        let max_size = isize::try_from(setup.user_bytes * 8 + (1 << 30)).unwrap();
        let read_write = ReadWriteOptions {
            sync_mode: SyncMode::SafeNoSync,
            max_size: Some(max_size),
            growth_step: Some(16 << 20),
            ..ReadWriteOptions::default()
        };
        let options = DatabaseOptions {
            mode: Mode::ReadWrite(read_write),
            no_rdahead: setup.memory.is_some(),
            ..Default::default()
        };
        Self(Database::open_with_options(dir, options).unwrap(), AtomicU32::new(0))
    }

    fn write(&self, batch: &Batch, is_durable: bool) {
        self.put(batch, WriteFlags::UPSERT, is_durable);
    }

    fn load_sorted(&self, _: &Path, batches: &mut Sorted<'_>) {
        batches.for_each(|batch| self.put(&batch, WriteFlags::APPEND, false));
    }

    fn settle(&mut self) {
        self.0.sync(true).unwrap();
    }

    fn reader(&self) -> MdbxReader<'_> {
        MdbxReader(self.0.begin_ro_txn().unwrap())
    }
}

impl Reader for MdbxReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        let table = self.0.open_table(None).unwrap();
        let value: Option<Cow<'_, [u8]>> = self.0.get(&table, key).unwrap();
        value.map(|value| see(&value)).is_some()
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let table = self.0.open_table(None).unwrap();
        let mut cursor = self.0.cursor(&table).unwrap();
        let mut row: Option<Row<'_>> = match (from, is_backward) {
            (None, false) => cursor.first().unwrap(),
            (None, true) => cursor.last().unwrap(),
            (Some(key), _) => {
                let found: Option<Row<'_>> = cursor.set_range(key).unwrap();
                let is_at = found.as_ref().is_some_and(|row| &*row.0 == key);
                match found {
                    found if !is_backward || is_at => found,
                    Some(_) => cursor.prev().unwrap(),
                    None => cursor.last().unwrap(),
                }
            }
        };
        for _ in 0..count {
            let Some((key, value)) = &row else { break };
            see(key, value);
            row = if is_backward { cursor.prev() } else { cursor.next() }.unwrap();
        }
        true
    }
}
