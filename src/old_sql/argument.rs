//! One argument of a call: whether it has an alias, and whether it is a column and nothing else.

use super::tokens::{Kind, Token};

/// Words after which an operand follows, so that the next word is no alias.
const OPERATORS: [&str; 30] = [
    "all", "and", "any", "at", "between", "binary", "case", "collate", "distinct", "div", "else",
    "escape", "exists", "in", "interval", "is", "like", "mod", "not", "of", "or", "over", "regexp",
    "rlike", "some", "sounds", "then", "when", "xor", "zone",
];

/// Words that make a literal together with the string after them.
const LITERALS: [&str; 6] = ["b", "date", "n", "time", "timestamp", "x"];

/// Words that end an interval.
const UNITS: [&str; 20] = [
    "day",
    "day_hour",
    "day_microsecond",
    "day_minute",
    "day_second",
    "hour",
    "hour_microsecond",
    "hour_minute",
    "hour_second",
    "microsecond",
    "minute",
    "minute_microsecond",
    "minute_second",
    "month",
    "quarter",
    "second",
    "second_microsecond",
    "week",
    "year",
    "year_month",
];

/// Words that are values of their own, not columns.
const CONSTANTS: [&str; 13] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "false",
    "localtime",
    "localtimestamp",
    "null",
    "true",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

/// What the last token of an argument was to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    /// Nothing has come yet, or something that needs an operand after it.
    #[default]
    Open,
    /// A word or a quoted name that ends an operand.
    Name,
    /// A string.
    Text,
    /// A word that makes a literal with a string after it.
    Introducer,
    /// Anything else that ends an operand.
    Operand,
    /// What looks like an alias: a name or a string right after an operand.
    Alias,
}

/// As much of a column as has been read: `name`, `table.name` or `database.table.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Column {
    #[default]
    Empty,
    Name,
    Dot,
    No,
}

/// An argument while it is read. It sees its own tokens only, not what its brackets hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Argument {
    last: Last,
    column: Column,
    has_as: bool,
    has_interval: bool,
    is_after_dot: bool,
}

impl Argument {
    /// Reads the next token.
    pub(super) fn read(&mut self, token: Token<'_>) {
        self.column = self.column.then(token);
        let is_member = self.is_after_dot;
        self.is_after_dot = token.is(".");
        self.has_as |= token.is("as") && !is_member;
        self.has_interval |= token.is("interval") && !is_member;
        self.last = self.last_after(token, is_member);
    }

    /// Takes note of a group in brackets, a call's included.
    pub(super) fn read_group(&mut self) {
        self.column = Column::No;
        self.last = Last::Operand;
        self.is_after_dot = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.column == Column::Empty
    }

    pub(super) fn is_column(&self) -> bool {
        self.column == Column::Name
    }

    pub(super) fn has_alias(&self) -> bool {
        self.has_as || self.last == Last::Alias
    }

    fn last_after(&self, token: Token<'_>, is_member: bool) -> Last {
        let follows_an_operand = !matches!(self.last, Last::Open) && !is_member;
        match token.kind {
            Kind::Word if is_member => Last::Name,
            Kind::Word if is_one_of(token, &OPERATORS) => Last::Open,
            Kind::Word if token.is("end") => Last::Operand,
            Kind::Word if self.has_interval && is_one_of(token, &UNITS) => Last::Operand,
            Kind::Word | Kind::Quoted if follows_an_operand => Last::Alias,
            Kind::Word if is_introducer(token) => Last::Introducer,
            Kind::Word | Kind::Quoted => Last::Name,
            // Two strings are one.
            Kind::Text if matches!(self.last, Last::Text | Last::Introducer) => Last::Text,
            Kind::Text if follows_an_operand => Last::Alias,
            Kind::Text => Last::Text,
            _ if token.is("?") || token.is("}") => Last::Operand,
            _ => Last::Open,
        }
    }
}

impl Column {
    fn then(self, token: Token<'_>) -> Self {
        match (self, token.kind) {
            (Self::Empty, Kind::Quoted) => Self::Name,
            (Self::Empty, Kind::Word) if can_be_a_column(token) => Self::Name,
            (Self::Name, Kind::Other) if token.text == b"." => Self::Dot,
            (Self::Dot, Kind::Word | Kind::Quoted) => Self::Name,
            _ => Self::No,
        }
    }
}

fn can_be_a_column(word: Token<'_>) -> bool {
    !word.text.first().is_some_and(u8::is_ascii_digit) && !is_one_of(word, &CONSTANTS)
}

/// Whether a string after the word belongs to it, as in `_utf8mb4'text'`.
fn is_introducer(word: Token<'_>) -> bool {
    word.text.starts_with(b"_") || is_one_of(word, &LITERALS)
}

/// Whether an operand can end before the word, so that what stands before it is no whole argument.
pub(super) fn continues(word: Token<'_>) -> bool {
    word.kind == Kind::Word && (is_one_of(word, &OPERATORS) || word.is("member"))
}

fn is_one_of(token: Token<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| token.is(word))
}
