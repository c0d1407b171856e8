//! Binary data in JSON.

use std::time::{Duration, Instant};

use super::Json;
use crate::support::Database;

#[test]
fn bytes_become_text_without_line_ends_and_only_null_becomes_null() {
    let mut json = Json::start();
    for (value, text) in [
        ("''", ""),
        ("x'00'", "AA=="),
        ("x'FFFE00'", "//4A"),
        ("'foobar'", "Zm9vYmFy"),
        ("1234", "MTIzNA=="),
        ("1.50", "MS41MA=="),
    ] {
        assert_eq!(json.text(&format!("SELECT json_base64({value})")), text);
    }
    assert_eq!(json.try_rows("SELECT json_base64(NULL)").unwrap(), [None]);
    assert_eq!(
        json.text("SELECT CONCAT(json_base64(REPEAT(x'0001FF', 100000)) = REPEAT('AAH/', 100000))"),
        "1"
    );
    for call in ["json_base64()", "json_base64(1, 2)"] {
        let error = json.error(&format!("SELECT {call}"));
        assert!(error.contains("Must give one argument."), "{error}");
    }
}

/// The bytes of these are Base64 for `1234`, `true` and `null`, which are JSON too.
#[test]
fn text_that_looks_like_json_stays_a_string() {
    let mut json = Json::start();
    for (bytes, text) in [("D76DF8", "1234"), ("B6BB9E", "true"), ("9EE965", "null")] {
        let call = format!("json_base64(x'{bytes}')");
        let spaced = format!("JSON_BASE64 ( x'{bytes}' )");
        let member = format!(r#"{{"b":"{text}"}}"#);
        for (sql, expected) in [
            (format!("json_object('b', {call})"), &member),
            (format!("json_object('b', {spaced})"), &member),
            (format!("json_object({call} AS b)"), &member),
            (format!("json_object(json_members('b', {call}))"), &member),
            (format!("json_array({call})"), &format!(r#"["{text}"]"#)),
        ] {
            assert_eq!(json.text(&format!("SELECT {sql}")), *expected, "{sql}");
        }
    }
    json.execute("CREATE TABLE b (b BLOB)");
    json.execute("CREATE TRIGGER t AFTER INSERT ON b FOR EACH ROW SET @j = json_object('b', json_base64(NEW.b), 'n', json_base64(NULL))");
    json.execute("INSERT INTO b VALUES (x'D76DF8')");
    assert_eq!(json.text("SELECT @j"), r#"{"b":"1234","n":null}"#);
    json.execute("CREATE VIEW v AS SELECT json_array(json_base64(b)) AS j FROM b");
    assert_eq!(json.text("SELECT j FROM v"), r#"["1234"]"#);
}

/// The servers' TO_BASE64 returns NULL for this.
#[test]
fn a_blob_of_nearly_max_allowed_packet_comes_out_whole() {
    const BYTES: usize = 13 << 20;
    let mut json = Json::start_on(
        Database::builder()
            .option("--max-allowed-packet=16M")
            .start(),
    );
    json.execute("CREATE TABLE doc (id INT PRIMARY KEY, body LONGBLOB) ENGINE=MyISAM");
    json.execute(&format!("INSERT INTO doc VALUES (1, REPEAT('a', {BYTES}))"));
    json.execute(
        "CREATE TRIGGER t AFTER UPDATE ON doc FOR EACH ROW
           SET @length = LENGTH(json_object('id', NEW.id, 'body', json_base64(NEW.body)))",
    );

    let started = Instant::now();
    json.execute("UPDATE doc SET body = CONCAT('b', SUBSTRING(body, 2))");
    let took = started.elapsed();
    println!("{took:.1?} for a row of {BYTES} bytes");

    let text = BYTES.div_ceil(3) * 4;
    assert_eq!(
        json.text("SELECT CONCAT(@length)"),
        (r#"{"id":1,"body":""}"#.len() + text).to_string()
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    let start = "SELECT LEFT(json_object('body', json_base64(body)), 17) FROM doc";
    assert_eq!(json.text(start), r#"{"body":"YmFhYWFh"#);
}
