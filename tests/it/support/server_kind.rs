//! The kinds of database server that tests run on, and how each is started.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;

/// The environment variable that names the kind of server to test on: `local`, or one of
/// `scripts/servers --list`.
const CHOICE: &str = "GMAN_TEST_SERVER";

/// The environment variable that names the folder of `scripts/servers`, if it is not the default.
const PREPARED: &str = "GMAN_SERVERS_DIR";

/// The option that keeps a server away from the machine's own configuration.
const NO_CONFIGURATION: &str = "--no-defaults";

/// One kind of server, as data.
#[derive(Debug, Clone)]
pub(crate) struct ServerKind {
    /// As in [`CHOICE`].
    pub(crate) name: String,
    /// What runs the server when options are added to it. Paths in the options mean what they mean
    /// to this process, also for a server that is entered by chroot.
    command: Vec<String>,
    data: DataDirectory,
}

/// How an empty data directory comes to be.
#[derive(Debug, Clone)]
enum DataDirectory {
    /// Made once for each version of the server by MariaDB's program of this name.
    InstallDb(&'static str),
    /// There is one to be copied.
    Copy(PathBuf),
}

impl ServerKind {
    /// The kind that the environment asks for; by default the MariaDB of this machine.
    pub(crate) fn chosen() -> Self {
        match env::var(CHOICE).as_deref() {
            Err(_) | Ok("local") => Self::local(),
            Ok(name) => Self::prepared(name),
        }
    }

    /// The MariaDB on the PATH.
    pub(crate) fn local() -> Self {
        let mut command = vec!["mariadbd".into(), NO_CONFIGURATION.into()];
        if nix::unistd::geteuid().is_root() {
            command.push("--user=root".into());
        }
        // So that a data directory is soon copied.
        command.push("--innodb-log-file-size=4M".into());
        Self {
            name: "local".into(),
            command,
            data: DataDirectory::InstallDb("mariadb-install-db"),
        }
    }

    /// One that `scripts/servers` has prepared.
    pub(crate) fn prepared(name: &str) -> Self {
        let folder = prepared_folder(name);
        assert!(
            folder.join("version").is_file(),
            "{CHOICE}={name}: nothing is prepared in {}; run: scripts/servers {name}",
            folder.display()
        );
        Self {
            name: name.into(),
            command: vec![folder.join("mysqld").display().to_string()],
            data: DataDirectory::Copy(folder.join("data")),
        }
    }

    /// The server's command with the options that say where its configuration and its data live.
    pub(crate) fn server(&self, configuration: &Path, data: &Path) -> Command {
        let configuration = format!("--defaults-file={}", configuration.display());
        let mut command = Command::new(&self.command[0]);
        // It has to come first. What scripts/servers makes puts it there.
        command.env("GMAN_DEFAULTS", &configuration);
        command.args(self.command[1..].iter().map(|word| match word.as_str() {
            NO_CONFIGURATION => &configuration,
            _ => word,
        }));
        command.arg(datadir(data));
        command
    }

    /// A plugin that the server brings, by the name of its file; `None` if there is none, or if it is not known
    /// where it would be.
    pub(crate) fn plugin(&self, file: &str) -> Option<PathBuf> {
        let plugins = prepared_folder(&self.name).join("root/usr/lib/mysql/plugin");
        Some(plugins.join(file)).filter(|plugin| plugin.is_file())
    }

    /// Puts an empty data directory at `target`.
    pub(crate) fn make_data_directory(&self, target: &Path) {
        match &self.data {
            DataDirectory::InstallDb(program) => copy(&self.template(program), target),
            DataDirectory::Copy(source) => copy(source, target),
        }
    }

    /// Making a data directory takes seconds, so one for each version of the server is kept under
    /// `target/`.
    fn template(&self, install_db: &str) -> PathBuf {
        let templates = build_folder().join("test-servers");
        fs::create_dir_all(&templates)
            .unwrap_or_else(|error| panic!("{}: {error}", templates.display()));
        let template = templates.join(format!("{}-{}", self.name, self.version()));
        let _lock = File::create(templates.join(format!("{}.lock", self.name)))
            .and_then(|lock| lock.lock().map(|()| lock))
            .unwrap_or_else(|error| panic!("cannot lock {}: {error}", templates.display()));
        if !template.exists() {
            // Only a complete one appears under its name.
            let unfinished = template.with_extension("new");
            let _ = fs::remove_dir_all(&unfinished);
            run(Command::new(install_db)
                .args(&self.command[1..])
                .arg(datadir(&unfinished))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                // Also where the machine's name does not resolve, as in a bare container.
                .arg("--force"));
            fs::rename(&unfinished, &template)
                .unwrap_or_else(|error| panic!("{}: {error}", template.display()));
        }
        template
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }

    /// What the server says of its version, fit for a file name.
    fn version(&self) -> String {
        let text = run(self.command().arg("--version"));
        let version = text.split("Ver ").nth(1).unwrap_or(&text);
        let word = version.split_whitespace().next().unwrap_or("unknown");
        word.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-")
    }
}

/// Where `scripts/servers` prepares `name`, and `scripts/gearmand-tls` what it builds.
pub(crate) fn prepared_folder(name: &str) -> PathBuf {
    env::var_os(PREPARED)
        .map_or_else(|| build_folder().join("servers"), PathBuf::from)
        .join(name)
}

/// Where cargo builds.
pub(crate) fn build_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    )
}

fn datadir(path: &Path) -> String {
    format!("--datadir={}", path.display())
}

/// Copies a folder with its owners and modes; zeros, which are most of it, take no room.
fn copy(source: &Path, target: &Path) {
    run(Command::new("cp")
        .args(["-a", "--reflink=auto", "--sparse=always"])
        .arg(source)
        .arg(target));
}
