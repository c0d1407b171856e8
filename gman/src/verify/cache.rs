//! What Redis has, alone or as a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::connections::RedisOptions;
use crate::error::{Error, Result};
use crate::redis_client::{self, Answer, Connection, Fault, Node, Routes, SLOTS};
use crate::worker::change::{Change, DELETE_IF, Left};

/// How many keys a node looks at for one answer of SCAN, about.
const SCAN_COUNT: &str = "1000";

/// How many commands are sent before their answers are read.
const COMMANDS: usize = 1000;

/// How much Redis may answer to the commands that are sent at once: as much as the largest row has, and the
/// others together.
const MOST_BYTES: usize = 3 << 29;

/// How often commands are tried whose slots are moving to other nodes.
const TRIES: u32 = 5;

/// What is at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Text(Vec<u8>),
    /// Its fields, in the order of their names.
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    /// Another type than the worker writes.
    OtherType,
}

/// Connections to Redis.
pub(super) struct Cache {
    routes: Routes,
    connections: BTreeMap<Node, Connection>,
}

impl Cache {
    /// # Errors
    ///
    /// If Redis is unreachable.
    pub(super) fn connect(options: &RedisOptions) -> Result<Self> {
        let mut cache = Self {
            routes: Routes::new(options.servers()?.with_rows()),
            connections: BTreeMap::new(),
        };
        // A cluster says who has what.
        cache.connection(Node(0))?;
        Ok(cache)
    }

    /// What is at the keys of these changes.
    pub(super) fn read<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<Vec<Found>> {
        let commands: Vec<[&[u8]; 2]> = changes
            .into_iter()
            .map(|change| {
                let command: &[u8] = match change.leaves() {
                    Left::Text(_) | Left::Name(_) => b"GET",
                    Left::Document(_) => b"JSON.GET",
                    Left::Hash(_) | Left::Fields(_) => b"HGETALL",
                    Left::Nothing => b"TYPE",
                };
                [command, change.key.as_bytes()]
            })
            .collect();
        let answers = self.ask(&commands)?.into_iter().zip(&commands);
        answers
            .map(|(answer, [command, _])| match answer {
                Answer::Text(kind) if command == b"TYPE" && kind == b"none" => Ok(Found::Nothing),
                Answer::Text(_) if command == b"TYPE" => Ok(Found::OtherType),
                answer => found(answer),
            })
            .collect()
    }

    /// The texts at these keys; `None` where there is none.
    pub(super) fn texts(&mut self, keys: &[String]) -> Result<Vec<Option<String>>> {
        let commands = keys.iter().map(|key| [b"GET" as &[u8], key.as_bytes()]);
        let answers = self.ask(&commands.collect::<Vec<[&[u8]; 2]>>())?;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Text(text) => String::from_utf8(text).ok(),
                _ => None,
            })
            .collect())
    }

    /// Deletes a key if it holds this text.
    pub(super) fn delete_if(&mut self, key: &str, text: &str) -> Result {
        let node = self.routes.owner(redis_client::slot(key.as_bytes()));
        let words = ["EVAL", DELETE_IF, "1", key, text].map(str::as_bytes);
        let answer = self.connection(node)?.ask(&words);
        match answer.map_err(|fault| failed(&fault))? {
            Answer::Refusal(refusal) => Err(Error::failed(format!(
                "cannot delete {key}: Redis: {refusal}"
            ))),
            _ => Ok(()),
        }
    }

    /// Which of these keys there are.
    pub(super) fn have(&mut self, keys: &[String]) -> Result<Vec<bool>> {
        let commands = keys.iter().map(|key| [b"EXISTS", key.as_bytes()]);
        let answers = self.ask(&commands.collect::<Vec<[&[u8]; 2]>>())?;
        Ok(answers
            .into_iter()
            .map(|answer| answer == Answer::Int(1))
            .collect())
    }

    /// What tells the values at these keys apart; `None` for a key that is not there.
    pub(super) fn fingerprints(&mut self, keys: &[String]) -> Result<Vec<Option<i64>>> {
        let commands = keys.iter().map(|key| [b"DUMP", key.as_bytes()]);
        let answers = self.ask_for(&commands.collect::<Vec<[&[u8]; 2]>>(), fingerprint)?;
        let fingerprints = answers.into_iter().map(|answer| match answer {
            Answer::Nil => Ok(None),
            Answer::Int(fingerprint) => Ok(Some(fingerprint)),
            Answer::Refusal(refusal) => Err(Error::failed(format!("cannot read Redis: {refusal}"))),
            _ => Err(Error::failed(
                "cannot read Redis: it returns no text to DUMP",
            )),
        });
        fingerprints.collect()
    }

    pub(super) fn delete<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result {
        let commands = keys.iter().map(|key| [b"DEL", key.as_ref()]);
        self.ask(&commands.collect::<Vec<[&[u8]; 2]>>()).map(drop)
    }

    /// Hands every key that begins with `prefix` over, some of them twice, in groups.
    pub(super) fn scan(
        &mut self,
        prefix: &str,
        mut take: impl FnMut(&mut Self, Vec<String>) -> Result,
    ) -> Result {
        let pattern = format!("{}*", escaped(prefix));
        let nodes: BTreeSet<Node> = (0..SLOTS).map(|slot| self.routes.owner(slot)).collect();
        for node in nodes {
            let mut cursor = b"0".to_vec();
            loop {
                let words: [&[u8]; 6] = [
                    b"SCAN",
                    &cursor,
                    b"MATCH",
                    pattern.as_bytes(),
                    b"COUNT",
                    SCAN_COUNT.as_bytes(),
                ];
                let answer = self.connection(node)?.ask(&words);
                let (next, keys) = scanned(answer.map_err(|fault| failed(&fault))?)?;
                take(self, keys)?;
                cursor = next;
                if cursor == b"0" {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The answers to commands, each of which is about its second word.
    fn ask(&mut self, commands: &[[&[u8]; 2]]) -> Result<Vec<Answer>> {
        self.ask_for(commands, |answer| answer)
    }

    /// What `keep` keeps of these answers.
    fn ask_for(
        &mut self,
        commands: &[[&[u8]; 2]],
        keep: fn(Answer) -> Answer,
    ) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(commands.len());
        for commands in commands.chunks(COMMANDS) {
            let mut tries = 1;
            while let Err(problem) = self.ask_some(commands, keep, &mut answers) {
                if tries == TRIES {
                    return Err(problem);
                }
                tries += 1;
            }
        }
        Ok(answers)
    }

    /// One round trip to each node that has any of the keys.
    fn ask_some(
        &mut self,
        commands: &[[&[u8]; 2]],
        keep: fn(Answer) -> Answer,
        answers: &mut Vec<Answer>,
    ) -> Result {
        let mut by_node: BTreeMap<Node, (Vec<u8>, Vec<usize>)> = BTreeMap::new();
        for (at, words) in commands.iter().enumerate() {
            let node = self.routes.owner(redis_client::slot(words[1]));
            let (bytes, places) = by_node.entry(node).or_default();
            redis_client::pack(bytes, words);
            places.push(at);
        }
        let mut outcome = Ok(());
        for (node, (bytes, _)) in &by_node {
            let sent = self.connection(*node)?.send(bytes);
            outcome = outcome.and(sent.map_err(|fault| failed(&fault)));
        }
        let mut found: Vec<Answer> = vec![Answer::Nil; commands.len()];
        let mut bytes = 0;
        for (node, (_, places)) in &by_node {
            for place in places {
                if outcome.is_err() {
                    break;
                }
                match self.connection(*node)?.receive().map(keep) {
                    Ok(answer) => {
                        bytes += answer.bytes();
                        if bytes > MOST_BYTES {
                            outcome = Err(too_much(&commands[*place]));
                        }
                        found[*place] = answer;
                    }
                    Err(fault) => outcome = Err(failed(&fault)),
                }
            }
        }
        if outcome.is_ok()
            && let Some(moved) = found.iter().find_map(moved)
        {
            outcome = Err(Error::failed(format!("cannot read Redis: {moved}")));
        }
        match &outcome {
            Ok(()) => answers.append(&mut found),
            // New connections learn who has what now.
            Err(_) => self.connections.clear(),
        }
        outcome
    }

    fn connection(&mut self, node: Node) -> Result<&mut Connection> {
        let connections = &mut self.connections;
        match connections.entry(node) {
            std::collections::btree_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::btree_map::Entry::Vacant(none) => {
                let connection = self.routes.connect(node).map_err(|fault| failed(&fault))?;
                Ok(none.insert(connection))
            }
        }
    }
}

/// What tells a value apart.
fn fingerprint(answer: Answer) -> Answer {
    match answer {
        Answer::Text(value) => {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            Answer::Int(hasher.finish().cast_signed())
        }
        other => other,
    }
}

fn too_much([_, key]: &[&[u8]; 2]) -> Error {
    Error::failed(format!(
        "cannot read Redis: what it has at {} and some other keys is larger than rows can be; delete keys of \
         others that begin with the prefix of the table",
        String::from_utf8_lossy(key)
    ))
}

/// What a cluster says of a key that is elsewhere.
fn moved(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Refusal(refusal)
            if ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"].contains(&refusal.code.as_str()) =>
        {
            Some(refusal.to_string())
        }
        _ => None,
    }
}

fn found(answer: Answer) -> Result<Found> {
    Ok(match answer {
        Answer::Nil => Found::Nothing,
        Answer::Text(text) => Found::Text(text),
        Answer::List(items) if items.is_empty() => Found::Nothing,
        Answer::List(items) => Found::Hash(pairs(items)),
        Answer::Refusal(refusal) if refusal.code == "WRONGTYPE" => Found::OtherType,
        Answer::Refusal(refusal) => {
            return Err(Error::failed(format!("cannot read Redis: {refusal}")));
        }
        Answer::Int(_) | Answer::Push => {
            return Err(Error::failed(
                "cannot read Redis: it returns neither a text nor a hash",
            ));
        }
    })
}

fn pairs(items: Vec<Answer>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut texts = items.into_iter().map(|item| match item {
        Answer::Text(text) => text,
        _ => Vec::new(),
    });
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((name, value));
    }
    pairs.sort_unstable();
    pairs
}

/// The next cursor, and the keys. What is no UTF-8 is no key of a row: the worker's versions have such
/// names.
fn scanned(answer: Answer) -> Result<(Vec<u8>, Vec<String>)> {
    if let Answer::List(parts) = answer
        && let Ok([Answer::Text(next), Answer::List(keys)]) = <[Answer; 2]>::try_from(parts)
    {
        let keys = keys.into_iter().filter_map(|key| match key {
            Answer::Text(key) => String::from_utf8(key).ok(),
            _ => None,
        });
        return Ok((next, keys.collect()));
    }
    Err(Error::failed(
        "Redis does not list its keys; the account needs the command SCAN",
    ))
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

fn failed(fault: &Fault) -> Error {
    Error::failed(format!(
        "cannot read Redis {fault}; check --redis, and whether it runs"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }

    #[test]
    fn a_page_of_a_scan_has_a_cursor_and_keys() {
        let text = |text: &[u8]| Answer::Text(text.to_vec());
        let page = Answer::List(vec![
            text(b"7"),
            Answer::List(vec![text(b"a"), text(b"a\xffversion")]),
        ]);
        let (next, keys) = scanned(page).expect("a page");
        assert_eq!((next.as_slice(), keys), (&b"7"[..], vec!["a".to_owned()]));
        assert!(scanned(Answer::Nil).is_err());
    }
}
