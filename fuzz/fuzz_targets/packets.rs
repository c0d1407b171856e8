//! What a job server may send: any bytes. A packet that is read writes back as the same bytes, and
//! nothing depends on how the bytes were cut into pieces.

#![no_main]

use gearman_mysql_udf::gearman::wire::packet::{Decoded, HEADER_BYTES, Magic, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    for magic in [Magic::Request, Magic::Response] {
        read_all(magic, stream);
        // The fuzzer should not have to find the first bytes of a header itself.
        let begun = [magic.bytes().as_slice(), &[0, 0, 0], stream].concat();
        read_all(magic, &begun);
    }
});

/// Reads one packet after another, as long as there are any.
fn read_all(magic: Magic, mut stream: &[u8]) {
    loop {
        match decode(magic, stream) {
            Ok(Decoded::Packet(packet)) => {
                let (bytes, rest) = stream.split_at(packet.bytes());
                let arguments: Vec<&[u8]> = packet.arguments().collect();
                if packet.command.arguments() > 0 {
                    assert_eq!(arguments.len(), packet.command.arguments());
                }
                let mut written = Vec::new();
                encode(&mut written, magic, packet.command, &arguments);
                assert_eq!(written, bytes);
                assert_is_read_from_its_last_byte_on(magic, bytes);
                stream = rest;
            }
            Ok(Decoded::Incomplete { needed }) => {
                assert!(needed > stream.len());
                assert!(
                    needed <= HEADER_BYTES + (1 << 30) + (1 << 20),
                    "{needed} bytes"
                );
                return;
            }
            Err(problem) => {
                assert!(problem.to_string().starts_with("expected "));
                // It does not become better by waiting.
                let more = [stream, &[0; 16]].concat();
                assert_eq!(decode(magic, &more), Err(problem));
                return;
            }
        }
    }
}

fn assert_is_read_from_its_last_byte_on(magic: Magic, bytes: &[u8]) {
    for end in [0, 1, 3, 4, 11, 12, bytes.len() - 1] {
        if end < bytes.len() {
            let cut = decode(magic, &bytes[..end]);
            assert!(matches!(cut, Ok(Decoded::Incomplete { needed }) if needed <= bytes.len()));
        }
    }
}
