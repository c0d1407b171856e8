//! Bytes as Base64 text (RFC 4648, section 4): with padding and without line ends.

use super::writer::MAX_TEXT_BYTES;
use crate::error::Error;
use crate::memory;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const PADDING: u8 = b'=';

/// The two characters of every twelve bits: with half as many look-ups as there are characters, a
/// MiB takes about a millisecond.
static PAIRS: [[u8; 2]; 1 << 12] = {
    let mut pairs = [[0; 2]; 1 << 12];
    let mut twelve = 0;
    while twelve < pairs.len() {
        pairs[twelve] = [ALPHABET[twelve >> 6], ALPHABET[twelve & 0x3f]];
        twelve += 1;
    }
    pairs
};

/// Replaces what is in `out` with the Base64 text of `bytes`.
///
/// # Errors
///
/// The text would be longer than 1 GiB, or there is no memory for it.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let length = bytes.len().div_ceil(3) * 4;
    if length > MAX_TEXT_BYTES {
        return Err(Error::Input(format!(
            "the Base64 text of {} bytes would be longer than {MAX_TEXT_BYTES} bytes",
            bytes.len()
        )));
    }
    out.clear();
    // And one more, as some servers look at the byte behind a result.
    memory::reserve(out, length + 1)?;
    let pairs = &PAIRS;
    let (groups, rest) = bytes.as_chunks::<3>();
    out.extend(groups.iter().flat_map(|&[a, b, c]| {
        let [first, second] = [
            usize::from(a) << 4 | usize::from(b) >> 4,
            usize::from(b & 0xf) << 8 | usize::from(c),
        ]
        .map(|twelve| pairs[twelve]);
        [first[0], first[1], second[0], second[1]]
    }));
    match *rest {
        [a] => {
            out.extend_from_slice(&pairs[usize::from(a) << 4]);
            out.extend_from_slice(&[PADDING; 2]);
        }
        [a, b] => {
            out.extend_from_slice(&pairs[usize::from(a) << 4 | usize::from(b) >> 4]);
            out.extend_from_slice(&[pairs[usize::from(b & 0xf) << 8][0], PADDING]);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = b"what was there before".to_vec();
        encode(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn the_vectors_of_the_standard_come_out() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn every_byte_in_every_place_reads_back() {
        for length in 0..7 {
            for byte in 0..=255 {
                let bytes: Vec<u8> = (0..length).map(|place| byte ^ (place * 37)).collect();
                assert_eq!(decoded(&encoded(&bytes)), bytes);
            }
        }
    }

    /// One bit after another, as the standard describes it.
    fn decoded(text: &str) -> Vec<u8> {
        let bits = text.trim_end_matches('=').bytes().flat_map(|byte| {
            let six = ALPHABET.iter().position(|&letter| letter == byte).unwrap();
            (0..6).rev().map(move |bit| six >> bit & 1)
        });
        let bits: Vec<_> = bits.collect();
        let whole = bits.chunks_exact(8);
        assert!(whole.remainder().iter().all(|&bit| bit == 0));
        whole
            .map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | bit as u8))
            .collect()
    }
}
