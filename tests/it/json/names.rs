//! Where a member's name comes from, and what it may be.

use serde_json::Value;

use super::Json;
use crate::support::unsupported;

#[test]
fn a_trigger_names_members_by_their_columns() {
    let mut json = Json::start();
    json.execute("CREATE TABLE n (id INT, name VARCHAR(20), `a b` INT, json_doc TEXT)");
    json.execute("CREATE TABLE log (text TEXT)");
    json.execute(
        "CREATE TRIGGER t AFTER INSERT ON n FOR EACH ROW BEGIN
           DECLARE v INT DEFAULT 3;
           INSERT INTO log VALUES (json_object(NEW.id, new.name, NEW.`a b`, v, NEW.json_doc, NEW.id AS `x`));
         END",
    );
    json.execute("INSERT INTO n VALUES (1, 'a', 2, '[1]'), (2, NULL, 3, NULL)");
    assert_eq!(
        json.try_rows("SELECT text FROM log").unwrap(),
        [
            Some(r#"{"id":1,"name":"a","a":2,"v":3,"json_doc":[1],"x":1}"#.to_owned()),
            Some(r#"{"id":2,"name":null,"a":3,"v":3,"json_doc":null,"x":2}"#.to_owned()),
        ]
    );
}

#[test]
fn a_view_keeps_the_names_and_the_pair_form() {
    let mut json = Json::start();
    json.execute("CREATE TABLE n (id INT, `名` INT)");
    json.execute("INSERT INTO n VALUES (1, 2)");
    json.execute("CREATE VIEW v AS SELECT json_object(id, n.`名`, id + 1 AS z) AS j, json_object('k', id, \"it's\", 5) AS p FROM n");
    assert_eq!(json.text("SELECT j FROM v"), r#"{"id":1,"名":2,"z":2}"#);
    assert_eq!(json.text("SELECT p FROM v"), r#"{"k":1,"it's":5}"#);
}

#[test]
fn a_name_that_is_too_long_to_be_whole_is_refused() {
    let mut json = Json::start();
    let longest = "a".repeat(252);
    assert_eq!(
        json.text(&format!("SELECT json_object(1 AS `{longest}`)")),
        format!("{{\"{longest}\":1}}")
    );
    for alias in [
        "a".repeat(256),
        "名".repeat(86),
        "é".repeat(200),
        format!("a{}", "名".repeat(100)),
    ] {
        let error = json.error(&format!("SELECT json_object(1 AS `{alias}`)"));
        assert!(error.contains("give it a shorter one"), "{alias}: {error}");
    }
    // A long expression needs no name where it is spliced or has no place for one.
    let long = "x".repeat(300);
    assert_eq!(
        json.text(&format!("SELECT json_object(json_members('a', '{long}'))")),
        format!(r#"{{"a":"{long}"}}"#)
    );
    assert_eq!(
        json.text(&format!("SELECT json_array('{long}')")),
        format!(r#"["{long}"]"#)
    );
    assert_eq!(
        json.text(&format!("SELECT json_object('{long}', 1)")),
        format!(r#"{{"{long}":1}}"#)
    );
}

#[test]
fn the_pair_form_takes_any_name() {
    let mut json = Json::start();
    for (call, expected) in [
        (
            "json_object('a-b c', 1, '', 2, '1', 3)",
            r#"{"a-b c":1,"":2,"1":3}"#,
        ),
        (
            r#"json_object("it's", 'x', N'n', _utf8'u', 'a' 'b', 1)"#,
            r#"{"it's":"x","n":"u","ab":1}"#,
        ),
        (
            "json_object('a', NULL, 'a', 1.50)",
            r#"{"a":null,"a":1.50}"#,
        ),
        (
            "json_object('a', TRUE, 'b', false, 'c', 1)",
            r#"{"a":true,"b":false,"c":1}"#,
        ),
        (
            "json_object('a', json_array(1, json_object('b', 'c')))",
            r#"{"a":[1,{"b":"c"}]}"#,
        ),
        ("json_object('a', '[1]')", r#"{"a":"[1]"}"#),
        ("json_object('a', '[1]' AS json_x)", r#"{"a":[1]}"#),
        ("json_object('值', '😀')", r#"{"值":"😀"}"#),
    ] {
        assert_eq!(json.text(&format!("SELECT {call}")), expected, "{call}");
    }
    for (call, problem) in [
        ("json_object('a')", "cannot start with '''"),
        ("json_object('a', 1, 'b')", "cannot start with '''"),
        ("json_object('a', 1, 2, 3)", "cannot start with '''"),
        ("json_object(1, 'a')", "cannot start with '1'"),
    ] {
        let error = json.error(&format!("SELECT {call}"));
        assert!(
            error.contains(&format!("Invalid json member name - name {problem}")),
            "{call}: {error}"
        );
    }
}

#[test]
fn the_pair_form_gives_the_value_that_the_native_function_gives() {
    let mut json = Json::start();
    if json.has_bare_names {
        unsupported!("the server has no native JSON_OBJECT");
    }
    json.execute("CREATE TABLE n (id INT, name VARCHAR(20), price DECIMAL(10,2), r DOUBLE, u BIGINT UNSIGNED) DEFAULT CHARSET=utf8mb4");
    json.execute(
        "INSERT INTO n VALUES (1, 'a\"é\\\\', -0.50, 1e-7, 18446744073709551615), (NULL, '', 0, 1e100, 0)",
    );
    for arguments in [
        "'id', id, 'name', name, 'price', price, 'r', r, 'u', u",
        "'', NULL, 'a b', TRUE, 'é', FALSE, 'id', id + 1",
        "'array', JSON_ARRAY(id, name, NULL)",
    ] {
        let ours = arguments.replace("JSON_ARRAY", "json_array");
        let ours = json
            .try_rows(&format!("SELECT json_object({ours}) FROM n"))
            .unwrap();
        let native = json
            .try_rows(&format!("SELECT JSON_OBJECT({arguments}) FROM n"))
            .unwrap();
        let parse = |rows: Vec<Option<String>>| -> Vec<Value> {
            let rows = rows.into_iter().flatten();
            rows.map(|text| serde_json::from_str(&text).expect(&text))
                .collect()
        };
        assert_eq!(parse(ours), parse(native), "{arguments}");
    }
}

#[test]
fn a_constant_member_name_is_checked_and_a_computed_one_escaped() {
    let mut json = Json::start();
    json.execute("CREATE TABLE n (k VARCHAR(20))");
    json.execute("INSERT INTO n VALUES ('a\"b'), (''), ('x.y z')");
    assert_eq!(
        json.try_rows("SELECT json_members(k, 1) FROM n").unwrap(),
        [r#""a\"b":1"#, r#""":1"#, r#""x.y z":1"#].map(|text| Some(text.to_owned()))
    );
    assert_eq!(
        json.text("SELECT json_members('t.a', 1, 'b c', 2)"),
        r#""a":1,"b c":2"#
    );
    for (call, problem) in [
        (
            "json_members(1, 2)",
            "String type required for member name (udf: json_members_init)",
        ),
        (
            "json_members(NULL, 2)",
            "Invalid json member name - name cannot be NULL",
        ),
        (
            "json_members('a', 2, CONCAT('b', '-'), 3)",
            "Invalid json member name - name cannot contain '-'",
        ),
    ] {
        let error = json.error(&format!("SELECT {call}"));
        assert!(error.contains(problem), "{call}: {error}");
    }
}
