//! What a request carries: a message or an announcement, who says so, and a friend.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU16;

use serde_json::value::RawValue;

use super::pick::pick;
use super::{MAX_DEPTH, MAX_RECORD, scan, value};
use crate::address::{Address, Host};
use crate::message::{Kind, Message};

/// What a request of a JavaScript tower says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload {
    /// What it hands over; `None` for an announcement.
    pub message: Option<Message>,
    /// Where it says that it can be reached, when a tower can be reached there.
    pub sender: Option<Address>,
    /// A tower that it says it knows, when a tower can be reached there.
    pub friend: Option<Address>,
}

impl Payload {
    /// Reads the body of a request. `None` when it is none that a tower could mean.
    ///
    /// Fields that nobody knows, and the recipient's own address that earlier versions of the package put beside the others, are passed over.
    /// Bytes that are not UTF-8 become U+FFFD, as in JavaScript. An address that nobody can dial is as good as none; a sender that is missing
    /// or null is not taken, and neither is a message without the type that says so: to drop it in silence would lose it.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        // The payload's own bracket is one more.
        if scan::depth_of(body) > MAX_DEPTH + 1 {
            return None;
        }
        let text = String::from_utf8_lossy(body);
        let (_, [message, kind, sender, friend]) =
            pick(&text, ["message", "type", "sender", "friend"])?;
        let present = |value: &&RawValue| value.get() != "null";
        let sender = sender.filter(present)?;
        let kind = kind.and_then(|kind| serde_json::from_str::<Cow<'_, str>>(kind.get()).ok());
        let message = match kind.as_deref() {
            Some("message") => message.map(|value| {
                let (kind, body) = value::message_of(value);
                Message::from_parts(kind, bytes::Bytes::copy_from_slice(&body))
            }),
            Some("announce") => None,
            _ if message.is_some_and(|message| present(&message)) => return None,
            _ => None,
        };
        let friend = friend.and_then(|friend| address_of(friend.get()));
        Some(Self { message, sender: address_of(sender.get()), friend })
    }
}

/// The address in `{"hostname": …, "port": …}`. A port may be a number or a string of digits.
fn address_of(json: &str) -> Option<Address> {
    let (_, [hostname, port]) = pick(json, ["hostname", "port"])?;
    let hostname: Cow<'_, str> = serde_json::from_str(hostname?.get()).ok()?;
    let port = port?.get();
    let digits = port.strip_prefix('"').and_then(|port| port.strip_suffix('"')).unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Address::new(&hostname, digits.parse::<NonZeroU16>().ok()?.get()).ok()
}

/// What is handed over in a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outgoing<'a> {
    Message(Kind, &'a [u8]),
    Announce,
}

/// Writes the body of a request, with its fields in the order of the JavaScript towers. A friend who doesn't fit into the record stays away.
pub(crate) fn write(
    outgoing: Outgoing<'_>,
    sender: &Address,
    friend: Option<&Address>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(b"{\"message\":");
    let kind: &[u8] = match outgoing {
        Outgoing::Message(kind, body) => {
            value::write(kind, body, out);
            b"message"
        }
        Outgoing::Announce => {
            out.extend_from_slice(b"null");
            b"announce"
        }
    };
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"\",\"sender\":");
    write_address(sender, out);
    if let Some(friend) = friend {
        let before = out.len();
        out.extend_from_slice(b",\"friend\":");
        write_address(friend, out);
        if out.len() - start + 1 > MAX_RECORD {
            out.truncate(before);
        }
    }
    out.push(b'}');
}

/// Whether a JavaScript tower would get a message as it is, and could hand it on.
pub(crate) fn suits(kind: Kind, body: &[u8], sender: &Address) -> bool {
    // Without friend; more than enough for the fields around message and sender.
    const AROUND: usize = 96;
    let host = match sender.host() {
        Host::Name(name) => name.as_str().len(),
        Host::Ip(_) => 39,
    };
    // What is far too long need not be looked through.
    body.len() <= MAX_RECORD
        && value::written_len(kind, body) + host + AROUND <= MAX_RECORD
        && value::survives(kind, body)
}

fn write_address(address: &Address, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"hostname\":\"");
    match address.host() {
        Host::Name(name) => out.extend_from_slice(name.as_str().as_bytes()),
        Host::Ip(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
    }
    out.extend_from_slice(b"\",\"port\":");
    out.extend_from_slice(address.port().to_string().as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn written(outgoing: Outgoing<'_>, friend: Option<&Address>) -> String {
        let mut out = Vec::new();
        write(outgoing, &address("localhost:8001"), friend, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn payloads_are_written_as_javascript_writes_them() {
        assert_eq!(
            written(Outgoing::Announce, None),
            r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#
        );
        assert_eq!(
            written(Outgoing::Message(Kind::Text, b"hi"), Some(&address("localhost:9001"))),
            r#"{"message":"hi","type":"message","sender":{"hostname":"localhost","port":8001},"friend":{"hostname":"localhost","port":9001}}"#
        );
        let friend = Some(&address("[::1]:9001")).cloned();
        let text = written(Outgoing::Announce, friend.as_ref());
        assert!(text.ends_with(r#""friend":{"hostname":"::1","port":9001}}"#), "{text}");
    }

    #[test]
    fn a_friend_stays_away_when_the_record_is_full() {
        let friend = address("localhost:9001");
        let fits = |len: usize| {
            let body = "x".repeat(len);
            assert!(suits(Kind::Text, body.as_bytes(), &address("localhost:8001")));
            let text = written(Outgoing::Message(Kind::Text, body.as_bytes()), Some(&friend));
            assert!(text.len() <= MAX_RECORD, "{}", text.len());
            text.contains("friend")
        };
        assert!(fits(16_000));
        assert!(!fits(16_275));
        let long = "x".repeat(16_300);
        assert!(!suits(Kind::Text, long.as_bytes(), &address("localhost:8001")));
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of bytes")]
    fn whatever_suits_fits_into_a_record() {
        let name = format!("{}.x", ["a".repeat(63).as_str(); 3].join("."));
        for sender in [
            "localhost:1",
            &format!("{name}:65535"),
            "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
        ] {
            let sender = address(sender);
            let mut len = 16_384;
            while !suits(Kind::Text, &alloc::vec![b'x'; len], &sender) {
                len -= 1;
            }
            let mut out = Vec::new();
            write(Outgoing::Message(Kind::Text, &alloc::vec![b'x'; len]), &sender, None, &mut out);
            assert!((16_300..=MAX_RECORD).contains(&out.len()), "{}", out.len());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (sender, friend) = (address("localhost:8001"), address("10.0.0.1:80"));
        for message in [Message::text("é\""), Message::bytes(&[0, 255]), Message::json("[1.0]")] {
            let mut out = Vec::new();
            let outgoing = Outgoing::Message(message.kind(), message.body());
            write(outgoing, &sender, Some(&friend), &mut out);
            let (sender, friend) = (Some(sender.clone()), Some(friend.clone()));
            assert_eq!(
                Payload::parse(&out),
                Some(Payload { message: Some(message), sender, friend })
            );
        }
    }

    #[test]
    fn payloads_of_every_kind() {
        let sender = r#""sender":{"hostname":"LocalHost","port":8001}"#;
        let parse = |text: &str| Payload::parse(text.as_bytes());
        let message = |text: &str| parse(text).and_then(|payload| payload.message);
        let text = |text: &str| Some(Message::text(text));
        let json = |text: &str| Some(Message::json(text));
        for (fields, expected) in [
            (r#""message":"m","type":"message""#, text("m")),
            (r#""type":"message","message":"m","hostname":"x","port":1,"other":{}"#, text("m")),
            (r#""message": 0 ,"type":"message""#, json("0")),
            (r#""message":null,"type":"message""#, json("null")),
            (r#""message":"","type":"message""#, text("")),
            (r#""type":"message""#, None),
            (r#""message":"m","type":"announce""#, None),
            (r#""message":null,"type":"announce""#, None),
            (r#""type":"unknown""#, None),
            (r#""message":null"#, None),
        ] {
            let text = format!(" {{{fields},{sender}}}\n");
            assert_eq!(parse(&text).unwrap().sender, Some(address("localhost:8001")), "{text}");
            assert_eq!(message(&text), expected, "{text}");
        }
        for text in [
            "",
            "hello",
            "null",
            "[]",
            "1",
            "{}",
            r#"{"message":"m","type":"message"}"#,
            r#"{"message":"m","type":"message","sender":null}"#,
            r#"{"message":"m","type":"Message","sender":{}}"#,
            r#"{"message":"m","sender":{}}"#,
            r#"{"message":"m","type":"message","sender":{}}{}"#,
            "\u{feff}{\"type\":\"announce\",\"sender\":{}}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_that_nobody_can_dial_are_none() {
        let friend = |json: &str| {
            let text = format!(r#"{{"type":"announce","sender":{{}},"friend":{json}}}"#);
            Payload::parse(text.as_bytes()).unwrap().friend
        };
        assert_eq!(friend(r#"{"hostname":"::1","port":"8001"}"#), Some(address("[::1]:8001")));
        let full =
            r#"{"identifier":"7625","hostname":"localhost","port":9001,"status":"alive","time":1}"#;
        assert_eq!(friend(full), Some(address("localhost:9001")));
        for json in [
            "null",
            "{}",
            "\"x\"",
            r#"{"hostname":"x"}"#,
            r#"{"port":1}"#,
            r#"{"hostname":5,"port":1}"#,
            r#"{"hostname":{"toString":1},"port":1}"#,
            r#"{"hostname":"x","port":0}"#,
            r#"{"hostname":"x","port":70000}"#,
            r#"{"hostname":"x","port":-1}"#,
            r#"{"hostname":"x","port":9001.5}"#,
            r#"{"hostname":"x","port":true}"#,
            r#"{"hostname":"x","port":"0x2329"}"#,
            r#"{"hostname":"x","port":""}"#,
            r#"{"hostname":"x\r\ny","port":1}"#,
            r#"{"hostname":"","port":1}"#,
            r#"{"hostname":"127.1","port":1}"#,
            r#"{"hostname":"0.0.0.0","port":1}"#,
        ] {
            assert_eq!(friend(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        let body = b"{\"message\":\"a\xffb\",\"type\":\"message\",\"sender\":{}}";
        let message = Payload::parse(body).unwrap().message;
        assert_eq!(message, Some(Message::text("a\u{fffd}b")));
    }
}
