//! Every setting: its name, default, unit, range and current value. Nothing else holds a default.
//!
//! A value is read with one relaxed atomic load, so that a call need not lock anything.

use std::ffi::c_char;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A whole number.
#[derive(Debug)]
pub struct Number {
    /// The name in SQL, with its unit: `_ms` for milliseconds, `_bytes` for bytes.
    pub name: &'static str,
    /// One line for the person who looks the setting up.
    pub description: &'static str,
    /// The value without any configuration.
    pub default: u64,
    /// The smallest value that is accepted.
    pub min: u64,
    /// The largest value that is accepted.
    pub max: u64,
    current: AtomicU64,
}

impl Number {
    const fn new(
        name: &'static str,
        description: &'static str,
        default: u64,
        min: u64,
        max: u64,
    ) -> Self {
        Self {
            name,
            description,
            default,
            min,
            max,
            current: AtomicU64::new(default),
        }
    }

    /// The value in force.
    pub fn get(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// The value in force of a setting in milliseconds.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.get())
    }

    /// The value in force of a setting that counts something in memory.
    pub fn size(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(usize::MAX)
    }

    /// Changes the value; one outside the range becomes the nearest end of it.
    pub fn set(&self, value: u64) {
        self.current
            .store(value.clamp(self.min, self.max), Ordering::Relaxed);
    }

    /// Where the value lies, for the server, which reads and writes it there.
    pub(crate) fn storage(&self) -> *mut u64 {
        self.current.as_ptr()
    }
}

/// One of several names.
#[derive(Debug)]
pub struct Choice {
    /// The name in SQL.
    pub name: &'static str,
    /// One line for the person who looks the setting up.
    pub description: &'static str,
    /// What can be chosen, as written in SQL.
    pub choices: &'static [&'static str],
    /// The place of the default in `choices`.
    pub default: usize,
    current: AtomicU64,
}

impl Choice {
    const fn new(
        name: &'static str,
        description: &'static str,
        choices: &'static [&'static str],
        default: usize,
    ) -> Self {
        Self {
            name,
            description,
            choices,
            default,
            current: AtomicU64::new(default as u64),
        }
    }

    /// The place in `choices` of the value in force.
    pub fn get(&self) -> usize {
        self.current.load(Ordering::Relaxed) as usize
    }

    /// Changes the value to the choice at `place`; a place that does not exist changes nothing.
    pub fn set(&self, place: usize) {
        if place < self.choices.len() {
            self.current.store(place as u64, Ordering::Relaxed);
        }
    }

    /// As [`Number::storage`].
    pub(crate) fn storage(&self) -> *mut u64 {
        self.current.as_ptr()
    }
}

/// On or off.
#[derive(Debug)]
pub struct Switch {
    /// The name in SQL.
    pub name: &'static str,
    /// One line for the person who looks the setting up.
    pub description: &'static str,
    /// The value without any configuration.
    pub default: bool,
    /// Whether MariaDB can set it in the configuration only, and not while the server runs.
    pub at_start_only_on_mariadb: bool,
    current: AtomicBool,
}

impl Switch {
    const fn new(name: &'static str, description: &'static str, default: bool) -> Self {
        Self {
            name,
            description,
            default,
            at_start_only_on_mariadb: false,
            current: AtomicBool::new(default),
        }
    }

    const fn at_start_only_on_mariadb(self) -> Self {
        Self {
            at_start_only_on_mariadb: true,
            ..self
        }
    }

    /// The value in force.
    pub fn get(&self) -> bool {
        self.current.load(Ordering::Relaxed)
    }

    /// Changes the value.
    pub fn set(&self, value: bool) {
        self.current.store(value, Ordering::Relaxed);
    }

    /// As [`Number::storage`].
    pub(crate) fn storage(&self) -> *mut bool {
        self.current.as_ptr()
    }
}

/// Longest text of a [`Text`], in bytes.
pub const MAX_TEXT_BYTES: usize = 4095;

/// How many texts a [`Text`] keeps, the newest and those before it.
const KEPT_TEXTS: usize = 64;

/// A text that the server may read at any time: it takes a pointer from here, and copies what is there.
///
/// Each text goes to another place than those before it, so the server sees the old one or the new
/// one, whole. The places serve in turn and are never freed: a reader that sleeps while [`KEPT_TEXTS`]
/// newer texts are set sees parts of two of them, never anything else.
#[derive(Debug)]
pub struct Text {
    /// The name in SQL.
    pub name: &'static str,
    /// One line for the person who looks it up.
    pub description: &'static str,
    places: &'static Places,
    /// Which of them has the newest text. Held by who writes or reads one.
    newest: Mutex<usize>,
    current: AtomicPtr<c_char>,
}

/// Where a [`Text`] lies. Each place ends with a NUL.
#[derive(Debug)]
struct Places([[AtomicU8; MAX_TEXT_BYTES + 1]; KEPT_TEXTS]);

impl Places {
    const fn new() -> Self {
        Self([const { [const { AtomicU8::new(0) }; MAX_TEXT_BYTES + 1] }; KEPT_TEXTS])
    }
}

/// A [`Text`] with places of its own: a static of nothing but zeros takes no room in the library's file.
macro_rules! text {
    ($name:literal, $description:literal $(,)?) => {{
        static PLACES: $crate::settings::Places = $crate::settings::Places::new();
        $crate::settings::Text::new($name, $description, &PLACES)
    }};
}

impl Text {
    const fn new(name: &'static str, description: &'static str, places: &'static Places) -> Self {
        Self {
            name,
            description,
            places,
            newest: Mutex::new(0),
            current: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Changes the text; what is beyond [`MAX_TEXT_BYTES`] or a NUL is not shown.
    pub fn set(&self, text: &str) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest + 1) % KEPT_TEXTS;
        let place = &self.places.0[*newest];
        let shown = &text.as_bytes()[..text.floor_char_boundary(MAX_TEXT_BYTES)];
        for (byte, new) in place.iter().zip(shown.iter().chain([&0])) {
            byte.store(*new, Ordering::Relaxed);
        }
        self.current.store(address(place), Ordering::Release);
    }

    /// The text that is shown.
    pub fn get(&self) -> String {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = self.places.0[*newest]
            .iter()
            .map(|byte| byte.load(Ordering::Relaxed))
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// As [`Number::storage`], of a pointer to the text. The server writes it only when it reads its
    /// configuration.
    pub(crate) fn storage(&self) -> *mut *mut c_char {
        self.current.as_ptr()
    }

    /// Shows the text instead of what the server has put there, and answers that.
    pub(crate) fn take_back(&self) -> Option<NonNull<c_char>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self
            .current
            .swap(address(&self.places.0[*newest]), Ordering::AcqRel);
        let is_ours = self
            .places
            .0
            .as_ptr_range()
            .contains(&old.cast_const().cast());
        NonNull::new(old).filter(|_| !is_ours)
    }
}

fn address(place: &[AtomicU8]) -> *mut c_char {
    place.as_ptr().cast_mut().cast()
}

/// Whether the settings can be set at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Plugin {
    /// There is no server around us, or none that can have the plugin.
    Impossible,
    /// The server could have it. If the configuration asks for it, the server has turned it off: it
    /// does so for a single value that it cannot read, and starts all the same.
    Inactive,
    /// Every setting is a variable.
    Active,
}

static PLUGIN: AtomicU8 = AtomicU8::new(Plugin::Impossible as u8);

impl Plugin {
    /// How it is now.
    pub(crate) fn is_inactive() -> bool {
        PLUGIN.load(Ordering::Relaxed) == Self::Inactive as u8
    }

    /// Takes note of a change.
    pub(crate) fn becomes(self) {
        PLUGIN.store(self as u8, Ordering::Relaxed);
    }
}

/// What happens to the statement when a job could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The function returns NULL, as the C plugin did.
    Null,
    /// NULL, a warning if the server allows it, and a line in the error log.
    Warning,
    /// The statement fails.
    Error,
}

/// The value in force of [`ON_FAILURE`].
pub fn on_failure() -> OnFailure {
    match ON_FAILURE.get() {
        0 => OnFailure::Null,
        1 => OnFailure::Warning,
        _ => OnFailure::Error,
    }
}

/// Whether `gman_servers_set` may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServersSetRule {
    /// Never.
    Off,
    /// Always.
    On,
    /// While an administrator has not set the servers.
    Auto,
}

/// The value in force of [`SERVERS_SET_ENABLED`].
pub fn servers_set() -> ServersSetRule {
    match SERVERS_SET_ENABLED.get() {
        0 => ServersSetRule::Off,
        1 => ServersSetRule::On,
        _ => ServersSetRule::Auto,
    }
}

/// Where jobs may be submitted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Anywhere.
    All,
    /// From inside triggers, stored functions, procedures and events.
    Programs,
}

/// The value in force of [`CALLERS`].
pub fn callers() -> Callers {
    match CALLERS.get() {
        0 => Callers::All,
        _ => Callers::Programs,
    }
}

/// When a submission is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Once a job server has the job: the answer is its handle.
    Acked,
    /// At once: the answer is the unique id, and a thread submits the job.
    Pipelined,
    /// As pipelined, once the transaction has committed, and never if it does not.
    Committed,
}

/// The value in force of [`DELIVERY`].
pub fn delivery() -> Delivery {
    match DELIVERY.get() {
        0 => Delivery::Acked,
        1 => Delivery::Pipelined,
        _ => Delivery::Committed,
    }
}

/// `gman_servers`: the default list of job servers, as it was set.
pub static SERVERS: Text = text!(
    "gman_servers",
    "The default job servers, host:port[,host:port...], tried in this order; the function gman_servers_set sets it too",
);

/// `gman_servers_set_enabled`: one of [`ServersSetRule`].
pub static SERVERS_SET_ENABLED: Choice = Choice::new(
    "gman_servers_set_enabled",
    "Whether the function gman_servers_set may be called, with which any account redirects jobs: OFF, never; ON, always; AUTO, while gman_servers is set neither in the configuration nor by SET GLOBAL",
    &["OFF", "ON", "AUTO"],
    ServersSetRule::Auto as usize,
);

/// `gman_allowed_functions`.
pub static ALLOWED_FUNCTIONS: Text = text!(
    "gman_allowed_functions",
    "The Gearman functions whose jobs may be submitted, separated by commas, with * at the end of a name for all that begin so; empty, all",
);

/// `gman_callers`: one of [`Callers`].
pub static CALLERS: Choice = Choice::new(
    "gman_callers",
    "Where jobs may be submitted from: all, anywhere; programs, triggers, stored functions, procedures and events only",
    &["all", "programs"],
    Callers::All as usize,
);

/// `gman_tls_ca`.
pub static TLS_CA: Text = text!(
    "gman_tls_ca",
    "A PEM file with the authorities that sign the certificates of the job servers; with it every connection is TLS, without it none is",
);

/// `gman_tls_cert`.
pub static TLS_CERT: Text = text!(
    "gman_tls_cert",
    "A PEM file with the certificate that job servers are shown, and those between it and its authority",
);

/// `gman_tls_key`.
pub static TLS_KEY: Text = text!(
    "gman_tls_key",
    "A PEM file with the private key of gman_tls_cert, without a passphrase",
);

/// `gman_tls_server_name`.
pub static TLS_SERVER_NAME: Text = text!(
    "gman_tls_server_name",
    "The name that the certificates of the job servers must be for; empty, the name or the address in the list of servers",
);

/// `gman_connect_timeout_ms`, in milliseconds.
pub static CONNECT_TIMEOUT: Number = Number::new(
    "gman_connect_timeout_ms",
    "How long opening one connection to a job server may take, in milliseconds",
    250,
    1,
    60_000,
);

/// `gman_timeout_ms`, in milliseconds.
pub static TIMEOUT: Number = Number::new(
    "gman_timeout_ms",
    "How long the submission of a background job may take, all attempts together, in milliseconds",
    1_000,
    1,
    3_600_000,
);

/// `gman_do_timeout_ms`, in milliseconds.
pub static DO_TIMEOUT: Number = Number::new(
    "gman_do_timeout_ms",
    "How long a foreground call may wait for the worker's result, in milliseconds",
    30_000,
    1,
    86_400_000,
);

/// `gman_on_failure`: one of [`OnFailure`].
pub static ON_FAILURE: Choice = Choice::new(
    "gman_on_failure",
    "What a failed delivery does: null, the function returns NULL; warning, NULL, a warning and a line in the error log; error, the statement fails",
    &["null", "warning", "error"],
    OnFailure::Warning as usize,
);

/// `gman_delivery`: one of [`Delivery`].
pub static DELIVERY: Choice = Choice::new(
    "gman_delivery",
    "When a background job leaves: acked, at once, and the call waits for a job server to have it; pipelined, at once, and the call waits for nothing; committed, once its transaction has committed",
    &["acked", "pipelined", "committed"],
    Delivery::Acked as usize,
);

/// `gman_window_bytes`, in bytes.
pub static WINDOW: Number = Number::new(
    "gman_window_bytes",
    "Pipelined delivery and delivery at commit: how many bytes of jobs may wait for their acknowledgement or their commit",
    16 << 20,
    64 << 10,
    64 << 30,
);

/// `gman_transaction_bytes`, in bytes.
pub static TRANSACTION: Number = Number::new(
    "gman_transaction_bytes",
    "Delivery at commit: how many bytes of jobs one transaction may hold back; more is an error",
    64 << 20,
    64 << 10,
    64 << 30,
);

/// `gman_rows_per_job`, in rows.
pub static ROWS_PER_JOB: Number = Number::new(
    "gman_rows_per_job",
    "Delivery at commit: how many rows of a statement share a job, whose workload is then a JSON array of theirs; gman worker reads it",
    1,
    1,
    10_000,
);

/// `gman_commit_wait`.
pub static COMMIT_WAIT: Switch = Switch::new(
    "gman_commit_wait",
    "Delivery at commit: whether COMMIT returns only when a job server has all jobs of the transaction, within gman_timeout_ms",
    false,
);

/// `gman_max_connections`, in connections.
pub static MAX_CONNECTIONS: Number = Number::new(
    "gman_max_connections",
    "How many connections to each job server submissions use at the same time; more of them wait for their turn, within gman_timeout_ms",
    16,
    1,
    10_000,
);

/// Every number, in the order of the documentation.
pub static NUMBERS: [&Number; 7] = [
    &CONNECT_TIMEOUT,
    &TIMEOUT,
    &DO_TIMEOUT,
    &WINDOW,
    &TRANSACTION,
    &ROWS_PER_JOB,
    &MAX_CONNECTIONS,
];

/// Every choice.
pub static CHOICES: [&Choice; 4] = [&SERVERS_SET_ENABLED, &CALLERS, &ON_FAILURE, &DELIVERY];

/// `gman_legacy_json_names`.
pub static LEGACY_JSON_NAMES: Switch = Switch::new(
    "gman_legacy_json_names",
    "Whether json_object and json_array mean the C plugins' functions: MariaDB frees the names while it starts; MySQL, with the plugin gman_legacy, renames the calls that the native functions cannot mean",
    false,
)
.at_start_only_on_mariadb();

/// Every switch.
pub static SWITCHES: [&Switch; 2] = [&COMMIT_WAIT, &LEGACY_JSON_NAMES];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_range_becomes_the_nearest_end() {
        let number = Number::new("n", "", 5, 1, 10);
        number.set(0);
        assert_eq!(number.get(), 1);
        number.set(11);
        assert_eq!(number.get(), 10);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = text!("t", "");
        text.set(&"é".repeat(MAX_TEXT_BYTES));
        assert_eq!(text.get(), "é".repeat(MAX_TEXT_BYTES / 2));
        text.set("short");
        assert_eq!(text.get(), "short");
    }

    #[test]
    fn a_text_shows_itself_again_after_the_server_has_put_another_there() {
        let text = text!("t", "");
        text.set("ours");
        assert!(text.take_back().is_none());
        let ours = text.current.load(Ordering::Relaxed);
        let servers = c"the server's".as_ptr().cast_mut();
        text.current.store(servers, Ordering::Relaxed);
        assert_eq!(text.take_back().map(NonNull::as_ptr), Some(servers));
        assert_eq!(text.current.load(Ordering::Relaxed), ours);
    }

    #[test]
    fn a_choice_that_does_not_exist_changes_nothing() {
        let choice = Choice::new("c", "", &["a", "b"], 1);
        choice.set(2);
        assert_eq!(choice.get(), 1);
    }
}
