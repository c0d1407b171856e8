//! The SQL of the C plugins, where a server has native functions of the same names: finds the calls that
//! the native ones cannot mean, and gives them the names that the library has beside the old ones.
//!
//! A name is changed by adding [`SUFFIX`] to it, and nothing else in a text changes. Knows neither a
//! server nor the functions.

use std::collections::TryReserveError;

use self::calls::Reader;
use self::names::OLD_NAMES;
use self::tokens::{Dialect, Tokens};

mod argument;
mod blocks;
mod calls;
pub mod charset;
pub mod names;
pub mod tokens;

/// What the old names get at their end.
pub const SUFFIX: &[u8] = b"_udf";

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

/// Where [`SUFFIX`] has to be put in, in ascending order; nowhere in a text that is not concerned, and
/// in one of several statements, which a server would measure by its old end.
///
/// # Errors
///
/// There is no memory for the places.
pub fn places(text: &[u8], dialect: Dialect) -> Result<Vec<usize>, TryReserveError> {
    let statement = without_end(text);
    let has_semicolon = statement.contains(&b';');
    if !is_concerned(text) || has_semicolon && !dialect.charset.is_well_formed(text) {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(statement.len());
    let mut tokens = Tokens::new(text, dialect);
    while let Some(token) = tokens.next_that_counts() {
        reader.read(token, &tokens)?;
    }
    reader.finish()
}

/// `text` without what the servers cut off from its end.
fn without_end(text: &[u8]) -> &[u8] {
    let is_cut_off = |byte: &u8| *byte == b';' || tokens::is_space(*byte);
    let last = text.iter().rposition(|byte| !is_cut_off(byte));
    &text[..last.map_or(0, |last| last + 1)]
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
