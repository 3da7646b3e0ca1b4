//! The recipe of the databases: a history of operations, and which of them lie in which table and
//! log. What a reader sees is told from the history alone, by a model that knows no files.

use std::collections::BTreeMap;

use tinydb::MergeOperator;
use tinydb::internals::FilterSize;
use tinydb::internals::checksum::checksum;
use tinydb::internals::file_name::FileName;
use tinydb::internals::log::LogInfo;
use tinydb::internals::log_op::{Op, RangeDelete};
use tinydb::internals::manifest::{ManifestData, TableRecord};
use tinydb::internals::range_tombstone::RangeTombstone;
use tinydb::internals::row::Kind;
use tinydb::merge::{Append, Counter};

use super::super::recipe::{DATABASE_ID, HASH_SEED, Log, OwnedRow, op, table_numbered};

/// When the databases are read: in 2027, between the expiries.
pub(in super::super) const NOW: u64 = 1_800_000_000;
const PAST: u64 = 1_700_000_000;
const FUTURE: u64 = 1_900_000_000;

/// A directory, and what is to be said of it.
pub(in super::super) struct Database {
    pub(in super::super) name: &'static str,
    pub(super) files: Vec<(FileName, Vec<u8>)>,
    /// The rule that it breaks, if it is to be refused.
    pub(in super::super) rule: Option<&'static str>,
    /// What a reader sees, by key.
    pub(super) seen: BTreeMap<Vec<u8>, Seen>,
    /// Whether its merge operator is a counter; that of all others is [`operator`].
    pub(super) counts: bool,
}

impl Database {
    pub(super) fn operator(&self) -> Box<dyn MergeOperator> {
        if self.counts { Box::new(Counter) } else { Box::new(operator()) }
    }
}

/// What a reader sees of a key: the value below, and the operands above it, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) value: Option<Vec<u8>>,
    pub(super) operands: Vec<Vec<u8>>,
}

/// The merge operator of most databases.
fn operator() -> Append {
    Append::new("+")
}

/// Every database there is.
pub(in super::super) fn all() -> Vec<Database> {
    let mut all = vec![fresh(), logs_only(), levels(), crashed(), unsealed(), counters()];
    all.extend(recovered());
    all.extend(refused());
    all
}

// ---- the history ------------------------------------------------------------------------------

/// Operations, the first with seqno 1.
type History = Vec<Op<'static>>;

const fn range(start: &'static [u8], end: Option<&'static [u8]>) -> Op<'static> {
    Op::RangeDelete(RangeDelete { tree_id: 0, start, end })
}

fn put(key: &'static [u8], value: &'static [u8]) -> Op<'static> {
    op(Kind::Put, key, 0, value)
}

/// What is seen when all of this is done.
fn model(history: &[Op<'_>]) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen: BTreeMap<Vec<u8>, Seen> = BTreeMap::new();
    for op in history {
        match op {
            Op::RangeDelete(op) => {
                seen.retain(|key, _| {
                    &key[..] < op.start || op.end.is_some_and(|end| &key[..] >= end)
                });
            }
            Op::Row(op) if op.kind == Kind::Merge => {
                seen.entry(op.key.to_vec()).or_default().operands.push(op.value.to_vec());
            }
            Op::Row(op) => {
                seen.remove(op.key);
                let has_expired = op.expires_at != 0 && op.expires_at <= NOW;
                if op.kind == Kind::Put && !has_expired {
                    let value = Some(op.value.to_vec());
                    seen.insert(op.key.to_vec(), Seen { value, operands: Vec::new() });
                }
            }
        }
    }
    seen
}

/// Every kind of operation, twelve at a time; in later ones are changes of earlier ones.
fn long_history() -> History {
    let merge = |key, operand| op(Kind::Merge, key, 0, operand);
    let delete = |key| op(Kind::Delete, key, 0, b"");
    vec![
        // Seqnos 1 to 12: the deepest level.
        put(b"", b"the empty key"),
        put(b"apple", b"1"),
        put(b"banana", b"2"),
        put(b"cherry", b"3"),
        merge(b"list", b"a"),
        put(b"lemon", b"4"),
        put(b"melon", b"5"),
        put(b"nut", b"6"),
        put(b"olive", b"7"),
        op(Kind::Put, b"past", PAST, b"expired"),
        op(Kind::Put, b"pear", FUTURE, b"expires later"),
        put(b"\xff\xff", b"the last key"),
        // 13 to 18: the level above.
        put(b"banana", b"2, again"),
        merge(b"list", b"b"),
        delete(b"melon"),
        merge(b"apple", b"onto a put"),
        op(Kind::Put, b"olive", PAST, b"expired, and hides what is below"),
        put(b"quince", b"8"),
        // 19 to 23: the older table of level 0.
        range(b"c", Some(b"m")),
        put(b"lemon", b"after the range delete"),
        merge(b"list", b"c, alone"),
        put(b"melon", b"back"),
        delete(b"never written"),
        // 24 to 28: the newer one.
        merge(b"list", b"d"),
        range(b"q", None),
        put(b"raisin", b"9"),
        delete(b"nut"),
        merge(b"nut", b"onto nothing"),
        // 29 to 34: the log.
        put(b"apple", b"a new one"),
        range(b"b", Some(b"banana\0")),
        merge(b"apple", b"and more"),
        put(b"zebra", b"10"),
        op(Kind::Put, b"zoo", FUTURE, b"11"),
        delete(b"raisin"),
    ]
}

// ---- files ------------------------------------------------------------------------------------

/// A table of those operations with seqnos of `seqnos` whose keys are of `keys`.
fn table(
    history: &[Op<'_>],
    (number, level): (u64, u32),
    seqnos: std::ops::RangeInclusive<u64>,
    keys: (&[u8], Option<&[u8]>),
) -> (Vec<u8>, TableRecord) {
    let (mut rows, mut fragments) = (Vec::new(), Vec::new());
    for (seqno, op) in (1..).zip(history).filter(|(seqno, _)| seqnos.contains(seqno)) {
        match op {
            Op::RangeDelete(op) => {
                fragments.push(RangeTombstone { start: op.start, end: op.end, seqno });
            }
            Op::Row(op) if op.key >= keys.0 && keys.1.is_none_or(|end| op.key < end) => {
                rows.push(OwnedRow {
                    key: op.key.to_vec(),
                    seqno,
                    kind: op.kind,
                    expires_at: op.expires_at,
                    value: op.value.to_vec(),
                });
            }
            Op::Row(_) => {}
        }
    }
    rows.sort_by(|a, b| (&a.key, b.seqno).cmp(&(&b.key, a.seqno)));
    let file_id = 0xF11E_0000_0000_0000 | number;
    let (filter, operator) = (FilterSize::BitsPerKey(10), operator());
    let bytes = table_numbered((number, file_id), &rows, &fragments, filter, operator.name());
    let seqnos = || rows.iter().map(|row| row.seqno);
    let record = TableRecord {
        tree_id: 0,
        level,
        file_number: number,
        file_id,
        file_len: bytes.len() as u64,
        checksum: checksum(&bytes, file_id),
        row_count: rows.len() as u64,
        min_seqno: seqnos().min().expect("rows"),
        max_seqno: seqnos().max().expect("rows"),
        range_tombstone_count: fragments.len() as u64,
        cleared_seqno: 0,
        smallest: rows.first().expect("rows").key.clone(),
        largest: rows.last().expect("rows").key.clone(),
    };
    (bytes, record)
}

/// A manifest; file numbers up to 99 are in use.
fn manifest(number: u64, oldest_log: u64, last_seqno: u64, tables: Vec<TableRecord>) -> Vec<u8> {
    manifest_named(number, oldest_log, last_seqno, tables, Some(operator().name().to_owned()))
}

fn manifest_named(
    number: u64,
    oldest_log: u64,
    last_seqno: u64,
    tables: Vec<TableRecord>,
    merge_operator: Option<String>,
) -> Vec<u8> {
    let data = ManifestData {
        manifest_number: number,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        next_file_number: 100,
        last_seqno,
        oldest_log,
        merge_operator,
        tables,
    };
    data.encode()
}

/// A log that was made under a manifest, behind another log or none.
fn log(number: u64, manifest_number: u64, previous_log: u64, first_seqno: u64) -> Log {
    let operator = operator();
    Log::of(&LogInfo {
        log_number: number,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        manifest_number,
        previous_log,
        first_seqno,
        merge_operator: Some(operator.name()),
    })
}

fn good(name: &'static str, files: Vec<(FileName, Vec<u8>)>, history: &[Op<'_>]) -> Database {
    Database { name, files, rule: None, seen: model(history), counts: false }
}

// ---- databases that are to be read --------------------------------------------------------------

/// A database that was just created.
fn fresh() -> Database {
    let files = vec![
        (FileName::Manifest(1), manifest(1, 2, 0, Vec::new())),
        (FileName::Log(2), log(2, 1, 0, 1).bytes),
    ];
    good("fresh", files, &[])
}

/// No table yet, and two logs: a sealed one and one that ends with zeros.
fn logs_only() -> Database {
    let history = long_history();
    let mut older = log(2, 1, 0, 1);
    older.batch(&history[..5]).batch(&history[5..18]).synced().seal();
    let mut newer = log(3, 1, 2, 19);
    newer.batch(&history[18..19]).synced().batch(&history[19..]).zeros(512);
    let files = vec![
        (FileName::Manifest(1), manifest(1, 2, 0, Vec::new())),
        (FileName::Log(2), older.bytes),
        (FileName::Log(3), newer.bytes),
    ];
    good("logs-only", files, &history)
}

/// The tables of the long history: two in level 0, one in level 1, two in level 2.
fn tables(history: &[Op<'_>]) -> Vec<(Vec<u8>, TableRecord)> {
    let all = (&b""[..], None);
    vec![
        table(history, (14, 0), 24..=28, all),
        table(history, (13, 0), 19..=23, all),
        table(history, (12, 1), 13..=18, all),
        table(history, (10, 2), 1..=12, (b"", Some(b"m"))),
        table(history, (11, 2), 1..=12, (b"m", None)),
    ]
}

/// Tables in three levels, with range deletes in two and in the log, and operands in most.
fn levels() -> Database {
    let history = long_history();
    let (tables, records): (Vec<_>, Vec<_>) = tables(&history).into_iter().unzip();
    let mut newest = log(21, 20, 0, 29);
    newest.batch(&history[28..31]).synced().batch(&history[31..]);
    let numbers = records.iter().map(|record| FileName::Table(record.file_number));
    let mut files: Vec<(FileName, Vec<u8>)> = numbers.zip(tables).collect();
    files.push((FileName::Manifest(20), manifest(20, 21, 28, records)));
    files.push((FileName::Log(21), newest.bytes));
    good("levels", files, &history)
}

/// What a crash leaves: an older manifest, a table that no manifest names yet, a file that was
/// being written, a log that is obsolete, and the newest log torn in its last record.
fn crashed() -> Database {
    let history = long_history();
    let (oldest, record) = table(&history, (10, 2), 1..=12, (b"", None));
    let (orphan, _) = table(&history, (15, 0), 13..=18, (b"", None));
    let mut obsolete = log(2, 1, 0, 1);
    obsolete.batch(&history[..12]).synced().seal();
    let mut older = log(3, 1, 2, 13);
    older.batch(&history[12..18]).synced().seal();
    let mut newest = log(21, 20, 3, 19);
    newest.batch(&history[18..23]).synced().batch(&history[23..28]);
    let torn_at = newest.bytes.len() - 9;
    newest.bytes[torn_at..].fill(0);
    newest.zeros(256);
    let unfinished = orphan[..5000].to_vec();
    let files = vec![
        (FileName::Manifest(1), manifest(1, 2, 0, Vec::new())),
        (FileName::Manifest(20), manifest(20, 3, 12, vec![record])),
        (FileName::Table(10), oldest),
        (FileName::Table(15), orphan),
        (FileName::Tmp(22), unfinished),
        (FileName::Log(2), obsolete.bytes),
        (FileName::Log(3), older.bytes),
        (FileName::Log(21), newest.bytes),
    ];
    good("crashed", files, &history[..23])
}

/// A log that was not sealed, and the next one continues it: nothing is missing, though a record of
/// the last one proves that all before it was durable.
fn unsealed() -> Database {
    let history = long_history();
    let mut older = log(2, 1, 0, 1);
    older.batch(&history[..18]);
    let mut newer = log(3, 1, 2, 19);
    newer.batch(&history[18..24]).synced().batch(&history[24..]);
    let files = vec![
        (FileName::Manifest(1), manifest(1, 2, 0, Vec::new())),
        (FileName::Log(2), older.bytes),
        (FileName::Log(3), newer.bytes),
    ];
    good("unsealed", files, &history)
}

/// Counters, whose operator only the log names: the manifest is older than the operator.
fn counters() -> Database {
    const PLUS: [&[u8]; 4] = [
        &300_i64.to_le_bytes(),
        &(-45_i64).to_le_bytes(),
        &i64::MAX.to_le_bytes(),
        &1_i64.to_le_bytes(),
    ];
    let plus = |key, operand| op(Kind::Merge, key, 0, operand);
    let history = vec![
        plus(b"from nothing", PLUS[0]),
        plus(b"from nothing", PLUS[1]),
        put(b"from a put", PLUS[2]),
        plus(b"from a put", PLUS[3]),
        op(Kind::Put, b"from what expired", PAST, PLUS[0]),
        plus(b"from what expired", PLUS[3]),
        put(b"no counter", b"any value"),
    ];
    let info = LogInfo {
        log_number: 2,
        database_id: DATABASE_ID,
        hash_seed: HASH_SEED,
        manifest_number: 1,
        previous_log: 0,
        first_seqno: 1,
        merge_operator: Some(Counter.name()),
    };
    let mut newest = Log::of(&info);
    newest.batch(&history);
    let files = vec![
        (FileName::Manifest(1), manifest_named(1, 2, 0, Vec::new(), None)),
        (FileName::Log(2), newest.bytes),
    ];
    Database { counts: true, ..good("counters", files, &history) }
}

/// A database of logs alone, under a manifest without tables.
fn of_logs(name: &'static str, logs: Vec<(u64, Log)>, history: &[Op<'_>]) -> Database {
    let logs = logs.into_iter().map(|(number, log)| (FileName::Log(number), log.bytes));
    let manifest = (FileName::Manifest(1), manifest(1, 2, 0, Vec::new()));
    good(name, [manifest].into_iter().chain(logs).collect(), history)
}

/// What a crash can leave of logs: each way that recovery takes without an error.
fn recovered() -> Vec<Database> {
    let history = long_history();
    let sealed = || {
        let mut log = log(2, 1, 0, 1);
        log.batch(&history[..18]).synced().seal();
        log
    };
    let torn = || {
        let mut log = log(2, 1, 0, 1);
        log.batch(&history[..18]).batch(&history[18..20]);
        let at = log.bytes.len() - 16;
        log.bytes[at..].fill(0);
        log
    };
    let behind = |number, previous, ops: std::ops::Range<usize>| {
        let mut log = log(number, 1, previous, ops.start as u64 + 1);
        log.batch(&history[ops]);
        log
    };
    // As a recovery that did not finish leaves it: what was read, once more, and known to be durable.
    let mut rewrite = log(5, 1, 0, 1);
    rewrite.batch(&history[..5]).synced().batch(&history[5..6]);
    let rewrite = || (5, rewrite.clone());
    vec![
        of_logs("unfinished-recovery", vec![(2, sealed()), rewrite()], &history[..18]),
        of_logs("torn-before-a-rewrite", vec![(2, torn()), rewrite()], &history[..18]),
        of_logs("torn-between", vec![(2, torn()), (3, behind(3, 2, 20..24))], &history[..18]),
        of_logs("lost-log", vec![(2, sealed()), (4, behind(4, 3, 19..24))], &history[..18]),
        of_logs("lost-batches", vec![(2, sealed()), (3, behind(3, 2, 19..24))], &history[..18]),
    ]
}

// ---- databases that are to be refused -----------------------------------------------------------

/// Where the first record of a log stands.
fn operator_end() -> usize {
    128 + operator().name().len().next_multiple_of(8)
}

/// A database for each rule that compares files with each other.
fn refused() -> Vec<Database> {
    let bad = |rule, name, files| Database {
        name,
        files,
        rule: Some(rule),
        seen: BTreeMap::new(),
        counts: false,
    };
    let empty = || (FileName::Manifest(20), manifest(20, 2, 0, Vec::new()));
    let first = || {
        let mut log = log(2, 20, 0, 1);
        log.batch(&[put(b"a", b"1")]);
        log
    };
    // Says that all before its second record is durable, and so are all older logs.
    let proof = |previous, first_seqno| {
        let mut log = log(4, 20, previous, first_seqno);
        log.batch(&[put(b"b", b"2")]).synced().batch(&[put(b"c", b"3")]);
        (FileName::Log(4), log.bytes)
    };
    let mut future = log(2, 21, 0, 1);
    future.batch(&[put(b"a", b"1")]);
    let mut again = log(2, 20, 0, 1);
    again.batch(&[put(b"a", b"1")]);

    let history = long_history();
    let (bytes, mut record) = table(&history, (10, 2), 1..=12, (b"", None));
    record.range_tombstone_count = 1;
    let mismatch = manifest(20, 21, 12, vec![record]);
    vec![
        bad("F1", "F1-no-manifest", vec![(FileName::Log(2), first().bytes)]),
        bad("F2", "F2-log-of-a-newer-manifest", vec![empty(), (FileName::Log(2), future.bytes)]),
        bad("F3", "F3-log-is-missing", vec![empty(), proof(2, 2)]),
        bad(
            "F4",
            "F4-seqno-again",
            vec![
                (FileName::Manifest(20), manifest(20, 2, 5, Vec::new())),
                (FileName::Log(2), again.bytes),
            ],
        ),
        bad("L15", "L15-ends-too-early", {
            vec![empty(), (FileName::Log(2), first().bytes), proof(2, 3)]
        }),
        bad("F3", "F3-behind-a-seal", {
            let mut sealed = first();
            sealed.synced().seal();
            vec![empty(), (FileName::Log(2), sealed.bytes), proof(3, 2)]
        }),
        bad("F4", "F4-behind-a-seal", {
            let mut sealed = first();
            sealed.synced().seal();
            vec![empty(), (FileName::Log(2), sealed.bytes), proof(2, 3)]
        }),
        bad("L9", "L9-proven-by-itself", {
            let mut damaged = first();
            damaged.synced().batch(&[put(b"b", b"2")]);
            damaged.bytes[operator_end()] ^= 1;
            vec![empty(), (FileName::Log(2), damaged.bytes)]
        }),
        bad("L10", "L10-torn-before-a-proof", {
            let mut torn = first();
            torn.batch(&[put(b"b", b"2")]);
            // The value; three zeros follow it.
            let at = torn.bytes.len() - 4;
            torn.bytes[at] ^= 1;
            vec![empty(), (FileName::Log(2), torn.bytes), proof(2, 3)]
        }),
        bad(
            "M15",
            "M15-range-tombstones",
            vec![(FileName::Manifest(20), mismatch), (FileName::Table(10), bytes)],
        ),
    ]
}
