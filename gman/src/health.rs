//! `gman health`: whether a worker or a relay is well, for whoever starts and stops it.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::connections;
use crate::error::{Error, Result};

/// Ask a worker or a relay whether it is well
///
/// Asks for /healthz at the address of its --metrics. A container's health check can run it: the image
/// needs no shell and no other program.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address that --metrics was given
    #[arg(default_value = "127.0.0.1:9470")]
    address: SocketAddr,

    /// How long to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// Succeeds if the process says that it is well.
pub(crate) fn run(options: &Options) -> Result {
    let Options {
        address,
        timeout_ms,
    } = options;
    let timeout = Duration::from_millis(*timeout_ms);
    let answer = connections::get(address, "/healthz", timeout).map_err(|error| {
        Error::failed(format!(
            "{address} does not answer: {error}; is it the address of --metrics?"
        ))
    })?;
    match answer.status {
        Some(200) => Ok(()),
        Some(503) => Err(Error::failed(format!(
            "not well: {}",
            answer.body.trim_end()
        ))),
        _ => Err(Error::failed(format!(
            "{address} is no worker or relay of gman: it has no /healthz"
        ))),
    }
}
