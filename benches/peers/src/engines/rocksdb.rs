use std::path::Path;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamilyDescriptor, CompactOptions,
    DB, DBCompressionType, IngestExternalFileOptions, Options, SstFileWriter,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{Batch, Engine, Reader, Setup, Sorted};

/// The column family that there always is, by its name: `multi_get` wants a handle.
const ROWS: &str = "default";

/// LZ4, and a cache that holds all.
pub struct RocksDbCached(DB, Options);

/// No compression, and reads of a map.
pub struct RocksDbMapped(DB, Options);

pub struct RocksDbReader<'e>(&'e DB);

fn open(dir: &Path, setup: Setup, is_mapped: bool) -> (DB, Options) {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(false);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.increase_parallelism(2);
    if is_mapped {
        blocks.disable_cache();
        options.set_allow_mmap_reads(true);
        options.set_compression_type(DBCompressionType::None);
    } else {
        let cache_len = usize::try_from(setup.cache_len(64 << 20)).unwrap();
        blocks.set_block_cache(&Cache::new_lru_cache(cache_len));
        options.set_compression_type(DBCompressionType::Lz4);
    }
    options.set_block_based_table_factory(&blocks);
    let rows = ColumnFamilyDescriptor::new(ROWS, options.clone());
    (DB::open_cf_descriptors(&options, dir.join("db"), [rows]).unwrap(), options)
}

fn load_sorted(db: &DB, options: &Options, dir: &Path, batches: &mut Sorted<'_>) {
    let path = dir.join("sorted.sst");
    let mut writer = SstFileWriter::create(options);
    writer.open(&path).unwrap();
    for (key, value) in batches.flatten() {
        writer.put(key, value).unwrap();
    }
    writer.finish().unwrap();
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    db.ingest_external_file_opts(&options, vec![path]).unwrap();
}

fn write(db: &DB, batch: &Batch, is_durable: bool) {
    let mut rows = WriteBatch::default();
    for (key, value) in batch {
        rows.put(key, value);
    }
    let mut options = WriteOptions::default();
    options.set_sync(is_durable);
    db.write_opt(rows, &options).unwrap();
}

fn settle(db: &DB) {
    db.flush().unwrap();
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
    db.wait_for_compact(&WaitForCompactOptions::default()).unwrap();
}

macro_rules! engine {
    ($name:ident, $is_mapped:expr, $settings:expr) => {
        impl Engine for $name {
            const SETTINGS: &'static str = $settings;
            type Reader<'e> = RocksDbReader<'e>;

            fn open(dir: &Path, setup: Setup) -> Self {
                let (db, options) = open(dir, setup, $is_mapped);
                Self(db, options)
            }

            fn write(&self, batch: &Batch, is_durable: bool) {
                write(&self.0, batch, is_durable);
            }

            fn load_sorted(&self, dir: &Path, batches: &mut Sorted<'_>) {
                load_sorted(&self.0, &self.1, dir, batches);
            }

            fn settle(&mut self) {
                settle(&self.0);
            }

            fn reader(&self) -> RocksDbReader<'_> {
                RocksDbReader(&self.0)
            }
        }
    };
}

engine!(RocksDbCached, false, "LZ4, a cache of twice the data, Bloom filters of 10 bits a key");
engine!(
    RocksDbMapped,
    true,
    "no compression, mmap reads without a cache, Bloom filters of 10 bits a key"
);

impl Reader for RocksDbReader<'_> {
    #[inline]
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> bool {
        self.0.get_pinned(key).unwrap().map(|value| see(&value)).is_some()
    }

    fn multi_get(&self, keys: &[&[u8]], mut see: impl FnMut(&[u8])) -> bool {
        let rows = self.0.cf_handle(ROWS).unwrap();
        let values = self.0.batched_multi_get_cf(rows, keys, false);
        values.into_iter().filter_map(Result::unwrap).for_each(|value| see(&value));
        true
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        count: usize,
        is_backward: bool,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let mut rows = self.0.raw_iterator();
        match (from, is_backward) {
            (Some(key), false) => rows.seek(key),
            (Some(key), true) => rows.seek_for_prev(key),
            (None, false) => rows.seek_to_first(),
            (None, true) => rows.seek_to_last(),
        }
        for _ in 0..count {
            let Some((key, value)) = rows.item() else { break };
            see(key, value);
            if is_backward { rows.prev() } else { rows.next() }
        }
        rows.status().unwrap();
        true
    }
}
