//! What the plugin asks of the functions: a system variable is set, or the server shuts down.

use std::str;

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::functions::flush;
use crate::gearman::servers;
use crate::host::plugin::Hooks;
use crate::settings;

/// What the plugin calls.
pub(crate) static HOOKS: Hooks = Hooks {
    check_servers,
    set_servers,
    drain: flush::drain,
};

/// Whether `gman_servers` can have this value: empty, or a list that can be read.
fn check_servers(list: &[u8]) -> Result<(), Error> {
    match text(list)? {
        "" => Ok(()),
        list => servers::parse(list).map(drop),
    }
}

/// Sets the default servers; an empty list takes them away.
fn set_servers(list: &[u8]) -> Result<(), Error> {
    match text(list)? {
        "" => CLIENT.unset_servers(),
        list => CLIENT.set_servers(list, None, settings::TIMEOUT.duration())?,
    }
    settings::SERVERS.set(text(list)?);
    Ok(())
}

fn text(list: &[u8]) -> Result<&str, Error> {
    str::from_utf8(list).map_err(|_| Error::Input("gman_servers is not UTF-8".to_owned()))
}
