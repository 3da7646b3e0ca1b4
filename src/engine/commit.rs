//! The commit queue: writers that come while another one writes are written together.
//!
//! The first writer leads; those who come meanwhile leave their batch and wait. When the leader is
//! done, one of them leads for all: one append, one sync. Alone, a writer pays nothing for this but
//! an uncontended lock.
//!
//! # Invariants
//!
//! - A group succeeds or fails as a whole: nobody is told "written" if the sync failed.
//! - A leader that panics gives the lead back, and its followers an error.
//!
//! Source: LevelDB's writer queue. Spec: none. I/O: none. Unsafe: none.

use std::mem;
use std::sync::{Arc, Condvar, Mutex};

use super::lock;
use crate::error::{Error, Result};

/// Batches are grouped up to so many bytes.
const MAX_GROUP_LEN: usize = 4 << 20;

/// A batch on its way into the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) payload: &'a [u8],
    pub(super) op_count: u32,
}

/// Writers that wait.
#[derive(Debug, Default)]
pub(super) struct CommitQueue {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Arc<Ticket>>,
    is_led: bool,
}

/// A batch that waits for a leader.
#[derive(Debug)]
struct Ticket {
    payload: Vec<u8>,
    op_count: u32,
    sync: bool,
    outcome: Mutex<Option<Result<()>>>,
}

/// The lead of a group; gives it back when it ends, however it ends.
struct Lead<'q> {
    queue: &'q CommitQueue,
    followers: Vec<Arc<Ticket>>,
}

impl Lead<'_> {
    fn settle(&self, outcome: &Result<()>) {
        for ticket in &self.followers {
            lock(&ticket.outcome).get_or_insert_with(|| outcome.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.settle(&Err(Error::Poisoned { reason: "the writing thread panicked".into() }));
        lock(&self.queue.state).is_led = false;
        self.queue.done.notify_all();
    }
}

impl CommitQueue {
    /// Has `part` written by `commit`, together with others or by somebody else.
    ///
    /// # Errors
    ///
    /// As `commit`.
    pub(super) fn submit(
        &self,
        part: Part<'_>,
        sync: bool,
        commit: impl FnOnce(&[Part<'_>], bool) -> Result<()>,
    ) -> Result<()> {
        let mut state = lock(&self.state);
        if !state.is_led {
            state.is_led = true;
            drop(state);
            let lead = Lead { queue: self, followers: Vec::new() };
            let outcome = commit(&[part], sync);
            drop(lead);
            return outcome;
        }
        let ticket = Arc::new(Ticket {
            payload: part.payload.to_vec(),
            op_count: part.op_count,
            sync,
            outcome: Mutex::new(None),
        });
        state.waiting.push(Arc::clone(&ticket));
        loop {
            if let Some(outcome) = lock(&ticket.outcome).take() {
                return outcome;
            }
            // The oldest one leads, so its own batch is always in the group.
            let is_first = state.waiting.first().is_some_and(|first| Arc::ptr_eq(first, &ticket));
            if !state.is_led && is_first {
                state.is_led = true;
                let followers = take_group(&mut state.waiting);
                drop(state);
                let lead = Lead { queue: self, followers };
                let sync = lead.followers.iter().any(|ticket| ticket.sync);
                let parts: Vec<_> = lead
                    .followers
                    .iter()
                    .map(|ticket| Part { payload: &ticket.payload, op_count: ticket.op_count })
                    .collect();
                let outcome = commit(&parts, sync);
                lead.settle(&outcome);
                drop(lead);
                return outcome;
            }
            state = match self.done.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }
}

/// Takes the oldest waiting batches, as many as a group holds and at least one.
fn take_group(waiting: &mut Vec<Arc<Ticket>>) -> Vec<Arc<Ticket>> {
    let mut len = 0;
    let fits = waiting.iter().take_while(|ticket| {
        let first = len == 0;
        len += ticket.payload.len();
        first || len <= MAX_GROUP_LEN
    });
    let count = fits.count();
    let rest = waiting.split_off(count.min(waiting.len()));
    mem::replace(waiting, rest)
}
