//! Many gets at once, as a pipeline: memory is waited for once a step, not once a key.
//!
//! ```text
//!   16 keys   hash; ask for     ask the filters,     ask for the rows    compare keys,
//!             the filters'  ──▶ search an index,  ──▶ whose finger-  ──▶ give the values
//!             lines             ask for the block    prints match
//! ```
//!
//! A get waits for a block and then for a row. The processor by itself runs two or three gets at
//! once; here the lines of sixteen are on their way together, about as many as a core can wait for.
//!
//! The pipeline answers where a [probe](crate::table::Probe) does. For all other keys, and those
//! that a memtable may hold, the plain get does, from the start, when their turn comes.
//!
//! # Invariants
//!
//! - What the pipeline answers, a get would. Answers and errors come in the order of the request.
//!
//! Spec: `format-spec/03-table.md`, "Point lookup". I/O: page faults of maps. Unsafe: none.

use super::hit::Hit;
use super::read::{Answer, Now};
use super::view::View;
use crate::cpu::{self, Work};
use crate::error::Result;
use crate::format::checksum::hash_key;
use crate::table::{Approached, Probe, Table};

/// How many keys go through the pipeline together. A core has 10 to 16 buffers for lines that it
/// waits for.
const GROUP_LEN: usize = 16;

/// So many filter lines are asked for ahead of each key, as by a get.
const PREFETCH_COUNT: usize = 4;

impl View {
    /// Finds what a reader at `seqno` and `now` sees of each of `keys`, in their order, and gives
    /// what `take` makes of it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), of the first key that has one.
    pub(crate) fn multi_get<'v, K: AsRef<[u8]>, T>(
        &'v self,
        keys: &[K],
        seqno: u64,
        now: Now<'_>,
        take: impl Fn(Hit<'v>) -> T,
    ) -> Result<Vec<Option<T>>> {
        let mut values = Vec::with_capacity(keys.len());
        let is_plain = self.is_plain();
        for group in keys.chunks(GROUP_LEN) {
            let mut bytes: [&[u8]; GROUP_LEN] = [&[]; GROUP_LEN];
            for (bytes, key) in bytes.iter_mut().zip(group) {
                *bytes = key.as_ref();
            }
            let keys = bytes.get(..group.len()).unwrap_or_default();
            let mut answers = [Answer::Unsure; GROUP_LEN];
            if is_plain {
                cpu::run(Pipeline { view: self, keys, seqno, answers: &mut answers });
            }
            for (key, answer) in keys.iter().zip(answers) {
                values.push(self.conclude(answer, key, seqno, now, false, &take)?);
            }
        }
        Ok(values)
    }
}

/// A key on its way.
#[derive(Clone, Copy)]
enum Step<'v> {
    /// Its answer is known, or that there will be none.
    Done,
    /// One block of one table may hold it; no newer one does.
    Approaching { table: &'v Table, block: Approached<'v>, is_last: bool },
}

/// The pipeline over one group of keys.
struct Pipeline<'v, 'g> {
    view: &'v View,
    keys: &'g [&'g [u8]],
    seqno: u64,
    answers: &'g mut [Answer<'v>; GROUP_LEN],
}

impl Work for Pipeline<'_, '_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for each kind of processor")]
    fn run<const WIDE: bool>(self) {
        let Self { view, keys, seqno, answers } = self;
        let mut hashes = [0; GROUP_LEN];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = hash_key(key, view.hash_seed);
            for handle in view.version.candidates(key).take(PREFETCH_COUNT) {
                if let Some(table) = handle.opened() {
                    table.prefetch_filter(*hash);
                }
            }
        }
        let mut steps = [Step::Done; GROUP_LEN];
        for (((key, hash), answer), step) in
            keys.iter().zip(hashes).zip(&mut *answers).zip(&mut steps)
        {
            (*answer, *step) = view.approach::<WIDE>(key, hash);
        }
        for (step, hash) in steps.iter().zip(hashes) {
            if let Step::Approaching { block, .. } = step {
                block.prefetch_rows(hash);
            }
        }
        for (((key, hash), answer), step) in keys.iter().zip(hashes).zip(answers).zip(steps) {
            if let Step::Approaching { table, block, is_last } = step {
                *answer = match block.probe(key, hash, table.seqno_that_matters(seqno)) {
                    Probe::Value(value) => Answer::Value(table, value),
                    Probe::Absent if is_last && !table.index_is_vague() => Answer::Absent,
                    Probe::Row(row) => Answer::Row(table, row),
                    // The filter was wrong, or there is more to it.
                    Probe::Absent | Probe::Unsure => Answer::Unsure,
                };
            }
        }
    }
}

impl View {
    /// From a key to the block of the newest table whose filter lets it pass.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn approach<const WIDE: bool>(&self, key: &[u8], hash: u64) -> (Answer<'_>, Step<'_>) {
        if self.memtables_may_contain(hash) {
            return (Answer::Unsure, Step::Done);
        }
        let mut candidates = self.version.candidates(key);
        while let Some(handle) = candidates.next() {
            let table = match handle.opened() {
                Some(table) if table.hash_seed() == self.hash_seed => table,
                _ => return (Answer::Unsure, Step::Done),
            };
            match table.passes_filter(hash) {
                Ok(false) => {}
                Ok(true) => {
                    let Ok(block) = table.approach::<WIDE>(key) else {
                        return (Answer::Unsure, Step::Done);
                    };
                    let is_last = candidates.next().is_none();
                    return (Answer::Unsure, Step::Approaching { table, block, is_last });
                }
                Err(_) => return (Answer::Unsure, Step::Done),
            }
        }
        (Answer::Absent, Step::Done)
    }
}
