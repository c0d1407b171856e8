//! The members of an object, from arguments.

use udf::prelude::*;

use super::argument::Argument;
use crate::error::Error;
use crate::host::args;
use crate::json::{self, Name, Value, Writer};

/// A member that is named by its argument: `json_object(value AS name)`.
pub(super) struct NamedMember {
    /// The reason if the argument has no usable name: members that are spliced need none.
    name: Result<Name, String>,
    value: Argument,
}

impl NamedMember {
    pub(super) fn new(list: &ArgList<Init>, index: usize) -> Result<Self, Error> {
        let value = Argument::new(list, index);
        match argument_name(list, index) {
            Ok(name) => Ok(Self {
                name: Ok(Name::new(name)?),
                value,
            }),
            Err(error) if value.is_json() => Ok(Self {
                name: Err(error.to_string()),
                value,
            }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, list: &ArgList<Process>, writer: &mut Writer) -> Result<(), Error> {
        let value = match self.value.value(list)? {
            Value::String(text) if self.value.is_json() && json::is_members(text) => {
                writer.splice(text);
                return Ok(());
            }
            value => self.value.complete(value),
        };
        match &self.name {
            Ok(name) => writer.member(name, value),
            Err(problem) => return Err(Error::Input(problem.clone())),
        }
        Ok(())
    }
}

/// The member name that argument `index` has by its alias or its text.
fn argument_name<'a>(list: &'a ArgList<Init>, index: usize) -> Result<&'a str, Error> {
    let text = args::name(list, index).ok_or_else(|| {
        Error::Input(format!(
            "argument {} has no name: write expression AS `name`",
            index + 1
        ))
    })?;
    let name = json::member_name(text)?;
    let is_end = name.as_bytes().as_ptr_range().end == text.as_ptr_range().end;
    if is_end && args::may_be_cut(text) {
        return Err(Error::Input(format!(
            "the name of argument {} may be cut after {} bytes: give it a shorter one",
            index + 1,
            text.len(),
        )));
    }
    Ok(name)
}

/// A member whose name is a value of its own: `json_members('name', value)`.
pub(super) struct Pair {
    name: PairName,
    value: Argument,
}

enum PairName {
    /// A constant.
    Constant(Name),
    /// Known only when a row is there.
    Row(Argument),
}

impl Pair {
    /// The pair of arguments at `index` as the servers' own function takes it: under any name.
    pub(super) fn native(list: &ArgList<Init>, index: usize) -> Result<Self, Error> {
        let mut pair = Self::new(list, index, |name| Ok(name))?;
        pair.value = pair.value.with_booleans(list);
        Ok(pair)
    }

    /// The pair of arguments at `index` as `lib_mysqludf_json` takes it: a name that is known before
    /// the first row follows the rules of names.
    pub(super) fn checked(list: &ArgList<Init>, index: usize) -> Result<Self, Error> {
        if args::kind(list, index) != Some(SqlType::String) {
            return Err(Error::Input(
                "String type required for member name (udf: json_members_init)".into(),
            ));
        }
        Self::new(list, index, json::constant_name)
    }

    fn new(
        list: &ArgList<Init>,
        index: usize,
        rule: fn(&str) -> Result<&str, Error>,
    ) -> Result<Self, Error> {
        let name = Argument::new(list, index);
        let constant = args::constant_string(list, index)
            .filter(|_| !name.is_converted())
            .and_then(|bytes| str::from_utf8(bytes).ok());
        Ok(Self {
            name: match constant {
                Some(text) => PairName::Constant(Name::new(rule(text)?)?),
                None => PairName::Row(name),
            },
            value: Argument::new(list, index + 1),
        })
    }

    pub(super) fn write(&self, list: &ArgList<Process>, writer: &mut Writer) -> Result<(), Error> {
        let value = self.value.complete(self.value.value(list)?);
        match &self.name {
            PairName::Constant(name) => writer.member(name, value),
            PairName::Row(name) => match name.value(list)? {
                Value::String(name) => writer.named_member(name, value),
                _ => {
                    return Err(Error::Input(
                        "Invalid json member name - name cannot be NULL".into(),
                    ));
                }
            },
        }
        Ok(())
    }
}

/// Whether argument `index` is a string literal without an alias, so that its name is the literal
/// as it was written: quoted, perhaps behind the name of a character set.
pub(super) fn is_string_literal(list: &ArgList<Init>, index: usize) -> bool {
    let Some(text) = args::name(list, index) else {
        return false;
    };
    let introducer = text
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
        .count();
    let (introducer, literal) = text.split_at(introducer);
    matches!(literal, [b'\'' | b'"', ..])
        && matches!(introducer, [] | [b'n' | b'N'] | [b'_', ..])
        && args::constant_string(list, index).is_some()
}
