//! What a job asks for: from its workload to the commands for Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::version_key::version_key;
use crate::redis_client::{self, Answer};

/// How many fields one HSET writes: a Lua call takes less than 8,000 words.
const FIELDS_AT_ONCE: usize = 1000;

/// Runs commands in one, unless Redis has a newer version; returns the type that the key had.
///
/// KEYS are the row's key and that of its version; ARGV is the version, empty for none, the field of the
/// row that holds it, and then each command after the number of its words.
///
/// The version is in the row too, if the row is a hash: Redis may evict either of the two. It is
/// kept last, as a command that fails ends the script and undoes nothing. Lua's numbers are exact up
/// to 2^53 only, so versions are compared digit by digit.
const IN_ONE: &str = "
local kind = redis.call('TYPE', KEYS[1]).ok
local version = ARGV[1]
if version ~= '' then
  local known = { redis.call('GET', KEYS[2]) }
  if kind == 'hash' then known[2] = redis.call('HGET', KEYS[1], ARGV[2]) end
  for _, text in pairs(known) do
    local digits = text and string.match(text, '^0*(%d+)$')
    if digits and (#digits > #version or #digits == #version and digits > version) then return 0 end
  end
end
local at = 3
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
if version ~= '' then redis.call('SET', KEYS[2], version) end
return kind";

/// What [`IN_ONE`] answers when it has left the change out.
const LEFT_OUT: Answer = Answer::Int(0);

/// What became of a change that Redis has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Made,
    /// Redis has a newer version.
    LeftOut,
    /// The key held another type, named here, which the row has taken the place of.
    Replaced(String),
}

/// What a job of `--function` does with the key, which is `--prefix` and the row's "id".
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// SET the key to "name"; DEL it if "name" is null
    Set,
    /// HSET every member of the row as a string, HDEL those that are null; other fields stay
    Hash,
    /// DEL the key
    Delete,
}

/// How workloads are to be read.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) mode: Mode,
    pub(crate) prefix: String,
    pub(crate) version_field: Option<Arc<str>>,
}

/// The columns of a row: each a text, or NULL.
pub(crate) type Fields = BTreeMap<String, Option<String>>;

/// What Redis has at a key once its change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left<'a> {
    Nothing,
    Text(&'a str),
    /// A hash with the fields that are not NULL, and no others.
    Hash(&'a Fields),
    /// A hash with the fields that are not NULL, and maybe others that are not named here.
    Fields(&'a Fields),
}

/// A key and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    write: Write,
    version: Option<Version>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    number: u64,
    /// The member of the row that holds it.
    field: Arc<str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Write {
    Set(String),
    Delete,
    /// The fields are set, those that are NULL go, all others stay.
    Merge(Fields),
    /// The hash has these fields, without those that are NULL, and no others.
    Replace(Fields),
}

impl Format {
    /// Reads a row, `{"id":1,"name":"sm"}`, of which the mode says what to do with it.
    ///
    /// # Errors
    ///
    /// What was expected of the workload, as a text.
    pub(crate) fn row(&self, workload: &[u8]) -> Result<Change, String> {
        let row = members(workload)?;
        let write = match self.mode {
            // Redis cannot hold NULL: readers find no key and ask the database.
            Mode::Set => column(&row, "name")?.map_or(Write::Delete, Write::Set),
            Mode::Hash => Write::Merge(fields(&row)?),
            Mode::Delete => Write::Delete,
        };
        self.change(column(&row, "id")?, "id", write, self.version(&row)?)
    }

    /// Reads a row that names its key, `{"key":"test:1","row":{...}}`, where null is no row.
    ///
    /// # Errors
    ///
    /// As [`Format::row`].
    pub(crate) fn keyed_row(&self, workload: &[u8]) -> Result<Change, String> {
        let outer = members(workload)?;
        let row = outer
            .get("row")
            .ok_or("expected an object with a \"row\"")?;
        let row: Option<Members<'_>> = serde_json::from_str(row.get())
            .map_err(|_| "expected a \"row\" that is an object or null")?;
        let (write, version) = match row {
            Some(row) => (Write::Replace(fields(&row)?), self.version(&row)?),
            None => (Write::Delete, self.version(&outer).unwrap_or(None)),
        };
        self.change(column(&outer, "key")?, "key", write, version)
    }

    fn change(
        &self,
        key: Option<String>,
        name: &str,
        write: Write,
        version: Option<Version>,
    ) -> Result<Change, String> {
        let key = key.ok_or_else(|| format!("expected a \"{name}\" that is not null"))?;
        Ok(Change {
            key: format!("{}{key}", self.prefix),
            write,
            version,
        })
    }

    fn version(&self, row: &Members<'_>) -> Result<Option<Version>, String> {
        let Some(name) = &self.version_field else {
            return Ok(None);
        };
        match column(row, name)?.and_then(|text| text.parse().ok()) {
            Some(number) => Ok(Some(Version {
                number,
                field: Arc::clone(name),
            })),
            None => Err(format!("expected a whole number \"{name}\"")),
        }
    }
}

/// An object, with its members as the JSON they are: numbers keep their digits.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fn members(workload: &[u8]) -> Result<Members<'_>, String> {
    serde_json::from_slice(workload).map_err(|error| format!("expected an object: {error}"))
}

/// A member that has to be there, and to be a string, a number or null.
fn column(row: &Members<'_>, name: &str) -> Result<Option<String>, String> {
    match row.get(name) {
        Some(value) if !value.get().starts_with(['[', '{', 't', 'f']) => text(value),
        _ => Err(format!(
            "expected an object with a string or number \"{name}\""
        )),
    }
}

/// All members.
fn fields(row: &Members<'_>) -> Result<Fields, String> {
    row.iter()
        .map(|(name, value)| Ok((name.clone(), text(value)?)))
        .collect()
}

/// A string without its quotes, nothing for null, and everything else as JSON.
fn text(value: &RawValue) -> Result<Option<String>, String> {
    match value.get() {
        "null" => Ok(None),
        json if json.starts_with('"') => String::deserialize(value)
            .map(Some)
            .map_err(|error| error.to_string()),
        json => Ok(Some(json.to_owned())),
    }
}

impl Change {
    /// What the change leaves.
    pub(crate) fn leaves(&self) -> Left<'_> {
        match &self.write {
            Write::Set(text) => Left::Text(text),
            Write::Delete => Left::Nothing,
            Write::Merge(fields) => Left::Fields(fields),
            Write::Replace(fields) if fields.values().all(Option::is_none) => Left::Nothing,
            Write::Replace(fields) => Left::Hash(fields),
        }
    }

    /// The slot of the key, if Redis is a cluster.
    pub(super) fn slot(&self) -> u16 {
        redis_client::slot(self.key.as_bytes())
    }

    /// Appends the one command that makes the change, so that each change has one answer.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        let commands = self.commands();
        match (&self.version, commands.as_slice()) {
            (None, [words]) => redis_client::pack(out, words),
            (version, commands) => self.pack_in_one(out, version.as_ref(), commands),
        }
    }

    /// What an answer to [`Change::pack`] means that is no error.
    pub(super) fn effect(&self, answer: &Answer) -> Effect {
        match answer {
            &LEFT_OUT if self.version.is_some() => Effect::LeftOut,
            Answer::Text(kind) if matches!(self.write, Write::Replace(_)) => {
                match kind.as_slice() {
                    b"hash" | b"none" => Effect::Made,
                    other => Effect::Replaced(String::from_utf8_lossy(other).into_owned()),
                }
            }
            _ => Effect::Made,
        }
    }

    fn pack_in_one(&self, out: &mut Vec<u8>, version: Option<&Version>, commands: &[Vec<&str>]) {
        let (number, field) = version.map_or_else(Default::default, |version| {
            (version.number.to_string(), &*version.field)
        });
        let lengths: Vec<String> = commands
            .iter()
            .map(|words| words.len().to_string())
            .collect();
        let key = self.key.as_bytes();
        let version_key = version.map(|_| version_key(key));
        // A script without a version looks at no second key.
        let version_key = version_key.as_deref().unwrap_or(key);
        let mut script: Vec<&[u8]> = vec![b"EVAL", IN_ONE.as_bytes(), b"2", key, version_key];
        script.extend([number.as_bytes(), field.as_bytes()]);
        for (words, length) in commands.iter().zip(&lengths) {
            script.push(length.as_bytes());
            script.extend(words.iter().map(|word| word.as_bytes()));
        }
        redis_client::pack(out, &script);
    }

    /// The commands, in words.
    fn commands(&self) -> Vec<Vec<&str>> {
        let delete = vec!["DEL", &self.key];
        match &self.write {
            Write::Set(value) => vec![vec!["SET", &self.key, value]],
            Write::Delete => vec![delete],
            Write::Merge(fields) => [self.hdel(fields), self.hset(fields)].concat(),
            Write::Replace(fields) => [vec![delete], self.hset(fields)].concat(),
        }
    }

    fn hset<'a>(&'a self, fields: &'a Fields) -> Vec<Vec<&'a str>> {
        let pairs = fields
            .iter()
            .filter_map(|(name, value)| Some([name.as_str(), value.as_deref()?]))
            .collect::<Vec<_>>();
        pairs
            .chunks(FIELDS_AT_ONCE)
            .map(|pairs| [&["HSET", &self.key], pairs.as_flattened()].concat())
            .collect()
    }

    fn hdel<'a>(&'a self, fields: &'a Fields) -> Vec<Vec<&'a str>> {
        let names = fields
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>();
        names
            .chunks(FIELDS_AT_ONCE)
            .map(|names| [&["HDEL", self.key.as_str()], names].concat())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(mode: Mode) -> Format {
        Format {
            mode,
            prefix: "p:".to_owned(),
            version_field: None,
        }
    }

    fn commands(change: Result<Change, String>) -> Vec<String> {
        let change = change.expect("a change");
        let commands = change.commands();
        commands.iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn the_mode_says_what_a_row_does() {
        let row = br#"{"id":1,"name":"sm","gone":null}"#;
        assert_eq!(commands(format(Mode::Set).row(row)), ["SET p:1 sm"]);
        assert_eq!(commands(format(Mode::Delete).row(row)), ["DEL p:1"]);
        assert_eq!(
            commands(format(Mode::Hash).row(row)),
            ["HDEL p:1 gone", "HSET p:1 id 1 name sm"]
        );
        let null = br#"{"id":"a","name":null}"#;
        assert_eq!(commands(format(Mode::Set).row(null)), ["DEL p:a"]);
    }

    #[test]
    fn a_keyed_row_replaces_the_hash_or_deletes_it_in_every_mode() {
        for mode in [Mode::Set, Mode::Hash, Mode::Delete] {
            let row = br#"{"key":"t:1","row":{"id":1,"gone":null}}"#;
            let gone = br#"{"key":"t:1","row":null}"#;
            let format = format(mode);
            assert_eq!(
                commands(format.keyed_row(row)),
                ["DEL p:t:1", "HSET p:t:1 id 1"]
            );
            assert_eq!(commands(format.keyed_row(gone)), ["DEL p:t:1"]);
        }
    }

    #[test]
    fn values_keep_their_digits_and_json_stays_json() {
        let row = br#"{"id":12.50,"a":123456789012345678901234567890,"b":"\u00e4\"","c":[1, 2],"d":true}"#;
        assert_eq!(
            commands(format(Mode::Hash).row(row)),
            ["HSET p:12.50 a 123456789012345678901234567890 b ä\" c [1, 2] d true id 12.50"]
        );
    }

    #[test]
    fn many_fields_are_written_in_parts() {
        let members: Vec<String> = (0..2500).map(|n| format!("\"f{n}\":{n}")).collect();
        let row = format!("{{\"id\":1,{}}}", members.join(","));
        let lengths: Vec<usize> = format(Mode::Hash)
            .row(row.as_bytes())
            .expect("a change")
            .commands()
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(lengths, [2002, 2002, 1004]);
    }

    #[test]
    fn a_version_is_asked_for_where_there_is_a_row() {
        let format = Format {
            version_field: Some("v".into()),
            ..format(Mode::Set)
        };
        let version = |change: Result<Change, String>| {
            change.map(|change| change.version.map(|version| version.number))
        };
        let missing = Err("expected an object with a string or number \"v\"".to_owned());
        assert_eq!(
            version(format.row(br#"{"id":1,"name":"a","v":7}"#)),
            Ok(Some(7))
        );
        assert_eq!(version(format.row(br#"{"id":1,"name":"a"}"#)), missing);
        let keyed = |workload: &str| version(format.keyed_row(workload.as_bytes()));
        assert_eq!(keyed(r#"{"key":"k","row":{"v":8}}"#), Ok(Some(8)));
        assert_eq!(keyed(r#"{"key":"k","row":{}}"#), missing);
        assert_eq!(keyed(r#"{"key":"k","row":null,"v":9}"#), Ok(Some(9)));
        assert_eq!(keyed(r#"{"key":"k","row":null}"#), Ok(None));
        let negative = keyed(r#"{"key":"k","row":{"v":-1}}"#);
        assert_eq!(negative, Err("expected a whole number \"v\"".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = |workload: &str| {
            let workload = workload.as_bytes();
            let rows = format(Mode::Set).row(workload).expect_err("a refusal");
            (
                rows,
                format(Mode::Set)
                    .keyed_row(workload)
                    .expect_err("a refusal"),
            )
        };
        for workload in ["no json", "[1]", "1", "null"] {
            let (row, keyed) = refusal(workload);
            assert!(row.starts_with("expected an object: "), "{row}");
            assert!(keyed.starts_with("expected an object: "), "{keyed}");
        }
        assert!(refusal(r#"{"id":null,"name":"a"}"#).0.contains("\"id\""));
        assert!(refusal(r#"{"id":[],"name":"a"}"#).0.contains("\"id\""));
        assert!(refusal(r#"{"id":1,"name":[]}"#).0.contains("\"name\""));
        assert!(refusal(r#"{"id":1}"#).0.contains("\"name\""));
        assert!(refusal(r#"{"key":"a"}"#).1.contains("\"row\""));
        assert!(
            refusal(r#"{"key":"a","row":[]}"#)
                .1
                .contains("object or null")
        );
        assert!(refusal(r#"{"key":null,"row":{}}"#).1.contains("\"key\""));
    }
}
