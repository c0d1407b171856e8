//! Any row becomes JSON that reads back to the values that were stored.

use std::cell::RefCell;

use mysql::Value as Sql;
use mysql::prelude::Queryable;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use super::Json;

/// Each case is a row that goes into the server and comes back.
const CASES: u32 = 300;

/// BIGINT, BIGINT UNSIGNED, BIT(20), DECIMAL(40,10), FLOAT, DOUBLE, TEXT and BLOB.
type Row = (i64, u64, u32, String, f32, f64, String, String);

fn any_row() -> impl Strategy<Value = Row> {
    (
        any::<i64>(),
        any::<u64>(),
        0..1_u32 << 20,
        "-?[1-9][0-9]{0,29}\\.[0-9]{10}",
        any::<f32>(),
        any::<f64>(),
        any::<String>(),
        any::<String>(),
    )
}

#[test]
fn any_row_reads_back_from_its_json() {
    let mut json = Json::start();
    json.execute(
        "CREATE TABLE p (i BIGINT, u BIGINT UNSIGNED, b BIT(20), d DECIMAL(40,10), f FLOAT,
                         r DOUBLE, t TEXT, m MEDIUMBLOB) DEFAULT CHARSET=utf8mb4",
    );
    json.execute("INSERT INTO p (i) VALUES (0)");
    let json = RefCell::new(json);
    TestRunner::new(Config::with_cases(CASES))
        .run(&any_row(), |row| check(&mut json.borrow_mut(), row))
        .unwrap_or_else(|problem| panic!("{problem}"));
}

fn check(json: &mut Json, (i, u, b, d, f, r, t, m): Row) -> Result<(), TestCaseError> {
    let row = (i, u, b, &d, Sql::from(f), Sql::from(r), &t, m.as_bytes());
    json.session
        .exec_drop("UPDATE p SET i=?, u=?, b=?, d=?, f=?, r=?, t=?, m=?", row)
        .unwrap_or_else(|error| panic!("{error}"));
    let text = json.text("SELECT json_object(i, u, b, d, f, r, t, m) FROM p");
    let read: Value = serde_json::from_str(&text).expect(&text);
    prop_assert_eq!(read["i"].as_i64(), Some(i));
    prop_assert_eq!(read["u"].as_u64(), Some(u));
    prop_assert_eq!(read["b"].as_u64(), Some(b.into()));
    let decimal = format!("\"d\":{d},");
    prop_assert!(text.contains(&decimal), "expected {} in {}", decimal, text);
    prop_assert_eq!(read["f"].to_string().parse(), Ok(f));
    prop_assert_eq!(read["r"].as_f64(), Some(r));
    prop_assert_eq!(read["t"].as_str(), Some(t.as_str()));
    prop_assert_eq!(read["m"].as_str(), Some(m.as_str()));

    let nested =
        json.text("SELECT json_object(json_array(i, t) AS json_x, json_members('t', t)) FROM p");
    let nested: Value = serde_json::from_str(&nested).expect(&nested);
    prop_assert_eq!(&nested["json_x"][0], &read["i"]);
    prop_assert_eq!(&nested["json_x"][1], &read["t"]);
    prop_assert_eq!(&nested["t"], &read["t"]);
    Ok(())
}
