//! Values that outlive the readers of a memtable.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::sync::Arc;

use bytes::Bytes;

use super::Memtable;
use super::node::Node;
use crate::value::Value;

/// From this length on an owned value shares the memtable instead of being copied.
const SHARED_LEN: usize = 4096;
impl Memtable {
    /// The value of a row as something that outlives the memtable's users: a long one shares the
    /// memtable and so keeps all of it, others are copied. Empty if there is no such row.
    pub(crate) fn owned_value(self: &Arc<Self>, number: u32) -> Value<'static> {
        let value = self.node(number).map_or(&[][..], Node::value);
        if value.len() < SHARED_LEN {
            return Value::copied(value);
        }
        Value::shared(Bytes::from_owner(SharedValue { memtable: Arc::clone(self), number }))
    }
}

/// A value that somebody holds, with the memtable that it lies in.
struct SharedValue {
    memtable: Arc<Memtable>,
    number: u32,
}

impl AsRef<[u8]> for SharedValue {
    fn as_ref(&self) -> &[u8] {
        self.memtable.node(self.number).map_or(&[], Node::value)
    }
}
