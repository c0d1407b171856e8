//! What Redis answers, in RESP2 or RESP3. Does no I/O.

use std::fmt;

/// The longest answer that is read from who is only written to. The longest that is asked for is the map
/// of a cluster's slots, which has at most some hundred bytes for each of 16,384.
pub(super) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The longest answer that is read from who is asked for rows: no job brings a longer one.
pub(super) const MAX_ROW_BYTES: usize = 1 << 30;

/// How many answers may stand in one: each takes several times the memory of its bytes. A row has 100,000
/// members at most, and the map of a cluster's slots hardly ten parts for each of 16,384.
const MAX_PARTS: usize = 1 << 20;

/// The longest line: an error, or a number.
const MAX_LINE_BYTES: usize = 64 << 10;

/// How deep lists may stand in lists; those of `CLUSTER SLOTS` are four deep.
const MAX_DEPTH: usize = 16;

/// One answer. What RESP3 knows besides is given as RESP2 would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    List(Vec<Self>),
    /// What nobody has asked for, such as a message of a channel.
    Push,
    Refusal(Refusal),
}

/// An error, such as `MOVED 1 10.0.0.1:6379`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The first word.
    pub(crate) code: String,
    /// What comes after it.
    pub(crate) text: String,
}

impl Answer {
    /// How much memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let more = match self {
            Self::Text(text) => text.len(),
            Self::List(parts) => parts.iter().map(Self::bytes).sum(),
            Self::Refusal(refusal) => refusal.code.len() + refusal.text.len(),
            Self::Nil | Self::Int(_) | Self::Push => 0,
        };
        size_of::<Self>() + more
    }
}

impl Refusal {
    fn of(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let (code, text) = line.split_once(' ').unwrap_or((&line, ""));
        Self {
            code: code.to_owned(),
            text: text.to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is more to come.
    Incomplete,
    Malformed(&'static str),
}

/// The answer that `bytes` begin with, and its length; `None` if they are only its beginning.
///
/// # Errors
///
/// If they can never become an answer, or only one of more than `limit` bytes.
pub(super) fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Answer, usize)>, &'static str> {
    let mut reader = Reader {
        bytes,
        at: 0,
        limit,
        parts: 0,
    };
    match reader.answer(0) {
        Ok(answer) => Ok(Some((answer, reader.at))),
        Err(Stop::Incomplete) if bytes.len() < limit => Ok(None),
        Err(Stop::Incomplete) => Err(TOO_LONG),
        Err(Stop::Malformed(problem)) => Err(problem),
    }
}

const TOO_LONG: &str = "it sends an answer that is far too long";
const UNKNOWN: &str = "it does not speak the protocol of Redis";

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limit: usize,
    /// How many answers have been read so far.
    parts: usize,
}

impl<'a> Reader<'a> {
    fn answer(&mut self, depth: usize) -> Result<Answer, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Malformed(UNKNOWN));
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Stop::Malformed(TOO_LONG));
        }
        let (&kind, rest) = self.line()?.split_first().ok_or(Stop::Malformed(UNKNOWN))?;
        Ok(match kind {
            b'+' | b',' | b'(' => Answer::Text(rest.to_vec()),
            b'-' => Answer::Refusal(Refusal::of(rest)),
            b':' => Answer::Int(number(rest)?),
            b'#' => Answer::Int((rest == b"t").into()),
            b'_' => Answer::Nil,
            b'$' => match self.length(rest)? {
                Some(length) => Answer::Text(self.text(length)?.to_vec()),
                None => Answer::Nil,
            },
            // Behind the three letters of the format and a colon.
            b'=' => Answer::Text(
                self.text(self.some_length(rest)?)?
                    .get(4..)
                    .unwrap_or_default()
                    .to_vec(),
            ),
            b'!' => Answer::Refusal(Refusal::of(self.text(self.some_length(rest)?)?)),
            b'*' | b'~' => match self.length(rest)? {
                Some(count) => self.list(count, depth)?,
                None => Answer::Nil,
            },
            b'%' => self.list(2 * self.some_length(rest)?, depth)?,
            b'>' => {
                self.list(self.some_length(rest)?, depth)?;
                Answer::Push
            }
            b'|' => {
                self.list(2 * self.some_length(rest)?, depth)?;
                self.answer(depth + 1)?
            }
            _ => return Err(Stop::Malformed(UNKNOWN)),
        })
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Answer, Stop> {
        // Nothing is allocated by what a peer says of itself.
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.answer(depth + 1)?);
        }
        Ok(Answer::List(list))
    }

    /// A line without its end.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let part = &rest[..rest.len().min(MAX_LINE_BYTES)];
        match part.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                self.at += end + 1;
                Ok(part[..end].strip_suffix(b"\r").unwrap_or(&part[..end]))
            }
            None if part.len() < MAX_LINE_BYTES => Err(Stop::Incomplete),
            None => Err(Stop::Malformed("it sends a line without an end")),
        }
    }

    /// A text of so many bytes and the end of its line.
    fn text(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let text = rest.get(..length).ok_or(Stop::Incomplete)?;
        match rest.get(length..length + 2) {
            Some(b"\r\n") => {
                self.at += length + 2;
                Ok(text)
            }
            Some(_) => Err(Stop::Malformed(UNKNOWN)),
            None => Err(Stop::Incomplete),
        }
    }

    /// A length, or `None` for -1.
    fn length(&self, text: &[u8]) -> Result<Option<usize>, Stop> {
        match number(text)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= self.limit => Ok(Some(length)),
                Ok(_) => Err(Stop::Malformed(TOO_LONG)),
                Err(_) => Err(Stop::Malformed(UNKNOWN)),
            },
        }
    }

    fn some_length(&self, text: &[u8]) -> Result<usize, Stop> {
        self.length(text)?.ok_or(Stop::Malformed(UNKNOWN))
    }
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or(Stop::Malformed(UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<(Answer, usize)>, &'static str> {
        super::decode(bytes, MAX_ANSWER_BYTES)
    }

    fn whole(bytes: &str) -> Answer {
        let decoded = decode(bytes.as_bytes()).expect("an answer");
        let (answer, length) = decoded.expect("a whole answer");
        assert_eq!(length, bytes.len(), "{bytes}");
        for end in 0..bytes.len() {
            assert_eq!(
                decode(&bytes.as_bytes()[..end]),
                Ok(None),
                "{bytes} to {end}"
            );
        }
        answer
    }

    fn text(text: &str) -> Answer {
        Answer::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn both_protocols_are_read() {
        assert_eq!(whole("+OK\r\n"), text("OK"));
        assert_eq!(whole(":-7\r\n"), Answer::Int(-7));
        assert_eq!(whole("$4\r\na\r\nb\r\n"), text("a\r\nb"));
        assert_eq!(whole("$-1\r\n"), Answer::Nil);
        assert_eq!(whole("_\r\n"), Answer::Nil);
        assert_eq!(whole("#t\r\n"), Answer::Int(1));
        assert_eq!(whole(",1.5\r\n"), text("1.5"));
        assert_eq!(whole("=6\r\ntxt:ab\r\n"), text("ab"));
        let list = Answer::List(vec![Answer::Int(1), Answer::List(vec![text("a")])]);
        assert_eq!(whole("*2\r\n:1\r\n*1\r\n+a\r\n"), list);
        let map = Answer::List(vec![text("a"), Answer::Int(1)]);
        assert_eq!(whole("%1\r\n+a\r\n:1\r\n"), map);
        assert_eq!(whole("|1\r\n+a\r\n:1\r\n+b\r\n"), text("b"));
        assert_eq!(whole(">1\r\n+a\r\n"), Answer::Push);
    }

    #[test]
    fn an_error_is_its_code_and_a_text() {
        for bytes in ["-MOVED 1 a:2\r\n", "!11\r\nMOVED 1 a:2\r\n"] {
            let expected = Refusal {
                code: "MOVED".to_owned(),
                text: "1 a:2".to_owned(),
            };
            assert_eq!(whole(bytes), Answer::Refusal(expected));
        }
    }

    #[test]
    fn what_is_too_long_or_no_answer_is_refused_at_once() {
        assert_eq!(decode(b"$2000000000\r\n"), Err(TOO_LONG));
        assert_eq!(decode(b"*2000000000\r\n"), Err(TOO_LONG));
        assert_eq!(decode(b"HTTP/1.1 400 Bad Request\r\n"), Err(UNKNOWN));
        assert_eq!(decode(b"$-2\r\n"), Err(UNKNOWN));
        assert!(decode(&[b'+'; MAX_LINE_BYTES]).is_err());
        assert!(decode("*1\r\n".repeat(MAX_DEPTH + 2).as_bytes()).is_err());
        let long = format!(
            "*1000\r\n{}",
            format!("$60000\r\n{:60000}\r\n", "").repeat(100)
        );
        assert_eq!(decode(&long.as_bytes()[..MAX_ANSWER_BYTES - 1]), Ok(None));
        assert_eq!(decode(long.as_bytes()), Err(TOO_LONG));
        let parts = format!("*{}\r\n{}", MAX_PARTS, ":1\r\n".repeat(MAX_PARTS));
        assert_eq!(
            super::decode(parts.as_bytes(), MAX_ROW_BYTES),
            Err(TOO_LONG)
        );
    }
}
