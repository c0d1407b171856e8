//! The settings of TLS: the files that they name, and the connections that follow from them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::functions::client::CLIENT;
use crate::functions::text_value;
use crate::gearman::wire::tls::files::{self, Files, Names};
use crate::settings::{self, Text};

/// What messages call the files.
static NAMES: Names = Names {
    ca: "gman_tls_ca",
    cert: "gman_tls_cert",
    key: "gman_tls_key",
    server_name: "gman_tls_server_name",
};

/// Whether `gman_tls_ca` can have this value.
pub(crate) fn check_ca(path: &[u8]) -> Result<(), Error> {
    check(path, files::check_ca)
}

/// Whether `gman_tls_cert` can have this value.
pub(crate) fn check_cert(path: &[u8]) -> Result<(), Error> {
    check(path, files::check_cert)
}

/// Whether `gman_tls_key` can have this value.
pub(crate) fn check_key(path: &[u8]) -> Result<(), Error> {
    check(path, files::check_key)
}

/// Whether `gman_tls_server_name` can have this value.
pub(crate) fn check_server_name(name: &[u8]) -> Result<(), Error> {
    match text_value::checked(name)? {
        "" => Ok(()),
        name => files::check_server_name(name).map_err(Error::Input),
    }
}

/// Sets one of them. A value that its check would refuse is put in force all the same: connections fail
/// then, which is what a mistake in a configuration shall lead to rather than to connections without TLS.
pub(crate) fn set(setting: &Text, value: &[u8]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Nothing in here panics half way.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    setting.set(&String::from_utf8_lossy(value));
    CLIENT.set_tls(files());
}

/// What the settings in force say; none without `gman_tls_ca`.
fn files() -> Option<Files> {
    let path = |setting: &Text| Some(PathBuf::from(setting.get())).filter(|path| *path != *"");
    Some(Files {
        ca: path(&settings::TLS_CA)?,
        cert: path(&settings::TLS_CERT),
        key: path(&settings::TLS_KEY),
        server_name: Some(settings::TLS_SERVER_NAME.get()).filter(|name| !name.is_empty()),
        names: &NAMES,
    })
}

fn check(path: &[u8], can_be_used: fn(&Path) -> Result<(), String>) -> Result<(), Error> {
    let path = Path::new(text_value::checked(path)?);
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    if !path.is_absolute() {
        return Err(Error::Input(
            "expected a path from the root, as in /etc/mysql/ca.pem".to_owned(),
        ));
    }
    can_be_used(path).map_err(Error::Input)
}
