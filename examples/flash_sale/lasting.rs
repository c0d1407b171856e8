//! Connections that outlast the servers they lead to.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::stop::Stop;

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long Redis may take to answer before it counts as unreachable.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A connection that is opened again whenever something on it has failed.
pub(crate) struct Lasting<Connection> {
    /// The server, for messages.
    name: String,
    open: Box<dyn Fn() -> Result<Connection, Failure> + Send>,
    connection: Option<Connection>,
}

impl<Connection> Lasting<Connection> {
    pub(crate) fn new(
        name: String,
        open: impl Fn() -> Result<Connection, Failure> + Send + 'static,
    ) -> Self {
        Self {
            name,
            open: Box::new(open),
            connection: None,
        }
    }

    /// Tries until it works: `task` may be done in vain, in part and several times. `None` when a
    /// signal asks to stop before that.
    pub(crate) fn until_done<T>(
        &mut self,
        stop: &Stop,
        mut task: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Option<T> {
        let mut pause = PAUSES.0;
        loop {
            let began = Instant::now();
            match self.attempt(&mut task) {
                Ok(value) => return Some(value),
                Err(_) if stop.requested() => return None,
                Err(error) => {
                    if began.elapsed() > PAUSES.1 {
                        pause = PAUSES.0;
                    }
                    let ms = pause.as_millis();
                    eprintln!(
                        "flash_sale: {}: {error}; trying again in {ms} ms",
                        self.name
                    );
                    stop.pause(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    fn attempt<T>(
        &mut self,
        task: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => (self.open)()?,
        };
        let value = task(&mut connection)?;
        // What state it is in after a failure is unknown; then it has been dropped here.
        self.connection = Some(connection);
        Ok(value)
    }
}

/// A lasting connection to Redis.
pub(crate) fn redis(address: &str) -> Result<Lasting<redis::Connection>, Failure> {
    let client = redis_client(address)?;
    let open = move || {
        let connection = client.get_connection_with_timeout(REDIS_TIMEOUT)?;
        connection.set_read_timeout(Some(REDIS_TIMEOUT))?;
        connection.set_write_timeout(Some(REDIS_TIMEOUT))?;
        Ok(connection)
    };
    Ok(Lasting::new("Redis".to_owned(), open))
}

/// Redis at `host:port`, or at a URL.
pub(crate) fn redis_client(address: &str) -> redis::RedisResult<redis::Client> {
    match address.contains("://") {
        true => redis::Client::open(address),
        false => redis::Client::open(format!("redis://{address}/")),
    }
}

/// A lasting session in MySQL.
pub(crate) fn database(url: &str) -> Result<Lasting<mysql::Conn>, Failure> {
    let opts = mysql::Opts::from_url(url)?;
    let open = move || Ok(mysql::Conn::new(opts.clone())?);
    Ok(Lasting::new("MySQL".to_owned(), open))
}
