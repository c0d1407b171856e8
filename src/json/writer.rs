//! Members and elements, separated by commas, in one buffer.

use super::escape::push_string;
use super::number::{Decimal, push_decimal, push_double, push_float, push_integer};

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
    /// A floating point number, in the shortest text that reads back to it; `null` where it is not
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

/// The name of a member, ready to be written: quoted, escaped, with its comma and its colon.
#[derive(Debug)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Prepares `name`.
    pub fn new(name: &str) -> Self {
        let mut text = vec![b','];
        push_string(&mut text, name);
        text.push(b':');
        Self(text.into())
    }
}

/// Builds one text after another in a buffer that is kept.
#[derive(Debug, Default)]
pub struct Writer {
    text: Vec<u8>,
    /// Where the first item begins.
    items: usize,
}

impl Writer {
    /// Forgets the last text and begins the next with `open`: a bracket, or nothing for a bare
    /// list.
    pub fn begin(&mut self, open: &str) {
        self.text.clear();
        self.text.extend_from_slice(open.as_bytes());
        self.items = open.len();
    }

    /// Appends a member.
    pub fn member(&mut self, name: &Name, value: Value<'_>) {
        let comma = usize::from(self.text.len() == self.items);
        self.text.extend_from_slice(&name.0[comma..]);
        self.push(value);
    }

    /// Appends a member whose name is known only now.
    pub fn named_member(&mut self, name: &str, value: Value<'_>) {
        self.separate();
        push_string(&mut self.text, name);
        self.text.push(b':');
        self.push(value);
    }

    /// Appends an element.
    pub fn element(&mut self, value: Value<'_>) {
        self.separate();
        self.push(value);
    }

    /// Appends a list of members or elements that the caller has checked; a blank list is nothing.
    pub fn splice(&mut self, list: &str) {
        if !list.trim_ascii().is_empty() {
            self.element(Value::Json(list));
        }
    }

    /// Ends the text with `close`, and lends it.
    pub fn end(&mut self, close: &str) -> &[u8] {
        self.text.extend_from_slice(close.as_bytes());
        &self.text
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
