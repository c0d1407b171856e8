//! The session of `docs/session.md`: a load, planted faults, what `gman verify` says of them, and the repair. The page
//! has what the programs print. `scripts/session` records it anew.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Gearmand, Gman, Language, Ran, Redis, RedisWorker, ran, run_gman, scale};

/// Where a new recording goes.
const RECORDING: &str = "GMAN_SESSION_RECORDING";

const BEGIN: &str = "```console\n";
const END: &str = "```\n";

/// A terminal with everything that the session needs behind it.
struct Terminal {
    gman: Gman,
    redis: Redis,
    screen: String,
    _gearmand: Gearmand,
    _worker: RedisWorker,
}

impl Terminal {
    /// The table `shop.orders`, without triggers.
    fn open(rows: u32) -> Self {
        let (gearmand, redis) = (Gearmand::start(), Redis::start());
        let worker = RedisWorker::start_with(Language::Rust, &gearmand, &redis, &[]);
        let mut gman = Gman::start();
        gman.set_servers(&gearmand.address());
        gman.execute("CREATE DATABASE shop");
        gman.execute(
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, name VARCHAR(40), price DECIMAL(8,2)) ENGINE=InnoDB",
        );
        let row = |id: u32| format!("({id}, 'item {id}', {}.50)", id % 1000);
        for first in (1..=rows).step_by(1000) {
            let values: Vec<String> = (first..=rows.min(first + 999)).map(row).collect();
            gman.execute(&format!(
                "INSERT INTO shop.orders VALUES {}",
                values.join(",")
            ));
        }
        Self {
            gman,
            redis,
            screen: String::new(),
            _gearmand: gearmand,
            _worker: worker,
        }
    }

    /// Runs `gman` as if its environment named the servers.
    fn gman(&mut self, arguments: &str) {
        let words: Vec<&str> = arguments.split(' ').collect();
        let redis = format!("--redis={}", self.redis.address());
        let named: &[&str] = if words[0] == "verify" { &[&redis] } else { &[] };
        let ran = run_gman(&self.gman.database, &[&words, named].concat());
        self.show(&format!("gman {arguments}"), &ran);
    }

    fn redis(&mut self, arguments: &str) {
        let port = self.redis.port().to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(arguments.split(' '))
            .output();
        let ran = ran(output.expect("redis-cli starts"));
        self.show(&format!("redis-cli {arguments}"), &ran);
    }

    fn sql(&mut self, statement: &str) {
        self.gman.execute("USE shop");
        self.gman.execute(statement);
        self.screen
            .push_str(&format!("$ mariadb shop -e '{statement}'\n"));
    }

    fn show(&mut self, command: &str, ran: &Ran) {
        self.screen
            .push_str(&format!("$ {command}\n{}{}", ran.printed, ran.said));
        if ran.status != Some(0) {
            let status = ran
                .status
                .map_or("none".to_owned(), |status| status.to_string());
            self.screen.push_str(&format!("$ echo $?\n{status}\n"));
        }
    }
}

/// A session as it was, but for the numbers of rows and seconds, which each run has its own of.
fn comparable(session: &str) -> String {
    let line = |line: &str| match line.split_once(" a second") {
        Some((measured, rest)) => {
            let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
            let words = measured.split(' ');
            let words: Vec<&str> = words
                .map(|word| {
                    if word.chars().all(is_number) {
                        "N"
                    } else {
                        word
                    }
                })
                .collect();
            format!("{} a second{rest}\n", words.join(" "))
        }
        None => format!("{line}\n"),
    };
    session.lines().map(line).collect()
}

#[test]
fn the_page_has_what_the_programs_print() {
    let mut terminal = Terminal::open(scale("GMAN_SESSION_ROWS", 2_000));
    terminal.gman("triggers shop.orders --create");
    terminal.gman("load shop.orders");
    terminal.gman("verify shop.orders");
    terminal.redis("DEL shop.orders:7");
    terminal.redis("HSET shop.orders:8 price 2.40");
    terminal.redis("HSET shop.orders:99999999 id 99999999");
    terminal.gman("verify shop.orders");
    terminal.gman("verify shop.orders --repair --yes");
    terminal.redis("HGET shop.orders:8 price");
    terminal.gman("verify shop.orders");
    terminal.sql("ALTER TABLE orders ADD COLUMN note TEXT");
    terminal.gman("triggers --check");

    let page_file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/session.md");
    let page = fs::read_to_string(&page_file).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("a session");
    let (session, after) = rest.split_once(END).expect("its end");
    if env::var_os(RECORDING).is_some() {
        let page = format!("{before}{BEGIN}{}{END}{after}", terminal.screen);
        fs::write(&page_file, page).expect("room");
        return;
    }
    assert_eq!(comparable(session), comparable(&terminal.screen));
}
