//! The right to relay: one process at a time has it, by a row of the database.
//!
//! The owner changes the row at least once a second. Whoever sees it unchanged for [`EXPIRY`], by a
//! clock of his own that no operator sets, takes the lease; that is one conditional UPDATE, which a
//! cluster lets one node win. The owner gives itself less time than that: it submits nothing once
//! [`VALIDITY`] has passed since it last began a change that succeeded, the time included in which its
//! machine slept ([`Moment`]). A relay that was stopped in between finds that out before it submits the next
//! job, and its DELETE fails with the lease.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::moment::Moment;

/// How long the row must have been unchanged.
pub(super) const EXPIRY: Duration = Duration::from_secs(5);

/// How long the owner relies on a change.
const VALIDITY: Duration = Duration::from_millis(2500);

/// How often the owner changes the row.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// What the row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    owner: String,
    epoch: u64,
    beat: u64,
}

/// The lease of this process.
#[derive(Debug)]
pub(super) struct Lease {
    owner: String,
    epoch: u64,
    valid_until: Mutex<Moment>,
}

/// Waits for its turn.
#[derive(Debug)]
pub(super) struct Candidate {
    owner: String,
    /// Whose row is watched.
    server: String,
    seen: Option<(Seen, Instant)>,
}

impl Candidate {
    pub(super) fn new(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            server: String::new(),
            seen: None,
        }
    }

    /// Watches the row of this server from now on. What was seen on another one says nothing of it: behind
    /// one address a replica may follow that had not received the last changes.
    pub(super) fn watch(&mut self, server: String) {
        if self.server != server {
            self.server = server;
            self.seen = None;
        }
    }

    /// Takes the lease if it is free; `None` while somebody has it.
    pub(super) fn try_take(&mut self, conn: &mut Conn) -> mysql::Result<Option<Lease>> {
        let began = Moment::now();
        let seen = read(conn)?;
        if !self.is_free(&seen, Instant::now()) {
            return Ok(None);
        }
        conn.exec_drop(
            "UPDATE gman_outbox_state SET owner = ?, epoch = epoch + 1, beat = 0, beat_at = NOW(3)
              WHERE one = 1 AND owner = ? AND epoch = ? AND beat = ?",
            (&self.owner, &seen.owner, seen.epoch, seen.beat),
        )?;
        Ok((conn.affected_rows() == 1).then(|| Lease {
            owner: self.owner.clone(),
            epoch: seen.epoch + 1,
            valid_until: Mutex::new(began + VALIDITY),
        }))
    }

    /// Who has the lease, as far as is known.
    pub(super) fn owner_seen(&self) -> &str {
        self.seen.as_ref().map_or("", |(seen, _)| &seen.owner)
    }

    fn is_free(&mut self, seen: &Seen, now: Instant) -> bool {
        match &self.seen {
            _ if seen.owner.is_empty() || seen.owner == self.owner => true,
            Some((before, since)) if before == seen => now.duration_since(*since) >= EXPIRY,
            _ => {
                self.seen = Some((seen.clone(), now));
                false
            }
        }
    }
}

fn read(conn: &mut Conn) -> mysql::Result<Seen> {
    let row = conn.query_first("SELECT owner, epoch, beat FROM gman_outbox_state WHERE one = 1")?;
    let (owner, epoch, beat) = row.unwrap_or_default();
    Ok(Seen { owner, epoch, beat })
}

impl Lease {
    /// Whether nobody else can have it.
    pub(super) fn is_valid(&self) -> bool {
        Moment::now() < *self.lock()
    }

    /// Whether it is time to change the row.
    pub(super) fn is_due(&self) -> bool {
        Moment::now() + VALIDITY >= *self.lock() + BEAT
    }

    /// Changes the row, in the transaction that is open or in one of its own; returns whether the
    /// lease was ours. Call [`Lease::extend`] once that is committed.
    pub(super) fn beat(&self, conn: &mut Conn) -> mysql::Result<bool> {
        conn.query_drop(format!(
            "UPDATE gman_outbox_state SET beat = beat + 1, beat_at = NOW(3) WHERE one = 1 AND owner = '{}' AND epoch = {}",
            self.owner, self.epoch
        ))?;
        Ok(conn.affected_rows() == 1)
    }

    /// A change that began then is committed.
    pub(super) fn extend(&self, began: Moment) {
        let mut until = self.lock();
        *until = (*until).max(began + VALIDITY);
    }

    /// Gives the lease up: the next relay need not wait.
    pub(super) fn release(&self, conn: &mut Conn) -> mysql::Result<()> {
        conn.exec_drop(
            "UPDATE gman_outbox_state SET owner = '' WHERE one = 1 AND owner = ? AND epoch = ?",
            (&self.owner, self.epoch),
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Moment> {
        self.valid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(beat: u64) -> Seen {
        Seen {
            owner: "other".to_owned(),
            epoch: 1,
            beat,
        }
    }

    #[test]
    fn it_is_free_once_it_was_unchanged_for_long_enough() {
        let mut candidate = Candidate::new("we");
        let start = Instant::now();
        assert!(!candidate.is_free(&seen(1), start));
        assert!(!candidate.is_free(&seen(1), start + EXPIRY / 2));
        assert!(!candidate.is_free(&seen(2), start + EXPIRY));
        assert!(!candidate.is_free(&seen(2), start + EXPIRY + EXPIRY / 2));
        assert!(candidate.is_free(&seen(2), start + 2 * EXPIRY));
    }

    #[test]
    fn another_server_is_watched_anew() {
        let mut candidate = Candidate::new("we");
        let start = Instant::now();
        candidate.watch("first".to_owned());
        assert!(!candidate.is_free(&seen(1), start));
        candidate.watch("second".to_owned());
        assert!(!candidate.is_free(&seen(1), start + EXPIRY));
        candidate.watch("second".to_owned());
        assert!(candidate.is_free(&seen(1), start + 2 * EXPIRY));
    }

    #[test]
    fn it_is_free_if_it_was_given_up() {
        let mut candidate = Candidate::new("we");
        let free = Seen {
            owner: String::new(),
            ..seen(9)
        };
        assert!(candidate.is_free(&free, Instant::now()));
    }
}
