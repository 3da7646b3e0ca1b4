//! Progress: a bar on standard error while long work runs; nothing if that is no terminal.
//!
//! Spec: none. I/O: standard error. Unsafe: none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const BYTES: &str = "{bar:40} {binary_bytes}/{binary_total_bytes} {elapsed}";
const BYTES_SO_FAR: &str = "{spinner} {binary_bytes} {elapsed}";
const ROWS: &str = "{bar:40} {human_pos}/{human_len} rows {elapsed}";
const MESSAGE: &str = "{spinner} {msg} {elapsed}";

/// A bar that counts bytes up to `len`, or just counts them if that is not known.
pub(crate) fn bytes(len: Option<u64>) -> ProgressBar {
    match len {
        Some(len) => styled(ProgressBar::new(len), BYTES),
        None => styled(ProgressBar::no_length(), BYTES_SO_FAR),
    }
}

/// A bar that counts rows up to `count`.
pub(crate) fn rows(count: usize) -> ProgressBar {
    styled(ProgressBar::new(count as u64), ROWS)
}

/// A sign of life for work that can't say how far it is.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let bar = styled(ProgressBar::no_length(), MESSAGE).with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses() {
        for template in [BYTES, BYTES_SO_FAR, ROWS, MESSAGE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
