//! Debian's package, handled by dpkg in a folder that stands for the root of a system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::callers::{create_table, while_calling};
use super::{COMMAND, change, gman, has_mapped, package, said, set_servers};
use crate::support::{Database, FILE_NAME, Gearmand, RecordingWorker, run, unsupported};

const PACKAGE: &str = "gearman-mysql-udf";
const PLUGIN_DIR: &str = "usr/lib/mysql/plugin";
const SETTINGS: &str = "etc/default/gman-worker";

/// What maintainer scripts use to reach the services of the system. Ours belong to nobody's system:
/// what stands in their place only writes down how it was called.
const SERVICE_TOOLS: [&str; 3] = ["systemctl", "deb-systemd-helper", "deb-systemd-invoke"];

/// The root of a system without any package.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let root = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        // The database server in there may run as somebody else.
        fs::set_permissions(root.folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        for folder in [
            "var/lib/dpkg/updates",
            "var/lib/dpkg/info",
            PLUGIN_DIR,
            "tools",
        ] {
            fs::create_dir_all(root.path(folder)).expect("a folder");
        }
        fs::write(root.path("var/lib/dpkg/status"), "").expect("room for a file");
        for tool in SERVICE_TOOLS {
            let script =
                format!("#!/bin/sh\necho {tool} \"$@\" >>\"$(dirname \"$0\")/calls\"\nexit 1\n");
            fs::write(root.path("tools").join(tool), script).expect("room for a script");
            fs::set_permissions(
                root.path("tools").join(tool),
                fs::Permissions::from_mode(0o755),
            )
            .expect("a mode");
        }
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn library(&self) -> PathBuf {
        self.path(PLUGIN_DIR).join(FILE_NAME)
    }

    /// Runs dpkg; returns what it said. The C library that the package depends on is not in here.
    fn dpkg(&self, action: &str, what: impl AsRef<Path>) -> String {
        let path = std::env::var("PATH").expect("a PATH");
        let output = Command::new("dpkg")
            .arg(format!("--root={}", self.folder.path().display()))
            .args([
                "--force-depends",
                "--force-script-chrootless",
                "--force-confold",
            ])
            .arg(action)
            .arg(what.as_ref())
            .env(
                "PATH",
                format!("{}:{path}:/usr/sbin:/sbin", self.path("tools").display()),
            )
            .output()
            .expect("dpkg");
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// How the scripts of the package called the tools for services.
    fn calls(&self) -> String {
        fs::read_to_string(self.path("tools/calls")).unwrap_or_default()
    }

    /// A database server that has its plugins in here.
    fn database(&self) -> Database {
        Database::builder()
            .option(format!("--plugin-dir={}", self.path(PLUGIN_DIR).display()))
            .start()
    }
}

/// The package once more under a later version, with another library.
fn later_version(folder: &Path) -> PathBuf {
    let content = folder.join("content");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package(".deb"))
        .arg(&content));
    change(&content.join(PLUGIN_DIR).join(FILE_NAME));
    let control = content.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("the control file");
    let text: Vec<_> = text
        .lines()
        .map(|line| {
            if line.starts_with("Version: ") {
                "Version: 999-1"
            } else {
                line
            }
        })
        .collect();
    fs::write(&control, text.join("\n") + "\n").expect("room for a control file");
    let package = folder.join("later.deb");
    run(Command::new("dpkg-deb")
        .arg("--build")
        .arg(&content)
        .arg(&package));
    package
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn the_package_is_upgraded_downgraded_and_removed_under_a_running_server() {
    if !is_root() {
        unsupported!("dpkg wants to be root");
    }
    let root = Root::new();
    let gearmand = Gearmand::start();
    let worker = RecordingWorker::start(gearmand.port(), &["f"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (this, later) = (package(".deb"), later_version(folder.path()));

    root.dpkg("--install", &this);
    let mut database = root.database();
    let program = root.path("usr/bin").join(COMMAND);
    let installed = gman(&program, "install", &database, &[]);
    assert!(installed.status.success(), "{}", said(&installed));
    assert!(
        said(&installed).contains("as the package has it"),
        "{}",
        said(&installed)
    );
    set_servers(&database, &gearmand);
    create_table(
        &database,
        "gman_do_background('f', json_object_udf(NEW.n AS n))",
    );
    let pid = database.pid();

    for package in [&later, &this] {
        let updates = while_calling(&database, || {
            root.dpkg("--install", package);
        });
        updates.assert_all_delivered();
        worker.wait_for(updates.done);
        assert!(!has_mapped(&database, &root.library()));
    }
    assert_eq!(database.pid(), pid);
    database.restart();
    assert!(has_mapped(&database, &root.library()));
    set_servers(&database, &gearmand);

    // A running server does without the file; the next one says what it misses, and starts.
    let mut advice = String::new();
    let updates = while_calling(&database, || advice = root.dpkg("--remove", PACKAGE));
    updates.assert_all_delivered();
    assert!(advice.contains("sql/uninstall.sql"), "{advice}");
    assert!(!root.library().exists());
    database.restart();
    let log = database.error_log();
    assert!(log.contains(FILE_NAME), "{log}");
    let error = database
        .try_value::<String>("SELECT gman_check()")
        .expect_err("no such function");
    assert!(error.to_string().contains("gman_check"), "{error}");
}

#[test]
fn the_package_starts_no_service_and_keeps_its_settings() {
    if !is_root() {
        unsupported!("dpkg wants to be root");
    }
    let root = Root::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    root.dpkg("--install", package(".deb"));
    let version = run(Command::new(root.path("usr/bin").join(COMMAND)).args(["worker", "--help"]));
    assert!(version.contains("--redis"), "{version}");
    assert!(
        root.path("usr/lib/systemd/system/gman-worker.service")
            .exists()
    );
    assert!(!root.path("etc/systemd").exists());
    let mode = fs::metadata(root.path(SETTINGS))
        .expect("the settings")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);

    fs::write(root.path(SETTINGS), "GMAN_GEARMAND=10.0.0.7:4730\n").expect("room for settings");
    root.dpkg("--install", later_version(folder.path()));
    let settings = || fs::read_to_string(root.path(SETTINGS)).ok();
    assert_eq!(settings().as_deref(), Some("GMAN_GEARMAND=10.0.0.7:4730\n"));
    root.dpkg("--remove", PACKAGE);
    assert!(settings().is_some());
    root.dpkg("--purge", PACKAGE);
    assert_eq!(settings(), None);

    let calls = root.calls();
    assert!(
        calls.contains("deb-systemd-helper update-state gman-worker.service"),
        "{calls}"
    );
    for call in calls.lines() {
        let action = call.split_whitespace().nth(1);
        assert!(
            !matches!(action, Some("enable" | "start" | "restart")),
            "{call}"
        );
    }
}

#[test]
fn the_package_keeps_the_c_plugin_and_puts_it_back() {
    if !is_root() {
        unsupported!("dpkg wants to be root");
    }
    let root = Root::new();
    fs::write(root.library(), "the C plugin").expect("room for a file");
    let kept = root.library().with_extension("so.c-plugin");

    let said = root.dpkg("--install", package(".deb"));
    assert!(said.contains("kept "), "{said}");
    assert_eq!(
        fs::read_to_string(&kept).expect("the C plugin"),
        "the C plugin"
    );
    assert!(fs::metadata(root.library()).expect("ours").len() > 100_000);

    root.dpkg("--remove", PACKAGE);
    assert_eq!(
        fs::read_to_string(root.library()).expect("the C plugin"),
        "the C plugin"
    );
    assert!(!kept.exists());
}

#[test]
fn the_package_names_settings_that_would_keep_a_server_from_starting() {
    if !is_root() {
        unsupported!("dpkg wants to be root");
    }
    let root = Root::new();
    root.dpkg("--install", package(".deb"));
    let file = root.path("etc/mysql/gman.cnf");
    fs::create_dir_all(root.path("etc/mysql")).expect("a folder");
    fs::write(&file, "[mysqld]\ngman_servers = 127.0.0.1\n").expect("room for settings");
    let said = root.dpkg("--remove", PACKAGE);
    assert!(said.contains(&*file.to_string_lossy()), "{said}");
}
