//! What a trigger hands over: the arguments of its calls, taken from its body as they stand there.

use std::ops::Range;

use gearman_mysql_udf::old_sql::tokens::{Dialect, Kind, Token, Tokens};

/// What the row is called in the expressions of a [`HandOver`], where the trigger says NEW.
pub(crate) const ROW: &str = "gman_row";

/// The functions that submit a background job: the same job, whatever its priority.
const SUBMITTING: [&str; 3] = [
    "gman_do_background",
    "gman_do_high_background",
    "gman_do_low_background",
];

/// The functions that make the object of a row.
const OBJECTS: [&str; 2] = ["json_object_udf", "json_object"];

const OUTBOX: &str = "gman_outbox";

/// Statements that have others inside them, which they may leave out.
const CONDITIONAL: [&str; 5] = ["if", "case", "while", "loop", "repeat"];

/// What stands before a statement, apart from a semicolon.
const BEFORE_A_STATEMENT: [&str; 8] = [";", "begin", "then", "else", "do", "loop", "repeat", ":"];

/// One job of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandOver {
    pub(crate) way: Way,
    /// The Gearman function, an expression of SQL over the row [`ROW`].
    pub(crate) function: String,
    /// The workload, in the same way.
    pub(crate) workload: String,
    /// What the key in the workload begins with, if the trigger says so in a string.
    pub(crate) prefix: Option<String>,
    /// The names of the row's members, if the trigger says them in strings.
    pub(crate) members: Vec<String>,
}

/// How a trigger hands a job over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// By this function.
    Call(&'static str),
    /// By a row of this table, quoted if it was.
    Outbox(String),
}

/// What a trigger does for each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) hand_overs: Vec<HandOver>,
    /// The conditions under which it refuses the row.
    pub(crate) refusals: Vec<String>,
}

/// Reads the body of a trigger.
///
/// # Errors
///
/// Why its jobs cannot be told from the row alone.
pub(crate) fn read(text: &str) -> Result<Body, &'static str> {
    let tokens: Vec<Token<'_>> = Tokens::new(text.as_bytes(), Dialect::ANY)
        .filter(Token::counts)
        .collect();
    Reader { text, tokens }.body()
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
}

impl Reader<'_> {
    fn body(&self) -> Result<Body, &'static str> {
        let mut body = Body::default();
        // Where the conditions begin that the statement is under.
        let mut conditions: Vec<usize> = Vec::new();
        for at in 0..self.tokens.len() {
            if self.is_one_of(at, &CONDITIONAL) && self.begins_a_statement(at) {
                conditions.push(at);
            } else if self.is(at, "end") && self.is_one_of(at + 1, &CONDITIONAL) {
                conditions.pop();
            } else if self.is(at, "signal") {
                if let [only] = conditions[..] {
                    body.refusals.extend(self.condition(only)?);
                }
            } else if let Some(hand_over) = self.hand_over(at)? {
                if !conditions.is_empty() {
                    return Err("it sends jobs under a condition");
                }
                body.hand_overs.push(hand_over);
            }
        }
        Ok(body)
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(text))
    }

    fn is_one_of(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.is(at, text))
    }

    fn begins_a_statement(&self, at: usize) -> bool {
        at.checked_sub(1)
            .is_none_or(|before| self.is_one_of(before, &BEFORE_A_STATEMENT))
    }

    /// The condition of the IF at this place.
    fn condition(&self, at: usize) -> Result<Option<String>, &'static str> {
        if !self.is(at, "if") {
            return Ok(None);
        }
        let then = (at..self.tokens.len()).find(|&at| self.is(at, "then"));
        let then = then.ok_or("its body cannot be read")?;
        self.expression(&(at + 1..then)).map(Some)
    }

    /// The hand-over that begins with the token at this place.
    fn hand_over(&self, at: usize) -> Result<Option<HandOver>, &'static str> {
        let call = SUBMITTING
            .into_iter()
            .find(|function| self.names(at, function) && self.is(at + 1, "("));
        if let Some(function) = call {
            let (arguments, _) = self.arguments(at + 1)?;
            return self.hand_over_of(Way::Call(function), &arguments).map(Some);
        }
        if !self.is(at, "into") {
            return Ok(None);
        }
        let mut table = at + 1;
        if self.is(table + 1, ".") {
            table += 2;
        }
        if !self.names(table, OUTBOX) {
            return Ok(None);
        }
        let (columns, end) = self.arguments(table + 1)?;
        let is_ours = columns.len() == 2
            && self.names(columns[0].start, "function")
            && self.names(columns[1].start, "workload");
        if !is_ours || !self.is_one_of(end, &["values", "value"]) {
            return Err(
                "it writes to gman_outbox in another way than VALUES of function and workload",
            );
        }
        let (values, _) = self.arguments(end + 1)?;
        let way = Way::Outbox(self.text[self.bytes(&(at + 1..table + 1))].to_owned());
        self.hand_over_of(way, &values).map(Some)
    }

    fn hand_over_of(&self, way: Way, arguments: &[Range<usize>]) -> Result<HandOver, &'static str> {
        let [function, workload, ..] = arguments else {
            return Err("it calls with too few arguments");
        };
        Ok(HandOver {
            way,
            function: self.expression(function)?,
            workload: self.expression(workload)?,
            prefix: self.prefix(workload),
            members: self.members(workload)?,
        })
    }

    /// Whether the token is this name, with or without quotes.
    fn names(&self, at: usize, name: &str) -> bool {
        let found = self.tokens.get(at).and_then(|token| token.name());
        found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
            && !self.is(at.wrapping_sub(1), "@")
    }

    /// The places of what stands between the brackets that open here, by commas; and the place behind
    /// them.
    fn arguments(&self, open: usize) -> Result<(Vec<Range<usize>>, usize), &'static str> {
        let (mut arguments, mut begin, mut depth) = (Vec::new(), open + 1, 0_usize);
        for at in open..self.tokens.len() {
            if self.is(at, "(") {
                depth += 1;
            } else if self.is(at, ")") {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    arguments.push(begin..at);
                    return Ok((arguments, at + 1));
                }
            } else if self.is(at, ",") && depth == 1 {
                arguments.push(begin..at);
                begin = at + 1;
            }
        }
        Err("its body cannot be read")
    }

    fn bytes(&self, tokens: &Range<usize>) -> Range<usize> {
        let end = |token: &Token<'_>| token.place + token.text.len();
        match &self.tokens[tokens.clone()] {
            [] => 0..0,
            [first, .., last] => first.place..end(last),
            [only] => only.place..end(only),
        }
    }

    /// The text of these tokens, with [`ROW`] for NEW.
    fn expression(&self, tokens: &Range<usize>) -> Result<String, &'static str> {
        let bytes = self.bytes(tokens);
        let (mut expression, mut from) = (String::new(), bytes.start);
        for at in tokens.clone() {
            let token = &self.tokens[at];
            // Two of them are before a system variable.
            if token.is("@") && !self.is(at + 1, "@") && !self.is(at.wrapping_sub(1), "@") {
                return Err("its jobs depend on a user variable");
            }
            if !self.is(at + 1, ".") || self.is(at.wrapping_sub(1), ".") {
                continue;
            }
            if self.names(at, "old") {
                return Err("its jobs depend on the row before the change");
            }
            if self.names(at, "new") {
                expression.push_str(&self.text[from..token.place]);
                expression.push_str(ROW);
                from = token.place + token.text.len();
            }
        }
        expression.push_str(&self.text[from..bytes.end]);
        Ok(expression)
    }

    /// The string with which the key begins: the first one in a CONCAT that is no JSON.
    fn prefix(&self, workload: &Range<usize>) -> Option<String> {
        let begins = |at: &usize| self.names(*at, "concat") && self.is(at + 1, "(");
        let strings = workload.clone().filter(begins);
        let mut strings = strings.filter_map(|at| self.tokens.get(at + 2));
        let first =
            strings.find(|token| token.kind == Kind::Text && !token.text.starts_with(b"'{"));
        self.string(first?)
    }

    /// The names of the last object of a workload: `json_object('a', NEW.a, 'b', NEW.b)`.
    fn members(&self, workload: &Range<usize>) -> Result<Vec<String>, &'static str> {
        let is_object =
            |at: &usize| OBJECTS.iter().any(|name| self.names(*at, name)) && self.is(at + 1, "(");
        let Some(last) = workload.clone().rfind(is_object) else {
            return Ok(Vec::new());
        };
        let (arguments, _) = self.arguments(last + 1)?;
        let names = arguments.iter().step_by(2);
        Ok(names
            .filter_map(|name| self.string(self.tokens.get(name.start)?))
            .collect())
    }

    /// The text of a string in single quotes.
    fn string(&self, token: &Token<'_>) -> Option<String> {
        let text = str::from_utf8(token.text).ok()?;
        (token.kind == Kind::Text).then(|| unquoted(text))
    }
}

/// The text between the quotes.
fn unquoted(literal: &str) -> String {
    let inner = literal
        .get(1..literal.len().saturating_sub(1))
        .unwrap_or("");
    let mut text = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' | '\'' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> HandOver {
        let body = read(body).expect("a body");
        let [only] = &body.hand_overs[..] else {
            panic!("{body:?}");
        };
        only.clone()
    }

    #[test]
    fn a_call_is_read_with_the_row_in_the_place_of_new() {
        let found = one(
            "BEGIN SET @RECV = gman_do_background('f', json_object_udf('key', CONCAT('it''s.NEW.t\\\\:', \
             NEW.`NEW`), 'row', json_object_udf('a', `new`.`a`, 'b', (SELECT NEW.b)), 'at', @@timestamp)); END",
        );
        assert_eq!(found.way, Way::Call("gman_do_background"));
        assert_eq!(found.function, "'f'");
        assert_eq!(
            found.workload,
            "json_object_udf('key', CONCAT('it''s.NEW.t\\\\:', gman_row.`NEW`), 'row', \
             json_object_udf('a', gman_row.`a`, 'b', (SELECT gman_row.b)), 'at', @@timestamp)"
        );
        assert_eq!(found.prefix.as_deref(), Some("it's.NEW.t\\:"));
        assert_eq!(found.members, ["a", "b"]);
    }

    #[test]
    fn the_trigger_of_the_tutorial_is_read() {
        let found = one(
            "BEGIN\n  SET @RECV = gman_do_background('syncToRedis', json_object(NEW.id AS `id`, NEW.name AS `name`), 'u');\nEND",
        );
        assert_eq!(
            found.workload,
            "json_object(gman_row.id AS `id`, gman_row.name AS `name`)"
        );
        assert_eq!(found.prefix, None);
    }

    #[test]
    fn a_row_of_the_outbox_is_read() {
        let found = one(
            "BEGIN INSERT INTO `a.b`.`gman_outbox` (`function`, workload) VALUES (CONCAT('f', NEW.id % 4), \
             CONCAT('{\"key\":', JSON_QUOTE(CONCAT('p:', NEW.id)), '}')); END",
        );
        assert_eq!(found.way, Way::Outbox("`a.b`.`gman_outbox`".to_owned()));
        assert_eq!(found.function, "CONCAT('f', gman_row.id % 4)");
        assert_eq!(found.prefix.as_deref(), Some("p:"));
    }

    #[test]
    fn what_refuses_a_row_is_kept() {
        let body = read(
            "BEGIN IF (NEW.a IS NOT NULL AND TO_BASE64(NEW.a) IS NULL) THEN SIGNAL SQLSTATE '45000' \
             SET MESSAGE_TEXT = 'x'; END IF; DO gman_do_background('f', IF(NEW.a, 'b', 'c')); END",
        )
        .expect("a body");
        let refusal = "(gman_row.a IS NOT NULL AND TO_BASE64(gman_row.a) IS NULL)";
        assert_eq!(body.refusals, [refusal]);
        assert_eq!(body.hand_overs[0].workload, "IF(gman_row.a, 'b', 'c')");
    }

    #[test]
    fn what_the_row_alone_does_not_tell_is_refused() {
        for (body, reason) in [
            (
                "BEGIN IF NEW.a THEN DO gman_do_background('f', NEW.a); END IF; END",
                "under a condition",
            ),
            ("DO gman_do_background('f', OLD.a)", "before the change"),
            ("DO gman_do_background('f', @a)", "user variable"),
            ("DO gman_do_background('f', NEW.a + @ a)", "user variable"),
            ("INSERT INTO gman_outbox SELECT 1, 2", "cannot be read"),
            (
                "INSERT INTO gman_outbox (workload, `function`) VALUES (1, 2)",
                "in another way",
            ),
            ("DO gman_do_background('f')", "too few"),
            ("DO gman_do_background('f', (1", "cannot be read"),
        ] {
            let error = read(body).expect_err(body);
            assert!(error.contains(reason), "{body}: {error}");
        }
        let none = read("BEGIN SET @a = 'gman_do_background(1, 2)'; -- INTO gman_outbox\nEND");
        assert_eq!(none, Ok(Body::default()));
    }
}
