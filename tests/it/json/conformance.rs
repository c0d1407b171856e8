//! What the C library `lib_mysqludf_json` answered, case by case, and where we differ on purpose.

use serde::Deserialize;
use serde_json::Value;

use super::Json;
use crate::support::product_file;

/// One line of `tests/conformance/json_udf.jsonl`.
#[derive(Deserialize)]
struct Case {
    sql: String,
    expect: Expect,
    /// The first column of each row.
    #[serde(default)]
    rows: Vec<String>,
    /// Part of the error's message.
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    /// The same text.
    Text,
    /// The same JSON value.
    Json,
    Error,
}

#[test]
fn every_case_of_the_c_library_is_answered() {
    let mut json = Json::start();
    json.database
        .run_script(&product_file("tests/conformance/setup.sql"));
    json.session.select_db("gold").unwrap();
    let path = product_file("tests/conformance/json_udf.jsonl");
    let cases = std::fs::read_to_string(&path).unwrap();

    let failures: Vec<_> = cases
        .lines()
        .map(|line| serde_json::from_str::<Case>(line).expect(line))
        .filter_map(|case| failure(&mut json, &case))
        .collect();

    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases.lines().count() > 100, "{} is cut", path.display());
}

/// What is wrong with the answer to `case`.
fn failure(json: &mut Json, case: &Case) -> Option<String> {
    let answer = json.try_rows(&case.sql).map_err(|error| error.to_string());
    let is_right = match (&case.expect, &answer) {
        (Expect::Text, Ok(rows)) => rows.iter().flatten().eq(&case.rows),
        (Expect::Json, Ok(rows)) => rows
            .iter()
            .flatten()
            .map(parse)
            .eq(case.rows.iter().map(parse)),
        (Expect::Error, Err(message)) => message.contains(&case.message),
        _ => false,
    };
    let Case {
        sql, rows, message, ..
    } = case;
    (!is_right).then(|| format!("{sql}\n  expected {rows:?}{message}\n  got {answer:?}"))
}

fn parse(text: &String) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} is not JSON: {error}"))
}
