//! Where a character ends, in the character sets whose later bytes can look like ASCII.

/// How many bytes a character has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Every byte that looks like ASCII is ASCII, as in UTF-8 and the single-byte character sets.
    Plain,
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
            _ => Self::Plain,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_ends_where_the_server_ends_it() {
        for (charset, text, expected) in [
            (Charset::Plain, &b"\x83\\"[..], 1),
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
}
