//! The kinds of database server that tests run on, and how each is installed and started.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::run;

/// The environment variable that names the kind of server to test on.
const CHOICE: &str = "GMAN_TEST_SERVER";

/// One kind of server, as data: adding one adds a value, not a branch.
#[derive(Debug, Clone)]
pub(crate) struct ServerKind {
    /// As in [`CHOICE`].
    pub(crate) name: &'static str,
    /// The tree that the server is entered in by chroot(1); its data must live there too.
    pub(crate) root: Option<PathBuf>,
    /// The server's program, as seen from inside the root.
    pub(crate) program: PathBuf,
    /// How an empty data directory comes to be.
    pub(crate) data: DataDirectory,
    /// Options for the server and for making its data directory.
    pub(crate) options: Vec<String>,
    /// Environment variables for both.
    pub(crate) environment: Vec<(String, String)>,
}

/// How an empty data directory comes to be.
#[derive(Debug, Clone)]
pub(crate) enum DataDirectory {
    /// MariaDB: by this program, `mariadb-install-db`.
    InstallDb(PathBuf),
    /// MySQL 5.7 and later: by the server itself.
    InitializeInsecure,
    /// An installation brings one along: by copying this folder.
    Copy(PathBuf),
}

impl ServerKind {
    /// The kind that the environment asks for; by default the MariaDB of this machine.
    pub(crate) fn chosen() -> Self {
        match env::var(CHOICE).as_deref() {
            Err(_) | Ok("local") => Self::local(),
            Ok(other) => panic!("{CHOICE}={other}: expected one of: local"),
        }
    }

    /// The MariaDB on the PATH.
    pub(crate) fn local() -> Self {
        Self {
            name: "local",
            root: None,
            program: "mariadbd".into(),
            data: DataDirectory::InstallDb("mariadb-install-db".into()),
            options: vec!["--innodb-log-file-size=4M".into()],
            environment: Vec::new(),
        }
    }

    /// A temporary folder that the server can reach. Short, as a socket's path has 107 bytes.
    pub(crate) fn temporary_folder(&self) -> TempDir {
        let parent = match &self.root {
            Some(root) => root.join("tmp"),
            None => env::temp_dir(),
        };
        tempfile::Builder::new()
            .prefix("gman-")
            .tempdir_in(&parent)
            .unwrap_or_else(|error| panic!("{}: {error}", parent.display()))
    }

    /// The command that runs `program` of this installation.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match &self.root {
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `path` as the server sees it.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => {
                let inner = path
                    .strip_prefix(root)
                    .unwrap_or_else(|_| panic!("{} is not in {}", path.display(), root.display()));
                Path::new("/").join(inner)
            }
            None => path.to_owned(),
        }
    }

    /// The server's command with the options that say where its data lives.
    pub(crate) fn server(&self, data: &Path) -> Command {
        let mut command = self.command(&self.program);
        command.args(self.common_options(data));
        command
    }

    /// Puts an empty data directory at `target`.
    ///
    /// Making one takes seconds, so a template for each version of the server is kept under
    /// `target/` and copied.
    pub(crate) fn make_data_directory(&self, target: &Path) {
        let templates = build_folder().join("test-servers");
        fs::create_dir_all(&templates)
            .unwrap_or_else(|error| panic!("{}: {error}", templates.display()));
        let template = templates.join(format!("{}-{}", self.name, self.version()));
        let lock = File::create(templates.join(format!("{}.lock", self.name)))
            .and_then(|lock| lock.lock().map(|()| lock))
            .unwrap_or_else(|error| panic!("cannot lock {}: {error}", templates.display()));
        if !template.exists() {
            self.make_template(&template);
        }
        drop(lock);
        copy(&template, target);
    }

    fn make_template(&self, template: &Path) {
        let folder = self.temporary_folder();
        let data = folder.path().join("data");
        match &self.data {
            DataDirectory::InstallDb(program) => {
                run(self
                    .command(program)
                    .args(self.common_options(&data))
                    .args(["--auth-root-authentication-method=normal", "--skip-test-db"]));
            }
            DataDirectory::InitializeInsecure => {
                run(self.server(&data).arg("--initialize-insecure"));
            }
            DataDirectory::Copy(source) => copy(source, &data),
        }
        // Only a complete one appears under its name.
        let unfinished = template.with_extension("new");
        let _ = fs::remove_dir_all(&unfinished);
        copy(&data, &unfinished);
        fs::rename(&unfinished, template)
            .unwrap_or_else(|error| panic!("{}: {error}", template.display()));
    }

    fn common_options(&self, data: &Path) -> Vec<String> {
        let mut options = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", self.inside(data).display()),
        ];
        if nix::unistd::geteuid().is_root() {
            options.push("--user=root".to_owned());
        }
        options.extend(self.options.iter().cloned());
        options
    }

    /// What the server says of its version, fit for a file name.
    fn version(&self) -> String {
        let text = run(self
            .command(&self.program)
            .args(["--no-defaults", "--version"]));
        let version = text.split("Ver ").nth(1).unwrap_or(&text);
        let word = version.split_whitespace().next().unwrap_or("unknown");
        word.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-")
    }
}

/// Where cargo builds.
pub(crate) fn build_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    )
}

/// Copies a folder with its owners and modes.
fn copy(source: &Path, target: &Path) {
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(source)
        .arg(target));
}
