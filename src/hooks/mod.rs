//! Hooks: the caller's code that the database calls.
//!
//! ```text
//!   MergeOperator     read, flush, compaction     folds operands into values
//!   CompactionFilter  compaction                  keeps, removes or replaces values
//!   Clock             read, write, compaction     tells what has expired
//! ```
//!
//! # Invariants
//!
//! - A hook trait is also implemented for `Arc<T>` and `Box<T>`, sized or not, so a caller can keep
//!   a share of what the database uses, or choose at run time.
//! - A merge operator or filter that fails or panics harms nothing but what it was asked for.
//! - No hook but the clock is called while anything is held that another write needs.
//! - A hook does not call the database it serves: its flush may be what that call waits for.
//!
//! Spec: none. I/O: the system's clock. Unsafe: none.

mod clock;
mod filter;
mod merge;

pub use clock::Clock;
pub(crate) use clock::{SystemClock, now_secs};
pub(crate) use filter::Filter;
pub use filter::{CompactionFilter, Decision};
pub(crate) use merge::Merger;
pub use merge::{MergeError, MergeOperator};

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a hook; what a panic said if it panics.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // The hook's own state may be half changed; that is the caller's to know.
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| describe(&*panic))
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| "it panicked".to_owned(), |text| format!("it panicked: {text}"))
}
