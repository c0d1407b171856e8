//! Numbers that a script raises for a long run.

/// The number that the environment variable `name` gives, or `default`.
pub(crate) fn scale(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: expected a number"))
    })
}
