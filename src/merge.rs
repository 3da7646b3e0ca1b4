//! Merge operators that come with the database.
//!
//! Spec: `format-spec/11-merge-operators.md`. I/O: none. Unsafe: none.

use crate::hooks::{MergeError, MergeOperator};

/// Adds numbers: values and operands are `i64`, 8 bytes, little-endian. An overflow wraps; a value
/// of another length is an error.
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let options = tinydb::Options::new().merge_operator(tinydb::merge::Counter);
/// let db = options.open(dir.path())?;
/// db.merge("visits", 1_i64.to_le_bytes())?;
/// db.merge("visits", 2_i64.to_le_bytes())?;
/// assert_eq!(db.get("visits")?.as_deref(), Some(&3_i64.to_le_bytes()[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter;

impl MergeOperator for Counter {
    fn name(&self) -> &'static str {
        "tinydb.counter"
    }

    fn merge(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        self.merge_batch(key, existing, &[operand])
    }

    fn merge_batch(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, MergeError> {
        let mut sum = 0_i64;
        for bytes in existing.iter().chain(operands) {
            let number = <[u8; 8]>::try_from(*bytes).map_err(|_| {
                MergeError::new(format!("a counter has 8 bytes, and this one {}", bytes.len()))
            })?;
            sum = sum.wrapping_add(i64::from_le_bytes(number));
        }
        Ok(sum.to_le_bytes().to_vec())
    }
}

/// Joins values, with a separator between any two.
///
/// An empty value or operand is one like any other: behind it the separator stands, too.
///
/// The separator is part of the operator's name: values with different ones do not mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    name: String,
    separator: Vec<u8>,
}

impl Append {
    /// Puts `separator`, which may be empty, between any two values.
    #[must_use]
    pub fn new(separator: impl AsRef<[u8]>) -> Self {
        let separator = separator.as_ref().to_vec();
        let name = format!("tinydb.append({})", separator.escape_ascii());
        Self { name, separator }
    }
}

impl MergeOperator for Append {
    fn name(&self) -> &str {
        &self.name
    }

    fn merge(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        self.merge_batch(key, existing, &[operand])
    }

    fn merge_batch(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, MergeError> {
        let parts: Vec<&[u8]> = existing.into_iter().chain(operands.iter().copied()).collect();
        Ok(parts.join(self.separator.as_slice()))
    }
}

/// Keeps the largest value, bytewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Max;

impl MergeOperator for Max {
    fn name(&self) -> &'static str {
        "tinydb.max"
    }

    fn merge(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        Ok(existing.map_or(operand, |existing| existing.max(operand)).to_vec())
    }
}

/// Keeps the smallest value, bytewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Min;

impl MergeOperator for Min {
    fn name(&self) -> &'static str {
        "tinydb.min"
    }

    fn merge(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        Ok(existing.map_or(operand, |existing| existing.min(operand)).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn counter(number: i64) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    #[test]
    fn a_counter_adds_and_wraps_and_wants_eight_bytes() {
        let fold = |existing: Option<&[u8]>, operands: &[&[u8]]| {
            Counter.merge_batch(b"", existing, operands)
        };
        assert_eq!(fold(None, &[&counter(2), &counter(-5)]), Ok(counter(-3)));
        assert_eq!(fold(Some(&counter(i64::MAX)), &[&counter(1)]), Ok(counter(i64::MIN)));
        for wrong in [&b""[..], b"1234567", b"123456789"] {
            assert!(fold(None, &[wrong]).is_err());
            assert!(fold(Some(wrong), &[&counter(1)]).is_err());
        }
    }

    #[test]
    fn append_max_and_min_do_what_their_names_say() {
        let append = |separator: &str, existing: Option<&[u8]>, operands: &[&[u8]]| {
            Append::new(separator).merge_batch(b"", existing, operands).unwrap()
        };
        assert_eq!(append(", ", None, &[b"a", b"b"]), b"a, b");
        assert_eq!(append("", Some(b"x"), &[b"a"]), b"xa");
        assert_eq!(append(",", Some(b""), &[b"", b"a"]), b",,a");
        assert_eq!(Max.merge(b"", Some(b"b"), b"a").unwrap(), b"b");
        assert_eq!(Max.merge(b"", None, b"").unwrap(), b"");
        assert_eq!(Min.merge(b"", Some(b"b"), b"a").unwrap(), b"a");
        assert_eq!(Min.merge(b"", None, b"z").unwrap(), b"z");
    }

    #[test]
    fn every_operator_obeys_the_laws() {
        let append = Append::new("+");
        let operators: [&dyn MergeOperator; 4] = [&Counter, &append, &Max, &Min];
        let mut random = SmallRng::seed_from_u64(5);
        for operator in operators {
            for _ in 0..200 {
                let len = if operator.name() == "tinydb.counter" { 8 } else { 3 };
                let mut value = || (0..len).map(|_| random.random()).collect::<Vec<u8>>();
                let (base, a, b) = (value(), value(), value());
                let merge = |existing: Option<&[u8]>, operand: &[u8]| {
                    operator.merge(b"key", existing, operand).unwrap()
                };
                assert_eq!(merge(None, &a), a, "{}", operator.name());
                for existing in [None, Some(&base[..])] {
                    let among = merge(existing, &merge(Some(&a), &b));
                    let in_turn = merge(Some(&merge(existing, &a)), &b);
                    let at_once = operator.merge_batch(b"key", existing, &[&a, &b]).unwrap();
                    assert_eq!(among, in_turn, "{}", operator.name());
                    assert_eq!(at_once, in_turn, "{}", operator.name());
                }
            }
        }
    }
}
