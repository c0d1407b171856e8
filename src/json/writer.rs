//! Members and elements, separated by commas, in one buffer.

use super::escape::{push_string, room_for_string};
use super::number::{
    Decimal, ROOM_FOR_NUMBER, push_decimal, push_double, push_float, push_integer, room_for_decimal,
};
use crate::error::Error;
use crate::memory;

/// The longest text: no server passes more on, `max_allowed_packet` ends there.
pub(super) const MAX_TEXT_BYTES: usize = 1 << 30;

/// Room for a comma, a colon, and the bracket at the end.
const ROOM_FOR_PUNCTUATION: usize = 4;

/// A value, as it goes into the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A whole number.
    Integer(i64),
    /// A whole number above what `Integer` holds.
    Unsigned(u64),
    /// A decimal number in its digits.
    Decimal(Decimal<'a>),
    /// A floating point number, in the shortest text that reads back to it; `null` if it is not
    /// finite.
    Double(f64),
    /// A floating point number of single precision, if it does not fit into `width` characters
    /// otherwise.
    Float {
        /// The number.
        value: f64,
        /// How many characters its source shows it in at most.
        width: usize,
    },
    /// Text, to be quoted and escaped.
    String(&'a str),
    /// JSON that the caller has checked.
    Json(&'a str),
}

impl Value<'_> {
    /// How many bytes the value takes at most.
    fn room(&self) -> usize {
        match self {
            Self::String(text) => room_for_string(text),
            Self::Json(text) => text.len(),
            Self::Decimal(number) => room_for_decimal(*number),
            Self::Null
            | Self::Integer(_)
            | Self::Unsigned(_)
            | Self::Double(_)
            | Self::Float { .. } => ROOM_FOR_NUMBER,
        }
    }
}

/// The name of a member, ready to be written: quoted, escaped, with its comma and its colon.
#[derive(Debug)]
pub struct Name(Vec<u8>);

impl Name {
    /// Prepares `name`.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut text = Vec::new();
        memory::reserve(&mut text, room_for_string(name) + ROOM_FOR_PUNCTUATION)?;
        text.push(b',');
        push_string(&mut text, name);
        text.push(b':');
        Ok(Self(text))
    }
}

/// Builds one text after another in a buffer that is kept.
#[derive(Debug, Default)]
pub struct Writer {
    text: Vec<u8>,
    /// Where the first item begins.
    items: usize,
    /// Why an item could not be appended; the text is not whole then.
    refused: Option<Error>,
}

impl Writer {
    /// Forgets the last text and begins the next with `open`: a bracket, or nothing for a bare
    /// list.
    pub fn begin(&mut self, open: &str) {
        self.text.clear();
        self.text.extend_from_slice(open.as_bytes());
        self.items = open.len();
        self.refused = None;
    }

    /// Appends a member.
    pub fn member(&mut self, name: &Name, value: Value<'_>) {
        if self.has_room(name.0.len() + value.room()) {
            let comma = usize::from(self.text.len() == self.items);
            self.text.extend_from_slice(&name.0[comma..]);
            self.push(value);
        }
    }

    /// Appends a member whose name is known only now.
    pub fn named_member(&mut self, name: &str, value: Value<'_>) {
        if self.has_room(room_for_string(name) + value.room()) {
            self.separate();
            push_string(&mut self.text, name);
            self.text.push(b':');
            self.push(value);
        }
    }

    /// Appends an element.
    pub fn element(&mut self, value: Value<'_>) {
        if self.has_room(value.room()) {
            self.separate();
            self.push(value);
        }
    }

    /// Appends a list of members or elements that the caller has checked; a blank list is nothing.
    pub fn splice(&mut self, list: &str) {
        if !list.trim_ascii().is_empty() {
            self.element(Value::Json(list));
        }
    }

    /// Ends the text with `close`, and lends it.
    ///
    /// # Errors
    ///
    /// The text would be longer than 1 GiB, or there is no memory for it.
    pub fn end(&mut self, close: &str) -> Result<&[u8], Error> {
        match self.refused.take() {
            Some(error) => Err(error),
            None => {
                self.text.extend_from_slice(close.as_bytes());
                Ok(&self.text)
            }
        }
    }

    /// Makes sure that what is appended next needs no memory that might not be there: a process
    /// that finds none is a lost server, a statement is only an error.
    fn has_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes + ROOM_FOR_PUNCTUATION;
        self.refused = Some(if self.text.len() + bytes > MAX_TEXT_BYTES {
            Error::Input(format!(
                "the text would be longer than {MAX_TEXT_BYTES} bytes"
            ))
        } else if let Err(error) = memory::reserve(&mut self.text, bytes) {
            error
        } else {
            return self.refused.is_none();
        });
        false
    }

    fn separate(&mut self) {
        if self.text.len() > self.items {
            self.text.push(b',');
        }
    }

    fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.text.extend_from_slice(b"null"),
            Value::Integer(value) => push_integer(&mut self.text, value),
            Value::Unsigned(value) => push_integer(&mut self.text, value),
            Value::Decimal(number) => push_decimal(&mut self.text, number),
            Value::Double(value) => push_double(&mut self.text, value),
            Value::Float { value, width } => push_float(&mut self.text, value, width),
            Value::String(text) => push_string(&mut self.text, text),
            Value::Json(text) => self.text.extend_from_slice(text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_separated_and_a_blank_list_is_none() {
        let mut writer = Writer::default();
        for _ in 0..2 {
            writer.begin("{");
            writer.splice(" ");
            writer.member(&Name::new("a").unwrap(), Value::Null);
            writer.splice("\"b\":1,\"c\":2");
            writer.named_member("d", Value::Json("[]"));
            let text = writer.end("}").unwrap();
            assert_eq!(text, br#"{"a":null,"b":1,"c":2,"d":[]}"#);
        }
        writer.begin("");
        assert_eq!(writer.end("").unwrap(), b"");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a gigabyte, one byte at a time")]
    fn a_text_that_no_server_passes_on_is_refused() {
        let mut writer = Writer::default();
        writer.begin("[");
        writer.element(Value::String(&"\0".repeat(MAX_TEXT_BYTES / 6)));
        writer.element(Value::Integer(1));
        let error = writer.end("]").unwrap_err().to_string();
        assert_eq!(error, "the text would be longer than 1073741824 bytes");

        writer.begin("[");
        writer.element(Value::Integer(1));
        assert_eq!(writer.end("]").unwrap(), b"[1]");
    }
}
