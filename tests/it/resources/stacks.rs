//! A thread of the server with the smallest stack, of which triggers and procedures have used up nearly all.

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::deliveries;
use crate::support::{
    Answer, Certificates, Database, FILE_NAME, Gearmand, Gman, RecordingWorker, Stunnel,
    unsupported,
};

/// The smallest that servers take.
const SMALLEST: &str = "--thread-stack=131072";

/// What a server says that has too little stack for a statement itself.
const STACK_OVERRUN: u16 = 1436;

/// How deep procedures call each other at most.
const DEEPEST: u32 = 60;

/// What can stand in itself, how deep at most, and by how much deeper from one time to the next: each takes
/// less than a kilobyte or two of the stack.
const NESTED: [(&str, u32, usize); 2] = [("CONCAT(", 2000, 3), ("(SELECT ", 60, 1)];

/// Runs `call` in a procedure that is called by itself `depth` times, as an argument of `nested` in itself;
/// returns whether the server had the stack for it.
fn has_stack(session: &mut Conn, call: &str, depth: u32, (nested, fine): (&str, u32)) -> bool {
    let (open, close) = (nested.repeat(fine as usize), ")".repeat(fine as usize));
    let statement = format!("SELECT {open}{call}{close} INTO @answer").replace('\'', "''");
    match session.query_drop(format!("CALL deep({depth}, '{statement}')")) {
        Ok(()) => true,
        Err(Error::MySqlError(error)) if error.code == STACK_OVERRUN => false,
        Err(error) => panic!("{call}, {depth} deep, {nested} {fine} times: {error}"),
    }
}

/// Runs `call` with less and less stack, until the server itself has too little; `before` prepares each time.
fn call_with_little_stack(gman: &mut Gman, call: &str, before: impl Fn(&mut Gman)) {
    let mut times = 0;
    for depth in 0..DEEPEST {
        for (nested, most, step) in NESTED {
            for fine in (0..most).step_by(step) {
                before(gman);
                if !has_stack(&mut gman.session, call, depth, (nested, fine)) {
                    break;
                }
                times += 1;
            }
        }
        if !has_stack(&mut gman.session, call, depth + 1, ("", 0)) {
            println!("{call:.50}: {times} times, {depth} deep");
            return;
        }
    }
    panic!("{call}: the stack is not used up");
}

/// A server with little stack, and a procedure that uses it up.
fn little_stack() -> Gman {
    let mut gman = Gman::with_switches_on(Database::builder().option(SMALLEST));
    gman.set("gman_on_failure", "error");
    gman.execute(
        "CREATE PROCEDURE deep(depth INT, statement TEXT) BEGIN \
           IF depth > 0 THEN CALL deep(depth - 1, statement); \
           ELSE SET @statement = statement; PREPARE one FROM @statement; EXECUTE one; END IF; \
         END",
    );
    gman.execute("SET max_sp_recursion_depth = 255");
    gman
}

#[test]
fn a_stack_that_is_nearly_used_up_ends_a_statement_and_not_the_server() {
    let gearmand = Gearmand::start();
    let _worker =
        RecordingWorker::answering(gearmand.port(), &["f"], |_| Answer::Complete(b"7".to_vec()));
    let mut gman = little_stack();
    gman.set_servers(&gearmand.address());
    for delivery in deliveries(&mut gman) {
        gman.set("gman_delivery", delivery);
        call_with_little_stack(&mut gman, "gman_do_background('f', 'w')", |_| {});
    }
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for call in [
        "gman_do('f', 'w')",
        "gman_sum('f', 1)",
        "gman_relay(1, 'f', 'w', NULL, 'worker')",
        "gman_check()",
        "gman_flush()",
        "json_object_udf(1.5e300 AS a, 'text' AS b)",
        &format!("json_array_udf('{nested}' AS json_a)"),
        "json_object_udf(json_members('a', 1))",
    ] {
        call_with_little_stack(&mut gman, call, |_| {});
    }
    gman.call("gman_do('f', 'w')").text();
}

#[test]
fn a_handshake_on_a_stack_that_is_nearly_used_up_ends_a_statement_and_not_the_server() {
    let gearmand = Gearmand::start();
    let certificates = Certificates::new();
    let stunnel = Stunnel::start(&certificates, gearmand.port());
    let mut gman = little_stack();
    let install = format!("INSTALL PLUGIN gman SONAME '{FILE_NAME}'");
    if gman.session.query_drop(install).is_err() {
        unsupported!("the server cannot have the plugin gman");
    }
    let ca = certificates.path("ca.pem");
    gman.execute(&format!("SET GLOBAL gman_tls_ca = '{ca}'"));
    gman.execute("SET GLOBAL gman_connect_timeout_ms = 10000, GLOBAL gman_timeout_ms = 10000");
    // A list that is set anew has no connection.
    let anew = |gman: &mut Gman| {
        gman.set_servers("127.0.0.1:1");
        gman.set_servers(&stunnel.address());
    };
    call_with_little_stack(&mut gman, "gman_do_background('f', 'w')", anew);
    anew(&mut gman);
    gman.call("gman_do_background('f', 'w')").text();
}
