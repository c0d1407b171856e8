//! Where a worker serves its numbers: `http://127.0.0.1:9470`.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The port that docs/worker.md uses.
const PORT: u16 = 9470;

/// The address of a worker's `--metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerAddress {
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    shown: String,
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromStr for WorkerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected http://host:port, such as http://127.0.0.1:{PORT}");
        let rest = text.strip_prefix("http://").unwrap_or(text);
        if rest.contains("://") {
            return Err(expected());
        }
        // Of another scheme: http's own port would be taken for none.
        let url = Url::parse(&format!("redis://{rest}")).map_err(|_| expected())?;
        let is_bare = ["", "/", "/metrics"].contains(&url.path()) && url.username().is_empty();
        let host = match url.host().filter(|_| is_bare).ok_or_else(expected)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() {
            return Err(expected());
        }
        let port = url.port().unwrap_or(PORT);
        let shown = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        Ok(Self { host, port, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, shown) in [
            ("http://10.0.0.7:80", "10.0.0.7:80"),
            ("10.0.0.7:9471", "10.0.0.7:9471"),
            ("http://cache.example.net/metrics", "cache.example.net:9470"),
            ("http://[::1]:9470/", "[::1]:9470"),
        ] {
            let address: WorkerAddress = text.parse().expect("an address");
            assert_eq!(address.to_string(), shown);
        }
        for text in [
            "",
            "https://a:1",
            "http://a:b",
            "http://a/b",
            "/run/worker.sock",
        ] {
            assert!(text.parse::<WorkerAddress>().is_err(), "{text}");
        }
    }
}
