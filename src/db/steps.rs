//! The database step by step: how tests run one on any storage, and without threads.
//!
//! Spec: none. I/O: through the engine. Unsafe: none.

use std::sync::Arc;

use super::{Db, Handle};
use crate::engine::Engine;
use crate::error::Result;
use crate::options::Options;
use crate::storage::Storage;

impl Db {
    /// Opens the database on any storage: how tests run it on a simulated disk.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    #[doc(hidden)]
    pub fn open_on(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        let engine = Engine::open(storage, options)?;
        Ok(Self { handle: Arc::new(Handle { engine }) })
    }

    /// Does the merge that a background thread would do next while writes go on, if one is due. It may
    /// leave older rows below its outputs; what [`wait_idle`](Self::wait_idle) does seldom does that.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    #[doc(hidden)]
    pub fn merge_once(&self) -> Result<bool> {
        self.engine().merge_once()
    }
}
