//! Checking every row of a block: what a lookup need not, and `verify` must.
//!
//! Re-encoding the rows and comparing is the whole proof that a block is canonical: padding,
//! strides, widths and columns can be right in one way only.
//!
//! Spec: `format-spec/04-data-block.md`. I/O: none. Unsafe: none.

use super::{
    BlockBuilder, CANONICAL, DataBlock, FINGERPRINT, HEADER_LEN, KEY_LEN, KEY_OFFSET, ORDER,
    PADDING, SEQNO, TOMBSTONE, VALUE_OFFSET, VALUE_REF, VARIABLE_KEYS, VARIABLE_VALUES,
};
use crate::format::checksum::{fingerprint, hash_key};
use crate::format::error::FormatError;
use crate::format::row::{Kind, MAX_KEY_LEN, Row, compare};
use crate::format::value_ref::VALUE_REF_LEN;

impl DataBlock<'_> {
    /// As [`suffix`](Self::suffix), of a key that is no longer than keys can be. Whoever looks for a
    /// key need not ask: it is no longer.
    ///
    /// # Errors
    ///
    /// Rule B9 or B20.
    pub fn suffix_of_key(&self, row: u32) -> Result<&[u8], FormatError> {
        let suffix = self.suffix(row)?;
        let len = self.prefix().len() + suffix.len();
        if len > MAX_KEY_LEN {
            return Err(KEY_LEN.found(self.layout.keys.into(), MAX_KEY_LEN as u64, len as u64));
        }
        Ok(suffix)
    }

    /// The whole key of `row`, in `buffer`.
    ///
    /// # Errors
    ///
    /// As [`suffix_of_key`](Self::suffix_of_key).
    pub fn read_key(&self, row: u32, buffer: &mut Vec<u8>) -> Result<(), FormatError> {
        let suffix = self.suffix_of_key(row)?;
        buffer.clear();
        buffer.extend_from_slice(self.prefix());
        buffer.extend_from_slice(suffix);
        Ok(())
    }

    /// Checks every rule of chapter 04 on every row, all but the checksum. O(block).
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn verify(&self, hash_seed: u64) -> Result<(), FormatError> {
        self.verify_offsets()?;
        let mut builder = BlockBuilder::new();
        let (mut key, mut previous) = (Vec::new(), Vec::new());
        let mut previous_seqno = 0;
        for row in 0..self.layout.row_count {
            self.read_key(row, &mut key)?;
            let (kind, out_of_line) = self.kind(row)?;
            let seqno = self.seqno(row)?;
            let value = self.value(row)?;
            let expires_at = self.expires_at(row)?;
            if row > 0 && compare(&previous, previous_seqno, &key, seqno).is_ge() {
                return Err(ORDER.broken(u64::from(self.layout.keys)));
            }
            if kind == Kind::Delete && (!value.is_empty() || expires_at != 0 || out_of_line) {
                return Err(TOMBSTONE.broken(u64::from(self.layout.kinds + row)));
            }
            if out_of_line && value.len() != VALUE_REF_LEN {
                return Err(VALUE_REF.found(
                    u64::from(self.layout.kinds + row),
                    VALUE_REF_LEN as u64,
                    value.len() as u64,
                ));
            }
            let hash = hash_key(&key, hash_seed);
            let stored = self.bytes.get(HEADER_LEN + row as usize).copied().unwrap_or(0);
            if stored != fingerprint(hash) {
                let at = HEADER_LEN as u64 + u64::from(row);
                return Err(FINGERPRINT.found(at, u64::from(fingerprint(hash)), stored.into()));
            }
            let row = Row { key: &key, seqno, kind, expires_at, value };
            builder.push(&row, out_of_line, hash);
            std::mem::swap(&mut key, &mut previous);
            previous_seqno = seqno;
        }
        self.verify_encoding(&mut builder)
    }

    /// Offsets are checked in pairs when a row is read; this checks the two ends.
    fn verify_offsets(&self) -> Result<(), FormatError> {
        let layout = &self.layout;
        let last = layout.row_count - 1;
        if layout.key_stride == VARIABLE_KEYS {
            let first = self.suffix_ends(0)?.0;
            let end = self.suffix_ends(last)?.1;
            if first != 0 || end != layout.key_heap_len {
                let at = u64::from(layout.key_offsets);
                return Err(KEY_OFFSET.found(at, u64::from(layout.key_heap_len), u64::from(end)));
            }
        }
        if layout.value_stride == VARIABLE_VALUES {
            let first = self.value_range(0)?.start;
            let end = self.value_range(last)?.end;
            if first != layout.values as usize
                || end != (layout.values + layout.value_heap_len) as usize
            {
                let at = u64::from(layout.value_offsets);
                let found = end as u64 - u64::from(layout.values);
                return Err(VALUE_OFFSET.found(at, u64::from(layout.value_heap_len), found));
            }
        }
        self.seqno(0).map_err(|_| SEQNO.broken(u64::from(layout.seqnos)))?;
        Ok(())
    }

    fn verify_encoding(&self, builder: &mut BlockBuilder) -> Result<(), FormatError> {
        let mut canonical = Vec::with_capacity(self.bytes.len());
        builder.finish(self.layout.continues(), &mut canonical);
        // The checksum is the caller's to check: it knows the file and the offset.
        let (found, expected) = (self.bytes.get(8..), canonical.get(8..));
        if found == expected {
            return Ok(());
        }
        let found = found.unwrap_or_default();
        let expected = expected.unwrap_or_default();
        let differs = found.iter().zip(expected).position(|(a, b)| a != b);
        let at = 8 + differs.unwrap_or(found.len().min(expected.len())) as u64;
        let heap_end = u64::from(self.layout.values + self.layout.value_heap_len);
        let fingerprints_end = HEADER_LEN as u64 + u64::from(self.layout.row_count);
        let columns_start = fingerprints_end.next_multiple_of(16);
        let is_padding = at >= heap_end || (fingerprints_end..columns_start).contains(&at);
        Err(if is_padding { PADDING.broken(at) } else { CANONICAL.broken(at) })
    }
}
