//! What a soak found, and whether that is good.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use crate::faults::{Fault, Incident};
use crate::ledger::{Count, Delivery};
use crate::picture::Picture;
use crate::samples::{Rule, Sample};

/// Everything that is known at the end.
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) sessions: usize,
    pub(crate) took: Duration,
    pub(crate) counts: BTreeMap<Delivery, Count>,
    /// Some of the jobs that were lost.
    pub(crate) lost: Vec<String>,
    /// Arrivals of what nobody submitted.
    pub(crate) unknown: u64,
    /// Rows that Redis does not have as the database has them.
    pub(crate) stale: usize,
    /// Rows of the outbox that were given up.
    pub(crate) dead: u64,
    /// The counters of each database server, behind its name.
    pub(crate) status: Vec<(&'static str, Vec<(String, String)>)>,
    /// The names of the processes that were sampled.
    pub(crate) watched: Vec<&'static str>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) incidents: Vec<Incident>,
    /// How often a setting was changed.
    pub(crate) changes: u64,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        let counts = self.counts.values();
        let wrong: u64 = counts.map(|count| count.lost + count.phantom).sum();
        let is_whole = Delivery::ALL.iter().all(|delivery| {
            self.counts
                .get(delivery)
                .is_some_and(|count| count.delivered > 0)
        });
        let is_flat = |rule: &Rule| rule.apply(&self.samples).is_flat;
        is_whole
            && wrong + self.unknown + self.dead == 0
            && self.stale == 0
            && self.rules.iter().all(is_flat)
    }

    pub(crate) fn print(&self) {
        println!("\n{}, {:.1} minutes", self.version, minutes(self.took));
        self.print_jobs();
        self.print_faults();
        self.print_use();
        for (database, status) in &self.status {
            for (name, value) in status {
                println!("{database}: {name} {value}");
            }
        }
        println!("\nverdict: {}", if self.is_good() { "good" } else { "BAD" });
    }

    fn print_jobs(&self) {
        println!();
        println!(
            "| delivery  | submitted | rolled back | failed | of them arrived | delivered | duplicates | lost | phantom |"
        );
        println!(
            "|-----------|----------:|------------:|-------:|----------------:|----------:|-----------:|-----:|--------:|"
        );
        for (delivery, count) in &self.counts {
            println!(
                "| {:<9} | {:>9} | {:>11} | {:>6} | {:>15} | {:>9} | {:>10} | {:>4} | {:>7} |",
                delivery.name(),
                count.submitted,
                count.rolled_back,
                count.failed,
                count.failed_and_arrived,
                count.delivered,
                count.duplicates,
                count.lost,
                count.phantom
            );
        }
        for job in &self.lost {
            println!("lost: {job}");
        }
        println!(
            "\narrived and never submitted {}, given up by the outbox {}, rows that Redis has otherwise {}",
            self.unknown, self.dead, self.stale
        );
    }

    fn print_faults(&self) {
        println!();
        for fault in Fault::ALL {
            let of_kind = self
                .incidents
                .iter()
                .filter(|incident| incident.fault == fault);
            let lasted: Vec<Duration> = of_kind
                .map(|incident| incident.to - incident.from)
                .collect();
            println!(
                "{} {} times, {:.0} s in all",
                fault.name(),
                lasted.len(),
                lasted.iter().sum::<Duration>().as_secs_f64()
            );
        }
        println!("settings changed {} times", self.changes);
    }

    fn print_use(&self) {
        println!();
        println!(
            "| process       | what           | median, 2nd quarter | median, last quarter | may grow by |   highest |     limit | flat |"
        );
        println!(
            "|---------------|----------------|--------------------:|---------------------:|------------:|----------:|----------:|------|"
        );
        for rule in &self.rules {
            let finding = rule.apply(&self.samples);
            let limit = rule.limit.map_or("none".into(), |limit| limit.to_string());
            println!(
                "| {:<13} | {:<14} | {:>19} | {:>20} | {:>11} | {:>9} | {limit:>9} | {:<4} |",
                rule.process_name,
                rule.name,
                finding.second_quarter,
                finding.last_quarter,
                rule.growth,
                finding.highest,
                if finding.is_flat { "yes" } else { "NO" }
            );
        }
        println!();
    }

    /// Draws it into the SVG file `path`.
    pub(crate) fn draw(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let sum = |of: fn(&Count) -> u64| self.counts.values().map(of).sum::<u64>();
        let title = format!(
            "{:.0} minutes under faults: {} jobs delivered, {} lost",
            minutes(self.took),
            sum(|count| count.delivered),
            sum(|count| count.lost)
        );
        let subtitle = format!("{} sessions, {}", self.sessions, self.version);
        let picture = Picture {
            title: &title,
            subtitle: &subtitle,
            watched: &self.watched,
            samples: &self.samples,
            incidents: &self.incidents,
        };
        picture.draw(path)
    }
}

fn minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}
