//! Numbers keep their value, whatever column or expression they come from.

use super::Json;

#[test]
fn integers_keep_their_value_and_sign() {
    let mut json = Json::start();
    json.execute(
        "CREATE TABLE n (
           i INT, iz INT(5) ZEROFILL, t TINYINT(1), b BIGINT, u BIGINT UNSIGNED,
           u5 BIGINT(5) UNSIGNED, uz BIGINT UNSIGNED ZEROFILL, y YEAR, s SMALLINT, m MEDIUMINT)",
    );
    json.execute(
        "INSERT INTO n VALUES
           (-5, 42, 1, -9223372036854775808, 18446744073709551615, 9223372036854775808, 7, 2020,
            -32768, 8388607),
           (2147483647, 0, 0, 9223372036854775807, 0, 0, 0, 1901, 0, -8388608)",
    );
    assert_eq!(
        json.try_rows("SELECT json_array(i, iz, t, b, u, u5, uz, y, s, m) FROM n")
            .unwrap(),
        [
            Some(
                "[-5,42,1,-9223372036854775808,18446744073709551615,9223372036854775808,7,2020,\
                 -32768,8388607]"
                    .to_owned()
            ),
            Some("[2147483647,0,0,9223372036854775807,0,0,0,1901,0,-8388608]".to_owned()),
        ]
    );
    for unsigned in [
        "u",
        "u + 0",
        "u | 0",
        "u * 1",
        "u DIV 1",
        "~0",
        "18446744073709551615",
        "MAX(u)",
        "BIT_OR(u)",
        "SUM(u)",
        "COALESCE(u)",
        "IFNULL(u, 0)",
        "IF(1, u, 0)",
        "NULLIF(u, 3)",
        "ABS(u)",
        "CAST(u AS UNSIGNED)",
        "CAST('18446744073709551615' AS UNSIGNED)",
        "CASE WHEN 1 THEN u END",
        "(SELECT MAX(u) FROM n)",
        "@u",
        "twice(u)",
    ] {
        json.execute("DROP FUNCTION IF EXISTS twice");
        json.execute(
            "CREATE FUNCTION twice(x BIGINT UNSIGNED) RETURNS BIGINT UNSIGNED NO SQL RETURN x",
        );
        json.execute("SET @u = 18446744073709551615");
        let sql = format!("SELECT json_array({unsigned}) FROM n WHERE i = -5");
        assert_eq!(json.text(&sql), "[18446744073709551615]", "{unsigned}");
    }
    assert_eq!(
        json.text("SELECT json_array(COUNT(*), 1 = 1, TRUE, -1, i + 0, NULL) FROM n WHERE i = -5"),
        "[1,1,1,-1,-5,null]"
    );
}

#[test]
fn bits_are_numbers() {
    let mut json = Json::start();
    let widths = [1, 7, 8, 9, 16, 19, 20, 21, 27, 31, 32, 33, 48, 63, 64];
    let columns: Vec<_> = widths.iter().map(|width| format!("b{width}")).collect();
    let types: Vec<_> = widths
        .iter()
        .map(|width| format!("b{width} BIT({width})"))
        .collect();
    json.execute(&format!("CREATE TABLE b ({})", types.join(", ")));
    // Also bytes that are digits: 0x31323334 is '1234'.
    let samples = [
        0_u64,
        1,
        0x35,
        0x3131,
        0x313233,
        0x31323334,
        0x3132333435363738,
        u64::MAX,
    ];
    for sample in samples {
        let values: Vec<_> = widths
            .iter()
            .map(|width| sample & (u64::MAX >> (64 - width)))
            .collect();
        let values: Vec<_> = values.iter().map(u64::to_string).collect();
        json.execute(&format!("INSERT INTO b VALUES ({})", values.join(", ")));
        assert_eq!(
            json.text(&format!("SELECT json_array({}) FROM b", columns.join(", "))),
            format!("[{}]", values.join(","))
        );
        json.execute("DELETE FROM b");
    }
    json.execute("INSERT INTO b (b19, b64) VALUES (5, 18446744073709551615)");
    assert_eq!(
        json.text(
            "SELECT json_array(MAX(b19), MAX(b64), b64 + 0, IF(1, b19, 0)) FROM b GROUP BY b19, b64"
        ),
        "[5,18446744073709551615,18446744073709551615,5]"
    );
}

#[test]
fn decimals_keep_their_digits() {
    let mut json = Json::start();
    json.execute("CREATE TABLE d (d DECIMAL(10,2), z DECIMAL(10,2) ZEROFILL, w DECIMAL(65,30))");
    json.execute(
        "INSERT INTO d VALUES (-12.50, 12.50, 1), (0, 0, -0.000000000000000000000000000001)",
    );
    assert_eq!(
        json.try_rows("SELECT json_array(d, z, w, .5, -.5, 1.50) FROM d")
            .unwrap(),
        [
            Some("[-12.50,12.50,1.000000000000000000000000000000,0.5,-0.5,1.50]".to_owned()),
            Some("[0.00,0.00,-0.000000000000000000000000000001,0.5,-0.5,1.50]".to_owned()),
        ]
    );
}

#[test]
fn reals_are_the_shortest_text_that_reads_back_to_the_same_value() {
    let mut json = Json::start();
    json.execute(
        "CREATE TABLE r (f FLOAT, f74 FLOAT(7,4), fz FLOAT ZEROFILL, d DOUBLE, d122 DOUBLE(12,2), dz DOUBLE ZEROFILL)",
    );
    json.execute(
        "INSERT INTO r VALUES
           (0.1, 123.4567, 0.1, 0.1, 1234567890.25, 1.5),
           (16777216, 0, 3e38, 1e308, 0.25, 5e-324),
           (-2.25, -1, 0, 0.10000000149011612, -9999999999.99, 123456789.123456789)",
    );
    assert_eq!(
        json.try_rows("SELECT json_array(f, f74, fz, d, d122, dz) FROM r")
            .unwrap(),
        [
            Some("[0.1,123.4567,0.1,0.1,1234567890.25,1.5]".to_owned()),
            Some("[16777216,0,3e38,1e308,0.25,5e-324]".to_owned()),
            Some("[-2.25,-1,0,0.10000000149011612,-9999999999.99,123456789.12345679]".to_owned()),
        ]
    );
    assert_eq!(
        json.text("SELECT json_array(1e3, 0.1e0, -1e-10, PI(), 1e16, 0e0)"),
        "[1000,0.1,-1e-10,3.141592653589793,1e16,0]"
    );
}
