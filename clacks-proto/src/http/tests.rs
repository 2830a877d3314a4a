//! What holds for requests and responses, in whatever pieces they come.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MAX: usize = 1000;

/// One word for each thing heard.
fn heard(bytes: &[u8], pieces: usize) -> Vec<String> {
    let mut reader = RequestReader::new(MAX);
    let mut all = Vec::new();
    for mut piece in bytes.chunks(pieces) {
        while let Some(heard) = reader.read(&mut piece) {
            assert!(reader.buffered() <= MAX_HEAD + MAX);
            all.push(match heard {
                RequestEvent::ContinueExpected => "continue".into(),
                RequestEvent::Failure(status) => format!("{} close", status.line().0),
                RequestEvent::Request(Request { body, closes }) => {
                    let body = match body {
                        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                        Err(status) => format!("{}", status.line().0),
                    };
                    let end = if closes { " close" } else { "" };
                    format!("[{body}]{end}")
                }
            });
        }
        assert!(piece.is_empty());
    }
    if reader.is_short() {
        all.push("short".into());
    } else if reader.is_mid_request() {
        all.push("more".into());
    }
    all
}

/// A request with these lines in its head, besides the host.
fn request(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}")
}

#[test]
fn requests_of_every_kind() {
    let long = "x".repeat(MAX + 1);
    let huge = format!("A: {}\r\n", "x".repeat(15_000));
    let lines = "a:b\r\n".repeat(1500);
    let cases: Vec<(String, &[&str])> = vec![
        (request("Content-Length: 2\r\n", "{}"), &["[{}]"]),
        (request("content-LENGTH:2\r\nX-Other: y\r\n", "{}"), &["[{}]"]),
        (request("Content-Length: 2\r\nConnection: Keep-Alive, Close\r\n", "{}"), &["[{}] close"]),
        (
            request("Content-Length: 2\r\nUpgrade: clacks/1\r\nConnection: upgrade\r\n", "{}"),
            &["[{}]"],
        ),
        (format!("\r\n\r\n{}", request("Content-Length: 2\r\n", "{}")), &["[{}]"]),
        ("GET http://x/y?z HTTP/1.1\r\nHost:\r\n\r\n".into(), &["[]"]),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["[]"]),
        ("M-SEARCH * HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["[]"]),
        ("HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}".into(), &["[{}]"]),
        (
            "PUT / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}".into(),
            &["[{}] close"],
        ),
        (request("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), &["[{}]"]),
        (request(&huge, ""), &["[]"]),
        (request(&lines, ""), &["[]"]),
        // One after the other, a bad one in the middle.
        (
            format!(
                "{}{}{}",
                request("Content-Length: 2\r\n", "{}"),
                request("Content-Length: 5\r\n", "hello"),
                request("Content-Length: 2\r\n", "[]")
            ),
            &["[{}]", "[hello]", "[[]]"],
        ),
        // Too short by what is not ASCII: "é" is one UTF-16 unit and two bytes.
        (request("Content-Length: 9\r\n", "{\"a\":\"é\"}"), &["[{\"a\":\"é\"}] close"]),
        (request("Content-Length: 5\r\n", "{\"a\":\"é}\"}rest"), &["[{\"a\":\"é}\"}] close"]),
        (request("Content-Length: 3\r\n", "{\"a"), &["short"]),
        (request("Content-Length: 3\r\n", "{\"a45678901234567890"), &["400 close"]),
        // Too long for what is there.
        (request("Content-Length: 5\r\n", "{}"), &["more"]),
        ("POST / HTTP/1.1\r\nHost: x\r\n".into(), &["more"]),
        // More than is kept: read to its end all the same.
        (
            format!("{}{}", request("Content-Length: 1001\r\n", &long), request("", "")),
            &["[413]", "[]"],
        ),
        (request("Content-Length: 2\r\nExpect: something\r\n", "{}"), &["417 close"]),
        // What is no request.
        ("POST / HTTP/1.1\r\n\r\n".into(), &["400 close"]),
        ("POST / HTTP/1.1\nHost: x\n\n".into(), &["400 close"]),
        ("POST / HTTP/2.0\r\nHost: x\r\n\r\n".into(), &["400 close"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["400 close"]),
        ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["400 close"]),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["400 close"]),
        ("hello".into(), &["400 close"]),
        ("\0\u{1}\u{2}".into(), &["400 close"]),
        (request("Content-Length: -1\r\n", ""), &["400 close"]),
        (request("Content-Length: +1\r\n", ""), &["400 close"]),
        (request("Content-Length: 99999999999999999999\r\n", ""), &["400 close"]),
        (request("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), &["400 close"]),
        (request("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}"), &["400 close"]),
        (request("Transfer-Encoding: gzip, chunked\r\n", "{}"), &["400 close"]),
        (request("Transfer-Encoding: chunked\r\n", "zz\r\n"), &["400 close"]),
        (request("", "{}"), &["[]", "400 close"]),
        (request(&format!("A: {}\r\n", "x".repeat(17_000)), ""), &["431 close"]),
    ];
    for (bytes, expected) in cases {
        for pieces in [1, 2, 3, 7, 100, 1 << 20] {
            assert_eq!(heard(bytes.as_bytes(), pieces), expected, "{bytes:.200} by {pieces}");
        }
    }
}

#[test]
fn who_expects_a_word_gets_it_unless_the_body_comes_without() {
    let head = request("Content-Length: 2\r\nExpect: 100-Continue\r\n", "");
    assert_eq!(heard(head.as_bytes(), 1), ["continue", "more"]);
    assert_eq!(heard(format!("{head}{{}}").as_bytes(), 1), ["continue", "[{}]"]);
    assert_eq!(heard(format!("{head}{{}}").as_bytes(), 1 << 20), ["[{}]"]);
}

/// The responses, with what is left at the end.
fn answered(bytes: &[u8], pieces: usize) -> Result<(Vec<Response>, Option<u16>), BadResponse> {
    let mut reader = ResponseReader::default();
    let mut all = Vec::new();
    for mut piece in bytes.chunks(pieces) {
        while let Some(response) = reader.read(&mut piece)? {
            all.push(response);
        }
    }
    Ok((all, reader.status()))
}

#[test]
fn responses_of_every_kind() {
    let response = |status, closes, keep_alive| Response { status, closes, keep_alive };
    let kept = "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5, max=9\r\n";
    for (bytes, expected) in [
        (
            format!("{kept}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            Some(response(200, false, Some(5))),
        ),
        (format!("{kept}Content-Length: 2\r\n\r\nok"), Some(response(200, false, Some(5)))),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
                .into(),
            Some(response(403, false, None)),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), Some(response(204, false, None))),
        ("\r\nHTTP/1.1 204 No Content\r\n\r\n".into(), Some(response(204, false, None))),
        (
            "HTTP/1.1 500 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into(),
            Some(response(500, true, None)),
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n".into(), Some(response(200, true, None))),
        (format!("{kept}Content-Length: 10\r\n\r\nabc"), None),
    ] {
        for pieces in [1, 3, 1 << 20] {
            let (all, left) = answered(bytes.as_bytes(), pieces).unwrap();
            assert_eq!(all.first().copied(), expected, "{bytes}");
            assert_eq!(left, expected.is_none().then_some(200));
        }
    }
    let endless = answered(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", 1);
    assert_eq!(endless, Ok((Vec::new(), Some(200))), "its status stands, its end does not");
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(70_000));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    for bytes in [
        "SSH-2.0",
        "HTTP/2 200",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "\0",
        &long,
        &interim,
    ] {
        for pieces in [1, 1 << 20] {
            assert_eq!(answered(bytes.as_bytes(), pieces), Err(BadResponse), "{bytes:.60}");
        }
    }
}

#[test]
fn heads_are_those_of_javascript_towers() {
    let mut out = Vec::new();
    write_request_head(&"localhost:9001".parse().unwrap(), 80, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 80\r\nHost: localhost:9001\r\nConnection: keep-alive\r\n\r\n"
    );
    for (to, host) in
        [("[::1]:9001", "[::1]:9001"), ("x:443", "x"), ("[::1]:443", "[::1]"), ("x:1443", "x:1443")]
    {
        let mut out = Vec::new();
        write_request_head(&to.parse().unwrap(), 0, &mut out);
        let head = String::from_utf8(out).unwrap();
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
    }
}

#[test]
fn what_we_write_we_read() {
    for status in
        [StatusCode::Ok, StatusCode::ServiceUnavailable, StatusCode::RequestHeaderFieldsTooLarge]
    {
        for keep_alive in [KeepAlive::Seconds(30), KeepAlive::Close] {
            let mut out = Vec::new();
            write_continue(&mut out);
            write_response(status, keep_alive, &mut out);
            let (all, _) = answered(&out, 1).unwrap();
            let (seconds, closes) = match keep_alive {
                KeepAlive::Seconds(seconds) => (Some(seconds), false),
                KeepAlive::Close => (None, true),
            };
            let expected = Response { status: status.line().0, closes, keep_alive: seconds };
            assert_eq!(all, [expected]);
        }
    }
}

/// Something like requests: pieces of them, put together at random.
fn like_requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"POST / HTTP/1.1\r\nHost: x\r\n"[..]),
        Just(&b"GET / HTTP/1.0\r\n"[..]),
        Just(&b"Content-Length: 5\r\n"[..]),
        Just(&b"Content-Length: 9\r\n\r\n"[..]),
        Just(&b"Transfer-Encoding: chunked\r\n\r\n"[..]),
        Just(&b"Expect: 100-continue\r\n"[..]),
        Just(&b"Connection: close\r\n"[..]),
        Just(&b"5\r\nhello\r\n"[..]),
        Just(&b"0\r\n\r\n"[..]),
        Just(&b"{\"message\":\"m\",\"type\":\"message\",\"sender\":{}}"[..]),
        Just(&b"{\"\xc3\xa9\""[..]),
        Just(&b"}"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\xff"[..]),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn requests_are_the_same_in_any_pieces(bytes in like_requests(), cut in 1..40usize) {
        let without_words = |mut all: Vec<String>| {
            all.retain(|word| word != "continue");
            all
        };
        let whole = without_words(heard(&bytes, usize::MAX));
        prop_assert_eq!(without_words(heard(&bytes, cut)), whole);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>, cut in 1..10usize) {
        heard(&bytes, cut);
        let _ = answered(&bytes, cut);
        let mut response = Vec::from(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..]);
        response.extend_from_slice(&bytes);
        let whole = answered(&response, usize::MAX);
        prop_assert_eq!(answered(&response, cut).is_ok(), whole.is_ok());
        let _ = Payload::parse(&bytes);
    }

    #[test]
    fn payloads_with_anything_in_them_are_read_or_refused(value in ".{0,30}", port in ".{0,6}") {
        let text = format!(r#"{{"message":{value},"type":"message","sender":{{"port":{port}}}}}"#);
        let _ = Payload::parse(text.as_bytes());
        let message = crate::Message::text(&value);
        prop_assert!(Payload::parse(&written(&message)).unwrap().message == Some(message));
    }
}

fn written(message: &crate::Message) -> Vec<u8> {
    let parts = Some((message.kind(), &message.body()[..]));
    write_payload(parts, &"x:1".parse().unwrap(), None)
}
