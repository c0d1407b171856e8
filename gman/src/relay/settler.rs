//! Deletes the rows that are dealt with, sets rows aside, and writes down what stands in the way.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::moment::Moment;
use super::rows::{LIST, list};
use super::term::{Report, Term, Who};

/// How long to wait for a report.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many rows one transaction deletes at most.
const MOST: usize = 20_000;

/// How soon a statement that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The longest text of an error that is kept, in characters.
const ERROR_CHARACTERS: usize = 4096;

pub(super) struct Settler<'a> {
    conn: Conn,
    term: &'a Term,
    done: Vec<u64>,
    dead: Vec<(u64, String)>,
    troubles: BTreeMap<Who, String>,
    /// What is written down; `None` while it is not known.
    noted: Option<Option<String>>,
}

impl<'a> Settler<'a> {
    pub(super) fn new(conn: Conn, term: &'a Term) -> Self {
        Self {
            conn,
            term,
            done: Vec::new(),
            dead: Vec::new(),
            troubles: BTreeMap::new(),
            noted: None,
        }
    }

    /// Settles until nobody reports any more, or the term is over. Ends the term if the database
    /// is gone.
    pub(super) fn run(mut self, reports: &Receiver<Report>) -> mysql::Result<()> {
        let outcome = self.settle_all(reports);
        if outcome.is_err() {
            self.term.end();
        }
        outcome
    }

    fn settle_all(&mut self, reports: &Receiver<Report>) -> mysql::Result<()> {
        loop {
            let is_last = self.gather(reports);
            if self.term.is_over() {
                return Ok(());
            }
            let settled = self.settle().and_then(|()| self.note());
            match settled {
                Ok(()) => {}
                Err(mysql::Error::MySqlError(error)) => {
                    let text = format!("cannot settle rows: {error}");
                    self.troubles.insert(Who::Settler, text);
                    // As well as it can: what keeps the rows may keep this.
                    let _ = self.note();
                    self.term.stop.pause_unless_expired(RETRY);
                }
                Err(error) => return Err(error),
            }
            let is_settled = self.done.is_empty() && self.dead.is_empty();
            if is_last && (is_settled || !self.term.lease.is_valid()) {
                return Ok(());
            }
        }
    }

    /// Takes what is reported; returns whether nothing can come any more.
    fn gather(&mut self, reports: &Receiver<Report>) -> bool {
        match reports.recv_timeout(PATIENCE) {
            Ok(report) => self.take(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
        }
        while self.done.len() < MOST {
            let Ok(report) = reports.try_recv() else {
                break;
            };
            self.take(report);
        }
        false
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Done(ids) => self.done.extend(ids),
            Report::Dead(id, error) => self.dead.push((id, error)),
            Report::Trouble(who, text) => drop(self.troubles.insert(who, text)),
            Report::Well(who) => drop(self.troubles.remove(&who)),
        }
    }

    /// Sets rows aside and deletes what is done, in one transaction: a row that is submitted again after a crash
    /// must not come after others that were behind it. Rows that cannot be set aside keep no others back.
    fn settle(&mut self) -> mysql::Result<()> {
        if self.done.is_empty() && self.dead.is_empty() && !self.term.lease.is_due() {
            return Ok(());
        }
        self.done.sort_unstable();
        let deletes = deletes(&self.done);
        let dead = std::mem::take(&mut self.dead);
        let outcome = self.transact(|conn| {
            set_aside(conn, &dead)?;
            run_all(conn, &deletes)
        });
        match outcome {
            Ok(true) => self.settled(&dead),
            Ok(false) => return Ok(()),
            Err(error) => {
                let could_be_the_dead = !dead.is_empty() && !self.done.is_empty();
                self.dead = dead;
                if could_be_the_dead && self.transact(|conn| run_all(conn, &deletes))? {
                    self.settled(&[]);
                }
                return Err(error);
            }
        }
        self.troubles.remove(&Who::Settler);
        Ok(())
    }

    /// What is done has left the outbox, and what is dead.
    fn settled(&mut self, dead: &[(u64, String)]) {
        self.term.statistics.relayed.inc_by(self.done.len() as u64);
        self.term.statistics.dead.inc_by(dead.len() as u64);
        self.done.extend(dead.iter().map(|(id, _)| *id));
        self.term.flight.settled(&self.done);
        self.done.clear();
    }

    /// Makes changes, and last that of the lease's row, which others need. Returns whether the lease was ours:
    /// without it nothing is changed, and the term ends.
    fn transact(
        &mut self,
        change: impl FnOnce(&mut Conn) -> mysql::Result<()>,
    ) -> mysql::Result<bool> {
        let began = Moment::now();
        self.conn.query_drop("START TRANSACTION")?;
        let changed = change(&mut self.conn).and_then(|()| self.term.lease.beat(&mut self.conn));
        match changed {
            Ok(true) => self.conn.query_drop("COMMIT")?,
            Ok(false) => {
                self.conn.query_drop("ROLLBACK")?;
                self.term.end();
                return Ok(false);
            }
            Err(error) => {
                // A connection that is gone rolls back by itself.
                let _ = self.conn.query_drop("ROLLBACK");
                return Err(error);
            }
        }
        self.term.lease.extend(began);
        Ok(true)
    }

    /// Writes down the first trouble, or that there is none, if that has changed.
    fn note(&mut self) -> mysql::Result<()> {
        let trouble = self.troubles.values().next().cloned();
        if self.noted.as_ref() == Some(&trouble) {
            return Ok(());
        }
        let text = trouble.as_deref().unwrap_or_default();
        self.term.statistics.trouble(text);
        match &trouble {
            None => self
                .conn
                .query_drop("UPDATE gman_outbox_state SET failing_since = NULL WHERE one = 1")?,
            Some(text) => {
                let text: String = text.chars().take(ERROR_CHARACTERS).collect();
                self.conn.exec_drop(
                    "UPDATE gman_outbox_state
                        SET failing_since = COALESCE(failing_since, NOW(3)), last_error = ?, last_error_at = NOW(3)
                      WHERE one = 1",
                    (&text,),
                )?;
                super::say(&text);
            }
        }
        self.noted = Some(trouble);
        Ok(())
    }
}

fn run_all(conn: &mut Conn, statements: &[String]) -> mysql::Result<()> {
    statements.iter().try_for_each(|sql| conn.query_drop(sql))
}

fn set_aside(conn: &mut Conn, dead: &[(u64, String)]) -> mysql::Result<()> {
    for (id, error) in dead {
        let error: String = error.chars().take(ERROR_CHARACTERS).collect();
        conn.exec_drop(
            "INSERT INTO gman_outbox_dead (id, `function`, workload, created, error)
             SELECT id, `function`, workload, created, ? FROM gman_outbox WHERE id = ?",
            (error, id),
        )?;
        conn.exec_drop("DELETE FROM gman_outbox WHERE id = ?", (id,))?;
    }
    Ok(())
}

/// Statements that delete the rows: as a range, which is found faster, if nobody else's id is between
/// them. The last one goes by itself: InnoDB locks the row at which a search ends, and would wait for
/// one that is not committed.
fn deletes(ids: &[u64]) -> Vec<String> {
    let Some((&last, others)) = ids.split_last() else {
        return Vec::new();
    };
    let is_range = others
        .first()
        .is_some_and(|first| last - first == others.len() as u64);
    let mut conditions = if is_range {
        vec![format!("BETWEEN {} AND {last} AND id < {last}", others[0])]
    } else {
        let lists = others.chunks(LIST);
        lists
            .map(|ids| format!("IN ({}) AND id < {last}", list(ids)))
            .collect()
    };
    conditions.push(format!("= {last}"));
    let delete = |condition: &String| format!("DELETE FROM gman_outbox WHERE id {condition}");
    conditions.iter().map(delete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_gap_are_deleted_as_a_range_and_the_last_one_by_itself() {
        let delete = |condition: &str| format!("DELETE FROM gman_outbox WHERE id {condition}");
        assert_eq!(deletes(&[]), [""; 0]);
        assert_eq!(deletes(&[7]), [delete("= 7")]);
        let range = [delete("BETWEEN 3 AND 5 AND id < 5"), delete("= 5")];
        assert_eq!(deletes(&[3, 4, 5]), range);
        let list = [delete("IN (3,5) AND id < 6"), delete("= 6")];
        assert_eq!(deletes(&[3, 5, 6]), list);
    }
}
