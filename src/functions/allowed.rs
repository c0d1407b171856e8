//! `gman_allowed_functions`: the Gearman functions whose jobs may be submitted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::error::Error;
use crate::functions::text_value;
use crate::gearman::wire::job;
use crate::settings::Text;

/// What the setting in force says.
static RULE: RwLock<Rule> = RwLock::new(Rule::All);

/// Whether the rule is another than [`Rule::All`]: without a restriction, calls take no lock.
static IS_RESTRICTED: AtomicBool = AtomicBool::new(false);

/// Which functions.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    All,
    These(Vec<Pattern>),
    /// The configuration says something that cannot be read.
    None,
}

/// One entry of the list.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// All whose names begin so.
    Prefix(String),
}

/// Whether jobs of `function` may be submitted.
pub(super) fn check(function: &[u8]) -> Result<(), Error> {
    if !IS_RESTRICTED.load(Ordering::Acquire) {
        return Ok(());
    }
    // A rule is put in place whole.
    let rule = RULE.read().unwrap_or_else(PoisonError::into_inner);
    match rule.allows(function) {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "gman_allowed_functions does not have the Gearman function {}",
            String::from_utf8_lossy(function)
        ))),
    }
}

/// Whether `gman_allowed_functions` can have this value.
pub(crate) fn check_list(list: &[u8]) -> Result<(), Error> {
    parse(text_value::checked(list)?).map(drop)
}

/// Sets it. With a value that cannot be read no function is allowed: a mistake must not open what was to be
/// closed.
pub(crate) fn set(setting: &Text, list: &[u8]) {
    setting.set(&String::from_utf8_lossy(list));
    let parsed = text_value::checked(list).and_then(parse);
    let rule = parsed.unwrap_or(Rule::None);
    let is_restricted = rule != Rule::All;
    *RULE.write().unwrap_or_else(PoisonError::into_inner) = rule;
    IS_RESTRICTED.store(is_restricted, Ordering::Release);
}

fn parse(list: &str) -> Result<Rule, Error> {
    if list.trim().is_empty() {
        return Ok(Rule::All);
    }
    let patterns: Result<_, _> = list.split(',').map(|entry| pattern(entry.trim())).collect();
    patterns.map(Rule::These)
}

fn pattern(entry: &str) -> Result<Pattern, Error> {
    let (name, is_prefix) = match entry.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (entry, false),
    };
    if name.contains('*') {
        return Err(Error::Input(format!(
            "in \"{entry}\" expected * at the end of a name only"
        )));
    }
    if is_prefix {
        return Ok(Pattern::Prefix(name.to_owned()));
    }
    job::checked_function(name.as_bytes())?;
    Ok(Pattern::Name(name.to_owned()))
}

impl Rule {
    fn allows(&self, function: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::These(patterns) => patterns.iter().any(|pattern| match pattern {
                Pattern::Name(name) => name.as_bytes() == function,
                Pattern::Prefix(prefix) => function.starts_with(prefix.as_bytes()),
            }),
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, function: &str) -> bool {
        parse(list).unwrap().allows(function.as_bytes())
    }

    #[test]
    fn an_empty_list_allows_all_and_another_what_it_names() {
        assert!(allows("", "any"));
        assert!(allows(" ", "any"));
        for (list, function, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "A", false),
            ("b , a", "a", true),
            ("sync*", "syncToRedis", true),
            ("sync*", "sync", true),
            ("sync*", "syn", false),
            ("*", "any", true),
        ] {
            assert_eq!(allows(list, function), expected, "{list}: {function}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (list, expected) in [
            ("a,,b", "function is empty"),
            ("a,", "function is empty"),
            ("a*b", "in \"a*b\" expected * at the end of a name only"),
            ("**", "expected * at the end"),
        ] {
            let error = parse(list).unwrap_err().to_string();
            assert!(error.contains(expected), "{list}: {error}");
        }
    }
}
