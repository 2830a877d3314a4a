//! Tests of the readers and writers, with bytes in pieces of several sizes.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MAX_BODY: usize = 1000;

/// Returns one word for each event, and one for an incomplete request.
fn read_requests(bytes: &[u8], piece_len: usize) -> Vec<String> {
    let mut reader = RequestReader::new(MAX_BODY);
    let mut words = Vec::new();
    for mut piece in bytes.chunks(piece_len) {
        while let Some(event) = reader.read(&mut piece) {
            assert!(reader.buffered() <= MAX_HEAD + MAX_BODY);
            words.push(match event {
                RequestEvent::ContinueExpected => "continue".into(),
                RequestEvent::Failure(status) => format!("{} close", status.as_u16()),
                RequestEvent::Request(Request { body, closes }) => {
                    let body = match body {
                        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                        Err(status) => format!("{}", status.as_u16()),
                    };
                    format!("[{body}]{}", if closes { " close" } else { "" })
                }
            });
        }
        assert!(piece.is_empty());
    }
    if reader.is_short() {
        words.push("short".into());
    } else if reader.is_mid_request() {
        words.push("more".into());
    }
    words
}

/// The field that every request needs.
const JSON: &str = "Content-Type: application/json\r\n";

/// Returns a request with `fields` in addition to `Host` and `Content-Type`.
fn request(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{JSON}{fields}\r\n{body}")
}

/// Checks the events of each case for pieces of several sizes.
fn check_requests(cases: Vec<(String, &[&str])>) {
    for (bytes, expected) in cases {
        for piece_len in [1, 2, 3, 7, 100, 1 << 20] {
            let words = read_requests(bytes.as_bytes(), piece_len);
            assert_eq!(words, expected, "{bytes:.200} by {piece_len}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow: long heads, byte by byte")]
fn requests_are_read() {
    let long_field = format!("A: {}\r\n", "x".repeat(15_000));
    let connection = "Connection: Keep-Alive, Close\r\n";
    let upgrade = "Upgrade: clacks/1\r\nConnection: upgrade\r\n";
    check_requests(vec![
        (request("Content-Length: 2\r\n", "{}"), &["[{}]"]),
        (request("content-LENGTH:2\r\nX-Other: y\r\n", "{}"), &["[{}]"]),
        (request(&format!("Content-Length: 2\r\n{connection}"), "{}"), &["[{}] close"]),
        (request(&format!("Content-Length: 2\r\n{upgrade}"), "{}"), &["[{}]"]),
        (request("Content-Length: 2\r\nExpect: something\r\n", "{}"), &["[{}]"]),
        (format!("POST http://x/y?z HTTP/1.1\r\nHost:\r\n{JSON}\r\n"), &["[]"]),
        (format!("POST / HTTP/1.0\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"), &["[{}] close"]),
        (request("Transfer-Encoding: Chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), &["[{}]"]),
        (request(&long_field, ""), &["[]"]),
        (request(&"a:b\r\n".repeat(98), ""), &["[]"]),
        (request("Content-Length: 5\r\n", "{}"), &["more"]),
        ("POST / HTTP/1.1\r\nHost: x\r\n".into(), &["more"]),
        ("PO".into(), &["more"]),
        ("".into(), &[]),
    ]);
}

#[test]
fn requests_can_be_pipelined() {
    let two = |body| request("Content-Length: 2\r\n", body);
    let five = request("Content-Length: 5\r\n", "hello");
    check_requests(vec![
        (format!("{}{five}{}", two("{}"), two("[]")), &["[{}]", "[hello]", "[[]]"]),
        (format!("{}hello", two("{}")), &["[{}]", "405 close"]),
        (request("", "{}"), &["[]", "405 close"]),
    ]);
}

#[test]
fn a_body_that_is_too_long_is_read_to_its_end() {
    let (fits, long) = ("x".repeat(MAX_BODY), "x".repeat(MAX_BODY + 1));
    let next = request("", "");
    let short_len = format!("{{\"{}é\"}}", "x".repeat(MAX_BODY));
    check_requests(vec![
        (request("Content-Length: 1000\r\n", &fits), &[&format!("[{fits}]")]),
        (request("Content-Length: 1001\r\n", &format!("{long}{next}")), &["[413]", "[]"]),
        (request("Content-Length: 1005\r\n", &short_len), &["[413] close"]),
        (request("Content-Length: 1001\r\n", &short_len[..MAX_BODY + 2]), &["short"]),
    ]);
    let mut reader = RequestReader::new(MAX_BODY);
    let request = request("Content-Length: 1002\r\n", &long);
    for mut piece in request.as_bytes().chunks(100) {
        assert_eq!(reader.read(&mut piece), None);
    }
    assert!(reader.is_mid_body());
    assert_eq!((reader.buffered(), reader.capacity()), (0, 0));
}

#[test]
fn a_body_with_a_length_in_utf_16_units_is_read_to_its_closing_bracket() {
    check_requests(vec![
        (request("Content-Length: 9\r\n", "{\"a\":\"é\"}"), &["[{\"a\":\"é\"}] close"]),
        (request("Content-Length: 5\r\n", "{\"a\":\"é}\"}rest"), &["[{\"a\":\"é}\"}] close"]),
        (request("Content-Length: 3\r\n", "{\"a"), &["short"]),
        // The rule applies only to a Content-Length.
        (request("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n0\r\n\r\n"), &["[{]"]),
    ]);
}

#[test]
#[cfg_attr(miri, ignore = "slow: long heads, byte by byte")]
fn malformed_requests_fail() {
    let long_field = format!("A: {}\r\n", "x".repeat(17_000));
    let both = "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n";
    check_requests(vec![
        ("POST / HTTP/1.1\r\n\r\n".into(), &["400 close"]),
        ("POST / HTTP/1.1\nHost: x\n\n".into(), &["400 close"]),
        ("POST / HTTP/1.1\rHost: x\r\n\r\n".into(), &["400 close"]),
        ("POST / HTTP/2.0\r\nHost: x\r\n\r\n".into(), &["400 close"]),
        ("POST \r\n\r\n".into(), &["400 close"]),
        (request("Host: y\r\n", ""), &["400 close"]),
        (request("Content-Length: -1\r\n", ""), &["400 close"]),
        (request("Content-Length: +1\r\n", ""), &["400 close"]),
        (request("Content-Length:\r\n", ""), &["400 close"]),
        (request("Content-Length: 99999999999999999999\r\n", ""), &["400 close"]),
        (request("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), &["400 close"]),
        (request(both, "{}"), &["400 close"]),
        (request("Transfer-Encoding: gzip, chunked\r\n", "{}"), &["400 close"]),
        (request("Transfer-Encoding: chunked\r\n", "zz\r\n"), &["400 close"]),
        (request("Transfer-Encoding: chunked\r\n", "2 zz\r\n{}"), &["400 close"]),
        (request("Transfer-Encoding: chunked\r\n", "2 \r\n{}"), &["400 close"]),
        (request(&long_field, ""), &["431 close"]),
        (request(&"a:b\r\n".repeat(100), ""), &["431 close"]),
    ]);
}

#[test]
fn requests_that_a_web_page_may_have_sent_are_forbidden_at_their_head() {
    let with_type = |content_type: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\n{content_type}Content-Length: 2\r\n\r\n")
    };
    check_requests(vec![
        (with_type(""), &["403 close"]),
        (with_type("Content-Type: text/plain\r\n"), &["403 close"]),
        (with_type("Content-Type: text/plain;application/json\r\n"), &["403 close"]),
        (with_type("Content-Type: application/json5\r\n"), &["403 close"]),
        (request("Origin: http://page.example\r\n", ""), &["403 close"]),
        (request("origin: null\r\n", ""), &["403 close"]),
        (request("Sec-Fetch-Site: cross-site\r\n", ""), &["403 close"]),
        (request("sec-fetch-mode: no-cors\r\n", ""), &["403 close"]),
        (with_type("content-type:APPLICATION/JSON ; charset=utf-8\r\n") + "{}", &["[{}]"]),
    ]);
}

#[test]
fn other_methods_and_protocols_fail_at_once() {
    check_requests(vec![
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["405 close"]),
        ("PUT".into(), &["405 close"]),
        ("post".into(), &["405 close"]),
        ("POSTER / HTTP/1.1\r\n".into(), &["405 close"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["405 close"]),
        ("\r\nPOST".into(), &["405 close"]),
        ("\u{16}\u{3}\u{1}".into(), &["405 close"]),
    ]);
}

#[test]
fn a_client_that_expects_100_continue_gets_it_unless_the_body_has_arrived() {
    let head = request("Content-Length: 2\r\nExpect: 100-Continue\r\n", "");
    let whole = format!("{head}{{}}");
    assert_eq!(read_requests(head.as_bytes(), 1), ["continue", "more"]);
    assert_eq!(read_requests(whole.as_bytes(), 1), ["continue", "[{}]"]);
    assert_eq!(read_requests(whole.as_bytes(), 1 << 20), ["[{}]"]);
}

/// Returns the complete responses, and the status of an incomplete one.
fn read_responses(
    bytes: &[u8],
    piece_len: usize,
) -> Result<(Vec<Response>, Option<u16>), BadResponse> {
    let mut reader = ResponseReader::default();
    let mut responses = Vec::new();
    for mut piece in bytes.chunks(piece_len) {
        while let Some(response) = reader.read(&mut piece)? {
            responses.push(response);
        }
    }
    Ok((responses, reader.status()))
}

#[test]
fn responses_are_read() {
    let response = |status, closes, keep_alive| Response { status, closes, keep_alive };
    let kept = "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: keep-alive\r\n\
                Keep-Alive: timeout=5, max=9\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let empty = "Content-Length: 0\r\n\r\n";
    for (bytes, expected) in [
        (
            format!("{kept}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            response(200, false, Some(5)),
        ),
        (format!("{kept}Content-Length: 2\r\n\r\nok"), response(200, false, Some(5))),
        (format!("{interim}HTTP/1.1 403 Forbidden\r\n{empty}"), response(403, false, None)),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), response(204, false, None)),
        (format!("HTTP/1.1 500 \r\nConnection: close\r\n{empty}"), response(500, true, None)),
        (format!("HTTP/1.0 200 OK\r\n{empty}"), response(200, true, None)),
    ] {
        for piece_len in [1, 3, 1 << 20] {
            let expected = Ok((vec![expected], None));
            assert_eq!(read_responses(bytes.as_bytes(), piece_len), expected, "{bytes}");
        }
    }
}

#[test]
fn the_status_of_an_incomplete_response_is_known() {
    for body in ["Content-Length: 10\r\n\r\nabc", "Connection: close\r\n\r\nuntil the end"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{body}");
        for piece_len in [1, 1 << 20] {
            let expected = Ok((Vec::new(), Some(200)));
            assert_eq!(read_responses(bytes.as_bytes(), piece_len), expected, "{bytes}");
        }
    }
    let mut reader = ResponseReader::default();
    let mut bytes = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"[..];
    assert_eq!(reader.read(&mut bytes), Err(BadResponse));
    assert_eq!(reader.status(), Some(200));
}

#[test]
#[cfg_attr(miri, ignore = "slow: long heads, byte by byte")]
fn malformed_responses_fail() {
    let long_body = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(70_000));
    let long_head = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD));
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:b\r\n".repeat(101));
    for bytes in [
        "SSH-2.0",
        "HTTP/2 200",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "\0",
        &long_body,
        &long_head,
        &many_fields,
    ] {
        for piece_len in [1, 1 << 20] {
            let result = read_responses(bytes.as_bytes(), piece_len);
            assert_eq!(result, Err(BadResponse), "{bytes:.60}");
        }
    }
}

#[test]
fn request_heads_have_the_bytes_of_javascript_towers() {
    let written = |to: &str, len| {
        let mut out = Vec::new();
        write_request_head(&to.parse().unwrap(), len, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        written("localhost:9001", 80),
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\
         Host: localhost:9001\r\nConnection: keep-alive\r\n\r\n"
    );
    for (to, host) in
        [("[::1]:9001", "[::1]:9001"), ("x:443", "x"), ("[::1]:443", "[::1]"), ("x:1443", "x:1443")]
    {
        let head = written(to, 0);
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
    }
}

#[test]
fn written_responses_are_read() {
    for status in [StatusCode::Ok, StatusCode::MethodNotAllowed, StatusCode::ServiceUnavailable] {
        for keep_alive in [KeepAlive::Seconds(30), KeepAlive::Close] {
            let mut out = Vec::new();
            write_continue(&mut out);
            write_response(status, keep_alive, &mut out);
            let (seconds, closes) = match keep_alive {
                KeepAlive::Seconds(seconds) => (Some(seconds), false),
                KeepAlive::Close => (None, true),
            };
            let expected = Response { status: status.as_u16(), closes, keep_alive: seconds };
            assert_eq!(read_responses(&out, 1), Ok((vec![expected], None)));
        }
    }
    let mut out = Vec::new();
    write_response(StatusCode::MethodNotAllowed, KeepAlive::Close, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: POST\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

/// Generates random sequences of parts of requests.
fn request_parts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        3 => Just(&b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"[..]),
        1 => Just(&b"POST / HTTP/1.0\r\nContent-Type: application/json\r\n"[..]),
        1 => Just(&b"Origin: null\r\n"[..]),
        1 => Just(&b"Content-Length: 5\r\n"[..]),
        1 => Just(&b"Content-Length: 9\r\n\r\n"[..]),
        1 => Just(&b"Transfer-Encoding: chunked\r\n\r\n"[..]),
        1 => Just(&b"Expect: 100-continue\r\n"[..]),
        1 => Just(&b"Connection: close\r\n"[..]),
        1 => Just(&b"5\r\nhello\r\n"[..]),
        1 => Just(&b"0\r\n\r\n"[..]),
        1 => Just(&b"{\"message\":\"m\",\"type\":\"message\",\"sender\":{}}"[..]),
        1 => Just(&b"{\"\xc3\xa9\""[..]),
        1 => Just(&b"}"[..]),
        1 => Just(&b"\r\n"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\xff"[..]),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn requests_do_not_depend_on_the_size_of_the_pieces(
        bytes in request_parts(),
        piece_len in 1..40usize,
    ) {
        // `ContinueExpected` depends on the size of the pieces, so it is ignored.
        let without_continue = |mut words: Vec<String>| {
            words.retain(|word| word != "continue");
            words
        };
        let whole = without_continue(read_requests(&bytes, usize::MAX));
        prop_assert_eq!(without_continue(read_requests(&bytes, piece_len)), whole);
    }

    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, piece_len in 1..10usize) {
        read_requests(&bytes, piece_len);
        let _ = read_responses(&bytes, piece_len);
        let mut response = Vec::from(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..]);
        response.extend_from_slice(&bytes);
        let whole = read_responses(&response, usize::MAX);
        prop_assert_eq!(read_responses(&response, piece_len).is_ok(), whole.is_ok());
        let _ = Payload::parse(&bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn arbitrary_values_in_a_payload_do_not_panic(value in ".{0,30}", port in ".{0,6}") {
        let text = format!(r#"{{"message":{value},"type":"message","sender":{{"port":{port}}}}}"#);
        let _ = Payload::parse(text.as_bytes());
        let message = crate::Message::text(&value);
        let parts = Some((message.kind(), message.body()));
        let json = write_payload(parts, &"x:1".parse().unwrap(), None);
        prop_assert_eq!(Payload::parse(&json).unwrap().message, Some(message));
    }
}
