//! Which server has loaded us.

use std::ffi::{CStr, c_char};

use crate::host::symbols::symbol;

/// What has loaded us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// MariaDB 10.2 and later: the number of its version.
    Maria(i32),
    /// MySQL 8.0 and later: the number of its version.
    Mysql(i32),
    /// A server of this version, whose plugin interface is not known.
    Unknown(String),
}

impl Server {
    /// Asks the process around us; `None` if it is no server.
    pub(crate) fn around_us() -> Option<Self> {
        let version = symbol(c"server_version")?;
        // SAFETY: both servers define `char server_version[]`, a NUL-terminated string that is set
        // before any library is loaded.
        let version = unsafe { CStr::from_ptr(version.cast::<c_char>()) };
        // Only MariaDB exports its table of native functions; its version need not say MariaDB.
        let is_maria = symbol(c"native_functions_hash").is_some();
        Some(Self::from_version(&version.to_string_lossy(), is_maria))
    }

    fn from_version(version: &str, is_maria: bool) -> Self {
        match version_number(version) {
            Some(number @ 100_200..) if is_maria => Self::Maria(number),
            Some(number @ 80_000..) if !is_maria => Self::Mysql(number),
            _ => Self::Unknown(version.to_owned()),
        }
    }
}

/// `MYSQL_VERSION_ID`: 101119 for `10.11.19-MariaDB-1`.
fn version_number(version: &str) -> Option<i32> {
    let numbers = version.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse::<i32>().ok());
    let mut next = || {
        parts
            .next()
            .flatten()
            .filter(|part| (0..100).contains(part))
    };
    Some(next()? * 10_000 + next()? * 100 + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_servers_are_told_by_their_version() {
        let unknown = |version: &str| Server::Unknown(version.to_owned());
        let cases = [
            ("10.11.19-MariaDB-0+deb12u1", true, Server::Maria(101_119)),
            ("11.8.6-MariaDB", true, Server::Maria(110_806)),
            ("9.7.4-2", false, Server::Mysql(90_704)),
            ("8.0.36-28", false, Server::Mysql(80_036)),
            ("5.6.24", false, unknown("5.6.24")),
            ("5.5.68-MariaDB", true, unknown("5.5.68-MariaDB")),
            ("", false, unknown("")),
            ("10.x", true, unknown("10.x")),
            ("8.0.123", false, unknown("8.0.123")),
        ];
        for (version, is_maria, expected) in cases {
            assert_eq!(Server::from_version(version, is_maria), expected);
        }
    }
}
