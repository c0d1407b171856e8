//! The SQL of the C plugins, where a server has native functions of the same names: finds the calls that
//! the native ones cannot mean, and gives them the names that the library has beside the old ones.
//!
//! A name is changed by adding [`SUFFIX`] to it, and nothing else in a text changes. Knows neither a
//! server nor the functions.

use std::collections::TryReserveError;

use self::calls::Reader;
use self::names::OLD_NAMES;
use self::tokens::{Dialect, Tokens};

mod argument;
mod blocks;
mod calls;
pub mod charset;
pub mod names;
pub mod tokens;

/// What the old names get at their end.
pub const SUFFIX: &[u8] = b"_udf";

/// Whether `text` holds one of the old names at all: what most statements are asked, and nothing else.
pub fn is_concerned(text: &[u8]) -> bool {
    /// As many bytes as a processor compares at once.
    const CHUNK: usize = 16;
    let (chunks, rest) = text.as_chunks::<CHUNK>();
    let mut place = 0;
    for chunk in chunks {
        // Without a branch, so that the compiler makes one comparison of it.
        let hits = chunk
            .iter()
            .fold(0, |hits, &byte| hits | u8::from(is_j(byte)));
        if hits != 0 && holds_an_old_name(text, place, chunk) {
            return true;
        }
        place += CHUNK;
    }
    holds_an_old_name(text, place, rest)
}

fn is_j(byte: u8) -> bool {
    byte | 0x20 == b'j'
}

/// Whether an old name begins in `chunk`, which is at `place` in `text`.
fn holds_an_old_name(text: &[u8], place: usize, chunk: &[u8]) -> bool {
    let mut bytes = chunk.iter().enumerate();
    bytes.any(|(at, &byte)| is_j(byte) && begins_with_an_old_name(&text[place + at..]))
}

fn begins_with_an_old_name(text: &[u8]) -> bool {
    OLD_NAMES.iter().any(|name| {
        let start = text.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Whether the meaning of `text` depends on the session that sends it.
pub fn depends_on_dialect(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, b'"' | b'\\' | 0x80..))
}

/// Where [`SUFFIX`] has to be put in, in ascending order; nowhere in a text that is not concerned, and
/// in one of several statements, which a server would measure by its old end.
///
/// # Errors
///
/// There is no memory for the places.
pub fn places(text: &[u8], dialect: Dialect) -> Result<Vec<usize>, TryReserveError> {
    let statement = without_end(text);
    let has_semicolon = statement.contains(&b';');
    if !is_concerned(text) || has_semicolon && !dialect.charset.is_well_formed(text) {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(statement.len());
    let mut tokens = Tokens::new(text, dialect);
    while let Some(token) = tokens.next_that_counts() {
        reader.read(token, &tokens)?;
    }
    reader.finish()
}

/// `text` without what the servers cut off from its end.
fn without_end(text: &[u8]) -> &[u8] {
    let is_cut_off = |byte: &u8| *byte == b';' || tokens::is_space(*byte);
    let last = text.iter().rposition(|byte| !is_cut_off(byte));
    &text[..last.map_or(0, |last| last + 1)]
}

/// The parts of `text` with [`SUFFIX`] at `places`, which are those of the text.
pub fn parts<'a>(text: &'a [u8], places: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut from = 0;
    let before = places.iter().flat_map(move |&place| {
        let part = &text[from..place];
        from = place;
        [part, SUFFIX]
    });
    before.chain([&text[places.last().copied().unwrap_or(0)..]])
}

/// How long `text` is with [`SUFFIX`] at `places`.
pub fn length(text: &[u8], places: &[usize]) -> usize {
    text.len() + places.len() * SUFFIX.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::charset::Charset;
    use super::*;

    fn rewritten_in(text: &[u8], dialect: Dialect) -> Vec<u8> {
        let places = places(text, dialect).expect("memory");
        let rewritten: Vec<u8> = parts(text, &places).flatten().copied().collect();
        assert_eq!(rewritten.len(), length(text, &places));
        rewritten
    }

    fn rewritten(text: &str) -> String {
        String::from_utf8(rewritten_in(text.as_bytes(), Dialect::ANY)).expect("UTF-8")
    }

    #[test]
    fn a_call_that_the_native_function_cannot_mean_is_rewritten() {
        for (old, new) in [
            ("json_object(id AS id)", "json_object_udf(id AS id)"),
            (
                "JSON_Object(NEW.id as `id`, NEW.name as `name`)",
                "JSON_Object_udf(NEW.id as `id`, NEW.name as `name`)",
            ),
            (
                "json_object(NEW.id id, 1 one)",
                "json_object_udf(NEW.id id, 1 one)",
            ),
            (
                "json_object(1 'one', 2 'two')",
                "json_object_udf(1 'one', 2 'two')",
            ),
            (
                "json_object(1 `one`, 2 two)",
                "json_object_udf(1 `one`, 2 two)",
            ),
            ("json_object(f(a, b) x, 2)", "json_object_udf(f(a, b) x, 2)"),
            (
                "json_object(count(*) n, 2)",
                "json_object_udf(count(*) n, 2)",
            ),
            (
                "json_object(case a when 1 then 2 end n, 2)",
                "json_object_udf(case a when 1 then 2 end n, 2)",
            ),
            (
                "json_object(now() + interval 1 day day1, 2)",
                "json_object_udf(now() + interval 1 day day1, 2)",
            ),
            ("json_object(? a, ? b)", "json_object_udf(? a, ? b)"),
            ("json_object(NEW.id)", "json_object_udf(NEW.id)"),
            ("json_object('a', 1, 'b')", "json_object_udf('a', 1, 'b')"),
            (
                "json_object(NEW.id, NEW.name)",
                "json_object_udf(NEW.id, NEW.name)",
            ),
            (
                "json_object(`a`.`b`.c, `d`)",
                "json_object_udf(`a`.`b`.c, `d`)",
            ),
            ("json_object /* x */ (id)", "json_object_udf /* x */ (id)"),
            ("json_object\n-- '\n(id)", "json_object_udf\n-- '\n(id)"),
            ("`json_object`(id)", "`json_object_udf`(id)"),
            (
                "/*!50003 json_object(id) */",
                "/*!50003 json_object_udf(id) */",
            ),
            ("json_array(1 as a)", "json_array_udf(1 as a)"),
            (
                "SELECT json_object(id); ;\n",
                "SELECT json_object_udf(id); ;\n",
            ),
            (
                "SELECT ';', json_object(id) -- ;",
                "SELECT ';', json_object_udf(id) -- ;",
            ),
            ("ON json_object(id) = 1", "ON json_object_udf(id) = 1"),
            (
                "json_object('a', (1, 2), 'b')",
                "json_object_udf('a', (1, 2), 'b')",
            ),
        ] {
            assert_eq!(rewritten(old), new);
            assert_eq!(rewritten(new), new, "twice is once");
        }
    }

    #[test]
    fn calls_in_and_around_an_old_one_are_old() {
        for (old, new) in [
            (
                "json_array(json_object(id as id))",
                "json_array_udf(json_object_udf(id as id))",
            ),
            (
                "json_object('a', json_array(1 as b))",
                "json_object_udf('a', json_array_udf(1 as b))",
            ),
            (
                "json_object('a', json_members('b', 1))",
                "json_object_udf('a', json_members('b', 1))",
            ),
            (
                "json_array(json_array_udf(1))",
                "json_array_udf(json_array_udf(1))",
            ),
            (
                "json_object(id as id, json_array(1, 2) as json_list)",
                "json_object_udf(id as id, json_array_udf(1, 2) as json_list)",
            ),
            (
                "json_object(json_array(1) json_list, id)",
                "json_object_udf(json_array_udf(1) json_list, id)",
            ),
            (
                "json_members('a', json_array(1))",
                "json_members('a', json_array_udf(1))",
            ),
            (
                "json_object(id as id, json_extract(json_object('a', 1), '$.a') as a)",
                "json_object_udf(id as id, json_extract(json_object('a', 1), '$.a') as a)",
            ),
            (
                "json_object('a', json_extract(json_object(id as id), '$.id'))",
                "json_object('a', json_extract(json_object_udf(id as id), '$.id'))",
            ),
            (
                "json_object('a', json_object(id) is null)",
                "json_object('a', json_object_udf(id) is null)",
            ),
            (
                "json_object('a', json_object(id) -> '$.id')",
                "json_object('a', json_object_udf(id) -> '$.id')",
            ),
            (
                "json_object_udf(json_array(1) as json_a)",
                "json_object_udf(json_array(1) as json_a)",
            ),
        ] {
            assert_eq!(rewritten(old), new);
            assert_eq!(rewritten(new), new, "twice is once");
        }
    }

    #[test]
    fn what_the_native_function_means_stays() {
        for text in [
            "json_object()",
            "json_object('a', 1)",
            "json_object('a', NEW.id, 'b', NEW.name)",
            "json_object(1, 2)",
            "json_object(concat(a, b), 2)",
            "json_object(@a, 2)",
            "json_object(true, 2)",
            "json_object(NULL, 2)",
            "json_object(current_date, 2)",
            "json_object(a + 1, 2)",
            "json_object('a' 'b', 2)",
            "json_object(_utf8mb4'a', N'b')",
            "json_object('a', x'41', 'b', DATE '2026-01-01')",
            "json_object('a', now() - interval 1 day)",
            "json_object('a', b is null, 'c', d like 'e' escape '|')",
            "json_object('a', b collate utf8mb4_bin)",
            "json_object('a', case b when 1 then 2 else 3 end)",
            "json_object('a', binary b)",
            "json_object('a', not b)",
            "json_object('a', cast(b as char))",
            "json_object('a', (select b as c from d e))",
            "json_object('a', count(distinct b))",
            "json_object('a', sum(b) over w)",
            "json_object('a', b.as)",
            "json_object('a', b->'$.c', 'd', e->>'$.f')",
            "json_object('a', b member of('[1]'))",
            "json_array()",
            "json_array(1, 'a', NEW.id)",
            "json_array(json_object('a', 1))",
            "json_arrayagg(a)",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn what_is_no_call_stays() {
        for text in [
            "",
            "json_object",
            "json_object_udf(id)",
            "my_json_object(id)",
            "json_object$(id)",
            "\u{e9}json_object(id)",
            "a.json_object(id)",
            "a . json_object (id)",
            "@json_object (id)",
            "INSERT INTO json_object (a) VALUES (1)",
            "CREATE TABLE json_object (a INT)",
            "CREATE FUNCTION json_object (a INT) RETURNS INT RETURN a",
            "CREATE INDEX i ON json_object (a)",
            "CREATE INDEX i USING BTREE ON json_object (a)",
            "KEY json_array (a)",
            "WITH json_object (a) AS (SELECT 1) SELECT a FROM json_object",
            "WITH a AS (SELECT 1), json_object (b) AS (SELECT 1) SELECT b FROM json_object",
            "SELECT a FROM (SELECT 1) AS json_object (a)",
            "SELECT a FROM (SELECT 1) json_object (a)",
            "'json_object(id)'",
            "\"json_object(id)\"",
            "'it''s \\' json_object(id)'",
            "-- json_object(id)",
            "# json_object(id)",
            "/* json_object(id) */",
            "`a``json_object`(id)",
            "'json_object(id)",
            "/* json_object(id)",
            "json_object(id; 1)",
            "json_object(id",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn a_loadable_function_is_created_and_dropped_by_its_new_name() {
        for (old, new) in [
            (
                "CREATE FUNCTION json_object RETURNS STRING SONAME 'lib_mysqludf_json.so'",
                "CREATE FUNCTION json_object_udf RETURNS STRING SONAME 'lib_mysqludf_json.so'",
            ),
            (
                "create aggregate function if not exists `json_array` returns string soname 'a'",
                "create aggregate function if not exists `json_array_udf` returns string soname 'a'",
            ),
            ("DROP FUNCTION json_object", "DROP FUNCTION json_object_udf"),
            (
                "DROP FUNCTION IF EXISTS json_array;",
                "DROP FUNCTION IF EXISTS json_array_udf;",
            ),
        ] {
            assert_eq!(rewritten(old), new);
            assert_eq!(rewritten(new), new, "twice is once");
        }
        for text in [
            "DROP FUNCTION json_object.f",
            "DROP FUNCTION test.json_object",
            "DROP TABLE json_object",
            "DROP TABLE IF EXISTS json_object",
            "SHOW CREATE FUNCTION json_object",
            "CREATE FUNCTION json_object() RETURNS INT RETURN 1",
            "CREATE FUNCTION json_object RETURNS STRING",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn the_session_decides_what_is_a_string() {
        let ansi = Dialect {
            ansi_quotes: true,
            ..Dialect::ANY
        };
        assert_eq!(
            rewritten_in(br#""json_object"("id", "name")"#, ansi),
            br#""json_object_udf"("id", "name")"#
        );
        assert_eq!(
            rewritten(r#"json_object("id", "name")"#),
            r#"json_object("id", "name")"#
        );
        let no_escapes = Dialect {
            backslash_escapes: false,
            ..Dialect::ANY
        };
        let text = br"SELECT '\', json_object(id), '\'";
        assert_eq!(
            rewritten_in(text, no_escapes),
            br"SELECT '\', json_object_udf(id), '\'"
        );
        assert_eq!(rewritten_in(text, Dialect::ANY), text);
    }

    #[test]
    fn the_second_byte_of_a_character_is_no_quote() {
        let texts: [(&[u8], Charset); 4] = [
            (b"SELECT '\x83\\', json_object(id)", Charset::Sjis),
            (b"SELECT '\xbf\\', json_object(id)", Charset::Gbk),
            (b"SELECT '\xa5\\', json_object(id)", Charset::Big5),
            (
                b"SELECT '\x81\x30\x81\x30\x84\\', json_object(id)",
                Charset::Gb18030,
            ),
        ];
        for (text, charset) in texts {
            let dialect = Dialect {
                charset,
                ..Dialect::ANY
            };
            let expected = [&text[..text.len() - 4], b"_udf(id)"].concat();
            assert_eq!(rewritten_in(text, dialect), expected);
            assert_eq!(rewritten_in(text, Dialect::ANY), text);
        }
    }

    #[test]
    fn a_text_that_is_too_deep_is_left_alone() {
        for depth in [4_096, 4_097] {
            let text = [
                "json_object(".repeat(depth),
                "1 as a".to_owned(),
                ")".repeat(depth),
            ]
            .concat();
            let calls = rewritten(&text).len() - text.len();
            assert_eq!(
                calls,
                if depth > 4_096 {
                    0
                } else {
                    depth * SUFFIX.len()
                }
            );
        }
        let brackets = ["json_object(", &"(".repeat(1 << 20)].concat();
        assert_eq!(rewritten(&brackets), brackets);
    }

    #[test]
    fn one_pass_finds_the_old_names_anywhere() {
        for before in 0..80 {
            for name in ["json_object", "JSON_ARRAY", "Json_Object"] {
                let text = [&"j".repeat(before), name, " "].concat();
                assert!(is_concerned(text.as_bytes()), "{text}");
                assert!(!is_concerned(&text.as_bytes()[..text.len() - 2]), "{text}");
            }
        }
        assert!(!is_concerned(b""));
        assert!(!is_concerned(b"SELECT json_extract(a, '$.j')"));
    }

    #[test]
    fn a_text_that_is_not_concerned_costs_no_memory() {
        let text = b"UPDATE test SET name = 'sm', json_text = 'x' WHERE id = 1";
        let info = allocation_counter::measure(|| {
            assert_eq!(places(text, Dialect::ANY), Ok(Vec::new()));
        });
        assert_eq!(info.count_total, 0);
    }

    /// Pieces that calls are made of.
    const PIECES: [&str; 40] = [
        "json_object",
        "JSON_ARRAY",
        "`json_object`",
        "json_members",
        "json_object_udf",
        "(",
        "(",
        ")",
        ")",
        ",",
        ",",
        " ",
        " ",
        "\n",
        ";",
        ".",
        "@",
        "'a'",
        "\"b\"",
        "`c`",
        "id",
        "NEW",
        " as ",
        " end ",
        "interval 1 day",
        "1",
        "-- ",
        "#",
        "/*",
        "*/",
        "/*!50003 ",
        "/*!99999 ",
        "'",
        "\"",
        "`",
        "\\",
        "create function ",
        "drop function if exists ",
        " returns string soname 'x'",
        "\u{e9}",
    ];

    proptest! {
        /// What comes out is the text with suffixes behind old names, and nothing is left to rewrite.
        #[test]
        fn only_names_change_and_twice_is_once(
            pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40),
            ansi_quotes: bool,
            backslash_escapes: bool,
        ) {
            let text = pieces.concat();
            let dialect = Dialect { ansi_quotes, backslash_escapes, version: 90_704, ..Dialect::ANY };
            let places = places(text.as_bytes(), dialect).expect("memory");
            prop_assert!(places.is_sorted_by(|a, b| a < b));
            for &place in &places {
                let before = text[..place].to_ascii_lowercase();
                prop_assert!(OLD_NAMES.iter().any(|name| before.ends_with(name)));
            }
            let once: Vec<u8> = parts(text.as_bytes(), &places).flatten().copied().collect();
            prop_assert_eq!(rewritten_in(&once, dialect), once);
        }

        #[test]
        fn any_bytes_without_an_old_name_come_back(text: Vec<u8>) {
            for charset in [Charset::Utf8, Charset::Big5, Charset::Gbk, Charset::Gb18030, Charset::Sjis] {
                let dialect = Dialect { charset, ..Dialect::ANY };
                prop_assert_eq!(&rewritten_in(&text, dialect), &text);
            }
        }
    }

    /// The server would measure the later statements by the end of the old text.
    #[test]
    fn several_statements_at_once_are_left_alone() {
        for text in [
            "SELECT json_object(id); SELECT 2",
            "SELECT 1; SELECT json_object(id)",
            "SELECT json_object(id); -- x",
            "SELECT json_object(id); /* x */",
            "/*!50003 SELECT json_object(id); */",
            "CREATE PROCEDURE p() BEGIN SELECT json_object(id); END; SELECT 2",
        ] {
            assert_eq!(rewritten(text), text);
        }
        let body = "CREATE PROCEDURE p() BEGIN SELECT json_object(id); END;";
        assert_eq!(rewritten(body), body.replace("object", "object_udf"));
    }

    #[test]
    fn where_a_character_is_cut_a_semicolon_may_be_anywhere() {
        let text = b"SELECT ';\xff', json_object(id)";
        assert_eq!(rewritten_in(text, Dialect::ANY), text);
        let gbk = Dialect {
            charset: Charset::Gbk,
            ..Dialect::ANY
        };
        let text = b"SELECT ';\xbf\\', json_object(id)";
        assert_ne!(rewritten_in(text, gbk), text);
    }
}
