//! The Gearman job servers, and TLS to them.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};
use gearman_mysql_udf::gearman::wire::connection::Connection;
use gearman_mysql_udf::gearman::wire::deadline::Deadline;
use gearman_mysql_udf::gearman::wire::protection::Protection;
use gearman_mysql_udf::gearman::wire::tls::files::{self, Files, Names};

use crate::error::{Error, Result};
use crate::terminal::printable;

/// Several job servers; a name of its own keeps clap from taking it for several values.
type JobServers = Vec<HostPort>;

/// What messages call the files.
static NAMES: Names = Names {
    ca: "--gearmand-ca",
    cert: "--gearmand-cert",
    key: "--gearmand-key",
    server_name: "--gearmand-server-name",
};

/// Reads a list of job servers, for clap, which prints what is said of a wrong one as it is.
///
/// # Errors
///
/// What was expected.
pub(crate) fn job_servers(list: &str) -> std::result::Result<JobServers, String> {
    host_port::parse(list).map_err(|error| printable(&error.to_string()).into_owned())
}

/// Which job servers.
#[derive(Debug, Clone, Args)]
pub(crate) struct GearmandOptions {
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets in help are no links"
    )]
    /// The Gearman job servers: host:port,[::1]:4730,...
    #[arg(
        long = "gearmand",
        env = "GMAN_GEARMAND",
        value_name = "LIST",
        default_value = "127.0.0.1:4730"
    )]
    #[arg(value_parser = job_servers)]
    pub(crate) job_servers: JobServers,

    /// TLS: a PEM file with the authorities that sign the job servers' certificates; without it there is
    /// no TLS
    #[arg(long, env = "GMAN_GEARMAND_CA", value_name = "FILE")]
    gearmand_ca: Option<PathBuf>,

    /// With TLS: a PEM file with the certificate that job servers are shown
    #[arg(long, env = "GMAN_GEARMAND_CERT", value_name = "FILE")]
    #[arg(requires_all = ["gearmand_ca", "gearmand_key"])]
    gearmand_cert: Option<PathBuf>,

    /// A PEM file with the private key of --gearmand-cert
    #[arg(long, env = "GMAN_GEARMAND_KEY", hide_env_values = true)]
    #[arg(value_name = "FILE", requires = "gearmand_cert")]
    gearmand_key: Option<PathBuf>,

    /// With TLS: the name that the job servers' certificates must be for [default: as in --gearmand]
    #[arg(long, env = "GMAN_GEARMAND_SERVER_NAME", value_name = "NAME")]
    #[arg(requires = "gearmand_ca")]
    gearmand_server_name: Option<String>,
}

impl GearmandOptions {
    /// How connections to the job servers are protected. `notice` hears of files that change and cannot be
    /// used.
    ///
    /// # Errors
    ///
    /// As [`GearmandOptions::tls`].
    pub(crate) fn protection(
        &self,
        notice: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Protection> {
        let protection = Protection::default();
        protection.set(self.tls()?, notice);
        Ok(protection)
    }

    /// What TLS to the job servers is made of; none without an authority.
    ///
    /// # Errors
    ///
    /// If one of the files cannot be used, or no certificate can have the name.
    pub(crate) fn tls(&self) -> Result<Option<Files>> {
        let Some(ca) = &self.gearmand_ca else {
            return Ok(None);
        };
        check(NAMES.ca, Some(ca), files::check_ca)?;
        check(NAMES.cert, self.gearmand_cert.as_ref(), files::check_cert)?;
        check(NAMES.key, self.gearmand_key.as_ref(), files::check_key)?;
        if let Some(name) = &self.gearmand_server_name {
            files::check_server_name(name)
                .map_err(|problem| Error::usage(format!("{}: {problem}", NAMES.server_name)))?;
        }
        Ok(Some(Files {
            ca: ca.clone(),
            cert: self.gearmand_cert.clone(),
            key: self.gearmand_key.clone(),
            server_name: self.gearmand_server_name.clone(),
            names: &NAMES,
        }))
    }
}

/// Connects to a job server; tries the addresses of its host in turn, each for as long as `timeout`.
///
/// # Errors
///
/// Why the last address could not be used.
pub(crate) fn connect(
    server: &HostPort,
    protection: &Protection,
    timeout: Duration,
) -> io::Result<Connection> {
    let name = Arc::from(server.to_string());
    let way = protection.way();
    let mut problem = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        let deadline = Deadline::after(timeout);
        match Connection::open(&name, &server.host, address, &way, &deadline) {
            Ok(connection) => return Ok(connection),
            Err(error) => problem = io::Error::other(error),
        }
    }
    Err(problem)
}

fn check(
    name: &str,
    path: Option<&PathBuf>,
    can_be_used: fn(&Path) -> std::result::Result<(), String>,
) -> Result {
    path.map_or(Ok(()), |path| can_be_used(path))
        .map_err(|problem| Error::usage(format!("{name}: {problem}")))
}
