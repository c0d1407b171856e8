//! The jobs of one Gearman function, submitted in the order of their rows, on a thread of its own.

use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::delivery::background_batch::BackgroundBatch;
use gearman_mysql_udf::gearman::delivery::batch_outcome::Outcome;
use gearman_mysql_udf::gearman::delivery::confirmed_batch::ConfirmedBatch;
use gearman_mysql_udf::gearman::limits::Limits;
use gearman_mysql_udf::gearman::wire::job::{Job, Mode, Priority};

use super::batch::Batch;
use super::flight::Function;
use super::rows::Row;
use super::term::{Confirm, Report, Term, Who};
use crate::service::Backoff;

/// After how many refusals a row is set aside.
const REFUSALS: u32 = 5;

/// After how many failures in succession a row is set aside that failed alone while a job server
/// answered others.
const FAILURES: u32 = 8;

/// How often a lane looks what workers have done.
const LOOK: Duration = Duration::from_millis(100);

/// After this long without a job done, no worker may be there.
const SILENCE: Duration = Duration::from_secs(5);

/// What bounds the calls of one lane. A job server that takes nothing for [`Limits::submit`] is gone.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    submit: Duration::from_secs(5),
    run: Duration::from_secs(120),
    // Each lane uses one.
    connections: super::reader::MAX_LANES,
    window_bytes: 0,
    transaction_bytes: 0,
};

pub(super) struct Lane<'a> {
    function: Function,
    term: &'a Term,
    reports: Sender<Report>,
    backoff: Backoff,
    /// The row that failed last, and how often in succession.
    tries: (u64, u32),
    is_in_trouble: bool,
}

impl<'a> Lane<'a> {
    pub(super) fn new(function: &[u8], term: &'a Term, reports: Sender<Report>) -> Self {
        Self {
            function: function.to_vec(),
            term,
            reports,
            backoff: Backoff::new(),
            tries: (0, 0),
            is_in_trouble: false,
        }
    }

    /// Submits batches until there are no more, or the term is over.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        for batch in batches {
            let is_current = self
                .term
                .flight
                .is_current(&self.function, batch.generation);
            let outcome = match is_current && self.term.may_submit() {
                true => self.deliver(&batch),
                false => None,
            };
            match outcome {
                Some(outcome) => self.conclude(&batch, outcome),
                None => self.arrive(&batch, 0, false),
            }
        }
    }

    /// Submits the rows; `None` if the term ended meanwhile.
    fn deliver(&mut self, batch: &Batch) -> Option<Outcome> {
        match self.term.confirm {
            Confirm::Gearmand => self.hand_over(batch),
            Confirm::Worker => self.have_done(batch),
        }
    }

    fn hand_over(&self, batch: &Batch) -> Option<Outcome> {
        let should_stop = || !self.term.may_submit();
        let mut jobs = BackgroundBatch::default();
        for row in &batch.rows {
            if should_stop() {
                return None;
            }
            let job = job(Mode::Background(Priority::Normal), row);
            jobs.submit(&self.term.client, job, &LIMITS, &should_stop);
        }
        let outcome = jobs.finish(&LIMITS, &should_stop);
        self.done(batch, 0, outcome.acknowledged);
        Some(outcome)
    }

    fn have_done(&mut self, batch: &Batch) -> Option<Outcome> {
        let term = self.term;
        let should_stop = || !term.may_submit();
        let mut jobs = ConfirmedBatch::default();
        for row in &batch.rows {
            if should_stop() {
                return None;
            }
            let job = job(Mode::Foreground(Priority::Normal), row);
            jobs.submit(&term.client, job, &LIMITS, &should_stop);
        }
        let mut settled = 0;
        let mut progress = Instant::now();
        loop {
            let is_over = jobs.wait(LOOK, &LIMITS, &should_stop);
            if jobs.confirmed() > settled {
                self.done(batch, settled, jobs.confirmed());
                settled = jobs.confirmed();
                progress = Instant::now();
                self.is_well();
            } else if progress.elapsed() > SILENCE && !self.is_in_trouble {
                self.is_in_trouble(silence(&batch.rows[settled..]));
            }
            if is_over {
                return Some(jobs.finish());
            }
        }
    }

    /// The rows at these places are dealt with.
    fn done(&self, batch: &Batch, from: usize, to: usize) {
        if to > from {
            let ids = batch.rows[from..to].iter().map(|row| row.id).collect();
            self.report(Report::Done(ids));
        }
    }

    fn conclude(&mut self, batch: &Batch, outcome: Outcome) {
        let Some(error) = &outcome.failure else {
            self.is_well();
            self.arrive(batch, batch.rows.len(), false);
            return;
        };
        let mut dealt_with = outcome.acknowledged;
        if let Some(row) = batch.rows.get(dealt_with)
            && self.is_hopeless(row, batch, &outcome)
        {
            self.report(Report::Dead(row.id, error.to_string()));
            dealt_with += 1;
            // It stands in nobody's way any more.
            self.is_well();
        } else if self.term.may_submit() {
            let text = match batch.rows.get(outcome.acknowledged) {
                Some(row) if outcome.refused => format!("row {}: {error}", row.id),
                _ => error.to_string(),
            };
            self.is_in_trouble(text);
        }
        self.arrive(batch, dealt_with, true);
        self.term.stop.pause_unless_requested(self.backoff.pause());
    }

    /// Whether the row has failed so often that others shall not wait for it any longer.
    fn is_hopeless(&mut self, row: &Row, batch: &Batch, outcome: &Outcome) -> bool {
        let may_be_the_reason = batch.rows.len() == 1
            && outcome
                .failure
                .as_ref()
                .is_some_and(|error| error.is_of_an_attempt())
            && self.a_job_server_answers();
        if !outcome.refused && !may_be_the_reason {
            return false;
        }
        self.tries = match self.tries {
            (id, tries) if id == row.id => (id, tries + 1),
            _ => (row.id, 1),
        };
        let most = if outcome.refused { REFUSALS } else { FAILURES };
        self.tries.1 >= most
    }

    /// Then it is not for want of one that the row does not get through.
    fn a_job_server_answers(&self) -> bool {
        let reports = self.term.client.check(&LIMITS, &|| !self.term.may_submit());
        reports.is_ok_and(|reports| reports.iter().any(|report| report.outcome.is_ok()))
    }

    /// The batch is over; what is behind the rows that are dealt with is given back.
    fn arrive(&self, batch: &Batch, dealt_with: usize, has_failed: bool) {
        let rest: Vec<u64> = batch.ids().skip(dealt_with).collect();
        let large = batch.large_bytes();
        self.term
            .flight
            .arrive(&self.function, &rest, large, has_failed);
    }

    fn is_in_trouble(&mut self, text: String) {
        self.is_in_trouble = true;
        self.report(Report::Trouble(Who::Lane(self.function.clone()), text));
    }

    fn is_well(&mut self) {
        self.backoff = Backoff::new();
        if std::mem::take(&mut self.is_in_trouble) {
            self.report(Report::Well(Who::Lane(self.function.clone())));
        }
    }

    /// A settler that has ended has ended the term.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }
}

/// A row's job, with a unique id of its own for each attempt. With one that stays the same, gearmand
/// would drop the second of two jobs that it knows and keep the place of the first: a change that is
/// submitted again could come after a newer one whose repetition was dropped.
fn job(mode: Mode, row: &Row) -> Result<Job<'_>, gearman_mysql_udf::error::Error> {
    let workload = row.workload.as_deref().unwrap_or_default();
    Job::new(mode, &row.function, workload, None)
}

fn silence(rows: &[Row]) -> String {
    let first = rows.first();
    let function = first.map_or_else(String::new, |row| {
        String::from_utf8_lossy(&row.function).into_owned()
    });
    format!(
        "no worker has finished a job of {function} for {} s, and {} jobs wait for one; is one running?",
        SILENCE.as_secs(),
        rows.len()
    )
}
