//! Numbers: integers, decimals as the server wrote them, and floating point in its shortest text.

/// How many bytes an integer or a floating point number takes at most: the longest,
/// `-1.7976931348623157e308`, has 23.
pub(super) const ROOM_FOR_NUMBER: usize = 32;

/// Appends an integer.
pub(super) fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the shortest text that reads back to the same double; `null` for what JSON has no
/// number for.
pub(super) fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_shortest(out, zmij::Buffer::new().format_finite(value));
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a floating point number that its source shows in at most `width` characters.
///
/// A single that was widened to a double, as servers do with a FLOAT column, needs more digits than
/// that, and is written as the single that it is: 0.1, not 0.10000000149011612. A value whose
/// digits fit is the same number either way.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64, width: usize) {
    let start = out.len();
    push_double(out, value);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with the original"
    )]
    let single = value as f32;
    if f64::from(single) == value && significant_digits(&out[start..]) > width {
        out.truncate(start);
        push_shortest(out, zmij::Buffer::new().format_finite(single));
    }
}

/// How many digits a number has from its first to its last one that is not 0, without its exponent.
fn significant_digits(number: &[u8]) -> usize {
    let mantissa = number.iter().take_while(|&&byte| byte != b'e');
    let digits = mantissa.filter(|byte| byte.is_ascii_digit());
    let from_first = digits.skip_while(|&&digit| digit == b'0');
    let mut significant = 0;
    for (i, digit) in from_first.enumerate() {
        if *digit != b'0' {
            significant = i + 1;
        }
    }
    significant
}

/// Appends what the formatter wrote, without what can go: the `.0` of a whole number and the `+` of
/// an exponent. `-0.0` stays, because many readers would take `-0` for the integer 0.
fn push_shortest(out: &mut Vec<u8>, text: &str) {
    match (text.strip_suffix(".0"), text.split_once("e+")) {
        (Some(whole), _) if whole != "-0" => out.extend_from_slice(whole.as_bytes()),
        (_, Some((digits, exponent))) => {
            out.extend_from_slice(digits.as_bytes());
            out.push(b'e');
            out.extend_from_slice(exponent.as_bytes());
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// A decimal number in the digits it was written with, such as `12.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal<'a> {
    negative: bool,
    /// Digits without zeros in front, and a fraction; the digits may be missing.
    digits: &'a [u8],
}

impl<'a> Decimal<'a> {
    /// Reads a sign, digits and a fraction. Zeros in front, as a ZEROFILL column has them, are
    /// skipped. `None` if `text` is anything else.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let whole = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let well_formed = match &text[whole..] {
            [] => whole > 0,
            [b'.', first, rest @ ..] => {
                first.is_ascii_digit() && rest.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        };
        let zeros = text.iter().take_while(|&&b| b == b'0').count();
        well_formed.then(|| Self {
            negative,
            digits: &text[zeros..],
        })
    }
}

/// How many bytes a decimal number takes at most.
pub(super) fn room_for_decimal(number: Decimal<'_>) -> usize {
    "-0".len() + number.digits.len()
}

/// Appends a decimal number.
pub(super) fn push_decimal(out: &mut Vec<u8>, number: Decimal<'_>) {
    if number.negative {
        out.push(b'-');
    }
    if matches!(number.digits, [] | [b'.', ..]) {
        out.push(b'0');
    }
    out.extend_from_slice(number.digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_double_is_its_shortest_text() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1000.0, "1000"),
            (0.0, "0"),
            (-0.0, "-0.0"),
            (1e-10, "1e-10"),
            (1e308, "1e308"),
            (5e-324, "5e-324"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(text(|out| push_double(out, value)), expected);
        }
    }

    #[test]
    fn a_single_is_its_own_shortest_text() {
        /// The width of a FLOAT column.
        const WIDTH: usize = 12;
        for (single, expected) in [
            (0.1_f32, "0.1"),
            (-2.25, "-2.25"),
            (16_777_216.0, "16777216"),
            (f32::MAX, "3.4028235e38"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (1e-45, "1e-45"),
            (f32::INFINITY, "null"),
            (f32::NAN, "null"),
        ] {
            assert_eq!(
                text(|out| push_float(out, f64::from(single), WIDTH)),
                expected
            );
        }
        for (double, expected) in [
            (0.1, "0.1"),
            (1_234_567_890.25, "1234567890.25"),
            (-999_999_999_936.0, "-999999999936"),
            (1_073_741_824e3, "1073741824000"),
            (std::f64::consts::PI, "3.141592653589793"),
        ] {
            assert_eq!(text(|out| push_float(out, double, WIDTH)), expected);
        }
    }

    #[test]
    fn a_decimal_keeps_its_digits_but_no_zeros_in_front() {
        for (given, expected) in [
            ("12.50", "12.50"),
            ("-0.01", "-0.01"),
            ("00012.50", "12.50"),
            ("-00.50", "-0.50"),
            ("0000", "0"),
            ("0", "0"),
            ("100", "100"),
            (".5", "0.5"),
        ] {
            let number = Decimal::parse(given.as_bytes()).expect(given);
            assert_eq!(text(|out| push_decimal(out, number)), expected);
        }
    }

    #[test]
    fn what_is_not_a_decimal_is_told_apart() {
        for given in [
            "", "-", ".", "1.", "-.", "1e5", "NaN", "+1", " 1", "1.2.3", "\u{5}",
        ] {
            assert_eq!(Decimal::parse(given.as_bytes()), None, "{given}");
        }
    }
}
