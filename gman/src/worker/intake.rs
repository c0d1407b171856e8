//! How many jobs to ask a job server for, and when to sleep. Does no I/O.
//!
//! gearmand answers each GRAB_JOB with a job or with NO_JOB, in the order in which they were sent, so
//! many can be under way: the time to gearmand and back is then paid once for all of them. How many
//! doubles with the jobs that come, up to the limit, and falls to none with the first NO_JOB: a worker
//! with little to do asks for one job at a time.

/// A job's size is half forgotten after about this many smaller ones.
const FORGET: usize = 16;

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// So many GRAB_JOBs, maybe none.
    Jobs(usize),
    /// PRE_SLEEP: gearmand says when there are jobs again.
    Sleep,
}

/// The state of one connection to a job server.
#[derive(Debug)]
pub(super) struct Intake {
    /// How many jobs may be asked for and held, together; those that are parked do not count.
    limit: usize,
    /// How many bytes the workloads of held jobs may have, together.
    limit_bytes: usize,
    /// GRAB_JOBs without an answer.
    asked: usize,
    /// Jobs that are not finished.
    held: usize,
    /// How many of those wait for a Redis that is unreachable, and hold up no others. Less than none for the moment
    /// in which a job is finished whose parking was not noted yet.
    parked: isize,
    /// The bytes of their workloads.
    held_bytes: usize,
    /// Jobs that were reported as finished, and that the job server has not objected to.
    reported: usize,
    /// What the next job may bring: the size of the largest one lately.
    largest: usize,
    /// How many jobs to ask for at once; none once the queue was empty.
    appetite: usize,
    asleep: bool,
    closing: bool,
}

impl Intake {
    /// A connection that has just been opened; there may be jobs.
    pub(super) fn new(limit: usize, limit_bytes: usize) -> Self {
        Self {
            limit,
            limit_bytes,
            asked: 0,
            held: 0,
            parked: 0,
            held_bytes: 0,
            reported: 0,
            largest: 0,
            appetite: 1,
            asleep: false,
            closing: false,
        }
    }

    /// NOOP has come: there are jobs.
    pub(super) fn woken(&mut self) {
        self.asleep = false;
        self.appetite = self.appetite.max(1);
    }

    /// A job with a workload of this many bytes has come.
    pub(super) fn assigned(&mut self, bytes: usize) {
        self.asked = self.asked.saturating_sub(1);
        self.held += 1;
        self.held_bytes += bytes;
        self.largest = bytes.max(self.largest - self.largest / FORGET);
        self.appetite = (self.appetite * 2).min(self.limit);
    }

    /// NO_JOB has come.
    pub(super) fn found_none(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        self.appetite = 0;
    }

    /// A job is finished.
    pub(super) fn finished(&mut self, bytes: usize, parked: bool) {
        self.held = self.held.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        self.parked -= isize::from(parked);
        self.reported += 1;
    }

    /// ERROR has come; whether there was something to object to.
    pub(super) fn objected(&mut self) -> bool {
        let was_something = self.reported > 0;
        self.reported = self.reported.saturating_sub(1);
        was_something
    }

    /// Jobs that are held wait for a Redis that is unreachable.
    pub(super) fn parked(&mut self, count: usize) {
        self.parked = self.parked.saturating_add_unsigned(count);
    }

    /// No more jobs from now on.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether nothing is left to be done, nor can come.
    pub(super) fn is_drained(&self) -> bool {
        self.closing && self.asked == 0 && self.held == 0
    }

    /// How many jobs may come without exceeding the bytes; one at least if there is none.
    fn room_for_bytes(&self) -> usize {
        let largest = self.largest.max(1);
        let taken = self.held_bytes + self.asked * largest;
        let room = self.limit_bytes.saturating_sub(taken) / largest;
        room.max(usize::from(self.asked + self.held == 0))
    }

    /// Whether jobs have brought more than they may, which only those can that were asked for before it was
    /// known how large they are.
    pub(super) fn is_overfull(&self) -> bool {
        self.held_bytes > self.limit_bytes
    }

    /// The bytes of the jobs that are not finished.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// How many questions have no answer.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// How many jobs are not finished.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// What to send now; takes it as sent.
    pub(super) fn ask(&mut self) -> Ask {
        if self.closing || self.asleep {
            return Ask::Jobs(0);
        }
        if self.asked == 0 && self.appetite == 0 {
            self.asleep = true;
            return Ask::Sleep;
        }
        let busy = self.held.saturating_add_signed(-self.parked);
        let room = self
            .limit
            .saturating_sub(self.asked + busy)
            .min(self.room_for_bytes());
        let count = self.appetite.saturating_sub(self.asked).min(room);
        self.asked += count;
        Ask::Jobs(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;
    const LIMIT_BYTES: usize = 1000;

    fn intake() -> Intake {
        Intake::new(LIMIT, LIMIT_BYTES)
    }

    fn assigned(intake: &mut Intake, count: usize) {
        (0..count).for_each(|_| intake.assigned(1));
    }

    fn finished(intake: &mut Intake, count: usize) {
        (0..count).for_each(|_| intake.finished(1, false));
    }

    #[test]
    fn what_is_asked_for_doubles_up_to_the_limit() {
        let mut intake = intake();
        let mut asked = Vec::new();
        while let Ask::Jobs(count @ 1..) = intake.ask() {
            asked.push(count);
            assigned(&mut intake, count);
            finished(&mut intake, count);
            if asked.len() == 4 {
                break;
            }
        }
        assert_eq!(asked, [1, 2, 8, 10]);
    }

    #[test]
    fn no_more_are_asked_for_and_held_than_the_limit() {
        let mut intake = intake();
        for _ in 0..100 {
            let Ask::Jobs(count) = intake.ask() else {
                panic!("expected to go on");
            };
            assigned(&mut intake, count);
            assert!(intake.held() <= LIMIT);
        }
        assert_eq!((intake.held(), intake.ask()), (LIMIT, Ask::Jobs(0)));
        finished(&mut intake, 3);
        assert_eq!(intake.ask(), Ask::Jobs(3));
    }

    #[test]
    fn jobs_that_are_parked_hold_up_no_others() {
        let mut intake = intake();
        assigned(&mut intake, LIMIT);
        assert_eq!(intake.ask(), Ask::Jobs(0));
        intake.parked(4);
        assert_eq!(intake.ask(), Ask::Jobs(4));
        (0..4).for_each(|_| intake.finished(1, true));
        assert_eq!(intake.ask(), Ask::Jobs(0));
        assert_eq!(intake.held(), LIMIT - 4);
    }

    #[test]
    fn what_is_held_is_bounded_in_bytes_by_what_jobs_bring_lately() {
        let mut intake = intake();
        assigned(&mut intake, LIMIT);
        finished(&mut intake, LIMIT);
        intake.assigned(300);
        assert_eq!(intake.ask(), Ask::Jobs(2));
        intake.assigned(300);
        intake.assigned(300);
        assert_eq!(intake.ask(), Ask::Jobs(0));
        (0..3).for_each(|_| intake.finished(300, false));
        assert_eq!(intake.ask(), Ask::Jobs(3));
        for _ in 0..100 {
            intake.assigned(1);
            intake.finished(1, false);
        }
        assert_eq!(intake.ask(), Ask::Jobs(LIMIT));
    }

    #[test]
    fn one_job_is_asked_for_however_large_the_last_one_was() {
        let mut intake = intake();
        intake.assigned(2 * LIMIT_BYTES);
        assert_eq!(intake.ask(), Ask::Jobs(0));
        intake.finished(2 * LIMIT_BYTES, false);
        assert_eq!(intake.ask(), Ask::Jobs(1));
    }

    #[test]
    fn jobs_that_are_larger_than_any_before_are_too_many_at_once() {
        let mut intake = intake();
        (0..2).for_each(|_| intake.assigned(LIMIT_BYTES / 2));
        assert!(!intake.is_overfull());
        intake.assigned(1);
        assert!(intake.is_overfull());
        intake.finished(1, false);
        assert!(!intake.is_overfull());
    }

    #[test]
    fn a_job_server_objects_to_each_report_once_at_most() {
        let mut intake = intake();
        assert!(!intake.objected());
        assigned(&mut intake, 2);
        finished(&mut intake, 2);
        assert!(intake.objected() && intake.objected());
        assert!(!intake.objected());
    }

    #[test]
    fn it_sleeps_once_every_question_has_its_answer() {
        let mut intake = intake();
        intake.ask();
        assigned(&mut intake, 1);
        assert_eq!(intake.ask(), Ask::Jobs(2));
        intake.found_none();
        assert_eq!(intake.ask(), Ask::Jobs(0));
        intake.found_none();
        assert_eq!(intake.ask(), Ask::Sleep);
        assert_eq!(intake.ask(), Ask::Jobs(0));
        finished(&mut intake, 1);
        assert_eq!(intake.ask(), Ask::Jobs(0), "asleep, also with a job held");
        intake.woken();
        assert_eq!(intake.ask(), Ask::Jobs(1));
    }

    #[test]
    fn a_closing_one_is_drained_once_all_questions_and_jobs_are_done() {
        let mut intake = intake();
        intake.ask();
        intake.close();
        assert!(!intake.is_drained());
        intake.assigned(1);
        assert_eq!(intake.ask(), Ask::Jobs(0));
        assert!(!intake.is_drained());
        finished(&mut intake, 1);
        assert!(intake.is_drained());
    }
}
