//! The HTTP client: requests to JavaScript towers, and their responses.

use std::time::Duration;

use clacks_proto::{
    Address, CloseReason, Dialect, Event, IoCause, LinkId, Message, MessageState, Notice, SendRate,
    StateMachine, Status, WakeupReason,
};
use proptest::prelude::*;

use crate::harness::{Harness, address, fast_config, paused_config, payload, post, response};

const PEER: &str = "localhost:8001";

/// Makes `PEER` an alive peer that speaks HTTP.
fn with_alive_peer(mut harness: Harness) -> Harness {
    let link = harness.accept();
    let announce =
        r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
    harness.send_bytes(link, &[post(announce), post(announce)].concat());
    assert_eq!(harness.status(PEER), Some(Status::Alive));
    harness.handle(Event::Finished { link });
    harness.take_sent(link);
    harness
}

/// Creates a tower that has sent a message to `PEER` and has received no response. Returns the link
/// and the request too.
fn with_request_sent(text: &str) -> (Harness, LinkId, String) {
    let mut harness = with_alive_peer(Harness::new(fast_config()));
    harness.enqueue(Message::text(text));
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    let request = harness.take_sent(link);
    (harness, link, request)
}

fn delivered_count(harness: &Harness) -> usize {
    let is_delivery = |notice: &&Notice| matches!(notice, Notice::MessageDelivered { .. });
    harness.notices.iter().filter(is_delivery).count()
}

#[test]
fn a_request_has_the_same_bytes_as_one_of_a_javascript_tower() {
    let (mut harness, link, request) = with_request_sent("é\n");
    let body =
        r#"{"message":"é\n","type":"message","sender":{"hostname":"localhost","port":9001}}"#;
    let head = format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Host: localhost:8001\r\nConnection: keep-alive\r\n\r\n",
        body.len()
    );
    assert_eq!(request, format!("{head}{body}"));
    harness.send_bytes(link, &response(200));
    assert_eq!((delivered_count(&harness), harness.tower.queue_usage().messages), (1, 0));
}

#[test]
fn head_and_body_are_transmitted_by_separate_calls() {
    let mut harness = with_alive_peer(Harness::new(fast_config()));
    harness.enqueue(Message::text("m"));
    harness.run_until_dial();
    let (link, _) = harness.dialled[0].clone();
    harness.tower.handle(Event::Connected { link, at: None }, harness.now);
    let mut sizes = Vec::new();
    loop {
        let mut bytes = Vec::new();
        match harness.tower.transmit(link, &mut bytes) {
            0 => break,
            len => sizes.push((len, bytes.ends_with(b"\r\n\r\n"), bytes.ends_with(b"}"))),
        }
    }
    assert_eq!(sizes, [(117, true, false), (78, false, true)]);
}

#[test]
fn a_request_names_a_friend_other_than_the_recipient() {
    let mut harness = with_alive_peer(Harness::new(fast_config()));
    let link = harness.accept();
    for _ in 0..2 {
        harness.send_bytes(link, &post(&payload("1", 8002)));
    }
    assert_eq!(harness.status("localhost:8002"), Some(Status::Alive));
    harness.run_until_dial();
    let (link, to) = harness.connect_dial();
    let request = harness.take_sent(link);
    let friend = if to == address(PEER) { 8002 } else { 8001 };
    assert!(
        request.ends_with(&format!(r#","friend":{{"hostname":"localhost","port":{friend}}}}}"#)),
        "{request}"
    );
}

#[test]
fn only_status_200_delivers_the_message() {
    // The status code, and the status of the peer after it.
    for (status, peer_status) in [
        (201, Status::Lost),
        (204, Status::Lost),
        (302, Status::Lost),
        (400, Status::Lost),
        (403, Status::Lost),
        (404, Status::Lost),
        (408, Status::Lost),
        (413, Status::Alive),
        (500, Status::Lost),
        (503, Status::Alive),
        (599, Status::Lost),
    ] {
        let (mut harness, link, _) = with_request_sent("m");
        let mut bytes = response(status);
        if status == 204 {
            bytes = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        }
        harness.send_bytes(link, &bytes);
        assert_eq!(delivered_count(&harness), 0, "{status}");
        assert_eq!(
            (harness.texts(), harness.status(PEER)),
            (vec!["m".to_owned()], Some(peer_status)),
            "{status}"
        );
    }
}

#[test]
fn every_form_of_a_200_response_delivers_the_message() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        for chunk_size in [1, 1000] {
            let (mut harness, link, _) = with_request_sent("m");
            bytes.as_bytes().chunks(chunk_size).for_each(|chunk| harness.send_bytes(link, chunk));
            assert_eq!(
                (delivered_count(&harness), harness.tower.queue_usage().messages),
                (1, 0),
                "{bytes}"
            );
            let closes = bytes.contains("1.0") || bytes.contains("close");
            assert_eq!(harness.closed.contains_key(&link), closes);
        }
    }
    // The body is incomplete, or ends with the stream.
    for bytes in ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "HTTP/1.1 200 OK\r\n\r\nab"] {
        let ends =
            [|link| Event::Finished { link }, |link| Event::Lost { link, cause: IoCause::Reset }];
        for end in ends {
            let (mut harness, link, _) = with_request_sent("m");
            harness.send_bytes(link, bytes.as_bytes());
            assert_eq!(delivered_count(&harness), 0);
            harness.handle(end(link));
            assert_eq!(
                (delivered_count(&harness), harness.tower.queue_usage().messages),
                (1, 0),
                "{bytes}"
            );
            assert_eq!(harness.status(PEER), Some(Status::Alive));
        }
        let (mut harness, link, _) = with_request_sent("m");
        harness.send_bytes(link, bytes.as_bytes());
        harness.advance(Duration::from_secs(31));
        assert_eq!(
            (delivered_count(&harness), harness.tower.queue_usage().messages),
            (1, 0),
            "{bytes} and a timeout"
        );
    }
}

#[test]
fn a_link_is_reused_and_closed_before_the_server_closes_it() {
    let (mut harness, link, _) = with_request_sent("1");
    harness.send_bytes(link, &response(200));
    harness.advance(Duration::from_secs(3));
    harness.enqueue(Message::text("2"));
    harness.advance(Duration::from_secs(1));
    assert!(harness.take_sent(link).contains("\"message\":\"2\""));
    harness.send_bytes(link, &response(200));
    assert_eq!(delivered_count(&harness), 2);
    harness.advance(Duration::from_secs(5));
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::Idle));
    assert_eq!(harness.status(PEER), Some(Status::Alive), "an idle close is no failure");

    // A close by the server between requests is no failure either.
    harness.enqueue(Message::text("3"));
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    harness.send_bytes(link, &response(200));
    harness.handle(Event::Finished { link });
    assert_eq!(harness.status(PEER), Some(Status::Alive));
}

#[test]
fn each_link_carries_one_request_and_each_peer_gets_at_most_four_links() {
    let mut config = paused_config();
    config.send_rate = SendRate::Unlimited;
    let mut harness = with_alive_peer(Harness::new(config));
    for n in 0..10 {
        harness.enqueue(Message::text(&format!("{n}")));
    }
    assert_eq!(harness.dialled.len(), 4);
    let links: Vec<_> = (0..4).map(|_| harness.connect_dial().0).collect();
    for link in &links {
        assert_eq!(harness.take_sent(*link).matches("POST").count(), 1);
    }
    assert!(harness.dialled.is_empty(), "the tower dials no fifth link");
    // Each response is followed by the next message on the same link.
    for round in 0..6 {
        let link = links[round % 4];
        harness.send_bytes(link, &response(200));
        assert_eq!(delivered_count(&harness), round + 1);
    }
    let requests: usize =
        links.iter().map(|link| harness.take_sent(*link).matches("POST").count()).sum();
    assert_eq!((requests, harness.dialled.len()), (6, 0));
    for link in links {
        harness.send_bytes(link, &response(200));
    }
    assert_eq!((delivered_count(&harness), harness.tower.queue_usage().messages), (10, 0));
}

#[test]
fn at_max_links_each_link_carries_only_one_request() {
    let mut config = paused_config();
    config.send_rate = SendRate::Unlimited;
    config.max_links = 2;
    config.max_unproved = 1;
    let mut harness = with_alive_peer(Harness::new(config));
    for n in 0..10 {
        harness.enqueue(Message::text(&format!("{n}")));
    }
    let in_flight =
        |harness: &Harness| harness.tower.peek().filter(crate::common::is_in_flight).count();
    assert_eq!((harness.dialled.len(), in_flight(&harness)), (2, 2));
    let links: Vec<_> = (0..2).map(|_| harness.connect_dial().0).collect();
    for round in 0..10 {
        harness.send_bytes(links[round % 2], &response(200));
        assert!(in_flight(&harness) <= 2);
        harness.advance(Duration::from_millis(500));
    }
    assert_eq!((delivered_count(&harness), harness.tower.queue_usage().messages), (10, 0));
}

#[test]
fn a_message_that_javascript_would_alter_goes_to_a_peer_of_unknown_dialect() {
    let long = Message::text(&"x".repeat(16_310));
    for message in [
        long,
        Message::json("0"),
        Message::text(""),
        Message::json(&"[".repeat(600)),
        Message::json("no json"),
    ] {
        let mut config = fast_config();
        config.contact_rate = 0;
        let mut harness = with_alive_peer(Harness::new(config));
        harness.enqueue(message.clone());
        harness.enqueue(Message::text("short"));
        harness.run_until_dial();
        let (link, to) = harness.connect_dial();
        assert_eq!(to, address(PEER));
        assert!(harness.take_sent(link).contains("\"short\""), "the other message is sent");
        harness.send_bytes(link, &response(200));
        harness.advance(Duration::from_secs(30));
        assert_eq!(harness.tower.queue_usage().messages, 1, "the message waits");
        // A peer whose dialect is unknown is drawn first and gets the message.
        harness.expand("localhost:7777");
        harness.run_until_dial();
        assert_eq!(harness.dialled[0].1, address("localhost:7777"));
        let (link, _) = harness.connect_dial();
        harness.take_sent_bytes(link);
        let held = harness.tower.peek().next().unwrap();
        assert_eq!(held.message, message);
        assert!(matches!(held.state, MessageState::InFlight { .. }));
    }
}

#[test]
fn an_alive_http_peer_counts_as_having_an_open_link_and_a_new_one_gets_an_announce_first() {
    let (harness, _, request) = with_request_sent("rides on the connection");
    assert!(request.contains("rides on the connection"));
    assert_eq!(harness.tower.links().count(), 1);
    let mut harness = Harness::new(fast_config());
    harness.expand(PEER);
    harness.enqueue(Message::text("waits"));
    harness.run_until_dial();
    // The peer does not speak the native dialect, and is dialled again.
    let (link, _) = harness.connect_dial();
    harness.take_sent_bytes(link);
    harness.send_bytes(link, &response(400));
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    assert!(harness.take_sent(link).contains(r#""type":"announce""#));
    assert_eq!(harness.status(PEER), Some(Status::New));
    harness.send_bytes(link, &response(200));
    assert_eq!(harness.status(PEER), Some(Status::Alive));
    harness.advance(Duration::from_millis(100));
    assert!(harness.take_sent(link).contains("waits"));
}

#[test]
fn a_message_answered_with_500_blocks_no_other_and_is_retried_after_a_minute() {
    let mut harness = with_alive_peer(Harness::new(fast_config()));
    harness.enqueue(Message::text("rejected"));
    let mut requests = Vec::new();
    for _ in 0..3 {
        // The peer becomes alive again by its own requests, as a working one would.
        harness = with_alive_peer(harness);
        harness.enqueue(Message::text("good"));
        for _ in 0..2 {
            harness.advance(Duration::from_secs(2));
            if let Some((link, _)) = harness.dialled.front().cloned() {
                harness.connect_dial();
                requests.push((link, harness.take_sent(link)));
            }
            for (link, request) in requests.iter().rev().take(1).cloned().collect::<Vec<_>>() {
                if !harness.closed.contains_key(&link) {
                    harness.send_bytes(
                        link,
                        &response(if request.contains("rejected") { 500 } else { 200 }),
                    );
                }
            }
        }
    }
    let rejections = requests.iter().filter(|(_, request)| request.contains("rejected")).count();
    assert_eq!((rejections, harness.texts()), (1, vec!["rejected".to_owned()]), "{requests:?}");
    assert!(delivered_count(&harness) >= 1);
    // The message is sent again after a minute.
    harness.advance(Duration::from_secs(60));
    let mut harness = with_alive_peer(harness);
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    assert!(harness.take_sent(link).contains("rejected"));
}

#[test]
fn an_error_status_refuses_the_message_even_if_its_body_is_incomplete() {
    for (status, peer_status) in [(500, Status::Lost), (413, Status::Alive), (503, Status::Alive)] {
        for rest in ["\r\n\r\nwhy", "\r\nContent-Length: 9\r\n\r\nwhy"] {
            let (mut harness, link, _) = with_request_sent("m");
            harness.send_bytes(link, format!("HTTP/1.1 {status} No{rest}").as_bytes());
            harness.handle(Event::Finished { link });
            assert_eq!(
                (harness.texts(), harness.status(PEER)),
                (vec!["m".to_owned()], Some(peer_status))
            );
            let stats = harness.tower.stats();
            assert_eq!((stats.refused_by_peers, stats.doubt_unresolved), (1, 0), "{status}");
            // Only a message that was refused with 503 is soon sent to the same peer again.
            let mut harness = with_alive_peer(harness);
            harness.advance(Duration::from_secs(10));
            let dials = usize::from(status == 503);
            assert_eq!(harness.dialled.len(), dials, "{status}");
        }
    }
}

#[test]
fn a_message_answered_with_413_is_retried_after_a_minute() {
    let (mut harness, link, _) = with_request_sent("long");
    harness.send_bytes(link, &response(413));
    harness.enqueue(Message::text("longer"));
    harness.advance(Duration::from_secs(1));
    assert!(harness.take_sent(link).contains("longer"), "the peer gets other messages");
    harness.send_bytes(link, &response(200));
    harness.advance(Duration::from_secs(59));
    assert_eq!(harness.texts(), ["long"]);
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    assert!(harness.take_sent(link).contains("\"long\""));
}

#[test]
fn a_peer_that_never_answers_gets_one_message_at_a_time() {
    let (mut harness, link, _) = with_request_sent("m");
    harness.advance(Duration::from_secs(29));
    assert_eq!(
        harness.tower.peek().next().unwrap().state,
        MessageState::InFlight { to: Some(address(PEER)) }
    );
    harness.advance(Duration::from_secs(2));
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::ConfirmTimeout));
    assert_eq!((harness.texts(), harness.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
    // The next attempt sends one message on one link.
    harness.enqueue(Message::text("n"));
    harness.advance(Duration::from_secs(5));
    assert_eq!(harness.dialled.len(), 1);
    // Another peer gets the other message.
    harness.expand("localhost:8002");
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.dialled.len(), 2);
}

#[test]
fn a_slow_response_does_not_delay_the_confirm_timeout() {
    let (mut harness, link, _) = with_request_sent("m");
    for byte in response(200).iter().chain(std::iter::repeat(&b'x')).take(40) {
        harness.send_bytes(link, &[*byte]);
        harness.advance(Duration::from_secs(1));
    }
    assert!(harness.closed.contains_key(&link));
    assert_eq!((harness.texts(), harness.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
}

#[test]
fn an_invalid_response_closes_its_link() {
    let hello = [0xC1, 0, 0, 0];
    let responses: [(&[u8], bool); 6] = [
        (b"SSH-2.0-OpenSSH\r\n", false),
        (&hello, false),
        (b"HTTP/1.1 abc\r\n\r\n", false),
        (b"HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false),
        // The first of two responses to one request counts.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            true,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", true),
    ];
    for (bytes, is_delivered) in responses {
        let (mut harness, link, _) = with_request_sent("m");
        harness.send_bytes(link, bytes);
        assert_eq!(
            harness.closed.get(&link),
            Some(&CloseReason::BadHttp),
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(
            (delivered_count(&harness), harness.texts().len()),
            (usize::from(is_delivered), usize::from(!is_delivered))
        );
        assert_eq!(harness.tower.stats().links_misbehaved, 1);
        assert_eq!(harness.take_sent(link), "", "the tower sends no goodbye");
    }
}

#[test]
fn a_broken_link_returns_its_message_without_a_retry() {
    let (mut harness, link, _) = with_request_sent("m");
    harness.handle(Event::Lost { link, cause: IoCause::Reset });
    assert_eq!((harness.texts(), harness.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
    assert_eq!(harness.tower.stats().in_doubt, 0, "an HTTP peer recognises no retry");
    assert_eq!(harness.tower.peek().next().unwrap().state, MessageState::Waiting);
}

#[test]
fn a_peer_that_answers_a_hello_in_http_is_dialled_again_in_http() {
    let mut harness = Harness::new(fast_config());
    harness.with(|tower, now| tower.announce(&address(PEER), now)).unwrap();
    harness.enqueue(Message::text("m"));
    let (link, _) = harness.connect_dial();
    assert_eq!(harness.take_sent_bytes(link)[0], 0xC1, "the tower tries the native dialect first");
    harness.advance(Duration::from_secs(1));
    harness.send_bytes(link, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    assert!(harness.closed.contains_key(&link));
    let (link, _) = harness.connect_dial();
    let mut requests = String::new();
    for _ in 0..2 {
        requests += &harness.take_sent(link);
        harness.send_bytes(link, &response(200));
    }
    assert!(requests.contains("announce") && requests.contains("\"m\""), "{requests}");
    assert_eq!((harness.status(PEER), delivered_count(&harness)), (Some(Status::Alive), 1));
    let lost = |notice: &Notice| matches!(notice, Notice::StatusChanged { to: Status::Lost, .. });
    assert!(!harness.notices.iter().any(lost));
    assert_eq!(harness.tower.find(&address(PEER)).unwrap().dialect, Some(Dialect::Http));
}

#[test]
fn a_peer_that_answers_a_request_natively_is_dialled_natively_the_next_time() {
    let (mut harness, link, _) = with_request_sent("m");
    harness.send_bytes(link, &[0xC1, 0, 0, 0]);
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::BadHttp));
    harness.run_until_dial();
    let (link, _) = harness.connect_dial();
    assert_eq!(harness.take_sent_bytes(link)[0], 0xC1);
    assert_eq!(harness.texts(), ["m"]);
}

#[test]
fn ignoring_a_peer_returns_its_unconfirmed_message() {
    let (mut harness, link, _) = with_request_sent("m");
    harness.with(|tower, now| tower.ignore(&address(PEER), now)).unwrap();
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::Ignored));
    assert_eq!(harness.texts(), ["m"]);
    harness.advance(Duration::from_secs(100));
    assert!(harness.dialled.is_empty());
}

#[test]
fn a_shutdown_sends_the_queue_to_an_http_peer() {
    let mut harness = with_alive_peer(Harness::new(paused_config()));
    for n in 0..3 {
        harness.enqueue(Message::text(&format!("{n}")));
    }
    harness.with(clacks_proto::Tower::shutdown);
    let links: Vec<_> = (0..3).map(|_| harness.connect_dial().0).collect();
    for link in &links {
        harness.send_bytes(*link, &response(200));
    }
    assert_eq!(harness.notices.last(), Some(&Notice::ShutDown { left: 0 }));
    assert_eq!(harness.tower.links().count(), 0);
}

#[test]
fn the_host_header_names_the_address_of_the_peer() {
    for (peer, expected) in [("[::1]:8001", "[::1]:8001"), ("Tower.Example:443", "tower.example")] {
        let mut harness = Harness::new(fast_config());
        let link = harness.accept();
        let peer: Address = peer.parse().unwrap();
        let hostname = peer.to_string();
        let hostname = hostname.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
        let announce = format!(
            r#"{{"type":"announce","sender":{{"hostname":"{hostname}","port":{}}}}}"#,
            peer.port()
        );
        harness.send_bytes(link, &post(&announce));
        harness.enqueue(Message::text("m"));
        harness.run_until_dial();
        let (link, to) = harness.connect_dial();
        assert_eq!(to, peer);
        assert!(harness.take_sent(link).contains(&format!("\r\nHost: {expected}\r\n")));
    }
}

proptest! {
    /// No response causes a panic, and the message is delivered or queued.
    #[test]
    fn any_response_in_any_chunks_delivers_or_keeps_the_message(
        parts in proptest::collection::vec(prop_oneof![
            Just(response(200)),
            Just(response(500)),
            Just(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec()),
            Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..4),
        chunk_size in 1..50usize,
    ) {
        let (mut harness, link, _) = with_request_sent("m");
        for chunk in parts.concat().chunks(chunk_size) {
            harness.send_bytes(link, chunk);
        }
        harness.handle(Event::Lost { link, cause: IoCause::Reset });
        prop_assert_eq!(delivered_count(&harness) + harness.tower.queue_usage().messages, 1);
    }
}

/// Returns a response of a server that keeps idle connections for this many seconds.
fn response_with_keep_alive(seconds: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_short_keep_alive_timeout_does_not_spin_the_timer() {
    for seconds in [0, 1] {
        let mut config = paused_config();
        config.send_rate = SendRate::Unlimited;
        let mut harness = with_alive_peer(Harness::new(config));
        (0..9).for_each(|n| harness.enqueue(Message::text(&format!("{n}"))));
        harness.run_until_dial();
        let (link, _) = harness.connect_dial();
        harness.take_sent(link);
        // The next request is sent at once, so the link is in use when its idle timeout expires.
        harness.send_bytes(link, &response_with_keep_alive(seconds));
        assert!(harness.take_sent(link).contains("POST"));
        harness.tower.handle(Event::TimerFired, harness.now);
        harness.advance(Duration::from_secs(1));
        assert!(!harness.closed.contains_key(&link), "the link has an unanswered request");
    }
}

#[test]
fn an_announce_that_is_answered_in_http_is_sent_again_in_http() {
    let mut harness = Harness::new(paused_config());
    harness.with(|tower, now| tower.announce(&address(PEER), now)).unwrap();
    let (link, _) = harness.connect_dial();
    harness.take_sent_bytes(link);
    harness.send_bytes(link, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let (link, _) = harness.connect_dial();
    assert!(harness.take_sent(link).contains("\"announce\""));
}

#[test]
fn the_end_of_an_inbound_link_frees_no_link_to_the_peer_that_it_claims() {
    let mut config = paused_config();
    config.send_rate = SendRate::Unlimited;
    let mut harness = with_alive_peer(Harness::new(config));
    let caller = harness.accept();
    harness.send_bytes(caller, &post(&payload("\"in\"", 8001)));
    (0..9).for_each(|n| harness.enqueue(Message::text(&format!("{n}"))));
    assert_eq!(harness.dialled.len(), 4, "the peer has its maximum number of links");
    harness.handle(Event::Finished { link: caller });
    let wakeup = harness.tower.next_wakeup().unwrap();
    assert_ne!(wakeup.reason, WakeupReason::Tick, "no link to the peer is free");
}
