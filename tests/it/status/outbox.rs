//! `gman status` and the outbox: who relays it, and what is wrong.

use mysql::prelude::Queryable;

use crate::support::{Gearmand, Gman, Redis, RelayProcess, product_file, wait_until};

use super::{PATIENCE, problems, status};

#[test]
fn an_outbox_that_nobody_relays_is_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.execute("DROP FUNCTION gman_do_background");
    gman.database.run_script(&product_file("sql/outbox.sql"));
    gman.execute("SET GLOBAL event_scheduler = OFF");
    gman.execute(
        "INSERT INTO gman_outbox (`function`, workload, created) VALUES ('f', 'w', NOW() - INTERVAL 1 HOUR)",
    );
    let (found, status) = problems(&gman, &gearmand, &redis);
    assert_eq!(status, Some(1));
    // If the event has run before that, it says why nobody takes the job.
    let is_said = |text: &String| {
        text == "nobody relays the outbox of test, in which 1 jobs wait: event_scheduler is off"
            || text.starts_with("the outbox of test fails since ")
    };
    assert!(found.iter().any(is_said), "{found:?}");
}

#[test]
fn an_outbox_says_who_relays_it_and_whose_word_it_waits_for() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.set_servers(&gearmand.address());
    gman.database
        .run_script(&product_file("sql/outbox-plain.sql"));
    let nobody = |found: &[String]| {
        let text = "nobody relays the outbox of test, in which 0 jobs wait: no relay has the lease";
        found.iter().any(|found| found == text)
    };
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert!(nobody(&found) && exit == Some(0), "{found:?}");

    let _relay = RelayProcess::between(&gman.database, &gearmand);
    gman.execute("UPDATE gman_outbox_state SET confirm = 'worker'");
    let ran = status(&gman, &gearmand, &redis, &[]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for text in [
        "all is well\n",
        "outbox      test: 0 jobs, the oldest 0.0 s, 0 set aside; confirmed by the worker\n",
        "            relayed by gman relay ",
    ] {
        assert!(ran.printed.contains(text), "{text}: {}", ran.printed);
    }

    gman.execute("INSERT INTO gman_outbox_dead (id, `function`, workload, error) VALUES (1, 'f', 'w', 'why')");
    let (found, _) = problems(&gman, &gearmand, &redis);
    assert_eq!(found, ["1 jobs of the outbox of test were set aside"]);

    let mut other = gman.database.connect();
    other
        .query_drop("LOCK TABLES gman_outbox WRITE")
        .expect("a lock");
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    let unread = "the outbox of test cannot be read: ";
    let is_said = |found: &[String], why: &str| {
        let expected = format!("{unread}{why}");
        found.iter().any(|text| text.starts_with(&expected))
    };
    assert!(is_said(&found, "Lock wait timeout exceeded"), "{found:?}");
    drop(other);
    gman.execute("ALTER TABLE gman_outbox DROP COLUMN created");
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    let why = "View 'test.gman_outbox_status' references invalid";
    assert!(is_said(&found, why), "{found:?}");
}

/// The view says so too, if its own definer is another account.
#[test]
fn an_event_whose_definer_was_dropped_is_said() {
    let (gearmand, redis) = (Gearmand::start(), Redis::start());
    let mut gman = Gman::start();
    gman.execute("DROP FUNCTION gman_do_background");
    gman.database.run_script(&product_file("sql/outbox.sql"));
    for sql in [
        "SET GLOBAL event_scheduler = ON",
        "CREATE USER relay@localhost",
        "GRANT ALL ON test.* TO relay@localhost",
        "ALTER DEFINER = relay@localhost EVENT gman_outbox_relay ENABLE",
        "INSERT INTO gman_outbox (`function`, workload) VALUES ('f', 'w')",
    ] {
        gman.execute(sql);
    }
    let problem = "SELECT COALESCE(problem, '') FROM gman_outbox_status";
    wait_until(PATIENCE, "the event to relay", || {
        let owner: String = gman.database.value("SELECT owner FROM gman_outbox_state");
        if owner.is_empty() { Err(owner) } else { Ok(()) }
    });
    gman.execute("DROP USER relay@localhost");
    wait_until(PATIENCE, "the view to say that nobody relays", || {
        let problem: String = gman.database.value(problem);
        match problem.starts_with("nobody relays since ") {
            true => Ok(()),
            false => Err(problem),
        }
    });
    let (found, exit) = problems(&gman, &gearmand, &redis);
    assert_eq!(exit, Some(1));
    let expected = "nobody relays the outbox of test, in which 1 jobs wait: its event runs as relay@localhost, which is no account";
    assert!(found.iter().any(|text| text == expected), "{found:?}");
}
