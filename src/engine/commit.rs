//! The commit queue: writers that come while another one writes are written together.
//!
//! The first writer leads; those who come meanwhile leave their batch and wait. When the leader is
//! done, one of them leads for all: one append, one sync. Alone, a writer pays nothing for this but
//! an uncontended lock.
//!
//! # Invariants
//!
//! - A group succeeds or fails as a whole: nobody is told "written" if the sync failed.
//! - Nobody is overtaken for ever: who takes the lead while others wait writes theirs first.
//! - A leader that panics gives the lead back, and its followers an error.
//!
//! Source: LevelDB's writer queue. Spec: none. I/O: none. Unsafe: none.

use std::mem;
use std::sync::Arc;

use super::lock;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};

/// Batches are grouped up to so many bytes.
const MAX_GROUP_LEN: usize = 4 << 20;

/// A batch on its way into the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) payload: &'a [u8],
    pub(super) op_count: u32,
    /// Whether there is a range delete among the operations.
    pub(super) deletes_ranges: bool,
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
    deletes_ranges: bool,
    sync: bool,
    outcome: Mutex<Option<Result<()>>>,
}

impl Ticket {
    fn part(&self) -> Part<'_> {
        let Self { payload, op_count, deletes_ranges, .. } = self;
        Part { payload, op_count: *op_count, deletes_ranges: *deletes_ranges }
    }
}

/// The lead of a group; gives it back when it ends, however it ends.
struct Lead<'q> {
    queue: &'q CommitQueue,
    followers: Vec<Arc<Ticket>>,
}

impl Lead<'_> {
    /// Commits the followers' batches and, behind them, the leader's own if it is not one of them.
    fn run(
        self,
        own: Option<(Part<'_>, bool)>,
        commit: impl FnOnce(&[Part<'_>], bool) -> Result<()>,
    ) -> Result<()> {
        if let (Some((part, sync)), []) = (own, self.followers.as_slice()) {
            return commit(&[part], sync);
        }
        let sync = self.followers.iter().any(|ticket| ticket.sync) || own.is_some_and(|own| own.1);
        let parts: Vec<_> = (self.followers.iter())
            .map(|ticket| ticket.part())
            .chain(own.map(|own| own.0))
            .collect();
        let outcome = commit(&parts, sync);
        self.settle(&outcome);
        outcome
    }

    fn settle(&self, outcome: &Result<()>) {
        for ticket in &self.followers {
            lock(&ticket.outcome).get_or_insert_with(|| outcome.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.settle(&Err(Error::Poisoned { reason: "the writing thread panicked".into() }));
        let mut state = lock(&self.queue.state);
        state.is_led = false;
        let is_awaited = !self.followers.is_empty() || !state.waiting.is_empty();
        drop(state);
        // It is a system call even if nobody waits.
        if is_awaited {
            self.queue.done.notify_all();
        }
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
            // Whoever still waits was here before: his batch goes along, and in front.
            let followers = state.lead();
            drop(state);
            let lead = Lead { queue: self, followers };
            return lead.run(Some((part, sync)), commit);
        }
        let ticket = Arc::new(Ticket {
            payload: part.payload.to_vec(),
            op_count: part.op_count,
            deletes_ranges: part.deletes_ranges,
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
                let followers = state.lead();
                drop(state);
                let lead = Lead { queue: self, followers };
                return lead.run(None, commit);
            }
            state = match self.done.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }
}

impl State {
    /// Takes the lead, and the batches that go along.
    fn lead(&mut self) -> Vec<Arc<Ticket>> {
        self.is_led = true;
        take_group(&mut self.waiting)
    }
}

/// Takes the oldest waiting batches, as many as a group holds and at least one, if any
/// waits.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(payload: &[u8], sync: bool) -> Arc<Ticket> {
        let outcome = Mutex::new(None);
        let payload = payload.to_vec();
        Arc::new(Ticket { payload, op_count: 1, deletes_ranges: false, sync, outcome })
    }

    #[test]
    fn who_takes_the_lead_writes_for_those_who_waited_and_in_their_order() {
        for (waiting_syncs, own_syncs) in [(false, false), (true, false), (false, true)] {
            let queue = CommitQueue::default();
            let waiting = [ticket(b"first", waiting_syncs), ticket(b"second", false)];
            lock(&queue.state).waiting.extend(waiting.clone());
            let own = Part { payload: b"own", op_count: 1, deletes_ranges: false };
            let written = queue.submit(own, own_syncs, |parts, sync| {
                let payloads: Vec<_> = parts.iter().map(|part| part.payload).collect();
                assert_eq!(payloads, [&b"first"[..], b"second", b"own"]);
                assert_eq!(sync, waiting_syncs || own_syncs);
                Err(Error::ReadOnly)
            });
            assert!(matches!(written, Err(Error::ReadOnly)));
            for ticket in waiting {
                let outcome = lock(&ticket.outcome).take();
                assert!(matches!(outcome, Some(Err(Error::ReadOnly))), "a group fails as a whole");
            }
            assert!(queue.submit(own, false, |_, _| Ok(())).is_ok(), "the lead is free again");
        }
    }

    #[test]
    fn a_group_is_bounded_but_never_empty() {
        let long = vec![0; MAX_GROUP_LEN];
        let mut waiting = vec![ticket(&long, false), ticket(b"a", false), ticket(b"b", false)];
        assert_eq!(take_group(&mut waiting).len(), 1);
        assert_eq!(take_group(&mut waiting).len(), 2);
        assert!(take_group(&mut waiting).is_empty());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use ::loom::thread;

    use super::*;
    use crate::sync::explore;

    /// Three writers, one of whom asks for a sync, which fails for whoever is in its group.
    #[test]
    fn loom_each_batch_is_written_once_and_its_writer_told_how_it_went() {
        explore(4, || {
            let queue = Arc::new(CommitQueue::default());
            let written = Arc::new(Mutex::new(Vec::new()));
            let submit = |number: u8| {
                let (queue, written) = (Arc::clone(&queue), Arc::clone(&written));
                move || {
                    let payload = [number];
                    let part = Part { payload: &payload, op_count: 1, deletes_ranges: false };
                    let outcome = queue.submit(part, number == 0, |parts, sync| {
                        // Nobody waits for this one: it is the only leader.
                        let mut written = written.try_lock().expect("one leader at a time");
                        written.extend(parts.iter().map(|part| (part.payload[0], sync)));
                        if sync { Err(Error::ReadOnly) } else { Ok(()) }
                    });
                    (number, outcome.is_ok())
                }
            };
            let others = [1, 2].map(|number| thread::spawn(submit(number)));
            let mut told = vec![submit(0)()];
            told.extend(others.map(|other| other.join().unwrap()));
            let mut written = lock(&written).clone();
            written.sort_unstable();
            let want: Vec<_> = told.iter().map(|(number, is_ok)| (*number, !is_ok)).collect();
            assert_eq!(written, want);
        });
    }
}
