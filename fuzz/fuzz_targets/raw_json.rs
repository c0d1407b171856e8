//! Text that claims to be JSON. What is taken for JSON gives JSON in its place, and what
//! `serde_json` reads is taken for JSON, up to the depth that leaves room for the place.

#![no_main]

use gearman_mysql_udf::json::{Value, Writer, is_members, is_value, is_values};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

/// As deep as `serde_json` reads by default.
const MAX_DEPTH: usize = 127;

fuzz_target!(|text: &str| {
    assert_agrees(is_value(text), text, "", "");
    assert_agrees(is_values(text), text, "[", "]");
    assert_agrees(is_members(text), text, "{", "}");

    let mut writer = Writer::default();
    writer.begin("[");
    writer.element(Value::String(text));
    if is_values(text) {
        writer.splice(text);
    }
    if is_value(text) {
        writer.element(Value::Json(text));
    }
    let array: Json = serde_json::from_slice(writer.end("]").expect("room")).expect("JSON");
    assert_eq!(array[0], text);

    writer.begin("{");
    writer.named_member("a", Value::Null);
    if is_members(text) {
        writer.splice(text);
    }
    writer.named_member("b", Value::Null);
    let object: Json = serde_json::from_slice(writer.end("}").expect("room")).expect("JSON");
    assert!(object.get("b").is_some());
});

/// `accepted` says of `text` what `serde_json` says of it in its place.
fn assert_agrees(accepted: bool, text: &str, open: &str, close: &str) {
    let whole = format!("{open}{text}{close}");
    match serde_json::from_str::<Json>(&whole) {
        Ok(value) if !accepted => {
            // A value alone will stand one level deeper than it does here.
            let limit = if open.is_empty() {
                MAX_DEPTH - 1
            } else {
                MAX_DEPTH
            };
            assert!(depth(&value) > limit, "refused: {text}");
        }
        Ok(_) => {}
        Err(error) => assert!(!accepted, "accepted: {text}: {error}"),
    }
}

/// How many containers are in one another at most.
fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
