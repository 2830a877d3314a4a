//! The HTTP server: requests of JavaScript towers, and the responses to them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::{
    Address, CloseReason, DefaultVerdict, Event, Message, Notice, Screening, StateMachine, Status,
    Verdict,
};
use proptest::prelude::*;

use crate::harness::{Harness, address, paused_config, payload, post, post_with_length};

/// Sends bytes on a new link in chunks of this size. Returns the status codes of the responses, and
/// whether the tower closes the link.
fn responses(harness: &mut Harness, bytes: &[u8], chunk_size: usize) -> (Vec<u16>, bool) {
    let link = harness.accept();
    bytes.chunks(chunk_size).for_each(|chunk| harness.send_bytes(link, chunk));
    let (statuses, announces_close) = harness.take_statuses(link);
    let closed = harness.closed.contains_key(&link);
    assert_eq!(
        closed, announces_close,
        "the link is closed exactly if a response has `Connection: close`"
    );
    (statuses, closed)
}

/// Returns a payload with this sender. `rest` is inserted after the sender.
fn payload_from(sender: &str, rest: &str) -> String {
    format!(r#"{{"message":"m","type":"message","sender":{sender}{rest}}}"#)
}

/// The field that every request needs.
const JSON: &str = "Content-Type: application/json\r\n";

const JS_SENDER: &str = r#"{"hostname":"localhost","port":8001}"#;

/// Each case: the payload, the status of a JavaScript tower, the status of this tower, and the
/// messages that this tower holds then.
#[test]
fn each_payload_gets_its_status_code() {
    let message = |value: &str| payload(value, 8001);
    let long = format!("\"{}\"", "x".repeat(70_000));
    let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
    let held_deep = [deep.as_str()];
    let announce =
        r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#;
    let seed = concat!(
        r#"{"message":"s2","hostname":"localhost","port":9001,"type":"message","#,
        r#""sender":{"hostname":"localhost","port":8001},"#,
        r#""friend":{"identifier":"7625","hostname":"localhost","port":8002,"#,
        r#""status":"alive","time":1795382790973}}"#,
    );
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
        // A JavaScript tower drops these messages.
        (message("0"), 200, 200, &["0"]),
        (message("false"), 200, 200, &["false"]),
        (message("\"\""), 200, 200, &[""]),
        // Both towers drop these payloads, because they contain no message.
        (message("null"), 200, 200, &[]),
        (format!(r#"{{"type":"message","sender":{JS_SENDER}}}"#), 200, 200, &[]),
        // A JavaScript tower drops these payloads, and this tower refuses them.
        (
            payload_from(JS_SENDER, "").replace("\"type\":\"message\"", "\"type\":\"Message\""),
            200,
            400,
            &[],
        ),
        (payload_from(JS_SENDER, "").replace("\"type\":\"message\",", ""), 200, 400, &[]),
        (format!(r#"{{"type":"unknown","sender":{JS_SENDER}}}"#), 200, 400, &[]),
        (message("\"é € 😀\""), 200, 200, &["é € 😀"]),
        (message(r#""\u00e9\u0000""#), 200, 200, &["é\0"]),
        (message(r#""x\ud800y""#), 200, 200, &[r#""x\ud800y""#]),
        (format!(" \r\n\t{} \n", message("\"m\"")), 200, 200, &["m"]),
        (format!(r#"{{"sender":{JS_SENDER},"type":"message","message":"m"}}"#), 200, 200, &["m"]),
        (String::new(), 500, 400, &[]),
        ("hello".into(), 500, 400, &[]),
        (format!("\u{feff}{}", message("1")), 500, 400, &[]),
        (format!("{}{}", message("1"), message("2")), 500, 400, &[]),
        ("null".into(), 500, 400, &[]),
        ("[]".into(), 500, 400, &[]),
        ("\"x\"".into(), 500, 400, &[]),
        ("{}".into(), 500, 400, &[]),
        (payload_from("null", ""), 500, 400, &[]),
        (r#"{"message":"m","type":"message"}"#.into(), 500, 400, &[]),
        // These senders and friends have no usable address.
        (payload_from("{}", ""), 200, 200, &["m"]),
        (payload_from("\"str\"", ""), 200, 200, &["m"]),
        (payload_from(r#"{"hostname":"localhost"}"#, ""), 200, 200, &["m"]),
        (payload_from(r#"{"hostname":"localhost","port":70000}"#, ""), 200, 200, &["m"]),
        (payload_from(r#"{"hostname":"localhost","port":9001}"#, ""), 200, 200, &["m"]),
        (
            payload_from(
                JS_SENDER,
                r#","friend":{"hostname":{"toString":1,"valueOf":1},"port":1}"#,
            ),
            500,
            200,
            &["m"],
        ),
        (payload_from(JS_SENDER, r#","friend":null"#), 200, 200, &["m"]),
        (
            payload_from(JS_SENDER, r#","friend":{"hostname":"localhost","port":"9001"}"#),
            200,
            200,
            &["m"],
        ),
        (message(&deep), 200, 200, &held_deep),
        // This message exceeds the maximum length of this tower.
        (message(&long), 200, 413, &[]),
    ];
    for (body, _js_status, expected, held) in cases {
        for chunk_size in [1 << 20, 1, 7] {
            let mut harness = Harness::new(paused_config());
            let request = post(&body);
            let actual = responses(&mut harness, &request, chunk_size);
            assert_eq!(actual, (vec![expected], false), "{body:.200} in chunks of {chunk_size}");
            assert_eq!(harness.texts(), held, "{body:.200}");
        }
    }
}

#[test]
fn each_request_gets_its_status_code() {
    let body = payload("\"m\"", 8001);
    let len = body.len();
    let request = |head: &str| format!("{head}\r\n{JSON}\r\n{body}");
    let chunked = format!("POST / HTTP/1.1\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let (one, two) = body.split_at(40);
    // The request, the statuses of a JavaScript tower, the statuses of this tower, whether a
    // JavaScript tower closes the link, whether this tower does, and the number of messages that
    // this tower holds then.
    type Case = (String, &'static [u16], &'static [u16], bool, bool, usize);
    let cases: Vec<Case> = vec![
        (format!("POST / HTTP/1.1\r\nHost: x\r\n{JSON}\r\n"), &[500], &[400], false, false, 0),
        (
            request(&format!("POST /x?y HTTP/1.1\r\nhost: x\r\ncontent-length: {len}")),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        (
            request(&format!("POST http://a/ HTTP/1.1\r\nHost: b\r\nContent-Length: {len}")),
            &[200],
            &[200],
            false,
            false,
            1,
        ),
        // A request that a web page may have sent changes nothing.
        (
            format!(
                "POST / HTTP/1.1\r\nHost: b\r\nContent-Type: text/plain\r\n\
                 Content-Length: {len}\r\n\r\n{body}"
            ),
            &[200],
            &[403],
            false,
            true,
            0,
        ),
        (
            request(&format!(
                "POST / HTTP/1.1\r\nHost: b\r\nOrigin: http://page\r\nContent-Length: {len}"
            )),
            &[200],
            &[403],
            false,
            true,
            0,
        ),
        // A JavaScript tower accepts every method as a server, and uses only POST as a client.
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
                .replace("\r\n", "\n"),
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
        // An empty body is no payload, and the bytes after it are no request.
        (request("POST / HTTP/1.1\r\nHost: x"), &[400], &[400, 405], true, true, 0),
        // A JavaScript tower reads the body correctly only if it arrives in one chunk.
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
                "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: clacks/2\r\nConnection: upgrade\r\n\
                 Content-Length: {len}"
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
    for (bytes, _js_status, expected, _js_closes, closes, held) in cases {
        let mut harness = Harness::new(paused_config());
        let actual = responses(&mut harness, bytes.as_bytes(), usize::MAX);
        assert_eq!(actual, (expected.to_vec(), closes), "{bytes:.200}");
        assert_eq!(harness.texts().len(), held, "{bytes:.200}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let bytes = [post(&payload("1", 8001)), post("hello"), post(&payload("2", 8001))].concat();
    let mut harness = Harness::new(paused_config());
    assert_eq!(responses(&mut harness, &bytes, usize::MAX), (vec![200, 400, 200], false));
    assert_eq!(harness.texts(), ["1", "2"]);
}

#[test]
fn a_client_that_reads_no_response_is_closed_above_the_window() {
    let mut harness = Harness::new(paused_config());
    harness.transmit_limit = 0;
    let link = harness.accept();
    let window = usize::from(paused_config().window.messages);
    for _ in 0..=window {
        harness.send_bytes(link, &post(&payload("1", 8001)));
    }
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::BadHttp));
    assert_eq!(harness.texts().len(), window, "the accepted messages are kept");
}

#[test]
fn pipelined_requests_above_the_window_are_answered_503() {
    let mut harness = Harness::new(paused_config());
    let window = usize::from(paused_config().window.messages);
    let bytes = post(&payload("1", 8001)).repeat(window + 3);
    let mut expected = vec![200; window];
    expected.push(503);
    assert_eq!(responses(&mut harness, &bytes, usize::MAX), (expected, true));
    assert_eq!(harness.texts().len(), window);
}

#[test]
fn a_client_that_expects_100_continue_gets_it_at_once() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    let body = payload("\"m\"", 8001);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    harness.send_bytes(link, head.as_bytes());
    assert_eq!(harness.take_sent(link), "HTTP/1.1 100 Continue\r\n\r\n");
    harness.send_bytes(link, body.as_bytes());
    assert_eq!(harness.take_statuses(link), (vec![200], false));
}

#[test]
fn no_100_continue_is_sent_if_the_body_has_arrived() {
    let mut harness = Harness::new(paused_config());
    let body = payload("\"m\"", 8001);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let link = harness.accept();
    // The driver transmits nothing between the two.
    for bytes in [head.as_bytes(), body.as_bytes()] {
        harness.tower.handle(Event::BytesArrived { link, bytes }, harness.now);
    }
    harness.drive();
    assert_eq!(harness.take_statuses(link), (vec![200], false));
}

#[test]
fn a_link_stays_open_longer_than_its_keep_alive_header_promises() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.send_bytes(link, &post(&payload("1", 8001)));
    assert_eq!(
        harness.take_sent(link),
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=30\r\n\
         Content-Length: 0\r\n\r\n"
    );
    harness.advance(Duration::from_secs(59));
    assert!(harness.closed.is_empty());
    harness.advance(Duration::from_secs(2));
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::Idle));
    assert_eq!(harness.take_sent(link), "", "the tower sends no native goodbye");
}

/// JavaScript towers send the number of UTF-16 code units as the content length.
#[test]
fn a_body_longer_than_its_content_length_is_read_to_its_closing_bracket() {
    for text in ["café € 😀", "é", "😀😀😀😀😀😀😀😀😀😀", "\\\"é}"] {
        let body = payload(&format!("\"{text}\""), 8001);
        let units = body.encode_utf16().count();
        assert!(units < body.len());
        for chunk_size in [1, 3, 1 << 20] {
            let mut harness = Harness::new(paused_config());
            let actual = responses(&mut harness, &post_with_length(units, &body), chunk_size);
            assert_eq!(actual, (vec![200], true), "{body}");
            assert_eq!(harness.texts(), [text.replace("\\\"", "\"")]);
            assert_eq!(harness.status("localhost:8001"), Some(Status::New));
        }
    }
}

#[test]
fn the_rest_of_a_body_times_out_after_a_second() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.send_bytes(link, &post_with_length(20, &payload("\"m\"", 8001)[..20]));
    harness.advance(Duration::from_millis(900));
    assert!(harness.closed.is_empty());
    harness.advance(Duration::from_millis(200));
    assert_eq!(harness.take_statuses(link), (vec![400], true));
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::RequestTimeout));
}

#[test]
fn an_incomplete_request_is_answered_408_after_its_timeout() {
    let body = payload("\"m\"", 8001);
    let whole = post(&body);
    // The handshake timeout applies to an incomplete head, and the confirm timeout to an incomplete
    // body.
    for (cut, seconds) in [(1, 10), (50, 10), (whole.len() - 3, 30)] {
        let mut harness = Harness::new(paused_config());
        let link = harness.accept();
        harness.send_bytes(link, &whole[..cut]);
        harness.advance(Duration::from_secs(seconds - 1));
        // A further byte does not restart the timeout.
        harness.send_bytes(link, &whole[cut..=cut]);
        assert!(harness.closed.is_empty());
        harness.advance(Duration::from_secs(2));
        assert_eq!(harness.take_statuses(link), (vec![408], true), "cut at {cut}");
        assert_eq!(harness.closed.get(&link), Some(&CloseReason::RequestTimeout));
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn a_silent_client_is_closed_without_a_response() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.advance(Duration::from_secs(11));
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::HandshakeTimeout));
    assert_eq!(harness.take_sent(link), "");
}

#[test]
fn a_stream_is_truncated_only_if_it_ends_within_a_request() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.send_bytes(link, &post(&payload("1", 8001)));
    harness.handle(Event::Finished { link });
    assert!(matches!(harness.closed[&link], CloseReason::Goodbye(_)));
    assert_eq!(harness.take_statuses(link).0, [200]);

    let link = harness.accept();
    harness.send_bytes(
        link,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                               Content-Length: 9\r\n\r\n{",
    );
    harness.handle(Event::Finished { link });
    assert_eq!(harness.closed[&link], CloseReason::Truncated);
    assert_eq!(harness.take_statuses(link), (vec![400], true));
}

#[test]
fn a_sender_becomes_new_with_its_first_request_and_alive_with_its_second() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    let announce = payload("null", 8001).replace("\"message\",\"sender", "\"announce\",\"sender");
    harness.send_bytes(link, &post(&announce));
    assert_eq!(harness.status("localhost:8001"), Some(Status::New));
    harness.send_bytes(link, &post(&announce));
    assert_eq!(harness.status("localhost:8001"), Some(Status::Alive));
    assert_eq!(harness.tower.queue_usage().messages, 0);
}

#[test]
fn a_friend_in_a_payload_is_learned() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.send_bytes(
        link,
        &post(&payload_from(JS_SENDER, r#","friend":{"hostname":"localhost","port":"8002"}"#)),
    );
    assert_eq!(harness.status("localhost:8002"), Some(Status::New));
    assert_eq!(harness.tower.survey().count(), 2);
}

#[test]
fn an_ignored_sender_gets_403_and_its_friend_is_not_learned() {
    let mut harness = Harness::new(paused_config());
    harness.with(|tower, now| tower.ignore(&address("localhost:8001"), now)).unwrap();
    let bytes = post(&payload_from(JS_SENDER, r#","friend":{"hostname":"localhost","port":8002}"#));
    assert_eq!(responses(&mut harness, &bytes, usize::MAX), (vec![403], true));
    assert_eq!(
        (harness.status("localhost:8001"), harness.tower.survey().count()),
        (Some(Status::Ignored), 1)
    );
    assert_eq!(harness.tower.stats().refused, 1);
    assert!(harness.texts().is_empty());
    // Ignoring a sender closes its open link.
    let link = harness.accept();
    harness.send_bytes(link, &post(&payload("1", 8003)));
    harness.with(|tower, now| tower.ignore(&address("localhost:8003"), now)).unwrap();
    assert_eq!(harness.closed.get(&link), Some(&CloseReason::Ignored));
}

#[test]
fn a_full_tower_and_one_that_shuts_down_answer_503() {
    let mut config = paused_config();
    (config.max_queue_messages, config.exchange_credit) = (2, 0);
    let mut harness = Harness::new(config);
    let link = harness.accept();
    for (value, status) in [("1", 200), ("2", 200), ("3", 503)] {
        harness.send_bytes(link, &post(&payload(value, 8001)));
        assert_eq!(harness.take_statuses(link), (vec![status], false));
    }
    assert_eq!(harness.texts(), ["1", "2"]);
    harness.with(clacks_proto::Tower::shutdown);
    harness.send_bytes(link, &post(&payload("4", 8001)));
    assert_eq!(harness.take_statuses(link).0, [503]);
}

#[test]
fn the_verdict_determines_the_status_code() {
    let mut config = paused_config();
    let (timeout, default) = (Duration::from_secs(5), DefaultVerdict::Reject);
    config.screening = Screening::On { max_offers: 8, timeout, default };
    let mut harness = Harness::new(config);
    let link = harness.accept();
    let requests = ["1", "2", "3", "4"].map(|value| post(&payload(value, 8001)));
    harness.send_bytes(link, &requests.concat());
    harness.send_bytes(
        link,
        b"POST / HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(harness.take_sent(link), "", "no message is decided");
    let offers: Vec<_> = harness.offers.drain(..).collect();
    for (offer, verdict) in
        offers.iter().zip([Verdict::ACCEPT, Verdict::Swallow, Verdict::Reject]).rev()
    {
        harness.with(|tower, now| tower.decide(*offer, verdict, now)).unwrap();
    }
    assert_eq!(harness.take_statuses(link), (vec![200, 200, 503], false));
    harness.advance(Duration::from_secs(6));
    assert_eq!(
        harness.take_statuses(link),
        (vec![503, 400], true),
        "the link is closed after the last response"
    );
    assert_eq!(harness.texts(), ["1"]);
}

#[test]
fn text_bytes_and_json_keep_their_kinds() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    for value in ["\"text\"", "{\"clacks:base64\":\"/wA=\"}", " 1.0 "] {
        harness.send_bytes(link, &post(&payload(value, 8001)));
    }
    let messages: Vec<_> = harness.tower.peek().map(|held| held.message).collect();
    assert_eq!(messages, [Message::text("text"), Message::bytes(&[255, 0]), Message::json("1.0")]);
    let from: Vec<Option<Address>> = harness
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
    /// No request causes a panic, and the tower holds exactly the messages that it answered with
    /// 200.
    #[test]
    fn any_requests_in_any_chunks_are_held_exactly_if_answered_200(
        parts in proptest::collection::vec(prop_oneof![
            Just(post(&payload("\"m\"", 8001))),
            Just(post_with_length(60, &payload("\"é\"", 8002))),
            Just(post("hello")),
            Just(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                   Transfer-Encoding: chunked\r\n\r\n".to_vec()),
            Just(b"5\r\nhello\r\n0\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..6),
        chunk_size in 1..50usize,
        room in 1..60usize,
    ) {
        let mut harness = Harness::new(paused_config());
        harness.transmit_limit = room;
        let link = harness.accept();
        for chunk in parts.concat().chunks(chunk_size) {
            harness.send_bytes(link, chunk);
        }
        let (statuses, _) = harness.take_statuses(link);
        let accepted = statuses.iter().filter(|status| **status == 200).count();
        prop_assert_eq!(harness.texts().len(), accepted);
        harness.advance(Duration::from_secs(200));
        prop_assert_eq!(harness.tower.links().count(), 0);
    }
}

fn harness_with_screening() -> Harness {
    let mut config = paused_config();
    let (timeout, default) = (Duration::from_secs(5), DefaultVerdict::Accept);
    config.screening = Screening::On { max_offers: 8, timeout, default };
    Harness::new(config)
}

#[test]
fn a_verdict_changes_only_the_status_of_the_sender_of_its_message() {
    let mut harness = harness_with_screening();
    harness.expand("localhost:8001");
    harness.expand("localhost:8002");
    let link = harness.accept();
    let both = [post(&payload("\"a\"", 8001)), post(&payload("\"b\"", 8002))].concat();
    harness.send_bytes(link, &both);
    for verdict in [Verdict::ACCEPT, Verdict::Reject] {
        let offer = harness.offers.pop_front().unwrap();
        harness.with(|tower, now| tower.decide(offer, verdict, now)).unwrap();
    }
    let statuses = [harness.status("localhost:8001"), harness.status("localhost:8002")];
    assert_eq!(statuses, [Some(Status::Alive), Some(Status::New)]);
}

#[test]
fn an_accepted_message_does_not_make_an_unknown_sender_alive() {
    let mut harness = harness_with_screening();
    let link = harness.accept();
    harness.send_bytes(link, &post(&payload("\"a\"", 8005)));
    let offer = harness.offers.pop_front().unwrap();
    harness.with(|tower, now| tower.decide(offer, Verdict::ACCEPT, now)).unwrap();
    assert_eq!(
        harness.status("localhost:8005"),
        Some(Status::New),
        "the sender has never been dialled"
    );
}

#[test]
fn links_with_an_incomplete_request_are_evicted_for_new_callers() {
    let mut config = paused_config();
    config.max_links = 16;
    config.max_unproved = 4;
    let mut harness = Harness::new(config);
    let refused = (0..40).filter(|_| {
        harness.now = harness.now + Duration::from_millis(1);
        let accepted = harness.tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), harness.now);
        harness.drive();
        let Ok(link) = accepted else { return true };
        let head = "POST / HTTP/1.1\r\nHost: localhost:9001\r\nContent-Type: application/json";
        harness.send_bytes(link, format!("{head}\r\nContent-Length: 100\r\n\r\n{{").as_bytes());
        false
    });
    assert_eq!(refused.count(), 0);
}

#[test]
fn a_closed_link_ignores_a_native_hello() {
    let mut harness = Harness::new(paused_config());
    let link = harness.accept();
    harness.now = harness.now + Duration::from_secs(11);
    harness.tower.handle(Event::TimerFired, harness.now);
    // `Action::Close` is still pending.
    harness.tower.handle(Event::BytesArrived { link, bytes: &[0xC1] }, harness.now);
    assert_eq!(harness.tower.transmit(link, &mut Vec::new()), 0);
}
