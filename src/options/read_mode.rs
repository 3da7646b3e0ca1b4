//! How table files are read: what each way costs, and what becomes of a file that fails under it.
//!
//! Spec: none. I/O: none. Unsafe: none.

/// How table files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadMode {
    /// Mapped into memory and read in place. If another program cuts a table's file under the map, or
    /// the disk fails to deliver a page of it, the read of that page ends the process with SIGBUS; if
    /// one overwrites it, what was verified before may read as something else.
    #[default]
    Mmap,
    /// Mapped as well, but a page that is missing when it is read is an [`Error::Io`] that names the
    /// file and the offset, and the process lives. Linux only.
    ///
    /// Values are copies, made before it is asked whether their bytes were there: no byte that a call
    /// gives comes from a missing page, and none changes afterwards. From the first missing page on
    /// every read of that table is the error, until the database is opened anew. A compaction of it
    /// fails as well and publishes nothing; other tables and writes go on.
    ///
    /// The first table that is opened so installs a handler of SIGBUS, for the process and for good.
    /// It hands whatever is not about such a map to the handler that was there before, or to the
    /// default action. Who installs one later has to do the same, or this one is not asked; and a
    /// thread that blocks SIGBUS is ended by it all the same.
    ///
    /// Not every change is a missing page. A file that is cut reads as zeros up to the end of its last
    /// page, and so does a hole that is punched into it: as with what another program overwrites,
    /// checksums find that at the first touch, and later with [`ChecksumPolicy::Always`] alone.
    ///
    /// # Cost
    ///
    /// A get allocates its value and copies it, which takes a third longer than with a plain map; a
    /// `multi_get` is as many gets. A scan copies each block that it enters, so a row takes about twice
    /// as long. With [`ChecksumPolicy::Always`] filters and indexes are copied when a table is opened,
    /// and a get copies a block. Plain maps pay nothing for any of this.
    ///
    /// [`Error::Io`]: crate::Error::Io
    /// [`ChecksumPolicy::Always`]: super::ChecksumPolicy::Always
    Guarded,
    /// Read with `pread`, a block at a time, into memory that the value keeps: slower, for files
    /// that other programs may change.
    Heap,
}
