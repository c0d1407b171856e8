//! `gman install` and `gman uninstall` of the tarball.

use std::fs;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::callers::{create_table, while_calling};
use super::{Tarball, functions, has_mapped, said, set_servers};
use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, wait_until};

const SUBMIT: &str = "gman_do_background('f', json_object_udf(NEW.id AS id, NEW.n AS n))";

const COMMIT: &str = "gman_commit";

/// Our plugins that the server has.
fn plugins(database: &Database) -> Vec<String> {
    database.query(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME LIKE 'gman%' ORDER BY PLUGIN_NAME",
    )
}

#[test]
fn gman_install_asks_the_server_for_its_folder_and_says_what_it_did() {
    let database = Database::start();
    let tarball = Tarball::unpack();

    let first = tarball.install(&database, &["--gearmand", "127.0.0.1:1"]);
    let plugin_dir = database.plugin_dir().display().to_string();
    assert!(
        first.contains(&format!("plugin directory {plugin_dir}")),
        "{first}"
    );
    assert!(first.contains(&format!("copied {FILE_NAME}")), "{first}");
    assert!(first.contains("functions: gman_check gman_do "), "{first}");
    assert!(first.contains("job servers: 127.0.0.1:1"), "{first}");
    assert_eq!(
        database.value::<String>("SELECT json_object_udf(1 AS a)"),
        r#"{"a":1}"#
    );

    let again = tarball.install(&database, &[]);
    assert!(
        again.contains(&format!("{FILE_NAME} is there already")),
        "{again}"
    );
    let (_, steps) = again.split_once("still to be done:").expect("the steps");
    for step in ["name the job servers", "gman triggers", "gman worker"] {
        assert!(steps.contains(step), "{again}");
    }
}

#[test]
fn gman_install_tells_as_json_what_it_did_and_what_the_server_has() {
    let database = Database::start();
    let tarball = Tarball::unpack();
    let told = |output: std::process::Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let first = told(tarball.try_install(&database, &["--json", "--gearmand=127.0.0.1:1"]));
    let done = first["done"].to_string();
    assert!(done.contains(&format!("copied {FILE_NAME}")), "{first}");
    assert_eq!(first["functions"], serde_json::json!(functions(&database)));
    assert_eq!(first["plugins"], serde_json::json!(plugins(&database)));
    assert!(
        first["to_do"].to_string().contains("gman triggers"),
        "{first}"
    );

    let last = told(tarball.try_uninstall(&database, &["--json"]));
    let done = last["done"].to_string();
    assert!(done.contains(&format!("removed {FILE_NAME}")), "{last}");
    assert_eq!(last["functions"], serde_json::json!([]));
}

#[test]
fn gman_install_writes_a_configuration_with_which_the_server_starts_with_the_plugin() {
    let mut database = Database::start();
    let tarball = Tarball::unpack();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("gman.cnf");
    let config = format!("--config={}", file.display());
    let done = tarball.try_install(&database, &["--gearmand=127.0.0.1:7", &config]);
    if said(&done).contains("no plugin") {
        crate::support::unsupported!("no plugin for this server, the functions only");
    }
    assert!(done.status.success(), "{}", said(&done));
    assert!(
        said(&done).contains("restart the server"),
        "{}",
        said(&done)
    );

    database.configure(&fs::read_to_string(&file).expect("the lines"));
    database.restart();
    let servers: String = database.value("SELECT @@gman_servers");
    assert_eq!(servers, "127.0.0.1:7");
    let delivery: String = database.value("SELECT @@gman_delivery");
    let expected = match plugins(&database).contains(&COMMIT.to_owned()) {
        true => "committed",
        false => "acked",
    };
    assert_eq!(delivery, expected);
}

/// One that is there already, such as `gman_commit` of an earlier release, is left alone.
#[test]
fn gman_install_installs_every_plugin_that_the_server_can_have() {
    let database = Database::start();
    let tarball = Tarball::unpack();
    tarball.install(&database, &[]);
    let sql = format!("INSTALL PLUGIN gman SONAME '{FILE_NAME}'");
    if database.connect().query_drop(&sql).is_err() {
        let refused = tarball.try_install(&database, &["--plugin"]);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        crate::support::unsupported!("no plugin for this server, the functions only");
    }
    let first = tarball.install(&database, &["--plugin"]);
    assert!(
        first.contains("the plugin gman is there already"),
        "{first}"
    );
    let has_commit = plugins(&database).contains(&COMMIT.to_owned());
    let expected = match has_commit {
        true => "installed the plugin gman_commit",
        false => "does not take the plugin gman_commit",
    };
    assert!(first.contains(expected), "{first}");
    if has_commit {
        database.execute("SET GLOBAL gman_delivery = 'committed'");
        let again = tarball.install(&database, &["--plugin"]);
        let there = "the plugin gman_commit is there already";
        assert!(again.contains(there), "{again}");
    }

    let gone = tarball.uninstall(&database, &[]);
    assert!(gone.contains("uninstalled the plugin gman\n"), "{gone}");
    assert_eq!(
        gone.contains("uninstalled the plugin gman_commit"),
        has_commit
    );
    assert_eq!(plugins(&database), [""; 0]);
}

#[test]
fn gman_uninstall_says_how_the_plugin_goes_that_sessions_have_used() {
    let gearmand = Gearmand::start();
    let database = Database::start();
    let tarball = Tarball::unpack();
    let installed = tarball.try_install(&database, &["--plugin"]);
    if !plugins(&database).contains(&COMMIT.to_owned()) {
        crate::support::unsupported!("no plugin gman_commit for this server");
    }
    assert!(installed.status.success(), "{}", said(&installed));
    set_servers(&database, &gearmand);
    database.execute("SET GLOBAL gman_delivery = 'committed'");
    let mut session = database.connect();
    let sent: Option<String> = session
        .query_first("SELECT gman_do_background('f', 'w')")
        .expect("a job")
        .expect("a row");
    assert!(sent.is_some());

    let first = tarball.try_uninstall(&database, &[]);
    if !first.status.success() {
        assert!(said(&first).contains("connect anew"), "{}", said(&first));
        assert!(plugins(&database).contains(&COMMIT.to_owned()));
        assert!(functions(&database).contains(&"gman_do_background".to_owned()));
    }
    drop(session);
    wait_until(Duration::from_secs(60), "the plugins to go", || {
        if !first.status.success() {
            // Succeeds once the server has seen that the session has ended.
            tarball.try_uninstall(&database, &[]);
        }
        match plugins(&database).as_slice() {
            [] => Ok(()),
            left => Err(left.to_vec()),
        }
    });
    assert_eq!(functions(&database), [""; 0]);
}

#[test]
fn gman_uninstall_drops_no_function_that_a_trigger_calls() {
    let database = Database::start();
    let tarball = Tarball::unpack();
    tarball.install(&database, &[]);
    create_table(&database, SUBMIT);

    let refused = tarball.try_uninstall(&database, &[]);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("trigger test.changed"),
        "{}",
        said(&refused)
    );
    assert!(functions(&database).contains(&"gman_do_background".to_owned()));

    database.execute("DROP TRIGGER changed");
    let done = tarball.uninstall(&database, &[]);
    assert!(done.contains(&format!("removed {FILE_NAME}")), "{done}");
    assert_eq!(functions(&database), [""; 0]);
    let left = fs::read_dir(database.plugin_dir())
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_version_replaced_under_a_running_server_fails_no_call() {
    let (old, new) = (Tarball::unpack(), Tarball::another_version());
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut database = Database::start();
    old.install(&database, &[]);
    set_servers(&database, &gearmand);
    create_table(&database, SUBMIT);
    let installed = database.plugin_dir().join(FILE_NAME);
    let pid = database.pid();

    // Up, down, and up again.
    let updates = while_calling(&database, || {
        for version in [&new, &old, &new] {
            version.install(&database, &[]);
        }
    });
    updates.assert_all_delivered();
    println!("{} updates", updates.done);
    assert_eq!(worker.wait_for(updates.done).len(), updates.done);
    assert_eq!(database.pid(), pid);
    assert!(!has_mapped(&database, &installed));

    database.restart();
    assert!(has_mapped(&database, &installed));
    set_servers(&database, &gearmand);
    while_calling(&database, || ()).assert_all_delivered();
}
