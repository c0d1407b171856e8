//! What the worker counts, for its log and for Prometheus.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// How old a change may be when Redis has it, in seconds: a millisecond is good, an hour is a queue.
const AGES: [f64; 16] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
    3600.0,
];

/// How many jobs go to a node of Redis in one round trip.
const BATCHES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// The counters, all from the start of the process.
pub(super) struct Statistics {
    registry: Registry,
    /// Jobs whose change Redis has.
    pub(super) written: IntCounter,
    /// Jobs that were older than what Redis has, or gets from a newer job.
    pub(super) left_out: IntCounter,
    /// Jobs that cannot be done by anybody.
    pub(super) failed: IntCounter,
    /// Jobs that a job server has been left with, to give them to another worker.
    pub(super) given_back: IntCounter,
    pub(super) in_flight: IntGauge,
    /// What those take in memory.
    pub(super) in_flight_bytes: IntGauge,
    pub(super) batches: Histogram,
    /// By the first word of an error, or `lost`.
    redis_errors: IntCounterVec,
    /// Connections that took the place of a lost one.
    pub(super) redis_reconnects: IntCounter,
    pub(super) gearmand_reconnects: IntCounter,
    /// Job servers that are connected.
    pub(super) gearmand_connections: IntGauge,
    /// By job server and Gearman function, as of the last look.
    pub(super) queue_jobs: IntGaugeVec,
    ages: Histogram,
    /// Changes that were made later than now, by their own clock.
    from_the_future: IntCounter,
    skew: Gauge,
    started: Instant,
    /// When the line was made the last time, and how many jobs were done then.
    last: Mutex<(Instant, u64)>,
}

impl Statistics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let jobs = jobs(&registry)?;
        let now = Instant::now();
        Ok(Self {
            written: jobs.with_label_values(&["written"]),
            left_out: jobs.with_label_values(&["left_out"]),
            failed: jobs.with_label_values(&["failed"]),
            given_back: jobs.with_label_values(&["given_back"]),
            in_flight: gauge(&registry, "jobs_in_flight", "Jobs that are held now")?,
            in_flight_bytes: gauge(
                &registry,
                "jobs_in_flight_bytes",
                "Bytes of the workloads of jobs that are held now",
            )?,
            batches: histogram(
                &registry,
                "redis_batch_jobs",
                "Changes that one node of Redis has confirmed in one round trip",
                &BATCHES,
            )?,
            redis_errors: redis_errors(&registry)?,
            redis_reconnects: counter(
                &registry,
                "redis_reconnects_total",
                "Connections to Redis that replaced lost ones",
            )?,
            gearmand_reconnects: counter(
                &registry,
                "gearmand_reconnects_total",
                "Connections to job servers that replaced lost ones",
            )?,
            gearmand_connections: gauge(
                &registry,
                "gearmand_connections",
                "Job servers that are connected now",
            )?,
            queue_jobs: queue_jobs(&registry)?,
            ages: histogram(
                &registry,
                "change_age_seconds",
                "Time from a change, by the clock of the database, to its confirmation by Redis, by the clock here",
                &AGES,
            )?,
            from_the_future: counter(
                &registry,
                "changes_from_the_future_total",
                "Changes that were confirmed before they were made: the two clocks differ",
            )?,
            skew: skew(&registry)?,
            registry,
            started: now,
            last: Mutex::new((now, 0)),
        })
    }

    /// Jobs whose change Redis has, or has a newer one than.
    fn done(&self) -> u64 {
        self.written.get() + self.left_out.get()
    }

    /// Redis has refused changes, or was lost.
    pub(super) fn redis_error(&self, kind: &str) {
        self.redis_errors.with_label_values(&[kind]).inc();
    }

    /// Redis has a change of this age; `Err` if it is younger than now.
    pub(super) fn age(&self, age: Result<Duration, Duration>) {
        self.ages.observe(age.unwrap_or_default().as_secs_f64());
        if let Err(ahead) = age {
            self.from_the_future.inc();
            self.skew.set(self.skew.get().max(ahead.as_secs_f64()));
        }
    }

    /// Everything, as Prometheus reads it.
    pub(super) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The line for the log: `name=value`, and behind it the next one.
    ///
    /// `per_second` is since the line before, `per_second_overall` since the start.
    pub(super) fn line(&self) -> String {
        let done = self.done();
        let running = self.started.elapsed();
        let overall = done as f64 / running.as_secs_f64();
        let lately = self.per_second_lately(done);
        [
            format!("statistics: done={done} failed={}", self.failed.get()),
            format!(
                "left_out={} in_flight={}",
                self.left_out.get(),
                self.in_flight.get()
            ),
            format!("given_back={}", self.given_back.get()),
            format!("per_second={lately:.1} per_second_overall={overall:.1}"),
            format!("redis_round_trips={}", self.batches.get_sample_count()),
            format!("redis_reconnects={}", self.redis_reconnects.get()),
            format!("gearmand_reconnects={}", self.gearmand_reconnects.get()),
            format!("seconds={:.1}", running.as_secs_f64()),
        ]
        .join(" ")
    }

    fn per_second_lately(&self, done: u64) -> f64 {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, before) = std::mem::replace(&mut *last, (now, done));
        (done - before) as f64 / (now - then).as_secs_f64()
    }
}

fn jobs(registry: &Registry) -> prometheus::Result<IntCounterVec> {
    let options = Opts::new(
        name("jobs_total"),
        "Jobs that have ended: written to Redis, left out because there was a newer version or job, failed, \
         or given back to a job server",
    );
    let jobs = IntCounterVec::new(options, &["outcome"])?;
    registry.register(Box::new(jobs.clone()))?;
    Ok(jobs)
}

fn redis_errors(registry: &Registry) -> prometheus::Result<IntCounterVec> {
    let options = Opts::new(
        name("redis_errors_total"),
        "Round trips to Redis that failed, by the error's first word, or lost",
    );
    let errors = IntCounterVec::new(options, &["error"])?;
    registry.register(Box::new(errors.clone()))?;
    Ok(errors)
}

fn queue_jobs(registry: &Registry) -> prometheus::Result<IntGaugeVec> {
    let options = Opts::new(
        name("queue_jobs"),
        "Jobs that a job server holds for the worker's functions: waiting, or with a worker",
    );
    let jobs = IntGaugeVec::new(options, &["job_server", "function"])?;
    registry.register(Box::new(jobs.clone()))?;
    Ok(jobs)
}

fn skew(registry: &Registry) -> prometheus::Result<Gauge> {
    let help = "By how much at least the clock of the database has been ahead of the one here";
    let skew = Gauge::new(name("clock_skew_seconds"), help)?;
    registry.register(Box::new(skew.clone()))?;
    Ok(skew)
}

fn counter(registry: &Registry, what: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name(what), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, what: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name(what), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(
    registry: &Registry,
    what: &str,
    help: &str,
    buckets: &[f64],
) -> prometheus::Result<Histogram> {
    let options = HistogramOpts::new(name(what), help).buckets(buckets.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn name(what: &str) -> String {
    format!("gman_worker_{what}")
}
