//! The library as a plugin: system variables, status variables, and the old names of the JSON functions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, product_file, unsupported};

/// Works on both kinds of server.
const INSTALL: &str = "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'";

/// Loads the plugin while the server starts.
const AT_START: &str = "plugin-load-add=libgearman_mysql_udf.so";

/// `ER_PARSE_ERROR`.
const SYNTAX_ERROR: u16 = 1064;

/// A server with the functions and the plugin; or why it cannot have the plugin.
pub(crate) fn with_plugin() -> Result<Database, String> {
    let database = Database::start();
    database.install_functions();
    install(&database)?;
    Ok(database)
}

fn install(database: &Database) -> Result<(), String> {
    match database.connect().query_drop(INSTALL) {
        Err(mysql::Error::MySqlError(error))
            if error.message.contains("plugin interface version mismatch") =>
        {
            Err("no plugin for this server, the functions only".into())
        }
        Err(error) => panic!("{INSTALL}: {error}"),
        Ok(()) => Ok(()),
    }
}

/// Whether a server can have the plugin at all, found out before one is started with it.
fn refusal() -> Option<String> {
    with_plugin().err()
}

fn variable(database: &Database, name: &str) -> String {
    database.value(&format!("SELECT @@GLOBAL.{name}"))
}

/// The error of a statement that has to fail.
fn error(session: &mut Conn, sql: &str) -> String {
    match session.query::<mysql::Row, _>(sql) {
        Err(mysql::Error::MySqlError(error)) => error.message,
        other => panic!("{sql}: expected an error, got {other:?}"),
    }
}

fn status(database: &Database, name: &str) -> String {
    let rows: Vec<(String, String)> = database.query(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
    match rows.as_slice() {
        [(shown, value)] if shown == name => value.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_server_whose_plugin_interface_is_unknown_refuses_the_plugin_and_keeps_the_functions() {
    let Err(reason) = with_plugin() else {
        unsupported!("this server's plugin interface is known");
    };
    println!("{reason}");
    let database = Database::start();
    database.install_functions();
    let mut session = database.connect();
    error(&mut session, INSTALL);
    let log = database.error_log();
    assert!(
        log.contains("the functions work, the plugin gman cannot be installed"),
        "{log}"
    );
    let json: String = database.value("SELECT json_object_udf(1 AS a)");
    assert_eq!(json, r#"{"a":1}"#);
}

#[test]
fn the_plugin_comes_and_goes_and_the_functions_stay() {
    let database = Database::start();
    database.copy_library(crate::support::Library::release(), FILE_NAME);
    if let Err(reason) = install(&database) {
        unsupported!("{reason}");
    }
    database.run_script(&product_file("sql/install.sql"));
    let gearmand = Gearmand::start();
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    let submit = "SELECT gman_do_background('f', 'w')";
    assert!(database.value::<Option<String>>(submit).is_some());

    database.execute("UNINSTALL PLUGIN gman");
    assert!(database.value::<Option<String>>(submit).is_some());
    database.execute(INSTALL);
    // The servers that the functions use are still the same, and shown.
    assert_eq!(variable(&database, "gman_servers"), gearmand.address());
    assert!(database.value::<Option<String>>(submit).is_some());
    assert_eq!(gearmand.status()["f"].queued, 3);
}

#[test]
fn every_setting_is_a_variable_with_its_default() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let shown: Vec<(String, String)> = database.query("SHOW GLOBAL VARIABLES LIKE 'gman%'");
    let expected = [
        ("gman_allowed_functions", ""),
        ("gman_callers", "all"),
        ("gman_commit_wait", "OFF"),
        ("gman_connect_timeout_ms", "250"),
        ("gman_delivery", "acked"),
        ("gman_do_timeout_ms", "30000"),
        ("gman_legacy_json_names", "OFF"),
        ("gman_max_connections", "16"),
        ("gman_on_failure", "warning"),
        ("gman_servers", ""),
        ("gman_servers_set_enabled", "AUTO"),
        ("gman_timeout_ms", "1000"),
        ("gman_tls_ca", ""),
        ("gman_tls_cert", ""),
        ("gman_tls_key", ""),
        ("gman_tls_server_name", ""),
        ("gman_transaction_bytes", "67108864"),
        ("gman_window_bytes", "16777216"),
    ];
    assert_eq!(
        shown,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_value_out_of_range_or_unknown_is_not_taken() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    for (sql, expected) in [
        (
            "SET GLOBAL gman_window_bytes = 1",
            "gman_window_bytes: it cannot be 1, expected a number from 65536 to 68719476736",
        ),
        (
            "SET GLOBAL gman_do_timeout_ms = 0",
            "gman_do_timeout_ms: it cannot be 0, expected a number from 1 to 86400000",
        ),
        (
            "SET GLOBAL gman_do_timeout_ms = -5",
            "gman_do_timeout_ms: it cannot be -5, expected",
        ),
        (
            "SET GLOBAL gman_do_timeout_ms = 18446744073709551615",
            "gman_do_timeout_ms: it cannot be 18446744073709551615, expected",
        ),
        (
            "SET GLOBAL gman_servers = NULL",
            "gman_servers: it cannot be NULL; '' takes the job servers away",
        ),
        (
            "SET GLOBAL gman_servers = '127.0.0.1,,127.0.0.2'",
            "gman_servers: servers: entry 2 is empty, expected a host name or an address",
        ),
    ] {
        let message = error(&mut session, sql);
        assert!(message.contains(expected), "{sql}: {message}");
    }
    assert_eq!(variable(&database, "gman_window_bytes"), "16777216");
    assert_eq!(variable(&database, "gman_do_timeout_ms"), "30000");
    for sql in [
        "SET GLOBAL gman_on_failure = 'sometimes'",
        "SET GLOBAL gman_delivery = 'maybe'",
        "SET GLOBAL gman_timeout_ms = 'long'",
        "SET GLOBAL gman_legacy_json_names = ON",
    ] {
        println!("{sql}: {}", error(&mut session, sql));
    }
    assert_eq!(variable(&database, "gman_on_failure"), "warning");
    assert_eq!(variable(&database, "gman_delivery"), "acked");
    assert_eq!(variable(&database, "gman_timeout_ms"), "1000");
}

/// DNS may be late when a machine boots, or one of several hosts may be gone.
#[test]
fn a_name_that_does_not_resolve_at_the_start_is_kept_and_the_others_work() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let gearmand = Gearmand::start();
    let list = format!("nosuchhost.invalid,localhost:{}", gearmand.port());
    let database = Database::builder()
        .library()
        .configuration(AT_START)
        .configuration(&format!("gman_servers={list}"))
        .start();
    database.run_script(&product_file("sql/install.sql"));
    assert_eq!(variable(&database, "gman_servers"), list);
    let submit = "SELECT gman_do_background('f', 'w')";
    assert!(database.value::<Option<String>>(submit).is_some());
}

/// MariaDB starts without a plugin of whose values it cannot read one.
#[test]
fn a_plugin_that_a_typo_has_turned_off_is_named_where_its_servers_are_missed() {
    let version: String = match with_plugin() {
        Err(reason) => unsupported!("{reason}"),
        Ok(database) => database.value("SELECT VERSION()"),
    };
    if !version.contains("MariaDB") || version.starts_with("10.5.") {
        unsupported!("the server does not start with a value that it cannot read");
    }
    const INACTIVE: &str =
        "the plugin gman is not active, so no setting of the configuration is in force";
    let gearmand = Gearmand::start();
    let database = Database::builder()
        .library()
        .configuration(AT_START)
        .configuration(&format!("loose-gman_servers={}", gearmand.address()))
        .configuration("gman_timeout_ms=abc")
        .start();
    database.run_script(&product_file("sql/install.sql"));
    let check: String = database.value("SELECT gman_check()");
    assert!(check.contains(INACTIVE), "{check}");
    let handle: Option<String> = database.value("SELECT gman_do_background('f', 'w')");
    assert_eq!(handle, None);
    let log = database.error_log();
    assert!(log.contains(INACTIVE), "{log}");
    let status: String = database
        .value("SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'gman'");
    assert_eq!(status, "DISABLED", "the server counts it in");
}

#[test]
fn the_servers_have_two_doors_and_one_value() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let (first, second) = (Gearmand::start(), Gearmand::start());
    let mut session = database.connect();
    let submit = "SELECT gman_do_background('f', 'w')";

    database.execute(&format!("SET GLOBAL gman_servers = '{}'", first.address()));
    assert!(database.value::<Option<String>>(submit).is_some());
    assert_eq!(first.status()["f"].queued, 1);

    database.execute("SET GLOBAL gman_servers_set_enabled = ON");
    let set = format!("SELECT gman_servers_set('{}')", second.address());
    database.value::<String>(&set);
    assert_eq!(variable(&database, "gman_servers"), second.address());
    assert!(database.value::<Option<String>>(submit).is_some());
    assert_eq!(second.status()["f"].queued, 1);

    let refused = error(&mut session, "SET GLOBAL gman_servers = '127.0.0.1:http'");
    assert!(
        refused.contains(r#"in "127.0.0.1:http" expected a port"#),
        "{refused}"
    );
    assert_eq!(variable(&database, "gman_servers"), second.address());
    assert!(database.value::<Option<String>>(submit).is_some());

    database.execute("SET GLOBAL gman_servers = ''");
    assert_eq!(variable(&database, "gman_servers"), "");
    assert_eq!(database.value::<Option<String>>(submit), None);
    assert!(status(&database, "Gman_last_error").contains("no job servers are set"));
}

#[test]
fn the_configuration_file_sets_every_variable_at_every_start() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let gearmand = Gearmand::start();
    let address = gearmand.address();
    let mut database = Database::builder()
        .library()
        .configuration(AT_START)
        .configuration(&format!("gman_servers={address}"))
        .configuration("gman_timeout_ms=2000\ngman-on-failure=error\ngman_delivery=pipelined")
        .configuration("gman_servers_set_enabled=OFF")
        .start();
    database.run_script(&product_file("sql/install.sql"));
    for _ in 0..2 {
        assert_eq!(variable(&database, "gman_servers"), address);
        assert_eq!(variable(&database, "gman_timeout_ms"), "2000");
        assert_eq!(variable(&database, "gman_on_failure"), "error");
        assert_eq!(variable(&database, "gman_delivery"), "pipelined");
        assert_eq!(variable(&database, "gman_servers_set_enabled"), "OFF");
        let unique: String = database.value("SELECT gman_do_background('f', 'w')");
        assert_eq!(unique.len(), 36);
        assert_eq!(database.value::<i64>("SELECT gman_flush()"), 0);
        database.restart();
    }
    assert_eq!(gearmand.status()["f"].queued, 2);
}

#[test]
fn the_command_line_sets_variables_and_a_bad_list_does_not_keep_the_server_from_starting() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let database = Database::builder()
        .library()
        .option(format!("--{AT_START}"))
        .option("--gman-servers=127.0.0.1:4730,127.0.0.1:x")
        .option("--gman-max-connections=3")
        .start();
    assert_eq!(variable(&database, "gman_max_connections"), "3");
    assert_eq!(variable(&database, "gman_servers"), "");
    let log = database.error_log();
    assert!(log.contains(r#"in "127.0.0.1:x" expected a port"#), "{log}");
}

#[test]
fn a_persisted_value_survives_a_restart() {
    let mut database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut session = database.connect();
    match session.query_drop("SET PERSIST gman_servers = '127.0.0.1:4730'") {
        Err(mysql::Error::MySqlError(error)) if error.code == SYNTAX_ERROR => {
            unsupported!("no SET PERSIST")
        }
        set => set.expect("SET PERSIST"),
    }
    session
        .query_drop("SET PERSIST gman_on_failure = 'error'")
        .expect("SET PERSIST");
    database.restart();
    assert_eq!(variable(&database, "gman_servers"), "127.0.0.1:4730");
    assert_eq!(variable(&database, "gman_on_failure"), "error");
}

#[test]
fn an_installed_plugin_is_there_after_a_restart() {
    let mut database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    database.configure("loose-gman_servers=127.0.0.1:4730");
    database.restart();
    assert_eq!(variable(&database, "gman_servers"), "127.0.0.1:4730");
    assert!(
        database
            .value::<Option<String>>("SELECT json_object_udf(1 AS a)")
            .is_some()
    );
}

#[test]
fn the_servers_can_be_set_by_an_init_file_without_the_plugin() {
    let gearmand = Gearmand::start();
    let mut database = Database::start();
    database.install_functions();
    let file = database.plugin_dir().join("init.sql");
    let set = format!("SELECT gman_servers_set('{}');\n", gearmand.address());
    std::fs::write(&file, set).expect("an init file");
    database.configure(&format!("init_file={}", file.display()));
    database.restart();

    let handle: Option<String> = database.value("SELECT gman_do_background('f', 'w')");
    assert!(handle.is_some(), "{}", database.error_log());
    assert_eq!(gearmand.status()["f"].queued, 1);
}

#[test]
fn what_happens_is_counted() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let count = |name: &str| -> u64 { status(&database, name).parse().expect("a number") };
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    let mut session = database.connect();
    let submit = "SELECT gman_do_background('f', 'w')";
    for _ in 0..3 {
        session.query_drop(submit).expect("a job");
    }
    assert_eq!(count("Gman_jobs_submitted"), 3);
    assert_eq!(count("Gman_jobs_acknowledged"), 3);
    assert_eq!(count("Gman_jobs_failed"), 0);
    assert_eq!(count("Gman_connections_opened"), 1);
    assert_eq!(count("Gman_connections_open"), 1);
    // Header, function, unique id (a UUID) and workload, with two separators.
    assert_eq!(count("Gman_bytes_sent"), 3 * (12 + 1 + 1 + 36 + 1 + 1));
    assert_eq!(count("Gman_servers_down"), 0);
    assert_eq!(status(&database, "Gman_last_error"), "");

    gearmand.stop();
    database.execute("SET GLOBAL gman_delivery = 'pipelined'");
    session.query_drop(submit).expect("a job");
    assert_eq!(count("Gman_in_flight"), 1);
    assert_eq!(count("Gman_window_bytes_used"), 12 + 1 + 1 + 36 + 1 + 1);
    gearmand.cont();
    let left: Option<i64> = session
        .query_first("SELECT gman_flush(30000)")
        .expect("an answer");
    assert_eq!(left, Some(0));
    assert_eq!(count("Gman_in_flight"), 0);
    assert_eq!(count("Gman_window_bytes_used"), 0);
    assert_eq!(count("Gman_jobs_acknowledged"), 4);

    database.execute("SET GLOBAL gman_delivery = 'acked'");
    database.execute("SET GLOBAL gman_servers = '127.0.0.1:1'");
    session.query_drop(submit).expect("a job that fails");
    assert_eq!(count("Gman_jobs_failed"), 1);
    assert_eq!(count("Gman_servers_down"), 1);
    let last = status(&database, "Gman_last_error");
    assert!(
        last.contains("connect 127.0.0.1:1: Connection refused"),
        "{last}"
    );
}

/// Shows a variable again and again while a session runs `change`, which makes it now a text with AAAA and
/// then one with BBBB; a text with both is none of the two.
fn assert_shown_whole(database: &Database, show: &str, change: &[String]) {
    const SHOWN: u32 = 2_000;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = database.connect();
            while !done.load(Ordering::Relaxed) {
                for sql in change {
                    session.query_drop(sql).expect("a statement");
                }
            }
        });
        let mut session = database.connect();
        let (mut first, mut second, mut torn) = (0, 0, Vec::new());
        let deadline = Instant::now() + Duration::from_secs(60);
        while first + second < SHOWN || first.min(second) == 0 {
            let row = session.query_first(show).expect("the variable");
            let (_, shown): (String, String) = row.expect("a row");
            match (shown.contains("AAAA"), shown.contains("BBBB")) {
                (true, false) => first += 1,
                (false, true) => second += 1,
                (true, true) => torn.push(shown),
                (false, false) => {}
            }
            if !torn.is_empty() || Instant::now() > deadline {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(torn, [""; 0], "after {first} and {second} whole ones");
        assert!(first > 0 && second > 0, "{first} and {second} seen");
    });
}

#[test]
fn the_servers_are_shown_whole_while_they_change() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let set = ["A", "B"].map(|letter| {
        let host = letter.repeat(250);
        let hosts: Vec<String> = (1..=15).map(|port| format!("{host}:{port}")).collect();
        format!("DO gman_servers_set('{}')", hosts.join(","))
    });
    assert_shown_whole(&database, "SHOW GLOBAL VARIABLES LIKE 'gman_servers'", &set);
}

#[test]
fn the_last_error_is_shown_whole_while_it_changes() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    // A job server that has failed is left alone, so most of the jobs fail at once; and many in one
    // statement, so that the message changes most of the time.
    let calls = ["A", "B"].map(|letter| {
        let host = letter.repeat(250);
        database.execute(&format!("SELECT gman_servers_set('{host}', 'f{letter}')"));
        format!("gman_do_background('f{letter}', 'w')")
    });
    let fail = [format!("DO {}", vec![calls.join(", "); 200].join(", "))];
    assert_shown_whole(
        &database,
        "SHOW GLOBAL STATUS LIKE 'gman_last_error'",
        &fail,
    );
}

#[test]
fn settings_change_while_sixteen_sessions_submit_and_nothing_fails() {
    const SESSIONS: usize = 16;
    const LASTING: Duration = Duration::from_secs(60);
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmands = [Gearmand::start(), Gearmand::start()];
    let workers = gearmands
        .each_ref()
        .map(|gearmand| RecordingWorker::start(gearmand.port(), &["f"]));
    let [first, second] = gearmands.each_ref().map(Gearmand::address);
    database.execute(&format!("SET GLOBAL gman_servers = '{first}'"));
    // On a busy machine a job may take its time; that is not what this is about.
    database.execute("SET GLOBAL gman_timeout_ms = 30000");
    let changes = [
        format!("gman_servers = '{second}'"),
        "gman_delivery = 'pipelined'".to_owned(),
        "gman_on_failure = 'error'".to_owned(),
        "gman_max_connections = 1".to_owned(),
        format!("gman_servers = '{first},{second}'"),
        "gman_window_bytes = 65536".to_owned(),
        "gman_delivery = 'acked'".to_owned(),
        "gman_max_connections = 16".to_owned(),
        "gman_window_bytes = DEFAULT".to_owned(),
        format!("gman_servers = '{first}'"),
    ];

    let stop = AtomicBool::new(false);
    let submitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..SESSIONS {
            let mut session = database.connect();
            let (stop, submitted) = (&stop, &submitted);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer: Option<Option<String>> = session
                        .query_first("SELECT gman_do_background('f', json_object_udf(7 AS id))")
                        .unwrap_or_else(|error| panic!("a submission: {error}"));
                    assert!(answer.flatten().is_some(), "a submission failed");
                    submitted.fetch_add(1, Ordering::Relaxed);
                    // No faster than the workers, or the test waits for them for minutes.
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let started = Instant::now();
        let mut session = database.connect();
        for change in changes.iter().cycle() {
            if started.elapsed() >= LASTING {
                break;
            }
            session
                .query_drop(format!("SET GLOBAL {change}"))
                .unwrap_or_else(|error| panic!("{change}: {error}"));
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });

    assert_eq!(database.value::<i64>("SELECT gman_flush(30000)"), 0);
    let submitted = submitted.load(Ordering::Relaxed);
    println!("{submitted} jobs in {LASTING:?} while settings changed");
    crate::support::wait_until(LASTING, "every job to arrive", || {
        let arrived: usize = workers.iter().map(RecordingWorker::count).sum();
        if arrived as u64 >= submitted {
            Ok(())
        } else {
            Err((arrived, submitted))
        }
    });
    assert_eq!(status(&database, "Gman_jobs_failed"), "0");
}

#[test]
fn the_old_names_are_free_after_a_start_with_the_setting_and_again_after_a_restart() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["syncToRedis"]);
    let mut database = Database::builder()
        .library()
        .configuration(AT_START)
        .configuration(&format!("gman_servers={}", gearmand.address()))
        .configuration("gman_legacy_json_names=ON")
        .start();
    let log = database.error_log();
    if log.contains("gman_legacy_json_names is ON") {
        unsupported!("the native functions keep their names, calls are renamed");
    }
    if log.contains("gman_legacy_json_names has no effect: this server keeps its native functions")
    {
        let native: String = database.value("SELECT JSON_OBJECT('a', 1)");
        assert_eq!(native, r#"{"a": 1}"#);
        unsupported!("this server keeps its native functions to itself");
    }
    assert!(log.contains("JSON_OBJECT and JSON_ARRAY are free"), "{log}");

    for name in ["json_object", "gman_do_background", "gman_servers_set"] {
        database.execute(&format!(
            "CREATE FUNCTION {name} RETURNS STRING SONAME '{FILE_NAME}'"
        ));
    }
    database.run_script(&product_file("sql/install-json-names.sql"));
    database.run_script(&product_file("sql/test.sql"));
    for round in 1..=2 {
        database.execute(&format!("UPDATE test SET name='sm{round}' WHERE id=1"));
        let jobs = worker.wait_for(round);
        let expected = format!(r#"{{"id":1,"name":"sm{round}"}}"#);
        assert_eq!(jobs[round - 1].workload, expected.as_bytes());
        let pairs: String = database.value("SELECT JSON_OBJECT('a', 1, 'b', NULL)");
        assert_eq!(pairs, r#"{"a":1,"b":null}"#);
        database.restart();
    }
    // Without the setting the native functions are back.
    database.configure(AT_START);
    database.restart();
    let native: String = database.value("SELECT JSON_OBJECT('a', 1)");
    assert_eq!(native, r#"{"a": 1}"#);
}

#[test]
fn names_are_not_freed_while_the_server_runs() {
    let database = Database::builder()
        .library()
        .configuration("loose-gman_legacy_json_names=ON")
        .start();
    if let Err(reason) = install(&database) {
        unsupported!("{reason}");
    }
    let log = database.error_log();
    if log.contains("gman_legacy_json_names is ON") {
        unsupported!("the native functions keep their names, calls are renamed");
    }
    assert!(
        log.contains("gman_legacy_json_names has no effect"),
        "{log}"
    );
    let native: String = database.value("SELECT JSON_OBJECT('a', 1)");
    assert_eq!(native, r#"{"a": 1}"#);
}

/// MariaDB takes it away once nobody uses one of its variables, MySQL too.
#[test]
fn the_plugin_comes_and_goes_while_sessions_submit_and_read_its_variables() {
    const TIMES: u32 = 50;
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}', GLOBAL gman_timeout_ms = 30000, GLOBAL gman_delivery = 'pipelined'",
        gearmand.address()
    ));
    let pid = database.pid();
    let stop = AtomicBool::new(false);
    let submitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut session = database.connect();
            let (stop, submitted) = (&stop, &submitted);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer: Option<Option<String>> = session
                        .query_first("SELECT gman_do_background('f', json_object_udf(7 AS id))")
                        .unwrap_or_else(|error| panic!("a submission: {error}"));
                    assert!(answer.flatten().is_some(), "a submission failed");
                    submitted.fetch_add(1, Ordering::Relaxed);
                    for sql in [
                        "SHOW GLOBAL STATUS LIKE 'gman%'",
                        "SHOW GLOBAL VARIABLES LIKE 'gman%'",
                        // There may be no such variable at the moment.
                        "SET GLOBAL gman_window_bytes = 1048576",
                        "SELECT @@GLOBAL.gman_servers",
                    ] {
                        match session.query_drop(sql) {
                            Ok(()) | Err(mysql::Error::MySqlError(_)) => {}
                            Err(error) => panic!("{sql}: the server is gone: {error}"),
                        }
                    }
                }
            });
        }
        let mut session = database.connect();
        for _ in 0..TIMES {
            // Each may be refused, as somebody uses it.
            let _ = session.query_drop("UNINSTALL PLUGIN gman");
            let _ = session.query_drop(INSTALL);
        }
        crate::support::wait_until(Duration::from_secs(30), "the plugin to be there", || {
            let _ = session.query_drop(INSTALL);
            match session.query_drop("SELECT @@GLOBAL.gman_servers") {
                Ok(()) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(variable(&database, "gman_servers"), gearmand.address());
    assert_eq!(database.value::<i64>("SELECT gman_flush(30000)"), 0);
    let submitted = submitted.into_inner();
    println!("{submitted} jobs while the plugin came and went {TIMES} times");
    worker.wait_for(submitted.try_into().expect("a count"));
    assert_eq!(database.pid(), pid);
}
