//! `gman_check`: how the job servers are, and what waits there.

use udf::prelude::*;

use crate::error::Error;
use crate::functions::callers;
use crate::functions::client::{CLIENT, limits};
use crate::functions::job_args;
use crate::gearman::servers::check::Report;
use crate::gearman::wire::protocol::Queue;
use crate::host::function::{Function, PerRow, entry_points};
use crate::host::killed::Statement;
use crate::json::{Value, Writer};

/// Why there is no more to see.
const SEEN_BY_ADMINISTRATORS: &str =
    "an account with the privilege SUPER, or SYSTEM_VARIABLES_ADMIN on MySQL, sees more";

/// How long a report may be, as far as the server is told.
const REPORT_BYTES: usize = 64 * 1024;

/// From here on `gman_check` warns of a queue, in jobs: gearmand's own default for the size of its tables
/// makes one of this depth take in a third of the jobs a second that an empty one does.
const DEEP_QUEUE: u64 = 100_000;

const DEEP_QUEUE_HINT: &str = "a queue is deep: start more workers, and gearmand with \
    --hashtable-buckets=1000003, or it takes in fewer jobs a second the deeper the queue is";

/// `gman_check()`: JSON, an array with an object for each job server of every list.
#[derive(Default)]
struct Check {
    report: Vec<u8>,
}

entry_points!(Check: PerRow, "gman_check");

impl Function for Check {
    const NAME: &'static str = "gman_check";
    type Output<'a> = &'a [u8];

    fn init(cfg: &UdfCfg<Init>, args: &ArgList<Init>) -> Result<Self, Error> {
        if !args.is_empty() {
            return Err(Error::Input("Must give no arguments.".to_owned()));
        }
        job_args::describe_result(cfg, REPORT_BYTES);
        Ok(Self::default())
    }
}

impl PerRow for Check {
    fn row(&mut self, _args: &ArgList<Process>) -> Result<Option<&[u8]>, Error> {
        let mut report = Writer::default();
        report.begin("[");
        if !callers::may_see_servers() {
            report.element(Value::Json(&describe_for_anybody()?));
            report.end("]")?.clone_into(&mut self.report);
            return Ok(Some(self.report.as_slice()));
        }
        let statement = Statement::with_client();
        let servers = CLIENT.check(&limits(), &|| statement.is_unwanted())?;
        if servers.is_empty() {
            report.element(Value::Json(&describe_none()?));
        }
        for server in servers {
            report.element(Value::Json(&describe(&server)?));
        }
        report.end("]")?.clone_into(&mut self.report);
        Ok(Some(self.report.as_slice()))
    }
}

fn describe(server: &Report) -> Result<String, Error> {
    let mut object = Writer::default();
    object.begin("{");
    object.named_member("server", Value::String(&server.server));
    object.named_member("lists", Value::Json(&lists(&server.lists)?));
    match &server.outcome {
        Ok(answer) => {
            let ms = answer.round_trip.as_micros() as f64 / 1000.0;
            object.named_member("state", Value::String("up"));
            object.named_member("round_trip_ms", Value::Double(ms));
            object.named_member("version", Value::String(&answer.version));
            object.named_member("queues", Value::Json(&queues(&answer.queues)?));
            if answer.queues.iter().any(|queue| queue.jobs >= DEEP_QUEUE) {
                object.named_member("hint", Value::String(DEEP_QUEUE_HINT));
            }
        }
        Err(error) => {
            object.named_member("state", Value::String("down"));
            object.named_member("error", Value::String(&error.to_string()));
            if let Some(hint) = error.hint() {
                object.named_member("hint", Value::String(hint));
            }
            let ms = i64::try_from(server.resting.as_millis()).unwrap_or(i64::MAX);
            object.named_member("not_tried_for_ms", Value::Integer(ms));
        }
    }
    Ok(String::from_utf8_lossy(object.end("}")?).into_owned())
}

/// What is said in the place of a server if there is none.
fn describe_none() -> Result<String, Error> {
    let mut object = Writer::default();
    object.begin("{");
    object.named_member("server", Value::Null);
    object.named_member("lists", Value::Json("[]"));
    object.named_member("state", Value::String("unset"));
    object.named_member("error", Value::String(&Error::NoServers.to_string()));
    if let Some(hint) = Error::NoServers.hint() {
        object.named_member("hint", Value::String(hint));
    }
    Ok(String::from_utf8_lossy(object.end("}")?).into_owned())
}

/// What an account may know that could not set the servers: whether there are any.
fn describe_for_anybody() -> Result<String, Error> {
    let mut object = Writer::default();
    object.begin("{");
    let state = if CLIENT.has_servers() { "set" } else { "unset" };
    object.named_member("state", Value::String(state));
    object.named_member("hint", Value::String(SEEN_BY_ADMINISTRATORS));
    Ok(String::from_utf8_lossy(object.end("}")?).into_owned())
}

/// What waits at a job server.
fn queues(queues: &[Queue]) -> Result<String, Error> {
    let mut array = Writer::default();
    array.begin("[");
    for queue in queues {
        let mut object = Writer::default();
        object.begin("{");
        object.named_member("function", Value::String(&queue.function));
        object.named_member("jobs", Value::Unsigned(queue.jobs));
        object.named_member("running", Value::Unsigned(queue.running));
        object.named_member("workers", Value::Unsigned(queue.workers));
        array.element(Value::Json(&String::from_utf8_lossy(object.end("}")?)));
    }
    Ok(String::from_utf8_lossy(array.end("]")?).into_owned())
}

/// The names of lists; the default one has none.
fn lists(names: &[Option<Vec<u8>>]) -> Result<String, Error> {
    let mut array = Writer::default();
    array.begin("[");
    for name in names {
        match name {
            None => array.element(Value::Null),
            Some(name) => array.element(Value::String(&String::from_utf8_lossy(name))),
        }
    }
    Ok(String::from_utf8_lossy(array.end("]")?).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::gearman::servers::check::ServerInfo;

    fn described(jobs: u64) -> String {
        let queue = Queue {
            function: "f".to_owned(),
            jobs,
            running: 0,
            workers: 1,
        };
        describe(&Report {
            server: Arc::from("h:4730"),
            lists: vec![None],
            outcome: Ok(ServerInfo {
                round_trip: Duration::from_millis(1),
                version: "1.1.20".to_owned(),
                queues: vec![queue],
            }),
            resting: Duration::ZERO,
        })
        .unwrap()
    }

    #[test]
    fn a_deep_queue_comes_with_its_remedy() {
        let deep = described(DEEP_QUEUE);
        assert!(deep.contains(r#""jobs":100000,"#), "{deep}");
        assert!(deep.contains("--hashtable-buckets=1000003"), "{deep}");
        let shallow = described(DEEP_QUEUE - 1);
        assert!(!shallow.contains("hint"), "{shallow}");
    }
}
