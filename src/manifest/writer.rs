//! Publishing a version.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `Storage`. Unsafe: none.

use crate::error::Error;
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, ManifestView};
use crate::storage::Storage;

/// Why a version could not be published.
#[derive(Clone, Debug)]
pub(crate) struct PublishError {
    /// What failed.
    pub(crate) error: Error,
    /// Whether the new manifest may be there, now or after a crash. If not, the version before is
    /// the newest for certain, and the next number can be tried; else only a reopen can tell.
    pub(crate) rename_began: bool,
}

/// Makes `data` the newest version: on return, it is that durably.
///
/// Its number must be larger than every manifest's so far, and no other file of that number may
/// be in the making, as they would share the name `TMP-n`.
///
/// # Errors
///
/// [`PublishError`], which says what is known about the disk then.
pub(crate) fn publish(storage: &dyn Storage, data: &ManifestData) -> Result<(), PublishError> {
    let temporary = FileName::Tmp(data.manifest_number);
    let manifest = FileName::Manifest(data.manifest_number);
    let failed = |rename_began| move |error| PublishError { error, rename_began };

    let bytes = data.encode();
    // What can't be read back must not become the newest version.
    ManifestView::parse(&bytes)
        .and_then(|view| Ok(view.to_data().map(drop)?))
        .map_err(|error| Error::frame(&storage.path(manifest), error))
        .map_err(failed(false))?;

    let mut file = storage.create(temporary).map_err(failed(false))?;
    let written = file
        .write_all(&bytes, 0)
        .and_then(|()| mutant!(SkipManifestSync, Ok(()), else file.sync()));
    drop(file);
    if let Err(error) = written {
        // The write's error is the one to report; a file that stays is found at the next open.
        let _ = storage.remove(temporary);
        return Err(failed(false)(error));
    }
    storage.rename(temporary, manifest).map_err(failed(true))?;
    mutant!(SkipManifestNameSync, return Ok(()));
    storage.sync_names(&[manifest]).map_err(failed(true))
}
