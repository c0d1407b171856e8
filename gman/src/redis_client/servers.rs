//! Which Redis the user means, as a URL says it.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use url::Url;

use super::address::Address;
use super::answer::{MAX_ANSWER_BYTES, MAX_ROW_BYTES};
use super::connection::{Access, Login};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How the servers belong together.
#[derive(Debug, Clone)]
pub(crate) enum Deployment {
    /// One Redis, or a cluster if it says so.
    Any,
    Cluster,
    /// The master of this name, whom the servers know, and who one has to be to ask them.
    Sentinel {
        master: String,
        login: Login,
    },
}

/// The Redis that `--redis` names.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) deployment: Deployment,
    /// One at least; Sentinels if they are to be asked.
    pub(crate) addresses: Vec<Address>,
    pub(crate) access: Access,
}

/// What was expected of a URL.
type Expected = String;

impl Servers {
    /// Reads a URL, or `host:port`. `tls` is wanted if the URL says so.
    ///
    /// # Errors
    ///
    /// What was expected. Never shows the URL: it may hold a password.
    pub(crate) fn parse(
        text: &str,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, Expected>,
    ) -> Result<Self, Expected> {
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("redis://{text}/"),
        };
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let kind = Kind::of(scheme)?;
        if kind.is_unix {
            return unix(&text);
        }
        let (before, hosts, after) = parts(rest);
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.len() > 1 && !kind.is_list {
            return Err(
                "expected one host, or redis-cluster:// or redis-sentinel:// before several"
                    .to_owned(),
            );
        }
        let port = if kind.is_sentinel {
            SENTINEL_PORT
        } else {
            PORT
        };
        let urls = hosts
            .iter()
            .map(|host| read(&format!("redis://{before}{host}{after}")))
            .collect::<Result<Vec<Url>, _>>()?;
        let addresses = urls
            .iter()
            .map(|url| tcp(url, port))
            .collect::<Result<Vec<_>, _>>()?;
        let access = Access {
            login: login(&urls[0], urls[0].path().trim_matches('/'))?,
            tls: kind.is_tls.then(tls).transpose()?,
            max_answer: MAX_ANSWER_BYTES,
        };
        Ok(Self {
            deployment: kind.deployment(&urls[0])?,
            addresses,
            access,
        })
    }
}

impl Servers {
    /// For who asks for rows, which may be long.
    pub(crate) fn with_rows(mut self) -> Self {
        self.access.max_answer = MAX_ROW_BYTES;
        self
    }
}

/// What a scheme says.
struct Kind {
    is_unix: bool,
    is_tls: bool,
    is_list: bool,
    is_sentinel: bool,
}

impl Kind {
    fn of(scheme: &str) -> Result<Self, Expected> {
        let (family, manner) = match scheme {
            "unix" | "redis+unix" | "valkey+unix" => ("redis", "unix"),
            other => other.split_once('-').unwrap_or((other, "")),
        };
        if !["redis", "rediss", "valkey", "valkeys"].contains(&family)
            || !["", "unix", "cluster", "sentinel"].contains(&manner)
        {
            return Err(
                "expected redis://, rediss://, redis-cluster://, redis-sentinel:// or unix://"
                    .to_owned(),
            );
        }
        Ok(Self {
            is_unix: manner == "unix",
            is_tls: family.ends_with('s') && family != "redis",
            is_list: ["cluster", "sentinel"].contains(&manner),
            is_sentinel: manner == "sentinel",
        })
    }

    fn deployment(&self, url: &Url) -> Result<Deployment, Expected> {
        if !self.is_sentinel {
            return Ok(match self.is_list {
                true => Deployment::Cluster,
                false => Deployment::Any,
            });
        }
        let master = parameter(url, "master")
            .filter(|name| !name.is_empty())
            .ok_or("expected ?master=NAME, the name that the Sentinels know the Redis by")?;
        Ok(Deployment::Sentinel {
            master,
            login: Login {
                username: parameter(url, "sentinel_username"),
                password: parameter(url, "sentinel_password"),
                ..Login::default()
            },
        })
    }
}

/// What stands before the hosts, the hosts, and what stands behind them.
fn parts(rest: &str) -> (&str, &str, &str) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let begin = authority.rfind('@').map_or(0, |at| at + 1);
    let (before, hosts) = authority.split_at(begin);
    (before, hosts, after)
}

fn read(url: &str) -> Result<Url, Expected> {
    Url::parse(url).map_err(|error| error.to_string())
}

fn tcp(url: &Url, port: u16) -> Result<Address, Expected> {
    let host = match url.host() {
        Some(url::Host::Domain(name)) => percent_decode_str(name).decode_utf8_lossy().into_owned(),
        Some(url::Host::Ipv4(address)) => address.to_string(),
        Some(url::Host::Ipv6(address)) => address.to_string(),
        None => return Err("expected a host".to_owned()),
    };
    Ok(Address::Tcp {
        host,
        port: url.port().unwrap_or(port),
    })
}

fn unix(text: &str) -> Result<Servers, Expected> {
    let url = read(text)?;
    let path = percent_decode_str(url.path())
        .decode_utf8_lossy()
        .into_owned();
    if path.trim_matches('/').is_empty() {
        return Err("expected the path of a socket".to_owned());
    }
    let mut login = login(&url, &parameter(&url, "db").unwrap_or_default())?;
    login.username = login.username.or_else(|| parameter(&url, "user"));
    login.password = login.password.or_else(|| parameter(&url, "pass"));
    Ok(Servers {
        deployment: Deployment::Any,
        addresses: vec![Address::Unix(PathBuf::from(path))],
        access: Access {
            login,
            tls: None,
            max_answer: MAX_ANSWER_BYTES,
        },
    })
}

fn login(url: &Url, database: &str) -> Result<Login, Expected> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(|text| text.into_owned())
            .map_err(|_| "expected a name and a password in UTF-8".to_owned())
    };
    let username = decoded(url.username())?;
    Ok(Login {
        username: (!username.is_empty()).then_some(username),
        password: url.password().map(decoded).transpose()?,
        database: match database {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| "expected the number of a database")?,
        },
        resp3: match parameter(url, "protocol").as_deref() {
            None | Some("2" | "resp2") => false,
            Some("3" | "resp3") => true,
            Some(_) => return Err("expected protocol=resp2 or protocol=resp3".to_owned()),
        },
    })
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Servers, Expected> {
        Servers::parse(text, || Err("no TLS in this test".to_owned()))
    }

    fn addresses(text: &str) -> Vec<String> {
        let servers = parsed(text).expect("servers");
        servers.addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn every_way_of_naming_a_redis_is_read() {
        assert_eq!(addresses("10.0.0.1:7000"), ["10.0.0.1:7000"]);
        assert_eq!(
            addresses("redis://ann:s%40cret@[::1]/3?protocol=resp3"),
            ["[::1]:6379"]
        );
        assert_eq!(
            addresses("unix:///run/redis.sock?db=2"),
            ["/run/redis.sock"]
        );
        assert_eq!(
            addresses("redis-cluster://:pw@a:1,b,[::1]:3"),
            ["a:1", "b:6379", "[::1]:3"]
        );
        assert_eq!(
            addresses("valkey-sentinel://a,b:2/1?master=m"),
            ["a:26379", "b:2"]
        );
    }

    #[test]
    fn who_one_is_stands_before_the_hosts_and_behind_them() {
        let login = parsed("redis-cluster://ann:s%40c%2Fret@a,b/0?protocol=resp3")
            .expect("servers")
            .access
            .login;
        assert_eq!(login.username.as_deref(), Some("ann"));
        assert_eq!(login.password.as_deref(), Some("s@c/ret"));
        assert!(login.resp3);
        let sentinel = parsed("redis-sentinel://:pw@a/?master=m&sentinel_password=other");
        let sentinel = sentinel.expect("servers").deployment;
        let Deployment::Sentinel { master, login } = sentinel else {
            panic!("expected Sentinels");
        };
        assert_eq!(
            (master.as_str(), login.password.as_deref()),
            ("m", Some("other"))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("http://a", "redis://"),
            ("redis://a,b", "redis-cluster://"),
            ("redis-sentinel://a", "?master=NAME"),
            ("redis://a/x", "number of a database"),
            ("redis://a/?protocol=4", "resp3"),
            ("unix://", "path"),
            ("rediss://a", "no TLS"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
