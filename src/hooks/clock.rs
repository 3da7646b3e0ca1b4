//! The clock: what "now" means.
//!
//! Spec: none. I/O: the system's clock. Unsafe: none.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Says what "now" means: it decides when a row that was put with a time to live expires.
///
/// The default is the system's clock. A test brings one that it can drive:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::{Duration, SystemTime};
///
/// #[derive(Default)]
/// struct ManualClock(AtomicU64);
///
/// impl tinydb::Clock for ManualClock {
///     fn now(&self) -> SystemTime {
///         SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
///     }
/// }
///
/// let clock = Arc::new(ManualClock::default());
/// let options = tinydb::Options::new().clock(Arc::clone(&clock));
/// clock.0.store(60, Ordering::SeqCst); // a minute has passed
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time now: a row is absent from the second of its expiry on. It may go backwards; then an
    /// expired row is seen again, unless a flush or compaction has dropped it: then never. A snapshot
    /// asks once, when it is taken, and reads by that time for as long as it lives.
    fn now(&self) -> SystemTime;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> SystemTime {
        self.as_ref().now()
    }
}

impl<T: Clock + ?Sized> Clock for Box<T> {
    fn now(&self) -> SystemTime {
        self.as_ref().now()
    }
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The clock's time in whole seconds since 1970, as rows keep their expiry; 0 before 1970.
pub(crate) fn now_secs(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Stopped(SystemTime);

    impl Clock for Stopped {
        fn now(&self) -> SystemTime {
            self.0
        }
    }

    #[test]
    fn time_is_whole_seconds_since_1970_rounded_down() {
        let epoch = SystemTime::UNIX_EPOCH;
        let cases = [
            (epoch, 0),
            (epoch - Duration::from_secs(5), 0),
            (epoch + Duration::from_millis(999), 0),
            (epoch + Duration::from_secs(1), 1),
            (epoch + Duration::from_secs(1 << 40), 1 << 40),
        ];
        for (time, want) in cases {
            assert_eq!(now_secs(&Stopped(time)), want, "{time:?}");
        }
    }

    #[test]
    fn shared_and_boxed_clocks_are_clocks() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let shared: Arc<dyn Clock> = Arc::new(Stopped(time));
        assert_eq!(now_secs(&Arc::clone(&shared)), 7);
        let boxed: Box<dyn Clock> = Box::new(shared);
        assert_eq!(now_secs(&boxed), 7);
    }

    #[test]
    fn the_system_clock_is_past_2020() {
        assert!(now_secs(&SystemClock) > 1_577_836_800);
    }
}
