//! A string between quotes, escaped as RFC 8259, section 7, wants it and no further.

/// How many bytes are looked at at once.
const BLOCK: usize = 64;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string, with its quotes.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// How many bytes `text` takes as a JSON string, at most.
pub(super) fn room_for_string(text: &str) -> usize {
    /// The longest escape, `\u0000`.
    const ESCAPE: usize = 6;
    /// From here on it is worth to count the escapes.
    const LARGE: usize = 4096;
    let escapes = if text.len() < LARGE {
        text.len()
    } else {
        text.bytes().filter(|&byte| is_escaped(byte)).count()
    };
    text.len() + escapes * (ESCAPE - 1) + 2
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for block in text.as_bytes().chunks(BLOCK) {
        // Nearly every block needs no escape. Looking at all its bytes, without stopping at the
        // first hit, is what the compiler turns into vector instructions.
        if block
            .iter()
            .fold(false, |any, &byte| any | is_escaped(byte))
        {
            push_escaped_block(out, block);
        } else {
            out.extend_from_slice(block);
        }
    }
}

/// Whether a string holds this byte only in an escape.
pub(super) fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped_block(out: &mut Vec<u8>, mut block: &[u8]) {
    while let Some(plain) = block.iter().position(|&byte| is_escaped(byte)) {
        out.extend_from_slice(&block[..plain]);
        push_escape(out, block[plain]);
        block = &block[plain + 1..];
    }
    out.extend_from_slice(block);
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0xf));
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_string_but_not_much_more_for_a_large_one() {
        for text in ["", "a", "\0\"é", &"\0".repeat(5000), &"a\n".repeat(5000)] {
            assert!(quoted(text).len() <= room_for_string(text), "{text}");
        }
        assert_eq!(room_for_string(&"a".repeat(5000)), 5002);
    }

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_quotes_backslashes_and_control_characters_are_escaped() {
        assert_eq!(quoted(""), r#""""#);
        assert_eq!(quoted("a\"b\\c/d"), r#""a\"b\\c/d""#);
        assert_eq!(quoted("\u{8}\t\n\u{c}\r"), r#""\b\t\n\f\r""#);
        assert_eq!(quoted("\0\u{1f}\u{7f}"), "\"\\u0000\\u001f\u{7f}\"");
        let plain = "x".repeat(BLOCK);
        assert_eq!(
            quoted(&format!("{plain}{plain}\"{plain}")),
            format!("\"{plain}{plain}\\\"{plain}\"")
        );
        assert_eq!(quoted("值😀\u{2028}"), "\"值😀\u{2028}\"");
    }
}
