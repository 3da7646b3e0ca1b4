//! A small workload whose every state is known, and what must hold when it is found again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tinydb::internals::SimDisk;
use tinydb::{Db, Durability, Options, Result, TableWriter, WriteBatch};

use crate::support::{ManualClock, check_directory, dump};

pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every batch puts its own number here, so the newest batch can be read off.
const MARK: &[u8] = b"mark";

/// Every batch appends its own number here, so one that is applied twice or not at all shows. Wants
/// the merge operator `Append` with a plus sign.
const LIST: &[u8] = b"list";

/// A row of each batch that begins so is there until [`BRIEFLY`] after the clock's start.
const BRIEF: &str = "brief";
const BRIEFLY: Duration = Duration::from_secs(10);

/// What the workload does in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Writes the next batch.
    Write(Durability),
    /// Ingests what the next batch would leave of its keys, as two tables.
    Ingest,
    Sync,
    Flush,
    /// Merges everything.
    Compact,
    /// Does one merge, as a thread does them while writes go on.
    Merge,
    /// Merges what is due when they rest.
    WaitIdle,
    /// Closes and opens anew.
    Reopen,
}

/// The batches, and the state after each of them; the first state is the empty one.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    batches: Vec<Batch>,
    states: Vec<Rows>,
    /// The last seqno after each batch, or a smaller one.
    seqnos: Vec<u64>,
    /// Where the tables are.
    dir: TempDir,
}

/// What is written at once.
enum Batch {
    Operations(WriteBatch),
    Tables([PathBuf; 2]),
}

/// What a run was told: the numbers of batches, counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// The newest one that was begun.
    pub(crate) attempted: usize,
    /// The newest one whose write returned.
    pub(crate) acked: usize,
    /// The newest one that must survive a power loss.
    pub(crate) durable: usize,
}

impl Script {
    /// A script whose values are about so long.
    pub(crate) fn new(steps: &[Step], value_len: usize) -> Self {
        let mut script = Self {
            steps: steps.to_vec(),
            batches: Vec::new(),
            states: vec![Rows::new()],
            seqnos: vec![0],
            dir: tempfile::tempdir().unwrap(),
        };
        let writes = steps.iter().filter(|step| matches!(step, Step::Write(_) | Step::Ingest));
        for (number, step) in (1..).zip(writes) {
            script.add_batch(number, value_len);
            if let Step::Ingest = step {
                script.make_tables(number);
            }
        }
        script
    }

    /// Puts some keys, overwrites one of the batch before, deletes one of the batch before that, and
    /// now and then all keys of an older one at once. A list shows each batch once.
    fn add_batch(&mut self, number: usize, value_len: usize) {
        let mut batch = WriteBatch::new();
        let mut rows = self.states[number - 1].clone();
        let value = |part: usize| format!("{number}.{part} ").repeat(value_len / 4 + 1);
        let own = |number: usize, part: usize| format!("batch {number} part {part}");
        for (part, key) in [own(number, 0), own(number, 1), own(number.saturating_sub(1), 1)]
            .into_iter()
            .enumerate()
        {
            batch.put(&key, value(part));
            rows.insert(key.into_bytes(), value(part).into_bytes());
        }
        // The newest one is always there; so those of recovered batches must expire, not be lost.
        batch.put_with_ttl(BRIEF, value(2), BRIEFLY);
        rows.insert(BRIEF.into(), value(2).into_bytes());
        let key = format!("{BRIEF} {}", number % 7);
        batch.put_with_ttl(&key, value(3), BRIEFLY);
        rows.insert(key.into_bytes(), value(3).into_bytes());
        if number > 2 {
            let key = own(number - 2, 0);
            batch.delete(&key);
            rows.remove(key.as_bytes());
        }
        if number.is_multiple_of(3) && number > 3 {
            let (start, end) = (own(number - 3, 0), own(number - 3, 9));
            batch.delete_range(&start..&end);
            rows.retain(|key, _| {
                key.as_slice() < start.as_bytes() || key.as_slice() >= end.as_bytes()
            });
        }
        batch.merge(LIST, number.to_string());
        let list = rows.entry(LIST.to_vec()).or_default();
        *list = if list.is_empty() { Vec::new() } else { [list.as_slice(), b"+"].concat() };
        list.extend_from_slice(number.to_string().as_bytes());
        batch.put(MARK, number.to_string());
        rows.insert(MARK.to_vec(), number.to_string().into_bytes());
        self.seqnos.push(self.seqnos[number - 1] + batch.len() as u64);
        self.batches.push(Batch::Operations(batch));
        self.states.push(rows);
    }

    /// Makes tables of the last batch, which then neither deletes nor merges, and lets nothing expire:
    /// what else it changed is put as it is after it.
    fn make_tables(&mut self, number: usize) {
        let (before, mut rows) = (&self.states[number - 1], self.states[number].clone());
        rows.retain(|key, value| {
            !key.starts_with(BRIEF.as_bytes()) && before.get(key) != Some(value)
        });
        let half = rows.len() / 2;
        let paths = [0, 1].map(|part| self.dir.path().join(format!("{number}.{part}")));
        for (path, part) in paths.iter().zip([0..half, half..rows.len()]) {
            let mut writer = TableWriter::create(path, &Options::new()).unwrap();
            for (key, value) in rows.iter().skip(part.start).take(part.len()) {
                writer.put(key, value).unwrap();
            }
            writer.finish().unwrap();
        }
        self.states[number] = before.clone();
        self.states[number].extend(rows);
        self.seqnos[number] = self.seqnos[number - 1] + 1;
        self.batches[number - 1] = Batch::Tables(paths);
    }

    pub(crate) fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// The rows after this batch.
    pub(crate) fn state(&self, number: usize) -> &Rows {
        &self.states[number]
    }

    /// Runs all steps; ends at the first error.
    pub(crate) fn run(
        &self,
        disk: &SimDisk,
        options: &Options,
        history: &mut History,
    ) -> Result<()> {
        let mut db = open(disk, options)?;
        for step in &self.steps {
            match step {
                Step::Write(_) | Step::Ingest => {
                    history.attempted += 1;
                    let is_durable = self.write(&db, history.attempted, *step)?;
                    history.acked = history.attempted;
                    if is_durable {
                        history.durable = history.acked;
                    }
                    continue;
                }
                Step::Sync => db.sync()?,
                Step::Flush => db.flush()?,
                Step::Compact => db.compact()?,
                // Neither makes anything durable by itself.
                Step::Merge => {
                    db.merge_once()?;
                    continue;
                }
                Step::WaitIdle => {
                    db.wait_idle()?;
                    continue;
                }
                Step::Reopen => {
                    db.close()?;
                    history.durable = history.acked;
                    db = open(disk, options)?;
                }
            }
            history.durable = history.acked;
        }
        db.close()?;
        history.durable = history.acked;
        Ok(())
    }

    /// Writes a batch as its step says, and tells whether it is durable then.
    fn write(&self, db: &Db, number: usize, step: Step) -> Result<bool> {
        match (&self.batches[number - 1], step) {
            (Batch::Operations(batch), Step::Write(durability)) => {
                db.write_with(batch, durability)?;
                Ok(durability == Durability::Sync)
            }
            (Batch::Tables(paths), _) => db.ingest(paths).map(|()| true),
            (Batch::Operations(_), other) => panic!("{other:?} writes no batch"),
        }
    }

    /// Runs all steps, each again after an error, and says how many calls failed. A write that
    /// failed for good ends the run, as nothing later may be acknowledged then. Gives the database if
    /// it was closed at the end, without an error.
    pub(crate) fn insist(
        &self,
        disk: &SimDisk,
        options: &Options,
        history: &mut History,
    ) -> (usize, Option<Db>) {
        let mut failures = 0;
        let mut again = |call: &mut dyn FnMut() -> Result<()>| {
            let mut tries = std::iter::repeat_with(call).take(3);
            tries.any(|tried| {
                failures += usize::from(tried.is_err());
                tried.is_ok()
            })
        };
        let mut db = None;
        let open_again = |db: &mut Option<Db>| open(disk, options).map(|opened| *db = Some(opened));
        if !again(&mut || open_again(&mut db)) {
            return (failures, None);
        }
        for step in &self.steps {
            let handle = db.clone().unwrap();
            let durable = match step {
                Step::Write(_) | Step::Ingest => {
                    let number = history.acked + 1;
                    history.attempted = number;
                    let mut is_durable = false;
                    let mut write =
                        || self.write(&handle, number, *step).map(|durable| is_durable = durable);
                    if !again(&mut write) {
                        break;
                    }
                    history.acked = number;
                    is_durable
                }
                Step::Sync => again(&mut || handle.sync()),
                Step::Flush => again(&mut || handle.flush()),
                Step::Compact => again(&mut || handle.compact()),
                // Neither makes anything durable by itself.
                Step::Merge => {
                    again(&mut || handle.merge_once().map(drop));
                    false
                }
                Step::WaitIdle => {
                    again(&mut || handle.wait_idle());
                    false
                }
                Step::Reopen => {
                    let closed = handle.close();
                    db = None;
                    if closed.is_err() {
                        return (failures + 1, None);
                    }
                    history.durable = history.acked;
                    if !again(&mut || open_again(&mut db)) {
                        break;
                    }
                    false
                }
            };
            if durable {
                history.durable = history.acked;
            }
        }
        let is_open = db.is_some();
        let closed = db.filter(|db| db.clone().close().is_ok());
        if closed.is_some() {
            history.durable = history.acked;
        } else if is_open {
            failures += 1;
        }
        (failures, closed)
    }

    /// Opens what is found after a crash, and checks that it is the state after one of the batches
    /// `from..=upto`. Gives that batch's number.
    #[track_caller]
    pub(crate) fn check_found(
        &self,
        disk: &SimDisk,
        options: &Options,
        from: usize,
        upto: usize,
    ) -> usize {
        let db = open(disk, options).expect("what a crash leaves can be opened");
        let found = self.check_state(&db);
        assert!((from..=upto).contains(&found), "found {found}, wanted {from}..={upto}");
        let report = db.verify().unwrap();
        assert!(report.is_ok(), "{:?}", report.problems());
        check_directory(&disk.file_names(), &db);
        found
    }

    /// The number of the batch after which the database is as it is now.
    #[track_caller]
    pub(crate) fn check_state(&self, db: &Db) -> usize {
        let mark = db.get(MARK).unwrap();
        let text = |mark: &[u8]| String::from_utf8(mark.to_vec()).unwrap();
        let number = mark.map_or(0, |mark| text(&mark).parse().unwrap());
        let rows = &self.states[number];
        assert!(dump(db).unwrap() == *rows, "not the state after batch {number}");
        // A scan sorts all rows anew; of a get the first version that it finds counts.
        for (key, value) in rows {
            assert!(
                db.get(key).unwrap().is_some_and(|got| got == *value),
                "{}",
                key.escape_ascii()
            );
        }
        number
    }

    /// As [`check_found`](Self::check_found), then all that must be true of a second opening and
    /// of writing on.
    #[track_caller]
    pub(crate) fn check_found_for_good(
        &self,
        disk: &SimDisk,
        options: &Options,
        from: usize,
        upto: usize,
    ) -> usize {
        let found = self.check_found(disk, options, from, upto);
        let disk = disk.reboot();
        assert_eq!(self.check_found(&disk, options, 0, upto), found, "opened a second time");
        disk.crash(tinydb::internals::CrashMode::LoseUnsynced);
        let disk = disk.reboot();
        assert_eq!(self.check_found(&disk, options, 0, upto), found, "after a power loss");
        let db = open(&disk, options).unwrap();
        let last_seqno = db.stats().last_seqno;
        assert!(last_seqno >= self.seqnos[found], "seqno {last_seqno} after batch {found}");
        db.put("new", "row").unwrap();
        let entry = db.get_entry("new").unwrap().unwrap();
        assert!(entry.seqno() > last_seqno);
        db.close().unwrap();
        let db = open(&disk, options).unwrap();
        assert_eq!(db.get("new").unwrap().as_deref(), Some(&b"row"[..]));
        db.delete("new").unwrap();
        assert_eq!(self.check_state(&db), found, "after a write");
        db.close().unwrap();
        self.check_expired(&disk, options, found);
        found
    }

    /// Opens what is found when all that expires has, and checks that just this is gone, in a
    /// scan and after a compaction.
    fn check_expired(&self, disk: &SimDisk, options: &Options, found: usize) {
        let mut state = self.states[found].clone();
        state.retain(|key, _| !key.starts_with(BRIEF.as_bytes()));
        let clock = ManualClock::default();
        clock.advance(BRIEFLY.as_secs());
        let db = open(&disk.fork(1), &options.clone().clock(clock)).unwrap();
        assert!(dump(&db).unwrap() == state, "what expires after batch {found} did not, alone");
        db.compact().unwrap();
        assert!(dump(&db).unwrap() == state, "after a compaction");
        let rows: u64 = db.stats().levels.iter().map(|level| level.rows).sum();
        assert_eq!(rows, state.len() as u64, "what has expired is gone");
    }
}

pub(crate) fn open(disk: &SimDisk, options: &Options) -> Result<Db> {
    Db::open_on(Arc::new(disk.clone()), options.clone())
}
