//! What the relay counts, for its log and for Prometheus.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::service::Watched;

/// The counters, all from the start of the process.
pub(super) struct Statistics {
    registry: Registry,
    /// Rows that were confirmed and deleted.
    pub(super) relayed: IntCounter,
    /// Rows that were set aside.
    pub(super) dead: IntCounter,
    /// How often the lease was taken.
    pub(super) terms: IntCounter,
    /// Whether it is held: 1 or 0.
    pub(super) leads: IntGauge,
    /// What stands in the way; empty if nothing does.
    trouble: Mutex<String>,
    started: Instant,
}

impl Statistics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let rows = IntCounterVec::new(
            Opts::new(
                "gman_relay_rows_total",
                "Rows that have left the outbox: confirmed, or set aside",
            ),
            &["outcome"],
        )?;
        let terms = IntCounter::new(
            "gman_relay_terms_total",
            "How often this process has become the one that relays",
        )?;
        let leads = IntGauge::new(
            "gman_relay_leads",
            "Whether this process relays now: 1 or 0",
        )?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(terms.clone()))?;
        registry.register(Box::new(leads.clone()))?;
        Ok(Self {
            relayed: rows.with_label_values(&["confirmed"]),
            dead: rows.with_label_values(&["dead"]),
            terms,
            leads,
            registry,
            trouble: Mutex::default(),
            started: Instant::now(),
        })
    }

    /// Something stands in the way; nothing, if the text is empty.
    pub(super) fn trouble(&self, text: &str) {
        text.clone_into(&mut self.lock());
    }

    /// The line for the log.
    pub(super) fn line(&self) -> String {
        let relayed = self.relayed.get();
        let seconds = self.started.elapsed().as_secs_f64();
        format!(
            "statistics: relayed={relayed} dead={} terms={} leads={} per_second={:.1} seconds={seconds:.1}",
            self.dead.get(),
            self.terms.get(),
            self.leads.get(),
            relayed as f64 / seconds
        )
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched for Arc<Statistics> {
    fn numbers(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn problems(&self) -> String {
        match self.lock().as_str() {
            "" => String::new(),
            trouble => format!("{trouble}\n"),
        }
    }
}
