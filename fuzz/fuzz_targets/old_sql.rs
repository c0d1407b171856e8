//! Statements, any bytes, read as any session may read them: what is changed is an old name, and what is
//! not comes out byte for byte.

#![no_main]

use gearman_mysql_udf::old_sql::charset::Charset;
use gearman_mysql_udf::old_sql::names::OLD_NAMES;
use gearman_mysql_udf::old_sql::tokens::{Dialect, Tokens};
use gearman_mysql_udf::old_sql::{SUFFIX, is_concerned, parts, places};
use libfuzzer_sys::fuzz_target;

const CHARSETS: [Charset; 6] = [
    Charset::Utf8,
    Charset::Other,
    Charset::Big5,
    Charset::Gbk,
    Charset::Gb18030,
    Charset::Sjis,
];

fuzz_target!(|input: &[u8]| {
    let Some((&session, text)) = input.split_first() else {
        return;
    };
    let dialect = Dialect {
        charset: CHARSETS[usize::from(session >> 2) % CHARSETS.len()],
        backslash_escapes: session & 1 == 0,
        ansi_quotes: session & 2 == 0,
        version: 90_704,
        is_maria: false,
    };
    let joined: Vec<u8> = Tokens::new(text, dialect)
        .flat_map(|token| token.text)
        .copied()
        .collect();
    assert_eq!(joined, text);

    let places = places(text, dialect).expect("memory");
    assert!(places.is_empty() || is_concerned(text));
    assert!(places.is_sorted_by(|one, other| one < other));
    for &place in &places {
        let before = text[..place].to_ascii_lowercase();
        assert!(
            OLD_NAMES
                .iter()
                .any(|name| before.ends_with(name.as_bytes()))
        );
    }
    // Without what was put in, it is the text again.
    let rewritten: Vec<u8> = parts(text, &places).flatten().copied().collect();
    let mut restored = rewritten.clone();
    for &place in places.iter() {
        let put_in = restored.drain(place..place + SUFFIX.len());
        assert!(put_in.eq(SUFFIX.iter().copied()));
    }
    assert_eq!(restored, text);
    // Twice is once.
    assert!(
        gearman_mysql_udf::old_sql::places(&rewritten, dialect)
            .is_ok_and(|places| places.is_empty())
    );
});
