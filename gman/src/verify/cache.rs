//! What Redis has.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Connection, RedisError, Value};

use crate::connections::RedisOptions;
use crate::error::{Error, Result};
use crate::worker::change::{Change, Left};

/// How long Redis may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many keys Redis looks at for one answer of SCAN, about.
const SCAN_COUNT: usize = 1000;

/// What is at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// Another type than the worker writes.
    OtherType,
}

/// A connection to Redis.
pub(super) struct Cache {
    connection: Connection,
}

impl Cache {
    /// # Errors
    ///
    /// If Redis is unreachable.
    pub(super) fn connect(options: &RedisOptions) -> Result<Self> {
        let connection = options
            .client()?
            .get_connection_with_timeout(TIMEOUT)
            .map_err(|error| failed(&error))?;
        connection
            .set_read_timeout(Some(TIMEOUT))
            .map_err(|error| failed(&error))?;
        Ok(Self { connection })
    }

    /// What is at the keys of these changes, in one round trip.
    pub(super) fn read<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<Vec<Found>> {
        let mut pipeline = redis::Pipeline::new();
        let mut count = 0;
        for change in changes {
            let command = match change.leaves() {
                Left::Text(_) => "GET",
                Left::Hash(_) | Left::Fields(_) => "HGETALL",
                Left::Nothing => "TYPE",
            };
            pipeline.cmd(command).arg(&change.key);
            count += 1;
        }
        let answers = self.ask(&pipeline, count)?;
        answers.into_iter().map(found).collect()
    }

    /// Which of these keys there are.
    pub(super) fn have(&mut self, keys: &[String]) -> Result<Vec<bool>> {
        let mut pipeline = redis::Pipeline::new();
        for key in keys {
            pipeline.cmd("EXISTS").arg(key);
        }
        let answers = self.ask(&pipeline, keys.len())?;
        Ok(answers
            .into_iter()
            .map(|answer| answer == Value::Int(1))
            .collect())
    }

    pub(super) fn delete(&mut self, keys: &[String]) -> Result {
        let mut pipeline = redis::Pipeline::new();
        for key in keys {
            pipeline.cmd("DEL").arg(key);
        }
        self.ask(&pipeline, keys.len()).map(drop)
    }

    /// Hands every key that begins with `prefix` over, some of them twice, in groups.
    pub(super) fn scan(
        &mut self,
        prefix: &str,
        mut take: impl FnMut(&mut Self, Vec<String>) -> Result,
    ) -> Result {
        let pattern = format!("{}*", escaped(prefix));
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .query(&mut self.connection)
                .map_err(|error| failed(&error))?;
            // What is no UTF-8 is no key of a row: the worker's versions have such names.
            let keys = keys
                .into_iter()
                .filter_map(|key| String::from_utf8(key).ok());
            take(self, keys.collect())?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// The answers, of which an error about the key's type is one.
    fn ask(&mut self, pipeline: &redis::Pipeline, count: usize) -> Result<Vec<Value>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let packed = pipeline.get_packed_pipeline();
        self.connection
            .send_packed_command(&packed)
            .map_err(|error| failed(&error))?;
        (0..count)
            .map(|_| {
                self.connection
                    .recv_response()
                    .map_err(|error| failed(&error))
            })
            .collect()
    }
}

fn found(answer: Value) -> Result<Found> {
    Ok(match answer {
        Value::Nil => Found::Nothing,
        Value::SimpleString(kind) if kind == "none" => Found::Nothing,
        Value::SimpleString(_) => Found::OtherType,
        Value::BulkString(text) => Found::Text(text),
        Value::Array(items) if items.is_empty() => Found::Nothing,
        Value::Array(items) => Found::Hash(pairs(items)),
        Value::Map(items) if items.is_empty() => Found::Nothing,
        Value::Map(items) => Found::Hash(pairs(items.into_iter().flat_map(|(a, b)| [a, b]))),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Found::OtherType,
        Value::ServerError(error) => return Err(failed(&error.into())),
        other => {
            return Err(Error::failed(format!(
                "Redis returns what was not asked for: {other:?}"
            )));
        }
    })
}

fn pairs(items: impl IntoIterator<Item = Value>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut texts = items.into_iter().map(|item| match item {
        Value::BulkString(text) => text,
        _ => Vec::new(),
    });
    let mut pairs = BTreeMap::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        pairs.insert(name, value);
    }
    pairs
}

/// A text that SCAN's MATCH takes as it is.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn failed(error: &RedisError) -> Error {
    Error::failed(format!(
        "cannot read Redis: {error}; check --redis, and whether it runs"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }
}
