//! The memory of requests and responses is within `Config::max_memory`.

use bytes::BufMut;
use clacks_proto::{Dialects, Event, StateMachine, Window};

use crate::harness::{Harness, paused_config, payload, post};

#[test]
fn incomplete_requests_and_unread_responses_are_within_max_memory() {
    let mut config = paused_config();
    config.max_links = 16;
    config.max_unproved = 15;
    config.max_queue_messages = 64;
    config.max_queue_bytes = 64 * 1024;
    config.max_message = 32 * 1024;
    config.max_peers = 16;
    config.max_pending_notices = 512;
    config.window = Window { messages: 32, bytes: 64 * 1024 };
    let bound = config.max_memory();
    let mut native = config.clone();
    native.dialects = Dialects::Native;
    assert!(bound > native.max_memory() + 16 * 2 * 64 * 1024, "the bound includes HTTP");

    // One link is always kept free.
    let links = config.max_links - 1;
    // The longest body that the tower keeps.
    let body = payload(&format!("\"{}\"", "x".repeat(2 * 32 * 1024)), 8001);
    let request = post(&body);
    let answered = post(&payload("0", 8001)).repeat(32);
    let head = format!("POST / HTTP/1.1\r\nA: {}", "x".repeat(16_300));
    let mut tower = None;
    let info = allocation_counter::measure(|| {
        let mut harness = Harness::new(config);
        // The driver transmits nothing on any link.
        harness.transmit_limit = 0;
        for n in 0..links {
            let link = harness.accept();
            harness.send_bytes(link, &answered);
            let incomplete =
                if n % 2 == 0 { &request[..request.len() - 1] } else { head.as_bytes() };
            for chunk in incomplete.chunks(1000) {
                harness.send_bytes(link, chunk);
            }
        }
        assert_eq!(harness.tower.links().count(), links, "{:?}", harness.closed);
        tower = Some(harness.tower);
    });
    assert!(info.bytes_max < bound as u64, "{} of {bound} bytes", info.bytes_max);
    assert!(info.bytes_current > 8 * 64 * 1024, "only {} bytes are held", info.bytes_current);
    assert!(tower.is_some());
}

#[test]
fn a_body_that_is_too_long_is_discarded_while_it_arrives() {
    let mut config = paused_config();
    config.max_message = 1000;
    let mut harness = Harness::new(config);
    let link = harness.accept();
    let long = payload(&format!("\"{}\"", "x".repeat(4 << 20)), 8001);
    let request = post(&long);
    let info = allocation_counter::measure(|| {
        for chunk in request.chunks(16 * 1024) {
            harness.tower.handle(Event::BytesArrived { link, bytes: chunk }, harness.now);
        }
    });
    assert!(info.bytes_max < 100 * 1024, "{}", info.bytes_max);
    let mut sent = Vec::new();
    while harness.tower.transmit(link, &mut (&mut sent).limit(100)) > 0 {}
    assert!(sent.starts_with(b"HTTP/1.1 413 "), "{}", sent.escape_ascii());
}

#[test]
fn the_peak_memory_of_decoding_a_request_is_within_max_memory() {
    let mut config = paused_config();
    config.max_links = 2;
    config.max_unproved = 1;
    config.max_queue_messages = 2;
    config.max_peers = 1;
    config.max_pending_notices = 16;
    config.window = Window { messages: 1, bytes: 1024 };
    config.max_message = 32 * 1024;
    config.max_queue_bytes = 32 * 1024;
    let mut request = payload(&format!("\"{}\"", "x".repeat(2 * 32 * 1024)), 8001).into_bytes();
    request.iter_mut().filter(|byte| **byte == b'x').for_each(|byte| *byte = 0xFF);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        request.len()
    );
    let request = [head.into_bytes(), request].concat();
    let bound = config.max_memory();
    let info = allocation_counter::measure(|| {
        let mut harness = Harness::new(config);
        let link = harness.tower.accept([127, 0, 0, 1].into(), harness.now).unwrap();
        for bytes in request.chunks(1000) {
            harness.tower.handle(Event::BytesArrived { link, bytes }, harness.now);
        }
    });
    assert!(info.bytes_max < bound as u64, "{} of {bound} bytes", info.bytes_max);
}
