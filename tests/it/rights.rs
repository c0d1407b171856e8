//! Who may do what: an account without privileges, before and after an administrator says no.

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, unsupported, wait_until};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

const SUBMIT: &str = "SELECT gman_do_background('f', 'w')";
const REDIRECT: &str = "SELECT gman_servers_set('127.0.0.1:1')";
const CHECK: &str = "SELECT gman_check()";

/// A server with the functions and an account `nobody`, which can connect and no more.
fn with_nobody() -> Database {
    let database = Database::builder().option("--event-scheduler=ON").start();
    database.install_functions();
    database.execute("CREATE USER nobody@localhost");
    database
}

/// The same with the plugin; or why the server cannot have it.
fn with_plugin() -> Result<Database, String> {
    let database = with_nobody();
    let install = format!("INSTALL PLUGIN gman SONAME '{FILE_NAME}'");
    match database.connect().query_drop(&install) {
        Err(mysql::Error::MySqlError(error))
            if error.message.contains("plugin interface version mismatch") =>
        {
            Err("no plugin for this server, the functions only".into())
        }
        Err(error) => panic!("{install}: {error}"),
        Ok(()) => Ok(database),
    }
}

/// A session of an account without a password.
fn session_of(database: &Database, account: &str) -> Conn {
    let opts = OptsBuilder::new()
        .user(Some(account))
        .socket(Some(database.socket().display().to_string()));
    Conn::new(opts).unwrap_or_else(|error| panic!("{account} cannot connect: {error}"))
}

fn value(session: &mut Conn, sql: &str) -> Option<String> {
    session
        .query_first::<Option<String>, _>(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .expect("a row")
}

fn error(session: &mut Conn, sql: &str) -> String {
    match session.query::<mysql::Row, _>(sql) {
        Err(mysql::Error::MySqlError(error)) => error.message,
        other => panic!("{sql}: expected an error, got {other:?}"),
    }
}

#[test]
fn an_account_without_privileges_learns_of_the_servers_whether_they_are_set() {
    let database = with_nobody();
    let gearmand = Gearmand::start();
    let (mut root, mut nobody) = (database.connect(), session_of(&database, "nobody"));
    let answer = value(&mut nobody, CHECK).expect("an answer");
    assert!(
        answer.starts_with(r#"[{"state":"unset","hint":"#),
        "{answer}"
    );
    value(
        &mut root,
        &format!("SELECT gman_servers_set('{}')", gearmand.address()),
    );
    let answer = value(&mut nobody, CHECK).expect("an answer");
    assert!(answer.starts_with(r#"[{"state":"set","hint":"#), "{answer}");
    assert!(!answer.contains("127.0.0.1"), "{answer}");
    let answer = value(&mut root, CHECK).expect("an answer");
    assert!(answer.contains(&gearmand.address()), "{answer}");
    assert!(answer.contains(r#""state":"up""#), "{answer}");
}

#[test]
fn those_who_may_set_variables_see_the_servers() {
    let database = with_nobody();
    let mut root = database.connect();
    value(&mut root, REDIRECT);
    for (account, privilege) in [("super", "SUPER"), ("admin", "SYSTEM_VARIABLES_ADMIN")] {
        database.execute(&format!("CREATE USER {account}@localhost"));
        let grant = format!("GRANT {privilege} ON *.* TO {account}@localhost");
        if let Err(error) = root.query_drop(&grant) {
            println!("{grant}: {error}");
            continue;
        }
        let answer = value(&mut session_of(&database, account), CHECK).expect("an answer");
        assert!(answer.contains("127.0.0.1:1"), "{account}: {answer}");
    }
    // A program runs as its definer, who decides what it tells.
    database.execute(
        "CREATE FUNCTION test.seen() RETURNS TEXT NO SQL SQL SECURITY DEFINER RETURN gman_check()",
    );
    database.execute("GRANT EXECUTE ON FUNCTION test.seen TO nobody@localhost");
    let answer = value(&mut session_of(&database, "nobody"), "SELECT test.seen()");
    assert!(answer.expect("an answer").contains("127.0.0.1:1"));
}

#[test]
fn nobody_redirects_jobs_once_an_administrator_has_set_the_servers() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut sessions = [database.connect(), session_of(&database, "nobody")];
    for session in &mut sessions {
        assert_eq!(value(session, REDIRECT).as_deref(), Some("127.0.0.1:1"));
    }
    database.execute("SET GLOBAL gman_servers = '127.0.0.1:2'");
    for session in &mut sessions {
        for redirect in [REDIRECT, "SELECT gman_servers_set('127.0.0.1:1', 'f')"] {
            let refused = error(session, redirect);
            let expected = "gman_servers_set_enabled is AUTO, and gman_servers is set; the servers are \
                            set with SET GLOBAL gman_servers";
            assert!(refused.contains(expected), "{refused}");
        }
    }
    let servers = "SELECT @@GLOBAL.gman_servers";
    assert_eq!(database.value::<String>(servers), "127.0.0.1:2");

    database.execute("SET GLOBAL gman_servers_set_enabled = ON");
    for session in &mut sessions {
        assert_eq!(value(session, REDIRECT).as_deref(), Some("127.0.0.1:1"));
    }
    database.execute("SET GLOBAL gman_servers_set_enabled = OFF");
    for session in &mut sessions {
        let refused = error(session, REDIRECT);
        assert!(
            refused.contains("gman_servers_set_enabled is OFF"),
            "{refused}"
        );
    }
    let [_, nobody] = &mut sessions;
    for sql in [
        "SET GLOBAL gman_servers_set_enabled = ON",
        "SET GLOBAL gman_allowed_functions = ''",
        "SET GLOBAL gman_callers = 'all'",
        "SET GLOBAL gman_tls_ca = ''",
    ] {
        let refused = error(nobody, sql);
        assert!(refused.contains("denied"), "{sql}: {refused}");
    }
}

#[test]
fn a_list_in_the_configuration_closes_the_function_as_well() {
    if let Err(reason) = with_plugin() {
        unsupported!("{reason}");
    }
    let database = Database::builder()
        .library()
        .configuration(&format!("plugin-load-add={FILE_NAME}"))
        .configuration("gman_servers=127.0.0.1:2\ngman_allowed_functions=a*b")
        .start();
    database.run_script(&crate::support::product_file("sql/install.sql"));
    let mut root = database.connect();
    let refused = error(&mut root, REDIRECT);
    assert!(
        refused.contains("gman_servers_set_enabled is AUTO"),
        "{refused}"
    );
    // A list of functions that cannot be read allows none of them.
    let refused = error(&mut root, SUBMIT);
    assert!(
        refused.contains("gman_allowed_functions does not have"),
        "{refused}"
    );
    let log = database.error_log();
    let expected = "gman_allowed_functions: in \"a*b\" expected * at the end of a name only; no Gearman \
                    function is allowed until that is right";
    assert!(log.contains(expected), "{log}");
}

#[test]
fn only_allowed_functions_are_submitted() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let _worker = RecordingWorker::start(gearmand.port(), &["f", "sync_a"]);
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    database.execute("SET GLOBAL gman_allowed_functions = 'g, sync*'");
    let mut sessions = [database.connect(), session_of(&database, "nobody")];
    for session in &mut sessions {
        for call in [
            "gman_do_background('f', 'w')",
            "gman_do_low_background('f', 'w')",
            "gman_do('f', 'w')",
            "gman_do_epoch('f', 'w', 1)",
            "gman_sum('f', 'w')",
        ] {
            let refused = error(session, &format!("SELECT {call}"));
            let expected = "gman_allowed_functions does not have the Gearman function f";
            assert!(refused.contains(expected), "{call}: {refused}");
        }
        assert!(value(session, "SELECT gman_do('sync_a', 'w')").is_some());
        // A row of a relay is refused, and named.
        assert_eq!(value(session, "SELECT gman_relay(1, 'f', 'w')"), None);
        let reason = value(session, "SELECT gman_relay_error()").expect("a reason");
        assert!(reason.starts_with("refused 1: "), "{reason}");
        assert!(reason.contains("gman_allowed_functions"), "{reason}");
    }
    database.execute("SET GLOBAL gman_allowed_functions = ''");
    for session in &mut sessions {
        assert!(value(session, SUBMIT).is_some());
    }
    let refused = error(
        &mut sessions[0],
        "SET GLOBAL gman_allowed_functions = 'a,,b'",
    );
    assert!(
        refused.contains("gman_allowed_functions: function is empty"),
        "{refused}"
    );
}

#[test]
fn with_gman_callers_only_programs_submit_jobs() {
    let database = match with_plugin() {
        Ok(database) => database,
        Err(reason) => unsupported!("{reason}"),
    };
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    database.execute(&format!(
        "SET GLOBAL gman_servers = '{}'",
        gearmand.address()
    ));
    let mut root = database.connect();
    // A server asks for the function's type when it makes a view, which is a call from outside.
    database.execute("CREATE VIEW test.v AS SELECT gman_do_background('f', 'view') AS r");
    if let Err(error) = root.query_drop("SET GLOBAL gman_callers = 'programs'") {
        let expected = "does not let us know whether a call comes from a program";
        assert!(error.to_string().contains(expected), "{error}");
        unsupported!("{error}");
    }
    for sql in [
        "CREATE TABLE test.t (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE TRIGGER test.ins AFTER INSERT ON test.t FOR EACH ROW \
         SET @r = gman_do_background('f', CONCAT('trigger', NEW.id))",
        "CREATE FUNCTION test.fun() RETURNS TEXT NO SQL RETURN gman_do_background('f', 'function')",
        "CREATE PROCEDURE test.proc() SQL SECURITY INVOKER DO gman_do_background('f', 'procedure')",
        "CREATE PROCEDURE test.prep() BEGIN \
           PREPARE p FROM \"DO gman_do_background('f', 'prepared')\"; EXECUTE p; END",
        "CREATE EVENT test.ev ON SCHEDULE AT CURRENT_TIMESTAMP \
         DO DO gman_do_background('f', 'event')",
        "GRANT INSERT, SELECT ON test.* TO nobody@localhost",
        "GRANT EXECUTE ON test.* TO nobody@localhost",
    ] {
        database.execute(sql);
    }
    let mut nobody = session_of(&database, "nobody");
    for session in [&mut root, &mut nobody] {
        for sql in [
            SUBMIT,
            "DO gman_do_background('f', 'w')",
            "SELECT gman_do('f', 'w')",
            "SELECT gman_sum('f', 'w')",
            "SELECT gman_relay(1, 'f', 'w')",
            "SELECT * FROM test.v",
            "INSERT INTO test.t SELECT 7 FROM (SELECT gman_do_background('f', 'w') AS r) AS s",
        ] {
            let refused = error(session, sql);
            assert!(
                refused.contains("gman_callers is programs"),
                "{sql}: {refused}"
            );
        }
    }
    let mut expected = vec!["event".to_owned()];
    for (number, session) in [&mut root, &mut nobody].into_iter().enumerate() {
        for sql in [
            &format!("INSERT INTO test.t VALUES ({number})"),
            "SELECT test.fun()",
            "CALL test.proc()",
            "CALL test.prep()",
        ] {
            session
                .query_drop(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let calls = [
            &format!("trigger{number}"),
            "function",
            "procedure",
            "prepared",
        ];
        expected.extend(calls.map(str::to_owned));
    }
    let sorted = || {
        let jobs = worker.jobs();
        let mut seen: Vec<String> = jobs
            .iter()
            .map(|job| String::from_utf8_lossy(&job.workload).into_owned())
            .collect();
        seen.sort();
        seen
    };
    expected.sort();
    wait_until(PATIENCE, "the jobs of all programs", || match sorted() {
        seen if seen == expected => Ok(()),
        seen => Err(seen),
    });
    database.execute("SET GLOBAL gman_callers = 'all'");
    assert!(value(&mut nobody, SUBMIT).is_some());
}
