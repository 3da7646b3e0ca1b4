use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithoutTls};

use super::{Batch, Engine, Reader, Setup, Sorted};

type Table = Database<Bytes, Bytes>;

pub struct Lmdb {
    env: Env<WithoutTls>,
    table: Table,
}

pub struct LmdbReader<'e> {
    txn: RoTxn<'e, WithoutTls>,
    table: Table,
}

impl Engine for Lmdb {
    const SETTINGS: &'static str =
        "NOSYNC, and a sync of its own for a durable write; one read transaction held";
    type Reader<'e> = LmdbReader<'e>;

    fn open(dir: &Path, setup: Setup) -> Self {
        let map_len = usize::try_from(setup.user_bytes * 4 + (1 << 30)).unwrap();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_len.next_multiple_of(1 << 20)).max_readers(64);
        // SAFETY: nobody else has this directory, and without syncs only a crash of the machine
        // could break the file.
        let env = unsafe {
            let mut flags = EnvFlags::NO_SYNC;
            // As its documentation advises where the data outgrows memory.
            flags.set(EnvFlags::NO_READ_AHEAD, setup.memory.is_some());
            options.flags(flags);
            options.open(dir).unwrap()
        };
        let mut txn = env.write_txn().unwrap();
        let table = env.create_database(&mut txn, None).unwrap();
        txn.commit().unwrap();
        Self { env, table }
    }

    fn write(&self, batch: &Batch, is_durable: bool) {
        let mut txn = self.env.write_txn().unwrap();
        for (key, value) in batch {
            self.table.put(&mut txn, key, value).unwrap();
        }
        txn.commit().unwrap();
        if is_durable {
            self.env.force_sync().unwrap();
        }
    }

    fn load_sorted(&self, _: &Path, batches: &mut Sorted<'_>) {
        for batch in batches {
            let mut txn = self.env.write_txn().unwrap();
            for (key, value) in &batch {
                self.table.put_with_flags(&mut txn, PutFlags::APPEND, key, value).unwrap();
            }
            txn.commit().unwrap();
        }
    }

    fn settle(&mut self) {
        self.env.force_sync().unwrap();
    }

    fn reader(&self) -> LmdbReader<'_> {
        LmdbReader { txn: self.env.read_txn().unwrap(), table: self.table }
    }
}

impl Reader for LmdbReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.table.get(&self.txn, key).unwrap().map(see).is_some()
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
            let range = (Bound::Unbounded, bound);
            let rows = self.table.rev_range(&self.txn, &range).unwrap();
            rows.take(count).map(Result::unwrap).for_each(|(key, value)| see(key, value));
        } else {
            let range = (bound, Bound::Unbounded);
            let rows = self.table.range(&self.txn, &range).unwrap();
            rows.take(count).map(Result::unwrap).for_each(|(key, value)| see(key, value));
        }
        true
    }
}
