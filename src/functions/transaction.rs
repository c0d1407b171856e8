//! Delivery at commit: what a session's transaction holds back, and what becomes of it.
//!
//! Jobs are held in the order in which they were submitted. A statement that fails drops those behind the
//! place where it began, a rollback to a savepoint those behind the savepoint, and what is left at a
//! commit goes to the window in one step. A transaction that was prepared under an XID leaves its jobs
//! under the XID, as another session may end it.

use std::collections::{HashMap, TryReserveError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::functions::client::{CLIENT, limits};
use crate::functions::outboxes::Outbox;
use crate::gearman::delivery::held::{Held, Released};
use crate::gearman::delivery::window::Gate;
use crate::gearman::wire::job::Job;
use crate::host::commit_gate::CommitGate;
use crate::host::participant::{self, Absent, Member, Xid};
use crate::json;
use crate::{settings, status};

/// What a session's transaction holds back.
#[derive(Default)]
struct Transaction {
    held: Held,
    /// How many jobs there were when the statement began.
    before_statement: usize,
    savepoints: Vec<Savepoint>,
    /// Where the jobs went of a commit that the server has put into the order of its log: once it calls
    /// again, that commit is durable.
    ordered: Vec<Released>,
    /// The outboxes that it may have written to, whose relays its commit wakes. If its rows were undone, the
    /// relays look once and find nothing.
    outboxes: Vec<Arc<Outbox>>,
}

struct Savepoint {
    /// What the server calls it: a number that no other savepoint of the transaction has.
    name: usize,
    /// How many jobs there were when it was set.
    jobs: usize,
}

/// The jobs of transactions that are prepared under an XID.
static PREPARED: LazyLock<Mutex<HashMap<Xid, Held>>> = LazyLock::new(Mutex::default);

/// How many these are, so that a commit need not lock them.
static PREPARED_TRANSACTIONS: AtomicUsize = AtomicUsize::new(0);

/// The gates that belong to no session: what waited behind them is done.
#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn is_open(&self, _number: u64) -> bool {
        true
    }
}

impl Gate for CommitGate {
    fn is_open(&self, number: u64) -> bool {
        self.is_over(number)
    }
}

/// Holds a job back until the session's transaction commits; returns its unique id.
pub(super) fn hold(job: &Job<'_>, should_stop: &dyn Fn() -> bool) -> Result<Vec<u8>, Error> {
    let limits = limits();
    let rows = rows_per_job(job);
    let held = participant::join(Transaction::default, |transaction| {
        CLIENT.hold(job, rows, &mut transaction.held, &limits, should_stop)
    });
    match held {
        Ok(held) => held,
        Err(Absent::Session) => Err(Error::Input(
            "gman_delivery=committed needs a session, and this thread has none".to_owned(),
        )),
        Err(Absent::Plugin) => Err(Error::Input(not_installed().to_owned())),
    }
}

/// How many rows may share a job with this one. Only whole objects do, so that none spoils the others, and
/// no job to which the caller gave an id of its own or a time.
fn rows_per_job(job: &Job<'_>) -> usize {
    match settings::ROWS_PER_JOB.size() {
        rows @ 2.. if job.has_a_fresh_id_in_background() && is_object(job.workload()) => rows,
        _ => 1,
    }
}

fn is_object(workload: &[u8]) -> bool {
    workload.starts_with(b"{") && str::from_utf8(workload).is_ok_and(json::is_value)
}

/// Has the commit of the session's transaction wake the relay of `outbox`; returns whether it will.
pub(super) fn wake_at_commit(outbox: &Arc<Outbox>) -> bool {
    let joined = participant::join(Transaction::default, |transaction| {
        let outboxes = &mut transaction.outboxes;
        let is_known = outboxes.iter().any(|known| Arc::ptr_eq(known, outbox));
        if !is_known && outboxes.try_reserve(1).is_ok() {
            outboxes.push(Arc::clone(outbox));
        }
    });
    joined.is_ok()
}

/// Why jobs cannot wait for a commit now, and the remedy.
fn not_installed() -> &'static str {
    if participant::is_possible() {
        "gman_delivery=committed needs the plugin gman_commit: \
         INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so'"
    } else {
        "gman_delivery=committed is not possible on this server, whose transactions are not known: \
         SET GLOBAL gman_delivery = 'acked' or 'pipelined', or use the outbox"
    }
}

/// Whether jobs can wait for a commit.
///
/// # Errors
///
/// [`Error::Input`] with the remedy.
pub(crate) fn check_possible() -> Result<(), Error> {
    match participant::is_installed() {
        true => Ok(()),
        false => Err(Error::Input(not_installed().to_owned())),
    }
}

/// A statement ended inside a transaction.
pub(crate) fn statement_ended(member: &Member<'_>, succeeded: bool) {
    member.with(|transaction: &mut Transaction| {
        if !succeeded {
            transaction.drop_behind(transaction.before_statement);
        }
        transaction.before_statement = transaction.held.mark();
    });
}

/// A transaction ended, or a statement outside any.
pub(crate) fn ended(member: &Member<'_>, committed: bool) {
    if PREPARED_TRANSACTIONS.load(Ordering::Acquire) > 0
        && let Some(xid) = member.xid()
    {
        resolved(&xid, committed, || member.begin_commit());
    }
    member.with(|transaction: &mut Transaction| {
        transaction.before_statement = 0;
        transaction.savepoints.clear();
        finish(&mut transaction.held, committed, || member.begin_commit());
        let outboxes = transaction.outboxes.drain(..);
        for outbox in outboxes.filter(|_| committed) {
            let (gate, number) = member.begin_commit();
            outbox.wake(gate, number);
        }
    });
}

/// A transaction was committed in the order of the server's log.
pub(crate) fn committed_in_order(member: &Member<'_>) {
    ended(member, true);
    if settings::COMMIT_WAIT.get() {
        member.with(|transaction: &mut Transaction| {
            transaction.ordered = transaction.held.take_released();
        });
    }
}

/// Where the jobs went of the commit that the server has put into its order last, once.
pub(crate) fn ordered(member: &Member<'_>) -> Vec<Released> {
    let ordered = |transaction: &mut Transaction| std::mem::take(&mut transaction.ordered);
    member.with(ordered).unwrap_or_default()
}

/// A transaction was prepared: under an XID by XA PREPARE, or by the server for a commit of its own.
pub(crate) fn prepared(member: &Member<'_>) {
    let Some(xid) = member.xid() else { return };
    member.with(|transaction: &mut Transaction| {
        if transaction.held.len() > 0 {
            let mut prepared = prepared_jobs();
            prepared.insert(xid, std::mem::take(&mut transaction.held));
            PREPARED_TRANSACTIONS.store(prepared.len(), Ordering::Release);
            transaction.before_statement = 0;
        }
    });
}

/// A transaction that was prepared under `xid` was ended by its XID, from whichever session. There is no
/// session then whose commit could be waited for, and it is durable: the server resolves it last.
pub(crate) fn resolved_by_xid(xid: &Xid, committed: bool) {
    resolved(xid, committed, || (Arc::new(Open), 0));
}

fn resolved<G: Gate + 'static>(xid: &Xid, committed: bool, gate: impl FnOnce() -> (Arc<G>, u64)) {
    let held = {
        let mut prepared = prepared_jobs();
        let held = prepared.remove(xid);
        PREPARED_TRANSACTIONS.store(prepared.len(), Ordering::Release);
        held
    };
    if let Some(mut held) = held {
        finish(&mut held, committed, gate);
    }
}

/// A savepoint is set, which the server calls `name`; returns whether there was memory for it.
pub(crate) fn savepoint_set(member: &Member<'_>, name: usize) -> bool {
    member
        .with(|transaction: &mut Transaction| {
            let savepoints = &mut transaction.savepoints;
            savepoints.retain(|savepoint| savepoint.name != name);
            savepoints.try_reserve(1)?;
            savepoints.push(Savepoint {
                name,
                jobs: transaction.held.mark(),
            });
            Ok::<(), TryReserveError>(())
        })
        .is_none_or(|set| set.is_ok())
}

/// The transaction went back to a savepoint, which stays.
pub(crate) fn savepoint_rollback(member: &Member<'_>, name: usize) {
    member.with(|transaction: &mut Transaction| {
        let mut savepoints = transaction.savepoints.iter();
        let place = savepoints.find(|savepoint| savepoint.name == name);
        // One that is not known was set before the first job.
        transaction.drop_behind(place.map_or(0, |savepoint| savepoint.jobs));
        transaction.before_statement = transaction.held.mark();
    });
}

/// A savepoint is given up.
pub(crate) fn savepoint_release(member: &Member<'_>, name: usize) {
    member.with(|transaction: &mut Transaction| {
        transaction
            .savepoints
            .retain(|savepoint| savepoint.name != name);
    });
}

/// The session is over; what it prepared stays.
pub(crate) fn closed(member: &Member<'_>) {
    member.with(|transaction: &mut Transaction| {
        finish(&mut transaction.held, false, || member.begin_commit());
    });
}

impl Transaction {
    fn drop_behind(&mut self, place: usize) {
        status::JOBS_DROPPED.add(self.held.truncate(place) as u64);
    }
}

/// Lets the jobs of a transaction go, behind the gate of its commit, or drops them.
fn finish<G: Gate + 'static>(
    held: &mut Held,
    committed: bool,
    gate: impl FnOnce() -> (Arc<G>, u64),
) {
    if held.len() == 0 {
        return;
    }
    if committed {
        status::TRANSACTIONS_COMMITTED.add(1);
        let (gate, number) = gate();
        let gate: Arc<dyn Gate> = gate;
        held.release(&gate, number);
    } else {
        status::TRANSACTIONS_ROLLED_BACK.add(1);
        status::JOBS_DROPPED.add(held.truncate(0) as u64);
    }
}

fn prepared_jobs() -> MutexGuard<'static, HashMap<Xid, Held>> {
    // Nothing in here panics half way.
    PREPARED.lock().unwrap_or_else(PoisonError::into_inner)
}
