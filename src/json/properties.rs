//! Whatever is written is JSON that reads back to the same.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::{
    Decimal, Name, Value, Writer, constant_name, is_members, is_value, is_values, member_name,
};

/// The width of a FLOAT column.
const FLOAT_WIDTH: usize = 12;

/// A value that owns its text.
#[derive(Debug, Clone)]
enum Sample {
    Null,
    Integer(i64),
    Unsigned(u64),
    Decimal(String),
    Double(f64),
    Single(f32),
    String(String),
    Json(Json),
}

impl Sample {
    /// Lends the value to `write`.
    fn lend(&self, write: impl FnOnce(Value<'_>)) {
        match self {
            Self::Null => write(Value::Null),
            Self::Integer(value) => write(Value::Integer(*value)),
            Self::Unsigned(value) => write(Value::Unsigned(*value)),
            Self::Decimal(text) => {
                write(Value::Decimal(Decimal::parse(text.as_bytes()).expect(text)));
            }
            Self::Double(value) => write(Value::Double(*value)),
            Self::Single(value) => write(Value::Float {
                value: f64::from(*value),
                width: FLOAT_WIDTH,
            }),
            Self::String(text) => write(Value::String(text)),
            Self::Json(value) => write(Value::Json(&value.to_string())),
        }
    }

    /// Whether `read`, as `serde_json` read it, is this value.
    fn is(&self, read: &Json) -> bool {
        match self {
            Self::Null => read.is_null(),
            Self::Integer(value) => read.as_i64() == Some(*value),
            Self::Unsigned(value) => read.as_u64() == Some(*value),
            Self::Decimal(text) => read.as_f64() == text.parse().ok(),
            Self::Double(value) if value.is_finite() => {
                read.as_f64().map(f64::to_bits) == Some(value.to_bits())
            }
            // A single is read back as one.
            Self::Single(value) if value.is_finite() => read.to_string().parse() == Ok(*value),
            Self::Double(_) | Self::Single(_) => read.is_null(),
            Self::String(text) => read.as_str() == Some(text),
            Self::Json(value) => read == value,
        }
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Null),
        any::<i64>().prop_map(Sample::Integer),
        any::<u64>().prop_map(Sample::Unsigned),
        "-?[0-9]{1,35}(\\.[0-9]{1,30})?".prop_map(Sample::Decimal),
        any::<u64>().prop_map(|bits| Sample::Double(f64::from_bits(bits))),
        any::<u32>().prop_map(|bits| Sample::Single(f32::from_bits(bits))),
        text().prop_map(Sample::String),
        document().prop_map(Sample::Json),
    ]
}

/// Any text, and more often than chance has it what must be escaped.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"\\\\\\x00-\\x1f/\u{7f}a值😀]{0,40}"]
}

/// A JSON text of a few levels.
fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        text().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            vec((text(), inner), 0..4).prop_map(|members| members.into_iter().collect::<Json>()),
        ]
    })
}

fn read(text: &[u8]) -> Json {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

proptest! {
    #[test]
    fn an_array_reads_back_to_its_values(samples in vec(sample(), 0..12)) {
        let mut writer = Writer::default();
        writer.begin("[");
        for sample in &samples {
            sample.lend(|value| writer.element(value));
        }
        let array = read(writer.end("]").expect("room"));
        let values = array.as_array().expect("an array");
        prop_assert_eq!(values.len(), samples.len());
        for (value, sample) in values.iter().zip(&samples) {
            prop_assert!(sample.is(value), "{:?} became {}", sample, value);
        }
    }

    #[test]
    fn an_object_reads_back_to_its_members(members in vec((text(), sample(), any::<bool>()), 0..12)) {
        let mut writer = Writer::default();
        writer.begin("{");
        for (name, sample, is_known) in &members {
            sample.lend(|value| if *is_known {
                writer.member(&Name::new(name).expect("room"), value);
            } else {
                writer.named_member(name, value);
            });
        }
        let object = read(writer.end("}").expect("room"));
        // Of several members with one name the last counts.
        for (i, (name, sample, _)) in members.iter().enumerate() {
            if members[i + 1..].iter().all(|(later, ..)| later != name) {
                prop_assert!(sample.is(&object[name]), "{:?} became {}", sample, object[name]);
            }
        }
    }

    #[test]
    fn what_is_taken_for_json_is_what_serde_json_reads(text in "[\\[\\]{}\":,a1\\-.e \\\\ntrue]{0,24}") {
        let wrapped = |open: &str, close: &str| {
            serde_json::from_str::<Json>(&format!("{open}{text}{close}")).is_ok()
        };
        prop_assert_eq!(is_value(&text), wrapped("", ""));
        prop_assert_eq!(is_values(&text), wrapped("[", "]"));
        prop_assert_eq!(is_members(&text), wrapped("{", "}"));
    }

    #[test]
    fn a_document_is_taken_for_json_in_its_place(document in document(), name in text()) {
        let text = document.to_string();
        let member = format!("{}:{text}", Json::from(name));
        prop_assert!(is_value(&text) && is_values(&text) && is_members(&member));
        let twice = format!(" {member} , {member}");
        prop_assert!(is_members(&twice));
    }

    #[test]
    fn a_name_is_part_of_its_expression(expression in vec(any::<u8>(), 0..40)) {
        if let Ok(name) = member_name(&expression) {
            prop_assert!(!name.is_empty());
            prop_assert!(expression.windows(name.len()).any(|part| part == name.as_bytes()));
            prop_assert_eq!(member_name(name.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn a_name_of_letters_is_kept(name in "[\\p{L}_$][\\p{L}0-9_$]{0,20}") {
        prop_assert_eq!(member_name(name.as_bytes()).unwrap(), &name);
        let (quoted, qualified) = (format!("t.`{name}`"), format!("t.{name}"));
        prop_assert_eq!(member_name(quoted.as_bytes()).unwrap(), &name);
        prop_assert_eq!(constant_name(&qualified).unwrap(), &name);
    }
}
