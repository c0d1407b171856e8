//! A reader of the binary log that writes each changed row to Redis, as fast as we know how: a process of its
//! own in the benchmark.
//!
//! It decodes the rows by hand, knowing the table; it waits for no answer of Redis; and it keeps no position,
//! so it could not go on after a crash, which a product has to.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;

use mysql::binlog::EventType;
use mysql::binlog::events::{Event, TableMapEvent, UpdateRowsEvent, UpdateRowsEventV1};
use mysql::prelude::Queryable;
use mysql::{BinlogRequest, Conn, Row};

use super::Place;

/// As what it registers with the server; no other replica is there.
const SERVER_ID: u32 = 4711;

/// Runs until the server goes away.
pub(crate) fn run(place: &Place) {
    let mut session = place.connect();
    let (file, position) = end_of_log(&mut session);
    let request = BinlogRequest::new(SERVER_ID)
        .with_filename(file.into_bytes())
        .with_pos(position);
    let events = session.get_binlog_stream(request).expect("a binary log");
    let mut redis = connect(&place.redis);
    let mut table = None;
    let mut commands = Vec::new();
    for event in events {
        let event = event.expect("an event");
        match event.header().event_type() {
            Ok(EventType::TABLE_MAP_EVENT) => table = table_id(&event).or(table),
            Ok(EventType::UPDATE_ROWS_EVENT) => {
                let rows: UpdateRowsEvent<'_> = event.read_event().expect("changed rows");
                if Some(rows.table_id()) == table {
                    put_commands(rows.rows_data(), &mut commands);
                }
            }
            Ok(EventType::UPDATE_ROWS_EVENT_V1) => {
                let rows: UpdateRowsEventV1<'_> = event.read_event().expect("changed rows");
                if Some(rows.table_id()) == table {
                    put_commands(rows.rows_data(), &mut commands);
                }
            }
            _ => {}
        }
        if !commands.is_empty() {
            redis.write_all(&commands).expect("Redis reads");
            commands.clear();
        }
    }
}

/// Where the log ends now.
fn end_of_log(session: &mut Conn) -> (String, u64) {
    let row: Row = ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"]
        .iter()
        .find_map(|statement| session.query_first(statement).ok().flatten())
        .expect("a server with a binary log");
    let file = row.get(0).expect("the name of a file");
    let position = row.get(1).expect("a position");
    (file, position)
}

/// A connection whose answers are read and forgotten by a thread.
fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("Redis");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut answers = stream.try_clone().expect("a TCP socket");
    thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
    stream
}

/// The number that the coming events have for our table, if this is about it.
fn table_id(event: &Event) -> Option<u64> {
    let table: TableMapEvent<'_> = event.read_event().expect("a table");
    (table.table_name_raw() == b"t").then(|| table.table_id())
}

/// Of each row there is the old image and the new one, and each is
/// `null bits, id (4 bytes), length of the name (1 byte), name`.
fn put_commands(mut rows: &[u8], commands: &mut Vec<u8>) {
    while !rows.is_empty() {
        let (_, _, rest) = image(rows);
        let (id, name, rest) = image(rest);
        put_set(id, name, commands);
        rows = rest;
    }
}

/// The id and the name of the first image, and what is behind it.
fn image(images: &[u8]) -> (i32, &[u8], &[u8]) {
    let [_null_bits, a, b, c, d, length, rest @ ..] = images else {
        panic!("a row ends early: {images:?}");
    };
    let (name, rest) = rest.split_at((*length).into());
    (i32::from_le_bytes([*a, *b, *c, *d]), name, rest)
}

/// `SET id name`, in Redis's own protocol.
fn put_set(id: i32, name: &[u8], commands: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let id = digits.format(id).as_bytes();
    commands.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
    for word in [id, name] {
        let mut digits = itoa::Buffer::new();
        commands.push(b'$');
        commands.extend_from_slice(digits.format(word.len()).as_bytes());
        commands.extend_from_slice(b"\r\n");
        commands.extend_from_slice(word);
        commands.extend_from_slice(b"\r\n");
    }
}
