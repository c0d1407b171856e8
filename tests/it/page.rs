//! The page of `examples/web`, in a browser and without one: it reads Redis first and MySQL second, and
//! a change in MySQL reaches it over the trigger, gearmand and the worker.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, thread};

use mysql::prelude::Queryable;
use redis::Commands;

use crate::support::{
    Browser, Database, Gearmand, Language, Page, Redis, RedisWorker, product_file, wait_until,
};

/// The environment variable that names a file to keep a picture of the page in.
const PICTURE: &str = "GMAN_PAGE_PICTURE";

/// All that `examples/web/index.php` waits for, one after the other, and then some for a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

const PATIENCE: Duration = Duration::from_secs(30);

/// The whole system of the tutorial.
struct System {
    page: Page,
    _worker: RedisWorker,
    redis: Redis,
    _gearmand: Gearmand,
    database: Database,
}

impl System {
    fn start() -> Self {
        let (database, gearmand, redis) = (Database::start(), Gearmand::start(), Redis::start());
        database.install_functions();
        let address = gearmand.address();
        let set: String = database.value(&format!("SELECT gman_servers_set('{address}')"));
        assert_eq!(set, address);
        database.run_script(&product_file("sql/test-native-json.sql"));
        Self {
            page: Page::start(&database, &redis),
            _worker: RedisWorker::start_with(
                Language::Rust,
                &gearmand,
                &redis,
                &["--publish=changes"],
            ),
            redis,
            _gearmand: gearmand,
            database,
        }
    }

    fn browser(&self) -> Browser {
        let browser = Browser::phone(390, 950);
        browser.open(&self.page.url());
        browser
    }
}

/// The rows of the page: id, name, and where it came from.
fn rows(browser: &Browser) -> Vec<[String; 3]> {
    let cells = browser.texts("#names tbody td");
    let (rows, rest) = cells.as_chunks::<3>();
    assert!(rest.is_empty(), "{cells:?}");
    rows.to_vec()
}

/// The nine rows of the tutorial, all from one place.
fn nine_rows(from: &str) -> Vec<[String; 3]> {
    (1..=9)
        .map(|id| [id.to_string(), format!("test{id}"), from.to_owned()])
        .collect()
}

/// Reloads until the row has this name, from Redis.
fn wait_for_row(browser: &Browser, id: usize, name: &str) {
    let expected = [id.to_string(), name.to_owned(), "redis".to_owned()];
    wait_until(PATIENCE, &format!("{name} from Redis"), || {
        browser.reload();
        match &rows(browser)[id - 1] {
            row if *row == expected => Ok(()),
            row => Err(row.clone()),
        }
    });
}

#[test]
fn the_page_reads_redis_first_and_follows_a_change_in_mysql() {
    let system = System::start();
    let browser = system.browser();
    assert_eq!(rows(&browser), nine_rows("mysql"));
    assert!(browser.shows_all_of_the_width());
    browser.reload();
    assert_eq!(rows(&browser), nine_rows("redis"));
    assert_eq!(browser.texts("#mysql small"), ["not asked"]);

    browser.submit(&[("id", "3"), ("name", "sm")]);

    let changed = browser.texts("#changed").concat();
    assert!(changed.contains("Row 3 is changed in MySQL"), "{changed}");
    wait_for_row(&browser, 3, "sm");
    let name: String = system.database.value("SELECT name FROM test WHERE id = 3");
    assert_eq!(name, "sm");
    let mut others = nine_rows("redis");
    others[2][1] = "sm".into();
    assert_eq!(rows(&browser), others);

    if let Some(file) = env::var_os(PICTURE).map(PathBuf::from) {
        fs::write(&file, browser.screenshot())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn an_open_page_shows_changes_without_a_reload_over_and_over() {
    let system = System::start();
    let browser = system.browser();
    assert_eq!(rows(&browser), nine_rows("mysql"));
    let took = browser.texts("#took");
    let appears = |id: usize, name: &str, from: &str| {
        let expected = [id.to_string(), name.to_owned(), from.to_owned()];
        wait_until(
            PATIENCE,
            &format!("{name} in the open page"),
            || match &rows(&browser)[id - 1] {
                row if *row == expected => Ok(()),
                row => Err(row.clone()),
            },
        );
    };
    for (id, name) in [(4, "live"), (4, "<b>"), (9, "last")] {
        let sql = format!("UPDATE test SET name = '{name}' WHERE id = {id}");
        system.database.execute(&sql);
        appears(id, name, "redis");
    }
    system
        .database
        .execute("UPDATE test SET name = NULL WHERE id = 4");
    appears(4, "unknown", "");
    // Longer than one answer of the server lasts.
    thread::sleep(Duration::from_secs(9));
    system
        .database
        .execute("UPDATE test SET name = 'later' WHERE id = 4");
    appears(4, "later", "redis");
    assert_eq!(browser.texts("#took"), took, "it was loaded once");
}

#[test]
fn without_redis_the_page_serves_from_mysql_and_says_so() {
    let mut system = System::start();
    system.redis.stop();
    let browser = system.browser();
    let notice = || browser.texts("#notice").concat();
    assert_eq!(rows(&browser), nine_rows("mysql"));
    assert_eq!(notice(), "Redis is away. The names come from MySQL.");
    let reason = browser.texts("#redis small").concat();
    assert!(reason.starts_with("Connection refused, after"), "{reason}");

    browser.submit(&[("id", "1"), ("name", "sm")]);
    assert_eq!(rows(&browser)[0], ["1", "sm", "mysql"].map(String::from));

    system.redis.restart();
    // The worker kept the job.
    wait_for_row(&browser, 1, "sm");
    assert_eq!(notice(), "");
}

#[test]
fn without_mysql_the_page_serves_what_redis_has_and_says_so() {
    let mut system = System::start();
    let browser = system.browser();
    let () = system.redis.connect().del("9").expect("DEL 9");
    system.database.shutdown();

    browser.reload();

    let mut expected = nine_rows("redis");
    expected[8] = ["9", "unknown", ""].map(String::from);
    assert_eq!(rows(&browser), expected);
    let notice = browser.texts("#notice").concat();
    assert!(notice.starts_with("MySQL is away."), "{notice}");

    let refused = system.page.change(&system.origin(), "1", "sm");
    assert_eq!(refused.status, 503, "{}", refused.body);
    let expected = "MySQL is away. Nothing was changed.";
    assert!(refused.body.contains(expected), "{}", refused.body);
}

#[test]
fn a_name_is_text_whatever_it_holds() {
    let system = System::start();
    let browser = system.browser();
    for name in ["<script>", "\"'><b>&", "日本é", "&lt;"] {
        browser.open(&system.page.url());
        browser.submit(&[("id", "2"), ("name", name)]);
        wait_for_row(&browser, 2, name);
    }
    // From MySQL they take another way.
    let () = system.redis.connect().del("2").expect("DEL 2");
    browser.reload();
    assert_eq!(rows(&browser)[1], ["2", "&lt;", "mysql"].map(String::from));
    assert_eq!(browser.texts("#names script"), Vec::<String>::new());
}

#[test]
fn a_row_that_is_null_or_gone_is_shown_as_that() {
    let system = System::start();
    system
        .database
        .execute("UPDATE test SET name = NULL WHERE id = 1");
    system.database.execute("DELETE FROM test WHERE id = 2");
    let browser = system.browser();
    let shown = rows(&browser);
    assert_eq!(shown[0], ["1", "NULL", "mysql"].map(String::from));
    assert_eq!(shown[1], ["2", "unknown", ""].map(String::from));
    assert_eq!(system.redis.get("1"), None);
}

#[test]
fn what_the_page_caches_neither_lasts_nor_undoes_a_change() {
    let system = System::start();
    let mut redis = system.redis.connect();
    // The page's SELECT waits for this lock, after Redis had nothing for it.
    let mut other = system.database.connect();
    other
        .query_drop("LOCK TABLES test WRITE")
        .expect("the lock");
    thread::scope(|scope| {
        let loading = scope.spawn(|| system.page.get("/"));
        wait_until(PATIENCE, "the page to wait for MySQL", || {
            let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST
                           WHERE USER = 'page' AND STATE LIKE 'Waiting for %'";
            match system.database.value::<u32>(waiting) {
                0 => Err(()),
                _ => Ok(()),
            }
        });
        // As the worker does it for a change that the SELECT does not see.
        system.redis.set("1", "newer");
        other.query_drop("UNLOCK TABLES").expect("no lock");
        let page = loading.join().expect("a page");
        assert_eq!(page.status, 200);
        assert!(page.body.contains("test1"), "{}", page.body);
    });

    assert_eq!(system.redis.get("1").as_deref(), Some("newer"));
    let ttl = |redis: &mut redis::Connection, key: &str| -> i64 { redis.ttl(key).expect("TTL") };
    assert_eq!(ttl(&mut redis, "1"), -1, "what the worker sets stays");
    let filled = ttl(&mut redis, "2");
    assert!((1..=60).contains(&filled), "{filled} s");
}

#[test]
fn a_form_from_elsewhere_or_with_no_good_name_changes_nothing() {
    let system = System::start();
    let origin = system.origin();
    for (origin, id, name, status) in [
        ("http://elsewhere.example", "1", "sm", 403),
        ("null", "1", "sm", 403),
        (&*origin, "1", "", 422),
        (&*origin, "1", "nine char", 422),
        (&*origin, "1", "   ", 422),
        (&*origin, "1", "\u{a0}\u{3000}\t", 422),
        (&*origin, "1", "\u{200b}", 422),
        (&*origin, "1", "sm 😀", 422),
        (&*origin, "10", "sm", 422),
        (&*origin, "1 OR 1=1", "sm", 422),
        (&*origin, "1", "\u{FFFD}\u{FFFD}", 303),
    ] {
        let answer = system.page.change(origin, id, name);
        assert_eq!(answer.status, status, "{origin} {id} {name}");
    }
    let changed: Vec<u32> = system
        .database
        .query("SELECT id FROM test WHERE name <> CONCAT('test', id)");
    assert_eq!(changed, [1]);
    for path in ["/index.php", "/page.html.php", "/account.sql", "/serve"] {
        assert_eq!(system.page.get(path).status, 404, "{path}");
    }
}

/// A site that leads its own name to this address would be the origin of the form, and could read the page.
#[test]
fn whoever_asks_for_another_host_gets_nothing() {
    let system = System::start();
    let address = system.origin().replace("http://", "");
    for host in [
        "rebound.example",
        &address.replace("127.0.0.1", "rebound.example"),
        "",
        "127.0.0.2",
    ] {
        for request in [
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            format!("GET /changes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\nid=1&name=sm"
            ),
        ] {
            let answer = said(&address, &request);
            assert!(answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
            assert!(!answer.contains("test1"), "{answer}");
        }
    }
    let name: String = system.database.value("SELECT name FROM test WHERE id = 1");
    assert_eq!(name, "test1");
}

/// What the page answers to these bytes.
fn said(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the page listens");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Names in Redis, what the address says and what MySQL refuses for: each stands in the page as text.
#[test]
fn nothing_that_is_shown_is_markup() {
    let system = System::start();
    let markup = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>";
    system.redis.set("1", markup);
    let page = system.page.get("/?changed=%3Cscript%3E&id=%3Cscript%3E");
    assert!(
        page.body.contains("&lt;script&gt;alert(1)"),
        "{}",
        page.body
    );
    system.database.execute("DROP TRIGGER datatoredis");
    system.database.execute(&format!(
        "CREATE TRIGGER refuses BEFORE UPDATE ON test FOR EACH ROW \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{}'",
        markup.replace('\'', "''")
    ));
    let refused = system.page.change(&system.origin(), "1", "\"><b>x");
    assert!(refused.body.contains("MySQL refuses"), "{}", refused.body);
    for body in [&page.body, &refused.body] {
        let scripts = body.matches("<script").count();
        assert_eq!(scripts, 1, "{body}");
        assert!(!body.contains("<img") && !body.contains("<b>"), "{body}");
    }
}

#[test]
fn what_a_person_typed_wrongly_is_told_in_plain_words_and_kept_in_the_form() {
    let system = System::start();
    let origin = system.origin();
    assert!(system.page.get("/").body.contains("1 to 8 characters"));
    for (name, reason) in [
        ("nine char", "A name has 1 to 8 characters."),
        ("   ", "Spaces alone are no name."),
        ("sm 😀", "This table cannot hold emoji"),
    ] {
        let answer = system.page.change(&origin, "3", name);
        assert_eq!(answer.status, 422, "{name}");
        assert!(answer.body.contains(reason), "{}", answer.body);
        assert!(
            answer.body.contains("Nothing was changed."),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("MySQL says"), "{}", answer.body);
        let kept = format!("value=\"{name}\"");
        assert!(answer.body.contains(&kept), "{}", answer.body);
        assert!(
            answer.body.contains("<option selected>3<"),
            "{}",
            answer.body
        );
    }
    // A table whose column is shorter than the page knows.
    system.database.execute("DROP TRIGGER datatoredis");
    system
        .database
        .execute("SET GLOBAL sql_mode = 'STRICT_ALL_TABLES'");
    system
        .database
        .execute("ALTER TABLE test MODIFY name CHAR(5)");
    let answer = system.page.change(&origin, "3", "sixsix");
    assert_eq!(answer.status, 422, "{}", answer.body);
}

#[test]
fn no_page_hangs_on_servers_that_say_nothing() {
    // They accept, as the kernel does it for them, and never read.
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [redis, mysql] = silent
        .each_ref()
        .map(|listener| listener.local_addr().expect("a bound socket").to_string());
    let page = Page::start_with(&redis, &mysql);

    let answer = page.get("/");

    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("Redis and MySQL are away."),
        "{}",
        answer.body
    );
    assert!(answer.took < LONGEST, "{:?}", answer.took);
}

impl System {
    /// What a browser sends as the origin of the page's own form.
    fn origin(&self) -> String {
        self.page.url().trim_end_matches('/').to_owned()
    }
}
