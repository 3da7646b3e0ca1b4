//! The read path: memtables, then tables, newest first; the first hit decides.
//!
//! # Cost
//!
//! Of each run that can hold the key: a memtable is searched; a table is asked whether its key
//! range covers the key, then its filter, and only then its index and one block. No lock, no
//! allocation, no shared write.
//!
//! Spec: `format-spec/03-table.md`, "Point lookup". I/O: page faults of maps. Unsafe: none.

use std::sync::Arc;

use bytes::Bytes;

use super::run::PlainRun;
use super::view::View;
use crate::cursor::{MergingCursor, VisibleCursor};
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::format::row::Kind;
use crate::hooks::{Clock, now_secs};
use crate::memtable::{Memtable, MemtableCursor};
use crate::storage::Slice;
use crate::table::{Table, TableCursor};
use crate::value::{INLINE_LEN, Value};

/// As many filter lines are asked for at once: about as many as level 0 has tables at rest.
const PREFETCH_COUNT: usize = 4;

/// A read that folds more operands asks for a flush, which folds them once and for all.
const MAX_OPERAND_COUNT: usize = 1024;

/// What "now" is for a read.
#[derive(Clone, Copy)]
pub(crate) enum Now<'c> {
    /// A snapshot fixed it, in seconds since 1970.
    Fixed(u64),
    /// It is asked for only if a row expires at all.
    Clock(&'c dyn Clock),
}

impl Now<'_> {
    /// In seconds since 1970.
    fn secs(self) -> u64 {
        match self {
            Self::Fixed(now) => now,
            Self::Clock(clock) => now_secs(clock),
        }
    }

    /// Whether a row with this expiry is absent by now.
    #[inline]
    fn is_after(self, expires_at: u64) -> bool {
        expires_at != 0 && expires_at <= self.secs()
    }
}

/// What a get found, borrowed from the view.
#[derive(Debug)]
pub(crate) struct Hit<'v> {
    /// 0 unless it was asked for.
    pub(crate) seqno: u64,
    pub(crate) expires_at: u64,
    place: Place<'v>,
}

#[derive(Debug)]
enum Place<'v> {
    Memtable {
        memtable: &'v Arc<Memtable>,
        node: u32,
        value: &'v [u8],
    },
    Table {
        table: &'v Table,
        value: Slice<'v>,
    },
    /// What a merge operator made.
    Folded(Bytes),
}

impl<'v> Hit<'v> {
    /// The value as long as the view lives.
    #[inline]
    pub(crate) fn into_value(self) -> Value<'v> {
        match self.place {
            Place::Memtable { value, .. } | Place::Table { value: Slice::Borrowed(value), .. } => {
                Value::borrowed(value)
            }
            Place::Table { value: Slice::Owned(value), .. } | Place::Folded(value) => {
                Value::shared(value)
            }
        }
    }

    /// The value on its own: a short one copied, a long one with a share of what holds it.
    #[inline]
    pub(crate) fn into_owned_value(self) -> Value<'static> {
        match self.place {
            Place::Memtable { memtable, node, value } => {
                if value.len() <= INLINE_LEN {
                    Value::copied(value)
                } else {
                    memtable.owned_value(node)
                }
            }
            Place::Table { table, value: Slice::Borrowed(value) } => {
                if value.len() <= INLINE_LEN {
                    Value::copied(value)
                } else {
                    Value::shared(table.share(value))
                }
            }
            Place::Table { value: Slice::Owned(value), .. } | Place::Folded(value) => {
                Value::shared(value)
            }
        }
    }
}

impl View {
    /// Finds what a reader at `seqno` and `now` sees of `key`.
    ///
    /// # Errors
    ///
    /// `Corrupt` by file and offset; `NoMergeOperator` or `Merge` of a key with operands; `Io` from
    /// opening a table.
    #[inline]
    pub(crate) fn get(
        &self,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
    ) -> Result<Option<Hit<'_>>> {
        if self.deletes_ranges() {
            return self.get_masked(key, seqno, now);
        }
        self.get_above(key, seqno, now, want_seqno, 0)
    }

    /// As `get`, where there are range tombstones.
    #[inline(never)]
    fn get_masked(&self, key: &[u8], seqno: u64, now: Now<'_>) -> Result<Option<Hit<'_>>> {
        let floor = self.newest_range_tombstone(key, seqno)?;
        self.get_above(key, seqno, now, true, floor)
    }

    /// As `get`; rows that are older than `floor` are deleted.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "where nothing is deleted it costs nothing")]
    fn get_above(
        &self,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
        floor: u64,
    ) -> Result<Option<Hit<'_>>> {
        // One hash serves the memtables and, but for tables of other databases, the tables.
        let hash = hash_key(key, self.hash_seed);
        if self.version.run_count() > 1 {
            self.prefetch_filters(hash);
        }
        if !self.active.is_empty() || !self.frozen.is_empty() {
            for memtable in std::iter::once(&self.active).chain(&self.frozen) {
                let Some(node) = memtable.find(key, hash, seqno) else { continue };
                let Some(row) = memtable.row(node) else { continue };
                if row.seqno < floor {
                    return Ok(None);
                }
                match says(row.kind, row.expires_at, now) {
                    Says::Value => {}
                    Says::Absent => return Ok(None),
                    Says::Operand => return self.fold(key, hash, seqno, now).map(Some),
                }
                let place = Place::Memtable { memtable, node, value: row.value };
                return Ok(Some(Hit { seqno: row.seqno, expires_at: row.expires_at, place }));
            }
        }
        self.get_from_tables(key, hash, seqno, now, want_seqno, floor)
    }

    /// Asks for the lines of the newest tables' filters all at once: each answer decides whether the
    /// next one is needed, so else a get would wait for one after the other.
    fn prefetch_filters(&self, hash: u64) {
        for run in self.version.runs().take(PREFETCH_COUNT) {
            if let Some(table) = run.only().and_then(|handle| handle.opened()) {
                table.prefetch_filter(hash);
            }
        }
    }

    /// From a key whose newest visible row is an operand, makes its value.
    #[cold]
    fn fold(&self, key: &[u8], hash: u64, seqno: u64, now: Now<'_>) -> Result<Hit<'_>> {
        let mask = self.mask(seqno)?;
        let mut runs = Vec::new();
        for memtable in std::iter::once(&self.active).chain(&self.frozen) {
            if memtable.find(key, hash, seqno).is_some() {
                let run = PlainRun::Memtable(MemtableCursor::new(Arc::clone(memtable)));
                runs.push(run.masked(mask.as_ref()));
            }
        }
        for run in self.version.runs() {
            let Some(handle) = run.find(key) else { continue };
            let table = handle.table()?;
            let seed = table.hash_seed();
            let hash = if seed == self.hash_seed { hash } else { hash_key(key, seed) };
            if table.may_contain(hash)? {
                let run = PlainRun::Table(Box::new(TableCursor::new(Arc::clone(table))));
                runs.push(run.masked(mask.as_ref()));
            }
        }
        let (run, merger) = (MergingCursor::new(runs), self.merger.clone());
        let mut cursor = VisibleCursor::new(run, seqno, now.secs(), merger);
        cursor.seek(key)?;
        if cursor.operand_count() > MAX_OPERAND_COUNT && self.active.len() > MAX_OPERAND_COUNT {
            self.meter.ask_to_fold(&self.active);
        }
        let place = Place::Folded(cursor.owned_value().into_bytes());
        Ok(Hit { seqno: cursor.seqno(), expires_at: 0, place })
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn get_from_tables(
        &self,
        key: &[u8],
        hash: u64,
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
        floor: u64,
    ) -> Result<Option<Hit<'_>>> {
        // All tables that a database writes share one hash seed: this seldom hashes again.
        let mut hashed = (self.hash_seed, hash);
        let run_count = self.version.run_count();
        let mut probed = 0;
        for (index, run) in self.version.runs().enumerate() {
            // In the last run that can hold the key a hit is likely: there the block is located
            // first and is on its way, as is the filter's line, before the filter is asked.
            let is_last = index + 1 == run_count;
            let handle = match run.only() {
                Some(only) if is_last => only,
                _ => match run.find(key) {
                    Some(handle) => handle,
                    None => continue,
                },
            };
            if handle.record.max_seqno < floor {
                continue;
            }
            let table = handle.table()?;
            let seed = table.hash_seed();
            let hash = match hashed {
                (known, hash) if known == seed => hash,
                _ => hash_key(key, seed),
            };
            hashed = (seed, hash);
            probed += 1;
            if probed == 2 {
                self.meter.count_get(hash);
            }
            table.prefetch_filter(hash);
            let located = if is_last { Some(table.locate(key)?) } else { None };
            if !table.may_contain(hash)? {
                continue;
            }
            let place = match located {
                Some(place) => place,
                None => table.locate(key)?,
            };
            let found = table.get_at(place, key, hash, seqno, want_seqno)?;
            let Some(found) = found else { continue };
            if found.seqno < floor {
                return Ok(None);
            }
            match says(found.kind, found.expires_at, now) {
                Says::Value => {}
                Says::Absent => return Ok(None),
                Says::Operand => return self.fold(key, hash, seqno, now).map(Some),
            }
            let place = Place::Table { table, value: found.value };
            return Ok(Some(Hit { seqno: found.seqno, expires_at: found.expires_at, place }));
        }
        Ok(None)
    }
}

/// What the newest visible row of a key says.
enum Says {
    Value,
    Absent,
    Operand,
}

#[inline]
fn says(kind: Kind, expires_at: u64, now: Now<'_>) -> Says {
    match kind {
        Kind::Put if now.is_after(expires_at) => Says::Absent,
        Kind::Put => Says::Value,
        Kind::Delete => Says::Absent,
        Kind::Merge => Says::Operand,
    }
}
