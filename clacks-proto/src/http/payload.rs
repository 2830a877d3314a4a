//! The body of a request: a message or an announcement, with two addresses.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MAX_RECORD, value};
use crate::address::{Address, Host};
use crate::message::{Kind, Message};

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload {
    /// The message. `None` for an announcement, and for a message with the JSON value `null`.
    pub message: Option<Message>,
    /// The sender's address, if it can be dialled.
    pub sender: Option<Address>,
    /// The address of a tower that the sender knows, if it can be dialled.
    pub friend: Option<Address>,
}

/// The keys that are read. Other keys are ignored.
#[derive(Deserialize)]
struct JsonPayload<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    sender: Option<&'a RawValue>,
    #[serde(borrow)]
    friend: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonAddress<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    #[serde(borrow)]
    port: &'a RawValue,
}

impl Payload {
    /// Parses the body of a request. Replaces invalid UTF-8 by U+FFFD, as JavaScript does.
    ///
    /// Returns `None` if the body is not a JSON object, if its `type` is neither `message` nor
    /// `announce`, or if it has no `sender`.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let json: JsonPayload<'_> = value::parse_object(&text)?;
        let message = match &*json.kind {
            "message" => json.message.map(value::from_json),
            "announce" => None,
            _ => return None,
        };
        let sender = parse_address(json.sender?);
        Some(Self { message, sender, friend: json.friend.and_then(parse_address) })
    }
}

/// Parses an address. Returns `None` if it cannot be dialled.
fn parse_address(json: &RawValue) -> Option<Address> {
    let JsonAddress { hostname, port } = value::parse_object(json.get())?;
    // A JavaScript tower sends the port as a number or as a string, as it was configured.
    Address::new(&hostname, port.get().trim_matches('"').parse().ok()?).ok()
}

/// Returns the body of a request, with the keys in the same order as from a JavaScript tower.
///
/// `message` is `None` for an announcement. The friend is omitted if the body would exceed
/// [`MAX_RECORD`] bytes with it.
pub(crate) fn write_payload(
    message: Option<(Kind, &[u8])>,
    sender: &Address,
    friend: Option<&Address>,
) -> Vec<u8> {
    let (kind, message) = match message {
        Some((kind, body)) => ("message", value::to_json(kind, body)),
        None => ("announce", Cow::Borrowed("null")),
    };
    let sender = json_address(sender);
    let mut json = format!(r#"{{"message":{message},"type":"{kind}","sender":{sender}"#);
    if let Some(friend) = friend {
        let friend = format!(r#","friend":{}"#, json_address(friend));
        if json.len() + friend.len() < MAX_RECORD {
            json.push_str(&friend);
        }
    }
    json.push('}');
    json.into_bytes()
}

fn json_address(address: &Address) -> String {
    let hostname = match address.host() {
        Host::Name(name) => name.as_str().to_string(),
        Host::Ip(ip) => ip.to_string(),
    };
    format!(r#"{{"hostname":"{hostname}","port":{}}}"#, address.port())
}

/// Returns whether a JavaScript tower would receive a message unchanged and keep it.
///
/// Costs as much as encoding the message, unless its body is longer than a record.
pub(crate) fn suits(kind: Kind, body: &[u8], sender: &Address) -> bool {
    if body.len() > MAX_RECORD || !value::suits_javascript(kind, body) {
        return false;
    }
    // The payload of a message differs from that of an announcement in the message and the type.
    let announcement = write_payload(None, sender, None).len();
    let around = announcement - "null".len() - "announce".len() + "message".len();
    around + value::to_json(kind, body).len() <= MAX_RECORD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn written(message: Option<(Kind, &[u8])>, friend: Option<&Address>) -> String {
        String::from_utf8(write_payload(message, &address("localhost:8001"), friend)).unwrap()
    }

    #[test]
    fn payloads_are_written_as_by_javascript_towers() {
        assert_eq!(
            written(None, None),
            r#"{"message":null,"type":"announce","sender":{"hostname":"localhost","port":8001}}"#
        );
        let text = written(Some((Kind::Text, b"hi")), Some(&address("localhost:9001")));
        let (start, friend) = text.split_once(r#","friend":"#).unwrap();
        assert_eq!(
            start,
            r#"{"message":"hi","type":"message","sender":{"hostname":"localhost","port":8001}"#
        );
        assert_eq!(friend, r#"{"hostname":"localhost","port":9001}}"#);
        let text = written(None, Some(&address("[::1]:9001")));
        assert!(text.ends_with(r#""friend":{"hostname":"::1","port":9001}}"#), "{text}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow: writes long payloads")]
    fn a_friend_is_left_out_of_a_full_record() {
        let (sender, friend) = (address("localhost:8001"), address("localhost:9001"));
        let with_friend = |body: &[u8]| {
            let json = write_payload(Some((Kind::Text, body)), &sender, Some(&friend));
            let has_friend = json.windows(8).any(|key| key == br#""friend""#);
            (json.len(), has_friend)
        };
        let empty = with_friend(b"").0;
        let longest = alloc::vec![b'x'; MAX_RECORD - empty];
        assert_eq!(with_friend(&longest), (MAX_RECORD, true));
        let longer = alloc::vec![b'x'; MAX_RECORD - empty + 1];
        assert!(!with_friend(&longer).1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow: writes long payloads")]
    fn a_message_suits_if_its_payload_fits_into_a_record() {
        let name = format!("{}.x", ["a".repeat(63).as_str(); 3].join("."));
        for sender in ["localhost:1", &format!("{name}:65535"), "[1111:2222::8888]:65535"] {
            let sender = address(sender);
            // An escaped byte takes six bytes, and three bytes in Base64 take four.
            for (kind, byte) in [(Kind::Text, b'x'), (Kind::Text, 1), (Kind::Bytes, 0)] {
                let body = alloc::vec![byte; MAX_RECORD];
                let payload_len =
                    |len| write_payload(Some((kind, &body[..len])), &sender, None).len();
                let lens: Vec<usize> = (1..MAX_RECORD).collect();
                let longest = lens.partition_point(|len| suits(kind, &body[..*len], &sender));
                assert!(payload_len(longest) <= MAX_RECORD, "{kind:?} {sender}");
                assert!(payload_len(longest + 1) > MAX_RECORD, "{kind:?} {sender}");
            }
        }
    }

    #[test]
    fn payloads_survive_a_round_trip() {
        let (sender, friend) = (address("localhost:8001"), address("10.0.0.1:80"));
        for message in [Message::text("é\""), Message::bytes(&[0, 255]), Message::json("[1.0]")] {
            let parts = Some((message.kind(), message.body()));
            let json = write_payload(parts, &sender, Some(&friend));
            let (sender, friend) = (Some(sender.clone()), Some(friend.clone()));
            let expected = Payload { message: Some(message), sender, friend };
            assert_eq!(Payload::parse(&json), Some(expected));
        }
    }

    #[test]
    fn payloads_of_every_kind_are_parsed() {
        let sender = r#""sender":{"hostname":"LocalHost","port":8001}"#;
        let parse = |text: &str| Payload::parse(text.as_bytes());
        let message = |text: &str| parse(text).and_then(|payload| payload.message);
        let text = |text: &str| Some(Message::text(text));
        let json = |text: &str| Some(Message::json(text));
        for (fields, expected) in [
            (r#""message":"m","type":"message""#, text("m")),
            (r#""type":"message","message":"m","hostname":"x","port":1,"other":{}"#, text("m")),
            (r#""message": 0 ,"type":"message""#, json("0")),
            (r#""message":null,"type":"message""#, None),
            (r#""message":"","type":"message""#, text("")),
            (r#""type":"message""#, None),
            (r#""message":"m","type":"announce""#, None),
            (r#""message":null,"type":"announce""#, None),
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
            r#"{"message":"m","type":5,"sender":{}}"#,
            r#"["m","message",{},null]"#,
            r#"{"message":"m","type":"message","sender":{}}{}"#,
            "\u{feff}{\"type\":\"announce\",\"sender\":{}}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_dialled_is_none() {
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
            r#"["x",1]"#,
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
    fn invalid_utf_8_is_replaced() {
        let body = b"{\"message\":\"a\xffb\",\"type\":\"message\",\"sender\":{}}";
        let message = Payload::parse(body).unwrap().message;
        assert_eq!(message, Some(Message::text("a\u{fffd}b")));
    }
}
