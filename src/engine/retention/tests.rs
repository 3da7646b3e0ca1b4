//! What stays of the rows of a key, above the bottom and at it.

use std::sync::Arc;

use super::*;
use crate::hooks::{CompactionFilter, MergeError, MergeOperator};

/// The time of all these tests.
const NOW: u64 = 100;

/// Joins operands; fails on those that hold `!`.
struct Join;

impl MergeOperator for Join {
    fn name(&self) -> &'static str {
        "join"
    }

    fn merge(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        if operand.contains(&b'!') {
            return Err(MergeError::new("no !"));
        }
        Ok([existing.unwrap_or_default(), operand].concat())
    }
}

/// Removes `remove`, makes `new` of `old`, fails on `fail`.
struct ByValue;

impl CompactionFilter for ByValue {
    fn name(&self) -> &'static str {
        "by-value"
    }

    fn filter(
        &self,
        _key: &[u8],
        value: &[u8],
    ) -> Result<Decision, Box<dyn std::error::Error + Send + Sync>> {
        match value {
            b"remove" => Ok(Decision::Remove),
            b"old" => Ok(Decision::Replace(b"new".to_vec())),
            b"fail" => Err("failed".into()),
            _ => Ok(Decision::Keep),
        }
    }
}

/// Keeps what it gets, in words.
struct Kept {
    nothing_below: bool,
    rows: Vec<String>,
}

impl Sink for Kept {
    fn nothing_below(&mut self, _key: &[u8]) -> bool {
        self.nothing_below
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        self.rows.push(shown(row));
        Ok(())
    }
}

fn shown(row: &Row<'_>) -> String {
    let (key, value) = (row.key.escape_ascii(), row.value.escape_ascii());
    let expiry = if row.expires_at == 0 { String::new() } else { format!("@{}", row.expires_at) };
    match row.kind {
        Kind::Put => format!("{key}{}={value}{expiry}", row.seqno),
        Kind::Merge => format!("{key}{}+{value}{expiry}", row.seqno),
        Kind::Delete => format!("{key}{}-", row.seqno),
    }
}

/// A row in words: `a9=value`, `a9=value@150` if it expires, `a9+operand`, `a9-`.
fn row(text: &str) -> Row<'_> {
    let at = text.find(['=', '+', '-']).expect("a kind");
    let (place, rest) = text.split_at(at);
    let (kind, rest) = match rest.split_at(1) {
        ("=", rest) => (Kind::Put, rest),
        ("+", rest) => (Kind::Merge, rest),
        (_, rest) => (Kind::Delete, rest),
    };
    let (value, expiry) = rest.split_once('@').unwrap_or((rest, "0"));
    let (key, seqno) = place.split_at(1);
    Row {
        key: key.as_bytes(),
        seqno: seqno.parse().expect("a seqno"),
        kind,
        expires_at: expiry.parse().expect("an expiry"),
        value: value.as_bytes(),
    }
}

#[derive(Default)]
struct Setting {
    merger: Option<Merger>,
    filter: Option<Filter>,
    snapshots: Arc<SnapshotList>,
    failures: HookCounters,
}

impl Setting {
    fn with_join() -> Self {
        Self { merger: Some(Merger::new(Join)), ..Self::default() }
    }

    fn with_filter() -> Self {
        Self { filter: Some(Filter::new(ByValue)), ..Self::with_join() }
    }

    /// What stays of these rows, and what became of the others.
    fn run(&self, rows: &str, nothing_below: bool) -> (String, Counts) {
        let hooks = Hooks {
            merger: self.merger.as_ref(),
            filter: self.filter.as_ref(),
            snapshots: Some(&self.snapshots),
            failures: &self.failures,
        };
        let mut sink = Kept { nothing_below, rows: Vec::new() };
        let mut retention = Retention::new(hooks, NOW);
        for text in rows.split_whitespace() {
            retention.add(&row(text), &mut sink).unwrap();
        }
        let counts = retention.finish(&mut sink).unwrap();
        (sink.rows.join(" "), counts)
    }

    #[track_caller]
    fn check(&self, rows: &str, above: &str, bottom: &str) {
        assert_eq!(self.run(rows, false).0, above, "above the bottom: {rows}");
        assert_eq!(self.run(rows, true).0, bottom, "at the bottom: {rows}");
    }
}

#[test]
fn the_newest_row_hides_the_others_and_tombstones_go_at_the_bottom() {
    let plain = Setting::default();
    plain.check("a9=x a5=y b4=z", "a9=x b4=z", "a0=x b0=z");
    plain.check("a9- a5=y b4=z", "a9- b4=z", "b0=z");
    plain.check("a9- a5- a4=x", "a9-", "");
    plain.check("a9=x@200", "a9=x@200", "a0=x@200");
    let counts = plain.run("a9- a5=y b4=z b3- b2=z", true).1;
    assert_eq!(counts, Counts { hidden: 3, spent: 1, ..Counts::default() });
}

#[test]
fn an_expired_row_counts_as_a_tombstone() {
    let plain = Setting::default();
    plain.check("a9=x@100 a5=y", "a9-", "");
    plain.check("a9=x@101 a5=y", "a9=x@101", "a0=x@101");
    let counts = plain.run("a9=x@99 a5=y", true).1;
    assert_eq!(counts, Counts { hidden: 1, expired: 1, ..Counts::default() });
}

#[test]
fn without_an_operator_operands_are_carried_along() {
    let plain = Setting::default();
    plain.check("a9+x a8+y a5=z a3=q", "a9+x a8+y a5=z", "a9+x a8+y a0=z");
    plain.check("a9+x a8- a5=z", "a9+x a8-", "a9+x");
    plain.check("a9+x a8+y", "a9+x a8+y", "a9+x a8+y");
}

#[test]
fn operands_are_folded_onto_what_they_stand_on() {
    let join = Setting::with_join();
    join.check("a9+c a8+b a5=a a3=q b1=x", "a9=abc b1=x", "a0=abc b0=x");
    join.check("a9+c a8+b", "a9+bc", "a0=bc");
    join.check("a9+c", "a9+c", "a0=c");
    join.check("a9+ a8+", "a9+", "a0=");
    // A delete, or what has expired, counts as absent.
    join.check("a9+c a8+b a7- a5=a", "a9=bc", "a0=bc");
    join.check("a9+c a8+b a7=x@100 a5=a", "a9=bc", "a0=bc");
    // What will expire is not folded away.
    join.check("a9+c a8+b a7=x@101 a5=a", "a9+bc a7=x@101", "a9+bc a0=x@101");
    join.check("a9+c a7=x@101", "a9+c a7=x@101", "a9+c a0=x@101");
    let counts = join.run("a9+c a8+b a5=a a3=q", true).1;
    assert_eq!(counts, Counts { hidden: 1, folded: 2, ..Counts::default() });
}

#[test]
fn operands_that_can_not_be_folded_stay_as_they_are() {
    let join = Setting::with_join();
    join.check("a9+c a8+! a5=a a3=q", "a9+c a8+! a5=a", "a9+c a8+! a0=a");
    join.check("a9+c a8+! b1+x b0+y", "a9+c a8+! b1+yx", "a9+c a8+! b0=yx");
    join.check("a9+c a8+! a7- a5=a", "a9+c a8+! a7-", "a9+c a8+!");
    join.check("a9+! a8+b a7=x@101", "a9+! a8+b a7=x@101", "a9+! a8+b a0=x@101");
    let stats = join.failures.stats();
    assert_eq!((stats.merge_failures, stats.filter_failures), (8, 0));
    assert_eq!(stats.last_failure.unwrap(), "the merge operator failed on key \"a\": no !");
}

#[test]
fn the_filter_is_asked_about_the_newest_value_of_a_key() {
    let filter = Setting::with_filter();
    filter.check("a9=remove a5=y b4=old c3=x", "a9- b4=new c3=x", "b0=new c0=x");
    filter.check("a9=x a5=remove", "a9=x", "a0=x");
    filter.check("a9=old@101", "a9=new@101", "a0=new@101");
    filter.check("a9=remove@100", "a9-", "");
    filter.check("a9+ove a8=rem", "a9-", "");
    filter.check("a9+ove a8+rem", "a9+remove", "");
    filter.check("a9+x a8=remove@101", "a9+x a8=remove@101", "a9+x a0=remove@101");
    assert_eq!(filter.run("a9=remove b4=old", true).1.removed, 1);
    filter.check("a9=fail", "a9=fail", "a0=fail");
    let stats = filter.failures.stats();
    assert_eq!((stats.merge_failures, stats.filter_failures), (0, 2));
    assert_eq!(stats.last_failure.unwrap(), "compaction filter by-value: failed");
}

#[test]
fn the_filter_is_not_asked_about_what_lies_below_operands_that_stay() {
    let without_operator = Setting { merger: None, ..Setting::with_filter() };
    without_operator.check("a9+x a5=remove", "a9+x a5=remove", "a9+x a0=remove");
    without_operator.check("a9+x a5=old@101", "a9+x a5=old@101", "a9+x a0=old@101");
    without_operator.check("a9+x b5=remove", "a9+x b5-", "a9+x");
    let failing = Setting::with_filter();
    failing.check("a9+! a5=remove", "a9+! a5=remove", "a9+! a0=remove");
}

#[test]
fn the_filter_is_not_asked_about_what_a_live_snapshot_can_see() {
    let filter = Setting::with_filter();
    let snapshot = filter.snapshots.enter(5);
    filter.check("a5=remove b6=remove c4=old", "a5=remove b6- c4=old", "a0=remove c0=old");
    drop(snapshot);
    filter.check("a5=remove", "a5-", "");
}
