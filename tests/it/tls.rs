//! TLS to the job servers.

mod faults;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mysql::Conn;
use mysql::prelude::Queryable;
use rcgen::{ExtendedKeyUsagePurpose, SanType};

use crate::support::{
    Certificates, Database, Gearmand, RecordingWorker, Redis, RedisWorker, RelayProcess, Stunnel,
    TlsGearmand, product_file, unsupported, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);

const SUBMIT: &str = "SELECT gman_do_background('f', 'w')";

/// A server with the functions and the plugin; or why it cannot have the plugin.
fn with_plugin() -> Result<Database, String> {
    let database = Database::start();
    database.install_functions();
    let install = "INSTALL PLUGIN gman SONAME 'libgearman_mysql_udf.so'";
    match database.connect().query_drop(install) {
        Err(mysql::Error::MySqlError(error))
            if error.message.contains("plugin interface version mismatch") =>
        {
            Err("no plugin for this server, the functions only".into())
        }
        Err(error) => panic!("{install}: {error}"),
        Ok(()) => Ok(database),
    }
}

/// A database server, certificates, and a job server.
struct Stage {
    database: Database,
    certificates: Certificates,
    gearmand: Gearmand,
}

impl Stage {
    fn new() -> Result<Self, String> {
        Ok(Self {
            database: with_plugin()?,
            certificates: Certificates::new(),
            gearmand: Gearmand::start(),
        })
    }

    fn set(&self, name: &str, value: &str) {
        self.database
            .execute(&format!("SET GLOBAL {name} = '{value}'"));
    }

    fn set_number(&self, name: &str, value: u32) {
        self.database
            .execute(&format!("SET GLOBAL {name} = {value}"));
    }

    /// Trusts the authority and goes to `address`.
    fn go_to(&self, address: &str) {
        self.set("gman_tls_ca", &self.certificates.path("ca.pem"));
        self.set("gman_servers", address);
    }

    fn submit(&self) -> Option<String> {
        self.database.value(SUBMIT)
    }

    /// The one line that a job that could not be submitted leaves.
    fn failure(&self) -> String {
        assert_eq!(self.submit(), None);
        self.last_error()
    }

    fn last_error(&self) -> String {
        let rows: Vec<(String, String)> = self
            .database
            .query("SHOW GLOBAL STATUS LIKE 'gman_last_error'");
        rows[0].1.clone()
    }

    fn queued(&self) -> u64 {
        self.gearmand.status().get("f").map_or(0, |f| f.queued)
    }
}

/// The error of a statement that has to fail.
fn error(session: &mut Conn, sql: &str) -> String {
    match session.query::<mysql::Row, _>(sql) {
        Err(mysql::Error::MySqlError(error)) => error.message,
        other => panic!("{sql}: expected an error, got {other:?}"),
    }
}

#[test]
fn every_delivery_and_foreground_jobs_go_over_tls() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    for options in ["sslVersion = TLSv1.2\n", "sslVersion = TLSv1.3\n"] {
        let stunnel = Stunnel::start_with(
            &stage.certificates,
            "server",
            stage.gearmand.port(),
            options,
        );
        let worker = RecordingWorker::start(stage.gearmand.port(), &["f"]);
        stage.go_to(&stunnel.address());
        for delivery in ["acked", "pipelined"] {
            stage.set("gman_delivery", delivery);
            assert!(stage.submit().is_some(), "{delivery}");
        }
        let left: i64 = stage.database.value("SELECT gman_flush(30000)");
        assert_eq!(left, 0, "{}", stage.last_error());
        let big = "x".repeat(3_000_000);
        let result: Option<String> = stage
            .database
            .value(&format!("SELECT gman_do('f', '{big}')"));
        assert_eq!(result.as_deref(), Some(""));
        let jobs = worker.wait_for(3);
        assert_eq!(jobs[2].workload.len(), big.len());
        let check: String = stage.database.value("SELECT gman_check()");
        assert!(check.contains(r#""state":"up""#), "{check}");
        assert!(check.contains("\"version\":\"1."), "{check}");
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_certificate_that_is_not_good_is_refused_with_the_reason_and_the_remedy() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let certificates = &stage.certificates;
    let now = SystemTime::now();
    certificates.issue_server("expired", |params| {
        params.not_after = (now - 3 * DAY).into();
    });
    certificates.issue_server("early", |params| params.not_before = (now + 3 * DAY).into());
    certificates.issue_server("other", |params| {
        params.subject_alt_names = vec![SanType::DnsName(
            "elsewhere.example".try_into().expect("a name"),
        )];
    });
    certificates.issue_server("nobody", |params| params.subject_alt_names.clear());
    certificates.issue("wrong", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
    for (name, expected) in [
        (
            "expired",
            "its certificate expired 3 days ago; renew it there",
        ),
        ("early", "its certificate is valid in "),
        (
            "other",
            "its certificate is for elsewhere.example, not for 127.0.0.1; name the server so in the list, \
             or set gman_tls_server_name",
        ),
        (
            "nobody",
            "its certificate names nobody, expected 127.0.0.1 in subjectAltName",
        ),
        ("wrong", "its certificate is not for servers"),
    ] {
        let stunnel = Stunnel::start_with(certificates, name, stage.gearmand.port(), "");
        stage.go_to(&stunnel.address());
        let failure = stage.failure();
        let beginning = format!("gman_do_background: no TLS with {}: ", stunnel.address());
        assert!(failure.starts_with(&beginning), "{name}: {failure}");
        assert!(failure.contains(expected), "{name}: {failure}");
        assert!(!failure.contains(&certificates.path("")), "{failure}");
    }

    for (authority, expected) in [
        (
            "a stranger",
            "the issuer of its certificate is unknown; gman_tls_ca must hold",
        ),
        (
            "authority",
            "is not signed by the authority in gman_tls_ca that has its issuer's name",
        ),
    ] {
        let stunnel = Stunnel::start(&Certificates::by(authority), stage.gearmand.port());
        stage.set("gman_servers", &stunnel.address());
        let failure = stage.failure();
        assert!(failure.contains(expected), "{authority}: {failure}");
    }
    assert_eq!(stage.queued(), 0);

    // A certificate for another name is good for those who say so.
    let stunnel = Stunnel::start_with(certificates, "other", stage.gearmand.port(), "");
    stage.set("gman_tls_server_name", "elsewhere.example");
    stage.set("gman_servers", &stunnel.address());
    assert!(stage.submit().is_some(), "{}", stage.last_error());
}

#[test]
fn a_server_that_wants_a_certificate_gets_ours() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let certificates = &stage.certificates;
    let stranger = Certificates::new();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let ca = certificates.path("ca.pem");
        let options = format!("verifyChain = yes\nCAfile = {ca}\nsslVersion = {version}\n");
        let stunnel = Stunnel::start_with(certificates, "server", stage.gearmand.port(), &options);
        stage.go_to(&stunnel.address());
        let failure = stage.failure();
        assert!(failure.contains("no TLS with"), "{version}: {failure}");
        assert!(failure.contains("gman_tls_cert"), "{version}: {failure}");

        for (issuer, is_good) in [(&stranger, false), (certificates, true)] {
            // Both in one statement: a certificate without its key is of no use.
            stage.database.execute(&format!(
                "SET GLOBAL gman_tls_cert = '{}', GLOBAL gman_tls_key = '{}'",
                issuer.path("client.pem"),
                issuer.path("client.key"),
            ));
            match is_good {
                true => assert!(
                    stage.submit().is_some(),
                    "{version}: {}",
                    stage.last_error()
                ),
                false => {
                    let failure = stage.failure();
                    assert!(failure.contains("certificate"), "{version}: {failure}");
                }
            }
        }
        stage
            .database
            .execute("SET GLOBAL gman_tls_cert = '', GLOBAL gman_tls_key = ''");
    }
    assert_eq!(stage.queued(), 2);
}

#[test]
fn a_plain_server_and_a_client_without_a_ca_are_told_what_is_missing() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    stage.go_to(&stage.gearmand.address());
    let failure = stage.failure();
    // gearmand ends the connection, sometimes after a packet that says why.
    let expected = [
        "it ended the connection in the handshake; see whether it speaks TLS",
        "what it sends is not TLS",
    ];
    let is_expected = expected.iter().any(|expected| failure.contains(expected));
    assert!(is_expected, "{failure}");
    assert_eq!(stage.queued(), 0);

    stage.set("gman_tls_ca", "");
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    stage.set("gman_servers", &stunnel.address());
    let failure = stage.failure();
    assert!(failure.contains("gman_tls_ca"), "{failure}");
    assert!(failure.contains("turns TLS on"), "{failure}");
    assert_eq!(stage.queued(), 0);

    let gearmand = match TlsGearmand::start(&stage.certificates) {
        Ok(gearmand) => gearmand,
        Err(reason) => unsupported!("{reason}"),
    };
    stage.set("gman_servers", &gearmand.address());
    let failure = stage.failure();
    assert!(
        failure.contains("if it speaks TLS, gman_tls_ca turns TLS on"),
        "{failure}"
    );
}

#[test]
fn no_connection_stays_plain_once_a_ca_is_set() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    stage.set("gman_servers", &stage.gearmand.address());
    for delivery in ["acked", "pipelined"] {
        stage.set("gman_tls_ca", "");
        stage.set("gman_delivery", delivery);
        assert!(stage.submit().is_some());
        assert_eq!(stage.database.value::<i64>("SELECT gman_flush(30000)"), 0);
        let before = stage.queued();
        // The connection on which that job went is open and well.
        stage.set("gman_tls_ca", &stage.certificates.path("ca.pem"));
        let _: Option<String> = stage.submit();
        let _: i64 = stage.database.value("SELECT gman_flush(300)");
        assert_eq!(
            stage.queued(),
            before,
            "{delivery}: went over the plain connection"
        );
    }
    // What waited is not lost.
    stage.set("gman_tls_ca", "");
    assert_eq!(stage.database.value::<i64>("SELECT gman_flush(30000)"), 0);
    assert_eq!(stage.queued(), 3);
}

#[test]
fn files_that_cannot_be_used_are_refused_and_change_nothing() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let certificates = &stage.certificates;
    certificates.write("empty", "");
    certificates.write("torn", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let mut session = stage.database.connect();
    for (name, file, expected) in [
        (
            "ca",
            "nothing",
            "the file cannot be read: No such file or directory",
        ),
        (
            "ca",
            "empty",
            "the file holds no certificate, expected -----BEGIN CERTIFICATE-----",
        ),
        (
            "ca",
            "torn",
            "the file is no good PEM: a section does not end",
        ),
        ("ca", "", "the file cannot be read: it is no regular file"),
        ("cert", "server.key", "the file holds no certificate"),
        ("key", "client.pem", "the file holds no private key"),
    ] {
        let path = certificates.path(file);
        let message = error(
            &mut session,
            &format!("SET GLOBAL gman_tls_{name} = '{path}'"),
        );
        assert!(
            message.starts_with(&format!("gman_tls_{name}: ")),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(&path), "{message}");
    }
    for (sql, expected) in [
        ("gman_tls_ca = 'ca.pem'", "expected a path from the root"),
        ("gman_tls_ca = NULL", "it cannot be NULL; '' turns TLS off"),
        (
            "gman_tls_server_name = 'a b'",
            "no certificate can be for a b",
        ),
    ] {
        let message = error(&mut session, &format!("SET GLOBAL {sql}"));
        assert!(message.contains(expected), "{message}");
    }
    stage.set("gman_servers", &stage.gearmand.address());
    assert!(stage.submit().is_some(), "{}", stage.last_error());
}

#[test]
fn a_mistake_in_the_configuration_leads_to_no_connection_rather_than_to_a_plain_one() {
    if let Err(reason) = with_plugin() {
        unsupported!("{reason}");
    }
    let gearmand = Gearmand::start();
    let database = Database::builder()
        .library()
        .configuration("plugin-load-add=libgearman_mysql_udf.so")
        .configuration(&format!("gman_servers={}", gearmand.address()))
        .configuration("gman_tls_ca=/nowhere/ca.pem")
        .start();
    database.run_script(&product_file("sql/install.sql"));
    let expected = "gman_tls_ca: the file cannot be read: No such file or directory";
    assert!(
        database.error_log().contains(expected),
        "{}",
        database.error_log()
    );
    assert_eq!(database.value::<Option<String>>(SUBMIT), None);
    let check: String = database.value("SELECT gman_check()");
    assert!(check.contains(expected), "{check}");
    assert!(gearmand.status().is_empty());
}

#[test]
fn renewed_certificates_are_read_and_broken_ones_leave_the_old_in_force() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let certificates = &stage.certificates;
    let stunnel = Stunnel::for_known_clients(certificates, stage.gearmand.port());
    stage.database.execute(&format!(
        "SET GLOBAL gman_tls_cert = '{}', GLOBAL gman_tls_key = '{}'",
        certificates.path("client.pem"),
        certificates.path("client.key"),
    ));
    stage.go_to(&stunnel.address());
    assert!(stage.submit().is_some(), "{}", stage.last_error());

    // Half way through a renewal: the key is not that of the certificate.
    certificates.issue("next", ExtendedKeyUsagePurpose::ClientAuth, |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "the-next-one");
    });
    let next = |extension| {
        std::fs::read_to_string(certificates.file(&format!("next.{extension}"))).expect("a file")
    };
    certificates.write("client.pem", &next("pem"));
    stage.set("gman_servers", &stunnel.address());
    reconnect(&stage);
    assert!(stage.submit().is_some(), "{}", stage.last_error());
    let log = stage.database.error_log();
    let expected = "gman_tls_cert and gman_tls_key do not fit";
    assert_eq!(log.matches(expected).count(), 1, "{log}");

    certificates.write("client.key", &next("key"));
    reconnect(&stage);
    assert!(stage.submit().is_some(), "{}", stage.last_error());
    wait_until(PATIENCE, "the new certificate to be shown", || {
        let log = stunnel.log();
        match log.contains("the-next-one") {
            true => Ok(()),
            false => Err(log),
        }
    });
}

/// Has the next job open a connection, as one does after a minute of silence.
fn reconnect(stage: &Stage) {
    let servers: String = stage.database.value("SELECT @@GLOBAL.gman_servers");
    stage.set("gman_servers", "");
    stage.set("gman_servers", &servers);
}

#[test]
fn sessions_are_resumed() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    stage.go_to(&stunnel.address());
    for _ in 0..2 {
        assert!(stage.submit().is_some(), "{}", stage.last_error());
        reconnect(&stage);
    }
    wait_until(PATIENCE, "a resumed session", || {
        let log = stunnel.log();
        match log.contains("previous session reused") {
            true => Ok(()),
            false => Err(log),
        }
    });
}

#[test]
fn a_handshake_takes_no_longer_than_the_connect_timeout() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    // Takes connections, and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    stage.go_to(&silent.local_addr().expect("a bound socket").to_string());
    let began = Instant::now();
    let failure = stage.failure();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(
        failure.contains("TLS handshake with 127.0.0.1:"),
        "{failure}"
    );
    assert!(failure.contains(": timed out, after 25"), "{failure}");

    // Hangs up in the middle.
    let closing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    stage.set(
        "gman_servers",
        &closing.local_addr().expect("a bound socket").to_string(),
    );
    thread::spawn(move || closing.incoming().for_each(drop));
    let failure = stage.failure();
    assert!(
        failure.contains("it ended the connection in the handshake"),
        "{failure}"
    );
}

#[test]
fn a_server_that_comes_back_gets_what_waited_for_it() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let mut stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    stage.go_to(&stunnel.address());
    stage.set("gman_delivery", "pipelined");
    let flush = || {
        let left: i64 = stage.database.value("SELECT gman_flush(30000)");
        assert_eq!(left, 0);
    };
    for round in 1..=3 {
        assert!(stage.submit().is_some());
        // One that is under way could arrive twice.
        flush();
        stunnel.kill();
        assert!(stage.submit().is_some());
        stunnel.restart();
        flush();
        assert_eq!(stage.queued(), 2 * round);
    }
}

/// The way of a row over job servers at `address`: by a trigger, and by the outbox and its relay.
fn a_row_reaches_redis(stage: &Stage, address: &str) {
    let certificates = &stage.certificates;
    let redis = Redis::start();
    let tls = format!("--gearmand-ca={}", certificates.path("ca.pem"));
    let gearmand = format!("--gearmand={address}");
    let mut worker = RedisWorker::start_bare(
        &[],
        &[
            gearmand.clone(),
            tls.clone(),
            format!("--redis={}", redis.address()),
        ],
    );
    stage.go_to(address);
    let database = &stage.database;
    for sql in [
        "CREATE TABLE test.users (id INT PRIMARY KEY, name VARCHAR(20)) ENGINE=InnoDB",
        "CREATE TRIGGER test.ins AFTER INSERT ON test.users FOR EACH ROW \
         SET @r = gman_do_background('syncToRedis', \
                                     json_object_udf(NEW.id AS `id`, NEW.name AS `name`))",
        "INSERT INTO test.users VALUES (1, 'by trigger')",
    ] {
        database.execute(sql);
    }
    let arrives = |key: &str, name: &str| {
        wait_until(PATIENCE, "the row in Redis", || match redis.get(key) {
            Some(found) if found == name => Ok(()),
            found => Err((found, worker.log())),
        });
    };
    arrives("1", "by trigger");

    database.run_script(&product_file("sql/outbox-plain.sql"));
    database.execute("CREATE USER relay@'%' IDENTIFIED BY 'secret'");
    database.execute("GRANT ALL ON test.* TO relay@'%'");
    let url = format!("mysql://relay:secret@127.0.0.1:{}", database.port());
    let mut relay = RelayProcess::start(&[gearmand, tls, format!("--mysql={url}")]);
    database.execute(
        "INSERT INTO test.gman_outbox (`function`, workload) \
         VALUES ('syncToRedis', '{\"id\":2,\"name\":\"by relay\"}')",
    );
    arrives("2", "by relay");
    relay.stop();
    worker.stop();
    assert!(!worker.log().contains("gives"), "{}", worker.log());
    database.execute("DROP TABLE test.users");
    database.execute("DROP USER relay@'%'");
}

#[test]
fn the_whole_path_of_a_row_goes_over_tls() {
    let stage = match Stage::new() {
        Ok(stage) => stage,
        Err(reason) => unsupported!("{reason}"),
    };
    let stunnel = Stunnel::start(&stage.certificates, stage.gearmand.port());
    a_row_reaches_redis(&stage, &stunnel.address());
    let gearmand = match TlsGearmand::start(&stage.certificates) {
        Ok(gearmand) => gearmand,
        Err(reason) => unsupported!("{reason}"),
    };
    let database = with_plugin().expect("as the one before");
    let stage = Stage { database, ..stage };
    a_row_reaches_redis(&stage, &gearmand.address());
}

#[test]
fn a_worker_says_why_it_has_no_tls_and_connects_once_it_has() {
    let certificates = Certificates::new();
    let gearmand = Gearmand::start();
    let redis = Redis::start();
    certificates.issue_server("other", |params| {
        params.subject_alt_names = vec![SanType::DnsName(
            "elsewhere.example".try_into().expect("a name"),
        )];
    });
    let stunnel = Stunnel::start_with(&certificates, "other", gearmand.port(), "");
    let options = |ca: &str, more: &[&str]| -> Vec<String> {
        let mut options = vec![
            format!("--gearmand={}", stunnel.address()),
            format!("--gearmand-ca={}", certificates.path(ca)),
            format!("--redis={}", redis.address()),
        ];
        options.extend(more.iter().map(|option| (*option).to_owned()));
        options
    };
    let worker = RedisWorker::start_bare(&[], &options("ca.pem", &[]));
    wait_until(PATIENCE, "the worker to say why", || {
        let log = worker.log();
        let expected = "its certificate is for elsewhere.example, not for 127.0.0.1; name the server so \
                        in the list, or set --gearmand-server-name";
        match log.contains(expected) {
            true => Ok(()),
            false => Err(log),
        }
    });
    let name = "--gearmand-server-name=elsewhere.example";
    let _worker = RedisWorker::start_bare(&[&gearmand], &options("ca.pem", &[name]));

    // What can be seen at once ends the worker with status 2.
    let mut command = std::process::Command::new(crate::support::gman_program());
    let output = command
        .arg("worker")
        .args(options("nothing.pem", &[]))
        .output()
        .expect("the worker's output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--gearmand-ca: the file cannot be read"),
        "{said}"
    );
}

#[test]
fn a_worker_that_speaks_plain_to_a_server_with_tls_names_the_option() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let stunnel = Stunnel::start(&Certificates::new(), gearmand.port());
    let options = [
        format!("--gearmand={}", stunnel.address()),
        format!("--redis={}", redis.address()),
    ];
    let worker = RedisWorker::start_bare(&[], &options);
    wait_until(PATIENCE, "the worker to say what to do", || {
        let log = worker.log();
        match log.contains("if it speaks TLS, --gearmand-ca turns TLS on") {
            true => Ok(()),
            false => Err(log),
        }
    });
}

#[test]
fn help_shows_no_secret_and_no_path_of_a_key() {
    for command in ["worker", "relay"] {
        let output = std::process::Command::new(crate::support::gman_program())
            .args([command, "--help"])
            .env("GMAN_REDIS", "redis://:s3cret@127.0.0.1/")
            .env("GMAN_MYSQL", "mysql://root:s3cret@127.0.0.1/")
            .env("GMAN_REDIS_KEY", "/where/s3cret.key")
            .env("GMAN_GEARMAND_KEY", "/where/s3cret.key")
            .output()
            .expect("the help");
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(help.contains("GMAN_GEARMAND_KEY"), "{help}");
        assert!(!help.contains("s3cret"), "{help}");
    }
}
