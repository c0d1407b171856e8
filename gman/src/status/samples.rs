//! Numbers as Prometheus reads them: lines of `name{label="value"} number`.

use std::collections::BTreeMap;

/// Numbers by their names, each with its labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads the lines that are numbers.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The number of this name, or 0.
    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Those of one name with one label, by its value.
    pub(super) fn by_label(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let prefix = format!("{name}{{{label}=\"");
        let of_name = self.0.iter().filter_map(|(key, value)| {
            let label = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            Some((label, *value))
        });
        of_name.collect()
    }

    /// By how much each number has grown.
    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(name, value)| {
            // A process that has started again counts from 0.
            let then = Some(before.get(name)).filter(|then| then <= value);
            (name.clone(), value - then.unwrap_or(0.0))
        });
        Self(grown.collect())
    }

    /// The bound below which this part of what a histogram has counted lies, infinite beyond its last one;
    /// `None` if it has counted nothing.
    pub(super) fn quantile(&self, histogram: &str, part: f64) -> Option<f64> {
        let count = self.get(&format!("{histogram}_count"));
        if count <= 0.0 {
            return None;
        }
        let buckets = self.by_label(&format!("{histogram}_bucket"), "le");
        let bounds = buckets
            .into_iter()
            .filter(|(_, below)| *below >= count * part);
        let bounds = bounds.filter_map(|(bound, _)| bound.parse().ok());
        bounds.min_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a of a\n# TYPE a counter\na{b=\"c d\"} 3\na{b=\"e\"} 1\nalone 2.5\n\
        h_bucket{le=\"0.1\"} 5\nh_bucket{le=\"1\"} 9\nh_bucket{le=\"+Inf\"} 10\nh_count 10\nno number\n";

    #[test]
    fn lines_are_numbers_with_labels() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.get("alone"), 2.5);
        assert_eq!(samples.get("a"), 0.0);
        assert!(samples.has("alone") && !samples.has("no"));
        let expected = BTreeMap::from([("c d", 3.0), ("e", 1.0)]);
        assert_eq!(samples.by_label("a", "b"), expected);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.quantile("h", 0.5), Some(0.1));
        assert_eq!(samples.quantile("h", 0.9), Some(1.0));
        assert_eq!(samples.quantile("h", 0.99), Some(f64::INFINITY));
        assert_eq!(samples.quantile("none", 0.5), None);
        assert_eq!(samples.since(&samples).quantile("h", 0.5), None);
    }

    #[test]
    fn a_process_that_has_started_again_counts_from_nothing() {
        let (before, after) = (Samples::parse("a 7\nb 1\n"), Samples::parse("a 2\nb 4\n"));
        assert_eq!(after.since(&before), Samples::parse("a 2\nb 3\n"));
    }
}
