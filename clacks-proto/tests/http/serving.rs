//! Requests that come in.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::{
    Address, CloseReason, DefaultVerdict, Event, Message, Notice, Screening, StateMachine, Status,
    Verdict,
};
use proptest::prelude::*;

use crate::host::{Host, address, payload, post, post_with, quiet};

/// What a tower answers to bytes on a fresh link, and whether it then closes the link.
fn answers(host: &mut Host, bytes: &[u8], pieces: usize) -> (Vec<u16>, bool) {
    let link = host.call();
    bytes.chunks(pieces).for_each(|piece| host.bytes(link, piece));
    let (statuses, says_close) = host.statuses(link);
    let closed = host.closed.contains_key(&link);
    assert_eq!(closed, says_close, "it does as it says");
    (statuses, closed)
}

/// A request with this sender, and a friend or what else there is.
fn from(sender: &str, rest: &str) -> String {
    format!(r#"{{"message":"m","type":"message","sender":{sender}{rest}}}"#)
}

const JS: &str = r#"{"hostname":"localhost","port":8001}"#;

/// Each case: what comes in, what a JavaScript tower answers, what this one answers, and the
/// messages that it holds then.
#[test]
fn payloads_and_the_answers_of_both_kinds_of_towers() {
    let message = |value: &str| payload(value, 8001);
    let long = format!("\"{}\"", "x".repeat(70_000));
    let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
    let held_deep = [deep.as_str()];
    let announce =
        r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
    let seed = r#"{"message":"s2","hostname":"localhost","port":9001,"type":"message","sender":{"hostname":"localhost","port":8001},"friend":{"identifier":"7625","hostname":"localhost","port":8002,"status":"alive","time":1795382790973}}"#;
    let cases: Vec<(String, u16, u16, &[&str])> = vec![
        (message("\"hello\""), 200, 200, &["hello"]),
        (announce.into(), 200, 200, &[]),
        (announce.replace("null", "\"ignored\""), 200, 200, &[]),
        (seed.into(), 200, 200, &["s2"]),
        (message(r#"{"a":[1.0,2]}"#), 200, 200, &[r#"{"a":[1.0,2]}"#]),
        (message("[]"), 200, 200, &["[]"]),
        (message("12345678901234567890"), 200, 200, &["12345678901234567890"]),
        (message("true"), 200, 200, &["true"]),
        (message(r#"{"clacks:base64":"YWI="}"#), 200, 200, &["ab"]),
        // A JavaScript tower drops these.
        (message("0"), 200, 200, &["0"]),
        (message("false"), 200, 200, &["false"]),
        (message("\"\""), 200, 200, &[""]),
        // Both drop these: they are no message.
        (message("null"), 200, 200, &[]),
        (format!(r#"{{"type":"message","sender":{JS}}}"#), 200, 200, &[]),
        // It drops these too, where this one says no.
        (from(JS, "").replace("\"type\":\"message\"", "\"type\":\"Message\""), 200, 400, &[]),
        (from(JS, "").replace("\"type\":\"message\",", ""), 200, 400, &[]),
        (format!(r#"{{"type":"unknown","sender":{JS}}}"#), 200, 400, &[]),
        (message("\"é € 😀\""), 200, 200, &["é € 😀"]),
        (message(r#""\u00e9\u0000""#), 200, 200, &["é\0"]),
        (message(r#""x\ud800y""#), 200, 200, &[r#""x\ud800y""#]),
        (format!(" \r\n\t{} \n", message("\"m\"")), 200, 200, &["m"]),
        (format!(r#"{{"sender":{JS},"type":"message","message":"m"}}"#), 200, 200, &["m"]),
        (String::new(), 500, 400, &[]),
        ("hello".into(), 500, 400, &[]),
        (format!("\u{feff}{}", message("1")), 500, 400, &[]),
        (format!("{}{}", message("1"), message("2")), 500, 400, &[]),
        ("null".into(), 500, 400, &[]),
        ("[]".into(), 500, 400, &[]),
        ("\"x\"".into(), 500, 400, &[]),
        ("{}".into(), 500, 400, &[]),
        (from("null", ""), 500, 400, &[]),
        (r#"{"message":"m","type":"message"}"#.into(), 500, 400, &[]),
        // Senders and friends at which nobody can be reached.
        (from("{}", ""), 200, 200, &["m"]),
        (from("\"str\"", ""), 200, 200, &["m"]),
        (from(r#"{"hostname":"localhost"}"#, ""), 200, 200, &["m"]),
        (from(r#"{"hostname":"localhost","port":70000}"#, ""), 200, 200, &["m"]),
        (from(r#"{"hostname":"localhost","port":9001}"#, ""), 200, 200, &["m"]),
        (
            from(JS, r#","friend":{"hostname":{"toString":1,"valueOf":1},"port":1}"#),
            500,
            200,
            &["m"],
        ),
        (from(JS, r#","friend":null"#), 200, 200, &["m"]),
        (from(JS, r#","friend":{"hostname":"localhost","port":"9001"}"#), 200, 200, &["m"]),
        (message(&deep), 200, 200, &held_deep),
        // Longer than this tower takes.
        (message(&long), 200, 413, &[]),
    ];
    for (body, _theirs, ours, held) in cases {
        for pieces in [1 << 20, 1, 7] {
            let mut host = Host::new(quiet());
            let request = post(&body);
            let found = answers(&mut host, &request, pieces);
            assert_eq!(found, (vec![ours], false), "{body:.200} by {pieces}");
            assert_eq!(host.texts(), held, "{body:.200}");
        }
    }
}

#[test]
fn requests_and_the_answers_of_both_kinds_of_towers() {
    let body = payload("\"m\"", 8001);
    let len = body.len();
    let request = |head: &str| format!("{head}\r\n\r\n{body}");
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (one, two) = body.split_at(40);
    // What comes in, their answers, ours, whether they close, whether we do, and how many messages
    // we hold then.
    type Case = (String, &'static [u16], &'static [u16], bool, bool, usize);
    let cases: Vec<Case> = vec![
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".into(), &[500], &[400], false, false, 0),
        (
            request(&format!("POST /x?y HTTP/1.1\r\nhost: x\r\ncontent-length: {len}")),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!(
                "POST http://a/ HTTP/1.1\r\nHost: b\r\nContent-Type: text/plain\r\nContent-Length: {len}"
            )),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        // Any method is the same to a JavaScript tower as a server. As a client it only uses POST.
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), &[500], &[405], false, true, 0),
        (
            request(&format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}")),
            &[200],
            &[405],
            false,
            true,
            0,
        ),
        (
            request(&format!("POST / HTTP/1.1\r\nContent-Length: {len}")),
            &[400],
            &[400],
            true,
            true,
            0,
        ),
        (
            request(&format!("POST / HTTP/1.0\r\nContent-Length: {len}")),
            &[200],
            &[200],
            true,
            true,
            1,
        ),
        (
            request(&format!("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {len}")),
            &[200],
            &[200],
            true,
            true,
            1,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}"
            )),
            &[200],
            &[200],
            true,
            true,
            1,
        ),
        (
            request(&format!("POST / HTTP/1.1\nHost: x\nContent-Length: {len}"))
                .replace("\r\n\r\n", "\n\n"),
            &[400],
            &[400],
            true,
            true,
            0,
        ),
        (
            request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1"),
            &[400],
            &[400],
            true,
            true,
            0,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\nContent-Length: {len}"
            )),
            &[400],
            &[400],
            true,
            true,
            0,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\nTransfer-Encoding: chunked"
            )),
            &[400],
            &[400],
            true,
            true,
            0,
        ),
        (
            request(&format!("BREW / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}")),
            &[400],
            &[405],
            true,
            true,
            0,
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[400], &[405], true, true, 0),
        ("\u{1}\u{2}\u{3} no words\r\n\r\n".into(), &[400], &[405], true, true, 0),
        // An empty body is not a payload, and what follows is not a request.
        (request("POST / HTTP/1.1\r\nHost: x"), &[400], &[400, 405], true, true, 0),
        // Theirs is right only where one chunk came in.
        (format!("{chunked}{len:x}\r\n{body}\r\n0\r\n\r\n"), &[200], &[200], false, false, 1),
        (
            format!(
                "{chunked}{:x}\r\n{one}\r\n{:X};a=b\r\n{two}\r\n0\r\nA: b\r\n\r\n",
                one.len(),
                two.len()
            ),
            &[500],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len}"
            )),
            &[100, 200],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: {len}"
            )),
            &[417],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: clacks/1\r\nConnection: upgrade\r\nContent-Length: {len}"
            )),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".into(), &[], &[405], true, true, 0),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nA: {}\r\nContent-Length: {len}",
                "x".repeat(15_000)
            )),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nA: {}\r\nContent-Length: {len}",
                "x".repeat(17_000)
            )),
            &[431],
            &[431],
            true,
            true,
            0,
        ),
    ];
    for (bytes, _theirs, ours, _they_close, we_close, held) in cases {
        let mut host = Host::new(quiet());
        let found = answers(&mut host, bytes.as_bytes(), usize::MAX);
        assert_eq!(found, (ours.to_vec(), we_close), "{bytes:.200}");
        assert_eq!(host.texts().len(), held, "{bytes:.200}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let bytes = [post(&payload("1", 8001)), post("hello"), post(&payload("2", 8001))].concat();
    let mut host = Host::new(quiet());
    assert_eq!(answers(&mut host, &bytes, usize::MAX), (vec![200, 400, 200], false));
    assert_eq!(host.texts(), ["1", "2"]);
}

#[test]
fn whoever_never_reads_an_answer_is_cut_off() {
    let mut host = Host::new(quiet());
    host.room = 0;
    let link = host.call();
    for _ in 0..40 {
        host.bytes(link, &post(&payload("1", 8001)));
    }
    assert_eq!(host.closed.get(&link), Some(&CloseReason::BadHttp));
    let granted = usize::from(quiet().window.messages);
    assert_eq!(host.texts().len(), granted, "what was taken is kept");
}

#[test]
fn whoever_asks_for_more_at_a_time_than_is_granted_is_told_so() {
    let mut host = Host::new(quiet());
    let granted = usize::from(quiet().window.messages);
    let bytes = post(&payload("1", 8001)).repeat(granted + 3);
    let mut expected = vec![200; granted];
    expected.push(503);
    assert_eq!(answers(&mut host, &bytes, usize::MAX), (expected, true));
    assert_eq!(host.texts().len(), granted);
}

#[test]
fn the_word_that_somebody_waits_for_is_said_at_once() {
    let mut host = Host::new(quiet());
    let link = host.call();
    let body = payload("\"m\"", 8001);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    host.bytes(link, head.as_bytes());
    assert_eq!(host.heard(link), "HTTP/1.1 100 Continue\r\n\r\n");
    host.bytes(link, body.as_bytes());
    assert_eq!(host.statuses(link), (vec![200], false));
}

#[test]
fn the_word_is_not_said_to_whom_did_not_wait_for_it() {
    let mut host = Host::new(quiet());
    let body = payload("\"m\"", 8001);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let link = host.call();
    // The driver has no time to send between the two.
    for bytes in [head.as_bytes(), body.as_bytes()] {
        host.tower.handle(Event::BytesArrived { link, bytes }, host.now);
    }
    host.settle();
    assert_eq!(host.statuses(link), (vec![200], false));
}

#[test]
fn an_answer_says_how_long_the_link_is_kept_and_it_is() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.bytes(link, &post(&payload("1", 8001)));
    assert_eq!(
        host.heard(link),
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=30\r\nContent-Length: 0\r\n\r\n"
    );
    host.run(Duration::from_secs(59));
    assert!(host.closed.is_empty());
    host.run(Duration::from_secs(2));
    assert_eq!(host.closed.get(&link), Some(&CloseReason::Idle));
    assert_eq!(host.heard(link), "", "no goodbye in another language");
}

/// JavaScript towers count UTF-16 units.
#[test]
fn a_body_longer_than_its_head_says_is_read_to_its_last_bracket() {
    for text in ["café € 😀", "é", "😀😀😀😀😀😀😀😀😀😀", "\\\"é}"] {
        let body = payload(&format!("\"{text}\""), 8001);
        let units = body.encode_utf16().count();
        assert!(units < body.len());
        for pieces in [1, 3, 1 << 20] {
            let mut host = Host::new(quiet());
            let found = answers(&mut host, &post_with(units, &body), pieces);
            assert_eq!(found, (vec![200], true), "{body}");
            assert_eq!(host.texts(), [text.replace("\\\"", "\"")]);
            assert_eq!(host.status("localhost:8001"), Some(Status::New));
        }
    }
}

#[test]
fn the_rest_of_a_body_is_not_waited_for_long() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.bytes(link, &post_with(20, &payload("\"m\"", 8001)[..20]));
    host.run(Duration::from_millis(900));
    assert!(host.closed.is_empty());
    host.run(Duration::from_millis(200));
    assert_eq!(host.statuses(link), (vec![400], true));
    assert_eq!(host.closed.get(&link), Some(&CloseReason::RequestTimeout));
}

#[test]
fn what_does_not_come_in_time_is_answered_408() {
    let body = payload("\"m\"", 8001);
    let whole = post(&body);
    // Cut in the head: the time to shake hands. Cut in the body: the time to confirm.
    for (cut, seconds) in [(1, 10), (50, 10), (whole.len() - 3, 30)] {
        let mut host = Host::new(quiet());
        let link = host.call();
        host.bytes(link, &whole[..cut]);
        host.run(Duration::from_secs(seconds - 1));
        // A byte now and then does not put it off.
        host.bytes(link, &whole[cut..=cut]);
        assert!(host.closed.is_empty());
        host.run(Duration::from_secs(2));
        assert_eq!(host.statuses(link), (vec![408], true), "cut at {cut}");
        assert_eq!(host.closed.get(&link), Some(&CloseReason::RequestTimeout));
        assert!(host.texts().is_empty());
    }
}

#[test]
fn who_says_nothing_is_cut_off_in_silence() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.run(Duration::from_secs(11));
    assert_eq!(host.closed.get(&link), Some(&CloseReason::HandshakeTimeout));
    assert_eq!(host.heard(link), "");
}

#[test]
fn an_end_between_requests_is_a_goodbye_and_one_within_is_not() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.bytes(link, &post(&payload("1", 8001)));
    host.tell(Event::Finished { link });
    assert!(matches!(host.closed[&link], CloseReason::Goodbye(_)));
    assert_eq!(host.statuses(link).0, [200]);

    let link = host.call();
    host.bytes(link, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    host.tell(Event::Finished { link });
    assert_eq!(host.closed[&link], CloseReason::Truncated);
    assert_eq!(host.statuses(link), (vec![400], true));
}

#[test]
fn a_sender_is_new_at_its_first_request_and_alive_at_its_second() {
    let mut host = Host::new(quiet());
    let link = host.call();
    let announce = payload("null", 8001).replace("\"message\",\"sender", "\"announce\",\"sender");
    host.bytes(link, &post(&announce));
    assert_eq!(host.status("localhost:8001"), Some(Status::New));
    host.bytes(link, &post(&announce));
    assert_eq!(host.status("localhost:8001"), Some(Status::Alive));
    assert_eq!(host.tower.queue_usage().messages, 0);
}

#[test]
fn friends_are_learned() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.bytes(link, &post(&from(JS, r#","friend":{"hostname":"localhost","port":"8002"}"#)));
    assert_eq!(host.status("localhost:8002"), Some(Status::New));
    assert_eq!(host.tower.survey().count(), 2);
}

#[test]
fn an_ignored_sender_gets_403_and_teaches_nothing() {
    let mut host = Host::new(quiet());
    host.with(|tower, now| tower.ignore(&address("localhost:8001"), now)).unwrap();
    let bytes = post(&from(JS, r#","friend":{"hostname":"localhost","port":8002}"#));
    assert_eq!(answers(&mut host, &bytes, usize::MAX), (vec![403], true));
    assert_eq!(
        (host.status("localhost:8001"), host.tower.survey().count()),
        (Some(Status::Ignored), 1)
    );
    assert_eq!(host.tower.stats().refused, 1);
    assert!(host.texts().is_empty());
    // Ignored in the middle of a link.
    let link = host.call();
    host.bytes(link, &post(&payload("1", 8003)));
    host.with(|tower, now| tower.ignore(&address("localhost:8003"), now)).unwrap();
    assert_eq!(host.closed.get(&link), Some(&CloseReason::Ignored));
}

#[test]
fn a_full_tower_and_one_that_leaves_answer_503() {
    let mut config = quiet();
    config.max_queue_messages = 2;
    let mut host = Host::new(config);
    let link = host.call();
    for (value, status) in [("1", 200), ("2", 200), ("3", 503)] {
        host.bytes(link, &post(&payload(value, 8001)));
        assert_eq!(host.statuses(link), (vec![status], false));
    }
    assert_eq!(host.texts(), ["1", "2"]);
    host.with(clacks_proto::Tower::shutdown);
    host.bytes(link, &post(&payload("4", 8001)));
    assert_eq!(host.statuses(link).0, [503]);
}

#[test]
fn an_application_that_screens_decides_the_answer() {
    let mut config = quiet();
    let (timeout, default) = (Duration::from_secs(5), DefaultVerdict::Reject);
    config.screening = Screening::On { max_offers: 8, timeout, default };
    let mut host = Host::new(config);
    let link = host.call();
    let requests = ["1", "2", "3", "4"].map(|value| post(&payload(value, 8001)));
    host.bytes(link, &requests.concat());
    host.bytes(link, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(host.heard(link), "", "nothing is decided");
    let offers: Vec<_> = host.offers.drain(..).collect();
    for (offer, verdict) in
        offers.iter().zip([Verdict::Accept, Verdict::Swallow, Verdict::Reject]).rev()
    {
        host.with(|tower, now| tower.decide(*offer, verdict, now)).unwrap();
    }
    assert_eq!(host.statuses(link), (vec![200, 200, 503], false));
    host.run(Duration::from_secs(6));
    assert_eq!(host.statuses(link), (vec![503, 400], true), "the last answer ends the link");
    assert_eq!(host.texts(), ["1"]);
}

#[test]
fn kinds_come_in_as_they_are() {
    let mut host = Host::new(quiet());
    let link = host.call();
    for value in ["\"text\"", "{\"clacks:base64\":\"/wA=\"}", " 1.0 "] {
        host.bytes(link, &post(&payload(value, 8001)));
    }
    let messages: Vec<_> = host.tower.peek().map(|held| held.message).collect();
    assert_eq!(messages, [Message::text("text"), Message::bytes(&[255, 0]), Message::json("1.0")]);
    let from: Vec<Option<Address>> = host
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::MessageReceived { from, .. } => Some(from.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(from, vec![Some(address("localhost:8001")); 3]);
}

proptest! {
    /// Whatever comes in: no panic, no message from nowhere, and all that is held was confirmed.
    #[test]
    fn any_requests_in_any_pieces(
        parts in proptest::collection::vec(prop_oneof![
            Just(post(&payload("\"m\"", 8001))),
            Just(post_with(60, &payload("\"é\"", 8002))),
            Just(post("hello")),
            Just(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
            Just(b"5\r\nhello\r\n0\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..6),
        pieces in 1..50usize,
        room in 1..60usize,
    ) {
        let mut host = Host::new(quiet());
        host.room = room;
        let link = host.call();
        for piece in parts.concat().chunks(pieces) {
            host.bytes(link, piece);
        }
        let taken = host.statuses(link).0.iter().filter(|status| **status == 200).count();
        prop_assert_eq!(host.texts().len(), taken);
        host.run(Duration::from_secs(200));
        prop_assert_eq!(host.tower.links().count(), 0);
    }
}

fn screener() -> Host {
    let mut config = quiet();
    let (timeout, default) = (Duration::from_secs(5), DefaultVerdict::Accept);
    config.screening = Screening::On { max_offers: 8, timeout, default };
    Host::new(config)
}

#[test]
fn a_screened_message_is_a_success_of_its_own_sender() {
    let mut host = screener();
    host.expand("localhost:8001");
    host.expand("localhost:8002");
    let link = host.call();
    let both = [post(&payload("\"a\"", 8001)), post(&payload("\"b\"", 8002))].concat();
    host.bytes(link, &both);
    for verdict in [Verdict::Accept, Verdict::Reject] {
        let offer = host.offers.pop_front().unwrap();
        host.with(|tower, now| tower.decide(offer, verdict, now)).unwrap();
    }
    let statuses = [host.status("localhost:8001"), host.status("localhost:8002")];
    assert_eq!(statuses, [Some(Status::Alive), Some(Status::New)]);
}

#[test]
fn a_screened_message_does_not_make_an_unknown_sender_alive() {
    let mut host = screener();
    let link = host.call();
    host.bytes(link, &post(&payload("\"a\"", 8005)));
    let offer = host.offers.pop_front().unwrap();
    host.with(|tower, now| tower.decide(offer, Verdict::Accept, now)).unwrap();
    assert_eq!(host.status("localhost:8005"), Some(Status::New), "it was never dialled");
}

#[test]
fn links_with_half_a_request_make_room_for_callers() {
    let mut config = quiet();
    config.max_links = 16;
    config.max_half_open = 4;
    let mut host = Host::new(config);
    let refused = (0..40).filter(|_| {
        host.now = host.now + Duration::from_millis(1);
        let accepted = host.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), host.now);
        host.settle();
        let Ok(link) = accepted else { return true };
        let head = "POST / HTTP/1.1\r\nHost: localhost:9001\r\nContent-Type: application/json";
        host.bytes(link, format!("{head}\r\nContent-Length: 100\r\n\r\n{{").as_bytes());
        false
    });
    assert_eq!(refused.count(), 0);
}

#[test]
fn a_closed_link_does_not_turn_native() {
    let mut host = Host::new(quiet());
    let link = host.call();
    host.now = host.now + Duration::from_secs(11);
    host.tower.handle(Event::TimerFired, host.now);
    // The close is not polled yet.
    host.tower.handle(Event::BytesArrived { link, bytes: &[0xC1] }, host.now);
    assert_eq!(host.tower.transmit(link, &mut Vec::new()), 0);
}
