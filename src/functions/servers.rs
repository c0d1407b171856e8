//! `gman_servers_set`: which job servers get the jobs.

use std::num::NonZeroU8;
use std::str;

use udf::prelude::*;

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::host::{args, guard};
use crate::settings;

/// Longest answer, in bytes: longer lists are answered whole all the same, but a column that is
/// made from the answer holds this much.
const MAX_LIST_BYTES: u64 = 64 * 1024;

/// `gman_servers_set(servers[, function])`: sets the default list, or that of one Gearman function;
/// answers the list.
struct ServersSet {
    servers: Vec<u8>,
}

#[register(name = "gman_servers_set")]
impl BasicUdf for ServersSet {
    type Returns<'a> = Option<&'a [u8]>;

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            if !(1..=2).contains(&args.len()) {
                return Err(Error::Input("Must give one or two arguments.".to_owned()));
            }
            for mut arg in args.iter() {
                arg.set_type_coercion(SqlType::String);
            }
            cfg.set_maybe_null(true);
            cfg.set_max_len(MAX_LIST_BYTES);
            cfg.set_is_const(false);
            Ok(Self {
                servers: Vec::new(),
            })
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        guard::row("gman_servers_set", || {
            let servers = text(args, 0, "servers")?;
            let function = match args.len() {
                1 => None,
                _ => Some(text(args, 1, "function")?.as_bytes()),
            };
            set(servers, function)?;
            servers.as_bytes().clone_into(&mut self.servers);
            Ok(Some(self.servers.as_slice()))
        })
    }
}

fn set(servers: &str, function: Option<&[u8]>) -> Result<(), Error> {
    if !settings::SERVERS_SET_ENABLED.get() {
        return Err(Error::Input(
            "gman_servers_set_enabled is OFF; the servers are set with SET GLOBAL gman_servers"
                .to_owned(),
        ));
    }
    CLIENT.set_servers(servers, function, settings::TIMEOUT.duration())
}

fn text<'a>(args: &'a ArgList<'a, Process>, index: usize, name: &str) -> Result<&'a str, Error> {
    let value = args::string(args, index)?;
    let value = value.ok_or_else(|| Error::Input(format!("{name} is NULL, expected a string")))?;
    str::from_utf8(value).map_err(|_| Error::Input(format!("{name} is not UTF-8")))
}
