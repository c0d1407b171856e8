//! What stands in a server's error log, and what never does.

use mysql::prelude::Queryable;

use crate::support::fake_job_server::{ERROR, Reply, packet};
use crate::support::{
    Answer, Database, FakeJobServer, Gearmand, Gman, RecordingWorker, product_file,
};

const INSTALL_PLUGIN: &str = "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'";

/// A line may be as long as this: what a message may have, its stamp, and what the server adds.
const MAX_LINE_BYTES: usize = 1024 + 200;

#[test]
fn no_kind_of_use_leaves_an_error_in_the_log() {
    let gearmand = Gearmand::start();
    let _worker =
        RecordingWorker::answering(gearmand.port(), &["f"], |_| Answer::Complete(b"7".to_vec()));
    let mut database = Database::start();
    database.install_functions();
    let mut session = database.connect();
    let mut execute = |sql: &str| {
        session
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    execute("CREATE TABLE t (id INT, g VARCHAR(9) CHARACTER SET gbk, b BLOB, v DOUBLE)");
    execute("INSERT INTO t VALUES (1, 'a', 'b', 1.5), (2, NULL, NULL, NULL)");
    execute(&format!("DO gman_servers_set('{}')", gearmand.address()));
    for sql in [
        "DO json_object_udf(1 AS a), json_array_udf('x'), json_members('a', 1), json_values(1), json_base64('x')",
        "SELECT json_object_udf(id, g, json_base64(b) AS b, v) FROM t",
        "CREATE TRIGGER i AFTER INSERT ON t FOR EACH ROW SET @r = gman_do_background('f', json_object_udf(NEW.id, NEW.g))",
        "INSERT INTO t SELECT * FROM t",
        "PREPARE p FROM 'SELECT json_array_udf(?)'",
        "SET @v = 'x'",
        "EXECUTE p USING @v",
        "DO gman_do('f', 'w'), gman_do_high('f', 'w'), gman_do_low('f', 'w')",
        "DO gman_do_high_background('f', 'w'), gman_do_low_background('f', 'w'), gman_do_epoch('f', 'w', 1)",
        "SELECT gman_sum('f', id), gman_relay(id, 'f', 'w') FROM t WHERE id < 2 ORDER BY id",
        "DO gman_check(), gman_flush(), gman_relay_error()",
    ] {
        execute(sql);
    }
    assert!(
        database
            .connect()
            .query_drop("DO json_object_udf(1 + 1)")
            .is_err()
    );
    if database.connect().query_drop(INSTALL_PLUGIN).is_ok() {
        database.execute("SET GLOBAL gman_delivery = 'pipelined'");
        database.execute("DO gman_do_background('f', 'w')");
        database.execute("UNINSTALL PLUGIN gman");
    }
    database.run_script(&product_file("sql/uninstall.sql"));
    database.run_script(&product_file("sql/install.sql"));
    drop(session);
    database.shutdown();

    let log = database.error_log();
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("[ERROR]") && !is_the_plugins_refusal(line))
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
}

/// A server whose plugin interface is not known says so itself.
fn is_the_plugins_refusal(line: &str) -> bool {
    line.contains("plugin interface version")
}

#[test]
fn what_a_job_server_says_stays_on_one_line_and_says_nothing_to_a_terminal() {
    let server = FakeJobServer::always(Reply::Bytes(packet(
        ERROR,
        &[b"CODE", b"poisoned\r\n2026-01-01 0 [ERROR] second\x1b[31m"],
    )));
    let mut gman = Gman::start();
    gman.set_servers(&server.address());
    assert!(gman.call("gman_do_background('f', 'w')").is_null());

    let log = gman.database.error_log();
    let line = log.lines().find(|line| line.contains("poisoned"));
    let line = line.unwrap_or_else(|| panic!("no line: {log}"));
    assert!(
        line.contains(r"poisoned\r\n2026-01-01 0 [ERROR] second\u{1b}[31m"),
        "{line}"
    );
}

#[test]
fn a_line_about_many_servers_is_cut_and_says_how_much_is_missing() {
    let mut gman = Gman::start();
    let addresses: Vec<String> = (1..=200).map(|n| format!("127.0.1.1:{n}")).collect();
    gman.set_servers(&addresses.join(","));
    assert!(gman.call("gman_do_background('f', 'w')").is_null());

    let log = gman.database.error_log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("127.0.1.1"))
        .collect();
    assert!(!lines.is_empty(), "{log}");
    assert!(
        lines.iter().any(|line| line.contains("more bytes)")),
        "{lines:?}"
    );
    for line in lines {
        assert!(line.len() <= MAX_LINE_BYTES, "{} bytes", line.len());
    }
}
