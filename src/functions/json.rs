//! `json_object`, `json_array`, `json_members`, `json_values` and `lib_mysqludf_json_info`, as
//! `lib_mysqludf_json` had them, and `json_object_udf` and `json_array_udf`, which are the first two
//! under names that no server keeps for itself.

use std::num::NonZeroU8;
use std::str;

use udf::prelude::*;

use crate::error::Error;
use crate::host::{args, guard};
use crate::json::{self, Name, Value, Writer};

/// An argument whose name begins with this, in any case, is JSON already.
const JSON_PREFIX: &[u8] = b"json_";

/// `json_object(value AS name, ...)`: one member for each argument.
struct JsonObject {
    members: Vec<Member>,
    writer: Writer,
}

/// What is known of a member of `json_object` before the first row.
struct Member {
    /// The reason where the argument has no usable name: members that are spliced need none.
    name: Result<Name, String>,
    value: Argument,
}

/// What is known of an argument before the first row.
struct Argument {
    index: usize,
    /// The name that messages use: the alias, or the text of the expression.
    label: String,
    /// Whether the argument's name says that it is JSON already.
    is_json: bool,
}

impl Argument {
    fn new(list: &ArgList<Init>, index: usize) -> Self {
        let name = args::name(list, index).unwrap_or_default();
        Self {
            index,
            label: String::from_utf8_lossy(name).into_owned(),
            is_json: name
                .get(..JSON_PREFIX.len())
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case(JSON_PREFIX)),
        }
    }

    fn value<'a>(&self, list: &'a ArgList<'a, Process>) -> Result<Value<'a>, Error> {
        let Some(arg) = list.get(self.index) else {
            return Ok(Value::Null);
        };
        Ok(match arg.value() {
            SqlResult::Int(Some(value)) => Value::Integer(value),
            SqlResult::Real(Some(value)) => Value::Double(value),
            SqlResult::Decimal(Some(digits)) => Value::Decimal(digits.as_bytes()),
            SqlResult::String(Some(bytes)) => Value::String(self.utf8(bytes)?),
            _ => Value::Null,
        })
    }

    fn utf8<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, Error> {
        str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            let bad = &bytes[at..bytes.len().min(at + 4)];
            let label = &self.label;
            Error::Input(format!(
                "argument {} ({label}) is not UTF-8: bytes {bad:02X?} at offset {at}; \
                 write CONVERT({label} USING utf8mb4)",
                self.index + 1,
            ))
        })
    }
}

impl Member {
    fn new(list: &ArgList<Init>, index: usize) -> Result<Self, Error> {
        let value = Argument::new(list, index);
        let name = args::name(list, index)
            .ok_or_else(|| {
                Error::Input(format!(
                    "argument {} has no name: write expression AS `name`",
                    index + 1
                ))
            })
            .and_then(json::member_name)
            .map(Name::new);
        match name {
            Err(error) if !value.is_json => Err(error),
            name => Ok(Self {
                name: name.map_err(|error| error.to_string()),
                value,
            }),
        }
    }

    fn write(&self, writer: &mut Writer, list: &ArgList<Process>) -> Result<(), Error> {
        let value = match self.value.value(list)? {
            Value::String(text) if self.value.is_json => {
                if json::is_members(text) {
                    writer.splice(text);
                    return Ok(());
                }
                if json::is_value(text) {
                    Value::Json(text)
                } else {
                    Value::String(text)
                }
            }
            value => value,
        };
        let name = self
            .name
            .as_ref()
            .map_err(|problem| Error::Input(problem.clone()))?;
        writer.member(name, value);
        Ok(())
    }
}

#[register(name = "json_object", alias = "json_object_udf")]
impl BasicUdf for JsonObject {
    type Returns<'a> = Option<&'a [u8]>;

    fn init(_cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, String> {
        guard::init(|| {
            let members: Result<_, _> = (0..args.len()).map(|i| Member::new(args, i)).collect();
            Ok(Self {
                members: members?,
                writer: Writer::default(),
            })
        })
    }

    fn process<'a>(
        &'a mut self,
        _cfg: &UdfCfg<Process>,
        args: &ArgList<Process>,
        _error: Option<NonZeroU8>,
    ) -> Result<Self::Returns<'a>, ProcessError> {
        let Self { members, writer } = self;
        guard::row("json_object", || {
            writer.begin("{");
            for member in members.iter() {
                member.write(writer, args)?;
            }
            Ok(Some(writer.end("}")))
        })
    }
}
