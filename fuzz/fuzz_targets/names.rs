//! Names of members, as servers pass them: any bytes. What is taken for a name can be written as
//! one.

#![no_main]

use std::collections::BTreeMap;

use gearman_mysql_udf::json::{Name, Value, Writer, constant_name, member_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|expression: &[u8]| {
    if let Ok(name) = member_name(expression) {
        assert!(!name.is_empty());
        assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '.'));
        assert_eq!(member_name(name.as_bytes()).ok(), Some(name));
        assert_is_written(name);
    }
    if let Ok(text) = str::from_utf8(expression) {
        assert_is_written(text);
        if let Ok(name) = constant_name(text) {
            assert!(!name.is_empty() && text.ends_with(name));
        }
    }
});

/// Both ways to write a member give JSON with a member of this name.
fn assert_is_written(name: &str) {
    let mut writer = Writer::default();
    writer.begin("{");
    writer.member(&Name::new(name).expect("room"), Value::Integer(1));
    let prepared = writer.end("}").expect("room").to_owned();
    writer.begin("{");
    writer.named_member(name, Value::Integer(1));
    assert_eq!(writer.end("}").expect("room"), prepared);
    // Not a `serde_json::Value`, to which one name is a sign of its own: "$serde_json::private::RawValue".
    let object: BTreeMap<String, u32> = serde_json::from_slice(&prepared).expect("JSON");
    assert_eq!(object[name], 1);
}
