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
use crate::cpu::{self, Work};
use crate::cursor::{MergingCursor, VisibleCursor};
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::format::row::Kind;
use crate::hooks::{Clock, now_secs};
use crate::memtable::{Memtable, MemtableCursor};
use crate::storage::Slice;
use crate::table::{Probe, Table, TableCursor};
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
        /// Where the row lies in the memtable.
        row: u32,
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
    /// A put that does not expire, of which nobody wants to know the seqno.
    #[inline]
    pub(super) const fn of_table(table: &'v Table, value: Slice<'v>) -> Self {
        Self { seqno: 0, expires_at: 0, place: Place::Table { table, value } }
    }

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
            Place::Memtable { memtable, row, value } => {
                if value.len() <= INLINE_LEN {
                    Value::copied(value)
                } else {
                    memtable.owned_value(row, value)
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
    /// Finds what a reader at `seqno` and `now` sees of `key`, and gives what `take` makes of it.
    ///
    /// # Errors
    ///
    /// `Corrupt` by file and offset; `NoMergeOperator` or `Merge` of a key with operands; `Io` from
    /// opening a table.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "its arguments need not pass through memory twice")]
    pub(crate) fn get<'v, T>(
        &'v self,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
        take: impl FnOnce(Hit<'v>) -> T,
    ) -> Result<Option<T>> {
        let wanted = Wanted { key, seqno, now, want_seqno, floor: 0 };
        if self.deletes_ranges() {
            return Ok(self.get_masked(wanted)?.map(take));
        }
        cpu::run(Get { view: self, wanted, take })
    }

    /// As `get`, where there are range tombstones: rows that are older than the newest over the key
    /// are deleted.
    #[inline(never)]
    fn get_masked(&self, wanted: Wanted<'_>) -> Result<Option<Hit<'_>>> {
        let floor = self.newest_range_tombstone(wanted.key, wanted.seqno)?;
        let wanted = Wanted { want_seqno: true, floor, ..wanted };
        let hash = hash_key(wanted.key, self.hash_seed);
        for memtable in self.memtables() {
            if let Some(decided) = self.get_from_memtable(memtable, &wanted, hash) {
                return decided;
            }
        }
        cpu::run(GetFromTables { view: self, wanted: &wanted, hash })
    }

    /// The memtables, newest first.
    #[inline]
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// What a memtable says of the key; `None` if it holds nothing that the reader sees.
    #[inline(never)]
    fn get_from_memtable<'v>(
        &'v self,
        memtable: &'v Arc<Memtable>,
        wanted: &Wanted<'_>,
        hash: u64,
    ) -> Option<Result<Option<Hit<'v>>>> {
        let record = memtable.find(wanted.key, hash, wanted.seqno)?;
        let place = Place::Memtable { memtable, row: record.place(), value: record.value() };
        let hit = Hit { seqno: record.seqno(), expires_at: record.expires_at(), place };
        Some(self.decide(record.kind(), hit, wanted, hash))
    }

    /// What the newest visible row of a key, which is `hit`, means.
    #[inline]
    fn decide<'v>(
        &'v self,
        kind: Kind,
        hit: Hit<'v>,
        wanted: &Wanted<'_>,
        hash: u64,
    ) -> Result<Option<Hit<'v>>> {
        if hit.seqno < wanted.floor {
            return Ok(None);
        }
        match kind {
            Kind::Put if wanted.now.is_after(hit.expires_at) => Ok(None),
            Kind::Put => Ok(Some(hit)),
            Kind::Delete => Ok(None),
            Kind::Merge => self.fold(wanted, hash).map(Some),
        }
    }

    /// From a key whose newest visible row is an operand, makes its value.
    #[cold]
    fn fold(&self, wanted: &Wanted<'_>, hash: u64) -> Result<Hit<'_>> {
        let Wanted { key, seqno, now, .. } = *wanted;
        let mask = self.mask(seqno)?;
        let mut runs = Vec::new();
        for memtable in self.memtables() {
            if memtable.find(key, hash, seqno).is_some() {
                let run = PlainRun::Memtable(MemtableCursor::new(Arc::clone(memtable)));
                runs.push(run.masked(mask.as_ref()));
            }
        }
        for handle in self.version.candidates(key) {
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
}

/// What a get asks for.
#[derive(Clone, Copy)]
struct Wanted<'g> {
    key: &'g [u8],
    seqno: u64,
    now: Now<'g>,
    want_seqno: bool,
    /// Rows that are older are deleted.
    floor: u64,
}

/// A get where there are no range tombstones, compiled for each kind of processor.
struct Get<'v, 'g, F> {
    view: &'v View,
    wanted: Wanted<'g>,
    take: F,
}

impl<'v, T, F: FnOnce(Hit<'v>) -> T> Work for Get<'v, '_, F> {
    type Output = Result<Option<T>>;

    /// Most databases that are read much have one table at most and an empty memtable, or one that a
    /// filter rules out: that much is compiled into one function.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for each kind of processor")]
    fn run<const WIDE: bool>(self) -> Self::Output {
        let Self { view, wanted, take } = self;
        let Wanted { key, seqno, want_seqno, .. } = wanted;
        // One hash serves the memtables and, but for tables of other databases, the tables.
        let hash = hash_key(key, view.hash_seed);
        for memtable in view.memtables().filter(|memtable| memtable.may_contain(hash)) {
            if let Some(decided) = view.get_from_memtable(memtable, &wanted, hash) {
                return Ok(decided?.map(take));
            }
        }
        if let Some(handle) = view.version.only_table() {
            let table = handle.table()?;
            if table.hash_seed() == view.hash_seed {
                match table.probe::<WIDE>(key, hash, seqno) {
                    Probe::Absent => return Ok(None),
                    Probe::Value(value) if !want_seqno => {
                        return Ok(Some(take(Hit::of_table(table, Slice::Borrowed(value)))));
                    }
                    _ => {}
                }
            }
        }
        Ok(cpu::run(GetFromTables { view, wanted: &wanted, hash })?.map(take))
    }
}

/// What the tables say of a key that no memtable decides.
struct GetFromTables<'v, 'g> {
    view: &'v View,
    wanted: &'g Wanted<'g>,
    /// Of the key, under the database's own seed.
    hash: u64,
}

impl<'v> Work for GetFromTables<'v, '_> {
    type Output = Result<Option<Hit<'v>>>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for each kind of processor")]
    fn run<const WIDE: bool>(self) -> Self::Output {
        let Self { view, wanted, hash: own_hash } = self;
        let Wanted { key, seqno, want_seqno, floor, .. } = *wanted;
        // Each answer decides whether the next one is needed. Filter lines that are asked for one
        // after the other would be waited for one after the other.
        for handle in view.version.candidates(key).skip(1).take(PREFETCH_COUNT) {
            if let Some(table) = handle.opened() {
                table.prefetch_filter(own_hash);
            }
        }
        let mut probed_count = 0;
        for handle in view.version.candidates(key) {
            if handle.record.max_seqno < floor {
                continue;
            }
            let table = handle.table()?;
            // All tables that a database writes share one hash seed: this seldom hashes again.
            let seed = table.hash_seed();
            let hash = if seed == view.hash_seed { own_hash } else { hash_key(key, seed) };
            probed_count += 1;
            if probed_count == 2 {
                view.meter.count_get(hash);
            }
            let Some(found) = table.get::<WIDE>(key, hash, seqno, want_seqno)? else { continue };
            let place = Place::Table { table, value: found.value };
            let hit = Hit { seqno: found.seqno, expires_at: found.expires_at, place };
            return view.decide(found.kind, hit, wanted, own_hash);
        }
        Ok(None)
    }
}
