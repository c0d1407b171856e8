//! Who may call what.

use crate::error::Error;
use crate::host::server::Server;
use crate::host::{privileges, programs};
use crate::settings::{self, Callers};

/// Whether jobs may be submitted from where this call comes from.
pub(super) fn check() -> Result<(), Error> {
    match settings::callers() {
        Callers::All => Ok(()),
        Callers::Programs if programs::is_inside() == Some(true) => Ok(()),
        Callers::Programs => Err(Error::Input(
            "gman_callers is programs: jobs are submitted from triggers, stored functions, procedures \
             and events only"
                .to_owned(),
        )),
    }
}

/// Whether this server lets us know where a call comes from.
pub(crate) fn check_possible() -> Result<(), Error> {
    match programs::can_be_known() {
        true => Ok(()),
        false => Err(Error::Input(
            "this server does not let us know whether a call comes from a program, expected all"
                .to_owned(),
        )),
    }
}

/// Whether this call may learn which job servers there are: an account that could set them may. Without a
/// server around us there are no accounts.
pub(super) fn may_see_servers() -> bool {
    privileges::may_set_global_variables().unwrap_or_else(|| Server::around_us().is_none())
}
