//! Text in other character sets: converted where the server can, refused where it cannot.

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
