//! The merge operands of one key, on their way to be folded.
//!
//! Rows of a key come newest first and a merge operator wants them oldest first, so they are
//! gathered. They are copied: a cursor may lose a value when it moves on.
//!
//! # Invariants
//!
//! - What is gathered stays bounded: from some length on the newest operands are folded among
//!   themselves to one, which the law of merge operators allows.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none. Unsafe: none.

use std::ops::Range;

use crate::error::Result;
use crate::hooks::Merger;

/// Operands of more bytes than this are folded among themselves before more are gathered.
const MAX_LEN: usize = 16 << 20;

/// Operands of one key, from the newest to the oldest.
#[derive(Debug, Default)]
pub(crate) struct Operands {
    bytes: Vec<u8>,
    /// The seqno of each operand, and where it lies.
    rows: Vec<(u64, Range<usize>)>,
    /// How many were added, folded since or not.
    added_count: usize,
    /// After a partial fold more is gathered than before, else a value that only grows would be
    /// folded again for every operand.
    max_len: usize,
}

impl Operands {
    /// Forgets all operands; keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.added_count = 0;
        self.max_len = MAX_LEN;
    }

    /// How many were added, those that were folded to one too.
    pub(crate) fn added_count(&self) -> usize {
        self.added_count
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The seqno of the newest one; 0 if there are none.
    pub(crate) fn newest_seqno(&self) -> u64 {
        self.rows.first().map_or(0, |(seqno, _)| *seqno)
    }

    /// Adds one that is older than all before.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold), if it is too much to gather.
    pub(crate) fn add(
        &mut self,
        key: &[u8],
        seqno: u64,
        operand: &[u8],
        merger: &Merger,
    ) -> Result<()> {
        if self.bytes.len().saturating_add(operand.len()) > self.max_len && self.rows.len() > 1 {
            let seqno = self.newest_seqno();
            let folded = self.fold(key, None, merger)?;
            let added_count = self.added_count;
            self.clear();
            self.added_count = added_count;
            self.max_len = MAX_LEN.max(folded.len().saturating_mul(2));
            self.push(seqno, &folded);
        }
        self.push(seqno, operand);
        self.added_count += 1;
        Ok(())
    }

    fn push(&mut self, seqno: u64, operand: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(operand);
        self.rows.push((seqno, start..self.bytes.len()));
    }

    /// What the operator makes of all of them and the value below.
    ///
    /// # Errors
    ///
    /// [`Error::Merge`](crate::Error::Merge).
    pub(crate) fn fold(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        merger: &Merger,
    ) -> Result<Vec<u8>> {
        let oldest_first: Vec<&[u8]> = self.iter().rev().map(|(_, operand)| operand).collect();
        mutant!(
            LoseOperands,
            if let Some(rest @ [_, ..]) = oldest_first.get(1..) {
                return merger.fold(key, existing, rest);
            }
        );
        merger.fold(key, existing, &oldest_first)
    }

    /// Each with its seqno, from the newest to the oldest.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let operand = |place: &Range<usize>| self.bytes.get(place.clone()).unwrap_or_default();
        self.rows.iter().map(move |(seqno, place)| (*seqno, operand(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Append, Counter};

    #[test]
    fn operands_come_newest_first_and_are_folded_oldest_first() {
        let merger = Merger::new(Append::new("+"));
        let mut operands = Operands::default();
        operands.clear();
        for (seqno, operand) in [(9, "c"), (7, ""), (4, "a")] {
            operands.add(b"key", seqno, operand.as_bytes(), &merger).unwrap();
        }
        assert_eq!((operands.added_count(), operands.newest_seqno()), (3, 9));
        assert_eq!(operands.fold(b"key", None, &merger).unwrap(), b"a++c");
        assert_eq!(operands.fold(b"key", Some(b"x"), &merger).unwrap(), b"x+a++c");
        assert_eq!(operands.iter().next(), Some((9, &b"c"[..])));
        operands.clear();
        assert!(operands.is_empty() && operands.newest_seqno() == 0);
    }

    #[test]
    fn what_is_gathered_stays_bounded() {
        let merger = Merger::new(Counter);
        let mut operands = Operands { max_len: 80, ..Operands::default() };
        for seqno in (1..=100).rev() {
            operands.add(b"key", seqno, &1_i64.to_le_bytes(), &merger).unwrap();
            operands.max_len = 80;
            assert!(operands.bytes.len() <= 80);
        }
        assert_eq!((operands.added_count(), operands.newest_seqno()), (100, 100));
        assert_eq!(operands.fold(b"key", None, &merger).unwrap(), 100_i64.to_le_bytes());
    }

    #[test]
    fn operands_that_grow_together_are_not_folded_again_and_again() {
        let merger = Merger::new(Append::new(""));
        let mut operands = Operands::default();
        operands.clear();
        let operand = vec![b'x'; MAX_LEN / 4];
        let mut folds = 0;
        for seqno in (1..=40).rev() {
            let before = operands.rows.len();
            operands.add(b"key", seqno, &operand, &merger).unwrap();
            folds += u32::from(operands.rows.len() <= before);
        }
        assert!((1..=5).contains(&folds), "{folds} folds of 40 operands");
        assert_eq!(operands.fold(b"key", None, &merger).unwrap().len(), operand.len() * 40);
    }
}
