//! What a job asks for: from its workload to changes of keys.

use std::collections::VecDeque;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::at::At;
use super::change::{Change, Fields, Version, Write};
use super::expire::Expire;
use super::members::Members;

/// How many members a row may have. Redis takes a million words in a request.
const MAX_MEMBERS: usize = 100_000;

/// What a job of `--function` does with the key, which is `--prefix` and the row's "id".
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// SET the key to "name"; DEL it if "name" is null
    Set,
    /// HSET every member of the row as a string, HDEL those that are null; other fields stay
    Hash,
    /// DEL the key
    Delete,
    /// SET the key to the whole row as JSON, also in jobs of --row-function
    Json,
    /// JSON.SET the key to the whole row, also in jobs of --row-function; Redis needs the module RedisJSON
    RedisJson,
}

/// How many rows a job may carry.
const MAX_ROWS: usize = 100_000;

/// How workloads are to be read.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) mode: Mode,
    pub(crate) prefix: String,
    pub(crate) version_field: Option<Arc<str>>,
    /// How long keys stay.
    pub(crate) expire: Option<Expire>,
    /// Who is told the keys that have changed.
    pub(crate) publish: Option<Arc<str>>,
}

/// What a job asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// The row.
    pub(crate) change: Change,
    /// What follows once Redis has that, in this order.
    pub(crate) lookups: VecDeque<Change>,
    pub(crate) at: Option<At>,
}

/// The rows of a workload: itself, or the elements of a list.
///
/// # Errors
///
/// What was expected of the workload, as a text.
pub(crate) fn rows(workload: &[u8]) -> Result<Vec<&[u8]>, String> {
    if !workload.trim_ascii_start().starts_with(b"[") {
        return Ok(vec![workload]);
    }
    let rows: Vec<&RawValue> = serde_json::from_slice(workload)
        .map_err(|error| format!("expected a list of objects: {error}"))?;
    match rows.len() {
        0 => Err("expected an object, or a list with one at least".to_owned()),
        1..=MAX_ROWS => Ok(rows.into_iter().map(|row| row.get().as_bytes()).collect()),
        count => Err(format!("expected {MAX_ROWS} rows at most, got {count}")),
    }
}

impl Format {
    /// Without anything that is optional.
    pub(crate) fn new(mode: Mode, prefix: &str) -> Self {
        Self {
            mode,
            prefix: prefix.to_owned(),
            version_field: None,
            expire: None,
            publish: None,
        }
    }

    /// Reads a row, `{"id":1,"name":"sm"}`, of which the mode says what to do with it.
    ///
    /// # Errors
    ///
    /// What was expected of the workload, as a text.
    pub(crate) fn row(&self, workload: &[u8]) -> Result<Task, String> {
        let row = members(workload)?;
        let write = match self.mode {
            // Redis cannot hold NULL: readers find no key and ask the database.
            Mode::Set => column(&row, "name")?.map_or(Write::Delete, Write::Set),
            Mode::Hash => Write::Merge(fields(&row)?),
            Mode::Delete => Write::Delete,
            Mode::Json => Write::Set(json(workload)?),
            Mode::RedisJson => Write::Document(json(workload)?),
        };
        Ok(Task {
            change: self.change(column(&row, "id")?, "id", write, self.version(&row)?)?,
            lookups: VecDeque::new(),
            at: None,
        })
    }

    /// Reads a row that names its key, `{"key":"test:1","row":{...}}`, where null is no row; and beside it
    /// when it was changed, and the lookup keys that are to name it, or no more.
    ///
    /// # Errors
    ///
    /// As [`Format::row`].
    pub(crate) fn keyed_row(&self, workload: &[u8]) -> Result<Task, String> {
        let outer = members(workload)?;
        let text = outer
            .get("row")
            .ok_or("expected an object with a \"row\"")?
            .get();
        let row: Option<Members<'_>> = serde_json::from_str(text)
            .map_err(|_| "expected a \"row\" that is an object or null")?;
        let (write, version) = match row {
            Some(row) => (self.whole_row(text, &row)?, self.version(&row)?),
            None => (Write::Delete, self.version(&outer).unwrap_or(None)),
        };
        let change = self.change(column(&outer, "key")?, "key", write, version)?;
        Ok(Task {
            lookups: self.lookups(&outer, &change.key)?,
            at: at(&outer),
            change,
        })
    }

    fn whole_row(&self, text: &str, row: &Members<'_>) -> Result<Write, String> {
        Ok(match self.mode {
            Mode::Json => Write::Set(text.to_owned()),
            Mode::RedisJson => Write::Document(text.to_owned()),
            Mode::Set | Mode::Hash | Mode::Delete => Write::Replace(fields(row)?),
        })
    }

    fn change(
        &self,
        key: Option<String>,
        name: &str,
        write: Write,
        version: Option<Version>,
    ) -> Result<Change, String> {
        let key = key.ok_or_else(|| format!("expected a \"{name}\" that is not null"))?;
        let key = format!("{}{key}", self.prefix);
        Ok(Change {
            expire_ms: self.expire_ms(&key, &write),
            key,
            write,
            version,
            publish: self.publish.clone(),
        })
    }

    /// The keys that name the row by other columns: those that it has lost, and those that it has.
    fn lookups(&self, outer: &Members<'_>, row: &str) -> Result<VecDeque<Change>, String> {
        let (now, before) = (keys(outer, "lookups")?, keys(outer, "old_lookups")?);
        let lost = before.iter().filter(|key| !now.contains(key));
        let lost = lost.map(|key| (key, Write::DeleteIf(row.to_owned())));
        let has = now.iter().map(|key| (key, Write::Name(row.to_owned())));
        Ok(lost
            .chain(has)
            .map(|(key, write)| {
                let key = format!("{}{key}", self.prefix);
                Change {
                    expire_ms: self.expire_ms(&key, &write),
                    key,
                    write,
                    version: None,
                    publish: None,
                }
            })
            .collect())
    }

    fn expire_ms(&self, key: &str, write: &Write) -> Option<String> {
        match write {
            Write::Delete | Write::DeleteIf(_) => None,
            Write::Set(_)
            | Write::Name(_)
            | Write::Merge(_)
            | Write::Replace(_)
            | Write::Document(_) => self
                .expire
                .map(|expire| expire.milliseconds(key).to_string()),
        }
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

fn members(workload: &[u8]) -> Result<Members<'_>, String> {
    let members: Members<'_> =
        serde_json::from_slice(workload).map_err(|error| format!("expected an object: {error}"))?;
    match members.len() {
        0..=MAX_MEMBERS => Ok(members),
        count => Err(format!(
            "expected {MAX_MEMBERS} members at most, got {count}"
        )),
    }
}

/// The workload, which is known to be JSON, as a text.
fn json(workload: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(workload).map_err(|error| error.to_string())?;
    Ok(text.trim().to_owned())
}

/// When a row was changed. A time that cannot be read is none: it changes nothing in Redis.
fn at(outer: &Members<'_>) -> Option<At> {
    let milliseconds = outer.get("at")?.get().parse().ok()?;
    At::from_milliseconds(milliseconds)
}

/// A list of keys; those that are null are none.
fn keys(outer: &Members<'_>, name: &str) -> Result<Vec<String>, String> {
    let Some(list) = outer.get(name) else {
        return Ok(Vec::new());
    };
    let list: Vec<Option<String>> = serde_json::from_str(list.get())
        .map_err(|_| format!("expected \"{name}\" to be a list of strings"))?;
    Ok(list.into_iter().flatten().collect())
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
        .map(|(name, value)| Ok((name.to_owned(), text(value)?)))
        .collect()
}

/// A string without its quotes, nothing for null, and everything else as JSON.
fn text(value: &RawValue) -> Result<Option<String>, String> {
    match value.get() {
        "null" => Ok(None),
        json if json.starts_with('"') && !json.contains('\\') => {
            Ok(Some(json[1..json.len() - 1].to_owned()))
        }
        json if json.starts_with('"') => String::deserialize(value)
            .map(Some)
            .map_err(|error| error.to_string()),
        json => Ok(Some(json.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(mode: Mode) -> Format {
        Format::new(mode, "p:")
    }

    fn commands(task: Result<Task, String>) -> Vec<String> {
        words_of(&task.expect("a task").change)
    }

    fn words_of(change: &Change) -> Vec<String> {
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
    fn a_row_can_be_kept_as_json_text_or_as_a_document() {
        let keyed = br#"{"key":"t:1","row":{"id":1, "name":null}}"#;
        let json = r#"{"id":1, "name":null}"#;
        let row = json.as_bytes();
        let format = |mode| format(mode);
        for (mode, first, command) in [
            (Mode::Json, vec![], "SET KEY"),
            (Mode::RedisJson, vec!["DEL KEY"], "JSON.SET KEY $"),
        ] {
            let expected = |key: &str| -> Vec<String> {
                let last = format!("{command} {json}");
                let words = first.iter().map(|word| (*word).to_owned()).chain([last]);
                words.map(|words| words.replace("KEY", key)).collect()
            };
            assert_eq!(commands(format(mode).keyed_row(keyed)), expected("p:t:1"));
            assert_eq!(commands(format(mode).row(row)), expected("p:1"));
        }
        let gone = br#"{"key":"t:1","row":null}"#;
        assert_eq!(commands(format(Mode::Json).keyed_row(gone)), ["DEL p:t:1"]);
    }

    #[test]
    fn keys_expire_and_their_changes_are_published() {
        let format = Format {
            expire: Some(Expire(60)),
            publish: Some("changes".into()),
            ..format(Mode::Set)
        };
        let ms = Expire(60).milliseconds("p:1").to_string();
        let row = br#"{"id":1,"name":"sm"}"#;
        let set = format!("SET p:1 sm PX {ms}");
        assert_eq!(commands(format.row(row)), [&set, "PUBLISH changes p:1"]);
        let keyed = br#"{"key":"1","row":{"id":1}}"#;
        let expire = format!("PEXPIRE p:1 {ms}");
        assert_eq!(
            commands(format.keyed_row(keyed)),
            ["DEL p:1", "HSET p:1 id 1", &expire, "PUBLISH changes p:1"]
        );
        let gone = br#"{"key":"1","row":null}"#;
        assert_eq!(
            commands(format.keyed_row(gone)),
            ["DEL p:1", "PUBLISH changes p:1"]
        );
    }

    #[test]
    fn lookup_keys_follow_the_row() {
        let workload = br#"{"key":"u:1","row":{"id":1},"lookups":["u:mail:b","u:name:n",null],
            "old_lookups":["u:mail:a","u:name:n",null]}"#;
        let task = format(Mode::Set).keyed_row(workload).expect("a task");
        let lookups: Vec<Vec<String>> = task.lookups.iter().map(words_of).collect();
        let [gone, new, same] = lookups.as_slice() else {
            panic!("{lookups:?}");
        };
        assert!(gone[0].starts_with("EVAL"), "{gone:?}");
        assert!(gone[0].ends_with(" 1 p:u:mail:a p:u:1"), "{gone:?}");
        assert_eq!(new, &["SET p:u:mail:b p:u:1"]);
        assert_eq!(same, &["SET p:u:name:n p:u:1"]);
        let wrong = br#"{"key":"u:1","row":null,"old_lookups":"a"}"#;
        let refusal = format(Mode::Set).keyed_row(wrong).expect_err("a refusal");
        assert!(refusal.contains("list of strings"), "{refusal}");
    }

    #[test]
    fn the_time_of_a_change_is_beside_the_row_or_missing() {
        let at = |text: &str| {
            let workload = format!(r#"{{"key":"a","row":null{text}}}"#);
            format(Mode::Set)
                .keyed_row(workload.as_bytes())
                .expect("a task")
                .at
        };
        assert_eq!(
            at(r#","at":1732999999123.456"#),
            At::from_milliseconds(1_732_999_999_123.456)
        );
        for none in ["", r#","at":null"#, r#","at":"then""#] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    #[test]
    fn a_row_has_no_more_members_than_redis_takes() {
        let members: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"f{n}\":1")).collect();
        let row = format!("{{\"id\":1,{}}}", members.join(","));
        let refusal = format(Mode::Hash)
            .row(row.as_bytes())
            .expect_err("a refusal");
        assert!(
            refusal.starts_with("expected 100000 members at most"),
            "{refusal}"
        );
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
            .expect("a task")
            .change
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
        let version = |task: Result<Task, String>| {
            task.map(|task| task.change.version.map(|version| version.number))
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
