//! Redis.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use redis::{ClientTlsConfig, TlsCertificates};

use crate::error::{Error, Result};

/// Which Redis, and how to speak to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct RedisOptions {
    /// Redis: host:port, or redis://[user:password@]host:port/database, or rediss:// for TLS
    ///
    /// Put a password into the environment variable, because other users can see the command line.
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
    pub(crate) fn client(&self) -> Result<redis::Client> {
        let url = if self.redis.contains("://") {
            self.redis.clone()
        } else {
            format!("redis://{}/", self.redis)
        };
        let client = if url.starts_with("rediss://") {
            redis::Client::build_with_tls(url, self.certificates()?)
        } else if self.redis_ca.is_some() || self.redis_cert.is_some() {
            return Err(Error::usage(
                "--redis: expected rediss://, as there are certificates",
            ));
        } else {
            redis::Client::open(url)
        };
        client.map_err(|error| {
            Error::usage(format!(
                "--redis: {error}; expected host:port or redis://[user:password@]host:port/database"
            ))
        })
    }

    fn certificates(&self) -> Result<TlsCertificates> {
        let root_cert = self.redis_ca.as_deref().map(read).transpose()?;
        let client_tls = match (&self.redis_cert, &self.redis_key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(cert)?,
                client_key: read(key)?,
            }),
            _ => None,
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert,
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| {
        let file = file.display();
        Error::usage(format!(
            "{file}: {error}; name a PEM file that you can read"
        ))
    })
}
