//! A table as a run: the moves and the row of a [`TableCursor`].
//!
//! Spec: `format-spec/03-table.md`, "Scan". I/O: through a `Region`. Unsafe: none.

use super::{Direction, LongValue, Looked, On, TableCursor, Walk};
use crate::cursor::{Cursor, Location};
use crate::error::{Error, Result};
use crate::format::data_block;
use crate::format::row::Kind;
use crate::value::{INLINE_LEN, Value};

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.direction = Direction::Forward;
        self.go_to(0, |_| 0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.direction = Direction::Backward;
        let last = self.block_count().saturating_sub(1);
        self.go_to(last, |row_count| row_count.saturating_sub(1))
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
        let exact = self.seqno() == seqno && self.key() == key;
        if exact { Ok(()) } else { self.prev() }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a step of a scan is not to be a call")]
    fn next(&mut self) -> Result<()> {
        let next = self.walk.row + 1;
        if next < self.walk.row_count { self.step_to(next) } else { self.next_block() }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as above")]
    fn prev(&mut self) -> Result<()> {
        match self.walk.row.checked_sub(1) {
            Some(row) => self.step_to(row),
            None => self.prev_block(),
        }
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        if self.table.unique_keys { self.next() } else { self.next_key_of_many() }
    }

    #[inline]
    fn prev_has_same_key(&mut self) -> Result<bool> {
        if self.table.unique_keys {
            return Ok(false);
        }
        let Some(view) = self.walk.block() else { return Ok(false) };
        if let Some(before) = self.walk.row.checked_sub(1) {
            return view
                .same_key(before, self.walk.row)
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
            Some(end) if self.valid() => {
                let before = self.place();
                self.seek(end, u64::MAX)?;
                // Else a walk over hostile rows would never end.
                if self.valid() && self.place() <= before { self.lose_order() } else { Ok(()) }
            }
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
        let before = self.place();
        self.seek(start, u64::MAX)?;
        if self.valid() {
            self.prev()?;
        } else {
            self.seek_last()?;
        }
        if self.valid() && self.place() >= before { self.lose_order() } else { Ok(()) }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.on != On::Nothing
    }

    #[inline]
    fn is_plainly_visible(&self, snapshot: u64) -> bool {
        self.on == On::Walked
            && self.walk.kind == Kind::Put
            && (self.table.max_seqno <= snapshot || self.seqno() <= snapshot)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.walk.key()
    }

    #[inline]
    fn seqno(&self) -> u64 {
        match self.on {
            On::Nothing => 0,
            On::Walked => self.walk.seqno(),
            On::Looked(row) => row.seqno,
        }
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.walk.kind
    }

    #[inline]
    fn expires_at(&self) -> u64 {
        if let On::Looked(row) = self.on { row.expires_at } else { 0 }
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match self.long_value() {
            None => self.walk.value(),
            Some(LongValue::Heap(bytes)) => bytes,
            Some(LongValue::File(range)) => {
                let file = self.table.region.bytes().unwrap_or_default();
                file.get(range.clone()).unwrap_or_default()
            }
        }
    }

    fn location(&self) -> Location {
        match self.long_value() {
            None => self.walk.location(),
            Some(LongValue::Heap(_)) => Location::Cursor,
            Some(LongValue::File(range)) => match u32::try_from(range.len()) {
                Ok(len) => Location::File { offset: range.start as u64, len },
                Err(_) => Location::Cursor,
            },
        }
    }

    fn owned_value(&self) -> Value<'static> {
        match self.long_value() {
            None => self.walk.owned_value(),
            Some(_) if self.value().len() <= INLINE_LEN => Value::copied(self.value()),
            Some(LongValue::Heap(bytes)) => Value::shared(bytes.clone()),
            Some(LongValue::File(_)) => Value::shared(self.table.share(self.value())),
        }
    }

    fn disorder(&self) -> Error {
        self.table.corrupt(self.base, data_block::ORDER.broken(0))
    }
}

impl TableCursor {
    /// Whether the walk may be lent: all rows of the block are plain for a reader at `snapshot`.
    pub(crate) fn can_lend_walk(&self, snapshot: u64) -> bool {
        let is_plain = self.on == On::Walked && self.walk.are_puts();
        is_plain && self.table.unique_keys && self.table.max_seqno <= snapshot
    }

    /// Lends the walk, or takes it back. Nothing else may be asked of the cursor in between.
    pub(crate) fn swap_walk(&mut self, walk: &mut Walk) {
        std::mem::swap(&mut self.walk, walk);
    }

    /// Where the row stands among those of the table.
    fn place(&self) -> (usize, u32) {
        (self.block_index, self.walk.row)
    }

    /// Leaves the rows, which are not in order.
    #[cold]
    fn lose_order(&mut self) -> Result<()> {
        let error = self.disorder();
        self.leave();
        Err(error)
    }

    /// The value of the row, if it lies out of line.
    #[inline]
    fn long_value(&self) -> Option<&LongValue> {
        match self.on {
            On::Looked(Looked { is_long: true, .. }) => self.long_value.as_ref(),
            _ => None,
        }
    }

    /// The first row of the next user key, where keys may have several versions.
    #[inline(never)]
    fn next_key_of_many(&mut self) -> Result<()> {
        loop {
            let Some(view) = self.walk.block() else { return Ok(()) };
            let last = self.walk.row + 1 >= self.walk.row_count;
            let same = if last {
                Ok(view.layout().continues())
            } else {
                view.same_key(self.walk.row, self.walk.row + 1)
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
                self.walk.row += 1;
            }
            if !same {
                return Ok(());
            }
        }
    }
}
