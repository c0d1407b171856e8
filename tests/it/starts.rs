//! Servers that are started for something else than serving, with the plugins in their configuration.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mysql::prelude::Queryable;

use crate::plugin::with_plugin;
use crate::support::{Database, FILE_NAME, Library, ServerKind, product_file, unsupported};

/// What `gman install --config` writes, and a delivery that needs the second plugin.
const CONFIGURATION: &str = "plugin-load-add = libgearman_mysql_udf.so
loose-gman_servers = 127.0.0.1:1
loose-gman_delivery = committed
loose-gman_timeout_ms = 2000";

/// A folder with the library and a configuration that names it, and no server.
struct Place {
    folder: tempfile::TempDir,
    kind: ServerKind,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Self {
            folder,
            kind: ServerKind::chosen(),
        };
        fs::create_dir(place.path("plugin")).expect("a folder");
        let library = Path::new(&place.path("plugin")).join(FILE_NAME);
        fs::copy(Library::release().path(), library).expect("the library");
        fs::write(place.path("my.cnf"), format!("[mysqld]\n{CONFIGURATION}\n"))
            .expect("a configuration");
        place
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The server with these options, until it ends.
    fn run(&self, options: &[&str], input: Option<&Path>) -> Output {
        let data = self.folder.path().join("data");
        let mut command = self.kind.server(Path::new(&self.path("my.cnf")), &data);
        command
            .arg(format!("--plugin-dir={}", self.path("plugin")))
            .args(options)
            .stdin(match input {
                Some(file) => Stdio::from(fs::File::open(file).expect("the input")),
                None => Stdio::null(),
            });
        command.output().expect("the server")
    }
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Nothing in here is a crash or an error of ours.
fn assert_quiet(said: &str) {
    for bad in [
        "got signal",
        "panic",
        "[ERROR] gman",
        "gman: ",
        "Failed to shutdown components",
    ] {
        assert!(!said.contains(bad), "{bad}: {said}");
    }
}

/// Whether the server can have the plugin.
fn refusal() -> Option<String> {
    with_plugin().err()
}

#[test]
fn the_help_of_the_server_describes_the_variables() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let place = Place::new();
    let help = place.run(&["--verbose", "--help"], None);
    let said = text(&help);
    assert!(help.status.success(), "{said}");
    assert_quiet(&said);
    for variable in ["gman-servers", "gman-delivery", "gman-tls-ca"] {
        assert!(
            said.contains(&format!("--{variable}")),
            "{variable}: {said}"
        );
    }
}

#[test]
fn a_bootstrap_passes_the_plugins_by() {
    let server: String = match with_plugin() {
        Ok(database) => database.value("SELECT VERSION()"),
        Err(reason) => unsupported!("{reason}"),
    };
    if !server.contains("MariaDB") {
        unsupported!("the server has no --bootstrap");
    }
    let place = Place::new();
    place
        .kind
        .make_data_directory(Path::new(&place.path("data")));
    let script = place.path("script.sql");
    fs::write(&script, "CREATE DATABASE b;\nCREATE TABLE b.t (i INT);\n").expect("a script");
    let bootstrap = place.run(&["--bootstrap"], Some(Path::new(&script)));
    let said = text(&bootstrap);
    assert!(bootstrap.status.success(), "{said}");
    assert_quiet(&said);
    assert!(Path::new(&place.path("data/b/t.frm")).is_file(), "{said}");
}

#[test]
fn a_data_directory_is_made_with_the_plugins_configured() {
    let server: String = match with_plugin() {
        Ok(database) => database.value("SELECT VERSION()"),
        Err(reason) => unsupported!("{reason}"),
    };
    let place = Place::new();
    let made = if server.contains("MariaDB") {
        if place.kind.name != "local" {
            unsupported!("its mariadb-install-db is not prepared");
        }
        Command::new("mariadb-install-db")
            .arg(format!("--defaults-file={}", place.path("my.cnf")))
            .arg(format!("--datadir={}", place.path("data")))
            .arg(format!("--plugin-dir={}", place.path("plugin")))
            .args([
                "--user=root",
                "--force",
                "--auth-root-authentication-method=normal",
            ])
            .output()
            .expect("mariadb-install-db")
    } else {
        // Which takes half a minute if every page is on the disk before the next.
        let options = ["--initialize-insecure", "--innodb-flush-method=nosync"];
        place.run(&options, None)
    };
    let said = text(&made);
    assert!(made.status.success(), "{said}");
    assert_quiet(&said);
    assert!(Path::new(&place.path("data/mysql")).is_dir(), "{said}");
}

/// As after a new version of the server was installed.
#[test]
fn an_upgrade_of_the_server_leaves_functions_and_triggers() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let mut database = Database::builder()
        .library()
        .configuration(CONFIGURATION)
        .start();
    database.run_script(&product_file("sql/install.sql"));
    for sql in [
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CREATE TRIGGER ins AFTER INSERT ON t FOR EACH ROW SET @j = json_object_udf(NEW.id)",
        "CREATE VIEW v AS SELECT json_array_udf(id) AS j FROM t",
    ] {
        database.execute(sql);
    }
    let server: String = database.value("SELECT VERSION()");
    if server.contains("MariaDB") {
        let upgrade = Command::new("mariadb-upgrade")
            .args(database.client_options())
            .args([
                "--force",
                &format!("--tmpdir={}", database.plugin_dir().display()),
            ])
            .output()
            .expect("mariadb-upgrade");
        let said = text(&upgrade);
        if said.contains("does not match the version of the server") {
            unsupported!("the mariadb-upgrade of this machine is another server's");
        }
        assert!(upgrade.status.success(), "{said}");
        assert!(!said.contains("json_"), "{said}");
        database.restart();
    } else {
        database.restart_with(&["--upgrade=FORCE"]);
    }
    let mut session = database.connect();
    session
        .query_drop("INSERT INTO t VALUES (1)")
        .expect("the trigger");
    let json: Option<(String, String)> = session
        .query_first("SELECT @j, j FROM v")
        .expect("the view");
    assert_eq!(json, Some((r#"{"id":1}"#.into(), "[1]".into())));
    assert_quiet(&database.error_log());
}

/// The library of an earlier version, after the one that comes: of its functions and settings there are some that
/// this one does not have.
#[test]
fn a_server_starts_with_what_only_another_version_of_the_library_has() {
    if let Some(reason) = refusal() {
        unsupported!("{reason}");
    }
    let mut database = Database::builder()
        .library()
        .configuration(&format!("{CONFIGURATION}\nloose-gman_from_tomorrow = 1"))
        .start();
    database.run_script(&product_file("sql/install.sql"));
    for row in [
        "INSERT INTO mysql.func VALUES ('gman_from_tomorrow', 0, 'libgearman_mysql_udf.so', 'function')",
        "INSERT INTO mysql.plugin VALUES ('gman_from_tomorrow', 'libgearman_mysql_udf.so')",
    ] {
        database.execute(row);
    }
    database.restart();
    assert_eq!(database.value::<String>("SELECT json_array_udf(1)"), "[1]");
    assert_eq!(
        database.value::<u32>("SELECT @@GLOBAL.gman_timeout_ms"),
        2000
    );
    assert_eq!(
        database.value::<String>("SELECT @@GLOBAL.gman_delivery"),
        "committed"
    );
    let log = database.error_log();
    assert!(log.contains("gman_from_tomorrow"), "{log}");
    // It can be taken away, and what this version has can be created again.
    database.execute("DROP FUNCTION IF EXISTS gman_from_tomorrow");
    database.run_script(&product_file("sql/uninstall.sql"));
    database.run_script(&product_file("sql/install.sql"));
    assert_eq!(database.value::<String>("SELECT json_array_udf(1)"), "[1]");
}
