//! The database server, found as the client programs `mysql` and `mariadb` find it.

use std::env;
use std::error::Error as _;
use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use mysql::{ClientIdentity, Conn, OptsBuilder, SslOpts};
use nix::unistd::{Uid, User};
use percent_encoding::percent_decode_str;
use url::Url;

use super::option_file;
use crate::error::{Error, Result};
use crate::terminal;

/// Where servers put their socket: Debian, Red Hat, and as the makers compile it.
const SOCKETS: [&str; 3] = [
    "/run/mysqld/mysqld.sock",
    "/var/lib/mysql/mysql.sock",
    "/tmp/mysql.sock",
];

/// The TCP port that servers have by default.
const PORT: u16 = 3306;

/// How long the server may take to accept a connection over TCP.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may say nothing. Statements of ours wait for locks and read the definitions of all
/// tables; that takes minutes at worst.
const SILENCE: Duration = Duration::from_secs(600);

/// The largest packet that servers can be set to send, in bytes.
const LARGEST_PACKET: usize = 1 << 30;

/// What a server is that lets its time pass.
const SILENT: &str = "it accepts connections and does not answer";

/// `ER_ACCESS_DENIED_ERROR`, `ER_ACCESS_DENIED_NO_PASSWORD_ERROR`, and MariaDB's for accounts that
/// go by the user of the operating system.
const ACCESS_DENIED: [u16; 3] = [1045, 1698, 1873];

/// Which database server, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MysqlOptions {
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets in help are no links"
    )]
    /// The database server: mysql://[user[:password]@]host[:port], or the path of its socket
    ///
    /// Missing parts come from the option files of the client programs mysql and mariadb, and from
    /// MYSQL_PWD, MYSQL_HOST, MYSQL_TCP_PORT and MYSQL_UNIX_PORT. The defaults are this machine's
    /// socket and the name of the operating system's user. Put a password into an option file,
    /// because other users can see the command line.
    #[arg(long, env = "GMAN_MYSQL", hide_env_values = true, value_name = "URL")]
    mysql: Option<String>,

    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets in help are no links"
    )]
    /// Read options from this file only, in the client programs' groups: [client], [mysql], ...
    #[arg(long, env = "GMAN_DEFAULTS_FILE", value_name = "FILE")]
    defaults_file: Option<PathBuf>,

    /// Read options from this file too, before ~/.my.cnf
    #[arg(long, env = "GMAN_DEFAULTS_EXTRA_FILE", value_name = "FILE")]
    #[arg(conflicts_with = "defaults_file")]
    defaults_extra_file: Option<PathBuf>,

    /// Ask for the password
    #[arg(long)]
    ask_password: bool,
}

impl MysqlOptions {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the server is unreachable or refuses the account, or an option cannot be read. Never
    /// shows a password.
    pub(crate) fn connect(&self) -> Result<Conn> {
        self.connect_for(SILENCE)
    }

    /// As [`MysqlOptions::connect`], to a server that is gone if it says nothing for `patience`.
    ///
    /// # Errors
    ///
    /// As [`MysqlOptions::connect`].
    pub(crate) fn connect_for(&self, patience: Duration) -> Result<Conn> {
        let account = self.account()?;
        Conn::new(patient(account.options(), patience))
            .map_err(|error| cannot_connect(&account, &error))
    }

    /// Finds the server and the account once, to connect again and again; connects to nobody.
    ///
    /// # Errors
    ///
    /// If an option cannot be read.
    pub(crate) fn server(&self) -> Result<DatabaseServer> {
        Ok(DatabaseServer(self.account()?))
    }

    /// What the options, the environment and the option files say together.
    fn account(&self) -> Result<Account> {
        let mut account = Account::default();
        account.read_environment()?;
        let (file, extra) = (&self.defaults_file, &self.defaults_extra_file);
        for (name, value) in option_file::read(file.as_deref(), extra.as_deref())? {
            account.set(&name, value)?;
        }
        if let Some(server) = &self.mysql {
            account.read_server(server)?;
        }
        if self.ask_password {
            account.password = Some(terminal::ask_password("Password of the database account")?);
        }
        Ok(account)
    }
}

/// A database server that is connected to more than once.
#[derive(Debug)]
pub(crate) struct DatabaseServer(Account);

impl DatabaseServer {
    /// Connects. A server that says nothing for `patience` is gone.
    ///
    /// # Errors
    ///
    /// As [`mysql::Conn::new`].
    pub(crate) fn connect(&self, database: &str, patience: Duration) -> mysql::Result<Conn> {
        let options = self.0.options().db_name(Some(database));
        Conn::new(patient(options, patience))
    }

    /// What the failure to connect is to an operator.
    pub(crate) fn cannot_connect(&self, error: &mysql::Error) -> Error {
        cannot_connect(&self.0, error)
    }
}

/// A server that says nothing for so long is gone.
fn patient(options: OptsBuilder, patience: Duration) -> OptsBuilder {
    options
        .read_timeout(Some(patience))
        .write_timeout(Some(patience))
        // Otherwise the crate asks the server, takes whatever it answers, and panics if that is no number.
        .max_allowed_packet(Some(LARGEST_PACKET))
}

/// A server, an account, and how to get there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    user: Option<String>,
    password: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    socket: Option<String>,
    tls: Tls,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// What a connection over TCP must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tls {
    #[default]
    Off,
    Encrypted,
    VerifyAuthority,
    VerifyHost,
}

impl Account {
    fn read_environment(&mut self) -> Result {
        let variables = [
            ("MYSQL_PWD", "password"),
            ("MYSQL_HOST", "host"),
            ("MYSQL_TCP_PORT", "port"),
            ("MYSQL_UNIX_PORT", "socket"),
        ];
        for (variable, option) in variables {
            if let Ok(value) = env::var(variable) {
                self.set(option, Some(value))?;
            }
        }
        Ok(())
    }

    /// Takes an option of an option file; those that are of no use here are passed over.
    fn set(&mut self, name: &str, value: Option<String>) -> Result {
        match name {
            "user" => self.user = value,
            "password" => self.password = value,
            "host" => self.host = value,
            "socket" => self.socket = value,
            "port" => self.port = value.as_deref().map(port).transpose()?,
            "ssl_mode" => self.tls = ssl_mode(value.as_deref().unwrap_or_default())?,
            "ssl" if is_on(value.as_deref()) => self.tls = self.tls.at_least(Tls::Encrypted),
            "ssl_verify_server_cert" if is_on(value.as_deref()) => self.tls = Tls::VerifyHost,
            "ssl_ca" => {
                self.ca = value.map(PathBuf::from);
                self.tls = self.tls.at_least(Tls::VerifyAuthority);
            }
            "ssl_cert" => self.certificate = value.map(PathBuf::from),
            "ssl_key" => self.key = value.map(PathBuf::from),
            _ => {}
        }
        Ok(())
    }

    /// Takes `--mysql`.
    fn read_server(&mut self, server: &str) -> Result {
        if server.starts_with('/') {
            (self.host, self.socket) = (None, Some(server.to_owned()));
            return Ok(());
        }
        // The text may hold a password, so it is never shown.
        let expected = || {
            Error::usage(
                "--mysql: expected mysql://[user[:password]@]host[:port] or the path of a socket",
            )
        };
        let url = Url::parse(server).map_err(|_| expected())?;
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return Err(expected());
        }
        let host = url.host_str().ok_or_else(expected)?;
        let host = decoded(host.trim_start_matches('[').trim_end_matches(']'));
        (self.host, self.port) = (Some(host), url.port());
        self.socket = None;
        if !url.username().is_empty() {
            self.user = Some(decoded(url.username()));
            // Another account's password would only be refused.
            self.password = None;
        }
        if let Some(password) = url.password() {
            self.password = Some(decoded(password));
        }
        for (name, value) in url.query_pairs() {
            self.set(&name.replace('-', "_"), Some(value.into_owned()))?;
        }
        Ok(())
    }

    fn user(&self) -> String {
        self.user.clone().unwrap_or_else(|| {
            let user = User::from_uid(Uid::effective()).ok().flatten();
            user.map_or_else(|| "root".to_owned(), |user| user.name)
        })
    }

    /// The socket, if the server is to be reached over one: as with the client programs, `localhost`
    /// is.
    fn socket(&self) -> Option<&str> {
        let is_local = self.host.as_deref().is_none_or(|host| host == "localhost");
        if !is_local {
            return None;
        }
        if let Some(socket) = &self.socket {
            return Some(socket);
        }
        if self.port.is_some() {
            return None;
        }
        let found = SOCKETS.iter().find(|socket| Path::new(socket).exists());
        Some(found.unwrap_or(&SOCKETS[0]))
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("127.0.0.1")
    }

    fn options(&self) -> OptsBuilder {
        let options = OptsBuilder::new()
            .user(Some(self.user()))
            .pass(self.password.clone())
            .prefer_socket(false)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT));
        match self.socket() {
            Some(socket) => options.socket(Some(socket)),
            None => options
                .ip_or_hostname(Some(self.host()))
                .tcp_port(self.port.unwrap_or(PORT))
                .ssl_opts(self.tls_options()),
        }
    }

    fn tls_options(&self) -> Option<SslOpts> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientIdentity::new(certificate.clone(), key.clone()))
            }
            _ => None,
        };
        let options = SslOpts::default()
            .with_root_cert_path(self.ca.clone())
            .with_client_identity(identity)
            .with_danger_accept_invalid_certs(self.tls == Tls::Encrypted)
            .with_danger_skip_domain_validation(self.tls != Tls::VerifyHost);
        (self.tls != Tls::Off).then_some(options)
    }
}

impl Tls {
    fn at_least(self, other: Self) -> Self {
        if (self as u8) < other as u8 {
            other
        } else {
            self
        }
    }
}

/// Where the server is looked for.
impl Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket() {
            Some(socket) => f.write_str(socket),
            None => write!(f, "{}:{}", self.host(), self.port.unwrap_or(PORT)),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn port(text: &str) -> Result<u16> {
    text.parse()
        .map_err(|_| Error::usage(format!("port: expected a number up to 65535, not {text}")))
}

fn is_on(value: Option<&str>) -> bool {
    value.is_none_or(|value| {
        let off = ["0", "off", "false"];
        !off.iter().any(|word| value.eq_ignore_ascii_case(word))
    })
}

fn ssl_mode(value: &str) -> Result<Tls> {
    match value.to_ascii_uppercase().as_str() {
        // Without TLS if a client would do without it.
        "DISABLED" | "PREFERRED" => Ok(Tls::Off),
        "REQUIRED" => Ok(Tls::Encrypted),
        "VERIFY_CA" => Ok(Tls::VerifyAuthority),
        "VERIFY_IDENTITY" => Ok(Tls::VerifyHost),
        _ => Err(Error::usage(format!(
            "ssl-mode: expected DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY, not {value}"
        ))),
    }
}

fn cannot_connect(account: &Account, error: &mysql::Error) -> Error {
    match error {
        mysql::Error::MySqlError(error) if ACCESS_DENIED.contains(&error.code) => {
            Error::failed(format!(
                "the database server at {account} refuses the account: {}; name user and password \
                 in an option file or in GMAN_MYSQL, or use --ask-password",
                error.message
            ))
        }
        mysql::Error::MySqlError(error) => Error::failed(format!(
            "the database server at {account} refuses the connection: {} (error {})",
            error.message, error.code
        )),
        error => {
            let reason = reason(error);
            Error::failed(match reason.contains("certificate") {
                true => format!(
                    "cannot trust the database server at {account}: {reason}; ssl-ca names the authority \
                     that signed its certificate, which with ssl-mode=VERIFY_IDENTITY has to be for this host"
                ),
                false => format!(
                    "cannot reach the database server at {account}: {reason}; start it, or name another one \
                     with --mysql or --defaults-file"
                ),
            })
        }
    }
}

/// What a statement of ours failed for: `what` is what was being done.
pub(crate) fn refused(what: impl Display, error: &mysql::Error) -> Error {
    match error {
        mysql::Error::MySqlError(error) => Error::failed(format!(
            "cannot {what}: the database server says: {} (error {})",
            error.message, error.code
        )),
        error => Error::failed(format!(
            "cannot {what}: the database server is gone: {}; try again",
            reason(error)
        )),
    }
}

/// The crate's errors without its own names around them.
fn reason(error: &mysql::Error) -> String {
    match error {
        // What the kernel calls the end of a timeout says nothing to anybody.
        mysql::Error::IoError(error) if error.kind() == ErrorKind::WouldBlock => SILENT.to_owned(),
        mysql::Error::IoError(error) => error.to_string(),
        // Such as what TLS found wrong with a certificate.
        mysql::Error::CodecError(error) => match error.source() {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        },
        mysql::Error::DriverError(mysql::DriverError::CouldNotConnect(Some((_, text, _)))) => {
            text.clone()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(server: &str) -> Account {
        let mut account = Account {
            user: Some("file".to_owned()),
            password: Some("file's".to_owned()),
            socket: Some("/file".to_owned()),
            ..Account::default()
        };
        account.read_server(server).expect("a server");
        account
    }

    #[test]
    fn a_url_names_what_it_names_and_leaves_the_rest() {
        let one = account("mysql://ann:p%40ss@db.example.net:3307");
        assert_eq!(
            (one.user(), one.password.as_deref()),
            ("ann".to_owned(), Some("p@ss"))
        );
        assert_eq!(
            (one.to_string(), one.socket()),
            ("db.example.net:3307".to_owned(), None)
        );
        let two = account("mysql://[::1]");
        assert_eq!(
            (two.host(), two.port, two.user()),
            ("::1", None, "file".to_owned())
        );
        assert_eq!(two.password.as_deref(), Some("file's"));
        assert_eq!(account("mysql://ann@db").password, None);
    }

    #[test]
    fn localhost_is_the_socket_unless_there_is_a_port() {
        assert_eq!(account("/tmp/s.sock").socket(), Some("/tmp/s.sock"));
        assert!(account("mysql://localhost").socket().is_some());
        assert_eq!(account("mysql://localhost:3306").socket(), None);
        assert_eq!(account("mysql://127.0.0.1").socket(), None);
        assert_eq!(account("mysql://localhost?socket=/s").socket(), Some("/s"));
    }

    #[test]
    fn what_is_no_server_is_refused_without_showing_it() {
        for server in [
            "secret",
            "http://secret@host",
            "mysql:secret",
            "mysql://h:99999",
        ] {
            let error = Account::default()
                .read_server(server)
                .expect_err("a refusal");
            assert!(
                error.text().starts_with("--mysql: expected "),
                "{}",
                error.text()
            );
            assert!(!error.text().contains("secret"));
        }
    }

    #[test]
    fn tls_is_as_strict_as_the_strictest_option() {
        let mut account = Account::default();
        assert!(account.tls_options().is_none());
        for (name, value, expected) in [
            ("ssl", Some("0"), Tls::Off),
            ("ssl", None, Tls::Encrypted),
            ("ssl_ca", Some("ca.pem"), Tls::VerifyAuthority),
            ("ssl", None, Tls::VerifyAuthority),
            ("ssl_mode", Some("verify_identity"), Tls::VerifyHost),
        ] {
            account
                .set(name, value.map(str::to_owned))
                .expect("an option");
            assert_eq!(account.tls, expected, "{name}");
        }
        assert!(account.set("ssl_mode", Some("yes".to_owned())).is_err());
    }
}
