//! What becomes of a key: the commands for Redis, and what it answers.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::version_key::version_key;
use crate::redis_client::{self, Answer};

/// How many fields one HSET writes: a Lua call takes less than 8,000 words.
const FIELDS_AT_ONCE: usize = 1000;

/// Runs commands in one, unless Redis has a newer version; returns the type that the key had. It costs Redis
/// twice of what a transaction does, which is sent where there is no version to compare.
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
  if kind ~= 'none' or ARGV[at + 1] ~= 'DEL' then redis.call(unpack(ARGV, at + 1, last)) end
  at = last + 1
end
if version ~= '' then redis.call('SET', KEYS[2], version) end
return kind";

/// By what Redis knows [`IN_ONE`] once it has run it: its SHA-1. It need not read the text again then.
const IN_ONE_NAME: &str = "8365a024c6622165377d07f4188af38435af2944";

/// What [`IN_ONE`] answers when it has left the change out.
const LEFT_OUT: Answer = Answer::Int(0);

/// Deletes a key that holds a value.
pub(crate) const DELETE_IF: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// What became of a change that Redis has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Made,
    /// Redis has a newer version.
    LeftOut,
    /// The key held another type, named here, which the row has taken the place of.
    Replaced(String),
}

/// The columns of a row: each a text, or NULL.
pub(crate) type Fields = BTreeMap<String, Option<String>>;

/// What Redis has at a key once its change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left<'a> {
    Nothing,
    Text(&'a str),
    /// The key of a row, to which this one leads.
    Name(&'a str),
    /// A hash with the fields that are not NULL, and no others.
    Hash(&'a Fields),
    /// A hash with the fields that are not NULL, and maybe others that are not named here.
    Fields(&'a Fields),
    /// A document of RedisJSON.
    Document(&'a str),
}

/// A key and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(super) write: Write,
    pub(super) version: Option<Version>,
    /// After how many milliseconds the key goes.
    pub(super) expire_ms: Option<String>,
    /// The channel that is told the key.
    pub(super) publish: Option<Arc<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u64,
    /// The member of the row that holds it.
    pub(super) field: Arc<str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Write {
    Set(String),
    /// The key leads to the row with this key.
    Name(String),
    Delete,
    /// The fields are set, those that are NULL go, all others stay.
    Merge(Fields),
    /// The hash has these fields, without those that are NULL, and no others.
    Replace(Fields),
    /// The document of RedisJSON is this.
    Document(String),
    /// The key goes if it holds this.
    DeleteIf(String),
}

impl Change {
    /// What the change leaves.
    pub(crate) fn leaves(&self) -> Left<'_> {
        match &self.write {
            Write::Set(text) => Left::Text(text),
            Write::Name(row) => Left::Name(row),
            Write::Delete | Write::DeleteIf(_) => Left::Nothing,
            Write::Merge(fields) => Left::Fields(fields),
            Write::Replace(fields) if fields.values().all(Option::is_none) => Left::Nothing,
            Write::Replace(fields) => Left::Hash(fields),
            Write::Document(json) => Left::Document(json),
        }
    }

    /// Whether it says all that the key holds: what was changed before does not matter then.
    pub(super) fn is_whole(&self) -> bool {
        match self.write {
            Write::Set(_)
            | Write::Name(_)
            | Write::Delete
            | Write::Replace(_)
            | Write::Document(_) => true,
            Write::Merge(_) | Write::DeleteIf(_) => false,
        }
    }

    /// The slot of the key, if Redis is a cluster.
    pub(super) fn slot(&self) -> u16 {
        redis_client::slot(self.key.as_bytes())
    }

    /// Appends what makes the change at once; returns how many answers it has, for [`answer_of`]. `asking`
    /// says that the node takes it by way of exception, as it does one command only. `is_known` says whether
    /// the script was sent before it in the same write, so that Redis knows it.
    pub(super) fn pack(&self, out: &mut Vec<u8>, asking: bool, is_known: &mut bool) -> usize {
        let commands = self.commands();
        match (&self.version, commands.as_slice()) {
            (None, [words]) => redis_client::pack(out, words),
            (None, commands) if !asking => return self.pack_transaction(out, commands),
            (version, commands) => {
                let call = match mem::replace(is_known, true) {
                    true => ["EVALSHA", IN_ONE_NAME],
                    false => ["EVAL", IN_ONE],
                };
                self.pack_in_one(out, call, version.as_ref(), commands);
            }
        }
        1
    }

    /// What an answer to [`Change::pack`] means that is no error.
    pub(super) fn effect(&self, answer: &Answer) -> Effect {
        let usual = match self.write {
            Write::Replace(_) => "hash",
            Write::Document(_) => "ReJSON-RL",
            // They take the place of any other type without a word, as Redis does.
            Write::Set(_)
            | Write::Name(_)
            | Write::Delete
            | Write::Merge(_)
            | Write::DeleteIf(_) => return self.done(answer),
        };
        match answer {
            Answer::Text(kind) if ![usual.as_bytes(), b"none"].contains(&kind.as_slice()) => {
                Effect::Replaced(String::from_utf8_lossy(kind).into_owned())
            }
            answer => self.done(answer),
        }
    }

    fn done(&self, answer: &Answer) -> Effect {
        match answer {
            &LEFT_OUT if self.version.is_some() => Effect::LeftOut,
            _ => Effect::Made,
        }
    }

    /// Its first command asks for the type that the key had, as [`IN_ONE`] does.
    fn pack_transaction(&self, out: &mut Vec<u8>, commands: &[Vec<&str>]) -> usize {
        redis_client::pack(out, &["MULTI"]);
        redis_client::pack(out, &["TYPE", &self.key]);
        for words in commands {
            redis_client::pack(out, words);
        }
        redis_client::pack(out, &["EXEC"]);
        commands.len() + 3
    }

    fn pack_in_one(
        &self,
        out: &mut Vec<u8>,
        [command, script]: [&str; 2],
        version: Option<&Version>,
        commands: &[Vec<&str>],
    ) {
        let (number, field) = version.map_or_else(Default::default, |version| {
            (version.number.to_string(), &*version.field)
        });
        let key = self.key.as_bytes();
        let version_key = version.map(|_| version_key(key));
        // A script without a version looks at no second key.
        let version_key = version_key.as_deref().unwrap_or(key);
        let head: [&[u8]; 7] = [
            command.as_bytes(),
            script.as_bytes(),
            b"2",
            key,
            version_key,
            number.as_bytes(),
            field.as_bytes(),
        ];
        let words = commands.iter().map(|words| 1 + words.len());
        redis_client::begin(out, head.len() + words.sum::<usize>());
        head.iter().for_each(|word| redis_client::word(out, word));
        for words in commands {
            redis_client::word(out, itoa::Buffer::new().format(words.len()).as_bytes());
            for word in words {
                redis_client::word(out, word.as_bytes());
            }
        }
    }

    /// The commands, in words.
    pub(super) fn commands(&self) -> Vec<Vec<&str>> {
        let delete = vec!["DEL", &self.key];
        let mut commands = match &self.write {
            Write::Set(value) | Write::Name(value) => vec![self.set(value)],
            Write::Delete => vec![delete],
            Write::Merge(fields) => [self.hdel(fields), self.hset(fields)].concat(),
            Write::Replace(fields) => [vec![delete], self.hset(fields)].concat(),
            Write::Document(json) => vec![delete, vec!["JSON.SET", &self.key, "$", json]],
            Write::DeleteIf(value) => vec![vec!["EVAL", DELETE_IF, "1", &self.key, value]],
        };
        let expires_with_it = matches!(self.write, Write::Set(_) | Write::Name(_));
        if let (Some(expire), false) = (&self.expire_ms, expires_with_it) {
            commands.push(vec!["PEXPIRE", &self.key, expire]);
        }
        if let Some(channel) = &self.publish {
            commands.push(vec!["PUBLISH", channel, &self.key]);
        }
        commands
    }

    fn set<'a>(&'a self, value: &'a str) -> Vec<&'a str> {
        let mut command = vec!["SET", &self.key, value];
        if let Some(expire) = &self.expire_ms {
            command.extend(["PX", expire]);
        }
        command
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

/// The one answer to a change, from those to all that [`Change::pack`] has sent: the first refusal, or what
/// the first command of a transaction has found.
pub(super) fn answer_of(mut answers: Vec<Answer>) -> Answer {
    let is_refusal = |answer: &Answer| matches!(answer, Answer::Refusal(_));
    match answers.pop() {
        Some(Answer::List(made)) => {
            let refused = made.iter().position(is_refusal).unwrap_or(0);
            made.into_iter().nth(refused).unwrap_or(Answer::Nil)
        }
        // A transaction that is not made says so of a command before the last.
        last => {
            let refused = answers.into_iter().find(is_refusal);
            refused.or(last).unwrap_or(Answer::Nil)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_client::Refusal;

    fn text(text: &str) -> Answer {
        Answer::Text(text.into())
    }

    fn refusal(code: &str) -> Answer {
        Answer::Refusal(Refusal {
            code: code.to_owned(),
            text: String::new(),
        })
    }

    #[test]
    fn a_change_is_answered_by_its_first_refusal_or_the_type_that_was() {
        let queued = || text("QUEUED");
        let transaction = |made| vec![text("OK"), queued(), queued(), made];
        let made = |second| Answer::List(vec![text("none"), second]);
        for (answers, expected) in [
            (vec![Answer::Int(1)], Answer::Int(1)),
            (vec![refusal("OOM")], refusal("OOM")),
            (transaction(made(Answer::Int(4))), text("none")),
            (
                transaction(made(refusal("WRONGTYPE"))),
                refusal("WRONGTYPE"),
            ),
            (
                vec![text("OK"), queued(), refusal("MOVED"), refusal("EXECABORT")],
                refusal("MOVED"),
            ),
            (transaction(refusal("EXECABORT")), refusal("EXECABORT")),
            (
                vec![refusal("NOPERM"), queued(), queued(), made(Answer::Int(4))],
                text("none"),
            ),
        ] {
            assert_eq!(answer_of(answers.clone()), expected, "{answers:?}");
        }
    }

    #[test]
    fn the_script_has_its_name() {
        let name = sha1_smol::Sha1::from(IN_ONE).digest().to_string();
        assert_eq!(name, IN_ONE_NAME);
    }
}
