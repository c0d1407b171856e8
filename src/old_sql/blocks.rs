//! Whether a text is one statement.
//!
//! A server that runs several statements of one text, one after the other, measures the later ones by
//! the end of the text as it was sent. A text that a plugin has replaced has another end, and the
//! server would read beyond it. So only a text that is certainly one statement may be changed: a semicolon
//! counts as part of a stored program's body only where nothing else can be meant, and in doubt ends
//! the statement.

use super::tokens::{Kind, Token};

/// Keywords after which BEGIN can only open a block. They are reserved: no name, but behind a dot or
/// an at sign.
const OPENING: [&str; 4] = ["loop", "repeat", "sqlexception", "sqlwarning"];

/// What a name stands after, and BEGIN is one, before a routine's body.
const NAMING: [&str; 5] = ["(", ",", "charset", "collate", "set"];

/// Words that say after END what ends: no block, and no CASE.
const NO_BLOCK: [&str; 4] = ["if", "loop", "repeat", "while"];

/// How far the beginning of a stored program has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Head {
    #[default]
    Start,
    /// After CREATE or ALTER.
    Create,
    /// After DEFINER.
    Definer,
    /// After PROCEDURE or FUNCTION, with as many open brackets.
    Parameters(usize),
    /// After the parameters.
    Characteristics,
    /// After EVENT.
    Event,
    /// After an event's DO.
    EventBody,
    /// The body has begun, or it is no stored program, or a trigger, whose body is known by the words
    /// before it.
    Done,
}

/// Reads a text token by token and knows where its statement ends.
#[derive(Debug, Default)]
pub(super) struct Blocks<'a> {
    head: Head,
    depth: usize,
    before: [Option<Token<'a>>; 5],
    /// The last token was a BEGIN that opened a block.
    has_opened: bool,
    /// The last token was END, and what ends is not known yet.
    is_ending: bool,
}

impl<'a> Blocks<'a> {
    /// Reads the next token; says whether it is a semicolon that ends the statement.
    pub(super) fn read(&mut self, token: Token<'a>) -> bool {
        if self.is_ending && !NO_BLOCK.iter().any(|word| token.is(word)) {
            self.depth = self.depth.saturating_sub(1);
        }
        let is_case = token.is("case") && !self.is_ending && !self.is_name(0);
        self.is_ending = token.is("end");
        self.has_opened = token.is("begin") && self.opens();
        self.depth += usize::from(self.has_opened || is_case);
        self.head = self.head.after(token, self.before[0]);
        self.before.rotate_right(1);
        self.before[0] = Some(token);
        token.is(";") && self.depth == 0
    }

    /// Whether the token `back` before the last one was `word`.
    fn is(&self, back: usize, word: &str) -> bool {
        self.before[back].is_some_and(|token| token.is(word))
    }

    /// Whether a keyword with `back` tokens since the one before it is a name for the server.
    fn is_name(&self, back: usize) -> bool {
        self.is(back, ".") || self.is(back, "@")
    }

    /// Whether BEGIN certainly opens a block here.
    fn opens(&self) -> bool {
        let is_trigger = self.is(0, "row") && self.is(1, "each") && self.is(2, "for");
        let is_body = match self.head {
            Head::Characteristics => !NAMING.iter().any(|word| self.is(0, word)),
            Head::EventBody => true,
            _ => false,
        };
        let is_after_keyword = OPENING.iter().any(|word| self.is(0, word)) && !self.is_name(1);
        let begins = self.has_opened || self.is(0, ";") || self.is(0, ":") || is_after_keyword;
        is_trigger || is_body || self.depth > 0 && (begins || self.is_handled())
    }

    /// Whether the condition of a handler comes before, and the handler's body here.
    fn is_handled(&self) -> bool {
        let condition = match self.before[0] {
            Some(token) if token.kind == Kind::Text && self.is(1, "sqlstate") => 2,
            Some(token) if token.kind == Kind::Text && self.is(1, "value") => 3,
            Some(token) if token.is("found") && self.is(1, "not") => 2,
            Some(token) if token.text.iter().all(u8::is_ascii_digit) => 1,
            _ => return false,
        };
        self.is(condition, "for") && self.is(condition + 1, "handler")
    }
}

impl Head {
    fn after(self, token: Token<'_>, before: Option<Token<'_>>) -> Self {
        let follows = |word| before.is_some_and(|before| before.is(word));
        match self {
            Self::Start if token.is("create") || token.is("alter") => Self::Create,
            Self::Create if token.is("definer") => Self::Definer,
            Self::Create if token.is("aggregate") => self,
            Self::Definer if follows("=") || follows("@") => self,
            Self::Definer if ["=", "@", "(", ")"].iter().any(|mark| token.is(mark)) => self,
            Self::Create | Self::Definer if token.is("event") => Self::Event,
            Self::Create | Self::Definer if token.is("procedure") || token.is("function") => {
                Self::Parameters(0)
            }
            Self::Parameters(open) if token.is("(") => Self::Parameters(open + 1),
            Self::Parameters(1) if token.is(")") => Self::Characteristics,
            Self::Parameters(open) if token.is(")") => Self::Parameters(open.saturating_sub(1)),
            Self::Parameters(_) => self,
            Self::Characteristics if is_characteristic(token) => self,
            Self::Event if token.is("do") => Self::EventBody,
            Self::Event => self,
            _ => Self::Done,
        }
    }
}

/// What may stand between the parameters of a routine and its body.
fn is_characteristic(token: Token<'_>) -> bool {
    /// Of types and of characteristics; a type's length stands in brackets.
    const WORDS: [&str; 47] = [
        "(",
        ")",
        ",",
        "bigint",
        "binary",
        "bit",
        "blob",
        "bool",
        "boolean",
        "char",
        "character",
        "charset",
        "collate",
        "comment",
        "contains",
        "data",
        "date",
        "datetime",
        "decimal",
        "definer",
        "deterministic",
        "double",
        "float",
        "int",
        "integer",
        "invoker",
        "json",
        "language",
        "longblob",
        "longtext",
        "mediumint",
        "mediumtext",
        "modifies",
        "no",
        "not",
        "numeric",
        "reads",
        "returns",
        "security",
        "set",
        "smallint",
        "sql",
        "text",
        "time",
        "timestamp",
        "tinyint",
        "varchar",
    ];
    let is_number = token.text.iter().all(u8::is_ascii_digit);
    let is_charset = ["unsigned", "utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"];
    token.kind == Kind::Text
        || is_number
        || WORDS.iter().chain(&is_charset).any(|word| token.is(word))
}

#[cfg(test)]
mod tests {
    use super::super::tokens::{Dialect, Tokens};
    use super::*;

    /// How many semicolons end a statement.
    fn ends(text: &str) -> usize {
        let mut blocks = Blocks::default();
        let tokens = Tokens::new(text.as_bytes(), Dialect::ANY);
        tokens
            .filter(Token::counts)
            .filter(|token| blocks.read(*token))
            .count()
    }

    #[test]
    fn a_stored_program_is_one_statement() {
        for text in [
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SET @a = 1; END",
            "CREATE PROCEDURE p() BEGIN SELECT 1; BEGIN SELECT 2; END; END",
            "CREATE DEFINER=`a`@`b` PROCEDURE p(a INT, b DECIMAL(10, 2)) COMMENT 'x' SQL SECURITY INVOKER BEGIN SELECT 1; END",
            "CREATE FUNCTION f(a INT) RETURNS VARCHAR(20) CHARSET utf8mb4 READS SQL DATA BEGIN RETURN 1; END",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1; END",
            "ALTER EVENT e DO BEGIN SELECT 1; END",
            "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; ELSE SELECT 2; END IF; SELECT 3; END",
            "CREATE PROCEDURE p() BEGIN WHILE a DO SET b = 1; END WHILE; l: LOOP BEGIN LEAVE l; END; END LOOP l; END",
            "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SELECT 1; END CASE; SET @a = CASE 1 WHEN 1 THEN 2 END; END",
            "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END; SELECT 1; END",
            "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR 1125 BEGIN END; SELECT 1; END",
            "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR NOT FOUND BEGIN END; SELECT 1; END",
            "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLSTATE VALUE '23000' BEGIN END; SELECT 1; END",
            "CREATE PROCEDURE p() l: BEGIN SELECT 1; END l",
        ] {
            // The label's own block is not told from a name that stands there.
            let expected = usize::from(text.contains("p() l:"));
            assert_eq!(ends(text), expected, "{text}");
            assert!(ends(&format!("{text}; SELECT 1; SELECT 2")) >= 2, "{text}");
        }
    }

    #[test]
    fn in_doubt_a_semicolon_ends_the_statement() {
        for text in [
            "SELECT 1; SELECT 2",
            "BEGIN; SELECT 1; END",
            "CREATE TRIGGER begin AFTER UPDATE ON t FOR EACH ROW SET @a = 1; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON begin FOR EACH ROW SET @a = 1; SELECT 2",
            "CREATE TABLE begin (a INT); SELECT 2",
            "CREATE PROCEDURE begin() SELECT 1; SELECT 2",
            "CREATE PROCEDURE p(begin INT) SELECT begin; SELECT 2",
            "CREATE PROCEDURE p() SELECT (1) begin; SELECT 2",
            "CREATE FUNCTION f() RETURNS INT RETURN begin; SELECT 2",
            "CREATE EVENT begin ON SCHEDULE EVERY 1 DAY DO SELECT 1 begin; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SET @a = CASE 1 WHEN 1 THEN begin END; END; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN DO begin; END; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SELECT @case, a.case; END; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SELECT begin begin; END; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SELECT t.loop begin; END; SELECT 2",
            "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW BEGIN SELECT @repeat begin; END; SELECT 2",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DO begin; SELECT 2",
            "CREATE VIEW event AS SELECT do begin FROM t; SELECT 2",
            "CREATE DEFINER=event@localhost PROCEDURE p() DO begin; SELECT 2",
            "CREATE DEFINER=a@b VIEW event AS SELECT do begin FROM t; SELECT 2",
            "CREATE PROCEDURE p(begin INT) SET CHARACTER SET utf8, begin = 1; SELECT 2",
            "SELECT @case; SELECT 2",
            "SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2",
        ] {
            assert!(ends(text) >= 1, "{text}");
        }
    }
}
