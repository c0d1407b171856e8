//! Text in other character sets: converted where the server can, refused where it cannot.

use mysql::prelude::Queryable;

use super::Json;
use crate::support::unsupported;

const CANNOT_CONVERT: &str =
    "the server does not convert for its functions; text that is not UTF-8 is an error";

impl Json {
    /// Whether the server converts: its results are utf8mb4 then, not binary.
    fn converts(&mut self) -> bool {
        match self.text("SELECT CHARSET(json_array(1))").as_str() {
            "utf8mb4" => true,
            "binary" => false,
            other => panic!("unexpected character set of a result: {other}"),
        }
    }

    fn make_table(&mut self) {
        self.execute(
            "CREATE TABLE c (
               gbk VARCHAR(10) CHARACTER SET gbk, latin VARCHAR(10) CHARACTER SET latin1,
               utf8 VARCHAR(10) CHARACTER SET utf8mb4, bytes BLOB)",
        );
        self.execute("INSERT INTO c VALUES ('你好', 'né', '日😀', x'61FF62')");
    }
}

#[test]
fn text_of_any_character_set_becomes_utf8_or_an_error_that_says_how() {
    let mut json = Json::start();
    json.make_table();
    assert_eq!(
        json.text("SELECT json_object(utf8) FROM c"),
        r#"{"utf8":"日😀"}"#
    );
    assert_eq!(
        json.text(
            "SELECT json_object(CONVERT(gbk USING utf8mb4) AS `gbk`, CONVERT(latin USING utf8mb4) AS l) FROM c"
        ),
        r#"{"gbk":"你好","l":"né"}"#
    );
    if json.converts() {
        assert_eq!(
            json.text("SELECT json_object(gbk, latin, utf8) FROM c"),
            r#"{"gbk":"你好","latin":"né","utf8":"日😀"}"#
        );
        assert_eq!(
            json.text("SELECT json_members(latin, gbk) FROM c"),
            r#""né":"你好""#
        );
        return;
    }
    for (call, problem) in [
        (
            "json_object(utf8, gbk)",
            r"argument 2 (gbk) is not UTF-8: '\xC4\xE3\xBA\xC3' at byte 0; write CONVERT(gbk USING utf8mb4) AS `gbk`",
        ),
        (
            "json_array(latin)",
            r"argument 1 (latin) is not UTF-8: '\xE9' at byte 1; write CONVERT(latin USING utf8mb4)",
        ),
        (
            "json_members('a', latin)",
            "argument 2 (latin) is not UTF-8",
        ),
        ("json_members(latin, 1)", "argument 1 (latin) is not UTF-8"),
        (
            "json_values(latin AS json_x)",
            "argument 1 (json_x) is not UTF-8",
        ),
    ] {
        let error = json.error(&format!("SELECT {call} FROM c"));
        assert!(error.contains(problem), "{call}: {error}");
    }
    unsupported!("{CANNOT_CONVERT}");
}

#[test]
fn bytes_that_are_not_utf8_undo_the_statement_that_wrote_them() {
    let mut json = Json::start();
    json.make_table();
    let error = json.error("SELECT json_object(bytes) FROM c");
    assert!(
        error.contains(r"argument 1 (bytes) is not UTF-8: '\xFF\x62' at byte 1")
            && error.contains("json_base64(bytes) AS `bytes`"),
        "{error}"
    );
    json.execute(
        "CREATE TRIGGER t AFTER INSERT ON c FOR EACH ROW SET @j = json_object(NEW.bytes AS b)",
    );
    json.error("INSERT INTO c (bytes) VALUES ('good'), (x'FF')");
    assert_eq!(
        json.text("SELECT CONCAT(COUNT(*)) FROM c"),
        "1",
        "both rows are undone"
    );
    json.execute("INSERT INTO c (bytes) VALUES ('good')");
    assert_eq!(json.text("SELECT @j"), r#"{"b":"good"}"#);
}

#[test]
fn a_connection_in_another_character_set_gets_utf8_or_an_error() {
    let mut json = Json::start();
    let converts = json.converts();
    json.execute("SET NAMES latin1");
    // The bytes E9 in this connection's character set.
    let literal = "CONCAT(CONVERT(x'E9' USING latin1))";
    let sql = format!("SELECT HEX(json_object({literal} AS a))");
    if converts {
        assert_eq!(json.text(&sql), "7B2261223A22C3A9227D");
    } else {
        assert!(json.error(&sql).contains("is not UTF-8"));
    }
}

#[test]
fn a_result_goes_where_text_goes() {
    let mut json = Json::start();
    if !json.converts() {
        unsupported!("{CANNOT_CONVERT}");
    }
    json.execute("CREATE TABLE j (j JSON)");
    json.execute("INSERT INTO j VALUES (json_object('é' AS a))");
    assert_eq!(
        json.text("SELECT JSON_UNQUOTE(JSON_EXTRACT(j, '$.a')) FROM j"),
        "é"
    );
    for collation in ["utf8mb4_general_ci", "utf8mb4_bin"] {
        json.execute(&format!("SET NAMES utf8mb4 COLLATE {collation}"));
        assert_eq!(
            json.text("SELECT CONCAT(json_array(1) = '[1]', ' ', (SELECT COUNT(*) FROM (SELECT json_array(1) UNION SELECT '[1]') u))"),
            "1 1",
            "{collation}"
        );
    }
}

/// Text that some character sets have and others have not.
const TEXTS: [&str; 8] = ["ab", "né", "日本", "漢字", "яж", "Ã©", "ελ", "😀"];

/// A connection's character set that is no superset of ASCII cannot be a client's.
const NO_CLIENTS: [&str; 4] = ["ucs2", "utf16", "utf16le", "utf32"];

#[test]
fn a_column_of_any_character_set_is_right_once_it_is_converted_and_never_breaks_the_json() {
    let mut json = Json::start();
    let converts = json.converts();
    json.execute("SET sql_mode = 'STRICT_ALL_TABLES'");
    let sets = json
        .try_rows("SELECT character_set_name FROM information_schema.character_sets ORDER BY 1")
        .expect("character sets");
    let (mut right, mut refused, mut raw) = (0, 0, 0);
    for set in sets.iter().flatten() {
        json.execute("DROP TABLE IF EXISTS c");
        if set == "binary" {
            continue;
        }
        json.execute(&format!(
            "CREATE TABLE c (c VARCHAR(9) CHARACTER SET {set})"
        ));
        for text in TEXTS {
            json.execute("DELETE FROM c");
            let insert = format!("INSERT INTO c VALUES ('{text}')");
            if json.session.query_drop(&insert).is_err() {
                // The character set does not have it.
                continue;
            }
            let expected = format!(r#"["{text}"]"#);
            let converted = json.text("SELECT json_array(CONVERT(c USING utf8mb4)) FROM c");
            assert_eq!(converted, expected, "{set}");
            match json.try_rows("SELECT json_array(c) FROM c") {
                Ok(rows) if rows == [Some(expected)] => right += 1,
                Ok(rows) => {
                    // Bytes that happen to be UTF-8, of which the server does not say what they are.
                    let bytes = json.text("SELECT json_array(CAST(c AS BINARY)) FROM c");
                    assert_eq!(rows, [Some(bytes)], "{set}: {text}");
                    assert!(!converts, "{set}: {text}: {rows:?}");
                    raw += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("is not UTF-8"), "{set}: {error}");
                    assert!(!converts, "{set}: {text}: {error}");
                    refused += 1;
                }
            }
        }
    }
    println!("{right} right, {refused} refused, {raw} as their bytes are");
    assert!(right > 40, "{right}");
}

#[test]
fn a_client_of_any_character_set_gets_utf8_and_names_in_it() {
    let mut json = Json::start();
    json.execute("CREATE TABLE c (`名` VARCHAR(9) CHARACTER SET utf8mb4)");
    json.execute("INSERT INTO c VALUES ('né日')");
    json.execute("CREATE VIEW v AS SELECT json_object(`名`) AS j FROM c");
    let sets = json
        .try_rows("SELECT character_set_name FROM information_schema.character_sets ORDER BY 1")
        .expect("character sets");
    for set in sets.iter().flatten() {
        if NO_CLIENTS.contains(&set.as_str()) {
            continue;
        }
        for names in ["SET NAMES", "SET CHARACTER SET"] {
            json.execute(&format!("{names} {set}"));
            // In hexadecimal, as a result is converted for the client where it is text.
            let hex = json.text("SELECT HEX(j) FROM v");
            assert_eq!(hex, "7B22E5908D223A226EC3A9E697A5227D", "{names} {set}");
            // A literal is in the character set of the connection.
            let literal = json
                .try_rows("SELECT HEX(json_array('ab'))")
                .expect("ASCII");
            assert_eq!(literal, [Some("5B226162225D".to_owned())], "{names} {set}");
        }
        json.execute("SET NAMES utf8mb4");
    }
}

/// Bytes that end in the middle of a character, that begin in one, overlong and surrogate ones.
const MALFORMED: [&str; 12] = [
    "FF", "C3", "80", "E697", "F09F98", "C0AF", "EDA080", "F4908080", "61E6", "8140", "A1", "00D8",
];

#[test]
fn malformed_bytes_never_become_json_that_is_none() {
    let mut json = Json::start();
    json.execute("SET sql_mode = ''");
    let sets = json
        .try_rows("SELECT character_set_name FROM information_schema.character_sets ORDER BY 1")
        .expect("character sets");
    for set in sets.iter().flatten() {
        json.execute("DROP TABLE IF EXISTS c");
        json.execute(&format!(
            "CREATE TABLE c (c VARCHAR(9) CHARACTER SET {set}, b VARBINARY(9))"
        ));
        for bytes in MALFORMED {
            json.execute("DELETE FROM c");
            // Each in its own way: what the server takes for text, and an introducer that it believes.
            let _ = json
                .session
                .query_drop(format!("INSERT INTO c VALUES (x'{bytes}', x'{bytes}')"));
            for call in [
                "json_array(c) FROM c".to_owned(),
                "json_array(b) FROM c".to_owned(),
                format!("json_array(_{set} x'{bytes}')"),
                format!("json_object(_{set} x'{bytes}' AS json_a)"),
                format!("json_members(CONVERT(x'{bytes}' USING {set}), 1)"),
                "json_base64(c) FROM c".to_owned(),
            ] {
                match json.try_rows(&format!("SELECT {call}")) {
                    Ok(rows) => {
                        for text in rows.iter().flatten() {
                            let whole = match call.starts_with("json_members") {
                                true => format!("{{{text}}}"),
                                false if call.starts_with("json_base64") => format!("\"{text}\""),
                                false => text.clone(),
                            };
                            let value = serde_json::from_str::<serde_json::Value>(&whole);
                            assert!(value.is_ok(), "{call}: {text}");
                        }
                    }
                    // Refused, or not understood.
                    Err(mysql::Error::MySqlError(_)) => {}
                    Err(error) => panic!("{call}: the server is gone: {error}"),
                }
            }
        }
    }
}
