//! Primary keys of every type, taken apart into parts of two rows.

use super::Path;

/// Loads `t` in small parts, and expects what its triggers sent when its `rows` rows were written.
#[track_caller]
fn loads_what_the_triggers_sent(path: &mut Path, what: &str, options: &[&str], values: &[&str]) {
    path.create_triggers("test.t", options);
    for value in values {
        path.gman
            .execute(&format!("INSERT INTO t VALUES ({value})"));
    }
    let mut sent = path.jobs(values.len());
    path.load("test.t", &["--chunk", "2"]);
    let mut loaded = path.jobs(values.len());
    sent.sort();
    loaded.sort();
    assert_eq!(loaded, sent, "{what}");
    path.load_in_lists("test.t", 2, &["--chunk", "2"]);
    let mut loaded = path.lists(values.len()).concat();
    loaded.sort();
    assert_eq!(loaded, sent, "{what}");
}

#[test]
fn rows_with_keys_of_any_type_arrive_as_their_triggers_send_them() {
    let mut path = Path::start();
    path.gman.execute("SET sql_mode = ''");
    path.gman.execute("SET time_zone = '+00:00'");
    let kinds: [(&str, &[&str]); 24] = [
        ("INT", &["-2147483648", "-1", "0", "1", "2147483647"]),
        (
            "BIGINT UNSIGNED",
            &["0", "1", "9223372036854775808", "18446744073709551615"],
        ),
        ("INT(6) ZEROFILL", &["7", "10", "123456"]),
        (
            "DECIMAL(20,5)",
            &["-1.5", "-0.00001", "0", "99999999999.12345", "3"],
        ),
        (
            "DOUBLE",
            &["-1e308", "-0.1", "0", "0.1234567890123", "1e-300", "1e17"],
        ),
        ("FLOAT", &["-0.1", "0", "0.1", "0.3", "1e20", "16777216"]),
        ("BIT(12)", &["0", "1", "255", "4095"]),
        ("YEAR", &["1901", "2024", "2155"]),
        ("DATE", &["'1000-01-01'", "'2024-02-29'", "'9999-12-31'"]),
        (
            "DATETIME(3)",
            &[
                "'2024-02-29 12:00:00'",
                "'2024-02-29 12:00:00.001'",
                "'2024-03-01'",
            ],
        ),
        (
            "TIMESTAMP",
            &[
                "'2024-10-27 00:30:00'",
                "'2024-10-27 01:30:00'",
                "'2024-10-27 02:30:00'",
            ],
        ),
        (
            "TIME",
            &["'-838:59:59'", "'-00:00:01'", "'00:00:00'", "'12:34:56'"],
        ),
        (
            "VARCHAR(9) CHARACTER SET latin1",
            &["''", "'a'", "'b '", "'ä'", "'z'", "'c'''"],
        ),
        (
            "VARCHAR(9) CHARACTER SET utf8",
            &["'A'", "'b'", "'é'", "'ü'", "'日本'"],
        ),
        (
            "VARCHAR(9) CHARACTER SET utf8 COLLATE utf8_bin",
            &["'A'", "'a'", "'b'", "'B'", "'\\\\'"],
        ),
        ("CHAR(9) CHARACTER SET ucs2", &["'a'", "'b'", "'日本'"]),
        ("VARCHAR(9) CHARACTER SET gbk", &["'漢字'", "'字'", "'a'"]),
        (
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            &["'🐬'", "'🐭'", "'x'"],
        ),
        (
            "VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci",
            &["'ae'", "'af'", "'ß'"],
        ),
        ("BINARY(2)", &["X'0000'", "X'00FF'", "X'FF00'", "X'2020'"]),
        ("VARBINARY(9)", &["''", "X'00'", "X'FF'", "'it''s'"]),
        (
            "ENUM('z','y','ä') CHARACTER SET latin1",
            &["'z'", "'y'", "'ä'"],
        ),
        ("SET('z','y')", &["''", "'z'", "'y'", "'z,y'"]),
        (
            "UUID",
            &[
                "'123e4567-e89b-12d3-a456-426655440000'",
                "'00000000-0000-1000-8000-426655440001'",
                "UUID()",
            ],
        ),
    ];
    for (kind, values) in kinds {
        let values: Vec<String> = values.iter().map(|value| format!("{value}, 'x'")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let table = format!("CREATE TABLE t (id {kind} PRIMARY KEY, a VARCHAR(9)) ENGINE=InnoDB");
        // Older servers do not have every type.
        if path.try_execute(&[&table]) {
            loads_what_the_triggers_sent(&mut path, kind, &[], &values);
            path.gman.execute("DROP TABLE t");
        } else {
            assert_eq!(kind, "UUID");
        }
    }
}

#[test]
fn rows_with_keys_of_several_columns_arrive() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (b VARCHAR(9) CHARACTER SET latin1, a ENUM('q', 'p'), n INT, c DOUBLE,
                         PRIMARY KEY (a, b, n)) ENGINE=InnoDB",
    );
    let mut rows = Vec::new();
    for a in ["q", "p"] {
        for b in ["x:y", "X z", "ü", ""] {
            rows.extend((1..4).map(|n| format!("'{b}', '{a}', {n}, {n}.25")));
        }
    }
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    loads_what_the_triggers_sent(&mut path, "three columns", &[], &rows);
}

#[test]
fn columns_of_every_type_arrive() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (
           id INT PRIMARY KEY,
           big BIGINT UNSIGNED, deci DECIMAL(10,2), f FLOAT, d DOUBLE, bits BIT(5), y YEAR, z INT(6) ZEROFILL,
           da DATE, dt DATETIME, ts TIMESTAMP NULL, ti TIME,
           e ENUM('ä', 'b') CHARACTER SET latin1, s SET('x', 'y'),
           plain TEXT CHARACTER SET utf8, l VARCHAR(9) CHARACTER SET latin1, u CHAR(9) CHARACTER SET ucs2,
           g TEXT CHARACTER SET gbk, m VARCHAR(9) CHARACTER SET utf8mb4,
           bi BINARY(2), pic BLOB, geo POINT, line GEOMETRY
         )",
    );
    let row = "18446744073709551615, 12.50, 0.1, 1e308, b'10101', 2024, 7,
       '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56', '-01:02:03', 'ä', 'x,y',
       'é', 'ü', '日本', '漢字', '🐬', X'00FF', REPEAT(X'00', 100), ST_GeomFromText('POINT(1 2)'), NULL";
    let rows: Vec<String> = (1..6).map(|id| format!("{id}, {row}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    loads_what_the_triggers_sent(&mut path, "every type", &[], &rows);
}
