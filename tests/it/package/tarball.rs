//! `gman install` and `gman uninstall` of the tarball.

use std::fs;

use super::callers::{create_table, while_calling};
use super::{Tarball, functions, has_mapped, said, set_servers};
use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker};

const SUBMIT: &str = "gman_do_background('f', json_object_udf(NEW.id AS id, NEW.n AS n))";

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
}

#[test]
fn gman_install_installs_the_plugin_once() {
    let database = Database::start();
    let tarball = Tarball::unpack();
    let first = tarball.try_install(&database, &["--plugin"]);
    if said(&first).contains("plugin interface version mismatch") {
        crate::support::unsupported!("no plugin for this server, the functions only");
    }
    assert!(first.status.success(), "{}", said(&first));
    assert!(
        said(&first).contains("installed the plugin gman"),
        "{}",
        said(&first)
    );
    assert_eq!(database.value::<u32>("SELECT @@gman_timeout_ms"), 1000);
    let again = tarball.install(&database, &["--plugin"]);
    assert!(
        again.contains("the plugin gman is there already"),
        "{again}"
    );

    let gone = tarball.uninstall(&database, &[]);
    assert!(gone.contains("uninstalled the plugin gman"), "{gone}");
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
