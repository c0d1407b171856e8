//! Where a character ends, in the character sets whose later bytes can look like ASCII.

/// How many bytes a character has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8: every byte that looks like ASCII is ASCII.
    Utf8,
    /// One of which the same is assumed.
    Other,
    /// Two bytes after a lead byte.
    Big5,
    /// Two bytes after a lead byte.
    Gbk,
    /// Two bytes after a lead byte, or four if the second one is a digit.
    Gb18030,
    /// Two bytes after a lead byte; half-width kana have one byte, and are no lead bytes.
    Sjis,
}

impl Charset {
    /// That of a character set, by its name in the server.
    pub fn named(name: &[u8]) -> Self {
        match name {
            b"big5" => Self::Big5,
            b"gbk" => Self::Gbk,
            b"gb18030" => Self::Gb18030,
            b"sjis" | b"cp932" => Self::Sjis,
            b"utf8mb4" | b"utf8mb3" | b"utf8" => Self::Utf8,
            _ => Self::Other,
        }
    }

    /// The length of the character at the beginning of `text`; 1 for what is none, and 0 at the end.
    pub fn length(self, text: &[u8]) -> usize {
        let is_pair = match (self, text) {
            (Self::Big5, [0xa1..=0xf9, 0x40..=0x7e | 0xa1..=0xfe, ..]) => true,
            (Self::Sjis, [0x81..=0x9f | 0xe0..=0xfc, 0x40..=0x7e | 0x80..=0xfc, ..]) => true,
            (Self::Gbk | Self::Gb18030, [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]) => true,
            (Self::Gb18030, [0x81..=0xfe, b'0'..=b'9', 0x81..=0xfe, b'0'..=b'9', ..]) => return 4,
            _ => false,
        };
        if is_pair { 2 } else { text.len().min(1) }
    }

    /// Whether nobody can see other characters in `text` than are there.
    pub fn is_well_formed(self, text: &[u8]) -> bool {
        match self {
            Self::Utf8 => str::from_utf8(text).is_ok(),
            Self::Other => text.is_ascii(),
            Self::Big5 | Self::Gbk | Self::Gb18030 | Self::Sjis => {
                let mut rest = text;
                while let [first, ..] = rest {
                    let length = self.length(rest);
                    let is_kana = self == Self::Sjis && (0xa1..=0xdf).contains(first);
                    if length == 1 && !first.is_ascii() && !is_kana {
                        return false;
                    }
                    rest = &rest[length..];
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_ends_where_the_server_ends_it() {
        for (charset, text, expected) in [
            (Charset::Other, &b"\x83\\"[..], 1),
            (Charset::Sjis, b"\x83\\", 2),
            (Charset::Sjis, b"\xb1\\", 1),
            (Charset::Sjis, b"\x83'", 1),
            (Charset::Gbk, b"\xbf\\", 2),
            (Charset::Gbk, b"\xbf'", 1),
            (Charset::Gbk, b"\xbf", 1),
            (Charset::Big5, b"\xa5\\", 2),
            (Charset::Big5, b"\x81\\", 1),
            (Charset::Gb18030, b"\x81\x30\x81\x30\\", 4),
            (Charset::Gb18030, b"\x81\x30'", 1),
            (Charset::Gb18030, b"\x81\\", 2),
            (Charset::Gbk, b"", 0),
        ] {
            assert_eq!(charset.length(text), expected, "{charset:?} {text:x?}");
        }
    }

    #[test]
    fn half_a_character_is_not_well_formed() {
        for (charset, text, expected) in [
            (Charset::Utf8, &b"\xc3\xa9"[..], true),
            (Charset::Utf8, b"\xc3", false),
            (Charset::Other, b"\xc3", false),
            (Charset::Other, b"a", true),
            (Charset::Gbk, b"\xbf\\a", true),
            (Charset::Gbk, b"\xbf", false),
            (Charset::Gbk, b"\xbf'", false),
            (Charset::Sjis, b"\xb1'\x83\\", true),
            (Charset::Gb18030, b"\x81\x30\x81\x30", true),
            (Charset::Gb18030, b"\x81\x30", false),
        ] {
            assert_eq!(
                charset.is_well_formed(text),
                expected,
                "{charset:?} {text:x?}"
            );
        }
    }
}
