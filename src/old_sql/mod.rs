//! The SQL of the C plugins, where a server has native functions of the same names: finds the calls that
//! the native ones cannot mean, and gives them the names that the library has beside the old ones.
//!
//! A name is changed by adding [`SUFFIX`] to it, and nothing else in a text changes. Knows neither a
//! server nor the functions.

use std::collections::TryReserveError;

use self::calls::Reader;
use self::tokens::{Dialect, Token, Tokens};

mod argument;
mod calls;
pub mod charset;
pub mod tokens;

/// What the old names get at their end.
pub const SUFFIX: &[u8] = b"_udf";

/// The functions of the C plugin that native ones have the names of.
pub const OLD_NAMES: [&str; 2] = ["json_object", "json_array"];

/// What stands before a name that is followed by a parenthesis and still no call.
const NO_CALL_AFTER: [&str; 26] = [
    ".",
    "@",
    ")",
    "as",
    "call",
    "delayed",
    "exists",
    "fulltext",
    "function",
    "high_priority",
    "ignore",
    "index",
    "insert",
    "into",
    "key",
    "low_priority",
    "procedure",
    "recursive",
    "references",
    "replace",
    "spatial",
    "table",
    "trigger",
    "unique",
    "view",
    "with",
];

/// Whether `text` holds one of the old names at all: what most statements are asked, and nothing else.
pub fn is_concerned(text: &[u8]) -> bool {
    /// Compared without a branch, so that the compiler takes many bytes at once.
    const CHUNK: usize = 32;
    let mut place = 0;
    for chunk in text.chunks(CHUNK) {
        let is_j = |byte: &u8| byte | 0x20 == b'j';
        if chunk.iter().fold(false, |any, byte| any | is_j(byte)) {
            let mut candidates = (place..place + chunk.len()).filter(|&at| is_j(&text[at]));
            if candidates.any(|at| begins_with_an_old_name(&text[at..])) {
                return true;
            }
        }
        place += CHUNK;
    }
    false
}

fn begins_with_an_old_name(text: &[u8]) -> bool {
    OLD_NAMES.iter().any(|name| {
        let start = text.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Whether the meaning of `text` depends on the session that sends it.
pub fn depends_on_dialect(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, b'"' | b'\\' | 0x80..))
}

/// Whether a name after `before` can be called.
pub fn can_call_after(before: Option<Token<'_>>) -> bool {
    !before.is_some_and(|before| NO_CALL_AFTER.iter().any(|word| before.is(word)))
}

/// Where [`SUFFIX`] has to be put in, in ascending order; nowhere in a text that is not concerned.
///
/// # Errors
///
/// There is no memory for the places.
pub fn places(text: &[u8], dialect: Dialect) -> Result<Vec<usize>, TryReserveError> {
    if !is_concerned(text) {
        return Ok(Vec::new());
    }
    let mut reader = Reader::default();
    let mut tokens = Tokens::new(text, dialect);
    while let Some(token) = tokens.next_that_counts() {
        reader.read(token, &tokens)?;
    }
    reader.finish()
}

/// The parts of `text` with [`SUFFIX`] at `places`, which are those of the text.
pub fn parts<'a>(text: &'a [u8], places: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut from = 0;
    let before = places.iter().flat_map(move |&place| {
        let part = &text[from..place];
        from = place;
        [part, SUFFIX]
    });
    before.chain([&text[places.last().copied().unwrap_or(0)..]])
}

/// How long `text` is with [`SUFFIX`] at `places`.
pub fn length(text: &[u8], places: &[usize]) -> usize {
    text.len() + places.len() * SUFFIX.len()
}

#[cfg(test)]
mod tests;
