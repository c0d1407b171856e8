//! What is asked of the database server.

use std::path::{Path, PathBuf};

use mysql::Conn;
use mysql::prelude::{FromRow, FromValue};

use super::files::LIBRARY;
use super::report::Report;
use super::script;
use crate::connections::{Ask, MysqlOptions, refused};
use crate::error::{Error, Result};

/// Errors of an account that may not do what it tries: `ER_DBACCESS_DENIED_ERROR`,
/// `ER_TABLEACCESS_DENIED_ERROR`, `ER_SPECIFIC_ACCESS_DENIED_ERROR`, `ER_PROCACCESS_DENIED_ERROR`.
const NOT_ALLOWED: [u16; 4] = [1044, 1142, 1227, 1370];

/// `ER_CANT_FIND_DL_ENTRY`: the library that the server has open lacks a symbol or a plugin. It may be
/// another one, which has had this name before.
pub(super) const NO_SUCH_SYMBOL: u16 = 1127;

/// `ER_PLUGIN_CANNOT_BE_UNINSTALLED` of MySQL.
const IN_USE: u16 = 1883;

/// The plugins of the library, in the order in which they are installed: that of the settings first.
/// They are removed in reverse, so first the one that a server may keep.
pub(super) const PLUGINS: [&str; 3] = ["gman", "gman_legacy", "gman_commit"];

/// A session in the server.
pub(super) struct Server {
    session: Conn,
    /// Whence it takes libraries.
    pub(super) plugin_dir: PathBuf,
    pub(super) version: String,
}

impl Server {
    /// Connects, and says to what.
    pub(super) fn open(options: &MysqlOptions, report: &mut Report) -> Result<Self> {
        let mut server = Self {
            session: options.connect()?,
            plugin_dir: PathBuf::new(),
            version: String::new(),
        };
        server.version = server.value("read the version", "SELECT VERSION()")?;
        let folder: String = server.value("read plugin_dir", "SELECT @@plugin_dir")?;
        report.did(format!(
            "server {}, plugin directory {folder}",
            server.version
        ))?;
        server.plugin_dir = Path::new(&folder).components().collect();
        if !server.plugin_dir.is_dir() {
            return Err(Error::failed(format!(
                "the plugin directory {folder} is not here; run this on the machine of the server"
            )));
        }
        Ok(server)
    }

    pub(super) fn query<T: FromRow>(&mut self, what: &str, sql: &str) -> Result<Vec<T>> {
        let rows = self.session.ask(sql);
        rows.map_err(|error| failed(what, &error))
    }

    pub(super) fn execute(&mut self, what: &str, sql: &str) -> Result {
        let done = self.session.run(sql);
        done.map_err(|error| failed(what, &error))
    }

    /// The first column of the first row.
    pub(super) fn value<T: FromValue>(&mut self, what: &str, sql: &str) -> Result<T> {
        let value = self.session.ask_first(sql);
        let value = value.map_err(|error| failed(what, &error))?;
        value.ok_or_else(|| Error::failed(format!("cannot {what}: the server answers nothing")))
    }

    /// Runs one of our SQL files.
    pub(super) fn run_script(&mut self, text: &str) -> mysql::Result<()> {
        script::run(&mut self.session, text)
    }

    /// The functions that the server has under our names, each with the file it takes them from.
    pub(super) fn functions(&mut self) -> Result<Vec<(String, String)>> {
        let sql = format!(
            "SELECT name, dl FROM mysql.func WHERE LOWER(name) IN ({}) ORDER BY name",
            quoted_names()
        );
        let found: Vec<(String, String)> = self.query("read mysql.func", &sql)?;
        // The server takes libraries from its plugin directory alone: a path is nothing to follow.
        Ok(found
            .into_iter()
            .filter(|(_, file)| !file.contains('/'))
            .collect())
    }

    /// The files, ours aside, from which the server takes functions of our names.
    pub(super) fn foreign_libraries(&mut self) -> Result<Vec<String>> {
        let functions = self.functions()?;
        let mut files: Vec<String> = functions.into_iter().map(|(_, file)| file).collect();
        files.retain(|file| file != LIBRARY);
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Functions of a file that ours has not.
    pub(super) fn strangers(&mut self, file: &str) -> Result<Vec<String>> {
        let file = file.replace('\\', "\\\\").replace('\'', "''");
        let sql = format!(
            "SELECT name FROM mysql.func WHERE dl = '{file}' AND LOWER(name) NOT IN ({})",
            quoted_names()
        );
        self.query("read mysql.func", &sql)
    }

    /// The plugins of ours that the server has.
    pub(super) fn plugins(&mut self) -> Result<Vec<&'static str>> {
        let names: Vec<String> = self.query(
            "read the list of plugins",
            "SELECT plugin_name FROM information_schema.plugins",
        )?;
        let mut ours = PLUGINS.to_vec();
        ours.retain(|ours| names.iter().any(|name| name == ours));
        Ok(ours)
    }

    /// Installs a plugin; `false` if the library has none of this name for this server.
    pub(super) fn install_plugin(&mut self, plugin: &str) -> Result<bool> {
        let sql = format!("INSTALL PLUGIN {plugin} SONAME '{LIBRARY}'");
        match self.session.run(&sql) {
            Ok(()) => Ok(true),
            Err(mysql::Error::MySqlError(error)) if error.code == NO_SUCH_SYMBOL => Ok(false),
            Err(error) => Err(failed(&format!("install the plugin {plugin}"), &error)),
        }
    }

    /// Removes a plugin.
    pub(super) fn uninstall_plugin(&mut self, plugin: &str) -> Result {
        let sql = format!("UNINSTALL PLUGIN {plugin}");
        match self.session.run(&sql) {
            Ok(()) => Ok(()),
            Err(mysql::Error::MySqlError(error)) if error.code == IN_USE => {
                Err(Error::failed(format!(
                    "the server keeps the plugin {plugin} while sessions that have used it are \
                     connected: SET GLOBAL gman_delivery = 'acked', let the applications connect \
                     anew, then run this again"
                )))
            }
            Err(error) => Err(failed(&format!("uninstall the plugin {plugin}"), &error)),
        }
    }
}

/// Our functions as an SQL list.
fn quoted_names() -> String {
    let names: Vec<String> = script::function_names()
        .iter()
        .map(|name| format!("'{name}'"))
        .collect();
    names.join(",")
}

/// What a statement failed for.
pub(super) fn failed(what: &str, error: &mysql::Error) -> Error {
    let problem = refused(what, error);
    match error {
        mysql::Error::MySqlError(error) if NOT_ALLOWED.contains(&error.code) => {
            Error::failed(format!(
                "{}; the account needs all privileges on the schema mysql",
                problem.text()
            ))
        }
        _ => problem,
    }
}
