//! Folders in which others can put files before `gman` does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::assert_plain;
use crate::support::{Database, FILE_NAME, Library, Ran, run_gman};

fn install(database: &Database, more: &[&str]) -> Ran {
    let library = format!("--library={}", Library::release().path().display());
    let options = [&["install", "--defaults-file=/dev/null", &library], more].concat();
    let ran = run_gman(database, &options);
    assert_plain(&ran.printed);
    assert_plain(&ran.said);
    ran
}

#[test]
fn what_stands_in_the_plugin_directory_is_neither_followed_nor_waited_for() {
    let database = Database::start();
    let folder = database.plugin_dir();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a mode");
    let victim = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(victim.path(), "precious").expect("room for a file");
    symlink(victim.path(), folder.join(format!("{FILE_NAME}.new"))).expect("a link");
    mkfifo(&folder.join("pipe.so"), Mode::S_IRWXU).expect("a pipe");
    symlink("/dev/zero", folder.join("endless.so")).expect("a link");
    let odd =
        |suffix: &[u8]| folder.join(OsStr::from_bytes(&[b"\xff\x1b[2J\n.so", suffix].concat()));
    fs::write(odd(b".c-plugin"), "kept").expect("room for a file");

    let installed = install(&database, &[]);

    assert_eq!(installed.status, Some(0), "{installed:?}");
    assert_eq!(fs::read(victim.path()).expect("the victim"), b"precious");
    let library = folder.join(FILE_NAME);
    let metadata = fs::symlink_metadata(&library).expect("the library");
    assert!(metadata.is_file());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
    let warning = "take the right to write to";
    assert!(installed.printed.contains(warning), "{}", installed.printed);

    let uninstalled = run_gman(&database, &["uninstall", "--defaults-file=/dev/null"]);
    assert_eq!(uninstalled.status, Some(0), "{uninstalled:?}");
    assert_plain(&uninstalled.printed);
    assert!(odd(b"").exists(), "{}", uninstalled.printed);
    assert_eq!(fs::read(victim.path()).expect("the victim"), b"precious");
}

#[test]
fn a_library_that_another_account_can_change_is_replaced() {
    let database = Database::start();
    let library = database.plugin_dir().join(FILE_NAME);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let same = elsewhere.path().join("same.so");
    fs::copy(Library::release().path(), &same).expect("a copy");
    symlink(&same, &library).expect("a link");
    let installed = install(&database, &[]);
    assert_eq!(installed.status, Some(0), "{installed:?}");
    assert!(
        fs::symlink_metadata(&library)
            .expect("the library")
            .is_file()
    );

    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).expect("a mode");
    let installed = install(&database, &[]);
    assert_eq!(installed.status, Some(0), "{installed:?}");
    let mode = fs::metadata(&library)
        .expect("the library")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

/// A server of somebody else's may name any file as a library with functions of ours.
#[test]
fn a_file_that_is_no_library_is_not_taken_for_the_c_plugin() {
    let database = Database::start();
    let file = database.plugin_dir().join("passwd");
    fs::write(&file, "root:x:0:0").expect("room for a file");
    database.execute(
        "INSERT INTO mysql.func (name, ret, dl, type) VALUES ('gman_do', 0, 'passwd', 'function')",
    );
    let ran = install(&database, &["--replace-c-plugins"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.said.contains("passwd is no library"), "{}", ran.said);
    assert_eq!(fs::read_to_string(&file).expect("the file"), "root:x:0:0");
}
