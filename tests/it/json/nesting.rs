//! JSON inside JSON.

use serde_json::Value;

use super::Json;

#[test]
fn json_under_a_json_name_goes_in_as_it_is() {
    let mut json = Json::start();
    for (call, expected) in [
        // A complete value keeps its name.
        (
            "json_object('{\"k\": [1, 2]}' AS json_x)",
            r#"{"json_x":{"k": [1, 2]}}"#,
        ),
        (
            "json_object('5' AS json_x, 'true' AS json_y)",
            r#"{"json_x":5,"json_y":true}"#,
        ),
        (
            "json_object('\"s\"' AS json_x, 'null' AS json_y)",
            r#"{"json_x":"s","json_y":null}"#,
        ),
        ("json_object(NULL AS json_x)", r#"{"json_x":null}"#),
        (
            "json_object(json_object(1 AS a) AS json_x)",
            r#"{"json_x":{"a":1}}"#,
        ),
        // Numbers are numbers.
        (
            "json_object(5 AS json_x, 1.50 AS json_y)",
            r#"{"json_x":5,"json_y":1.50}"#,
        ),
        // Members are spliced, also none.
        (
            "json_object(1 AS a, '\"b\":2' AS JSON_X, 3 AS c)",
            r#"{"a":1,"b":2,"c":3}"#,
        ),
        (
            "json_object('' AS json_x, 1 AS a, ' ' AS json_y)",
            r#"{"a":1}"#,
        ),
        (
            "json_object(json_members('a', json_object(json_members('b', 1))))",
            r#"{"a":{"b":1}}"#,
        ),
        // What is not JSON is a string.
        (
            "json_object('{\"a\":1' AS json_x)",
            r#"{"json_x":"{\"a\":1"}"#,
        ),
        (
            "json_object('\"a\":1,' AS json_x)",
            r#"{"json_x":"\"a\":1,"}"#,
        ),
        ("json_object('1,2' AS json_x)", r#"{"json_x":"1,2"}"#),
        ("json_object('x' AS json_)", r#"{"json_":"x"}"#),
        // An array has values, so these are spliced there.
        (
            "json_array(json_values(1, 'a'), json_array(2), 3)",
            r#"[1,"a",[2],3]"#,
        ),
        ("json_array('' AS json_x, 1)", "[1]"),
        ("json_array('\"a\":1' AS json_x)", r#"["\"a\":1"]"#),
        (
            "json_values(json_values(1, 2), json_object(1 AS a))",
            r#"1,2,{"a":1}"#,
        ),
        // A member's value is one value.
        ("json_members('a', '1,2' AS json_x)", r#""a":"1,2""#),
        (
            "json_members('a', json_members('b', 1))",
            r#""a":"\"b\":1""#,
        ),
        // Without the name it is text.
        ("json_array('[1]', '[1]' AS json)", r#"["[1]","[1]"]"#),
    ] {
        assert_eq!(json.text(&format!("SELECT {call}")), expected, "{call}");
    }
}

#[test]
fn a_value_that_needs_a_name_but_has_none_is_an_error() {
    let mut json = Json::start();
    let error = json.error("SELECT json_object(json_array(1, 2))");
    assert!(
        error.contains("Invalid json member name - name cannot contain '('"),
        "{error}"
    );
    assert_eq!(
        json.text("SELECT json_array(1)"),
        "[1]",
        "the next statement works"
    );
}

#[test]
fn deep_nesting_does_no_harm_to_the_server() {
    let mut json = Json::start();
    let nested = |depth| format!("CONCAT(REPEAT('[', {depth}), REPEAT(']', {depth}))");
    for depth in [100, 126, 127, 10_000, 1_000_000] {
        for call in ["json_object", "json_array", "json_values"] {
            let text = json.text(&format!("SELECT {call}({} AS json_x)", nested(depth)));
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let inner = if call == "json_object" {
                &value["json_x"]
            } else if call == "json_array" {
                &value[0]
            } else {
                &value
            };
            assert_eq!(inner.is_array(), depth <= 126, "{call}, {depth} deep");
        }
    }
    assert_eq!(
        json.text(&format!(
            "SELECT LENGTH(json_object({} AS json_x))",
            "REPEAT('{\"a\":', 1000000)"
        ))
        .parse::<usize>()
        .unwrap(),
        r#"{"json_x":""}"#.len() + r#"{\"a\":"#.len() * 1_000_000
    );
}
