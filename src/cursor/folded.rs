//! A folded value: what the merge operator makes of a key's operands and of what lies below them.
//!
//! Spec: `format-spec/02-rows.md`. I/O: none of its own. Unsafe: none.

use bytes::Bytes;

use super::visible::has_expired;
use crate::cursor::{Cursor, Operands};
use crate::error::{Error, Result};
use crate::format::row::Kind;
use crate::hooks::Merger;

/// A value that was folded of operands, and its key.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) key: Vec<u8>,
    /// The seqno of the newest operand.
    pub(super) seqno: u64,
    /// Empty if nobody asks for it.
    pub(super) value: Bytes,
    pub(super) operands: Operands,
}

impl Folded {
    /// Notes the key of the newest operand, on which `run` is.
    pub(super) fn begin(&mut self, run: &impl Cursor) {
        self.key.clear();
        self.key.extend_from_slice(run.key());
        self.seqno = run.seqno();
        self.operands.clear();
    }

    /// Folds that operand with all that it stands on.
    ///
    /// # Errors
    ///
    /// [`Error::NoMergeOperator`] without one; the operator's; that of a move.
    pub(super) fn fold(
        &mut self,
        run: &mut impl Cursor,
        merger: Option<&Merger>,
        now_secs: u64,
    ) -> Result<()> {
        let Some(merger) = merger else {
            return Err(Error::NoMergeOperator { key: self.key.clone() });
        };
        while run.valid() && run.kind() == Kind::Merge && run.key() == self.key {
            self.operands.add(&self.key, run.seqno(), run.value(), merger)?;
            run.next()?;
        }
        let is_put = run.valid() && run.kind() == Kind::Put && run.key() == self.key;
        let has_base = is_put && !has_expired(run.expires_at(), now_secs);
        let existing = if has_base { Some(run.value()) } else { None };
        self.value = self.operands.fold(&self.key, existing, merger)?.into();
        Ok(())
    }
}
