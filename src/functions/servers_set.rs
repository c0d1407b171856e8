//! `gman_servers_set` and the setting `gman_servers`: which job servers get the jobs.

use std::str;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::functions::job_args;
use crate::gearman::servers::host_port;
use crate::host::args;
use crate::host::function::{Function, PerRow, entry_points};
use crate::settings::{self, ServersSetRule};

/// Longest list, in bytes: what is kept of one for every job, and shown in messages, is bounded.
const MAX_LIST_BYTES: usize = 64 * 1024;

/// Whether `gman_servers` is in force as an administrator has set it, not an account that calls a function.
static SET_BY_ADMINISTRATOR: AtomicBool = AtomicBool::new(false);

/// `gman_servers_set(servers[, function])`: sets the default list, or that of one Gearman function, which
/// an empty list takes away; returns the list.
struct ServersSet {
    servers: Vec<u8>,
}

entry_points!(ServersSet: PerRow, "gman_servers_set");

impl Function for ServersSet {
    const NAME: &'static str = "gman_servers_set";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if !(1..=2).contains(&args.len()) {
            return Err(Error::Input("Must give one or two arguments.".to_owned()));
        }
        for index in 0..args.len() {
            args::ask_for_text(args, index);
        }
        job_args::describe_result(cfg, MAX_LIST_BYTES);
        Ok(Self {
            servers: Vec::new(),
        })
    }
}

impl PerRow for ServersSet {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let servers = text(args, 0, "servers")?;
        let function = match args.len() {
            1 => None,
            _ => Some(text(args, 1, "function")?.as_bytes()),
        };
        set(servers, function)?;
        servers.as_bytes().clone_into(&mut self.servers);
        Ok(Some(self.servers.as_slice()))
    }
}

fn set(servers: &str, function: Option<&[u8]>) -> Result<(), Error> {
    check_enabled()?;
    if let ("", Some(function)) = (servers, function) {
        return CLIENT.unset_servers_of(function);
    }
    if function.is_none() {
        host_port::parse(servers)?;
    }
    set_list(servers, function)
}

fn text<'a>(args: &'a ArgList<'a, Process>, index: usize, name: &str) -> Result<&'a str, Error> {
    let value = args::string(args, index)?;
    let value = value.ok_or_else(|| Error::Input(format!("{name} is NULL, expected a string")))?;
    if value.len() > MAX_LIST_BYTES {
        return Err(too_long(name, value));
    }
    str::from_utf8(value).map_err(|_| Error::Input(format!("{name} is not UTF-8")))
}

fn too_long(name: &str, value: &[u8]) -> Error {
    Error::Input(format!(
        "{name} is {} bytes long, expected at most {MAX_LIST_BYTES}",
        value.len()
    ))
}

/// Whether `gman_servers` can have this value: empty, or a list that can be read.
pub(crate) fn check_default(list: &[u8]) -> Result<(), Error> {
    match utf8(list)? {
        "" => Ok(()),
        list => host_port::parse(list).map(drop),
    }
}

/// Sets the default servers, by the configuration or SET GLOBAL; an empty list removes them.
pub(crate) fn set_by_administrator(list: &[u8]) -> Result<(), Error> {
    let list = utf8(list)?;
    set_list(list, None)?;
    SET_BY_ADMINISTRATOR.store(!list.is_empty(), Ordering::Release);
    Ok(())
}

/// Whether `gman_servers_set` may be called now.
fn check_enabled() -> Result<(), Error> {
    let problem = match settings::servers_set() {
        ServersSetRule::On => return Ok(()),
        ServersSetRule::Auto if !SET_BY_ADMINISTRATOR.load(Ordering::Acquire) => return Ok(()),
        ServersSetRule::Auto => "gman_servers_set_enabled is AUTO, and gman_servers is set",
        ServersSetRule::Off => "gman_servers_set_enabled is OFF",
    };
    Err(Error::Input(format!(
        "{problem}; the servers are set with SET GLOBAL gman_servers"
    )))
}

/// Sets a list, by whichever of the two ways. One at a time, so that what is shown is what is in force.
fn set_list(list: &str, function: Option<&[u8]>) -> Result<(), Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Nothing in here panics half way.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match (list, function) {
        ("", None) => CLIENT.unset_servers(),
        _ => CLIENT.set_servers(list, function)?,
    }
    if function.is_none() {
        settings::SERVERS.set(list);
    }
    Ok(())
}

fn utf8(list: &[u8]) -> Result<&str, Error> {
    if list.len() > MAX_LIST_BYTES {
        return Err(too_long("gman_servers", list));
    }
    str::from_utf8(list).map_err(|_| Error::Input("gman_servers is not UTF-8".to_owned()))
}
