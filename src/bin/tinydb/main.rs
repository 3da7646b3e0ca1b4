//! The `tinydb` command line.
//!
//! Spec: none. I/O: through the library. Unsafe: none.

fn main() {}
