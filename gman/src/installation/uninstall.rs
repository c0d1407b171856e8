//! `gman uninstall`.

use std::path::PathBuf;

use clap::Args;

use super::configuration;
use super::files::{self, KEPT, LIBRARY};
use super::report::Report;
use super::server::Server;
use crate::connections::MysqlOptions;
use crate::error::{Error, Result};
use crate::whole_file::with_suffix;

/// Drop the functions, remove the library and restore the C plugins
///
/// Refuses while triggers, routines, events or views call the functions, and names them.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    mysql: MysqlOptions,

    /// The library as it was installed; without this, as with gman install
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    /// Although triggers, routines, events or views call the functions, which fail then
    #[arg(long)]
    force: bool,

    /// Print JSON once it is done: what was done, what the server has now, what is left to do
    #[arg(long)]
    json: bool,
}

/// Uninstalls, and says what it did and what is still to be done.
pub(crate) fn uninstall(options: &Uninstall) -> Result {
    let mut report = Report::new(options.json);
    let mut server = Server::open(&options.mysql, &mut report)?;
    if !options.force {
        refuse_while_in_use(&mut server)?;
    }
    for plugin in server.plugins()?.iter().rev() {
        server.uninstall_plugin(plugin)?;
        report.did(format!("uninstalled the plugin {plugin}"))?;
    }
    for (function, library) in server.functions()? {
        drop_function(&mut server, &function, &library, &mut report)?;
    }
    put_c_plugins_back(&server, &mut report)?;
    take_links_away(&server, &mut report)?;
    take_library_away(&server, options, &mut report)?;
    let functions = server.functions()?.into_iter();
    report.functions = functions.map(|(name, _)| name).collect();
    for file in configuration::written() {
        let file = file.display();
        report.left(format!("remove {file}, which loads the plugins"));
    }
    report.end()
}

fn refuse_while_in_use(server: &mut Server) -> Result {
    let users = callers(server)?;
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the functions are called by {}; drop these first, or use --force",
        users.join(", ")
    )))
}

/// What would fail without the functions that the server has from us: its kind and name.
fn callers(server: &mut Server) -> Result<Vec<String>> {
    let functions = server.functions()?;
    if functions.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = functions
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    let pattern = format!("(^|[^a-z0-9_$])({})`?[[:space:]]*[(]", names.join("|"));
    let sources = [
        ("'trigger'", "trigger", "triggers", "action_statement"),
        (
            "LOWER(routine_type)",
            "routine",
            "routines",
            "routine_definition",
        ),
        ("'event'", "event", "events", "event_definition"),
        ("'view'", "table", "views", "view_definition"),
    ];
    let selects = sources.map(|(kind, prefix, view, text)| {
        // The server's own schemas are passed over. MySQL gives a match little time
        // (regexp_time_limit), so it is not tried on texts without a name.
        format!(
            "SELECT CONCAT({kind}, ' ', {prefix}_schema, '.', {prefix}_name) \
             FROM information_schema.{view} \
             WHERE CASE WHEN {prefix}_schema IN ('mysql', 'sys') THEN FALSE \
             WHEN LOCATE('gman_', LOWER({text})) + LOCATE('json_', LOWER({text})) = 0 THEN FALSE \
             ELSE LOWER({text}) REGEXP '{pattern}' END"
        )
    });
    let what = "look for callers of the functions";
    server.query(what, &selects.join(" UNION ALL "))
}

/// A function that a C plugin has, which comes back, stays.
fn drop_function(
    server: &mut Server,
    function: &str,
    library: &str,
    report: &mut Report,
) -> Result {
    let file = server.plugin_dir.join(library);
    let kept = with_suffix(&file, KEPT);
    if files::has_symbol(&kept, function) {
        return report.did(format!("left {function}, which {library} has too"));
    }
    if kept.exists() || library == LIBRARY || files::is_link_to_ours(&file) {
        let what = format!("drop {function}");
        server.execute(&what, &format!("DROP FUNCTION `{function}`"))?;
        report.did(format!("dropped {function}"))?;
    }
    Ok(())
}

fn put_c_plugins_back(server: &Server, report: &mut Report) -> Result {
    for kept in files::list(&server.plugin_dir)? {
        let Some(file) = files::before_kept(&kept) else {
            continue;
        };
        files::rename(&kept, &file)?;
        let name = files::name(&file);
        report.did(format!(
            "put {name} back; the server runs it after its next start"
        ))?;
    }
    Ok(())
}

fn take_links_away(server: &Server, report: &mut Report) -> Result {
    for file in files::list(&server.plugin_dir)? {
        if files::is_link_to_ours(&file) {
            files::remove(&file)?;
            report.did(format!("removed {}", files::name(&file)))?;
        }
    }
    Ok(())
}

fn take_library_away(server: &Server, options: &Uninstall, report: &mut Report) -> Result {
    let file = server.plugin_dir.join(LIBRARY);
    if !files::is_ours(&file) {
        return Ok(());
    }
    let source = files::source(options.library.as_deref());
    if source.is_ok_and(|source| files::is_same(&source, &file)) {
        return report.did(format!("{LIBRARY} goes with the package"));
    }
    files::remove(&file)?;
    report.did(format!("removed {LIBRARY}"))
}
