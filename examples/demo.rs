//! The whole path on real servers, step by step: an UPDATE in MariaDB becomes a value in Redis.
//!
//! `scripts/demo` runs it and installs what it needs. Everything it starts listens on 127.0.0.1,
//! keeps its files in one temporary folder, and ends with it.

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::fmt;
use std::fs;
use std::panic;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anstream::println;
use anstyle::Style;
use clap::Parser;
use mysql::prelude::Queryable;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use support::{
    Database, FILE_NAME, FUNCTION, Gearmand, Language, Library, Page, Redis, RedisWorker,
    product_file, run,
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// What the demo changes, and what Redis shall say then.
const UPDATE: &str = "UPDATE test SET name='sm' WHERE id=1";
const NEW_VALUE: &str = "sm";

/// The exit status of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED_STATUS: u8 = 130;

/// Follows one UPDATE from MariaDB over gearmand and a worker into Redis.
#[derive(Parser)]
struct Options {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// How long to wait for the new value in Redis, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
}

/// Why the demo did not come to its end.
enum Stopped {
    /// By a signal.
    Interrupted,
    /// The new value did not arrive; says what the programs on the path have logged.
    NoValue(String),
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The support code reports what goes wrong by panicking, which also stops the servers.
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        eprintln!("\ndemo: {message}");
    }));
    match panic::catch_unwind(|| demo(&options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(Stopped::Interrupted)) => ExitCode::from(INTERRUPTED_STATUS),
        Ok(Err(Stopped::NoValue(problem))) => {
            eprintln!("\ndemo: {problem}");
            ExitCode::FAILURE
        }
        Err(_reported_by_the_hook) => ExitCode::FAILURE,
    }
}

fn demo(options: &Options) -> Result<(), Stopped> {
    let mut guide = Guide::new();
    let folder = tempfile::Builder::new()
        .prefix("gman-demo-")
        .tempdir()
        .unwrap_or_else(|error| panic!("cannot make a temporary folder: {error}"));
    tempfile::env::override_temp_dir(folder.path())
        .unwrap_or_else(|other| panic!("the temporary folder is {} already", other.display()));

    println!("{BOLD}One UPDATE in MariaDB, followed all the way into Redis{BOLD:#}\n");
    println!("    UPDATE -> trigger -> gearmand -> worker -> Redis");

    guide.step("Start the servers, on free ports of this machine alone")?;
    let database = Database::start();
    let gearmand = Gearmand::start_tuned();
    let redis = Redis::start();
    let worker = RedisWorker::start_with(
        Language::Rust,
        &gearmand,
        &redis,
        &["--verbose", "--publish=changes"],
    );
    let version: String = database.value("SELECT VERSION()");
    guide.say(&format!(
        "database  127.0.0.1:{}  {version}",
        database.port()
    ));
    guide.say(&format!(
        "gearmand  {}  holds the jobs until a worker takes them",
        gearmand.address()
    ));
    guide.say(&format!(
        "Redis     {}  the cache that the pages read",
        redis.address()
    ));
    guide.say(&format!(
        "worker    gman worker, waits for jobs named {FUNCTION}"
    ));
    guide.say(&format!("files     {}", folder.path().display()));

    guide.step("Put the library into the database and create its functions")?;
    database.install_functions();
    guide.shell(&format!(
        "cp {} {}/",
        from_here(Library::release().path()),
        database.plugin_dir().display()
    ));
    guide.shell("mariadb < sql/install.sql");
    guide.sql("SELECT * FROM mysql.func;");
    guide.show(&database.show("SELECT * FROM mysql.func"));

    guide.step("Tell the functions where gearmand is")?;
    let set_servers = format!("SELECT gman_servers_set('{}')", gearmand.address());
    guide.sql(&format!("{set_servers};"));
    guide.show(&database.show(&set_servers));

    guide.step("Let jobs leave when their transaction has committed, and never if it has not")?;
    deliver_at_commit(&guide, &database);

    guide.step("Create a table, and a trigger that makes a job of every changed row")?;
    let script = product_file("sql/test-native-json.sql");
    database.run_script(&script);
    guide.shell("mariadb < sql/test-native-json.sql");
    guide.show(&trigger_of(&script));
    guide.sql("SELECT * FROM test;");
    guide.show(&database.show("SELECT * FROM test"));

    guide.step("Before: a page shows the old name, and puts it into Redis")?;
    let page = Page::start(&database, &redis);
    guide.say(&format!(
        "page      {}  examples/web, by nginx and php-fpm",
        page.url()
    ));
    guide.shell(&format!("curl --silent --output /dev/null {}", page.url()));
    page.get("/");
    guide.show_redis(&redis, "get 1");

    guide.step("Change the row")?;
    guide.sql(&format!("{UPDATE};"));
    let timeout = Duration::from_millis(options.timeout_ms);
    let (updated, arrived) = change(&guide, &database, &redis, timeout);
    guide.say(&format!("The UPDATE took {}.", Millis(updated)));
    guide.say("The jobs that arrived at the worker:");
    for job in worker
        .log()
        .lines()
        .filter(|line| line.starts_with(FUNCTION))
    {
        guide.say(job);
    }

    guide.step("After: what Redis says now")?;
    guide.show_redis(&redis, "get 1");
    let Some(arrived) = arrived else {
        return Err(Stopped::NoValue(format!(
            "the new value did not arrive in Redis within {} ms\n\nthe worker's log:\n{}\nthe database's error log:\n{}",
            options.timeout_ms,
            worker.log(),
            database.error_log()
        )));
    };
    println!(
        "\n{BOLD}{} from sending the UPDATE to the new value in Redis.{BOLD:#}",
        Millis(arrived)
    );

    if options.keep {
        keep(&guide, &database, &gearmand, &redis, &page, folder.path());
    }
    Ok(())
}

/// Installs the plugins and sets `gman_delivery`, if the server is one that can deliver at commit.
fn deliver_at_commit(guide: &Guide, database: &Database) {
    let mut session = database.connect();
    for sql in [
        format!("INSTALL SONAME '{FILE_NAME}'"),
        "SET GLOBAL gman_delivery = 'committed'".to_owned(),
    ] {
        guide.sql(&format!("{sql};"));
        if let Err(refused) = session.query_drop(&sql) {
            guide.say(&format!("{refused}"));
            guide.say("This server cannot have that: the job leaves in the middle of the UPDATE.");
            return;
        }
    }
}

/// Sends the UPDATE, and answers how long it took and how long after sending it Redis had the new
/// value, which may be before the UPDATE is answered.
fn change(
    guide: &Guide,
    database: &Database,
    redis: &Redis,
    timeout: Duration,
) -> (Duration, Option<Duration>) {
    let mut session = database.connect();
    let mut cache = redis.connect();
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            ready.wait();
            let started = Instant::now();
            while started.elapsed() < timeout && !guide.interrupted() {
                let value: String = redis::Commands::get(&mut cache, "1")
                    .unwrap_or_else(|error| panic!("GET 1: {error}"));
                if value == NEW_VALUE {
                    return Some(Instant::now());
                }
            }
            None
        });
        ready.wait();
        let sent = Instant::now();
        session
            .query_drop(UPDATE)
            .unwrap_or_else(|error| panic!("{UPDATE}: {error}"));
        let updated = sent.elapsed();
        let arrived = watcher
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic));
        (updated, arrived.map(|arrived| arrived - sent))
    })
}

/// Says how to reach everything, and waits for Ctrl-C.
fn keep(
    guide: &Guide,
    database: &Database,
    gearmand: &Gearmand,
    redis: &Redis,
    page: &Page,
    folder: &Path,
) {
    println!("\n{BOLD}Everything keeps running. Ctrl-C stops it.{BOLD:#}\n");
    guide.say(&format!(
        "{BOLD}{}{BOLD:#}  the page: change a name there, and reload",
        page.url()
    ));
    guide.say("");
    guide.shell(&format!(
        "mariadb --no-defaults --user=root --socket={} test",
        database.socket().display()
    ));
    guide.shell(&format!("redis-cli -p {}", redis.port()));
    guide.shell(&format!(
        "gearadmin --host=127.0.0.1 --port={} --status",
        gearmand.port()
    ));
    guide.shell(&format!("tail -f {}/*/log", folder.display()));
    guide.say("");
    guide.say("Or change a row in the first of these, UPDATE test SET name='new' WHERE id=2;");
    guide.say("and ask for it in the second: get 2");
    while !guide.interrupted() {
        thread::sleep(Duration::from_millis(100));
    }
}

/// The lines of `script` that create the trigger, without comments.
fn trigger_of(script: &Path) -> String {
    let text =
        fs::read_to_string(script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    text.lines()
        .skip_while(|line| !line.starts_with("CREATE TRIGGER"))
        .take_while(|line| !line.starts_with("DELIMITER"))
        .filter(|line| !line.trim_start().starts_with("--"))
        .map(|line| line.trim_end_matches('$'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `path` as it is called from the project's folder, where it is in there.
fn from_here(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Milliseconds with as many digits as mean something.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1000.0)
    }
}

/// Tells the reader what happens, and notices signals between two steps.
struct Guide {
    steps: u32,
    interrupted: Arc<AtomicBool>,
}

impl Guide {
    fn new() -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The first signal stops the servers in order; a second one does not wait for that.
            let status = i32::from(INTERRUPTED_STATUS);
            let flag = || Arc::clone(&interrupted);
            signal_hook::flag::register_conditional_shutdown(signal, status, flag())
                .and_then(|_| signal_hook::flag::register(signal, flag()))
                .unwrap_or_else(|error| panic!("cannot handle signal {signal}: {error}"));
        }
        Self {
            steps: 0,
            interrupted,
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn step(&mut self, title: &str) -> Result<(), Stopped> {
        if self.interrupted() {
            return Err(Stopped::Interrupted);
        }
        self.steps += 1;
        println!("\n{BOLD}{}  {title}{BOLD:#}\n", self.steps);
        Ok(())
    }

    fn say(&self, text: &str) {
        println!("    {text}");
    }

    fn shell(&self, command: &str) {
        println!("    {DIM}${DIM:#} {command}");
    }

    fn sql(&self, statement: &str) {
        println!("    {DIM}mariadb>{DIM:#} {statement}");
    }

    fn show(&self, output: &str) {
        for line in output.lines() {
            println!("    {line}");
        }
    }

    /// Runs redis-cli, which answers text in quotes, as on a terminal.
    fn show_redis(&self, redis: &Redis, command: &str) {
        self.shell(&format!("redis-cli -p {} {command}", redis.port()));
        self.show(&run(Command::new("redis-cli")
            .args(["--no-raw", "-p", &redis.port().to_string()])
            .args(command.split(' '))));
    }
}
