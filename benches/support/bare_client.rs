//! A client that does nothing but submit jobs, as fast as gearmand takes them: the limit.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gearman_mysql_udf::gearman::wire::packet::{Command, HEADER_BYTES};

use crate::support::Gearmand;
use crate::trigger_table::request;

/// How many jobs it keeps in flight.
const IN_FLIGHT: usize = 100;

/// Submits `jobs` jobs; returns how long it took until the last one was acknowledged.
pub(crate) fn submit(gearmand: &Gearmand, jobs: u32) -> Duration {
    let mut stream = TcpStream::connect(gearmand.address()).expect("gearmand");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a TCP socket"));
    let requests: Vec<Vec<u8>> = (1..=jobs).map(request).collect();
    let began = Instant::now();
    let half = IN_FLIGHT / 2;
    let mut batches = requests.chunks(half).map(<[_]>::concat);
    let mut under_way = 0;
    let mut left = requests.len();
    while left > 0 {
        while under_way <= half {
            let Some(batch) = batches.next() else {
                break;
            };
            stream.write_all(&batch).expect("gearmand reads");
            under_way += half.min(left - under_way);
        }
        for _ in 0..half.min(left) {
            read_answer(&mut answers);
            under_way -= 1;
            left -= 1;
        }
    }
    began.elapsed()
}

fn read_answer(answers: &mut impl Read) {
    let mut header = [0; HEADER_BYTES];
    answers.read_exact(&mut header).expect("gearmand answers");
    let [.., kind_a, kind_b, kind_c, kind_d, a, b, c, d] = header;
    let kind = u32::from_be_bytes([kind_a, kind_b, kind_c, kind_d]);
    assert_eq!(Command::from_code(kind), Some(Command::JobCreated));
    let mut handle = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    answers.read_exact(&mut handle).expect("gearmand answers");
}
