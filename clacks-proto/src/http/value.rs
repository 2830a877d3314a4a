//! Messages <-> JSON values.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::MAX_DEPTH;
use super::pick::pick;
use super::scan::depth_of;
use crate::message::{Kind, Message};

/// The one key of the object that carries raw bytes.
const BYTES: &str = "clacks:base64";

/// A JSON value, as the message that it is: a string is text, `{"clacks:base64": "…"}` is bytes, and everything else stays the JSON
/// that it was, character for character, without white space around it. So does a string with half a surrogate pair in it, which is no text.
pub(super) fn message_of(value: &RawValue) -> (Kind, Cow<'_, [u8]>) {
    let json = value.get();
    if json.starts_with('"')
        && let Ok(text) = serde_json::from_str::<Cow<'_, str>>(json)
    {
        return (Kind::Text, Cow::Owned(text.into_owned().into_bytes()));
    }
    if let Some(bytes) = bytes_of(json) {
        return (Kind::Bytes, Cow::Owned(bytes));
    }
    (Kind::Json, Cow::Borrowed(json.as_bytes()))
}

fn bytes_of(json: &str) -> Option<Vec<u8>> {
    if !json.starts_with('{') || !json.contains(BYTES) {
        return None;
    }
    let (fields, [text]) = pick(json, [BYTES])?;
    // With anything else in it, it is somebody's own object.
    let text = text.filter(|_| fields == 1)?;
    // In another spelling than the one that is written it would not come back as it was.
    BASE64_STANDARD.decode(serde_json::from_str::<String>(text.get()).ok()?).ok()
}

/// Appends a message as a JSON value. What is JSON already goes out as it is.
pub(super) fn write(kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Json => out.extend_from_slice(body),
        Kind::Text => write_string(body, out),
        Kind::Bytes => {
            out.extend_from_slice(b"{\"");
            out.extend_from_slice(BYTES.as_bytes());
            out.extend_from_slice(b"\":\"");
            out.extend_from_slice(BASE64_STANDARD.encode(body).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// How many bytes [`write`] appends.
pub(super) fn written_len(kind: Kind, body: &[u8]) -> usize {
    match kind {
        Kind::Json => body.len(),
        Kind::Text => {
            2 + body.iter().map(|byte| escape(*byte).map_or(1, Escape::len)).sum::<usize>()
        }
        Kind::Bytes => BYTES.len() + 7 + body.len().div_ceil(3) * 4,
    }
}

/// Whether a message would get through a JavaScript tower as it is, whatever its length.
///
/// Such a tower drops what JavaScript takes for false, and breaks down over what nests too deep. What is not JSON at all, though it says so,
/// would be refused as a whole.
pub(super) fn survives(kind: Kind, body: &[u8]) -> bool {
    match kind {
        Kind::Text => !body.is_empty(),
        Kind::Bytes => true,
        Kind::Json => {
            depth_of(body) <= MAX_DEPTH
                && serde_json::from_slice::<&RawValue>(body)
                    .is_ok_and(|value| !is_falsy(value.get()))
        }
    }
}

/// Whether JavaScript takes a JSON value for false, or can't hold it as a number.
fn is_falsy(json: &str) -> bool {
    match json.as_bytes().first() {
        Some(b'n' | b'f') => true,
        Some(b'"') => json.len() == 2,
        Some(b'-' | b'0'..=b'9') => {
            json.parse::<f64>().is_ok_and(|number| number == 0.0 || !number.is_finite())
        }
        _ => false,
    }
}

/// Appends text as a JSON string, escaped like JavaScript does it.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match escape(*byte) {
            None => out.push(*byte),
            Some(Escape::Short(letter)) => out.extend_from_slice(&[b'\\', letter]),
            Some(Escape::Code) => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(*byte)]);
            }
        }
    }
    out.push(b'"');
}

#[derive(Clone, Copy)]
enum Escape {
    Short(u8),
    Code,
}

impl Escape {
    fn len(self) -> usize {
        match self {
            Self::Short(_) => 2,
            Self::Code => 6,
        }
    }
}

fn escape(byte: u8) -> Option<Escape> {
    Some(match byte {
        b'"' | b'\\' => Escape::Short(byte),
        0x08 => Escape::Short(b'b'),
        b'\t' => Escape::Short(b't'),
        b'\n' => Escape::Short(b'n'),
        0x0C => Escape::Short(b'f'),
        b'\r' => Escape::Short(b'r'),
        0..0x20 => Escape::Code,
        _ => return None,
    })
}

/// A message for the JSON value `json`, as it would come in from a JavaScript tower; `None` when it is not JSON, or nests deeper than [`MAX_DEPTH`].
///
/// ```
/// use clacks_proto::{Kind, http};
///
/// assert_eq!(http::message(r#" "Hello Discworld!" "#).unwrap().kind(), Kind::Text);
/// assert_eq!(http::message("1.00").unwrap().as_text(), Some("1.00"));
/// assert_eq!(http::message(r#"{"clacks:base64":"/wA="}"#).unwrap().body(), &[0xff, 0][..]);
/// ```
#[must_use]
pub fn message(json: &str) -> Option<Message> {
    let value: &RawValue = serde_json::from_str(json).ok()?;
    let (kind, body) = message_of(value);
    let is_flat = depth_of(value.get().as_bytes()) <= MAX_DEPTH;
    is_flat.then(|| Message::from_parts(kind, bytes::Bytes::copy_from_slice(&body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn written(message: &Message) -> String {
        let mut out = Vec::new();
        write(message.kind(), message.body(), &mut out);
        assert_eq!(out.len(), written_len(message.kind(), message.body()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_that_came_in_goes_out_as_the_same_value() {
        for json in [
            "12345678901234567890",
            "1.00",
            "-0",
            "1e999",
            "null",
            "true",
            "[]",
            "{}",
            r#"{"a":1,"a":2}"#,
            r#""x\ud800y""#,
            r#"["\ud800"]"#,
            r#"{"2":1,"1":[ 1 , 2 ]}"#,
            r#"{"clacks:base64":"Zh=="}"#,
            r#"{"clacks:base64":"Zg"}"#,
            r#"{"clacks:base64":"Zg="}"#,
            r#"{"clacks:base64":"Zm 8"}"#,
            r#"{"clacks:base64":"Zm-8"}"#,
            r#"{"clacks:base64":"Zg==Zg=="}"#,
            r#"{"clacks:base64":"Zg==","more":1}"#,
            r#"{"clacks:base64":5}"#,
        ] {
            let padded = format!(" \t{json}\r\n");
            let message = message(&padded).unwrap();
            assert_eq!((message.kind(), written(&message).as_str()), (Kind::Json, json));
        }
    }

    #[test]
    fn strings_are_text_and_the_marked_object_is_bytes() {
        let text = message(r#""\u00e9\u20ac \ud83d\ude00\u0000\/""#).unwrap();
        assert_eq!((text.kind(), text.as_text()), (Kind::Text, Some("é€ 😀\0/")));
        assert_eq!(written(&text), "\"é€ 😀\\u0000/\"");
        let bytes = message(r#"{ "clacks:base64" : "AP8=" }"#).unwrap();
        assert_eq!((bytes.kind(), &bytes.body()[..]), (Kind::Bytes, &[0, 255][..]));
        assert_eq!(written(&bytes), r#"{"clacks:base64":"AP8="}"#);
    }

    #[test]
    fn text_is_escaped_as_javascript_does_it() {
        let text = Message::text("\u{8}\t\n\u{c}\r\"\\/<\u{1f}\u{7f}\u{2028}");
        assert_eq!(written(&text), "\"\\b\\t\\n\\f\\r\\\"\\\\/<\\u001f\u{7f}\u{2028}\"");
    }

    #[test]
    fn what_javascript_takes_for_false_or_cannot_hold_does_not_survive() {
        for json in
            ["null", "false", "0", "-0", "0.0e5", "1e-400", "1e400", "\"\"", "{", "[1,]", ""]
        {
            assert!(!survives(Kind::Json, json.as_bytes()), "{json}");
        }
        for json in ["true", "1", "-1e-3", "\"0\"", "{}", "[]", "[0]"] {
            assert!(survives(Kind::Json, json.as_bytes()), "{json}");
        }
        assert!(!survives(Kind::Text, b"") && survives(Kind::Text, b"0"));
        assert!(survives(Kind::Bytes, b""));
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: u32| {
            let (open, close) = ("[".repeat(depth as usize), "]".repeat(depth as usize));
            format!("{open}{close}")
        };
        assert!(message(&nested(MAX_DEPTH)).is_some());
        assert!(survives(Kind::Json, nested(MAX_DEPTH).as_bytes()));
        assert!(message(&nested(MAX_DEPTH + 1)).is_none());
        assert!(!survives(Kind::Json, nested(MAX_DEPTH + 1).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_text_and_any_bytes_come_back(text in any::<String>(), bytes: Vec<u8>) {
            for sent in [Message::text(&text), Message::bytes(&bytes)] {
                prop_assert_eq!(message(&written(&sent)).unwrap(), sent);
            }
        }
    }
}
