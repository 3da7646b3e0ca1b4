//! The choice: which tables form the database.
//!
//! A manifest that can be read says it, as far as it goes; what is provably newer comes on top. Tables
//! that it does not name are otherwise what a merge left behind, or what one had not finished: taken
//! too, they would count merge operands twice and bring deleted rows back. Without a manifest all
//! tables are taken, but for those whose rows stand elsewhere.
//!
//! ```text
//!   named by the manifest   whole ─▶ kept      damaged ─▶ what can be read of it      missing ─▶ lost
//!   not named               of an ingest that was not finished ─▶ left over
//!                           all its seqnos above the manifest's ─▶ kept, unless a log holds them
//!                           in place of a missing one, which a merge must have replaced ─▶ kept
//!                           else ─▶ left over
//! ```
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through what it calls. Unsafe: none.

use std::collections::BTreeMap;

use super::logs::Logs;
use super::order::Order;
use super::report::Finding;
use super::rescue::{Remains, Rescuer};
use super::survey::{Found, Survey, Unusable};
use crate::error::Result;
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, TABLE, TableRecord};
use crate::storage::Storage;

/// Which tables form the database.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) tables: Vec<TableRecord>,
    /// Whether they are not just those of the manifest.
    pub(super) is_changed: bool,
    /// The largest seqno in them, or larger.
    pub(super) last_seqno: u64,
    /// Whether no write up to `last_seqno` was lost before the logs begin.
    pub(super) is_exact: bool,
    /// Tables that can't be used in spite of being whole.
    pub(super) unusable: Vec<Unusable>,
    /// Tables that are whole and not needed.
    pub(super) left_over: Vec<Unusable>,
    pub(super) losses: Vec<Finding>,
    pub(super) doubts: Vec<Finding>,
}

/// The tables of a manifest, and how they were found.
#[derive(Debug, Default)]
pub(super) struct Named<'s> {
    pub(super) whole: Vec<(&'s Found, &'s TableRecord)>,
    pub(super) damaged: Vec<&'s TableRecord>,
    pub(super) missing: Vec<&'s TableRecord>,
}

/// What becomes of damaged tables, by the numbers of these.
pub(super) type AllRemains = BTreeMap<u64, Remains>;

/// Chooses the tables.
///
/// # Errors
///
/// As reading a table; `Io` from writing what is rescued of damaged ones.
pub(super) fn choose(survey: &Survey, logs: &Logs, crew: &Rescuer<'_>) -> Result<Choice> {
    let mut remains = AllRemains::new();
    for file in survey.unusable.iter().filter(|file| !survey.is_foreign(file.name)) {
        if let FileName::Table(number) = file.name {
            remains.insert(number, rescue(survey, logs, crew, number)?);
        }
    }
    let (storage, choice) = (&*crew.engine.storage, Choice::default());
    let chooser = Chooser { storage, crew, survey, logs, remains: &remains, choice };
    match &survey.manifest {
        Some(manifest) => chooser.by_manifest(manifest),
        None => chooser.by_tables(),
    }
}

/// Rescues a damaged table, if it may be needed.
fn rescue(survey: &Survey, logs: &Logs, crew: &Rescuer<'_>, number: u64) -> Result<Remains> {
    let may_count = |found: &Found| !survey.is_unfinished_ingest(found);
    let Some(manifest) = &survey.manifest else { return crew.rescue(number, None, may_count) };
    if let Some(record) = manifest.tables.iter().find(|record| record.file_number == number) {
        return crew.rescue(number, Some(record.file_id), |_| true);
    }
    // Of a table that the manifest does not name, as of a whole one.
    let is_missing = |record: &&TableRecord| {
        !survey.listing.files.contains(&FileName::Table(record.file_number))
    };
    crew.rescue(number, None, |found| {
        let mut missing = manifest.tables.iter().filter(is_missing);
        let is_newer = found.oldest > manifest.last_seqno && !is_logged(survey, logs, found);
        may_count(found) && (is_newer || missing.any(|record| may_replace(found, record)))
    })
}

/// A choice in the making, and what it is made from.
pub(super) struct Chooser<'s> {
    pub(super) storage: &'s dyn Storage,
    crew: &'s Rescuer<'s>,
    pub(super) survey: &'s Survey,
    logs: &'s Logs,
    pub(super) remains: &'s AllRemains,
    pub(super) choice: Choice,
}

impl<'s> Chooser<'s> {
    fn by_manifest(mut self, manifest: &'s ManifestData) -> Result<Choice> {
        let survey = self.survey;
        let named = self.find(manifest);
        let is_named =
            |number: &u64| manifest.tables.iter().any(|record| record.file_number == *number);
        let rescued = self.remains.iter().filter(|(number, _)| !is_named(number));
        let rescued = rescued.flat_map(|(_, remains)| remains.tables());
        let others = survey.tables.iter().filter(|(number, _)| !is_named(number));
        let others = others.map(|(_, found)| found).chain(rescued);
        let knows_all = !survey.lacks_newer && named.missing.is_empty();
        let others = self.without_copies(others.collect(), |found| {
            !knows_all || found.record.file_number > manifest.manifest_number
        });
        let others = self.without_unfinished(others);
        let (newer, older): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|found| found.oldest > manifest.last_seqno);
        let (newer, logged) =
            unless_logged(newer, |found| is_logged(survey, self.logs, found), manifest.last_seqno);
        let is_after_a_merge =
            |found: &&Found| named.missing.iter().any(|record| may_replace(found, record));
        let (merged, idle): (Vec<_>, Vec<_>) = older.into_iter().partition(is_after_a_merge);
        let rule = format!("{} does not need it", FileName::Manifest(manifest.manifest_number));
        self.leave_over(idle.iter().chain(&logged), &rule);

        let added: Vec<&Found> = newer.iter().chain(&merged).copied().collect();
        let choice = &mut self.choice;
        choice.is_exact = added.is_empty() && !survey.lacks_newer;
        choice.is_changed = !added.is_empty() || named.whole.len() != manifest.tables.len();
        let newest = added.iter().map(|found| found.newest).max();
        choice.last_seqno = newest.unwrap_or(0).max(manifest.last_seqno);
        self.tell_remains(&manifest.tables);
        self.tell_missing(&named, &added);
        self.doubt_flushes(manifest, &newer);
        if survey.lacks_newer && added.is_empty() && named.missing.is_empty() {
            self.doubt_newer(manifest);
        }
        let kept: Vec<TableRecord> = (named.whole.iter().map(|(_, record)| (*record).clone()))
            .chain(named.damaged.iter().flat_map(|record| self.rescued_of(record)))
            .collect();
        if merged.is_empty() && is_plain(&newer) {
            let newer = newer.iter().map(|found| found.record.clone());
            self.choice.tables = kept.into_iter().chain(newer).collect();
            return Ok(self.choice);
        }
        let whole = named.whole.iter().map(|(found, _)| *found);
        let rescued = named.damaged.iter().filter_map(|gone| self.remains.get(&gone.file_number));
        let rescued = rescued.flat_map(Remains::tables);
        let cleared: BTreeMap<u64, u64> =
            kept.iter().map(|record| (record.file_number, record.cleared_seqno)).collect();
        self.place(&whole.chain(rescued).chain(added).collect::<Vec<_>>(), &cleared)?;
        Ok(self.choice)
    }

    /// What a manifest says of the tables that were rescued in place of one.
    fn rescued_of(&self, gone: &TableRecord) -> Vec<TableRecord> {
        let tables = self.remains.get(&gone.file_number).map(Remains::tables).unwrap_or_default();
        let (level, cleared_seqno) = (gone.level, gone.cleared_seqno);
        let record = |found: &Found| TableRecord { level, cleared_seqno, ..found.record.clone() };
        tables.iter().map(record).collect()
    }

    fn by_tables(mut self) -> Result<Choice> {
        let rescued = self.remains.values().flat_map(Remains::tables);
        let all = self.survey.tables.values().chain(rescued);
        let all = self.without_copies(all.collect(), |_| true);
        let all = self.without_unfinished(all);
        let (taken, logged) =
            unless_logged(all, |found| is_logged(self.survey, self.logs, found), 0);
        self.leave_over(&logged, "a log holds all that it holds");
        self.choice.is_changed = true;
        self.choice.last_seqno = taken.iter().map(|found| found.newest).max().unwrap_or(0);
        self.place(&taken, &BTreeMap::new())?;
        self.doubt_numbers();
        self.tell_remains(&[]);
        Ok(self.choice)
    }

    /// Looks for the tables that a manifest names.
    fn find(&mut self, manifest: &'s ManifestData) -> Named<'s> {
        let survey = self.survey;
        let mut named = Named::default();
        for record in &manifest.tables {
            let name = FileName::Table(record.file_number);
            match survey.tables.get(&record.file_number) {
                Some(found) if found.is(record) => named.whole.push((found, record)),
                Some(_) => {
                    named.missing.push(record);
                    let rule = TABLE.broken(0).to_string();
                    self.choice.unusable.push(Unusable::new(self.storage, name, rule));
                }
                None if survey.is_unusable(name) => named.damaged.push(record),
                None => named.missing.push(record),
            }
        }
        named
    }

    /// Leaves out what is another table under a second name; a table that is needed may have stood
    /// there.
    fn without_copies(
        &mut self,
        tables: Vec<&'s Found>,
        may_be_needed: impl Fn(&Found) -> bool,
    ) -> Vec<&'s Found> {
        let survey = self.survey;
        let original = |found: &&Found| survey.original_of(found);
        let (copies, rest): (Vec<&Found>, Vec<&Found>) =
            tables.into_iter().partition(|found| original(found).is_some());
        for (found, number) in
            copies.into_iter().filter_map(|found| Some((found, original(&found)?)))
        {
            let rule = format!("it is a copy of {}", FileName::Table(number));
            if may_be_needed(found) {
                let name = FileName::Table(found.record.file_number);
                self.choice.unusable.push(Unusable::new(self.storage, name, rule.as_str()));
                self.doubt_copy(found, &rule);
            } else {
                self.leave_over([&found], &rule);
            }
        }
        rest
    }

    /// Leaves out what an ingest wrote that was not finished.
    fn without_unfinished(&mut self, tables: Vec<&'s Found>) -> Vec<&'s Found> {
        let survey = self.survey;
        let is_unfinished = |found: &&Found| survey.is_unfinished_ingest(found);
        let (unfinished, rest): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_unfinished);
        self.leave_over(&unfinished, "the ingest that wrote it was not finished");
        if survey.manifest.is_none() || survey.lacks_newer {
            self.doubt_ingests(&unfinished);
        }
        rest
    }

    fn leave_over<'f>(&mut self, tables: impl IntoIterator<Item = &'f &'s Found>, rule: &str)
    where
        's: 'f,
    {
        let storage = self.storage;
        let unusable = |found: &&'s Found| {
            Unusable::new(storage, FileName::Table(found.record.file_number), rule)
        };
        self.choice.left_over.extend(tables.into_iter().map(unusable));
    }

    /// Puts tables on levels by what they hold. `cleared`: up to which seqno range tombstones are known
    /// to be applied to a table.
    fn place(&mut self, tables: &[&'s Found], cleared: &BTreeMap<u64, u64>) -> Result<()> {
        let order = Order::of(self.storage, tables)?;
        let spare = order.spare.iter().filter_map(|table| tables.get(*table));
        self.leave_over(spare, "other tables hold all its rows");
        let number = |table: &usize| tables.get(*table).map(|found| found.record.file_number);
        let pairs = |pairs: &[(usize, usize)]| -> Vec<(u64, u64)> {
            pairs.iter().filter_map(|(a, b)| number(a).zip(number(b))).collect()
        };
        self.doubt(&pairs(&order.clashing), "holds rows that contradict or repeat those of");
        let clashing = |pair: &(usize, usize)| {
            order.clashing.contains(pair) || order.clashing.contains(&(pair.1, pair.0))
        };
        let crossing: Vec<_> =
            order.crossing.iter().filter(|pair| !clashing(pair)).copied().collect();
        self.doubt(&pairs(&crossing), "crosses, in keys and seqnos,");

        if order.disordered.is_empty() {
            self.take(tables, &order, cleared);
            return Ok(());
        }
        // Scans and lookups would see different rows of them.
        let pick = |is_meant: &dyn Fn(&usize) -> bool| -> Vec<&'s Found> {
            let meant = tables.iter().enumerate().filter(|(index, _)| is_meant(index));
            meant.map(|(_, found)| *found).collect()
        };
        let is_disordered = |table: &usize| order.disordered.contains(table);
        let rest = pick(&|table| !order.spare.contains(table) && !is_disordered(table));
        let disordered = pick(&is_disordered);
        let merged = self.crew.merge(&disordered)?;
        self.leave_over(
            &disordered,
            "its rows were merged with those of tables that contradict it",
        );
        let all: Vec<&Found> = rest.into_iter().chain(&merged).collect();
        let order = Order::of(self.storage, &all)?;
        self.take(&all, &order, cleared);
        Ok(())
    }

    /// Takes tables, but for spare ones, on the levels where they belong.
    fn take(&mut self, tables: &[&Found], order: &Order, cleared: &BTreeMap<u64, u64>) {
        for (index, (found, level)) in tables.iter().zip(&order.levels).enumerate() {
            if !order.spare.contains(&index) {
                let number = found.record.file_number;
                let cleared_seqno = cleared.get(&number).copied().unwrap_or(0);
                let record = TableRecord { level: *level, cleared_seqno, ..found.record.clone() };
                self.choice.tables.push(record);
            }
        }
    }
}

/// Whether a table may be what a merge made of one that is gone.
pub(super) fn may_replace(found: &Found, gone: &TableRecord) -> bool {
    found.record.file_number > gone.file_number && found.overlaps(gone)
}

/// Whether tables can be on level 0 together: those that share keys follow each other by seqno.
fn is_plain(tables: &[&Found]) -> bool {
    let mut rest = tables;
    while let Some((first, others)) = rest.split_first() {
        let crosses = |other: &&Found| {
            let (a, b) = (&first.record, &other.record);
            first.overlaps(b) && a.min_seqno <= b.max_seqno && b.min_seqno <= a.max_seqno
        };
        if others.iter().any(crosses) {
            return false;
        }
        rest = others;
    }
    true
}

/// Whether the logs hold what a table holds, so that it is not needed. Of a flush that was not finished
/// the log is what counts, whatever a crash left of it. But a flush that was finished took its log away,
/// and its manifest may be what is lost.
fn is_logged(survey: &Survey, logs: &Logs, found: &Found) -> bool {
    let is_open = survey.manifest.is_some() && !survey.lacks_newer && logs.vouch_for(found.oldest);
    is_open || logs.cover(found.oldest, found.newest)
}

/// Splits tables into those to take, and those whose rows the logs hold all the same: of a flush that
/// was not finished, the log has everything and its tables perhaps only a part.
fn unless_logged<'s>(
    tables: Vec<&'s Found>,
    is_logged: impl Fn(&&'s Found) -> bool,
    last_seqno: u64,
) -> (Vec<&'s Found>, Vec<&'s Found>) {
    let (mut logged, mut taken): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_logged);
    loop {
        // Of the logs only what is newer than all tables is replayed.
        let newest = taken.iter().map(|found| found.newest).max();
        let base = newest.unwrap_or(0).max(last_seqno);
        let (late, rest): (Vec<_>, Vec<_>) =
            logged.into_iter().partition(|found| found.oldest <= base);
        logged = rest;
        if late.is_empty() {
            return (taken, logged);
        }
        taken.extend(late);
    }
}
