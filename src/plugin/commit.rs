//! The plugin `gman_commit`: takes part in transactions, so that a job can leave when its transaction
//! commits.
//!
//! To the server it is a storage engine, which is the only kind of plugin that is told of commits; it
//! stores nothing, and no table can be made with it.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{self, NonNull};

use crate::error::Error;
use crate::functions::{commit_wait, transaction};
use crate::host::participant::{
    self, Layout, Maria10, Maria11, Member, Mysql9, NO_ENGINE_FOR_TABLES, Xid,
};
use crate::host::server::Server;
use crate::host::{diagnostics, guard};

/// Whether the plugin can be installed into the server around us, whose structure is known.
pub(super) fn is_possible() -> bool {
    participant::is_possible()
}

/// The plugin's `init`: fills in the structure that the server has allocated and zeroed.
pub(super) unsafe extern "C" fn init(structure: *mut c_void) -> c_int {
    let installed = guard::caught(|| {
        let layout = Server::around_us().as_ref().and_then(Layout::of);
        let (Some(layout), Some(structure)) = (layout, NonNull::new(structure)) else {
            return Ok(false);
        };
        // SAFETY: the structure is the server's, of this layout, and nobody else sees it yet.
        unsafe {
            fill_in(layout, structure);
            Ok(participant::install(structure, set_prepare))
        }
    });
    match installed {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            diagnostics::log("ERROR", &error.to_string());
            1
        }
    }
}

/// The plugin's `deinit`.
pub(super) unsafe extern "C" fn deinit(_structure: *mut c_void) -> c_int {
    answered((), participant::remove);
    0
}

/// The plugin's `check_uninstall`, which MySQL has: 0 lets it be removed.
pub(super) unsafe extern "C" fn check_uninstall(_plugin: *mut c_void) -> c_int {
    c_int::from(!answered(false, participant::close_if_unused))
}

/// # Safety
///
/// `structure` is of `layout`, and nobody else uses it.
unsafe fn fill_in(layout: Layout, structure: NonNull<c_void>) {
    macro_rules! fill_in {
        ($structure:ty, $callbacks:ident, $($field:ident = $value:expr),+) => {{
            // SAFETY: the caller's promise.
            let participant = unsafe { structure.cast::<$structure>().as_mut() };
            $(participant.$field = $value;)+
            participant.close_connection = Some($callbacks::close_connection);
            participant.savepoint_set = Some($callbacks::savepoint_set);
            participant.savepoint_rollback = Some($callbacks::savepoint_rollback);
            participant.savepoint_rollback_can_release_mdl = Some($callbacks::can_release_mdl);
            participant.savepoint_release = Some($callbacks::savepoint_release);
            participant.commit = Some($callbacks::commit);
            participant.rollback = Some($callbacks::rollback);
            participant.recover = Some($callbacks::recover);
            participant.commit_by_xid = Some($callbacks::commit_by_xid);
            participant.rollback_by_xid = Some($callbacks::rollback_by_xid);
        }};
    }
    match layout {
        Layout::Maria10 => fill_in!(
            Maria10,
            with_handlerton,
            commit_ordered = Some(with_handlerton::commit_ordered),
            create = Some(create)
        ),
        Layout::Maria11 => fill_in!(
            Maria11,
            bare,
            commit_ordered = Some(bare::commit_ordered),
            flags = NO_ENGINE_FOR_TABLES
        ),
        Layout::Mysql9 => fill_in!(Mysql9, with_handlerton, flags = NO_ENGINE_FOR_TABLES),
    }
}

/// Refuses a table: without this callback the server would give it to another engine.
unsafe extern "C" fn create(
    _handlerton: *mut c_void,
    _share: *mut c_void,
    _memory: *mut c_void,
) -> *mut c_void {
    answered((), || {
        let problem =
            "it stores nothing, and no table can be made with it; ENGINE=InnoDB makes one";
        diagnostics::raise("gman_commit", &Error::Input(problem.to_owned()));
    });
    ptr::null_mut()
}

/// Puts `prepare` into the structure, which the server may be reading.
fn set_prepare(structure: NonNull<c_void>) {
    macro_rules! set {
        ($structure:ty, $callbacks:ident) => {{
            let participant = structure.cast::<$structure>().as_ptr();
            // SAFETY: the structure is of this layout and stays; a pointer is written at once.
            unsafe { (&raw mut (*participant).prepare).write_volatile(Some($callbacks::prepare)) };
        }};
    }
    match Server::around_us().as_ref().and_then(Layout::of) {
        Some(Layout::Maria10) => set!(Maria10, with_handlerton),
        Some(Layout::Maria11) => set!(Maria11, bare),
        Some(Layout::Mysql9) => set!(Mysql9, with_handlerton),
        None => {}
    }
}

/// Defines both forms of the callbacks below: a `handlerton` passes its own address first.
macro_rules! both_forms {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        mod with_handlerton {
            use super::*;
            $(pub(super) unsafe extern "C" fn $name(
                _handlerton: *mut c_void, $($argument: $type),*
            ) -> $result {
                // SAFETY: the server passes what its header declares.
                unsafe { super::$name($($argument),*) }
            })*
        }
        mod bare {
            use super::*;
            $(pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                // SAFETY: as above.
                unsafe { super::$name($($argument),*) }
            })*
        }
    };
}

both_forms! {
    close_connection(thd: *mut c_void) -> c_int;
    savepoint_set(thd: *mut c_void, at: *mut c_void) -> c_int;
    savepoint_rollback(thd: *mut c_void, at: *mut c_void) -> c_int;
    can_release_mdl(thd: *mut c_void) -> bool;
    savepoint_release(thd: *mut c_void, at: *mut c_void) -> c_int;
    commit(thd: *mut c_void, all: bool) -> c_int;
    commit_ordered(thd: *mut c_void, all: bool) -> ();
    rollback(thd: *mut c_void, all: bool) -> c_int;
    prepare(thd: *mut c_void, all: bool) -> c_int;
    recover(list: *mut c_void, length: c_uint) -> c_int;
    commit_by_xid(xid: *const Xid) -> c_int;
    rollback_by_xid(xid: *const Xid) -> c_int;
}

/// If the server has called `commit_ordered` for this commit, it is durable and visible by now, and InnoDB
/// holds no lock for it; this is the session's own thread.
unsafe fn commit(thd: *mut c_void, all: bool) -> c_int {
    // SAFETY: the server's callback for this session, here and below.
    let jobs = unsafe { with_member(thd, transaction::ordered) };
    // SAFETY: as above.
    unsafe { ended(thd, all, true) };
    if let Some(jobs) = jobs {
        // SAFETY: as above.
        unsafe { with_member(thd, |member| commit_wait::wait(member, &jobs)) };
    }
    0
}

/// With a binary log MariaDB's InnoDB lets go of its locks in here, one transaction after the other in the
/// order of the log, and calls `commit` later and in any order. So the jobs take their place now.
unsafe fn commit_ordered(thd: *mut c_void, all: bool) {
    // SAFETY: the server's callback for this session, whose own thread waits meanwhile.
    unsafe {
        with_member(thd, |member| {
            if all || !member.is_in_transaction() {
                transaction::committed_in_order(member);
            }
        })
    };
}

unsafe fn rollback(thd: *mut c_void, all: bool) -> c_int {
    // SAFETY: as above.
    unsafe { ended(thd, all, false) }
}

/// A statement or a transaction of a session ends. The answer is success whatever happens: anything
/// else would be an error of the client's COMMIT.
unsafe fn ended(thd: *mut c_void, all: bool, committed: bool) -> c_int {
    // SAFETY: the server's callback for this session.
    unsafe {
        with_member(thd, |member| {
            if all || !member.is_in_transaction() {
                transaction::ended(member, committed);
                member.leave();
            } else {
                transaction::statement_ended(member, committed);
            }
        })
    };
    0
}

unsafe fn prepare(thd: *mut c_void, all: bool) -> c_int {
    if all {
        // SAFETY: the server's callback for this session.
        unsafe { with_member(thd, transaction::prepared) };
    }
    0
}

unsafe fn commit_by_xid(xid: *const Xid) -> c_int {
    // SAFETY: the server passes an XID of its own.
    unsafe { ended_by_xid(xid, true) }
}

unsafe fn rollback_by_xid(xid: *const Xid) -> c_int {
    // SAFETY: as above.
    unsafe { ended_by_xid(xid, false) }
}

unsafe fn ended_by_xid(xid: *const Xid, committed: bool) -> c_int {
    // SAFETY: the caller's promise.
    let xid = unsafe { Xid::from_server(xid) };
    answered((), || {
        if let Some(xid) = xid {
            transaction::resolved_by_xid(&xid, committed);
        }
    });
    0
}

/// Nothing is prepared here over a restart: there are no transactions to find again. A server asks by
/// XID only those who can be asked this.
unsafe fn recover(_list: *mut c_void, _length: c_uint) -> c_int {
    0
}

/// The server's memory for a savepoint is only used as its name: in MariaDB, that of an engine which is
/// installed while the server runs lies beyond what has been allocated.
unsafe fn savepoint_set(thd: *mut c_void, at: *mut c_void) -> c_int {
    // SAFETY: the server's callback for this session.
    let set = unsafe {
        with_member(thd, |member| {
            transaction::savepoint_set(member, at as usize)
        })
    };
    c_int::from(set == Some(false))
}

unsafe fn savepoint_rollback(thd: *mut c_void, at: *mut c_void) -> c_int {
    // SAFETY: the server's callback for this session.
    unsafe {
        with_member(thd, |member| {
            transaction::savepoint_rollback(member, at as usize)
        })
    };
    0
}

unsafe fn savepoint_release(thd: *mut c_void, at: *mut c_void) -> c_int {
    // SAFETY: the server's callback for this session.
    unsafe {
        with_member(thd, |member| {
            transaction::savepoint_release(member, at as usize)
        })
    };
    0
}

/// Nothing here needs the metadata locks that were taken behind a savepoint.
unsafe fn can_release_mdl(_thd: *mut c_void) -> bool {
    true
}

unsafe fn close_connection(thd: *mut c_void) -> c_int {
    // SAFETY: the server's callback for this session, which keeps nothing from here on.
    unsafe {
        with_member(thd, transaction::closed);
        if let Some(member) = Member::of(thd) {
            answered((), || member.close());
        }
    }
    0
}

/// Runs `body` for the session `thd`, unless it keeps nothing.
///
/// # Safety
///
/// As [`Member::of`].
unsafe fn with_member<T>(thd: *mut c_void, body: impl FnOnce(&Member<'_>) -> T) -> Option<T> {
    // SAFETY: the caller's promise.
    let member = unsafe { Member::of(thd) }?;
    answered(None, || Some(body(&member)))
}

/// Runs `body`; a panic is a line in the error log and `otherwise`.
fn answered<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    guard::caught(|| Ok(body())).unwrap_or_else(|error: Error| {
        diagnostics::log("ERROR", &format!("gman_commit: {error}"));
        otherwise
    })
}
