//! A text of SQL as tokens, as the servers' own lexer finds them.

use super::charset::Charset;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space, and the marks around the text of a comment that the server executes.
    Space,
    /// A comment, its marks included.
    Comment,
    /// A string in quotes.
    Text,
    /// A name in backticks, or in double quotes under `ANSI_QUOTES`.
    Quoted,
    /// A name, a keyword or a number.
    Word,
    /// A single byte: an operator or punctuation.
    Other,
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub text: &'a [u8],
    /// Where it begins.
    pub place: usize,
}

impl Token<'_> {
    /// Whether the server's grammar sees it.
    pub fn counts(&self) -> bool {
        !matches!(self.kind, Kind::Space | Kind::Comment)
    }

    /// Whether it is this keyword or punctuation; keywords are given in lower case.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Other)
            && self.text.eq_ignore_ascii_case(text.as_bytes())
    }

    /// The name without its quotes; `None` for what can be none.
    pub fn name(&self) -> Option<&[u8]> {
        match self.kind {
            Kind::Word => Some(self.text),
            Kind::Quoted => self.text.get(1..self.text.len().saturating_sub(1)),
            _ => None,
        }
    }

    /// Where its name ends, in the whole text.
    pub fn end_of_name(&self) -> usize {
        let end = self.place + self.text.len();
        end - usize::from(self.kind == Kind::Quoted)
    }
}

/// What a session has to do with the meaning of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The character set of the text.
    pub charset: Charset,
    /// Whether a backslash escapes what follows it; not so with `NO_BACKSLASH_ESCAPES`.
    pub backslash_escapes: bool,
    /// Whether double quotes are around names and not strings: `ANSI_QUOTES`.
    pub ansi_quotes: bool,
    /// The number of the server that reads the text: it skips comments for later servers.
    pub version: u32,
    /// Whether comments for MariaDB alone, `/*M!`, are executed.
    pub is_maria: bool,
}

impl Dialect {
    /// For every server that may read a script, with the servers' own defaults.
    pub const ANY: Self = Self {
        charset: Charset::Utf8,
        backslash_escapes: true,
        ansi_quotes: false,
        version: u32::MAX,
        is_maria: true,
    };
}

/// The tokens of a text. Joined they are the text, byte for byte.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    text: &'a [u8],
    place: usize,
    dialect: Dialect,
}

impl<'a> Tokens<'a> {
    /// Those of `text`.
    pub fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self {
            text,
            place: 0,
            dialect,
        }
    }

    /// Says whether a backslash is an escape in what follows.
    pub fn set_backslash_escapes(&mut self, escapes: bool) {
        self.dialect.backslash_escapes = escapes;
    }

    /// The next token that the grammar sees.
    pub(crate) fn next_that_counts(&mut self) -> Option<Token<'a>> {
        self.find(Token::counts)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let place = self.place;
        let rest = &self.text[place..];
        if rest.is_empty() {
            return None;
        }
        let (kind, length) = first(rest, self.dialect);
        let text = &rest[..length];
        self.place += length;
        Some(Token { kind, text, place })
    }
}

/// The kind and the length of the token at the beginning of `text`, which is not empty.
fn first(text: &[u8], dialect: Dialect) -> (Kind, usize) {
    match text {
        [b'-', b'-', rest @ ..] if rest.first().is_none_or(|&byte| ends_dashes(byte)) => {
            (Kind::Comment, length_of_line(text))
        }
        [b'#', ..] => (Kind::Comment, length_of_line(text)),
        [b'*', b'/', ..] => (Kind::Space, 2),
        [b'/', b'*', ..] => comment(text, dialect),
        [b'"', ..] if dialect.ansi_quotes => (Kind::Quoted, string(text, dialect.charset, false)),
        [b'\'' | b'"', ..] => {
            let length = string(text, dialect.charset, dialect.backslash_escapes);
            (Kind::Text, length)
        }
        [b'`', ..] => (Kind::Quoted, string(text, dialect.charset, false)),
        [byte, ..] if is_space(*byte) => {
            let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
            (Kind::Space, spaces)
        }
        _ => match word(text, dialect.charset) {
            0 => (Kind::Other, 1),
            length => (Kind::Word, length),
        },
    }
}

/// Two dashes begin a comment only before one of these.
fn ends_dashes(byte: u8) -> bool {
    is_space(byte) || byte.is_ascii_control()
}

fn length_of_line(text: &[u8]) -> usize {
    let end = text.iter().position(|&byte| matches!(byte, b'\n' | 0));
    end.unwrap_or(text.len())
}

/// The comment that `text` begins with, or its opening mark if the server executes what is in it.
fn comment(text: &[u8], dialect: Dialect) -> (Kind, usize) {
    /// The number of a version has five digits, or six.
    const DIGITS: [usize; 2] = [5, 6];
    let body = &text[2..];
    let executed = match body {
        [b'M', b'!', rest @ ..] if dialect.is_maria => Some(rest),
        [b'!', rest @ ..] => Some(rest),
        _ => None,
    };
    let Some(executed) = executed else {
        return (Kind::Comment, 2 + end_of_comment(body, false));
    };
    let mark = text.len() - executed.len();
    let digits = executed.iter().take(DIGITS[1]);
    let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
    if digits < DIGITS[0] {
        return (Kind::Space, mark);
    }
    let version = executed[..digits]
        .iter()
        .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    match version <= dialect.version {
        true => (Kind::Space, mark + digits),
        false => (Kind::Comment, 2 + end_of_comment(body, true)),
    }
}

/// How long `body` is to the end of the comment that has begun before it, or to the end of the text.
/// A comment that is not executed may have others in it.
fn end_of_comment(body: &[u8], may_nest: bool) -> usize {
    let mut is_inside = false;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'/', b'*', ..] if may_nest && !is_inside => {
                is_inside = true;
                at += 2;
            }
            [b'*', b'/', ..] if is_inside => {
                is_inside = false;
                at += 2;
            }
            [b'*', b'/', ..] => return at + 2,
            _ => at += 1,
        }
    }
    body.len()
}

/// How long the string is that `text` begins with; one that does not end goes to the end of the text.
fn string(text: &[u8], charset: Charset, escapes: bool) -> usize {
    let quote = text[0];
    let mut at = 1;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest {
            [b'\\', _, ..] if escapes => 2,
            [first, second, ..] if *first == quote && *second == quote => 2,
            [first, ..] if *first == quote => return at + 1,
            rest => charset.length(rest),
        };
    }
    text.len()
}

/// How long the word is that `text` begins with.
fn word(text: &[u8], charset: Charset) -> usize {
    let mut at = 0;
    while text.get(at).copied().is_some_and(is_in_word) {
        at += charset.length(&text[at..]);
    }
    at
}

/// Whether a byte is part of a name that needs no quotes.
pub fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Whether a byte is white space to the servers.
pub fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counting(text: &str, dialect: Dialect) -> Vec<&str> {
        let tokens = Tokens::new(text.as_bytes(), dialect).filter(Token::counts);
        tokens
            .map(|token| str::from_utf8(token.text).expect("UTF-8"))
            .collect()
    }

    #[test]
    fn tokens_are_those_of_the_server() {
        let server = Dialect {
            version: 90_704,
            is_maria: false,
            ..Dialect::ANY
        };
        for (text, expected) in [
            ("a.b , 'c''d'", &["a", ".", "b", ",", "'c''d'"][..]),
            (r"'it\'s' x", &[r"'it\'s'", "x"]),
            ("a--b", &["a", "-", "-", "b"]),
            ("a-- b\nc", &["a", "c"]),
            ("a#b\nc", &["a", "c"]),
            ("a/* b */c", &["a", "c"]),
            ("/*!50003 a */ b", &["a", "b"]),
            ("/*!99999 a /* b */ c */ d", &["d"]),
            ("/*!999999 a */ d", &["d"]),
            ("/*! a */ d", &["a", "d"]),
            ("/*M! a */ d", &["d"]),
            ("/*+ a */ d", &["d"]),
            ("'a", &["'a"]),
            ("/* a", &[]),
            ("`a``b` \"c\"", &["`a``b`", "\"c\""]),
            ("\u{e9}t\u{e9}(", &["\u{e9}t\u{e9}", "("]),
        ] {
            assert_eq!(counting(text, server), expected, "{text}");
        }
    }

    #[test]
    fn the_modes_of_the_session_decide_about_quotes_and_backslashes() {
        let ansi = Dialect {
            ansi_quotes: true,
            ..Dialect::ANY
        };
        let token = Tokens::new(br#""a\" b"#, ansi).next();
        assert_eq!(
            token.and_then(|token| token.name().map(<[u8]>::to_vec)),
            Some(br"a\".to_vec())
        );
        let plain = Dialect {
            backslash_escapes: false,
            ..Dialect::ANY
        };
        assert_eq!(counting(r"'a\' b", plain), [r"'a\'", "b"]);
    }

    proptest! {
        #[test]
        fn tokens_joined_are_the_text(text: Vec<u8>, ansi_quotes: bool, backslash_escapes: bool) {
            for charset in [Charset::Utf8, Charset::Big5, Charset::Gbk, Charset::Gb18030, Charset::Sjis] {
                let dialect = Dialect { charset, ansi_quotes, backslash_escapes, ..Dialect::ANY };
                let mut joined = Vec::new();
                for token in Tokens::new(&text, dialect) {
                    prop_assert!(!token.text.is_empty());
                    prop_assert_eq!(token.place, joined.len());
                    joined.extend_from_slice(token.text);
                }
                prop_assert_eq!(&joined, &text);
            }
        }
    }
}
