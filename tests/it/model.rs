//! Random operations, against a `BTreeMap` that does the same.
//!
//! Everything that pins a moment (snapshots, iterators, cursors) is kept open for a while, across
//! writes, flushes, reopening and closing, next to a copy of the model of that moment.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tinydb::merge;
use tinydb::{Cursor, Db, Durability, Entry, Iter, Options, Snapshot, TableWriter, WriteBatch};

use crate::support::{Draw, ManualClock, Place, SETUPS, Seed, Setup, check_directory};
use crate::support::{first_seed, runs};

/// How many seeds a push tries in memory.
pub(crate) const RUNS: u64 = 4;
const OPS_PER_RUN: usize = 400;
const MOST_PINNED: usize = 4;

/// What a key has: everything that the API tells about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    value: Rc<[u8]>,
    seqno: u64,
    expires_at: u64,
}

/// The entries of one moment.
type Picture = Rc<BTreeMap<Vec<u8>, Known>>;

/// What was written of a key: a value or none, and the operands since.
#[derive(Clone, Default)]
struct Cell {
    /// With the time when it expires; 0 is never.
    base: Option<(Rc<[u8]>, u64)>,
    operands: Vec<Rc<[u8]>>,
    seqno: u64,
}

impl Cell {
    /// What a reader sees at this time.
    fn known(&self, now: u64) -> Option<Known> {
        let base = self.base.as_ref().filter(|(_, at)| *at == 0 || *at > now);
        let seqno = self.seqno;
        if self.operands.is_empty() {
            let (value, expires_at) = base?.clone();
            return Some(Known { value, seqno, expires_at });
        }
        let parts = base.map(|(value, _)| value).into_iter().chain(&self.operands);
        let value = parts.map(|part| &**part).collect::<Vec<_>>().join(SEPARATOR).into();
        Some(Known { value, seqno, expires_at: 0 })
    }
}

/// The database as it should be.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Vec<u8>, Cell>,
    last_seqno: u64,
}

impl Model {
    fn apply(&mut self, change: &Change, now: u64) {
        self.last_seqno += 1;
        let seqno = self.last_seqno;
        match change {
            Change::Delete(key) => drop(self.rows.remove(key)),
            Change::DeleteRange(range) => self.rows.retain(|key, _| !lies_in(key, range)),
            Change::Put(key, value, ttl) => {
                let expires_at = if *ttl == 0 { 0 } else { now + ttl };
                let base = Some((Rc::clone(value), expires_at));
                self.rows.insert(key.clone(), Cell { base, operands: Vec::new(), seqno });
            }
            Change::Merge(key, operand) => {
                let cell = self.rows.entry(key.clone()).or_default();
                cell.operands.push(Rc::clone(operand));
                cell.seqno = seqno;
            }
        }
    }

    fn picture(&self, now: u64) -> Picture {
        let known = |(key, cell): (&Vec<u8>, &Cell)| Some((key.clone(), cell.known(now)?));
        Rc::new(self.rows.iter().filter_map(known).collect())
    }
}

/// What the merge operator puts between operands.
const SEPARATOR: &[u8] = b"+";

enum Change {
    Put(Vec<u8>, Rc<[u8]>, u64),
    Merge(Vec<u8>, Rc<[u8]>),
    Delete(Vec<u8>),
    DeleteRange((Bound<Vec<u8>>, Bound<Vec<u8>>)),
}

impl Change {
    fn add_to(&self, batch: &mut WriteBatch) {
        match self {
            Self::Delete(key) => batch.delete(key),
            Self::DeleteRange(range) => batch.delete_range(range),
            Self::Merge(key, operand) => batch.merge(key, operand),
            Self::Put(key, value, 0) => batch.put(key, value),
            Self::Put(key, value, ttl) => batch.put_with_ttl(key, value, Duration::from_secs(*ttl)),
        };
    }

    fn write_to(&self, db: &Db) -> tinydb::Result<()> {
        match self {
            Self::Delete(key) => db.delete(key),
            Self::DeleteRange(range) => db.delete_range(range),
            Self::Merge(key, operand) => db.merge(key, operand),
            Self::Put(key, value, 0) => db.put(key, value),
            Self::Put(key, value, ttl) => db.put_with_ttl(key, value, Duration::from_secs(*ttl)),
        }
    }
}

/// A key of few possible ones, so that keys meet; now and then a long one.
fn key(draw: &mut Draw) -> Vec<u8> {
    let letters = [0x00, b'a', b'b', 0xFF];
    let len = *draw.pick(&[0, 1, 1, 2, 2, 3, 3, 3, 4, 4]);
    let mut key: Vec<u8> = (0..len).map(|_| *draw.pick(&letters)).collect();
    if draw.one_in(40) {
        let letter = *draw.pick(&letters);
        let long = *draw.pick(&[40, 300, 1_000, 5_000, 65_535]);
        key.resize(long, letter);
    }
    key
}

fn value(draw: &mut Draw) -> Rc<[u8]> {
    let most = *draw.pick(&[1, 2, 20, 100, 100, 1_000, 1_000, 5_000, 20_000]);
    let len = draw.below(most + 1);
    draw.bytes(len).into()
}

fn change(draw: &mut Draw) -> Change {
    if draw.one_in(12) {
        // A range without keys is no operation.
        let range = Some(range(draw)).filter(has_keys);
        return range.map_or_else(|| Change::Delete(key(draw)), Change::DeleteRange);
    }
    match draw.below(10) {
        0..=2 => Change::Delete(key(draw)),
        3 => Change::Put(key(draw), value(draw), 1 + draw.next() % 30),
        4 | 5 => Change::Merge(key(draw), value(draw)),
        _ => Change::Put(key(draw), value(draw), 0),
    }
}

fn known(entry: &Entry<'_>) -> Known {
    let expires_at = entry
        .expires_at()
        .map_or(0, |at| at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs());
    Known { value: entry.value().into(), seqno: entry.seqno(), expires_at }
}

/// Compares without printing kilobytes. A merge may have taken a seqno away, so zero is any.
#[track_caller]
fn same(mut found: Option<(&[u8], Known)>, wanted: Option<(&[u8], &Known)>) {
    if let (Some((_, found)), Some((_, wanted))) = (&mut found, &wanted)
        && found.seqno == 0
    {
        found.seqno = wanted.seqno;
    }
    if found.as_ref().map(|(key, known)| (*key, known)) != wanted {
        let short = |bytes: &[u8]| format!("{:?}", bytes.escape_ascii().to_string().get(..40));
        let say = |key: &[u8], known: &Known| {
            let Known { value, seqno, expires_at } = known;
            format!("{} = {} #{seqno} until {expires_at}", short(key), short(value))
        };
        let found = found.map(|(key, known)| say(key, &known));
        panic!("found {found:?}, wanted {:?}", wanted.map(|(key, known)| say(key, known)));
    }
}

#[track_caller]
fn same_entry(found: Option<tinydb::Result<Entry<'_>>>, wanted: Option<(&[u8], &Known)>) {
    let found = found.transpose().unwrap();
    same(found.as_ref().map(|entry| (entry.key(), known(entry))), wanted);
}

fn borrowed<'p>((key, known): (&'p Vec<u8>, &'p Known)) -> (&'p [u8], &'p Known) {
    (key, known)
}

/// A range that is sometimes inverted, and its model: the entries that lie in it.
fn range(draw: &mut Draw) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut end = || match draw.below(3) {
        0 => Bound::Included(key(draw)),
        1 => Bound::Excluded(key(draw)),
        _ => Bound::Unbounded,
    };
    (end(), end())
}

/// Whether there is a key that may lie in a range. No key of the tests is as long as keys may be
/// and ends a range that starts before it.
fn has_keys((start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    match (start, end) {
        (Bound::Unbounded, Bound::Excluded(end)) => !end.is_empty(),
        (Bound::Included(start), Bound::Included(end)) => start <= end,
        (Bound::Included(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start < end,
        (Bound::Excluded(start), Bound::Excluded(end)) => {
            // Nothing lies between a key and the same with a zero behind.
            start < end && *end != [start.as_slice(), &[0]].concat()
        }
        _ => true,
    }
}

fn lies_in(key: &[u8], (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    let after = match start {
        Bound::Included(start) => key >= start.as_slice(),
        Bound::Excluded(start) => key > start.as_slice(),
        Bound::Unbounded => true,
    };
    after
        && match end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        }
}

/// What pins a moment, with what is to be seen there.
enum Pinned {
    Snapshot(Snapshot, Picture),
    /// The entries that the iterator has not given yet.
    Iter(Iter<'static>, Vec<(Vec<u8>, Known)>),
    /// The key that the cursor is on.
    Cursor(Cursor<'static>, Picture, Option<Vec<u8>>),
}

impl Pinned {
    fn of(db: &Db, picture: Picture, draw: &mut Draw) -> Self {
        match draw.below(3) {
            0 => Self::Snapshot(db.snapshot(), picture),
            1 => {
                let range = range(draw);
                let rows = picture.iter().filter(|(key, _)| lies_in(key, &range));
                let rows = rows.map(|(key, known)| (key.clone(), known.clone())).collect();
                Self::Iter(db.range(range), rows)
            }
            _ => Self::Cursor(db.cursor(), picture, None),
        }
    }

    fn step(&mut self, draw: &mut Draw) {
        match self {
            Self::Snapshot(snapshot, picture) => look_at_snapshot(snapshot, picture, draw),
            Self::Iter(iter, rest) => {
                for _ in 0..draw.below(8) {
                    if draw.one_in(2) {
                        let wanted = (!rest.is_empty()).then(|| rest.remove(0));
                        let wanted = wanted.as_ref().map(|(key, known)| (key.as_slice(), known));
                        same_entry(iter.next(), wanted);
                    } else {
                        let wanted = rest.pop();
                        let wanted = wanted.as_ref().map(|(key, known)| (key.as_slice(), known));
                        same_entry(iter.next_back(), wanted);
                    }
                }
            }
            Self::Cursor(cursor, picture, at) => {
                for _ in 0..=draw.below(12) {
                    move_cursor(cursor, picture, at, draw);
                }
            }
        }
    }
}

fn move_cursor(
    cursor: &mut Cursor<'_>,
    picture: &Picture,
    at: &mut Option<Vec<u8>>,
    draw: &mut Draw,
) {
    let target = key(draw);
    let first_after = |bound| {
        picture.range::<[u8], _>((bound, Bound::Unbounded)).next().map(|(key, _)| key.clone())
    };
    let last_before = |bound| {
        picture.range::<[u8], _>((Bound::Unbounded, bound)).next_back().map(|(key, _)| key.clone())
    };
    let (moved, wanted) = match draw.below(14) {
        0 => (cursor.seek_first(), picture.keys().next().cloned()),
        1 => (cursor.seek_last(), picture.keys().next_back().cloned()),
        2 | 3 => (cursor.seek(&target), first_after(Bound::Included(&*target))),
        4 | 5 => (cursor.seek_for_prev(&target), last_before(Bound::Included(&*target))),
        6..=9 => {
            let wanted = at.as_deref().and_then(|at| first_after(Bound::Excluded(at)));
            (cursor.next(), wanted)
        }
        _ => {
            let wanted = at.as_deref().and_then(|at| last_before(Bound::Excluded(at)));
            (cursor.prev(), wanted)
        }
    };
    assert_eq!(moved.unwrap(), wanted.is_some());
    assert_eq!(cursor.valid(), wanted.is_some());
    if let Some(wanted) = &wanted {
        let found = Known {
            value: cursor.value().into(),
            seqno: picture[wanted].seqno,
            expires_at: picture[wanted].expires_at,
        };
        same(Some((cursor.key(), found)), Some((wanted, &picture[wanted])));
    }
    *at = wanted;
}

fn look_at_snapshot(snapshot: &Snapshot, picture: &Picture, draw: &mut Draw) {
    let keys: Vec<_> = (0..3).map(|_| key(draw)).collect();
    for key in &keys {
        let wanted = picture.get(key);
        let value = wanted.map(|known| &*known.value);
        assert_eq!(snapshot.get(key).unwrap().as_deref(), value);
        same_entry(snapshot.get_entry(key).transpose(), wanted.map(|known| (&**key, known)));
        assert_eq!(snapshot.contains_key(key).unwrap(), wanted.is_some());
    }
    let many = snapshot.multi_get(&keys).unwrap();
    for (key, found) in keys.iter().zip(many) {
        assert_eq!(found.as_deref(), picture.get(key).map(|known| &*known.value));
    }
    let range = range(draw);
    let inside = || picture.iter().map(borrowed).filter(|(key, _)| lies_in(key, &range));
    match draw.below(3) {
        0 => check_scan(snapshot.range(range.clone()), inside()),
        1 => check_scan(snapshot.range(range.clone()).rev(), inside().rev()),
        _ => {
            let prefix = &keys[0];
            let wanted = picture.iter().map(borrowed).filter(|(key, _)| key.starts_with(prefix));
            check_scan(snapshot.prefix(prefix), wanted);
        }
    }
}

#[track_caller]
fn check_scan<'s, 'p>(
    mut found: impl Iterator<Item = tinydb::Result<Entry<'s>>>,
    wanted: impl Iterator<Item = (&'p [u8], &'p Known)>,
) {
    for wanted in wanted {
        same_entry(found.next(), Some(wanted));
    }
    same_entry(found.next(), None);
    assert!(found.next().is_none(), "an iterator that ended begins anew");
}

/// One run: a database, its model, and what is pinned.
struct Run {
    place: Place,
    setup: Setup,
    clock: Arc<ManualClock>,
    db: Option<Db>,
    model: Model,
    pinned: Vec<Pinned>,
    draw: Draw,
}

impl Run {
    fn new(place: Place, setup: Setup, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance(1_000_000);
        let mut run = Self {
            place,
            setup,
            clock,
            db: None,
            model: Model::default(),
            pinned: Vec::new(),
            draw: Draw::new(seed),
        };
        run.open();
        run
    }

    fn options(&self) -> Options {
        let operator = merge::Append::new(SEPARATOR);
        self.setup.options().clock(Arc::clone(&self.clock)).merge_operator(operator)
    }

    fn open(&mut self) {
        let db = self.place.open(self.options()).unwrap();
        assert_eq!(db.stats().recovery.stopped_at, None);
        assert_eq!(db.stats().last_seqno, self.model.last_seqno);
        self.db = Some(db);
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn picture(&self) -> Picture {
        self.model.picture(self.clock.now_secs())
    }

    fn step(&mut self) {
        match self.draw.below(100) {
            0..=39 => self.write(1),
            40..=54 => {
                let count = 1 + self.draw.below(12);
                self.write(count);
            }
            55..=64 => self.read(),
            65..=82 => {
                if !self.pinned.is_empty() {
                    let index = self.draw.below(self.pinned.len());
                    self.pinned[index].step(&mut self.draw);
                }
            }
            83..=89 => {
                if self.pinned.len() == MOST_PINNED {
                    let index = self.draw.below(MOST_PINNED);
                    self.pinned.remove(index);
                }
                let picture = self.picture();
                let pinned = Pinned::of(self.db.as_ref().unwrap(), picture, &mut self.draw);
                self.pinned.push(pinned);
            }
            90..=92 => self.clock.advance(self.draw.next() % 10),
            93 => self.db().sync().unwrap(),
            94 => self.db().flush().unwrap(),
            95 => self.ingest(),
            96 => self.merge(),
            97 => self.check_all(),
            _ => self.reopen(),
        }
    }

    /// Merges what a random call merges.
    fn merge(&mut self) {
        let range = range(&mut self.draw);
        let (choice, db) = (self.draw.below(4), self.db.as_ref().unwrap());
        match choice {
            0 => db.compact_range(range).unwrap(),
            1 => db.wait_idle().unwrap(),
            2 => drop(db.merge_once().unwrap()),
            _ => {
                db.compact().unwrap();
                let levels = db.stats().levels;
                assert!(levels.len() <= 1 && levels.iter().all(|level| level.level > 0));
            }
        }
    }

    fn write(&mut self, count: usize) {
        let changes: Vec<_> = (0..count).map(|_| change(&mut self.draw)).collect();
        let mut batch = WriteBatch::new();
        let db = self.db.as_ref().unwrap();
        if let ([change], true) = (&*changes, self.draw.one_in(2)) {
            change.write_to(db).unwrap();
        } else {
            for change in &changes {
                change.add_to(&mut batch);
            }
            assert_eq!(batch.len(), changes.len());
            match self.draw.below(4) {
                0 => db.write_with(&batch, Durability::Sync),
                1 => db.write_with(&batch, Durability::Buffered),
                _ => db.write(&batch),
            }
            .unwrap();
        }
        for change in &changes {
            self.model.apply(change, self.clock.now_secs());
        }
    }

    /// Ingests some rows in up to three tables.
    fn ingest(&mut self) {
        let count = 1 + self.draw.below(12);
        let rows: BTreeMap<_, _> =
            (0..count).map(|_| (key(&mut self.draw), value(&mut self.draw))).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        let mut rest = rows.iter().peekable();
        while rest.peek().is_some() {
            let path = dir.path().join(paths.len().to_string());
            let mut writer = TableWriter::create(&path, &self.options()).unwrap();
            for (key, value) in rest.by_ref().take(rows.len().div_ceil(3)) {
                writer.put(key, value).unwrap();
            }
            writer.finish().unwrap();
            paths.insert(self.draw.below(paths.len() + 1), path);
        }
        let db = self.db.as_ref().unwrap();
        db.ingest(&paths).unwrap();
        // All rows have one seqno, and it is larger than all before.
        let seqno = db.stats().last_seqno;
        assert!(seqno > self.model.last_seqno);
        self.model.last_seqno = seqno;
        for (key, value) in rows {
            let base = Some((value, 0));
            self.model.rows.insert(key, Cell { base, operands: Vec::new(), seqno });
        }
    }

    fn read(&mut self) {
        let picture = self.picture();
        let keys: Vec<_> = (0..4).map(|_| key(&mut self.draw)).collect();
        let db = self.db.as_ref().unwrap();
        for key in &keys {
            let wanted = picture.get(key);
            assert_eq!(db.get(key).unwrap().as_deref(), wanted.map(|known| &*known.value));
            same_entry(db.get_entry(key).transpose(), wanted.map(|known| (&**key, known)));
            assert_eq!(db.contains_key(key).unwrap(), wanted.is_some());
        }
        let many = db.multi_get(&keys).unwrap();
        for (key, found) in keys.iter().zip(many) {
            assert_eq!(found.as_deref(), picture.get(key).map(|known| &*known.value));
        }
        let prefix = &keys[0];
        let wanted = || picture.iter().map(borrowed).filter(|(key, _)| key.starts_with(prefix));
        check_scan(db.prefix(prefix), wanted());
        check_scan(db.prefix(prefix).rev(), wanted().rev());
    }

    fn check_all(&self) {
        let picture = self.picture();
        check_scan(self.db().iter(), picture.iter().map(borrowed));
        check_scan(self.db().iter().rev(), picture.iter().map(borrowed).rev());
        let mut keys = self.db().key_cursor();
        let mut is_on_key = keys.seek_first().unwrap();
        for key in picture.keys() {
            assert!(is_on_key && keys.key() == key);
            is_on_key = keys.next().unwrap();
        }
        assert!(!is_on_key && !keys.valid());
        is_on_key = keys.seek_last().unwrap();
        for key in picture.keys().rev() {
            assert!(is_on_key && keys.key() == key);
            is_on_key = keys.prev().unwrap();
        }
        assert!(!is_on_key);
        for key in picture.keys() {
            assert!(keys.seek(key).unwrap() && keys.key() == key);
            assert!(keys.seek_for_prev(key).unwrap() && keys.key() == key);
        }
    }

    fn reopen(&mut self) {
        let db = self.db.take().unwrap();
        if self.draw.one_in(2) {
            let other = db.clone();
            db.close().unwrap();
            assert!(matches!(other.get("a"), Err(tinydb::Error::Closed)));
        } else {
            drop(db);
        }
        let mut pinned = std::mem::take(&mut self.pinned);
        for pinned in &mut pinned {
            pinned.step(&mut self.draw);
        }
        self.pinned = pinned;
        self.open();
    }

    fn finish(&mut self) {
        self.check_all();
        self.reopen();
        self.check_all();
        let report = self.db().verify().unwrap();
        assert!(report.is_ok(), "{:?}", report.problems());
        // Closed, so that no merge in the background is in the middle of something.
        self.db().clone().close().unwrap();
        check_directory(&self.place.file_names(), self.db());
    }
}

/// Runs one option set on a place.
fn check_setup(place: Place, index: usize, seed: u64) {
    let setup = SETUPS[index];
    let _seed = Seed(seed, format!("{setup:?}"));
    let mut run = Run::new(place, setup, seed ^ ((index as u64) << 32));
    for _ in 0..OPS_PER_RUN {
        run.step();
    }
    run.finish();
}

/// Runs every option set without threads of its own, in memory.
#[cfg(feature = "mutants")]
pub(crate) fn check_alone(seed: u64) {
    for index in (0..SETUPS.len()).filter(|index| SETUPS[*index].background_threads == 0) {
        check_setup(Place::simulated(seed), index, seed);
    }
}

/// Runs every option set on a place.
fn check(runs: u64, place: fn(u64) -> Place) {
    for seed in first_seed()..first_seed() + runs {
        (0..SETUPS.len()).for_each(|index| check_setup(place(seed), index, seed));
    }
}

#[test]
fn a_database_in_memory_behaves_as_a_map() {
    check(runs(RUNS), Place::simulated);
}

#[test]
fn a_database_on_disk_behaves_as_a_map() {
    check(runs(2), |_| Place::real());
}
