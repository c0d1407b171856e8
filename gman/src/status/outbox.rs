//! The outboxes of the server, and who relays them.

use mysql::Conn;
use serde::Serialize;

use crate::connections::{Ask, refused};
use crate::error::Result;
use crate::sql::quoted;

/// Every schema with an outbox, and its event, if it has one.
const OUTBOXES: &str = "SELECT TABLE_SCHEMA, STATUS, DEFINER
  FROM information_schema.TABLES
  LEFT JOIN information_schema.EVENTS ON EVENT_SCHEMA = TABLE_SCHEMA AND EVENT_NAME = 'gman_outbox_relay'
  WHERE TABLE_NAME = 'gman_outbox_status' ORDER BY 1";

/// A table that somebody has locked is not waited for any longer, in seconds.
const PATIENCE: &str = "SET SESSION lock_wait_timeout = 2";

/// A relay that has not changed its row for so long relays no more: it does so once a second.
const SILENCE_SECONDS: f64 = 10.0;

/// An outbox, and how its relay is.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outbox {
    pub(super) schema: String,
    pub(super) depth: u64,
    pub(super) oldest_seconds: Option<f64>,
    pub(super) dead: u64,
    pub(super) failing_since: Option<String>,
    pub(super) last_error: Option<String>,
    /// Whose word ends a row's stay.
    pub(super) confirm: String,
    /// Who relays, or did so last; empty after one that stopped.
    pub(super) owner: String,
    /// Since its last sign of life.
    pub(super) beat_seconds: Option<f64>,
    pub(super) event: Option<Event>,
    /// Why the rest is not known.
    pub(super) error: Option<String>,
}

/// The relay in the server.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub(super) status: String,
    pub(super) definer: String,
    /// Whether there is an account of that name; `None` if we may not look.
    pub(super) definer_exists: Option<bool>,
}

impl Outbox {
    /// # Errors
    ///
    /// If the server is gone, or refuses to name its tables; an outbox that cannot be read is a result.
    pub(super) fn read_all(conn: &mut Conn) -> Result<Vec<Self>> {
        type Found = (String, Option<String>, Option<String>);
        let what = "look for outboxes";
        let found: Vec<Found> = conn
            .run(PATIENCE)
            .and_then(|()| conn.ask(OUTBOXES))
            .map_err(|error| refused(what, &error))?;
        let mut outboxes = Vec::new();
        for (schema, status, definer) in found {
            let mut outbox = match read(conn, &schema) {
                Ok(outbox) => outbox,
                Err(mysql::Error::MySqlError(error)) => Self {
                    error: Some(format!("{} (error {})", error.message, error.code)),
                    ..Self::default()
                },
                Err(error) => return Err(refused(what, &error)),
            };
            outbox.event = status.zip(definer).map(|(status, definer)| Event {
                status,
                definer_exists: exists(conn, &definer),
                definer,
            });
            outbox.schema = schema;
            outboxes.push(outbox);
        }
        Ok(outboxes)
    }

    /// Whether somebody relays.
    pub(super) fn is_relayed(&self) -> bool {
        let is_alive = |seconds| seconds <= SILENCE_SECONDS;
        !self.owner.is_empty() && self.beat_seconds.is_some_and(is_alive)
    }
}

fn read(conn: &mut Conn, schema: &str) -> mysql::Result<Outbox> {
    let sql = format!(
        "SELECT depth, oldest_seconds + 0e0, dead, CONCAT(failing_since), last_error, confirm, owner, beat_seconds + 0e0
           FROM {}.gman_outbox_status",
        quoted(schema)
    );
    let row: Option<mysql::Row> = conn.ask_first(sql)?;
    let Some(row) = row else {
        // Somebody has deleted the row of gman_outbox_state.
        return Ok(Outbox::default());
    };
    let (depth, oldest_seconds, dead, failing_since, last_error, confirm, owner, beat_seconds) =
        mysql::from_row_opt(row)?;
    Ok(Outbox {
        depth,
        oldest_seconds,
        dead,
        failing_since,
        last_error,
        confirm,
        owner,
        beat_seconds,
        ..Outbox::default()
    })
}

/// Whether there is an account `user@host`.
fn exists(conn: &mut Conn, account: &str) -> Option<bool> {
    let found = conn.ask_first_with(
        "SELECT COUNT(*) > 0 FROM mysql.user WHERE CONCAT(user, '@', host) = ?",
        (account,),
    );
    found.ok()?
}
