//! Tells when the commit that a session has begun is durable and visible.
//!
//! A participant is called before InnoDB if the server keeps no binary log, so its own callback is
//! too early. The end of the statement that commits is late enough on every server, and it shows from
//! outside: the session's statement is then another one, or none. Nobody is called at that moment, so
//! somebody who waits looks again and again.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::host::session::Session;
use crate::host::symbols::symbol;

/// Nobody waits longer for a commit: a session may go on with a statement that looks like the one
/// that committed, and no disk that works takes longer.
const LONGEST_COMMIT: Duration = Duration::from_secs(10);

/// The commits of one session.
#[derive(Debug)]
pub(crate) struct CommitGate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many commits have begun.
    begun: u64,
    /// How many of them are over.
    over: u64,
    /// The last one, while it is not known to be over.
    last: Option<Commit>,
}

#[derive(Debug)]
struct Commit {
    session: Session,
    statement: Statement,
    began: Instant,
}

impl CommitGate {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                begun: 0,
                over: 0,
                last: None,
            }),
        }
    }

    /// The session begins to commit; returns the number of this commit.
    pub(crate) fn begin(&self, session: Session) -> u64 {
        let mut state = self.lock();
        // A session commits one thing after the other.
        state.over = state.begun;
        state.begun += 1;
        state.last = Statement::of(session).map(|statement| Commit {
            session,
            statement,
            began: Instant::now(),
        });
        if state.last.is_none() {
            state.over = state.begun;
        }
        state.begun
    }

    /// The session does something else: all its commits are over. Also called when it ends, and
    /// nothing asks the server about it from then on.
    pub(crate) fn pass(&self) {
        let mut state = self.lock();
        state.over = state.begun;
        state.last = None;
    }

    /// Whether commit `number` is over.
    pub(crate) fn is_over(&self, number: u64) -> bool {
        let mut state = self.lock();
        if let Some(commit) = &state.last
            && state.over < number
            && commit.is_over()
        {
            state.over = state.begun;
            state.last = None;
        }
        state.over >= number
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commit {
    fn is_over(&self) -> bool {
        Statement::of(self.session).as_ref() != Some(&self.statement)
            || self.began.elapsed() >= LONGEST_COMMIT
    }
}

/// What tells the statements of a session apart: never followed, only compared.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    text: usize,
    length: usize,
    /// MariaDB's number of the statement; 0 on MySQL.
    number: u64,
    command: c_int,
}

/// `LEX_STRING` of both servers.
#[repr(C)]
#[derive(Clone, Copy)]
struct LexString {
    text: *const c_char,
    length: usize,
}

/// `thd_query_string` and `thd_query_id` of MariaDB's `plugin.h`, C linkage.
type QueryString = unsafe extern "C" fn(*mut c_void) -> *const LexString;
type QueryId = unsafe extern "C" fn(*const c_void) -> u64;

/// `thd_query_unsafe` of MySQL's `sql_thd_internal_api.h`, C++ linkage.
type QueryUnsafe = unsafe extern "C" fn(*mut c_void) -> LexString;
const QUERY_UNSAFE: &CStr = c"_Z16thd_query_unsafeP3THD";

/// `thd_sql_command` of both servers' `plugin.h`, C linkage.
type SqlCommand = unsafe extern "C" fn(*const c_void) -> c_int;

#[derive(Clone, Copy)]
enum Query {
    Maria { text: QueryString, id: QueryId },
    Mysql(QueryUnsafe),
}

#[derive(Clone, Copy)]
struct Questions {
    query: Query,
    command: SqlCommand,
}

impl Statement {
    /// The statement that `session` runs; `None` between statements, and if the server does not
    /// let us ask.
    fn of(session: Session) -> Option<Self> {
        let questions = questions()?;
        let thd = session.address();
        // SAFETY:
        // - a `Session` in a gate is alive: `pass` takes it out, under the lock that the caller
        //   holds, before the server frees it;
        // - the functions read single words of it; one that changes meanwhile is taken for
        //   another statement or for the same one, which a later look corrects.
        let (query, number, command) = unsafe {
            let (query, number) = match questions.query {
                Query::Maria { text, id } => (text(thd).read_volatile(), id(thd)),
                Query::Mysql(query) => (query(thd), 0),
            };
            (query, number, (questions.command)(thd))
        };
        NonNull::new(query.text.cast_mut()).map(|text| Self {
            text: text.as_ptr() as usize,
            length: query.length,
            number,
            command,
        })
    }
}

fn questions() -> Option<&'static Questions> {
    static QUESTIONS: OnceCell<Option<Questions>> = OnceCell::new();
    QUESTIONS
        .get_or_init(|| {
            let command = symbol(c"thd_sql_command")?;
            let maria = symbol(c"thd_query_string").zip(symbol(c"thd_query_id"));
            // SAFETY: the symbols have these signatures in every server that exports them, MariaDB
            // 10.5 to 11.8 and MySQL 8.0 to 9.7; the mangled name spells its argument out.
            let query = unsafe {
                match (maria, symbol(QUERY_UNSAFE)) {
                    (Some((text, id)), _) => Query::Maria {
                        text: mem::transmute::<*mut c_void, QueryString>(text),
                        id: mem::transmute::<*mut c_void, QueryId>(id),
                    },
                    (None, Some(query)) => {
                        Query::Mysql(mem::transmute::<*mut c_void, QueryUnsafe>(query))
                    }
                    (None, None) => return None,
                }
            };
            Some(Questions {
                query,
                // SAFETY: as above.
                command: unsafe { mem::transmute::<*mut c_void, SqlCommand>(command) },
            })
        })
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outside a server nothing can be asked, so a commit counts as over at once.
    #[test]
    fn without_a_server_nobody_waits() {
        let gate = CommitGate::new();
        let mut thd = 0_u64;
        let session = Session::from_server((&raw mut thd).cast()).unwrap();
        let number = gate.begin(session);
        assert!(gate.is_over(number));
    }

    #[test]
    fn the_next_step_of_a_session_ends_its_commits() {
        let gate = CommitGate::new();
        let mut thd = 0_u64;
        let session = Session::from_server((&raw mut thd).cast()).unwrap();
        gate.lock().last = Some(Commit {
            session,
            statement: Statement {
                text: 1,
                length: 1,
                number: 1,
                command: 1,
            },
            began: Instant::now(),
        });
        gate.lock().begun = 1;
        gate.lock().over = 0;
        gate.pass();
        assert!(gate.is_over(1));
        assert!(!gate.is_over(2));
    }
}
