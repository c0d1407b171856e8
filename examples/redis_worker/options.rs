//! The options, each of which an environment variable can give as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Parser, ValueEnum, value_parser};
use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};
use redis::{ClientTlsConfig, TlsCertificates};

use crate::change::Format;

/// Several job servers; a name of its own keeps clap from taking it for several values.
type JobServers = Vec<HostPort>;

/// Writes changed rows to Redis, which Gearman jobs bring.
///
/// Two Gearman functions are served. What a job of syncToRedis does is for --mode to say. A job of
/// syncRowToRedis says it itself: {"key":"test:1","row":{"id":1,"name":"sm"}} makes the hash test:1
/// exactly this row, and with "row":null the key is deleted.
///
/// No job is lost while Redis or a job server is away: a job is finished only after Redis has
/// answered, and tried until then. A job can be done twice.
///
/// Order: changes of one key are written in the order in which one job server got them, with any
/// number of threads, as long as one worker is at work, the key's jobs are all of one Gearman
/// function and one priority, and the worker's connection to the job server holds. In all other
/// cases use --version-field.
///
/// SIGUSR1 prints statistics to stderr. SIGTERM and SIGINT stop in order: what is held is finished,
/// for --stop-timeout at most, and the rest is left to the job server.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Options {
    /// The Gearman job servers, all served at once: host:port,[::1]:4730,...
    #[arg(
        long,
        env = "GEARMAND",
        value_name = "SERVERS",
        default_value = "127.0.0.1:4730"
    )]
    #[arg(value_parser = host_port::parse)]
    pub(crate) gearmand: JobServers,

    /// Redis: host:port, or redis://[user:password@]host:port/database, or rediss:// for TLS
    ///
    /// Put a password into the environment variable: others can see a command line.
    #[arg(long, env = "REDIS", hide_env_values = true)]
    #[arg(value_name = "URL", default_value = "127.0.0.1:6379")]
    redis: String,

    /// With rediss://: the certificates to trust, a PEM file; those of the system otherwise
    #[arg(long, env = "REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// With rediss://: the certificate to show, a PEM file; Redis asks for one by default
    #[arg(long, env = "REDIS_CERT", value_name = "FILE", requires = "redis_key")]
    redis_cert: Option<PathBuf>,

    /// The private key of --redis-cert, a PEM file
    #[arg(long, env = "REDIS_KEY", value_name = "FILE", requires = "redis_cert")]
    redis_key: Option<PathBuf>,

    /// What a job of --function does
    #[arg(long, env = "WORKER_MODE", value_enum, default_value_t = Mode::Set)]
    mode: Mode,

    /// Put before every key, such as "shop:"
    #[arg(long, env = "WORKER_PREFIX", value_name = "TEXT", default_value = "")]
    prefix: String,

    /// The Gearman function whose jobs are rows, {"id":1,"name":"sm"}; "" for none
    #[arg(
        long,
        env = "WORKER_FUNCTION",
        value_name = "NAME",
        default_value = "syncToRedis"
    )]
    function: String,

    /// The Gearman function whose jobs name the key, {"key":"test:1","row":{...}}; "" for none
    #[arg(
        long,
        env = "WORKER_ROW_FUNCTION",
        value_name = "NAME",
        default_value = "syncRowToRedis"
    )]
    pub(crate) row_function: String,

    /// Leave out changes older than what Redis has: the member, a whole number up to 2^53, that
    /// grows with every change of a row
    ///
    /// It is kept in Redis under the row's key with ":version" behind it. A job of --row-function
    /// that deletes may carry it beside the key, or not at all: then it always deletes.
    #[arg(long, env = "WORKER_VERSION_FIELD", value_name = "NAME")]
    version_field: Option<String>,

    /// How many threads write to Redis, each on a connection of its own; a key always gets the same
    #[arg(long, env = "WORKER_THREADS", value_name = "N", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,

    /// How many jobs of each job server are held at once; they are all in memory
    #[arg(
        long,
        env = "WORKER_IN_FLIGHT",
        value_name = "N",
        default_value_t = 256
    )]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub(crate) in_flight: u16,

    /// How long finishing what is held may take when asked to stop, in seconds
    #[arg(
        long,
        env = "WORKER_STOP_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 5
    )]
    #[arg(value_parser = value_parser!(u16).range(..))]
    stop_timeout: u16,

    /// Print every job to stdout
    #[arg(long, env = "WORKER_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
}

/// What a job of `--function` does with the key, which is `--prefix` and the row's "id".
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// SET the key to "name"; DEL it where "name" is null
    Set,
    /// HSET every member of the row as a string, HDEL those that are null; other fields stay
    Hash,
    /// DEL the key
    Delete,
}

impl Options {
    /// How rows become changes.
    pub(crate) fn format(&self) -> Format {
        Format {
            mode: self.mode,
            prefix: self.prefix.clone(),
            // An empty variable in an environment file means none.
            version_field: self.version_field.clone().filter(|name| !name.is_empty()),
        }
    }

    /// The Gearman functions that are served.
    ///
    /// # Errors
    ///
    /// Where both were left out.
    pub(crate) fn functions(&self) -> Result<Vec<String>, String> {
        let names = [&self.function, &self.row_function];
        let served: Vec<String> = names
            .into_iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        if served.is_empty() {
            return Err("--function and --row-function are empty, expected one of them".to_owned());
        }
        Ok(served)
    }

    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout.into())
    }

    /// Knows how to reach Redis; connects to nobody.
    ///
    /// # Errors
    ///
    /// Where the URL or a certificate cannot be read. Never shows the URL: it may hold a password.
    pub(crate) fn redis_client(&self) -> Result<redis::Client, String> {
        let url = if self.redis.contains("://") {
            self.redis.clone()
        } else {
            format!("redis://{}/", self.redis)
        };
        let client = if url.starts_with("rediss://") {
            redis::Client::build_with_tls(url, self.certificates()?)
        } else if self.redis_ca.is_some() || self.redis_cert.is_some() {
            return Err("--redis: expected rediss://, as there are certificates".to_owned());
        } else {
            redis::Client::open(url)
        };
        client.map_err(|error| format!("--redis: {error}"))
    }

    fn certificates(&self) -> Result<TlsCertificates, String> {
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

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
