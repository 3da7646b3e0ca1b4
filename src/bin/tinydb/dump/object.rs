//! The dump as JSON: an object a line, for programs.
//!
//! Spec: none. I/O: none. Unsafe: none.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::shown::Value;

/// What the values of a field are called.
pub(super) fn field(value: &Value<'_>, numbers: &[(&str, u64)]) -> Map<String, Json> {
    let mut object = match value {
        Value::Nothing => Map::new(),
        Value::Number(number) => of([("value", json!(number))]),
        Value::Numbers(all) => of([("value", json!(all))]),
        Value::Fixed(bytes) | Value::Bytes(bytes) => of([("value", hex(bytes))]),
        Value::Row(key, value) => of([("key", hex(key)), ("value", hex(value))]),
        Value::Range(start, end) => of([("start", hex(start)), ("end", json!(end.map(hex)))]),
    };
    object.extend(numbers.iter().map(|(name, number)| ((*name).to_owned(), json!(number))));
    object
}

pub(super) fn of<const N: usize>(fields: [(&str, Json); N]) -> Map<String, Json> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Bytes in hexadecimal: they may be any, and JSON's strings may not.
fn hex(bytes: &[u8]) -> Json {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    Json::String(text)
}
