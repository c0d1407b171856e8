//! The plugin `gman_legacy`: on MySQL, gives the C plugins' calls the names that are free there, before the
//! server parses a statement.
//!
//! To the server it is an audit plugin, which is the only kind that may rewrite what a client sends.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::host::plugin_abi::Audit;
use crate::host::statement::{self, Statement};
use crate::host::{diagnostics, guard};
use crate::old_sql;
use crate::old_sql::charset::Charset;
use crate::old_sql::tokens::Dialect;
use crate::settings;

/// A longer statement is left alone, and one that is longer than a transaction's jobs may be.
const LONGEST_STATEMENT: usize = 16 << 20;

/// Room for the value of `sql_mode`, which can name each of its modes.
const LONGEST_MODE: usize = 2_048;

/// Room for the name of a character set.
const LONGEST_CHARSET: usize = 64;

static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// What the plugin tells the server of itself.
pub(super) static AUDIT: Audit = Audit::before_parsing(notify);

/// Whether the plugin can be installed into the server around us, whose interface is known.
pub(super) fn is_possible() -> bool {
    statement::is_possible()
}

/// Whether `gman_legacy_json_names` can be turned on; the error says what is missing.
pub(super) fn check_possible() -> Result<(), Error> {
    let problem = if !is_possible() {
        "the interface of this server for rewriting statements is not known; use json_object_udf and json_array_udf"
    } else if !IS_INSTALLED.load(Ordering::Relaxed) {
        "the plugin gman_legacy is not installed; INSTALL PLUGIN gman_legacy SONAME 'libgearman_mysql_udf.so' installs it"
    } else {
        return Ok(());
    };
    Err(Error::Input(problem.to_owned()))
}

/// The plugin's `init`.
pub(super) unsafe extern "C" fn init(_plugin: *mut c_void) -> c_int {
    IS_INSTALLED.store(true, Ordering::Relaxed);
    0
}

/// The plugin's `deinit`.
pub(super) unsafe extern "C" fn deinit(_plugin: *mut c_void) -> c_int {
    IS_INSTALLED.store(false, Ordering::Relaxed);
    0
}

/// A statement is about to be parsed. Whatever happens here, it is: the answer is always success.
unsafe extern "C" fn notify(session: *mut c_void, class: c_int, event: *const c_void) -> c_int {
    if !settings::LEGACY_JSON_NAMES.get() {
        return 0;
    }
    let done = guard::caught(|| {
        // SAFETY: the server's own call, in a server that the plugin is declared for.
        if let Some(statement) = unsafe { Statement::from_event(session, class, event) } {
            rewrite(&statement);
        }
        Ok(())
    });
    if let Err(error) = done {
        diagnostics::log("ERROR", &format!("gman_legacy: {error}"));
    }
    0
}

fn rewrite(statement: &Statement<'_>) {
    let text = statement.text();
    if !old_sql::is_concerned(text)
        || text.len() > LONGEST_STATEMENT.min(settings::TRANSACTION.size())
    {
        return;
    }
    let Some(dialect) = dialect_of(statement) else {
        return;
    };
    // Without memory the statement goes on as it is.
    let Ok(places) = old_sql::places(text, dialect) else {
        return;
    };
    if !places.is_empty() {
        let parts = old_sql::parts(text, &places);
        statement.replace(parts, old_sql::length(text, &places));
    }
}

/// How the session reads the statement; `None` where it matters and the session cannot be asked.
fn dialect_of(statement: &Statement<'_>) -> Option<Dialect> {
    let mut dialect = Dialect {
        charset: Charset::Utf8,
        backslash_escapes: true,
        ansi_quotes: false,
        version: statement::server_version(),
        is_maria: false,
    };
    if old_sql::depends_on_dialect(statement.text()) {
        let (mut mode, mut charset) = ([0; LONGEST_MODE], [0; LONGEST_CHARSET]);
        let mode = statement.variable(c"sql_mode", &mut mode)?;
        let charset = statement.variable(c"character_set_client", &mut charset)?;
        let mut modes = mode.split(|&byte| byte == b',');
        dialect.ansi_quotes = modes.clone().any(|mode| mode == b"ANSI_QUOTES");
        dialect.backslash_escapes = !modes.any(|mode| mode == b"NO_BACKSLASH_ESCAPES");
        dialect.charset = Charset::named(charset);
    }
    Some(dialect)
}
