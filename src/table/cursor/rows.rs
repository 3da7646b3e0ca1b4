//! A table as a run: the moves and the row of a [`TableCursor`].
//!
//! Spec: `format-spec/03-table.md`, "Scan". I/O: through a `Region`. Unsafe: none.

use super::{Block, Direction, TableCursor, ValueAt};
use crate::cursor::{Cursor, Location};
use crate::error::Result;
use crate::format::row::Kind;
use crate::value::{INLINE_LEN, Value};

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.direction = Direction::Forward;
        self.go_to(0, |_| 0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.direction = Direction::Backward;
        self.go_to(self.block_count().saturating_sub(1), |layout| {
            layout.row_count().saturating_sub(1)
        })
    }

    fn seek(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        let sought = match self.table.search(key) {
            Ok(block) => self.seek_from(block, key, seqno),
            Err(error) => Err(error),
        };
        if sought.is_err() {
            self.leave();
        }
        sought
    }

    fn seek_for_prev(&mut self, key: &[u8], seqno: u64) -> Result<()> {
        self.seek(key, seqno)?;
        if !self.valid() {
            return self.seek_last();
        }
        let exact = self.seqno() == seqno && self.key.as_slice() == key;
        if exact { Ok(()) } else { self.prev() }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match self.layout {
            None => Ok(()),
            Some(layout) if self.row + 1 < layout.row_count() => self.settle(self.row + 1),
            Some(_) => self.next_block(),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match (self.layout, self.row.checked_sub(1)) {
            (None, _) => Ok(()),
            (Some(_), Some(row)) => self.settle(row),
            (Some(_), None) => self.prev_block(),
        }
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        if self.table.unique_keys {
            return self.next();
        }
        loop {
            let Some(view) = self.view() else { return Ok(()) };
            let last = self.row + 1 >= view.layout().row_count();
            let same = if last {
                Ok(view.layout().continues())
            } else {
                view.same_key(self.row, self.row + 1)
            };
            let same = match same {
                Ok(same) => same,
                Err(error) => {
                    let error = self.table.corrupt(self.base, error);
                    self.leave();
                    return Err(error);
                }
            };
            if last || !same {
                self.next()?;
            } else {
                self.row += 1;
            }
            if !same {
                return Ok(());
            }
        }
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        if self.table.unique_keys {
            return Ok(false);
        }
        let Some(view) = self.view() else { return Ok(false) };
        if let Some(before) = self.row.checked_sub(1) {
            return view
                .same_key(before, self.row)
                .map_err(|error| self.table.corrupt(self.base, error));
        }
        match self.block_index.checked_sub(1) {
            Some(before) => Ok(self.table.block_layout(before)?.continues()),
            None => Ok(false),
        }
    }

    #[inline]
    fn newest_seqno(&self) -> u64 {
        self.table.max_seqno
    }

    fn skip_forward(&mut self, end: Option<&[u8]>) -> Result<()> {
        match end {
            Some(end) if self.valid() => self.seek(end, u64::MAX),
            _ => {
                self.leave();
                Ok(())
            }
        }
    }

    fn skip_backward(&mut self, start: &[u8]) -> Result<()> {
        if !self.valid() {
            return Ok(());
        }
        self.seek(start, u64::MAX)?;
        if self.valid() { self.prev() } else { self.seek_last() }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.layout.is_some()
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.is_plain && (self.table.max_seqno <= snapshot || self.seqno() <= snapshot)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.key.as_slice()
    }

    #[inline]
    fn seqno(&self) -> u64 {
        match self.view() {
            // In a plain block seqnos don't fail.
            Some(view) if self.is_plain => view.seqno(self.row).unwrap_or(u64::MAX),
            _ => self.seqno,
        }
    }

    #[inline]
    fn kind(&self) -> Kind {
        if self.is_plain { Kind::Put } else { self.kind }
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        if self.is_plain { 0 } else { self.expires_at }
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match &self.value {
            ValueAt::Block(range) => self.bytes().get(range.clone()).unwrap_or_default(),
            ValueAt::File(range) => {
                let file = self.table.region.bytes().unwrap_or_default();
                file.get(range.clone()).unwrap_or_default()
            }
            ValueAt::Heap(bytes) => bytes,
        }
    }

    fn location(&self) -> Location {
        let (start, range) = match (&self.block, &self.value) {
            (Block::Mapped(_), ValueAt::Block(range)) => (self.base, range),
            (Block::Mapped(_), ValueAt::File(range)) => (0, range),
            _ => return Location::Cursor,
        };
        match u32::try_from(range.len()) {
            Ok(len) => Location::File { offset: start + range.start as u64, len },
            Err(_) => Location::Cursor,
        }
    }

    fn owned_value(&self) -> Value<'static> {
        let value = self.value();
        if value.len() <= INLINE_LEN {
            return Value::copied(value);
        }
        Value::shared(match (&self.value, &self.block) {
            (ValueAt::Heap(bytes), _) => bytes.clone(),
            (ValueAt::Block(range), Block::Heap(bytes)) => bytes.slice(range.clone()),
            _ => self.table.share(value),
        })
    }
}
