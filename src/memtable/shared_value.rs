//! Values that outlive the readers of a memtable.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

use bytes::Bytes;

use super::Memtable;
use crate::value::Value;

/// From this length on an owned value shares the memtable instead of being copied.
const SHARED_LEN: usize = 4096;

impl Memtable {
    /// The value of the row at a place as something that outlives the memtable's users: a long one
    /// shares the memtable and so keeps all of it, others are copied.
    pub(crate) fn owned_value(self: &Arc<Self>, place: u32, value: &[u8]) -> Value<'static> {
        if value.len() < SHARED_LEN {
            return Value::copied(value);
        }
        let shared = SharedValue { memtable: Arc::clone(self), place };
        Value::shared(Bytes::from_owner(shared))
    }
}

/// A value that somebody holds, with the memtable that it lies in.
struct SharedValue {
    memtable: Arc<Memtable>,
    place: u32,
}

impl AsRef<[u8]> for SharedValue {
    fn as_ref(&self) -> &[u8] {
        self.memtable.rows.get(self.place).map_or(&[], |record| record.value())
    }
}
