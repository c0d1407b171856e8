//! Redis.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::redis_client::{Certificates, Servers};

/// Which Redis, and how to speak to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct RedisOptions {
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets in help are no links"
    )]
    /// Redis: host:port, or redis://[user:password@]host:port/database, or rediss:// for TLS
    ///
    /// A cluster: redis-cluster://host:port,host:port; some of its nodes are enough, and redis:// finds it
    /// out too. Behind Sentinels: redis-sentinel://host:port,host:port/?master=NAME, and if they want to
    /// know who asks, &sentinel_username=...&sentinel_password=.... A Unix socket: unix:///path. Put a
    /// password into the environment variable, because other users can see the command line.
    #[arg(long, env = "GMAN_REDIS", hide_env_values = true)]
    #[arg(value_name = "URL", default_value = "127.0.0.1:6379")]
    redis: String,

    /// With rediss://: a PEM file with the certificates to trust [default: the system's]
    #[arg(long, env = "GMAN_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// With rediss://: a PEM file with the client certificate; Redis requires one by default
    #[arg(
        long,
        env = "GMAN_REDIS_CERT",
        value_name = "FILE",
        requires = "redis_key"
    )]
    redis_cert: Option<PathBuf>,

    /// A PEM file with the private key of --redis-cert
    #[arg(
        long,
        env = "GMAN_REDIS_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "redis_cert"
    )]
    redis_key: Option<PathBuf>,
}

impl RedisOptions {
    /// Knows how to reach Redis; connects to nobody.
    ///
    /// # Errors
    ///
    /// If the URL or a certificate cannot be read. Never shows the URL: it may hold a password.
    pub(crate) fn servers(&self) -> Result<Servers> {
        // A URL without TLS needs no certificates: that is said before they are looked for.
        let servers = Servers::parse(&self.redis, || self.certificates()?.config())
            .map_err(|expected| Error::usage(format!("--redis: {expected}")))?;
        if servers.access.tls.is_none() && (self.redis_ca.is_some() || self.redis_cert.is_some()) {
            return Err(Error::usage(
                "--redis: expected rediss://, as there are certificates",
            ));
        }
        Ok(servers)
    }

    fn certificates(&self) -> std::result::Result<Certificates, String> {
        let client = match (&self.redis_cert, &self.redis_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(Certificates {
            authorities: self.redis_ca.as_deref().map(read).transpose()?,
            client,
        })
    }
}

fn read(file: &Path) -> std::result::Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        let file = file.display();
        format!("{file}: {error}; name a PEM file that you can read")
    })
}
