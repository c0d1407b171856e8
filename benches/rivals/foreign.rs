//! The rivals in other languages: their packages are installed into the build folder when they are first needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{build_folder, product_file};

/// The file that names what was installed; written last.
const INSTALLED: &str = "installed";

/// `python reader.py`; or why there is none.
pub(crate) fn python() -> Result<Command, String> {
    let wanted = source("requirements.txt");
    let folder = prepared("python", &wanted, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(&wanted))
    })?;
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(source("reader.py"));
    Ok(command)
}

/// `node zongji.mjs`; or why there is none.
pub(crate) fn node() -> Result<Command, String> {
    let wanted = source("package.json");
    let folder = prepared("node", &wanted, |folder| {
        copy(&wanted, &folder.join("package.json"))?;
        run(Command::new("npm")
            .args(["install", "--no-package-lock", "--no-audit", "--no-fund"])
            .current_dir(folder))
    })?;
    // Beside node_modules, where its imports are looked for.
    let program = folder.join("zongji.mjs");
    copy(&source("zongji.mjs"), &program)?;
    let mut command = Command::new("node");
    command.arg(program);
    Ok(command)
}

fn source(name: &str) -> PathBuf {
    product_file("benches/rivals").join(name)
}

/// The folder of this name, in which `install` is run unless it has been for the same file of wishes.
fn prepared(
    name: &str,
    wanted: &Path,
    install: impl Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = build_folder().join("rivals").join(name);
    let installed = folder.join(INSTALLED);
    let read = |path: &Path| fs::read(path).ok();
    if read(&installed).is_none() || read(&installed) != read(wanted) {
        let problem = |error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(problem)?;
        install(&folder)?;
        copy(wanted, &installed)?;
    }
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", to.display())),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let output = command.output();
    let output = output
        .map_err(|error| format!("{name}: {error}; scripts/deps rivals installs what is needed"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it said nothing");
    Err(format!("{name} failed ({}): {line}", output.status))
}
