//! Taking part in transactions: the structures that a server keeps its callbacks in, and how a session
//! is registered.
//!
//! A plugin of the storage engine type without a single table function is a participant: a session that
//! it registers is announced to it at the end of each statement and transaction. The structures are the
//! beginnings of `handlerton`, and of MariaDB's later `transaction_participant`, in `sql/handler.h` of
//! each server; only the fields that have a name here are written, and only where the server is known
//! to have them there.

use std::any::Any;
use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::host::commit_gate::CommitGate;
use crate::host::server::Server;
use crate::host::session::{self, Session};
use crate::host::symbols::symbol;

/// `OPTION_NOT_AUTOCOMMIT | OPTION_BEGIN`, of MariaDB's `sql_priv.h` and MySQL's `query_options.h`:
/// the transaction goes on after the statement.
const TRANSACTION_OPTIONS: i64 = 1 << 19 | 1 << 20;

/// What every XID begins with that a server made for itself: `MYSQL_XID_PREFIX` of `sql/xa.h`.
const OWN_XID_PREFIX: &[u8] = b"MySQLXid";

/// `XIDDATASIZE`: `MAXGTRIDSIZE + MAXBQUALSIZE` of `plugin.h`.
const XID_DATA_BYTES: usize = 128;

/// How long the removal of the plugin waits for transactions that began in its last moment.
const LAST_TRANSACTIONS: Duration = Duration::from_secs(10);

/// The shape of the structure that a server's participants fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `handlerton` of MariaDB 10.11. In 10.5, whose fields lie in the same places as far as they are used,
    /// the server took it for the engine of other tables when it was there at the start.
    Maria10,
    /// `transaction_participant` of MariaDB 11.8.
    Maria11,
    /// `handlerton` of MySQL 9.7.
    Mysql9,
}

impl Layout {
    /// That of `server`; `None` if it is not known.
    pub(crate) fn of(server: &Server) -> Option<Self> {
        let layout = Self::of_version(server)?;
        symbol(layout.register_symbol()).map(|_| layout)
    }

    fn of_version(server: &Server) -> Option<Self> {
        match server {
            Server::Maria(101_100..=101_199) => Some(Self::Maria10),
            Server::Maria(110_800..=110_899) => Some(Self::Maria11),
            Server::Mysql(90_700..=90_799) => Some(Self::Mysql9),
            Server::Maria(_) | Server::Mysql(_) | Server::Unknown(_) => None,
        }
    }

    /// `trans_register_ha`, whose name spells out what it takes.
    fn register_symbol(self) -> &'static CStr {
        match self {
            Self::Maria10 => c"_Z17trans_register_haP3THDbP10handlertony",
            Self::Maria11 => c"_Z17trans_register_haP3THDbP23transaction_participanty",
            Self::Mysql9 => c"_Z17trans_register_haP3THDbP10handlertonPKy",
        }
    }
}

/// An XID as both servers have it: `xid_t`, and `MYSQL_XID` of `plugin.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Xid {
    format: c_long,
    gtrid_length: c_long,
    bqual_length: c_long,
    data: [u8; XID_DATA_BYTES],
}

impl Xid {
    /// The same without what is left over behind its data, so that equal ones compare equal; `None`
    /// for none, and for one that the server made for itself.
    fn of_user(mut self) -> Option<Self> {
        let length = usize::try_from(self.gtrid_length.checked_add(self.bqual_length)?).ok()?;
        if self.format < 0 || length > XID_DATA_BYTES || self.data.starts_with(OWN_XID_PREFIX) {
            return None;
        }
        self.data[length..].fill(0);
        Some(self)
    }

    /// The one that a server passes to a callback.
    ///
    /// # Safety
    ///
    /// `xid` is NULL or points to an XID of the server.
    pub(crate) unsafe fn from_server(xid: *const Self) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { xid.as_ref() }.copied().and_then(Self::of_user)
    }
}

/// Callbacks as a `handlerton` has them: its own address comes first.
pub(crate) mod with_handlerton {
    use super::{Xid, c_int, c_uint, c_void};

    pub(crate) type Close = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    pub(crate) type AtSavepoint =
        unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int;
    pub(crate) type CanRelease = unsafe extern "C" fn(*mut c_void, *mut c_void) -> bool;
    pub(crate) type AtEnd = unsafe extern "C" fn(*mut c_void, *mut c_void, bool) -> c_int;
    pub(crate) type InOrder = unsafe extern "C" fn(*mut c_void, *mut c_void, bool);
    pub(crate) type Create =
        unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> *mut c_void;
    pub(crate) type Recover = unsafe extern "C" fn(*mut c_void, *mut c_void, c_uint) -> c_int;
    pub(crate) type ByXid = unsafe extern "C" fn(*mut c_void, *const Xid) -> c_int;
}

/// Callbacks as a `transaction_participant` has them.
pub(crate) mod bare {
    use super::{Xid, c_int, c_uint, c_void};

    pub(crate) type Close = unsafe extern "C" fn(*mut c_void) -> c_int;
    pub(crate) type AtSavepoint = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    pub(crate) type CanRelease = unsafe extern "C" fn(*mut c_void) -> bool;
    pub(crate) type AtEnd = unsafe extern "C" fn(*mut c_void, bool) -> c_int;
    pub(crate) type InOrder = unsafe extern "C" fn(*mut c_void, bool);
    pub(crate) type Recover = unsafe extern "C" fn(*mut c_void, c_uint) -> c_int;
    pub(crate) type ByXid = unsafe extern "C" fn(*const Xid) -> c_int;
}

/// The beginning of `struct handlerton`, MariaDB 10.11.
#[repr(C)]
pub(crate) struct Maria10 {
    _db_type: c_int,
    _slot: c_uint,
    _savepoint_offset: c_uint,
    pub(crate) close_connection: Option<with_handlerton::Close>,
    _kill_query: *const c_void,
    pub(crate) savepoint_set: Option<with_handlerton::AtSavepoint>,
    pub(crate) savepoint_rollback: Option<with_handlerton::AtSavepoint>,
    pub(crate) savepoint_rollback_can_release_mdl: Option<with_handlerton::CanRelease>,
    pub(crate) savepoint_release: Option<with_handlerton::AtSavepoint>,
    pub(crate) commit: Option<with_handlerton::AtEnd>,
    pub(crate) commit_ordered: Option<with_handlerton::InOrder>,
    pub(crate) rollback: Option<with_handlerton::AtEnd>,
    pub(crate) prepare: Option<with_handlerton::AtEnd>,
    _prepare_ordered: *const c_void,
    pub(crate) recover: Option<with_handlerton::Recover>,
    pub(crate) commit_by_xid: Option<with_handlerton::ByXid>,
    pub(crate) rollback_by_xid: Option<with_handlerton::ByXid>,
    _checkpoints_and_cursors: [*const c_void; 5],
    /// Makes the server's side of a table.
    pub(crate) create: Option<with_handlerton::Create>,
}

/// The beginning of `struct transaction_participant`, MariaDB 11.8. Where `commit_ordered` is shows in the
/// server's own `TC_LOG::run_commit_ordered`, which calls it for every participant that has it.
#[repr(C)]
pub(crate) struct Maria11 {
    _slot: c_uint,
    _savepoint_offset: c_uint,
    pub(crate) flags: c_uint,
    pub(crate) close_connection: Option<bare::Close>,
    pub(crate) savepoint_set: Option<bare::AtSavepoint>,
    pub(crate) savepoint_rollback: Option<bare::AtSavepoint>,
    pub(crate) savepoint_rollback_can_release_mdl: Option<bare::CanRelease>,
    pub(crate) savepoint_release: Option<bare::AtSavepoint>,
    pub(crate) commit: Option<bare::AtEnd>,
    pub(crate) rollback: Option<bare::AtEnd>,
    pub(crate) prepare: Option<bare::AtEnd>,
    pub(crate) recover: Option<bare::Recover>,
    pub(crate) commit_by_xid: Option<bare::ByXid>,
    pub(crate) rollback_by_xid: Option<bare::ByXid>,
    _recover_rollback_by_xid: *const c_void,
    _recovery_done: *const c_void,
    _start_consistent_snapshot: *const c_void,
    pub(crate) commit_ordered: Option<bare::InOrder>,
}

/// The beginning of `struct handlerton`, MySQL 9.7. Where `flags` is shows in the server's own
/// `ha_resolve_by_name`, which asks it whether an engine can be chosen.
#[repr(C)]
pub(crate) struct Mysql9 {
    _state: c_int,
    _db_type: c_int,
    _slot: c_uint,
    _savepoint_offset: c_uint,
    pub(crate) close_connection: Option<with_handlerton::Close>,
    _kill_connection: *const c_void,
    _pre_dd_shutdown: *const c_void,
    _reset_plugin_vars: *const c_void,
    pub(crate) savepoint_set: Option<with_handlerton::AtSavepoint>,
    pub(crate) savepoint_rollback: Option<with_handlerton::AtSavepoint>,
    pub(crate) savepoint_rollback_can_release_mdl: Option<with_handlerton::CanRelease>,
    pub(crate) savepoint_release: Option<with_handlerton::AtSavepoint>,
    pub(crate) commit: Option<with_handlerton::AtEnd>,
    pub(crate) rollback: Option<with_handlerton::AtEnd>,
    pub(crate) prepare: Option<with_handlerton::AtEnd>,
    pub(crate) recover: Option<with_handlerton::Recover>,
    _recover_prepared_in_tc: *const c_void,
    pub(crate) commit_by_xid: Option<with_handlerton::ByXid>,
    pub(crate) rollback_by_xid: Option<with_handlerton::ByXid>,
    _tables_and_dictionary: [*const c_void; 30],
    pub(crate) flags: u32,
}

/// `HTON_HIDDEN | HTON_NOT_USER_SELECTABLE` of both servers' `handler.h`: not in SHOW ENGINES, and unknown
/// to CREATE TABLE.
pub(crate) const NO_ENGINE_FOR_TABLES: u32 = 1 << 3 | 1 << 5;

/// How a session is registered; the last argument is a number, or a pointer to one, for engines that
/// number their transactions: 0 and NULL are the same register.
type Register = unsafe extern "C" fn(*mut c_void, bool, *mut c_void, *const c_void);

/// `thd_test_options` of `sql_class.cc` (MySQL: `sql_thd_api.cc`), C linkage.
type TestOptions = unsafe extern "C" fn(*const c_void, i64) -> c_int;

/// `thd_get_ha_data` and `thd_set_ha_data` of `plugin.h`, C linkage.
type GetData = unsafe extern "C" fn(*const c_void, *const c_void) -> *mut c_void;
type SetData = unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void);

/// `thd_get_xid` of `plugin.h`, C linkage.
type GetXid = unsafe extern "C" fn(*const c_void, *mut Xid);

/// What the server exports for participants.
#[derive(Clone, Copy)]
struct Services {
    register: Register,
    test_options: TestOptions,
    get_data: GetData,
    set_data: SetData,
    get_xid: GetXid,
}

impl Services {
    fn of(layout: Layout) -> Option<Self> {
        // SAFETY: the symbols have these signatures in every server that has the layout.
        unsafe {
            Some(Self {
                register: mem::transmute::<*mut c_void, Register>(symbol(
                    layout.register_symbol(),
                )?),
                test_options: mem::transmute::<*mut c_void, TestOptions>(symbol(
                    c"thd_test_options",
                )?),
                get_data: mem::transmute::<*mut c_void, GetData>(symbol(c"thd_get_ha_data")?),
                set_data: mem::transmute::<*mut c_void, SetData>(symbol(c"thd_set_ha_data")?),
                get_xid: mem::transmute::<*mut c_void, GetXid>(symbol(c"thd_get_xid")?),
            })
        }
    }
}

/// What the running server exports for participants; asked for once.
fn services() -> Option<&'static Services> {
    static SERVICES: OnceCell<Option<Services>> = OnceCell::new();
    SERVICES
        .get_or_init(|| Services::of(Layout::of(&Server::around_us()?)?))
        .as_ref()
}

/// The server's structure of the plugin, a `handlerton` or a `transaction_participant`; NULL until it
/// is installed for the first time.
static STRUCTURE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Puts `prepare` into the structure. Not before a session joins: a server counts an engine that has it
/// at the end of its `init` as one for two phases, and MariaDB then keeps a log for them.
static SET_PREPARE: OnceCell<fn(NonNull<c_void>)> = OnceCell::new();

/// Whether sessions may join. Whoever lets one join holds the lock, so that the server does not free
/// the structure meanwhile.
static OPEN: RwLock<bool> = RwLock::new(false);

/// Sessions that are registered and have not heard of the end yet.
static REGISTERED: AtomicU64 = AtomicU64::new(0);

/// Sessions that keep something for the participant.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// What a session keeps for the participant.
struct Kept {
    gate: Arc<CommitGate>,
    /// Only ever locked by the thread that serves the session, or by one that commits for it.
    state: Mutex<State>,
}

struct State {
    /// Whether the session is counted in [`REGISTERED`].
    registered: bool,
    data: Box<dyn Any + Send>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is kept stays usable after a panic: the callers see to that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a session cannot take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The plugin is not installed.
    Plugin,
    /// The thread serves no session.
    Session,
}

/// Opens the participant whose structure the server has allocated; returns whether it can.
///
/// # Safety
///
/// - `structure` is what the server passed to the plugin's `init`, and stays until [`remove`] ends.
/// - `set_prepare` may be called with it at any time until then.
pub(crate) unsafe fn install(structure: NonNull<c_void>, set_prepare: fn(NonNull<c_void>)) -> bool {
    if services().is_none() {
        return false;
    }
    SET_PREPARE.get_or_init(|| set_prepare);
    STRUCTURE.store(structure.as_ptr(), Ordering::Release);
    *OPEN.write().unwrap_or_else(PoisonError::into_inner) = true;
    true
}

/// The plugin is being removed. A server does that when no session holds it, but one may have joined in
/// the same moment: its transaction is waited for.
pub(crate) fn remove() {
    *OPEN.write().unwrap_or_else(PoisonError::into_inner) = false;
    let began = Instant::now();
    while REGISTERED.load(Ordering::Acquire) > 0 && began.elapsed() < LAST_TRANSACTIONS {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets no session join any more, unless one has; returns whether that is so. MySQL tells a plugin that is
/// being removed of the end of no session.
pub(crate) fn close_if_unused() -> bool {
    let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    let unused = SESSIONS.load(Ordering::Acquire) == 0;
    *open &= !unused;
    unused
}

/// Whether the plugin is installed.
pub(crate) fn is_installed() -> bool {
    *OPEN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this server lets a plugin take part in transactions, as far as is known.
pub(crate) fn is_possible() -> bool {
    services().is_some()
}

/// Whether the server around us calls the participant when a commit is durable and its client has not heard of it
/// yet. MariaDB with a binary log does, with `commit` after `commit_ordered`; without one it calls the participant
/// before InnoDB, as MySQL does always.
pub(crate) fn is_told_when_durable() -> bool {
    let layout = Server::around_us().as_ref().and_then(Layout::of);
    matches!(layout, Some(Layout::Maria10 | Layout::Maria11)) && has_binary_log()
}

/// `opt_bin_log` of MariaDB's `mysqld.h`, a `bool` that changes no more once the server has started.
fn has_binary_log() -> bool {
    symbol(c"opt_bin_log").is_some_and(|address| {
        // SAFETY: the variable is the server's and stays; a byte is read at once.
        unsafe { address.cast::<u8>().read_volatile() != 0 }
    })
}

/// Registers the calling thread's session, so that the participant hears of the end of its statement
/// and transaction, and runs `body` with the session's data; `make` makes that at its first call.
pub(crate) fn join<T: Any + Send, R>(
    make: impl FnOnce() -> T,
    body: impl FnOnce(&mut T) -> R,
) -> Result<R, Absent> {
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let services = services().filter(|_| *open).ok_or(Absent::Plugin)?;
    let session = session::current().ok_or(Absent::Session)?;
    let (thd, structure) = (session.address(), STRUCTURE.load(Ordering::Acquire));
    // SAFETY:
    // - `thd` is this thread's session, and `structure` the plugin's, which is installed while the
    //   lock is held;
    // - what a session has there is a `Kept` of ours, until `close` removes it, or NULL.
    let kept = unsafe {
        let mut kept: *const Kept = (services.get_data)(thd, structure).cast();
        if kept.is_null() {
            kept = Box::into_raw(Box::new(Kept {
                gate: Arc::new(CommitGate::new()),
                state: Mutex::new(State {
                    registered: false,
                    data: Box::new(make()),
                }),
            }));
            SESSIONS.fetch_add(1, Ordering::AcqRel);
            // The server keeps the plugin from being removed until the session has ended.
            (services.set_data)(thd, structure, kept.cast());
            if let (Some(set), Some(structure)) = (SET_PREPARE.get(), NonNull::new(structure)) {
                set(structure);
            }
        }
        &*kept
    };
    let mut state = kept.lock();
    if !std::mem::replace(&mut state.registered, true) {
        REGISTERED.fetch_add(1, Ordering::AcqRel);
    }
    // SAFETY: as above.
    unsafe {
        (services.register)(thd, false, structure, ptr::null());
        if (services.test_options)(thd, TRANSACTION_OPTIONS) != 0 {
            (services.register)(thd, true, structure, ptr::null());
        }
    }
    drop(open);
    // The session runs a statement, so what it committed before is over.
    kept.gate.pass();
    state.data.downcast_mut().map(body).ok_or(Absent::Plugin)
}

/// A session for which the server calls the participant.
pub(crate) struct Member<'a> {
    session: Session,
    services: &'static Services,
    kept: &'a Kept,
}

impl Member<'_> {
    /// `None` if the session keeps nothing.
    ///
    /// # Safety
    ///
    /// `thd` is what the server passed to a callback of the participant, which has not returned.
    pub(crate) unsafe fn of(thd: *mut c_void) -> Option<Self> {
        let (session, services) = (Session::from_server(thd)?, services()?);
        // SAFETY: the session is alive, and what it keeps is a `Kept` of ours or NULL.
        let kept: *const Kept =
            unsafe { (services.get_data)(thd, STRUCTURE.load(Ordering::Acquire)) }.cast();
        Some(Self {
            session,
            services,
            // SAFETY: as above.
            kept: unsafe { kept.as_ref() }?,
        })
    }

    /// Whether its transaction goes on after the statement that ends.
    pub(crate) fn is_in_transaction(&self) -> bool {
        // SAFETY: the session is alive.
        unsafe { (self.services.test_options)(self.session.address(), TRANSACTION_OPTIONS) != 0 }
    }

    /// The XID that a user gave the transaction.
    pub(crate) fn xid(&self) -> Option<Xid> {
        let mut xid = Xid {
            format: -1,
            gtrid_length: 0,
            bqual_length: 0,
            data: [0; XID_DATA_BYTES],
        };
        // SAFETY: the session is alive; the server writes a whole XID.
        unsafe { (self.services.get_xid)(self.session.address(), &raw mut xid) };
        xid.of_user()
    }

    /// Runs `body` with the session's data.
    pub(crate) fn with<T: Any, R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.kept.lock().data.downcast_mut().map(body)
    }

    /// The session begins to commit: the gate that tells when it has, and the number of the commit.
    pub(crate) fn begin_commit(&self) -> (Arc<CommitGate>, u64) {
        let number = self.kept.gate.begin(self.session);
        (Arc::clone(&self.kept.gate), number)
    }

    /// What the session has committed is durable and visible.
    pub(crate) fn commit_is_over(&self) {
        self.kept.gate.pass();
    }

    /// The transaction is over: the session is registered no more.
    pub(crate) fn leave(&self) {
        if std::mem::take(&mut self.kept.lock().registered) {
            REGISTERED.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The session is over: removes what it keeps.
    pub(crate) fn close(self) {
        self.leave();
        self.kept.gate.pass();
        let structure = STRUCTURE.load(Ordering::Acquire);
        // SAFETY:
        // - the session is alive, and nobody else uses what it keeps, as it runs nothing any more;
        // - it was made by `join` as a box, and is not reached from the session any more.
        unsafe {
            (self.services.set_data)(self.session.address(), structure, ptr::null());
            drop(Box::from_raw(ptr::from_ref(self.kept).cast_mut()));
        }
        SESSIONS.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// The numbers count the pointers before a field in the headers' structures, from byte 16 on.
    #[test]
    fn the_structures_have_the_layout_of_the_headers() {
        let pointer = |index: usize| 16 + 8 * index;
        assert_eq!(offset_of!(Maria10, _savepoint_offset), 8);
        assert_eq!(offset_of!(Maria10, close_connection), pointer(0));
        assert_eq!(offset_of!(Maria10, savepoint_set), pointer(2));
        assert_eq!(offset_of!(Maria10, commit), pointer(6));
        assert_eq!(offset_of!(Maria10, commit_ordered), pointer(7));
        assert_eq!(offset_of!(Maria10, rollback), pointer(8));
        assert_eq!(offset_of!(Maria10, prepare), pointer(9));
        assert_eq!(offset_of!(Maria10, rollback_by_xid), pointer(13));
        assert_eq!(offset_of!(Maria10, create), pointer(19));
        assert_eq!(offset_of!(Maria11, _savepoint_offset), 4);
        assert_eq!(offset_of!(Maria11, flags), 8);
        assert_eq!(offset_of!(Maria11, close_connection), pointer(0));
        assert_eq!(offset_of!(Maria11, commit), pointer(5));
        assert_eq!(offset_of!(Maria11, prepare), pointer(7));
        assert_eq!(offset_of!(Maria11, rollback_by_xid), pointer(10));
        assert_eq!(offset_of!(Maria11, commit_ordered), pointer(14));
        assert_eq!(offset_of!(Mysql9, _savepoint_offset), 12);
        assert_eq!(offset_of!(Mysql9, close_connection), pointer(0));
        assert_eq!(offset_of!(Mysql9, savepoint_set), pointer(4));
        assert_eq!(offset_of!(Mysql9, commit), pointer(8));
        assert_eq!(offset_of!(Mysql9, prepare), pointer(10));
        assert_eq!(offset_of!(Mysql9, commit_by_xid), pointer(13));
        assert_eq!(offset_of!(Mysql9, rollback_by_xid), pointer(14));
        assert_eq!(offset_of!(Mysql9, flags), 0x178);
        assert_eq!(size_of::<Xid>(), 152);
    }

    #[test]
    fn a_server_whose_structure_is_not_known_has_no_layout() {
        let cases = [
            (Server::Maria(100_523), None),
            (Server::Maria(100_620), None),
            (Server::Maria(101_119), Some(Layout::Maria10)),
            (Server::Maria(100_410), None),
            (Server::Maria(110_402), None),
            (Server::Maria(110_809), Some(Layout::Maria11)),
            (Server::Maria(120_000), None),
            (Server::Mysql(80_036), None),
            (Server::Mysql(90_704), Some(Layout::Mysql9)),
            (Server::Mysql(90_800), None),
        ];
        for (server, layout) in cases {
            assert_eq!(Layout::of_version(&server), layout, "{server:?}");
        }
    }

    fn xid(format: c_long, gtrid: &[u8], rest: u8) -> Xid {
        let mut data = [rest; XID_DATA_BYTES];
        data[..gtrid.len()].copy_from_slice(gtrid);
        Xid {
            format,
            gtrid_length: gtrid.len() as c_long,
            bqual_length: 0,
            data,
        }
    }

    #[test]
    fn an_xid_is_compared_without_what_lies_behind_its_data() {
        assert_eq!(xid(1, b"a", 0).of_user(), xid(1, b"a", 7).of_user());
        assert_ne!(xid(1, b"a", 0).of_user(), xid(2, b"a", 0).of_user());
    }

    #[test]
    fn an_xid_that_no_user_gave_is_none() {
        assert_eq!(xid(-1, b"a", 0).of_user(), None);
        assert_eq!(xid(1, b"MySQLXid\0\0\0\0", 0).of_user(), None);
        let mut long = xid(1, b"a", 0);
        long.bqual_length = 128;
        assert_eq!(long.of_user(), None);
    }
}
