//! Numbers: integers, decimals as the server wrote them, and floating point in its shortest text.

/// Appends an integer.
pub(super) fn push_integer(out: &mut Vec<u8>, value: i64) {
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

/// Appends a decimal number in the digits given, without the zeros that a ZEROFILL column puts in
/// front. `null` for what is not a decimal number, so that the text stays JSON whatever is passed.
pub(super) fn push_decimal(out: &mut Vec<u8>, text: &[u8]) {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (&text[..1], digits),
        digits => (&text[..0], digits),
    };
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let (whole, fraction) = digits.split_at(whole);
    let is_number = match fraction {
        [] => !whole.is_empty(),
        [b'.', decimals @ ..] => !decimals.is_empty() && decimals.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_number {
        out.extend_from_slice(b"null");
        return;
    }
    let zeros = whole.iter().take_while(|&&b| b == b'0').count();
    out.extend_from_slice(sign);
    match &whole[zeros..] {
        [] => out.push(b'0'),
        significant => out.extend_from_slice(significant),
    }
    out.extend_from_slice(fraction);
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
    fn a_decimal_keeps_its_digits_but_no_leading_zeros() {
        for (given, expected) in [
            ("12.50", "12.50"),
            ("-0.01", "-0.01"),
            ("00012.50", "12.50"),
            ("-00.50", "-0.50"),
            ("0000", "0"),
            (".5", "0.5"),
            ("", "null"),
            ("-", "null"),
            ("1.", "null"),
            ("1e5", "null"),
            ("NaN", "null"),
        ] {
            assert_eq!(text(|out| push_decimal(out, given.as_bytes())), expected);
        }
    }
}
