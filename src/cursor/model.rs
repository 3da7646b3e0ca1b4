//! What tests hold cursors against: rows in a plain vector, and random moves.
//!
//! [`VecCursor`] is a run that cannot be wrong; [`check_moves_agree`] walks it beside another
//! cursor, and [`check_shows`] walks a visible cursor beside the rows that it must show.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::cell::Cell;
use std::cmp::Reverse;
use std::rc::Rc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::cursor::{Cursor, Location, VisibleCursor};
use crate::error::{Error, Result};
use crate::format::row::{Kind, Row};
use crate::value::Value;

/// A row that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) key: Vec<u8>,
    pub(crate) seqno: u64,
    pub(crate) kind: Kind,
    pub(crate) expires_at: u64,
    pub(crate) value: Vec<u8>,
}

impl Version {
    pub(crate) fn of(cursor: &impl Cursor) -> Option<Self> {
        cursor.valid().then(|| Self {
            key: cursor.key().to_vec(),
            seqno: cursor.seqno(),
            kind: cursor.kind(),
            expires_at: cursor.expires_at(),
            value: cursor.value().to_vec(),
        })
    }

    pub(crate) fn row(&self) -> Row<'_> {
        let Self { key, seqno, kind, expires_at, value } = self;
        Row { key, seqno: *seqno, kind: *kind, expires_at: *expires_at, value }
    }

    fn order(&self) -> (&[u8], Reverse<u64>) {
        (&self.key, Reverse(self.seqno))
    }
}

/// Counts the calls of cursors and lets one of them fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) count: Rc<Cell<usize>>,
    pub(crate) fails_at: Rc<Cell<usize>>,
}

/// The plainest cursor: an index into a sorted vector.
#[derive(Debug)]
pub(crate) struct VecCursor {
    rows: Vec<Version>,
    at: Option<usize>,
    pub(crate) calls: Calls,
}

impl VecCursor {
    pub(crate) fn new(mut rows: Vec<Version>) -> Self {
        rows.sort_by(|a, b| a.order().cmp(&b.order()));
        Self { rows, at: None, calls: Calls::default() }
    }

    /// Over rows that need not be in order.
    pub(crate) fn without_order(rows: Vec<Version>) -> Self {
        Self { rows, at: None, calls: Calls::default() }
    }

    fn row(&self) -> Option<&Version> {
        self.at.map(|index| &self.rows[index])
    }

    fn go_to(&mut self, at: Option<usize>) -> Result<()> {
        self.calls.count.set(self.calls.count.get() + 1);
        if self.calls.count.get() == self.calls.fails_at.get() {
            self.at = None;
            return Err(Error::invalid("a call that fails"));
        }
        self.at = at.filter(|index| *index < self.rows.len());
        Ok(())
    }
}

impl Cursor for VecCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.go_to(Some(0))
    }
    fn seek_last(&mut self) -> Result<()> {
        self.go_to(self.rows.len().checked_sub(1))
    }
    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        let target = (key, Reverse(seqno));
        self.go_to(Some(self.rows.partition_point(|row| row.order() < target)))
    }
    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        let target = (key, Reverse(seqno));
        self.go_to(self.rows.partition_point(|row| row.order() <= target).checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.go_to(self.at.map(|index| index + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.go_to(self.at.and_then(|index| index.checked_sub(1)))
    }
    fn next_key(&mut self) -> Result<()> {
        let next = self.at.map(|at| {
            let others = self.rows.iter().skip(at);
            at + others.take_while(|other| other.key == self.rows[at].key).count()
        });
        self.go_to(next)
    }
    fn prev_has_same_key(&mut self) -> Result<bool> {
        self.go_to(self.at)?;
        let before = self.at.and_then(|index| index.checked_sub(1));
        Ok(before.is_some_and(|index| self.rows[index].key == self.rows[index + 1].key))
    }
    fn newest_seqno(&self) -> u64 {
        self.rows.iter().map(|row| row.seqno).max().unwrap_or(0)
    }
    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        let to = end.map(|end| self.rows.partition_point(|row| *row.key < *end));
        self.go_to(self.at.and(to))
    }
    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        let to = self.rows.partition_point(|row| *row.key < *start).checked_sub(1);
        self.go_to(self.at.and(to))
    }

    fn valid(&self) -> bool {
        self.at.is_some()
    }
    fn key(&self) -> &[u8] {
        self.row().map_or(&[], |row| &row.key)
    }
    fn seqno(&self) -> u64 {
        self.row().map_or(0, |row| row.seqno)
    }
    fn kind(&self) -> Kind {
        self.row().map_or(Kind::Put, |row| row.kind)
    }
    fn expires_at(&self) -> u64 {
        self.row().map_or(0, |row| row.expires_at)
    }
    fn value(&self) -> &[u8] {
        self.row().map_or(&[], |row| &row.value)
    }
    fn location(&self) -> Location {
        Location::Cursor
    }
    fn owned_value(&self) -> Value<'static> {
        Value::copied(self.value())
    }
}

pub(crate) fn random_key(random: &mut SmallRng, key_count: u32) -> Vec<u8> {
    let number = random.random_range(0..key_count);
    match number % 3 {
        0 => vec![0; number as usize / 3 % 20],
        1 => format!("a prefix of more than 16 bytes {number}").into_bytes(),
        _ => format!("{number:02x}").into_bytes(),
    }
}

/// Rows with the seqnos from 1 to `row_count`.
pub(crate) fn random_rows(
    random: &mut SmallRng,
    row_count: u64,
    with_merges: bool,
) -> Vec<Version> {
    let key_count = 1 << random.random_range(0..8);
    let one = |seqno: u64| {
        let key = random_key(random, key_count);
        let expires_at = if random.random_ratio(1, 4) { random.random_range(1..20) } else { 0 };
        let value = seqno.to_string().into_bytes();
        match random.random_range(0..10) {
            0 | 1 => Version { key, seqno, kind: Kind::Delete, expires_at: 0, value: Vec::new() },
            2 if with_merges => Version { key, seqno, kind: Kind::Merge, expires_at: 0, value },
            _ => Version { key, seqno, kind: Kind::Put, expires_at, value },
        }
    };
    (1..=row_count).map(one).collect()
}

/// Makes the same random moves with both cursors; they must stand on the same row after each.
#[track_caller]
pub(crate) fn check_moves_agree(
    random: &mut SmallRng,
    got: &mut impl Cursor,
    want: &mut VecCursor,
) {
    assert!(!got.valid(), "off the rows before the first seek");
    for _ in 0..300 {
        let key = random_key(random, 256);
        let seqno = [0, u64::MAX, random.random_range(0..300)][random.random_range(0..3)];
        let (name, got_result, want_result) = match random.random_range(0..20) {
            0 => ("seek_first", got.seek_first(), want.seek_first()),
            1 => ("seek_last", got.seek_last(), want.seek_last()),
            2 => ("seek", got.seek(&key, seqno), want.seek(&key, seqno)),
            3 => ("seek_for_prev", got.seek_for_prev(&key, seqno), want.seek_for_prev(&key, seqno)),
            4..10 => ("next", got.next(), want.next()),
            10..14 => ("prev", got.prev(), want.prev()),
            14..17 => ("next_key", got.next_key(), want.next_key()),
            _ => {
                let same = want.prev_has_same_key().unwrap();
                assert_eq!(got.prev_has_same_key().unwrap(), same);
                ("prev_has_same_key", Ok(()), Ok(()))
            }
        };
        got_result.and(want_result).unwrap();
        assert_eq!(Version::of(got), want.row().cloned(), "{name} {key:?} {seqno}");
        if !got.valid() {
            assert_eq!((got.key(), got.value()), (&b""[..], &b""[..]));
            assert_eq!((got.seqno(), got.expires_at(), got.kind()), (0, 0, Kind::Put));
            assert_eq!(got.owned_value(), b"");
        }
    }
}

/// Skips with both cursors, each of which is one piece, from random rows to random keys.
#[track_caller]
pub(crate) fn check_skips_agree(
    random: &mut SmallRng,
    got: &mut impl Cursor,
    want: &mut VecCursor,
) {
    assert!(want.rows.is_empty() || got.seek_first().is_ok_and(|()| got.valid()));
    for _ in 0..100 {
        let (key, bound) = (random_key(random, 256), random_key(random, 256));
        got.seek(&key, 150).and(want.seek(&key, 150)).unwrap();
        if want.valid() {
            assert!(got.seqno() <= got.newest_seqno());
            assert_eq!(got.newest_seqno(), want.newest_seqno());
        }
        if *bound <= *want.key() {
            got.skip_backward(&bound).and(want.skip_backward(&bound)).unwrap();
        } else {
            let end = if random.random_ratio(1, 8) { None } else { Some(&*bound) };
            got.skip_forward(end).and(want.skip_forward(end)).unwrap();
        }
        assert_eq!(Version::of(got), want.row().cloned(), "{key:?} to {bound:?}");
    }
}

/// What a snapshot must show of some rows: a key and its row, or that it needs a merge operator.
pub(crate) fn visible_rows(rows: &[Version], snapshot: u64, now_secs: u64) -> Vec<Version> {
    let mut rows: Vec<_> = rows.iter().filter(|row| row.seqno <= snapshot).cloned().collect();
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    rows.dedup_by(|later, first| later.key == first.key);
    rows.retain(|row| row.kind != Kind::Delete);
    rows.retain(|row| row.expires_at == 0 || now_secs < row.expires_at);
    rows
}

/// A visible cursor as api.md tells of it, over the rows that it must show.
struct VisibleModel {
    rows: Vec<Version>,
    at: Option<usize>,
    failed: Option<Vec<u8>>,
}

/// What a move gives: whether a row is shown, or the key that needs a merge operator.
type Moved = Result<bool, Vec<u8>>;

impl VisibleModel {
    fn go_to(&mut self, at: Option<usize>) -> Moved {
        self.at = at.filter(|index| *index < self.rows.len());
        self.failed = self
            .at
            .map(|index| &self.rows[index])
            .and_then(|row| (row.kind == Kind::Merge).then(|| row.key.clone()));
        match &self.failed {
            Some(key) => {
                self.at = None;
                Err(key.clone())
            }
            None => Ok(self.at.is_some()),
        }
    }

    fn step(&mut self, to: impl FnOnce(usize) -> Option<usize>) -> Moved {
        match (&self.failed, self.at) {
            (Some(key), _) => Err(key.clone()),
            (None, Some(at)) => self.go_to(to(at)),
            (None, None) => Ok(false),
        }
    }
}

/// What a move of a visible cursor gave.
fn moved(result: Result<bool>) -> Moved {
    result.map_err(|error| match error {
        Error::NoMergeOperator { key } => key,
        other => panic!("{other}"),
    })
}

#[track_caller]
pub(crate) fn check_shows<C: Cursor>(
    random: &mut SmallRng,
    cursor: &mut VisibleCursor<C>,
    rows: Vec<Version>,
) {
    let mut model = VisibleModel { rows, at: None, failed: None };
    for _ in 0..300 {
        let key = random_key(random, 256);
        let (name, got, want) = match random.random_range(0..20) {
            0 => ("seek_first", cursor.seek_first(), model.go_to(Some(0))),
            1 => {
                let last = model.rows.len().checked_sub(1);
                ("seek_last", cursor.seek_last(), model.go_to(last))
            }
            2 | 3 => {
                let at = model.rows.partition_point(|row| row.key < key);
                ("seek", cursor.seek(&key), model.go_to(Some(at)))
            }
            4 | 5 => {
                let at = model.rows.partition_point(|row| row.key <= key).checked_sub(1);
                ("seek_for_prev", cursor.seek_for_prev(&key), model.go_to(at))
            }
            6..14 => ("next", cursor.next(), model.step(|at| Some(at + 1))),
            _ => ("prev", cursor.prev(), model.step(|at| at.checked_sub(1))),
        };
        assert_eq!(moved(got), want, "{name} {key:?}");
        let want = model.at.map(|index| model.rows[index].clone());
        assert_eq!(cursor.valid(), want.is_some(), "{name} {key:?}");
        let want = want.unwrap_or(Version {
            key: Vec::new(),
            seqno: 0,
            kind: Kind::Put,
            expires_at: 0,
            value: Vec::new(),
        });
        assert_eq!((cursor.key(), cursor.value()), (&*want.key, &*want.value), "{name} {key:?}");
        assert_eq!((cursor.seqno(), cursor.expires_at()), (want.seqno, want.expires_at));
        assert_eq!(cursor.owned_value(), want.value);
    }
}
