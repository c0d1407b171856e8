//! What `scripts/package` makes: installed, replaced under a running server, and removed.

mod c_plugins;
mod callers;
mod deb;
mod linked_crates;
mod tarball;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{
    Database, FILE_NAME, Gearmand, Library, build_folder, gman_program, product_file, run,
};

/// The name of the command in the packages.
const COMMAND: &str = "gman";

/// The folder with what `scripts/package` makes of the library under test, and nothing else.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let folder = build_folder().join("test-packages");
        let _ = fs::remove_dir_all(&folder);
        let built = folder.join("built");
        fs::create_dir_all(&built).expect("a folder under target");
        copy(Library::release().path(), &built.join(FILE_NAME));
        copy(gman_program(), &built.join(COMMAND));
        let made = folder.join("made");
        run(Command::new(product_file("scripts/package"))
            .arg("--from")
            .arg(&built)
            .arg("--to")
            .arg(&made));
        made
    })
}

/// The one package whose name ends like that.
fn package(ending: &str) -> PathBuf {
    let files = fs::read_dir(packages()).expect("the packages");
    files
        .map(|file| file.expect("a package").path())
        .find(|path| path.to_string_lossy().ends_with(ending))
        .unwrap_or_else(|| panic!("scripts/package made no {ending}"))
}

/// The unpacked tarball.
struct Tarball {
    folder: TempDir,
}

impl Tarball {
    fn unpack() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(package(".tar.gz"))
            .arg("--directory")
            .arg(folder.path()));
        Self { folder }
    }

    /// The same, of a version that differs from all before in its library's bytes, though not in
    /// what it does.
    fn another_version() -> Self {
        let tarball = Self::unpack();
        change(&tarball.library());
        tarball
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join(FILE_NAME)
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join(COMMAND)
    }

    /// Runs `gman install` for this server; returns what it said.
    fn install(&self, database: &Database, options: &[&str]) -> String {
        let output = self.try_install(database, options);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    fn try_install(&self, database: &Database, options: &[&str]) -> Output {
        gman(&self.program(), "install", database, options)
    }

    /// Runs `gman uninstall` for this server; returns what it said.
    fn uninstall(&self, database: &Database, options: &[&str]) -> String {
        let output = self.try_uninstall(database, options);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    fn try_uninstall(&self, database: &Database, options: &[&str]) -> Output {
        gman(&self.program(), "uninstall", database, options)
    }
}

/// Runs a `gman SUBCOMMAND` for this server.
fn gman(program: &Path, subcommand: &str, database: &Database, options: &[&str]) -> Output {
    Command::new(program)
        .arg(subcommand)
        .args(options)
        .arg("--defaults-file=/dev/null")
        .arg(format!(
            "--mysql=mysql://root@localhost?socket={}",
            database.socket().display()
        ))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

/// Appends to a library what no loader looks at.
fn change(library: &Path) {
    let mut bytes = fs::read(library).expect("a library");
    bytes.push(0);
    fs::write(library, bytes).expect("room for a library");
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// Whether the server process has this very file mapped, and not another one of the same name.
fn has_mapped(database: &Database, file: &Path) -> bool {
    let inode = fs::metadata(file).expect("a library").ino().to_string();
    let maps = format!("/proc/{}/maps", database.pid());
    let maps = fs::read_to_string(&maps).unwrap_or_else(|error| panic!("{maps}: {error}"));
    maps.lines()
        .filter(|line| line.contains(FILE_NAME))
        .any(|line| line.split_whitespace().nth(4) == Some(&inode))
}

fn set_servers(database: &Database, gearmand: &Gearmand) {
    let address = gearmand.address();
    let answer: String = database.value(&format!("SELECT gman_servers_set('{address}')"));
    assert_eq!(answer, address);
}

/// The functions that the server has from one of our libraries or the C plugins.
fn functions(database: &Database) -> Vec<String> {
    database.query(
        "SELECT name FROM mysql.func \
         WHERE name LIKE 'gman%' OR name LIKE 'json%' OR name LIKE 'lib%' ORDER BY name",
    )
}
