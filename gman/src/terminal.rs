//! What is printed: results to stdout, everything else to stderr, colours only on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};

use anstyle::{AnsiColor, Style};

use crate::error::{Error, Result};

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Prints a result and a line feed.
///
/// # Errors
///
/// If nobody reads it any more.
pub(crate) fn print(text: &str) -> Result {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Prints a result as it is.
///
/// # Errors
///
/// As [`print()`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result {
    // Not by anstream: it takes out what is no UTF-8, and control characters of names.
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Error::failed(
            "stdout was closed before everything was printed; let the reader take all of it",
        ),
        _ => Error::failed(format!(
            "cannot write to stdout: {error}; check where the output goes"
        )),
    })
}

/// Prints a line to stderr. If nobody can read it, there is nobody to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "gman: {}", printable(text));
}

/// Prints what ended the subcommand.
pub(crate) fn complain(error: &Error) {
    let text = printable(error.text());
    let _ = writeln!(anstream::stderr(), "{ERROR}gman:{ERROR:#} {text}");
}

/// The text with control characters escaped: what a server or a row says stays on its line, and
/// does nothing to the terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_harmful(letter) {
            let _ = write!(escaped, "{}", letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// The beginning of a text, [`printable`], with the number of bytes that are missing.
pub(crate) fn one_line(text: &str, limit: usize) -> Cow<'_, str> {
    // What is escaped is longer: the limit is one of what is printed.
    let beginning = printable(&text[..text.floor_char_boundary(limit)]);
    let shown = beginning.floor_char_boundary(limit);
    if beginning.len() == shown && text.len() <= limit {
        return beginning;
    }
    let missing = text.len().max(beginning.len()) - shown;
    Cow::Owned(format!("{}... ({missing} more bytes)", &beginning[..shown]))
}

/// Control characters, and those that change the direction or the line of what follows.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Asks for a password, without showing it.
///
/// # Errors
///
/// If there is no terminal.
pub(crate) fn ask_password(question: &str) -> Result<String> {
    rpassword::prompt_password(format!("{question}: ")).map_err(|error: io::Error| {
        Error::failed(format!(
            "cannot ask for the password: {error}; without a terminal put it into an option file"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_letters_stay() {
        assert_eq!(printable("a\r\n\u{1b}[31mb\0"), "a\\r\\n\\u{1b}[31mb\\u{0}");
        assert_eq!(printable("\u{85}\u{202e}x"), "\\u{85}\\u{202e}x");
        assert!(matches!(printable("ä 😀 \\"), Cow::Borrowed("ä 😀 \\")));
    }

    #[test]
    fn a_line_is_cut_between_letters_and_says_how_much_is_missing() {
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(one_line("abcde", 4), "abcd... (1 more bytes)");
        assert_eq!(one_line("abcä", 4), "abc... (2 more bytes)");
        assert_eq!(one_line("\n\n\n", 4), "\\n\\n... (2 more bytes)");
        assert_eq!(one_line("", 0), "");
    }
}
