//! What a database must show: a map of what every key was given, read at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tinydb::Clock;

/// Stands between any two operands.
pub const SEPARATOR: &[u8] = b"+";

/// What a snapshot shows.
pub type Picture = BTreeMap<Vec<u8>, Vec<u8>>;

/// A clock that stands at so many seconds since 1970 until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Goes on by some seconds.
    pub fn advance(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::Relaxed);
    }

    fn secs(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.secs())
    }
}

/// The operations that were done.
#[derive(Debug, Default)]
pub struct Model {
    /// The clock that decides what has expired.
    pub clock: Arc<ManualClock>,
    keys: BTreeMap<Vec<u8>, Known>,
}

/// What a key was given since its last delete.
#[derive(Debug, Default)]
struct Known {
    /// A value and when it expires; never, at `u64::MAX`.
    base: Option<(Vec<u8>, u64)>,
    /// Oldest first.
    operands: Vec<Vec<u8>>,
}

impl Model {
    /// The key has this value, for so many seconds if it is not for ever.
    pub fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<u64>) {
        let expires_at = ttl.map_or(u64::MAX, |ttl| self.clock.secs() + ttl);
        let known = Known { base: Some((value.to_vec(), expires_at)), operands: Vec::new() };
        self.keys.insert(key.to_vec(), known);
    }

    /// The key has one more operand.
    pub fn merge(&mut self, key: &[u8], operand: &[u8]) {
        self.keys.entry(key.to_vec()).or_default().operands.push(operand.to_vec());
    }

    /// The key is absent.
    pub fn delete(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// The keys from `start` on and before `end` are absent.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        self.keys.retain(|key, _| key.as_slice() < start || end <= key.as_slice());
    }

    /// What a snapshot of this moment shows.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let now = self.clock.secs();
        let shown = |(key, known): (&Vec<u8>, &Known)| {
            let base = known.base.iter().filter(|(_, expires_at)| *expires_at > now);
            let parts: Vec<_> = base.map(|(value, _)| value).chain(&known.operands).collect();
            let parts: Vec<&[u8]> = parts.into_iter().map(Vec::as_slice).collect();
            (!parts.is_empty()).then(|| (key.clone(), parts.join(SEPARATOR)))
        };
        self.keys.iter().filter_map(shown).collect()
    }
}
