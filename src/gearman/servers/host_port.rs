//! Lists of job servers: `host:port,[::1]:4730,host`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::Error;
use crate::memory;

/// The port of an entry that names none: `GEARMAN_DEFAULT_TCP_PORT` of libgearman's `protocol.h`.
pub const DEFAULT_PORT: u16 = 4730;

/// The one service name that is taken for a port, as libgearman does if `/etc/services` has it:
/// `GEARMAN_DEFAULT_TCP_SERVICE` of libgearman's `protocol.h`.
const SERVICE: &str = "gearman";

/// Longest host name, in bytes: RFC 1035, 2.3.4.
const MAX_HOST_BYTES: usize = 253;

/// How many servers a list can have: what is kept for each of them is bounded.
const MAX_SERVERS: usize = 256;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl HostPort {
    /// The address, if the host is one and needs no resolving.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.parse::<Ipv6Addr>() {
            Ok(_) => write!(f, "[{host}]:{port}"),
            Err(_) => write!(f, "{host}:{port}"),
        }
    }
}

/// Reads a list. Entries are separated by commas; white space around them does not matter, and
/// repetitions are left out.
///
/// # Errors
///
/// [`Error::Input`] that names the entry and what was expected; also for a list without entries.
pub fn parse(list: &str) -> Result<Vec<HostPort>, Error> {
    if list
        .trim_matches(|c: char| c == ',' || c.is_whitespace())
        .is_empty()
    {
        return Err(Error::Input(
            "servers is empty, expected a list such as 'host:4730,[::1]:4730'".to_owned(),
        ));
    }
    let mut servers = Vec::new();
    // libgearman takes a comma at the end, too.
    let entries = list.trim_end();
    let entries = entries.strip_suffix(',').unwrap_or(entries).split(',');
    for (index, entry) in entries.map(str::trim).enumerate() {
        if entry.is_empty() {
            return Err(Error::Input(format!(
                "servers: entry {} is empty, expected a host name or an address",
                index + 1
            )));
        }
        let server = parse_entry(entry).map_err(|expected| {
            Error::Input(format!("servers: in \"{entry}\" expected {expected}"))
        })?;
        if servers.contains(&server) {
            continue;
        }
        if servers.len() == MAX_SERVERS {
            return Err(Error::Input(format!(
                "servers: expected at most {MAX_SERVERS} of them"
            )));
        }
        memory::push(&mut servers, server)?;
    }
    Ok(servers)
}

/// Reads one entry; the error says what was expected.
fn parse_entry(entry: &str) -> Result<HostPort, &'static str> {
    let (host, port) = match entry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("a closing ]")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "an IPv6 address in [ ]")?;
            (address.to_string(), after_brackets(port)?)
        }
        None => match entry.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("one colon at most, or an IPv6 address in [ ]");
            }
            Some((host, port)) => (checked_host(host)?, Some(port)),
            None => (checked_host(entry)?, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
    Ok(HostPort { host, port })
}

fn after_brackets(rest: &str) -> Result<Option<&str>, &'static str> {
    match rest.strip_prefix(':') {
        Some(port) => Ok(Some(port)),
        None if rest.is_empty() => Ok(None),
        None => Err("nothing or a colon and a port after ]"),
    }
}

fn checked_host(host: &str) -> Result<String, &'static str> {
    let host = host.trim_end();
    if host.is_empty() {
        return Err("a host before the colon");
    }
    if host.len() > MAX_HOST_BYTES {
        return Err("a host of at most 253 bytes");
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c)) {
        return Err("a host name or an address, separated by commas");
    }
    Ok(host.to_owned())
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    let port = port.trim();
    if port.is_empty() || port == SERVICE {
        return Ok(DEFAULT_PORT);
    }
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err("a port from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_at_most_256_servers() {
        let list: Vec<String> = (1..=256).map(|port| format!("h:{port}")).collect();
        let list = list.join(",");
        let again = parse(&format!("{list},h:7")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.len(), 256);
        let refused = parse(&format!("{list},h:257")).unwrap_err();
        assert_eq!(refused.to_string(), "servers: expected at most 256 of them");
    }

    fn shown(list: &str) -> String {
        let servers = parse(list).unwrap_or_else(|error| panic!("{list:?}: {error}"));
        let shown: Vec<_> = servers.iter().map(HostPort::to_string).collect();
        shown.join(" ")
    }

    fn refusal(list: &str) -> String {
        parse(list).expect_err("expected a refusal").to_string()
    }

    #[test]
    fn a_list_is_read_in_its_order() {
        assert_eq!(
            shown("b:1, a ,[::1]:2,[::2] , 10.0.0.1:65535"),
            "b:1 a:4730 [::1]:2 [::2]:4730 10.0.0.1:65535"
        );
    }

    #[test]
    fn what_libgearman_takes_is_taken() {
        assert_eq!(shown("localhost"), "localhost:4730");
        assert_eq!(shown("localhost:"), "localhost:4730");
        assert_eq!(shown("localhost:gearman"), "localhost:4730");
        assert_eq!(shown("10.0.0.1,10.0.0.2,"), "10.0.0.1:4730 10.0.0.2:4730");
    }

    #[test]
    fn an_entry_said_twice_is_one_server() {
        assert_eq!(shown("a,b,a:4730"), "a:4730 b:4730");
    }

    #[test]
    fn a_bad_entry_is_named_with_what_was_expected() {
        for (list, expected) in [
            ("", "servers is empty"),
            (" , ", "servers is empty"),
            ("a,,b", "entry 2 is empty, expected a host name"),
            (",a", "entry 1 is empty"),
            ("a,b:0", "in \"b:0\" expected a port from 1 to 65535"),
            ("b:65536", "in \"b:65536\" expected a port"),
            ("b:+1", "in \"b:+1\" expected a port"),
            ("b:4730x", "in \"b:4730x\" expected a port"),
            (":4730", "in \":4730\" expected a host before the colon"),
            ("::1", "in \"::1\" expected one colon at most"),
            ("[::1", "in \"[::1\" expected a closing ]"),
            ("[a]:1", "in \"[a]:1\" expected an IPv6 address"),
            ("[::1]4730", "in \"[::1]4730\" expected nothing or a colon"),
            ("a b", "in \"a b\" expected a host name"),
            ("http://a", "expected a"),
        ] {
            let refusal = refusal(list);
            assert!(refusal.contains(expected), "{list:?}: {refusal}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        let servers = parse("a:1,[2001:db8::1]:4730,10.1.2.3:9").unwrap();
        let shown: Vec<_> = servers.iter().map(HostPort::to_string).collect();
        assert_eq!(parse(&shown.join(",")).unwrap(), servers);
    }
}
