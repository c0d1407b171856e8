//! A MySQL or MariaDB server.

use std::env;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mysql::prelude::{FromRow, FromValue, Queryable};
use mysql::{Conn, OptsBuilder};
use tempfile::{NamedTempFile, TempDir};

use super::clock::Clock;
use super::folder;
use super::library::{FILE_NAME, Library};
use super::own_disk;
use super::ports::Port;
use super::process::{Process, run};
use super::server_kind::ServerKind;

/// The name of a server's configuration file in its folder.
const CONFIGURATION: &str = "my.cnf";

/// The environment variable that names a library to be loaded into the server before all others:
/// a sanitizer's runtime, without which the server cannot load a library that was built for it.
const PRELOAD: &str = "GMAN_TEST_PRELOAD";

/// The database that connections start in.
const DATABASE: &str = "test";

/// What makes a server start fast and stay small. `innodb_flush_log_at_trx_commit=2` survives the
/// death of the server's process, though not of the machine.
const SMALL: [&str; 6] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=2",
    "--max-allowed-packet=128M",
];

/// A running server with a data directory and a plugin directory of its own, an account `root`
/// without a password, and an empty database `test`.
#[derive(Debug)]
pub(crate) struct Database {
    /// Before `folder`: the server ends before its files go.
    process: Process,
    kind: ServerKind,
    options: Vec<String>,
    surroundings: Surroundings,
    port: Port,
    folder: TempDir,
}

/// What a server finds around itself.
#[derive(Debug, Default)]
struct Surroundings {
    /// A folder with programs that it starts before all others.
    programs: Option<PathBuf>,
    /// Variables of its environment.
    variables: Vec<(&'static str, String)>,
    /// Whether its data is on a disk of its own.
    has_own_disk: bool,
}

/// A server that is about to be started.
#[derive(Debug)]
pub(crate) struct Builder {
    kind: ServerKind,
    options: Vec<String>,
    configuration: String,
    library: Option<&'static Library>,
    surroundings: Surroundings,
}

impl Builder {
    /// Puts a folder with programs that the server starts before all others.
    pub(crate) fn programs(mut self, folder: PathBuf) -> Self {
        self.surroundings.programs = Some(folder);
        self
    }

    /// Lets the server go by this clock.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.surroundings.variables.extend(clock.variables());
        self
    }

    /// Puts the data on a disk of its own, which [`Database::leave_room`] makes small; ask
    /// [`own_disk::problem`] first. Such a server cannot be restarted.
    pub(crate) fn own_disk(mut self) -> Self {
        self.surroundings.has_own_disk = true;
        self
    }

    /// Adds an option of the server, such as `--max-connections=10`; the last one of a name wins.
    pub(crate) fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Adds lines to the section `[mysqld]` of the server's configuration file.
    pub(crate) fn configuration(mut self, lines: &str) -> Self {
        self.configuration.push_str(lines);
        self.configuration.push('\n');
        self
    }

    /// Puts the shipped library into the plugin directory before the server starts.
    pub(crate) fn library(mut self) -> Self {
        self.library = Some(Library::release());
        self
    }

    pub(crate) fn start(self) -> Database {
        let folder = folder::temporary();
        configure(folder.path(), &self.configuration);
        let data = if self.surroundings.has_own_disk {
            "seed"
        } else {
            "data"
        };
        self.kind.make_data_directory(&folder.path().join(data));
        let plugins = folder.path().join("plugin");
        fs::create_dir(&plugins).unwrap_or_else(|error| panic!("{}: {error}", plugins.display()));
        if let Some(library) = self.library {
            copy_library(library, &plugins, FILE_NAME);
        }
        let port = Port::free();
        let surroundings = self.surroundings;
        let process = launch(
            &self.kind,
            folder.path(),
            &port,
            &self.options,
            &surroundings,
        );
        let mut database = Database {
            process,
            kind: self.kind,
            options: self.options,
            surroundings,
            port,
            folder,
        };
        database.wait_until_ready();
        database
    }
}

impl Database {
    /// Starts a server of the kind that the environment asks for.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> Builder {
        Self::builder_of(ServerKind::chosen())
    }

    /// As [`Database::builder`], for the MariaDB of this machine.
    pub(crate) fn local() -> Builder {
        Self::builder_of(ServerKind::local())
    }

    fn builder_of(kind: ServerKind) -> Builder {
        Builder {
            kind,
            options: Vec::new(),
            configuration: String::new(),
            library: None,
            surroundings: Surroundings::default(),
        }
    }

    /// Opens a session as root, in the database `test`.
    pub(crate) fn connect(&self) -> Conn {
        Conn::new(self.opts_in_test())
            .unwrap_or_else(|error| panic!("cannot connect to the database server: {error}"))
    }

    /// How to open such a session, also when the server is away for a while.
    pub(crate) fn opts_in_test(&self) -> OptsBuilder {
        self.opts().db_name(Some(DATABASE))
    }

    /// Runs `sql` in a session of its own and answers all rows.
    pub(crate) fn query<T: FromRow>(&self, sql: &str) -> Vec<T> {
        self.connect()
            .query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs `sql` in a session of its own and returns the first column of the first row.
    pub(crate) fn value<T: FromValue>(&self, sql: &str) -> T {
        self.try_value(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`Database::value`], for a statement that may fail.
    pub(crate) fn try_value<T: FromValue>(&self, sql: &str) -> mysql::Result<T> {
        let value = self.connect().query_first(sql)?;
        Ok(value.unwrap_or_else(|| panic!("{sql}: expected a row")))
    }

    /// Runs `sql` in a session of its own.
    pub(crate) fn execute(&self, sql: &str) {
        self.connect()
            .query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs a script with the `mariadb` client, as a user would, and returns what it printed.
    pub(crate) fn run_script(&self, script: &Path) -> String {
        let input =
            File::open(script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        run(self.client().stdin(Stdio::from(input)))
    }

    /// As [`Database::run_script`], for a script that is no file.
    pub(crate) fn run_text(&self, script: &str) -> String {
        let file = NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), script).expect("room for a script");
        self.run_script(file.path())
    }

    /// As [`Database::run_script`], for a script that may fail: returns what the client said.
    pub(crate) fn try_script(&self, script: &Path) -> Result<(), String> {
        let input =
            File::open(script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let output = self
            .client()
            .stdin(Stdio::from(input))
            .output()
            .unwrap_or_else(|error| panic!("cannot start the client: {error}"));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs a script that is no file, its comments included; returns what the client said if it fails.
    pub(crate) fn try_sql(&self, sql: &[u8]) -> Result<(), String> {
        let mut script = tempfile::NamedTempFile::new()
            .unwrap_or_else(|error| panic!("cannot make a temporary file: {error}"));
        script
            .write_all(sql)
            .unwrap_or_else(|error| panic!("{}: {error}", script.path().display()));
        self.try_script(script.path())
    }

    /// Runs `sql` with the `mariadb` client and returns the table that it draws.
    pub(crate) fn show(&self, sql: &str) -> String {
        run(self.client().arg(format!("--execute={sql}")))
    }

    /// What `mariadb-dump` writes with these arguments, byte for byte; or why it cannot: what it asks
    /// of a server are not all servers able to answer.
    pub(crate) fn dump(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = Command::new("mariadb-dump")
            .args(self.client_options())
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot start mariadb-dump: {error}"));
        let problem = String::from_utf8_lossy(&output.stderr);
        if problem.contains("Unknown column") {
            return Err("the mariadb-dump of this machine cannot dump this server".into());
        }
        assert!(output.status.success(), "mariadb-dump: {problem}");
        Ok(output.stdout)
    }

    /// Copies the shipped library into the plugin directory and runs `sql/install.sql`.
    pub(crate) fn install_functions(&self) {
        self.install_functions_of(Library::release());
    }

    /// As [`Database::install_functions`], from a library of the caller's choice.
    pub(crate) fn install_functions_of(&self, library: &Library) {
        self.copy_library(library, FILE_NAME);
        self.run_script(&product_file("sql/install.sql"));
    }

    /// Copies `library` into the plugin directory as `name`.
    pub(crate) fn copy_library(&self, library: &Library, name: &str) {
        copy_library(library, &self.plugin_dir(), name);
    }

    /// Changes the configuration file for the next start.
    pub(crate) fn configure(&self, lines: &str) {
        configure(self.folder.path(), lines);
    }

    /// All that the server and the library wrote to the error log.
    pub(crate) fn error_log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The resident memory of the server process.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.process.rss_bytes()
    }

    /// The options with which the `mariadb` client is root here.
    pub(crate) fn client_options(&self) -> [String; 3] {
        [
            "--no-defaults".into(),
            "--user=root".into(),
            format!("--socket={}", self.socket().display()),
        ]
    }

    /// The processor time that the server process has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// How many threads the server process has.
    pub(crate) fn threads(&self) -> usize {
        self.process.threads()
    }

    /// How many sockets the server process has open.
    pub(crate) fn sockets(&self) -> usize {
        self.process.sockets()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.folder.path().join("plugin")
    }

    /// Stops the server in order, if it runs, and starts it again on its data and port.
    pub(crate) fn restart(&mut self) {
        self.shutdown();
        self.process = launch(
            &self.kind,
            self.folder.path(),
            &self.port,
            &self.options,
            &self.surroundings,
        );
        self.wait_until_ready();
    }

    /// As [`Database::restart`], with options that only this start has.
    pub(crate) fn restart_with(&mut self, options: &[&str]) {
        let before = self.options.clone();
        self.options.extend(options.iter().map(ToString::to_string));
        self.restart();
        self.options = before;
    }

    /// Makes the server's own disk so small that it has room for so many bytes more.
    pub(crate) fn leave_room(&self, bytes: u64) {
        own_disk::leave_room(self.pid(), &self.data_dir(), bytes);
    }

    /// Stops the server in order.
    pub(crate) fn shutdown(&mut self) {
        if let Err(error) = self.process.stop() {
            panic!("cannot stop the database server: {error}");
        }
    }

    /// Ends the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// A node of a cluster accepts connections before it takes statements.
    fn wait_until_ready(&mut self) {
        let opts = self.opts();
        let create = format!("CREATE DATABASE IF NOT EXISTS {DATABASE}");
        self.process.wait_until_ready(|| {
            Conn::new(opts.clone()).and_then(|mut session| session.query_drop(&create))
        });
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args(self.client_options())
            .args(["--table", "--comments", DATABASE]);
        client
    }

    fn opts(&self) -> OptsBuilder {
        OptsBuilder::new()
            .user(Some("root"))
            .socket(Some(self.socket().display().to_string()))
    }
}

/// A file of the product, by its path in the repository.
pub(crate) fn product_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Copies `library` into a plugin directory as `name`.
fn copy_library(library: &Library, plugins: &Path, name: &str) {
    let target = plugins.join(name);
    let unfinished = plugins.join(format!("{name}.new"));
    // Renamed, not overwritten: the server may have the old file mapped.
    fs::copy(library.path(), &unfinished)
        .and_then(|_| fs::rename(&unfinished, &target))
        .unwrap_or_else(|error| panic!("cannot copy the library to {target:?}: {error}"));
}

fn configure(folder: &Path, lines: &str) {
    let file = folder.join(CONFIGURATION);
    fs::write(&file, format!("[mysqld]\n{lines}\n"))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

fn launch(
    kind: &ServerKind,
    folder: &Path,
    port: &Port,
    options: &[String],
    surroundings: &Surroundings,
) -> Process {
    let place = |name: &str| folder.join(name);
    let mut command = kind.server(&folder.join(CONFIGURATION), &folder.join("data"));
    command
        .args(SMALL)
        .arg(format!("--port={}", port.number()))
        .arg(format!("--socket={}", place("sock").display()))
        .arg(format!("--pid-file={}", place("pid").display()))
        .arg(format!("--plugin-dir={}", place("plugin").display()))
        .arg(format!("--tmpdir={}", folder.display()))
        .args(options);
    if let Some(programs) = &surroundings.programs {
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
    }
    if let Some(library) = env::var_os(PRELOAD) {
        command.env("LD_PRELOAD", library);
    }
    for (name, value) in &surroundings.variables {
        command.env(name, value);
    }
    if surroundings.has_own_disk {
        command = own_disk::starting(&command, &place("data"), &place("seed"));
    }
    Process::start(command, &folder.join("log"))
}
