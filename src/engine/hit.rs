//! What a get found, and how it becomes a value: borrowed for as long as the view lives, or owned.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

use bytes::Bytes;

use crate::memtable::Memtable;
use crate::storage::Slice;
use crate::table::{Found, Table};
use crate::value::{INLINE_LEN, Value};

/// What a get found, borrowed from the view.
#[derive(Debug)]
pub(crate) struct Hit<'v> {
    /// 0 unless it was asked for.
    pub(crate) seqno: u64,
    pub(crate) expires_at: u64,
    pub(super) place: Place<'v>,
}

#[derive(Debug)]
pub(super) enum Place<'v> {
    Memtable {
        memtable: &'v Arc<Memtable>,
        /// Where the row lies in the memtable.
        row: u32,
        value: &'v [u8],
    },
    Table {
        table: &'v Table,
        value: Slice<'v>,
    },
    /// What a merge operator made.
    Folded(Bytes),
}

impl<'v> Hit<'v> {
    /// A put that does not expire, of which nobody wants to know the seqno.
    #[inline]
    pub(super) const fn of_table(table: &'v Table, value: Slice<'v>) -> Self {
        Self { seqno: 0, expires_at: 0, place: Place::Table { table, value } }
    }

    /// What a row of a table says.
    pub(super) fn of_row(table: &'v Table, found: Found<'v>) -> Self {
        let place = Place::Table { table, value: found.value };
        Self { seqno: found.seqno, expires_at: found.expires_at, place }
    }

    /// The value as long as the view lives.
    #[inline]
    pub(crate) fn into_value(self) -> Value<'v> {
        match self.place {
            Place::Memtable { value, .. } | Place::Table { value: Slice::Borrowed(value), .. } => {
                Value::borrowed(value)
            }
            Place::Table { value: Slice::Owned(value), .. } | Place::Folded(value) => {
                Value::shared(value)
            }
        }
    }

    /// The value on its own: a short one copied, a long one with a share of what holds it.
    #[inline]
    pub(crate) fn into_owned_value(self) -> Value<'static> {
        match self.place {
            Place::Memtable { memtable, row, value } => {
                if value.len() <= INLINE_LEN {
                    Value::copied(value)
                } else {
                    memtable.owned_value(row, value)
                }
            }
            Place::Table { table, value: Slice::Borrowed(value) } => {
                if value.len() <= INLINE_LEN {
                    Value::copied(value)
                } else {
                    Value::shared(table.share(value))
                }
            }
            Place::Table { value: Slice::Owned(value), .. } | Place::Folded(value) => {
                Value::shared(value)
            }
        }
    }
}
