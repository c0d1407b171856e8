//! `gman install`.

use std::path::{Path, PathBuf};

use clap::Args;
use gearman_mysql_udf::installation::{FUNCTIONS, JSON_NAMES};

use super::configuration;
use super::files::{self, LIBRARY};
use super::report::Report;
use super::server::{self, NO_SUCH_SYMBOL, PLUGINS, Server};
use crate::connections::{self, MysqlOptions};
use crate::error::{Error, Result};

/// Put the library into the database server of this machine and create its functions
///
/// Safe to run again: that is how a new version is installed, or an old one. A running server keeps
/// the library that it has loaded until its next start.
///
/// The account of the database needs all privileges on the schema mysql; this command, those of the
/// server's plugin directory.
#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    mysql: MysqlOptions,

    /// The library; without this, the one beside this program or in Debian's plugin directory
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets in help are no links"
    )]
    /// Name the job servers: host:port,[::1]:4730,... Lasts until the server's next start, or for
    /// good with --config
    #[arg(long, env = "GMAN_GEARMAND", value_name = "LIST", value_parser = job_servers)]
    gearmand: Option<String>,

    /// Also install the library's plugins now, those that this server can have: settings and counters,
    /// and delivery at commit
    #[arg(long, conflicts_with = "config")]
    plugin: bool,

    /// Write the lines that load the plugins at every start of the server to a file for its
    /// configuration, such as /etc/mysql/mariadb.conf.d/gman.cnf
    #[arg(long, value_name = "FILE", require_equals = true)]
    config: Option<Option<PathBuf>>,

    /// Also create json_object and json_array, where the server leaves these names free
    #[arg(long)]
    json_names: bool,

    /// Take the place of the C plugins from the server's next start; functions and triggers stay as
    /// they are, and the files are kept as FILE.c-plugin
    #[arg(long)]
    replace_c_plugins: bool,

    /// Print JSON once it is done: what was done, what the server has now, what is left to do
    #[arg(long)]
    json: bool,
}

/// Reads a list and writes it again: nothing but names, addresses and ports gets into SQL.
fn job_servers(list: &str) -> std::result::Result<String, String> {
    let servers = connections::job_servers(list)?;
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Ok(servers.join(","))
}

/// Installs, and says what it did and what is still to be done.
pub(crate) fn install(options: &Install) -> Result {
    let source = files::source(options.library.as_deref())?;
    let mut report = Report::new(options.json);
    let mut server = Server::open(&options.mysql, &mut report)?;
    if options.config.is_some() {
        configuration::require_plugin(&server.version)?;
    }
    put_library(&server, &source, options.replace_c_plugins, &mut report)?;
    if options.replace_c_plugins {
        replace_c_plugins(&mut server, &mut report)?;
    } else {
        mention_c_plugins(&mut server, &mut report)?;
    }
    let is_complete = create_functions(&mut server, &mut report)?;
    if is_complete {
        finish(&mut server, options, &mut report)?;
    }
    let written = match &options.config {
        Some(file) => {
            let servers = options.gearmand.as_deref();
            let file = configuration::write(file.as_deref(), servers)?;
            report.did(format!("wrote {}", file.display()))?;
            true
        }
        None => false,
    };
    if files::is_open_to_all(&server.plugin_dir) {
        let folder = server.plugin_dir.display();
        report.left(format!(
            "take the right to write to {folder} from all users, who can run code in the server with it: \
             chmod o-w"
        ));
    }
    report.plugins = server.plugins()?.into_iter().map(str::to_owned).collect();
    say_what_is_left(options, is_complete, written, &mut report);
    report.end()
}

/// What needs all functions.
fn finish(server: &mut Server, options: &Install, report: &mut Report) -> Result {
    if options.json_names {
        let created = server.run_script(JSON_NAMES);
        created.map_err(|error| server::failed("create json_object and json_array", &error))?;
    }
    if options.plugin {
        install_plugins(server, report)?;
    }
    if let Some(servers) = &options.gearmand {
        let sql = format!("SELECT gman_servers_set('{servers}')");
        let set: String = server.value("set the job servers", &sql)?;
        report.did(format!("job servers: {set}"))?;
    }
    Ok(())
}

fn put_library(server: &Server, source: &Path, replace: bool, report: &mut Report) -> Result {
    let target = server.plugin_dir.join(LIBRARY);
    if files::is_same(source, &target) {
        return report.did(format!("{LIBRARY} is there, as the package has it"));
    }
    if files::is_safe(&target) && files::is_equal(source, &target) {
        return report.did(format!("{LIBRARY} is there already"));
    }
    if target.exists() && !files::is_ours(&target) {
        if !replace {
            let target = target.display();
            return Err(Error::failed(format!(
                "{target} is the C plugin; use --replace-c-plugins to take its place"
            )));
        }
        report.did(files::keep(&target)?)?;
    }
    files::replace(&target, &files::read(source)?)?;
    report.did(format!("copied {LIBRARY}"))
}

fn mention_c_plugins(server: &mut Server, report: &mut Report) -> Result {
    for library in server.foreign_libraries()? {
        if !files::is_link_to_ours(&server.plugin_dir.join(&library)) {
            report.did(format!(
                "{library} has functions of these names: --replace-c-plugins takes its place"
            ))?;
        }
    }
    Ok(())
}

fn replace_c_plugins(server: &mut Server, report: &mut Report) -> Result {
    for library in server.foreign_libraries()? {
        let file = server.plugin_dir.join(&library);
        if files::is_link_to_ours(&file) {
            continue;
        }
        let strangers = server.strangers(&library)?;
        if !strangers.is_empty() {
            let strangers = strangers.join(", ");
            return Err(Error::failed(format!(
                "{library} has other functions too: {strangers}; drop them, or leave it in place"
            )));
        }
        if file.exists() {
            // The server says that it is one: a server of somebody else's may name anything.
            if !files::is_library(&file) {
                return Err(Error::failed(format!(
                    "{} is no library, though the server has functions from it; is this the server that \
                     you mean?",
                    file.display()
                )));
            }
            report.did(files::keep(&file)?)?;
        }
        // One file behind all names: they share their settings and connections, and an upgrade is one.
        files::link_to_ours(&file)?;
        report.did(format!("{library} is {LIBRARY} now"))?;
    }
    Ok(())
}

/// Whether the server has all functions now.
fn create_functions(server: &mut Server, report: &mut Report) -> Result<bool> {
    match server.run_script(FUNCTIONS) {
        Ok(()) => {}
        Err(mysql::Error::MySqlError(error)) if error.code == NO_SUCH_SYMBOL => {
            let what = "drop the procedure mysql.gman_install";
            server.execute(what, "DROP PROCEDURE IF EXISTS mysql.gman_install")?;
            return Ok(false);
        }
        Err(error) => return Err(server::failed("create the functions", &error)),
    }
    let functions = server.functions()?;
    report.functions = functions.into_iter().map(|(name, _)| name).collect();
    report.did(format!("functions: {}", report.functions.join(" ")))?;
    Ok(true)
}

fn install_plugins(server: &mut Server, report: &mut Report) -> Result {
    let there = server.plugins()?;
    for plugin in PLUGINS {
        report.did(if there.contains(&plugin) {
            format!("the plugin {plugin} is there already")
        } else if server.install_plugin(plugin)? {
            format!("installed the plugin {plugin}")
        } else {
            format!("this server does not take the plugin {plugin}")
        })?;
    }
    Ok(())
}

fn say_what_is_left(
    options: &Install,
    is_complete: bool,
    config_written: bool,
    report: &mut Report,
) {
    if !is_complete {
        report.left(
            "restart the server when it suits you, then run this again: it still runs another \
             version, which does not have all functions",
        );
    } else if config_written {
        report.left("restart the server when it suits you: the configuration takes effect then");
    }
    match (&options.gearmand, config_written) {
        (None, false) => report.left(
            "name the job servers: gman install --config --gearmand HOST:PORT, or SELECT \
             gman_servers_set('HOST:PORT') after every start of the server",
        ),
        (None, true) => report.left("look whether the job servers in the configuration are yours"),
        (Some(_), false) => report.left(
            "keep the job servers over the server's next start: gman install --config, or \
             gman_servers in its configuration",
        ),
        (Some(_), true) => {}
    }
    report.left("create triggers: gman triggers DATABASE.TABLE");
    report.left("start a worker: systemctl enable --now gman-worker, or gman worker");
}
