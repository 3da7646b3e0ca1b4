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

use super::hit::{Hit, Place};
use super::run::PlainRun;
use super::version::TableHandle;
use super::view::View;
use crate::cpu::{self, Work};
use crate::cursor::{MergingCursor, VisibleCursor};
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::format::row::Kind;
use crate::hooks::{Clock, now_secs};
use crate::memtable::{Memtable, MemtableCursor};
use crate::storage::Slice;
use crate::table::{Probe, Row, Table, TableCursor};

/// As many filter lines are asked for at once: about as many as level 0 has tables at rest.
const PREFETCH_COUNT: usize = 4;

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

impl View {
    /// Finds what a reader at `seqno` and `now` sees of `key`, and gives what `take` makes of it.
    ///
    /// # Errors
    ///
    /// `Corrupt` by file and offset; `NoMergeOperator` or `Merge` of a key with operands; `Io` from
    /// opening a table.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what `take` makes need not pass through memory")]
    pub(crate) fn get<'v, T>(
        &'v self,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
        take: impl FnOnce(Hit<'v>) -> T,
    ) -> Result<Option<T>> {
        let answer = if self.is_plain() {
            cpu::run(Get { view: self, key, seqno })
        } else {
            self.get_masked(key, seqno)
        };
        self.conclude(answer, key, seqno, now, want_seqno, take)
    }

    /// The first try, where there are range tombstones, or guarded maps, which it must not read.
    #[inline(never)]
    fn get_masked(&self, key: &[u8], seqno: u64) -> Answer<'_> {
        if self.version.is_guarded() {
            return Answer::Unsure;
        }
        match self.newest_range_tombstone(key, seqno) {
            Ok(0) => cpu::run(Get { view: self, key, seqno }),
            // Often the range was deleted last.
            Ok(floor) if self.has_nothing_after(floor) => Answer::Absent,
            Ok(floor) => cpu::run(GetAbove { view: self, key, floor }),
            Err(_) => Answer::Unsure,
        }
    }

    /// From the first try's answer to what the reader sees.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    pub(super) fn conclude<'v, T>(
        &'v self,
        answer: Answer<'v>,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
        take: impl FnOnce(Hit<'v>) -> T,
    ) -> Result<Option<T>> {
        match answer {
            Answer::Absent => Ok(None),
            Answer::Value(table, value) if !want_seqno => {
                Ok(Some(take(Hit::of_table(table, Slice::Borrowed(value)))))
            }
            answer => Ok(self.go_on(answer, key, seqno, now, want_seqno)?.map(take)),
        }
    }

    /// What the reader sees, where the first try does not say it all.
    #[inline(never)]
    fn go_on<'v>(
        &'v self,
        answer: Answer<'v>,
        key: &[u8],
        seqno: u64,
        now: Now<'_>,
        want_seqno: bool,
    ) -> Result<Option<Hit<'v>>> {
        let wanted = Wanted { key, seqno, now, want_seqno, floor: 0 };
        let Answer::Row(table, row) = answer else { return self.get_from_any(wanted) };
        let found = table.row(row)?;
        self.decide(found.kind, Hit::of_row(table, found), &wanted)
    }

    /// As `get`, through all memtables and tables, and where there are range tombstones.
    fn get_from_any(&self, mut wanted: Wanted<'_>) -> Result<Option<Hit<'_>>> {
        if self.deletes_ranges() {
            wanted.floor = self.newest_range_tombstone(wanted.key, wanted.seqno)?;
            wanted.want_seqno = true;
        }
        let hash = hash_key(wanted.key, self.hash_seed);
        for memtable in self.memtables().filter(|memtable| memtable.may_contain(hash)) {
            if let Some(decided) = self.get_from_memtable(memtable, &wanted, hash) {
                return decided;
            }
        }
        cpu::run(GetFromTables { view: self, wanted: &wanted, hash })
    }

    /// Whether a memtable may hold a key with this hash; `false` is certain.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for each kind of processor")]
    pub(super) fn memtables_may_contain(&self, hash: u64) -> bool {
        self.active.may_contain(hash)
            || !self.frozen.is_empty()
                && self.frozen.iter().any(|memtable| memtable.may_contain(hash))
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
        Some(self.decide(record.kind(), hit, wanted))
    }

    /// What the newest visible row of a key, which is `hit`, means.
    #[inline]
    fn decide<'v>(
        &'v self,
        kind: Kind,
        hit: Hit<'v>,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Hit<'v>>> {
        if hit.seqno < wanted.floor {
            return Ok(None);
        }
        match kind {
            Kind::Put if wanted.now.is_after(hit.expires_at) => Ok(None),
            Kind::Put => Ok(Some(hit)),
            Kind::Delete => Ok(None),
            Kind::Merge => self.fold(wanted).map(Some),
        }
    }

    /// From a key whose newest visible row is an operand, makes its value.
    #[cold]
    fn fold(&self, wanted: &Wanted<'_>) -> Result<Hit<'_>> {
        let Wanted { key, seqno, now, .. } = *wanted;
        let hash = hash_key(key, self.hash_seed);
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
        self.note_operands(cursor.operand_count());
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

/// What the first try of a get says.
#[derive(Clone, Copy)]
pub(super) enum Answer<'v> {
    Absent,
    /// A put that does not expire.
    Value(&'v Table, &'v [u8]),
    /// The newest visible row, of which more has to be read.
    Row(&'v Table, Row),
    /// Another way has to tell.
    Unsure,
}

/// The first try of a get, where there are no range tombstones: enough for what was touched before,
/// if no memtable may hold the key.
///
/// It is one function, compiled for each kind of processor. Its answer is small, so that it is
/// read as it was written: a processor that reads a whole value back in other pieces than it was
/// written in waits until all before it is done, and does nothing of the next get meanwhile.
struct Get<'v, 'g> {
    view: &'v View,
    key: &'g [u8],
    seqno: u64,
}

impl<'v> Work for Get<'v, '_> {
    type Output = Answer<'v>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for each kind of processor")]
    fn run<const WIDE: bool>(self) -> Self::Output {
        let Self { view, key, seqno } = self;
        // One hash serves the memtables and, but for tables of other databases, the tables.
        let hash = hash_key(key, view.hash_seed);
        if view.memtables_may_contain(hash) {
            return Answer::Unsure;
        }
        // Most databases that are read much have one table at most.
        if let Some(handle) = view.version.only_table() {
            return view.ask::<WIDE>(handle, key, hash, seqno);
        }
        // Each answer decides whether the next one is needed. Filter lines that are asked for one
        // after the other would be waited for one after the other.
        for handle in view.version.candidates(key).skip(1).take(PREFETCH_COUNT) {
            if let Some(table) = handle.opened() {
                table.prefetch_filter(hash);
            }
        }
        let mut asked_count = 0;
        for handle in view.version.candidates(key) {
            asked_count += 1;
            if asked_count == 2 {
                view.meter.count_get(hash);
            }
            match view.ask::<WIDE>(handle, key, hash, seqno) {
                Answer::Absent => {}
                answer => return answer,
            }
        }
        Answer::Absent
    }
}

/// The first try of a get of a key that a range tombstone covers: enough if nothing newer may hold
/// the key.
struct GetAbove<'v, 'g> {
    view: &'v View,
    key: &'g [u8],
    /// Older rows are deleted.
    floor: u64,
}

impl<'v> Work for GetAbove<'v, '_> {
    type Output = Answer<'v>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn run<const WIDE: bool>(self) -> Self::Output {
        let Self { view, key, floor } = self;
        let hash = hash_key(key, view.hash_seed);
        if view.memtables_may_contain(hash) {
            return Answer::Unsure;
        }
        for handle in view.version.candidates(key) {
            // A row with the tombstone's own seqno is a tombstone too.
            let is_older = handle.record.max_seqno <= floor;
            if !is_older && !matches!(view.ask::<WIDE>(handle, key, hash, u64::MAX), Answer::Absent)
            {
                return Answer::Unsure;
            }
        }
        Answer::Absent
    }
}

impl View {
    /// What one table says of a key.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn ask<'v, const WIDE: bool>(
        &'v self,
        handle: &'v TableHandle,
        key: &[u8],
        hash: u64,
        seqno: u64,
    ) -> Answer<'v> {
        match handle.opened().filter(|table| table.hash_seed() == self.hash_seed) {
            Some(table) => match table.probe::<WIDE>(key, hash, seqno) {
                Probe::Absent => Answer::Absent,
                Probe::Value(value) => Answer::Value(table, value),
                Probe::Row(row) => Answer::Row(table, row),
                Probe::Unsure => Answer::Unsure,
            },
            None => Answer::Unsure,
        }
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
            return view.decide(found.kind, Hit::of_row(table, found), wanted);
        }
        Ok(None)
    }
}
