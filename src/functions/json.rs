//! `json_object`, `json_array`, `json_members`, `json_values` and `lib_mysqludf_json_info`, as
//! `lib_mysqludf_json` had them, and `json_object_udf` and `json_array_udf`, which are the first two
//! under names that no server keeps for itself; and `json_base64`.
//!
//! All that does not depend on a row is found out in `init`; a row only appends to a buffer that is
//! kept for the statement.

mod argument;
mod member;

use udf::prelude::*;

use self::argument::Argument;
use self::member::{NamedMember, Pair, is_string_literal};
use crate::error::Error;
use crate::host::args;
use crate::host::function::{Function, PerRow, entry_points};
use crate::json::{Writer, base64};

/// The longest result, in bytes, as the server is told: `MAX_BLOB_WIDTH` of its sources. With less
/// it would cut results where it stores them, as in CREATE TABLE ... SELECT.
const MAX_RESULT_BYTES: u64 = u32::MAX as u64;

/// `json_object(value AS name, ...)` or `json_object('name', value, ...)`.
struct JsonObject {
    members: Members,
    writer: Writer,
}

/// The members of an object, in one of the two forms of the call.
enum Members {
    Named(Vec<NamedMember>),
    Pairs(Vec<Pair>),
}

impl Members {
    /// The pair form is the servers' own: every odd-placed argument is a string literal.
    fn new(args: &ArgList<Init>) -> Result<Self, Error> {
        let names = (0..args.len()).step_by(2);
        let are_pairs = !args.is_empty()
            && args.len().is_multiple_of(2)
            && names.clone().all(|i| is_string_literal(args, i));
        if are_pairs {
            let pairs = names
                .map(|i| Pair::native(args, i))
                .collect::<Result<_, _>>()?;
            return Ok(Self::Pairs(pairs));
        }
        let members = 0..args.len();
        let members = members
            .map(|i| NamedMember::new(args, i))
            .collect::<Result<_, _>>()?;
        Ok(Self::Named(members))
    }

    fn write(&self, args: &ArgList<Process>, writer: &mut Writer) -> Result<(), Error> {
        match self {
            Self::Named(members) => members.iter().try_for_each(|m| m.write(args, writer)),
            Self::Pairs(pairs) => pairs.iter().try_for_each(|p| p.write(args, writer)),
        }
    }
}

entry_points!(JsonObject: PerRow, "json_object", "json_object_udf");

impl Function for JsonObject {
    const NAME: &'static str = "json_object";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        declare_result(cfg);
        Ok(Self {
            members: Members::new(args)?,
            writer: Writer::default(),
        })
    }
}

impl PerRow for JsonObject {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let Self { members, writer } = self;
        writer.begin("{");
        members.write(args, writer)?;
        writer.end("}").map(Some)
    }
}

/// `json_array(value, ...)`.
struct JsonArray(Elements);

entry_points!(JsonArray: PerRow, "json_array", "json_array_udf");

impl Function for JsonArray {
    const NAME: &'static str = "json_array";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        Ok(Self(Elements::new(cfg, args)))
    }
}

impl PerRow for JsonArray {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        self.0.write(args, "[", "]")
    }
}

/// `json_values(value, ...)`: what stands between the brackets of `json_array`.
struct JsonValues(Elements);

entry_points!(JsonValues: PerRow, "json_values");

impl Function for JsonValues {
    const NAME: &'static str = "json_values";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        Ok(Self(Elements::new(cfg, args)))
    }
}

impl PerRow for JsonValues {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        self.0.write(args, "", "")
    }
}

/// Values one after another.
struct Elements {
    arguments: Vec<Argument>,
    writer: Writer,
}

impl Elements {
    fn new(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Self {
        declare_result(cfg);
        Self {
            arguments: (0..args.len()).map(|i| Argument::new(args, i)).collect(),
            writer: Writer::default(),
        }
    }

    fn write(
        &mut self,
        args: &ArgList<Process>,
        open: &str,
        close: &str,
    ) -> Result<Option<&[u8]>, Error> {
        let Self { arguments, writer } = self;
        writer.begin(open);
        for argument in arguments.iter() {
            argument.write_element(args, writer)?;
        }
        writer.end(close).map(Some)
    }
}

/// `json_members('name', value, ...)`: what stands between the braces of `json_object`.
struct JsonMembers {
    pairs: Vec<Pair>,
    writer: Writer,
}

entry_points!(JsonMembers: PerRow, "json_members");

impl Function for JsonMembers {
    const NAME: &'static str = "json_members";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.is_empty() || !args.len().is_multiple_of(2) {
            return Err(Error::Input(
                "Only non-zero even number of arguments allowed (udf: json_members_init)".into(),
            ));
        }
        declare_result(cfg);
        let names = (0..args.len()).step_by(2);
        let pairs = names
            .map(|i| Pair::checked(args, i))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pairs,
            writer: Writer::default(),
        })
    }
}

impl PerRow for JsonMembers {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let Self { pairs, writer } = self;
        writer.begin("");
        pairs.iter().try_for_each(|p| p.write(args, writer))?;
        writer.end("").map(Some)
    }
}

/// `json_base64(value)`: the bytes of the value as Base64 text. It is text, and not JSON as the
/// results of the others are, so that it goes with an alias of any name into an object of ours, and
/// into one of the server's own.
struct JsonBase64 {
    text: Vec<u8>,
}

entry_points!(JsonBase64: PerRow, "json_base64");

impl Function for JsonBase64 {
    const NAME: &'static str = "json_base64";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.len() != 1 {
            return Err(Error::Input("Must give one argument.".to_owned()));
        }
        args::ask_for_text(args, 0);
        declare_result(cfg);
        Ok(Self { text: Vec::new() })
    }
}

impl PerRow for JsonBase64 {
    fn row(&mut self, args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let Some(bytes) = args::string(args, 0)? else {
            return Ok(None);
        };
        base64::encode(bytes, &mut self.text)?;
        Ok(Some(self.text.as_slice()))
    }
}

/// `lib_mysqludf_json_info()`: the version of the library whose functions these are.
struct Info;

entry_points!(Info: PerRow, "lib_mysqludf_json_info");

impl Function for Info {
    const NAME: &'static str = "lib_mysqludf_json_info";
    type Output<'a> = &'a [u8];

    fn init(_cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if args.is_empty() {
            Ok(Self)
        } else {
            Err(Error::Input(
                "No arguments allowed (udf: lib_mysqludf_json_info)".into(),
            ))
        }
    }
}

impl PerRow for Info {
    fn row(&mut self, _args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        Ok(Some(b"lib_mysqludf_json version 0.0.2".as_slice()))
    }
}

/// Tells the server what all results are: text of any length, or NULL with an error.
fn declare_result(cfg: &UdfCfg<Init>) {
    cfg.set_maybe_null(true);
    cfg.set_max_len(MAX_RESULT_BYTES);
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use udf::mock::{MockUdfCfg, mock_args};

    use super::*;

    #[test]
    fn a_row_allocates_nothing_once_the_buffer_has_grown() {
        let mut cfg = MockUdfCfg::new();
        let mut args = mock_args![
            (7, "NEW.id", false),
            ("customer \"é\" 7", "name", false),
            (12.5, "price", false),
            (Option::<&str>::None, "created", true),
            (r#"{"a":[1,[2,{"b":null}]]}"#, "json_doc", false),
            (
                r#""b":[[[[1e300]]]],"c":true"#,
                "json_members('b', 1)",
                false
            ),
        ];
        let mut object = JsonObject::init(cfg.as_init(), args.as_init()).unwrap();
        let args = args.as_process();
        let mut row = || {
            let text = object.row(args).ok().flatten();
            assert_eq!(
                text.map(String::from_utf8_lossy).as_deref(),
                Some(concat!(
                    r#"{"id":7,"name":"customer \"é\" 7","price":12.5,"created":null,"#,
                    r#""json_doc":{"a":[1,[2,{"b":null}]]},"b":[[[[1e300]]]],"c":true}"#
                ))
            );
        };
        let first = measure(&mut row);
        assert!(
            first.count_total > 0,
            "the buffer grows, and that is counted"
        );
        let more = measure(|| (0..1000).for_each(|_| row()));
        assert_eq!(more.count_total, 0);
    }
}
