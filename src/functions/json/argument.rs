//! An SQL argument as a JSON value.

use udf::prelude::*;

use crate::error::Error;
use crate::host::{args, charset};
use crate::json::{self, Decimal, Value, Writer};

/// An argument whose name begins with this, in any case, is JSON already.
const JSON_PREFIX: &[u8] = b"json_";

/// The function whose result is text, although its name begins like that.
const BASE64: &[u8] = b"json_base64";

/// The width of a FLOAT column without one of its own: `MAX_FLOAT_STR_LENGTH` of the servers'
/// sources. A DOUBLE column has 22, and so has FLOAT in an expression that computes.
const FLOAT_WIDTH: usize = 12;

/// The shortest width that an integer above 2^63-1 needs: it has 19 digits.
const UNSIGNED_WIDTH: usize = 19;

/// How much of a value that is no number goes into the message.
const SHOWN_BYTES: usize = 100;

/// The widest BIT column.
const MAX_BITS: usize = 64;

/// What is known of an argument before the first row.
pub(super) struct Argument {
    index: usize,
    source: Source,
    converted: bool,
}

/// What the server passes for an argument.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// A signed integer.
    Integer,
    /// TRUE or FALSE, which the interface passes as an integer.
    Boolean,
    /// The bits of a column as wide as an integer, which the interface passes as a signed one.
    Bits,
    /// A number as text; a few expressions over BIT columns come as the column's bytes instead.
    Digits,
    /// A double.
    Real,
    /// A double that the server shows in at most so many characters.
    Float(usize),
    /// Text.
    Text,
    /// Text that is JSON already, if its argument's name is right.
    Json,
}

impl Argument {
    pub(super) fn new(list: &ArgList<Init>, index: usize) -> Self {
        let source = match args::kind(list, index) {
            Some(SqlType::Int) => integer(args::width(list, index)),
            Some(SqlType::Real) => match args::width(list, index) {
                width if width <= FLOAT_WIDTH => Source::Float(width),
                _ => Source::Real,
            },
            Some(SqlType::Decimal) => Source::Digits,
            _ if has_json_name(list, index) => Source::Json,
            _ => Source::Text,
        };
        if source == Source::Digits {
            args::ask_for_text(list, index);
        }
        Self {
            index,
            source,
            converted: matches!(source, Source::Text | Source::Json)
                && charset::convert_argument(list, index),
        }
    }

    /// As the servers' own JSON functions have it: the words TRUE and FALSE are not numbers.
    pub(super) fn with_booleans(mut self, list: &ArgList<Init>) -> Self {
        let is_word = |name: &[u8]| {
            [b"true".as_slice(), b"false"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word))
        };
        let is_constant = || list.get(self.index).is_some_and(|arg| arg.is_const());
        if self.source == Source::Integer
            && args::name(list, self.index).is_some_and(is_word)
            && is_constant()
        {
            self.source = Source::Boolean;
        }
        self
    }

    /// Whether the argument's name says that it is JSON already.
    pub(super) fn is_json(&self) -> bool {
        self.source == Source::Json
    }

    /// Whether the server converts the rows' values, but not the constant that init sees.
    pub(super) fn is_converted(&self) -> bool {
        self.converted
    }

    /// Appends the argument to an array; a list of values under a JSON name is spliced.
    pub(super) fn write_element(
        &self,
        list: &ArgList<Process>,
        writer: &mut Writer,
    ) -> Result<(), Error> {
        match self.value(list)? {
            Value::String(text) if self.is_json() && json::is_values(text) => writer.splice(text),
            value => writer.element(value),
        }
        Ok(())
    }

    /// The argument's `value` as that of a member: a complete JSON value under a JSON name is taken
    /// for what it is.
    pub(super) fn complete<'a>(&self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::String(text) if self.is_json() && json::is_value(text) => Value::Json(text),
            value => value,
        }
    }

    /// The argument's value in this row, as SQL has it: also JSON is a string.
    pub(super) fn value<'a>(&self, list: &'a ArgList<'a, Process>) -> Result<Value<'a>, Error> {
        let Some(arg) = list.get(self.index) else {
            return Ok(Value::Null);
        };
        Ok(match (self.source, arg.value()) {
            (Source::Boolean, SqlResult::Int(Some(value))) => {
                Value::Json(if value == 0 { "false" } else { "true" })
            }
            (Source::Bits, SqlResult::Int(Some(value))) => Value::Unsigned(value.cast_unsigned()),
            (_, SqlResult::Int(Some(value))) => Value::Integer(value),
            (Source::Float(width), SqlResult::Real(Some(value))) => Value::Float { value, width },
            (_, SqlResult::Real(Some(value))) => Value::Double(value),
            (Source::Digits, SqlResult::String(Some(text))) => self.number(text)?,
            (_, SqlResult::String(Some(text))) => Value::String(self.utf8(list, text)?),
            _ => Value::Null,
        })
    }

    /// The number in `text`: decimal digits, or the bytes of a BIT column, highest first.
    fn number<'a>(&self, text: &'a [u8]) -> Result<Value<'a>, Error> {
        match Decimal::parse(text) {
            Some(number) => Ok(Value::Decimal(number)),
            None if text.len() <= MAX_BITS / 8 => Ok(Value::Unsigned(
                text.iter()
                    .fold(0, |bits, &byte| bits << 8 | u64::from(byte)),
            )),
            None => Err(Error::Input(format!(
                "argument {} should be a number, but the server passes '{}'",
                self.index + 1,
                String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES)]),
            ))),
        }
    }

    /// The bytes of a string as text.
    fn utf8<'a>(&self, list: &ArgList<Process>, bytes: &'a [u8]) -> Result<&'a str, Error> {
        str::from_utf8(bytes).map_err(|error| {
            let name = args::name(list, self.index).unwrap_or_default();
            not_utf8(self.index, name, bytes, error.valid_up_to())
        })
    }
}

/// How an integer is read that the server shows in at most `width` characters.
///
/// The interface does not say whether an integer is unsigned, but the server's own text does. BIT
/// columns are integers too, as wide as they have bits, and their text is their bytes. So text is
/// asked for if an integer can be above 2^63-1 and the first byte tells the two apart: of
/// 1 to 5 bits in the first byte it is below the first digit, and above 64 there are no BIT columns.
fn integer(width: usize) -> Source {
    match width {
        MAX_BITS => Source::Bits,
        UNSIGNED_WIDTH.. if width > MAX_BITS || (1..=5).contains(&(width % 8)) => Source::Digits,
        _ => Source::Integer,
    }
}

/// Whether the argument is called `json_...`: by its alias or its text, such as the call of a function,
/// or by its column, such as `NEW.json_doc` in a trigger.
fn has_json_name(list: &ArgList<Init>, index: usize) -> bool {
    let has_prefix = |name: &[u8]| {
        name.get(..JSON_PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(JSON_PREFIX))
    };
    args::name(list, index).is_some_and(|text| {
        let is_named = has_prefix(text)
            || json::member_name(text).is_ok_and(|name| has_prefix(name.as_bytes()));
        is_named && !is_base64(text)
    })
}

/// Whether `text` is a call of `json_base64`: `1234` and `true` are Base64 too, and must not become
/// a number and a word.
fn is_base64(text: &[u8]) -> bool {
    text.split_at_checked(BASE64.len())
        .is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(BASE64) && rest.trim_ascii_start().starts_with(b"(")
        })
}

fn not_utf8(index: usize, name: &[u8], bytes: &[u8], offset: usize) -> Error {
    /// As many bytes as one character can have.
    const CHARACTER_BYTES: usize = 4;
    /// Long expressions would push the remedy out of the message.
    const SHOWN_NAME: usize = 64;
    let bad = &bytes[offset..bytes.len().min(offset + CHARACTER_BYTES)];
    let bad: String = bad.iter().map(|byte| format!("\\x{byte:02X}")).collect();
    let alias = match json::member_name(name) {
        Ok(alias) if alias.len() <= SHOWN_NAME => format!(" AS `{alias}`"),
        _ => String::new(),
    };
    let name = match str::from_utf8(name) {
        Ok(name) if name.len() <= SHOWN_NAME => name,
        _ => "...",
    };
    Error::Input(format!(
        "argument {} ({name}) is not UTF-8: '{bad}' at byte {offset}; \
         write CONVERT({name} USING utf8mb4){alias}, or json_base64({name}){alias} for binary data",
        index + 1,
    ))
}
