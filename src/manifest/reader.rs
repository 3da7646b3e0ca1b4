//! Finding and reading a version.
//!
//! Spec: `format-spec/08-manifest.md`. I/O: through `Storage`. Unsafe: none.

use crate::error::{Error, Result};
use crate::format::file_name::FileName;
use crate::format::manifest::{ManifestData, ManifestView};
use crate::options::ReadMode;
use crate::storage::{Listing, Storage};

/// Reads the newest version; `None` if there is no manifest.
///
/// # Errors
///
/// As [`load`]; an older manifest is never tried instead.
pub(crate) fn load_newest(
    storage: &dyn Storage,
    listing: &Listing,
) -> Result<Option<ManifestData>> {
    let numbers = listing.files.iter().filter_map(|name| match name {
        FileName::Manifest(number) => Some(*number),
        _ => None,
    });
    mutant!(OpenOlderManifest, {
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        return Ok(numbers.into_iter().rev().find_map(|number| load(storage, number).ok()));
    });
    numbers.max().map(|number| load(storage, number)).transpose()
}

/// Reads one version.
///
/// # Errors
///
/// [`Error::Corrupt`] if the file is damaged; [`Error::UnsupportedFormat`] if it needs a newer
/// build; [`Error::Io`] if it can't be read.
pub(crate) fn load(storage: &dyn Storage, number: u64) -> Result<ManifestData> {
    let region = storage.open_region(FileName::Manifest(number), ReadMode::Heap)?;
    let bytes = region.read(0, usize::try_from(region.len()).unwrap_or(usize::MAX))?;
    let data = ManifestView::parse(&bytes).and_then(|view| {
        view.check_number(number)?;
        Ok(view.to_data()?)
    });
    data.map_err(|error| Error::frame(region.path(), error))
}
