//! The lines of a server's configuration that load the plugin and name the job servers.

use std::path::{Path, PathBuf};

use gearman_mysql_udf::installation::CONFIGURATION;

use super::files;
use crate::error::{Error, Result};
use crate::whole_file;

/// The job servers that the fragment names.
const EXAMPLE: &str = "127.0.0.1:4730";

const FILE: &str = "gman.cnf";

/// Where servers look for further option files: MariaDB of Debian, MySQL of Debian, Red Hat.
const FOLDERS: [&str; 3] = [
    "/etc/mysql/mariadb.conf.d",
    "/etc/mysql/conf.d",
    "/etc/my.cnf.d",
];

/// The first versions with plugins like ours.
const FIRST_MARIADB: (u32, u32) = (10, 2);
const FIRST_MYSQL: (u32, u32) = (8, 0);

/// Writes the fragment to the file that was named, or where this machine's servers look for it.
pub(super) fn write(file: Option<&Path>, job_servers: Option<&str>) -> Result<PathBuf> {
    let file = match file {
        Some(file) => file.to_owned(),
        None => usual_folder()?.join(FILE),
    };
    if file.exists() && !is_ours(&file) {
        let file = file.display();
        return Err(Error::failed(format!(
            "{file} is there already and not written by gman; name another file with --config=FILE"
        )));
    }
    let text = CONFIGURATION.replace(EXAMPLE, job_servers.unwrap_or(EXAMPLE));
    files::replace(&file, text.as_bytes())?;
    Ok(file)
}

/// Refuses a server that cannot load the plugin.
pub(super) fn require_plugin(version: &str) -> Result {
    let mut numbers = version
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (server, first) = match version.contains("MariaDB") {
        true => ("MariaDB", FIRST_MARIADB),
        false => ("MySQL", FIRST_MYSQL),
    };
    if found < first {
        let (major, minor) = first;
        return Err(Error::failed(format!(
            "--config is for {server} {major}.{minor} and later, and this is {version}, which has the \
             functions but no plugin; put gman_servers_set into its init_file"
        )));
    }
    Ok(())
}

/// Fragments that we have written, in the usual folders.
pub(super) fn written() -> Vec<PathBuf> {
    let files = FOLDERS.iter().map(|folder| Path::new(folder).join(FILE));
    files.filter(|file| is_ours(file)).collect()
}

fn usual_folder() -> Result<&'static Path> {
    let mut folders = FOLDERS.iter().map(Path::new);
    folders.find(|folder| folder.is_dir()).ok_or_else(|| {
        Error::usage(format!(
            "--config: this machine has none of {}; name a file with --config=FILE",
            FOLDERS.join(", ")
        ))
    })
}

fn is_ours(file: &Path) -> bool {
    let first_line = CONFIGURATION.lines().next().unwrap_or_default();
    whole_file::read(file).is_ok_and(|text| text.starts_with(first_line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_fragment_is_written_again_and_takes_no_other_files_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gman.cnf");
        for servers in ["10.0.0.7:4730,10.0.0.8:4730", "10.0.0.9:4730"] {
            write(Some(&file), Some(servers)).expect("the fragment");
            let text = fs::read_to_string(&file).expect("the fragment");
            assert!(
                text.contains(&format!("loose-gman_servers = {servers}\n")),
                "{text}"
            );
        }
        fs::write(&file, "[mysqld]\nport=1\n").expect("room for a file");
        assert!(write(Some(&file), None).is_err());
    }

    #[test]
    fn the_fragment_is_for_servers_with_the_plugin() {
        for version in [
            "10.2.44-MariaDB",
            "10.11.19-MariaDB-0+deb12u1",
            "8.0.19",
            "9.7.4",
        ] {
            assert!(require_plugin(version).is_ok(), "{version}");
        }
        for version in ["10.1.48-MariaDB", "5.7.44-log", "5.6.24", "x"] {
            assert!(require_plugin(version).is_err(), "{version}");
        }
    }
}
