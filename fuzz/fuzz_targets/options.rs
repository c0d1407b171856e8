//! Values of settings and options, any text: of the library's variables and of gman's command line. What
//! is taken reads back the same, and no message shows a password.

#![no_main]

use gearman_mysql_udf::fuzzing::check_allowed_functions;
use gearman_mysql_udf::gearman::servers::host_port::{self, HostPort};
use gearman_mysql_udf::gearman::wire::tls::files;
use gman::fuzzing;
use libfuzzer_sys::fuzz_target;

const PASSWORD: &str = "Pa55w0rdOfNobody";

fuzz_target!(|input: &[u8]| {
    let Some((kind, value)) = input.split_first() else {
        return;
    };
    let _ = check_allowed_functions(value);
    let Ok(text) = str::from_utf8(value) else {
        return;
    };
    match kind % 8 {
        0 => job_servers(text),
        1 => url(text, fuzzing::redis),
        2 => url(text, |url| fuzzing::mysql(url).map(|server| vec![server])),
        3 => table(text),
        4 => columns(text),
        5 => drop(fuzzing::option_file(text)),
        6 => drop(files::check_server_name(text)),
        _ => command_line(text),
    }
});

fn job_servers(list: &str) {
    if let Ok(servers) = host_port::parse(list) {
        let shown: Vec<String> = servers.iter().map(HostPort::to_string).collect();
        assert_eq!(host_port::parse(&shown.join(",")).ok(), Some(servers));
    }
}

/// Reads a URL as it is, and with a password at the first `@` or the end of it.
fn url(text: &str, read: impl Fn(&str) -> Result<Vec<String>, String>) {
    let _ = read(text);
    let (before, after) = text.split_once('@').unwrap_or((text, ""));
    let shown = match read(&format!("{before}:{PASSWORD}@{after}")) {
        Ok(shown) => shown.concat(),
        Err(problem) => problem,
    };
    // Where the host stands, or the path of a socket, nobody looks for a password.
    let is_one = after.starts_with(|c: char| c.is_ascii_alphanumeric())
        && before.contains("://")
        && !before.contains(['/', '?', '#', '\\', '@']);
    assert!(!is_one || !shown.contains(PASSWORD), "{text}: {shown}");
}

fn table(name: &str) {
    if let Ok(quoted) = fuzzing::table(name) {
        assert_eq!(fuzzing::table(&quoted).as_ref(), Ok(&quoted));
    }
}

fn columns(list: &str) {
    if let Some(quoted) = fuzzing::columns(list) {
        assert_eq!(fuzzing::columns(&quoted).as_ref(), Some(&quoted));
    }
}

fn command_line(text: &str) {
    let words: Vec<&str> = text.split('\n').collect();
    if let Err(problem) = fuzzing::command_line(&words) {
        assert!(!problem.is_empty());
    }
}
