//! Redis: its memory, and what it does when that runs out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::connections::RedisOptions;
use crate::error::Result;
use crate::redis_client::{Answer, Node, Routes};

/// What INFO says that matters here.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    pub(super) version: String,
    pub(super) used_bytes: u64,
    /// 0 for no limit.
    pub(super) max_bytes: u64,
    /// What it does at the limit.
    pub(super) policy: String,
    pub(super) evicted_keys: u64,
    pub(super) keys: u64,
    /// Why it is not known.
    pub(super) error: Option<String>,
}

impl Memory {
    /// # Errors
    ///
    /// If the options cannot be read; a Redis that is unreachable is a result.
    pub(super) fn read(options: &RedisOptions) -> Result<Self> {
        let routes = Routes::new(options.servers()?);
        let answer = routes
            .connect(Node(0))
            .and_then(|mut connection| connection.ask(&[b"INFO"]));
        let error = match answer {
            Ok(Answer::Text(info)) => return Ok(Self::of(&String::from_utf8_lossy(&info))),
            Ok(Answer::Refusal(refusal)) => refusal.to_string(),
            Ok(_) => "it does not answer INFO".to_owned(),
            Err(fault) => fault.to_string(),
        };
        Ok(Self {
            error: Some(error),
            ..Self::default()
        })
    }

    fn of(info: &str) -> Self {
        let lines: BTreeMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let text = |name: &str| lines.get(name).copied().unwrap_or_default();
        let number = |name: &str| text(name).parse().unwrap_or(0);
        // db0:keys=1,expires=0,avg_ttl=0
        let databases = lines.iter().filter(|(name, _)| name.starts_with("db"));
        let keys = databases.filter_map(|(_, value)| {
            let keys = value.strip_prefix("keys=")?.split(',').next()?;
            keys.parse::<u64>().ok()
        });
        Self {
            version: text("redis_version").to_owned(),
            used_bytes: number("used_memory"),
            max_bytes: number("maxmemory"),
            policy: text("maxmemory_policy").to_owned(),
            evicted_keys: number("evicted_keys"),
            keys: keys.sum(),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_info_are_read() {
        let info = "# Memory\r\nused_memory:7\r\nmaxmemory:9\r\nmaxmemory_policy:noeviction\r\nevicted_keys:3\r\n\
                    redis_version:7.0\r\ndb0:keys=4,expires=0\r\ndb1:keys=5,expires=0\r\n";
        let expected = Memory {
            version: "7.0".to_owned(),
            used_bytes: 7,
            max_bytes: 9,
            policy: "noeviction".to_owned(),
            evicted_keys: 3,
            keys: 9,
            error: None,
        };
        assert_eq!(Memory::of(info), expected);
    }
}
