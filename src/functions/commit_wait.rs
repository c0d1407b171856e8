//! `gman_commit_wait`: a commit returns when the job servers have its jobs.

use crate::error::Error;
use crate::functions::{failure, transaction};
use crate::gearman::delivery::held::Released;
use crate::gearman::wire::deadline::Deadline;
use crate::host::killed::Statement;
use crate::host::participant::{self, Member};
use crate::settings;

/// Whether commits can wait.
///
/// # Errors
///
/// [`Error::Input`] with the remedy.
pub(crate) fn check_possible() -> Result<(), Error> {
    transaction::check_possible()?;
    if participant::is_told_when_durable() {
        return Ok(());
    }
    Err(Error::Input(
        "this server calls no plugin between the moment when a commit is durable and the one when its client \
         hears of it; MariaDB does if it has a binary log, so start one with log_bin"
            .to_owned(),
    ))
}

/// The session's commit is durable and visible, and InnoDB holds no lock for it: waits until the job servers
/// have its jobs, if that is wanted. The commit stands whatever happens here.
pub(crate) fn wait(member: &Member<'_>, jobs: &[Released]) {
    if jobs.is_empty() || !settings::COMMIT_WAIT.get() {
        return;
    }
    // They need not wait for the end of the statement.
    member.commit_is_over();
    let statement = Statement::current();
    let should_stop = || statement.is_killed();
    let deadline = Deadline::unless_stopped(settings::TIMEOUT.duration(), &should_stop);
    if let Some(error) = jobs.iter().find_map(|jobs| jobs.wait(&deadline).err()) {
        failure::note_late_jobs(&error);
    }
}
