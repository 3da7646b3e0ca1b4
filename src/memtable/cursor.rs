//! A position in a memtable, which may go on growing meanwhile.
//!
//! # Invariants
//!
//! - It shares the memtable, and so keeps it alive.
//! - Rows that are inserted later may be met or not; those that were there are all met.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

use super::{Memtable, NONE};
use crate::cursor::{Cursor, Location};
use crate::error::Result;
use crate::format::row::Kind;
use crate::memtable::node::{Node, Target};
use crate::value::Value;

/// After so many versions of a key, a search is cheaper than going on by steps.
const MAX_STEP_COUNT: usize = 4;

/// A position in a memtable.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    /// The row's number; [`NONE`] off the rows.
    number: u32,
}

impl MemtableCursor {
    /// A cursor off its rows.
    pub(crate) const fn new(memtable: Arc<Memtable>) -> Self {
        Self { memtable, number: NONE }
    }

    #[inline]
    fn node(&self) -> Option<&Node> {
        self.memtable.node(self.number)
    }
}

impl Cursor for MemtableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.number = self.memtable.first();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.number = self.memtable.last();
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        self.number = self.memtable.first_from(&Target::new(key, seqno));
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        self.number = self.memtable.last_until(&Target::new(key, seqno));
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.number = self.node().map_or(NONE, Node::next);
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.number = self.memtable.before(self.number);
        Ok(())
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        let rows = &self.memtable.rows;
        self.number = self.node().map_or(NONE, |node| {
            let key = Target::new(node.key(rows), 0);
            let mut next = node.next();
            for _ in 0..MAX_STEP_COUNT {
                match self.memtable.node(next) {
                    Some(node) if node.has_key(&key, rows) => next = node.next(),
                    _ => return next,
                }
            }
            // The last version that a key can have has seqno 0.
            let next = self.memtable.first_from(&key);
            match self.memtable.node(next) {
                Some(node) if node.has_key(&key, rows) => node.next(),
                _ => next,
            }
        });
        Ok(())
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        let Some(node) = self.node() else { return Ok(false) };
        let key = Target::new(node.key(&self.memtable.rows), 0);
        let before = self.memtable.node(self.memtable.before(self.number));
        Ok(before.is_some_and(|before| before.has_key(&key, &self.memtable.rows)))
    }

    #[inline]
    fn newest_seqno(&self) -> u64 {
        // A row may be linked before its seqno counts here; until then no reader sees that seqno.
        self.memtable.max_seqno()
    }

    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        self.number = match end {
            Some(end) if self.valid() => self.memtable.first_from(&Target::new(end, u64::MAX)),
            _ => NONE,
        };
        Ok(())
    }

    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        if self.valid() {
            let gap = self.memtable.search(&Target::new(start, u64::MAX), |_, _| ());
            self.number = gap.before;
        }
        Ok(())
    }

    #[inline]
    fn valid(&self) -> bool {
        self.number != NONE
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.node().map_or(&[], |node| node.key(&self.memtable.rows))
    }

    #[inline]
    fn seqno(&self) -> u64 {
        self.node().map_or(0, Node::seqno)
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.node().map_or(Kind::Put, Node::kind)
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        self.node().map_or(0, |node| node.expires_at(&self.memtable.rows))
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.node().map_or(&[], |node| node.value(&self.memtable.rows))
    }

    #[inline]
    fn location(&self) -> Location {
        Location::Node(self.number)
    }

    fn owned_value(&self) -> Value<'static> {
        let Some(node) = self.node() else { return Value::copied(&[]) };
        self.memtable.owned_value(node.row(), node.value(&self.memtable.rows))
    }
}
