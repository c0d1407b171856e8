//! A server whose functions are those of the C plugins, which ours take the place of.
//!
//! The originals are not at hand: a few lines of C stand in for them, with the same file names, the
//! same functions, and NULL for an answer.

use std::fs;
use std::path::Path;
use std::process::Command;

use mysql::prelude::Queryable;

use super::callers::{Updates, create_table, while_calling};
use super::{Tarball, functions, said, set_servers};
use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, run};

const JSON_FILE: &str = "lib_mysqludf_json.so";

/// The files of the C plugins with their functions: name, and what comes after it in CREATE FUNCTION.
const C_PLUGINS: [(&str, &[&str]); 2] = [
    (
        JSON_FILE,
        &[
            "json_object",
            "json_array",
            "json_members",
            "json_values",
            "lib_mysqludf_json_info",
        ],
    ),
    (
        FILE_NAME,
        &[
            "gman_servers_set",
            "gman_do",
            "gman_do_high",
            "gman_do_low",
            "gman_do_background",
            "gman_do_high_background",
            "gman_do_low_background",
        ],
    ),
];

/// `ER_NATIVE_FCT_NAME_COLLISION`.
const NATIVE_NAME: u16 = 1585;

/// A trigger as it was written for them, without `json_object`, which most servers do not let them have.
const SUBMIT: &str = "gman_do_background('f', json_members('id', NEW.id))";

/// Compiles functions that answer NULL.
fn stand_in(file: &Path, names: &[&str]) {
    let functions: String = names
        .iter()
        .map(|name| {
            format!(
                "char {name}_init(char *maybe_null, void *a, char *m) {{ *maybe_null = 1; return 0; }}\n\
                 char *{name}(void *i, void *a, char *r, unsigned long *l, char *null, char *e)\n\
                 {{ *null = 1; return 0; }}\n"
            )
        })
        .collect();
    let source = file.with_extension("c");
    fs::write(&source, functions).expect("room for a source");
    run(Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(file)
        .arg(&source));
    fs::remove_file(source).expect("the source to go");
}

/// A server with the C plugins, and a trigger that calls them.
fn server() -> Database {
    let database = Database::start();
    for (file, names) in C_PLUGINS {
        stand_in(&database.plugin_dir().join(file), names);
        for name in names {
            let create = format!("CREATE FUNCTION {name} RETURNS STRING SONAME '{file}'");
            match database.connect().query_drop(&create) {
                Err(mysql::Error::MySqlError(error)) if error.code == NATIVE_NAME => {}
                created => created.unwrap_or_else(|error| panic!("{create}: {error}")),
            }
        }
    }
    create_table(&database, SUBMIT);
    database
}

fn kept(database: &Database) -> Vec<String> {
    let files = fs::read_dir(database.plugin_dir()).expect("the plugin directory");
    let mut kept: Vec<_> = files
        .map(|file| {
            file.expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.ends_with(".c-plugin"))
        .collect();
    kept.sort();
    kept
}

fn assert_none_delivered(updates: &Updates) {
    assert!(updates.errors.is_empty(), "{:?}", updates.errors);
    assert_eq!(updates.undelivered, updates.done);
}

#[test]
fn the_c_plugin_is_not_replaced_unasked() {
    let database = server();
    let output = Tarball::unpack().try_install(&database, &[]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("--replace-c-plugins"),
        "{}",
        said(&output)
    );
    assert_none_delivered(&while_calling(&database, || ()));
}

#[test]
fn the_c_plugins_are_replaced_at_the_next_start_and_their_triggers_stay_as_they_are() {
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let mut database = server();
    let before = functions(&database);
    let tarball = Tarball::unpack();

    let updates = while_calling(&database, || {
        let said = tarball.install(&database, &["--replace-c-plugins"]);
        assert!(said.contains("restart the server"), "{said}");
    });
    assert_none_delivered(&updates);
    assert_eq!(functions(&database), before);
    assert_eq!(
        kept(&database),
        [
            "lib_mysqludf_json.so.c-plugin",
            "libgearman_mysql_udf.so.c-plugin"
        ]
    );

    database.restart();
    set_servers(&database, &gearmand);
    let updates = while_calling(&database, || ());
    updates.assert_all_delivered();
    let jobs = worker.wait_for(updates.done);
    assert!(
        jobs.iter().all(|job| job.workload.starts_with(br#""id":"#)),
        "{jobs:?}"
    );

    // What the C plugins did not have comes now.
    let said = tarball.install(&database, &["--replace-c-plugins"]);
    assert!(!said.contains("restart the server"), "{said}");
    assert!(functions(&database).contains(&"gman_check".to_owned()));

    // And back.
    let said = tarball.uninstall(&database, &["--force"]);
    assert!(said.contains("put libgearman_mysql_udf.so back"), "{said}");
    assert_eq!(functions(&database), before);
    assert!(kept(&database).is_empty());
    database.restart();
    assert_none_delivered(&while_calling(&database, || ()));
}
