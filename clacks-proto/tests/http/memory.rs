//! What requests and answers take, at the worst, is within the formula.

use bytes::BufMut;
use clacks_proto::{Dialects, Event, StateMachine, Window};

use crate::harness::{Harness, paused_config, payload, post};

#[test]
fn half_requests_and_answers_that_nobody_reads_are_within_the_bound() {
    let mut config = paused_config();
    config.max_links = 16;
    config.max_half_open = 15;
    config.max_queue_messages = 64;
    config.max_queue_bytes = 64 * 1024;
    config.max_message = 32 * 1024;
    config.max_peers = 16;
    config.max_pending_notices = 512;
    config.window = Window { messages: 32, bytes: 64 * 1024 };
    let bound = config.max_memory();
    let mut native = config.clone();
    native.dialects = Dialects::Native;
    assert!(bound > native.max_memory() + 16 * 2 * 64 * 1024, "HTTP is part of the formula");

    // One is always kept free.
    let links = config.max_links - 1;
    // The longest that is kept: a byte more is dropped.
    let body = payload(&format!("\"{}\"", "x".repeat(2 * 32 * 1024)), 8001);
    let request = post(&body);
    let answered = post(&payload("0", 8001)).repeat(32);
    let head = format!("POST / HTTP/1.1\r\nA: {}", "x".repeat(16_300));
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        let mut harness = Harness::new(config);
        // Nothing is read on any link.
        harness.transmit_limit = 0;
        for n in 0..links {
            let link = harness.accept();
            harness.send_bytes(link, &answered);
            let half = if n % 2 == 0 { &request[..request.len() - 1] } else { head.as_bytes() };
            for piece in half.chunks(1000) {
                harness.send_bytes(link, piece);
            }
        }
        assert_eq!(harness.tower.links().count(), links, "{:?}", harness.closed);
        kept = Some(harness.tower);
    });
    assert!(info.bytes_max < bound as u64, "{} of {bound}", info.bytes_max);
    assert!(info.bytes_current > 8 * 64 * 1024, "{} are held", info.bytes_current);
    assert!(kept.is_some());
}

#[test]
fn a_body_that_is_too_long_is_read_and_not_kept() {
    let mut config = paused_config();
    config.max_message = 1000;
    let mut harness = Harness::new(config);
    let link = harness.accept();
    let long = payload(&format!("\"{}\"", "x".repeat(4 << 20)), 8001);
    let request = post(&long);
    let info = allocation_counter::measure(|| {
        for piece in request.chunks(16 * 1024) {
            harness.tower.handle(Event::BytesArrived { link, bytes: piece }, harness.now);
        }
    });
    assert!(info.bytes_max < 100 * 1024, "{}", info.bytes_max);
    let mut said = Vec::new();
    while harness.tower.transmit(link, &mut (&mut said).limit(100)) > 0 {}
    assert!(said.starts_with(b"HTTP/1.1 413 "), "{}", said.escape_ascii());
}

#[test]
fn what_reading_a_request_takes_for_the_moment_is_within_the_bound() {
    let mut config = paused_config();
    config.max_links = 2;
    config.max_half_open = 1;
    config.max_queue_messages = 2;
    config.max_peers = 1;
    config.max_pending_notices = 16;
    config.window = Window { messages: 1, bytes: 1024 };
    config.max_message = 32 * 1024;
    config.max_queue_bytes = 32 * 1024;
    let mut garbage = payload(&format!("\"{}\"", "x".repeat(2 * 32 * 1024)), 8001).into_bytes();
    garbage.iter_mut().filter(|byte| **byte == b'x').for_each(|byte| *byte = 0xFF);
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", garbage.len());
    let garbage = [head.into_bytes(), garbage].concat();
    let bound = config.max_memory();
    let info = allocation_counter::measure(|| {
        let mut harness = Harness::new(config);
        let link = harness.tower.accept([127, 0, 0, 1].into(), harness.now).unwrap();
        for bytes in garbage.chunks(1000) {
            harness.tower.handle(Event::BytesArrived { link, bytes }, harness.now);
        }
    });
    assert!(info.bytes_max < bound as u64, "{} of {bound}", info.bytes_max);
}
