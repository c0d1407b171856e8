//! Redis, reconnected whenever it was unreachable.

use std::sync::Arc;
use std::time::Duration;

use redis::{Connection, ErrorKind, RedisError, RedisResult, ServerError, Value};

use super::change::{Change, Effect};
use super::log::say;
use super::statistics::Statistics;
use crate::service::{Backoff, Stop};

/// How long Redis may take to answer before it counts as unreachable.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The error of a command for another type than the key has.
const WRONG_TYPE: &str = "WRONGTYPE";

/// The errors of a connection without the password that is wanted, and with another one.
const NO_AUTH: &str = "NOAUTH";
const WRONG_PASS: &str = "WRONGPASS";

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Redis has a newer one.
    LeftOut,
    /// It can never be done.
    Impossible,
}

/// One connection to Redis.
pub(super) struct Store {
    client: redis::Client,
    connection: Option<Connection>,
    was_connected: bool,
    statistics: Arc<Statistics>,
    stop: Arc<Stop>,
}

impl Store {
    pub(super) fn new(
        client: redis::Client,
        statistics: &Arc<Statistics>,
        stop: &Arc<Stop>,
    ) -> Self {
        Self {
            client,
            connection: None,
            was_connected: false,
            statistics: Arc::clone(statistics),
            stop: Arc::clone(stop),
        }
    }

    /// Connects, and says how that went. Without Redis there is nothing to wait for yet: the first
    /// jobs do that.
    pub(super) fn introduce(&mut self) {
        let address = self.client.get_connection_info().addr().to_string();
        match self.connection() {
            Ok(_) => say(format!("writing to Redis {address}")),
            Err(error) => say(format!(
                "Redis {address}: {}; jobs will wait for it",
                in_plain_words(&error)
            )),
        }
    }

    /// Tries until Redis has the changes, in their order; returns what became of each. Those that are
    /// missing at the end were not done in the time there is to stop.
    ///
    /// A change whose answer was lost is made again, and so are all behind it.
    pub(super) fn apply(&mut self, changes: &[&Change]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut backoff = Backoff::new();
        while let Err(error) = self.attempt(changes, &mut outcomes) {
            // Answers that are still to come would be taken for those of the next attempt.
            self.connection = None;
            if self.stop.expired() {
                break;
            }
            let pause = backoff.pause();
            let ms = pause.as_millis();
            let problem = in_plain_words(&error);
            say(format!(
                "Redis: {problem}; keeping the jobs, trying again in {ms} ms"
            ));
            self.stop.pause_unless_expired(pause);
        }
        outcomes
    }

    /// Makes the changes that have no outcome yet, in one round trip.
    fn attempt(&mut self, changes: &[&Change], outcomes: &mut Vec<Outcome>) -> RedisResult<()> {
        let changes = &changes[outcomes.len()..];
        let mut pipeline = redis::Pipeline::with_capacity(changes.len());
        for change in changes {
            pipeline.add_command(change.command());
        }
        let connection = self.connection()?;
        connection.send_packed_command(&pipeline.get_packed_pipeline())?;
        for change in changes {
            let answer = connection.recv_response()?;
            outcomes.push(outcome(change, answer)?);
        }
        self.statistics.redis_round_trips.add(1);
        Ok(())
    }

    fn connection(&mut self) -> RedisResult<&mut Connection> {
        let none = match &mut self.connection {
            Some(connection) => return Ok(connection),
            none => none,
        };
        let mut connection = self.client.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        ask_for_admittance(&mut connection)?;
        if self.was_connected {
            self.statistics.redis_reconnects.add(1);
        }
        self.was_connected = true;
        Ok(none.insert(connection))
    }
}

/// Redis reads no long request of somebody it does not know, and calls that a protocol error. A short
/// one it answers, though maybe with an error that is of no interest here: it is still loading, or the
/// account may not PING.
fn ask_for_admittance(connection: &mut Connection) -> RedisResult<()> {
    match redis::cmd("PING").query::<Value>(connection) {
        Err(error) if error.code() == Some(NO_AUTH) || error.is_unrecoverable_error() => Err(error),
        _ => Ok(()),
    }
}

fn in_plain_words(error: &RedisError) -> String {
    match error.code() {
        Some(NO_AUTH) => "it wants a password and was given none: set GMAN_REDIS to \
                          redis://:PASSWORD@HOST:PORT/"
            .to_owned(),
        Some(WRONG_PASS) => refused(error),
        _ if error.kind() == ErrorKind::AuthenticationFailed => refused(error),
        _ => error.to_string(),
    }
}

fn refused(error: &RedisError) -> String {
    format!("it refuses the password or the account: {error}; correct GMAN_REDIS or --redis")
}

/// Of all that Redis can answer, only a key of another type is the job's own fault. The rest, from
/// LOADING and OOM to a missing permission, passes or is for the operator to mend: the jobs wait.
fn outcome(change: &Change, answer: Value) -> Result<Outcome, RedisError> {
    match answer {
        Value::ServerError(error) if is_wrong_type(&error) => {
            let key = &change.key;
            say(format!(
                "Redis: the key {key} holds another type; the job fails: {error}"
            ));
            Ok(Outcome::Impossible)
        }
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(match change.effect(answer) {
            Effect::Made => Outcome::Done,
            Effect::LeftOut => Outcome::LeftOut,
            Effect::Replaced(kind) => {
                let key = &change.key;
                say(format!(
                    "the key {key} held a {kind}, which the row has replaced; \
                     is it used by somebody else?"
                ));
                Outcome::Done
            }
        }),
    }
}

/// Redis before 7 wraps what a script ran into: the code is then somewhere in the text.
fn is_wrong_type(error: &ServerError) -> bool {
    error.code() == WRONG_TYPE
        || error
            .details()
            .is_some_and(|text| text.contains(WRONG_TYPE))
}
