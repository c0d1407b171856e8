//! What is sent of a row, whatever its names and its size are.

use mysql::prelude::Queryable;
use serde_json::json;

use super::Path;
use crate::support::unsupported;

/// Names with every character that one byte can be, and the ends of strings, names and comments.
fn names() -> Vec<String> {
    let all: Vec<char> = (1..=127u8).map(char::from).collect();
    let every = all.chunks(20).map(|letters| {
        let letters: String = letters.iter().collect();
        format!("a{letters}z")
    });
    let ends = [
        "x*/;CREATE DATABASE pwned;#",
        "x`;CREATE DATABASE pwned;-- ",
        "x';CREATE DATABASE pwned;#",
        "x$$\nCREATE DATABASE pwned$$\n",
        "x\\';CREATE DATABASE pwned;#",
        "größe ≠ 日本",
    ];
    every.chain(ends.map(|end| format!("{end}z"))).collect()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[test]
fn names_with_every_character_are_names_and_nothing_else() {
    let mut path = Path::start();
    for name in names() {
        let column = quoted(&name);
        path.gman.execute(&format!("CREATE DATABASE {column}"));
        let table = format!("{column}.{column}");
        path.gman
            .execute(&format!("CREATE TABLE {table} ({column} INT PRIMARY KEY)"));
        // By the client, and by gman itself.
        path.make_triggers(&table, &[]);
        path.create_triggers(&table, &["--function", super::FUNCTION]);

        let job = path.job(&format!("INSERT INTO {table} VALUES (7)"));
        assert_eq!(job["key"], format!("{name}.{name}:7"));
        assert_eq!(job["row"], json!({ name.as_str(): 7 }));
        let (_, said) = path.create_triggers(&table, &["--except", &column]);
        assert_eq!(said, "");
    }
    let pwned: Vec<String> = path.gman.query("SHOW DATABASES LIKE 'pwned'");
    assert_eq!(pwned, Vec::<String>::new());
}

#[test]
fn a_name_that_no_server_takes_is_refused_before_a_server_is_asked() {
    let path = Path::start();
    for (name, letter) in [("test.a😀", "U+1F600"), ("`😀`.t", "U+1F600")] {
        let problem = path.refusal(name);
        assert!(problem.contains(letter), "{problem}");
        assert!(!problem.contains("SELECT"), "{problem}");
    }
}

#[test]
fn a_large_value_arrives_and_is_never_null() {
    let mut path = Path::start();
    path.gman.execute("SET GLOBAL max_allowed_packet = 4194304");
    path.gman.session = path.gman.database.connect();
    path.gman.execute(
        "CREATE TABLE doc (id INT PRIMARY KEY, body LONGBLOB, l LONGTEXT CHARACTER SET latin1)",
    );
    path.make_triggers("test.doc", &[]);
    path.jobs("INSERT INTO doc VALUES (1, 'a', 'a')", 1);
    for (change, column, bytes) in [
        (
            "body = REPEAT('a', 13 * 262144)",
            "body",
            13 * 262_144_usize.div_ceil(3) * 4,
        ),
        (
            "body = 'a', l = REPEAT(_latin1 X'E4', 9 * 262144)",
            "l",
            9 * 262_144 * 2,
        ),
    ] {
        let job = path.job(&format!("UPDATE doc SET {change}"));
        let sent = job["row"][column].as_str().expect("a value").len();
        assert!(sent.abs_diff(bytes) < 100, "{change}: {sent} bytes");
    }
}

#[test]
fn a_timestamp_is_sent_in_utc_whatever_the_session_says() {
    let mut path = Path::start();
    path.gman.execute(
        "CREATE TABLE t (ts TIMESTAMP NULL, t6 TIMESTAMP(6) NULL, n INT, id INT PRIMARY KEY)",
    );
    path.make_triggers("test.t", &[]);
    path.gman.execute("SET time_zone = '+08:00'");
    let insert = "INSERT INTO t VALUES ('2024-02-29 18:00:00', '2024-02-29 18:00:00.25', 1, 1)";
    let stored = json!({
        "ts": "2024-02-29T10:00:00Z", "t6": "2024-02-29T10:00:00.250000Z", "n": 1, "id": 1,
    });
    assert_eq!(path.job(insert)["row"], stored);
    path.gman.execute("SET time_zone = '-03:00'");
    assert_eq!(path.job("UPDATE t SET id = id")["row"], stored);
    let nothing = path.job("UPDATE t SET ts = NULL, t6 = NULL");
    assert_eq!(
        nothing["row"],
        json!({ "ts": null, "t6": null, "n": 1, "id": 1 })
    );

    path.make_triggers("test.t", &["--session-time-zone"]);
    path.gman
        .execute("SET time_zone = '+01:00', timestamp = 1709200800");
    let row = path.job("UPDATE t SET ts = NOW(), t6 = NULL")["row"].clone();
    assert_eq!(row["ts"], "2024-02-29 11:00:00");
}

/// Both hours read 02:30 where clocks are put back.
#[test]
fn the_hour_that_comes_twice_is_sent_as_two_hours() {
    let mut path = Path::start();
    path.gman
        .execute("CREATE TABLE t (ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP PRIMARY KEY, n INT NOT NULL)");
    path.make_triggers("test.t", &[]);
    for sql in [
        "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (4711, 'N')",
        "INSERT INTO mysql.time_zone_name VALUES ('Test/Back', 4711)",
        "INSERT INTO mysql.time_zone_transition_type VALUES (4711, 0, 7200, 1, 'S'), (4711, 1, 3600, 0, 'W')",
        "INSERT INTO mysql.time_zone_transition VALUES (4711, 1711846800, 0), (4711, 1729990800, 1)",
        "SET time_zone = '+00:00'",
    ] {
        path.gman.execute(sql);
    }
    path.jobs(
        "INSERT INTO t VALUES ('2024-10-27 00:30:00', 1), ('2024-10-27 01:30:00', 2)",
        2,
    );
    if let Err(error) = path.gman.session.query_drop("SET time_zone = 'Test/Back'") {
        unsupported!("no time zone of our own: {error}");
    }
    let read: Vec<String> = path.gman.query("SELECT CAST(ts AS CHAR) FROM t");
    assert_eq!(read, ["2024-10-27 02:30:00"; 2]);
    let row = |utc: &str, n| format!(r#"{{"key":"test.t:{utc}","row":{{"ts":"{utc}","n":{n}}}}}"#);
    let (first, second) = ("2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z");
    assert_eq!(
        path.jobs("UPDATE t SET n = n + 1", 2),
        [row(first, 2), row(second, 3)]
    );

    // A key that becomes the other hour is another key, where a server can store it.
    path.jobs("DELETE FROM t WHERE n = 3", 1);
    path.gman.execute("SET timestamp = 1729992600");
    path.gman.execute("UPDATE t SET ts = NOW()");
    let stored: Vec<u32> = path.gman.query("SELECT UNIX_TIMESTAMP(ts) FROM t");
    let moved = match stored[..] {
        [1_729_992_600] => vec![
            format!(r#"{{"key":"test.t:{first}","row":null}}"#),
            row(second, 2),
        ],
        _ => vec![row(first, 2)],
    };
    assert_eq!(path.jobs("DO 0", moved.len()), moved);
}

#[test]
fn the_time_zero_has_a_key() {
    let mut path = Path::start();
    path.gman.execute("SET sql_mode = ''");
    path.gman
        .execute("CREATE TABLE tp (ts TIMESTAMP NOT NULL DEFAULT 0, PRIMARY KEY (ts))");
    for (options, key) in [
        (&["--prefix", "tp:"][..], "tp:0000-00-00 00:00:00"),
        (&["--prefix", "tp:", "--session-time-zone"], "tp:0"),
    ] {
        path.make_triggers("test.tp", options);
        let job = path.job("INSERT INTO tp VALUES (0)");
        assert_eq!(job["key"], key);
        assert_eq!(job["row"]["ts"], "0000-00-00 00:00:00");
        assert_eq!(path.job("DELETE FROM tp")["key"], key);
    }
}
