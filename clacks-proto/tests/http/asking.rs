//! Requests that go out.

use std::time::Duration;

use clacks_proto::{
    Address, CloseReason, Dialect, Event, IoCause, LinkId, Message, MessageState, Notice, SendRate,
    StateMachine, Status, WakeupReason,
};
use proptest::prelude::*;

use crate::host::{Host, address, answer, payload, post, quick, quiet};

const PEER: &str = "localhost:8001";

/// A tower whose peer is known to speak HTTP and to be alive.
fn acquainted(mut host: Host) -> Host {
    let link = host.call();
    let announce =
        r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
    host.bytes(link, &[post(announce), post(announce)].concat());
    assert_eq!(host.status(PEER), Some(Status::Alive));
    host.tell(Event::Finished { link });
    host.heard(link);
    host
}

/// A tower that has just asked its peer to take a message: the link and the request.
fn asked(text: &str) -> (Host, LinkId, String) {
    let mut host = acquainted(Host::new(quick()));
    host.enqueue(Message::text(text));
    host.run_to_dial();
    let (link, _) = host.pick_up();
    let request = host.heard(link);
    (host, link, request)
}

fn delivered(host: &Host) -> usize {
    let is_it = |notice: &&Notice| matches!(notice, Notice::MessageDelivered { .. });
    host.notices.iter().filter(is_it).count()
}

#[test]
fn a_request_has_the_very_bytes_of_a_javascript_tower() {
    let (mut host, link, request) = asked("é\n");
    let body =
        r#"{"message":"é\n","type":"message","sender":{"hostname":"localhost","port":9001}}"#;
    let head = format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nHost: localhost:8001\r\nConnection: keep-alive\r\n\r\n",
        body.len()
    );
    assert_eq!(request, format!("{head}{body}"));
    host.bytes(link, &answer(200));
    assert_eq!((delivered(&host), host.tower.queue_usage().messages), (1, 0));
}

#[test]
fn head_and_body_are_handed_to_the_driver_one_after_the_other() {
    let mut host = acquainted(Host::new(quick()));
    host.enqueue(Message::text("m"));
    host.run_to_dial();
    let (link, _) = host.dialled[0].clone();
    host.tower.handle(Event::Connected { link }, host.now);
    let mut sizes = Vec::new();
    loop {
        let mut bytes = Vec::new();
        match host.tower.transmit(link, &mut bytes) {
            0 => break,
            len => sizes.push((len, bytes.ends_with(b"\r\n\r\n"), bytes.ends_with(b"}"))),
        }
    }
    assert_eq!(sizes, [(117, true, false), (78, false, true)]);
}

#[test]
fn a_friend_goes_along_and_is_never_the_recipient() {
    let mut host = acquainted(Host::new(quick()));
    let link = host.call();
    for _ in 0..2 {
        host.bytes(link, &post(&payload("1", 8002)));
    }
    assert_eq!(host.status("localhost:8002"), Some(Status::Alive));
    host.run_to_dial();
    let (link, to) = host.pick_up();
    let request = host.heard(link);
    let friend = if to == address(PEER) { 8002 } else { 8001 };
    assert!(
        request.ends_with(&format!(r#","friend":{{"hostname":"localhost","port":{friend}}}}}"#)),
        "{request}"
    );
}

#[test]
fn nothing_but_200_is_success() {
    // The status, what becomes of the peer, and whether the message may soon go to it again.
    for (status, standing) in [
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
        let (mut host, link, _) = asked("m");
        let mut bytes = answer(status);
        if status == 204 {
            bytes = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        }
        host.bytes(link, &bytes);
        assert_eq!(delivered(&host), 0, "{status}");
        assert_eq!(
            (host.texts(), host.status(PEER)),
            (vec!["m".to_owned()], Some(standing)),
            "{status}"
        );
    }
}

#[test]
fn the_other_ways_to_say_200() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 Whatever\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        for pieces in [1, 1000] {
            let (mut host, link, _) = asked("m");
            bytes.as_bytes().chunks(pieces).for_each(|piece| host.bytes(link, piece));
            assert_eq!((delivered(&host), host.tower.queue_usage().messages), (1, 0), "{bytes}");
            let closes = bytes.contains("1.0") || bytes.contains("close");
            assert_eq!(host.closed.contains_key(&link), closes);
        }
    }
    // The end of its body does not come, or is the end of the link.
    for bytes in ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "HTTP/1.1 200 OK\r\n\r\nab"] {
        let ends =
            [|link| Event::Finished { link }, |link| Event::Lost { link, cause: IoCause::Reset }];
        for end in ends {
            let (mut host, link, _) = asked("m");
            host.bytes(link, bytes.as_bytes());
            assert_eq!(delivered(&host), 0);
            host.tell(end(link));
            assert_eq!((delivered(&host), host.tower.queue_usage().messages), (1, 0), "{bytes}");
            assert_eq!(host.status(PEER), Some(Status::Alive));
        }
        let (mut host, link, _) = asked("m");
        host.bytes(link, bytes.as_bytes());
        host.run(Duration::from_secs(31));
        assert_eq!(
            (delivered(&host), host.tower.queue_usage().messages),
            (1, 0),
            "{bytes} and silence"
        );
    }
}

#[test]
fn a_link_is_used_again_and_closed_before_node_closes_it() {
    let (mut host, link, _) = asked("1");
    host.bytes(link, &answer(200));
    host.run(Duration::from_secs(3));
    host.enqueue(Message::text("2"));
    host.run(Duration::from_secs(1));
    assert!(host.heard(link).contains("\"message\":\"2\""));
    host.bytes(link, &answer(200));
    assert_eq!(delivered(&host), 2);
    host.run(Duration::from_secs(5));
    assert_eq!(host.closed.get(&link), Some(&CloseReason::Idle));
    assert_eq!(host.status(PEER), Some(Status::Alive), "that is no failure");

    // Closed by the other side while nothing is on it: no failure either.
    host.enqueue(Message::text("3"));
    host.run_to_dial();
    let (link, _) = host.pick_up();
    host.bytes(link, &answer(200));
    host.tell(Event::Finished { link });
    assert_eq!(host.status(PEER), Some(Status::Alive));
}

#[test]
fn one_message_a_link_and_a_few_links_a_peer() {
    let mut config = quiet();
    config.send_rate = SendRate::Unlimited;
    let mut host = acquainted(Host::new(config));
    for n in 0..10 {
        host.enqueue(Message::text(&format!("{n}")));
    }
    assert_eq!(host.dialled.len(), 4);
    let links: Vec<_> = (0..4).map(|_| host.pick_up().0).collect();
    for link in &links {
        assert_eq!(host.heard(*link).matches("POST").count(), 1);
    }
    assert!(host.dialled.is_empty(), "no fifth");
    // Each answer brings the next message, on the same link.
    for round in 0..6 {
        let link = links[round % 4];
        host.bytes(link, &answer(200));
        assert_eq!(delivered(&host), round + 1);
    }
    let asked: usize = links.iter().map(|link| host.heard(*link).matches("POST").count()).sum();
    assert_eq!((asked, host.dialled.len()), (6, 0));
    for link in links {
        host.bytes(link, &answer(200));
    }
    assert_eq!((delivered(&host), host.tower.queue_usage().messages), (10, 0));
}

#[test]
fn messages_do_not_pile_up_on_a_link_when_there_is_room_for_no_other() {
    let mut config = quiet();
    config.send_rate = SendRate::Unlimited;
    config.max_links = 2;
    config.max_half_open = 1;
    let mut host = acquainted(Host::new(config));
    for n in 0..10 {
        host.enqueue(Message::text(&format!("{n}")));
    }
    let in_flight = |host: &Host| host.tower.peek().filter(crate::common::is_in_flight).count();
    assert_eq!((host.dialled.len(), in_flight(&host)), (2, 2));
    let links: Vec<_> = (0..2).map(|_| host.pick_up().0).collect();
    for round in 0..10 {
        host.bytes(links[round % 2], &answer(200));
        assert!(in_flight(&host) <= 2);
        host.run(Duration::from_millis(500));
    }
    assert_eq!((delivered(&host), host.tower.queue_usage().messages), (10, 0));
}

#[test]
fn what_javascript_would_garble_goes_to_somebody_else() {
    let long = Message::text(&"x".repeat(16_310));
    for message in [
        long,
        Message::json("0"),
        Message::text(""),
        Message::json(&"[".repeat(600)),
        Message::json("no json"),
    ] {
        let mut host = acquainted(Host::new(quick()));
        host.enqueue(message.clone());
        host.enqueue(Message::text("short"));
        host.run_to_dial();
        let (link, to) = host.pick_up();
        assert_eq!(to, address(PEER));
        assert!(host.heard(link).contains("\"short\""), "it does not stand in the way");
        host.bytes(link, &answer(200));
        host.run(Duration::from_secs(30));
        assert_eq!(host.tower.queue_usage().messages, 1, "it waits");
        // A peer of which nothing is known comes first, and gets it.
        host.expand("localhost:7777");
        host.run_to_dial();
        assert_eq!(host.dialled[0].1, address("localhost:7777"));
        let (link, _) = host.pick_up();
        host.heard_bytes(link);
        let waits = host.tower.peek().next().unwrap();
        assert_eq!(waits.message, message);
        assert!(matches!(waits.state, MessageState::InFlight { .. }));
    }
}

#[test]
fn a_message_that_a_peer_does_not_understand_rests_and_others_go_on() {
    let mut host = acquainted(Host::new(quick()));
    host.enqueue(Message::text("poison"));
    let mut asked = Vec::new();
    for _ in 0..3 {
        // Alive again by its own requests, as a working peer would be.
        host = acquainted(host);
        host.enqueue(Message::text("good"));
        for _ in 0..2 {
            host.run(Duration::from_secs(2));
            if let Some((link, _)) = host.dialled.front().cloned() {
                host.pick_up();
                asked.push((link, host.heard(link)));
            }
            for (link, request) in asked.iter().rev().take(1).cloned().collect::<Vec<_>>() {
                if !host.closed.contains_key(&link) {
                    host.bytes(link, &answer(if request.contains("poison") { 500 } else { 200 }));
                }
            }
        }
    }
    let poisoned = asked.iter().filter(|(_, request)| request.contains("poison")).count();
    assert_eq!((poisoned, host.texts()), (1, vec!["poison".to_owned()]), "{asked:?}");
    assert!(delivered(&host) >= 1);
    // After a minute it is tried again.
    host.run(Duration::from_secs(60));
    let mut host = acquainted(host);
    host.run_to_dial();
    let (link, _) = host.pick_up();
    assert!(host.heard(link).contains("poison"));
}

#[test]
fn a_refusal_counts_whatever_becomes_of_its_body() {
    for (status, standing) in [(500, Status::Lost), (413, Status::Alive), (503, Status::Alive)] {
        for rest in ["\r\n\r\nwhy", "\r\nContent-Length: 9\r\n\r\nwhy"] {
            let (mut host, link, _) = asked("m");
            host.bytes(link, format!("HTTP/1.1 {status} No{rest}").as_bytes());
            host.tell(Event::Finished { link });
            assert_eq!((host.texts(), host.status(PEER)), (vec!["m".to_owned()], Some(standing)));
            let stats = host.tower.stats();
            assert_eq!((stats.refused_by_peers, stats.doubt_unresolved), (1, 0), "{status}");
            // The message rests where it was refused for good; where there was no room it is soon
            // tried again.
            let mut host = acquainted(host);
            host.run(Duration::from_secs(10));
            let again = usize::from(status == 503);
            assert_eq!(host.dialled.len(), again, "{status}");
        }
    }
}

#[test]
fn what_was_too_long_for_a_peer_once_is_not_so_for_ever() {
    let (mut host, link, _) = asked("long");
    host.bytes(link, &answer(413));
    host.enqueue(Message::text("longer"));
    host.run(Duration::from_secs(1));
    assert!(host.heard(link).contains("longer"), "another message may suit it");
    host.bytes(link, &answer(200));
    host.run(Duration::from_secs(59));
    assert_eq!(host.texts(), ["long"]);
    host.run_to_dial();
    let (link, _) = host.pick_up();
    assert!(host.heard(link).contains("\"long\""));
}

#[test]
fn a_peer_that_never_answers_costs_one_message_at_a_time_for_a_while() {
    let (mut host, link, _) = asked("m");
    host.run(Duration::from_secs(29));
    assert_eq!(
        host.tower.peek().next().unwrap().state,
        MessageState::InFlight { to: Some(address(PEER)) }
    );
    host.run(Duration::from_secs(2));
    assert_eq!(host.closed.get(&link), Some(&CloseReason::ConfirmTimeout));
    assert_eq!((host.texts(), host.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
    // The next try is one message on one link.
    host.enqueue(Message::text("n"));
    host.run(Duration::from_secs(5));
    assert_eq!(host.dialled.len(), 1);
    // Another peer gets the rest.
    host.expand("localhost:8002");
    host.run(Duration::from_secs(1));
    assert_eq!(host.dialled.len(), 2);
}

#[test]
fn a_peer_that_answers_byte_by_byte_for_ever_is_given_up() {
    let (mut host, link, _) = asked("m");
    for byte in answer(200).iter().chain(std::iter::repeat(&b'x')).take(40) {
        host.bytes(link, &[*byte]);
        host.run(Duration::from_secs(1));
    }
    assert!(host.closed.contains_key(&link));
    assert_eq!((host.texts(), host.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
}

#[test]
fn garbage_and_lies_cost_only_their_link() {
    let hello = [0xC1, 0, 0, 0];
    let lies: [(&[u8], bool); 6] = [
        (b"SSH-2.0-OpenSSH\r\n", false),
        (&hello, false),
        (b"HTTP/1.1 abc\r\n\r\n", false),
        (b"HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false),
        // Two answers to one request: the first one counts.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", true),
    ];
    for (bytes, is_taken) in lies {
        let (mut host, link, _) = asked("m");
        host.bytes(link, bytes);
        assert_eq!(host.closed.get(&link), Some(&CloseReason::BadHttp), "{}", bytes.escape_ascii());
        assert_eq!(
            (delivered(&host), host.texts().len()),
            (usize::from(is_taken), usize::from(!is_taken))
        );
        assert_eq!(host.tower.stats().links_misbehaved, 1);
        assert_eq!(host.heard(link), "", "nothing native is said");
    }
}

#[test]
fn a_broken_link_returns_its_message_and_does_not_ask_the_peer_again() {
    let (mut host, link, _) = asked("m");
    host.tell(Event::Lost { link, cause: IoCause::Reset });
    assert_eq!((host.texts(), host.status(PEER)), (vec!["m".to_owned()], Some(Status::Lost)));
    assert_eq!(host.tower.stats().in_doubt, 0, "it would not recognise it");
    assert_eq!(host.tower.peek().next().unwrap().state, MessageState::Waiting);
}

#[test]
fn in_clear_text_a_hello_that_is_answered_in_http_is_followed_by_a_request() {
    let mut host = Host::new(quick());
    host.with(|tower, now| tower.announce(&address(PEER), now)).unwrap();
    host.enqueue(Message::text("m"));
    let (link, _) = host.pick_up();
    assert_eq!(host.heard_bytes(link)[0], 0xC1, "the native dialect comes first");
    host.run(Duration::from_secs(1));
    host.bytes(link, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    assert!(host.closed.contains_key(&link));
    let (link, _) = host.pick_up();
    let mut requests = String::new();
    for _ in 0..2 {
        requests += &host.heard(link);
        host.bytes(link, &answer(200));
    }
    assert!(requests.contains("announce") && requests.contains("\"m\""), "{requests}");
    assert_eq!((host.status(PEER), delivered(&host)), (Some(Status::Alive), 1));
    let lost = |notice: &Notice| matches!(notice, Notice::StatusChanged { to: Status::Lost, .. });
    assert!(!host.notices.iter().any(lost));
    assert_eq!(host.tower.find(&address(PEER)).unwrap().dialect, Some(Dialect::Http));
}

#[test]
fn in_clear_text_a_peer_that_turns_native_is_called_so_the_next_time() {
    let (mut host, link, _) = asked("m");
    host.bytes(link, &[0xC1, 0, 0, 0]);
    assert_eq!(host.closed.get(&link), Some(&CloseReason::BadHttp));
    host.run_to_dial();
    let (link, _) = host.pick_up();
    assert_eq!(host.heard_bytes(link)[0], 0xC1);
    assert_eq!(host.texts(), ["m"]);
}

#[test]
fn ignoring_a_peer_takes_back_what_it_has_not_confirmed() {
    let (mut host, link, _) = asked("m");
    host.with(|tower, now| tower.ignore(&address(PEER), now)).unwrap();
    assert_eq!(host.closed.get(&link), Some(&CloseReason::Ignored));
    assert_eq!(host.texts(), ["m"]);
    host.run(Duration::from_secs(100));
    assert!(host.dialled.is_empty());
}

#[test]
fn a_tower_that_leaves_hands_its_queue_to_peers_that_speak_http() {
    let mut host = acquainted(Host::new(quiet()));
    for n in 0..3 {
        host.enqueue(Message::text(&format!("{n}")));
    }
    host.with(clacks_proto::Tower::shutdown);
    let links: Vec<_> = (0..3).map(|_| host.pick_up().0).collect();
    for link in &links {
        host.bytes(*link, &answer(200));
    }
    assert_eq!(host.notices.last(), Some(&Notice::ShutDown { left: 0 }));
    assert_eq!(host.tower.links().count(), 0);
}

#[test]
fn addresses_of_every_kind_are_dialled_by_the_right_name() {
    for (peer, host_line) in [("[::1]:8001", "[::1]:8001"), ("Tower.Example:443", "tower.example")]
    {
        let mut host = Host::new(quick());
        let link = host.call();
        let peer: Address = peer.parse().unwrap();
        let hostname = peer.to_string();
        let hostname = hostname.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
        let announce = format!(
            r#"{{"type":"announce","sender":{{"hostname":"{hostname}","port":{}}}}}"#,
            peer.port()
        );
        host.bytes(link, &post(&announce));
        host.enqueue(Message::text("m"));
        host.run_to_dial();
        let (link, to) = host.pick_up();
        assert_eq!(to, peer);
        assert!(host.heard(link).contains(&format!("\r\nHost: {host_line}\r\n")));
    }
}

proptest! {
    /// Whatever the peer answers: no panic, and the message is delivered or here.
    #[test]
    fn any_answer_in_any_pieces(
        parts in proptest::collection::vec(prop_oneof![
            Just(answer(200)),
            Just(answer(500)),
            Just(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec()),
            Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..4),
        pieces in 1..50usize,
    ) {
        let (mut host, link, _) = asked("m");
        for piece in parts.concat().chunks(pieces) {
            host.bytes(link, piece);
        }
        host.tell(Event::Lost { link, cause: IoCause::Reset });
        prop_assert_eq!(delivered(&host) + host.tower.queue_usage().messages, 1);
    }
}

/// A response of a server that keeps idle connections for this many seconds.
fn kept_for(seconds: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_server_that_keeps_connections_for_no_time_does_not_keep_the_timer_busy() {
    for seconds in [0, 1] {
        let mut config = quiet();
        config.send_rate = SendRate::Unlimited;
        let mut host = acquainted(Host::new(config));
        (0..9).for_each(|n| host.enqueue(Message::text(&format!("{n}"))));
        host.run_to_dial();
        let (link, _) = host.pick_up();
        host.heard(link);
        // The next request is sent at once, so the link is in use when it should be idle.
        host.bytes(link, &kept_for(seconds));
        assert!(host.heard(link).contains("POST"));
        host.tower.handle(Event::TimerFired, host.now);
        host.run(Duration::from_secs(1));
        assert!(!host.closed.contains_key(&link), "a request is unanswered");
    }
}

#[test]
fn an_announce_that_is_answered_in_http_is_repeated_in_http_at_once() {
    let mut host = Host::new(quiet());
    host.with(|tower, now| tower.announce(&address(PEER), now)).unwrap();
    let (link, _) = host.pick_up();
    host.heard_bytes(link);
    host.bytes(link, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let (link, _) = host.pick_up();
    assert!(host.heard(link).contains("\"announce\""));
}

#[test]
fn a_caller_that_leaves_does_not_make_room_at_the_peer_that_it_claims_to_be() {
    let mut config = quiet();
    config.send_rate = SendRate::Unlimited;
    let mut host = acquainted(Host::new(config));
    let caller = host.call();
    host.bytes(caller, &post(&payload("\"in\"", 8001)));
    (0..9).for_each(|n| host.enqueue(Message::text(&format!("{n}"))));
    assert_eq!(host.dialled.len(), 4, "all links that the peer may have");
    host.tell(Event::Finished { link: caller });
    let wakeup = host.tower.next_wakeup().unwrap();
    assert_ne!(wakeup.reason, WakeupReason::Tick, "the peer is full");
}
