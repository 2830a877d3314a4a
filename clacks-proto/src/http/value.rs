//! Conversion between messages and JSON values.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::MAX_DEPTH;
use super::brackets::depth_of;
use crate::message::{Kind, Message};

/// The JSON object of a message of kind bytes. An object with other keys is a message of kind JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes {
    #[serde(rename = "clacks:base64")]
    base64: String,
}

/// Returns the message of a JSON value.
///
/// A string becomes text. An object whose only key is `clacks:base64` becomes bytes. All other
/// values become JSON and keep their exact text. A string with an unpaired surrogate also becomes
/// JSON, because it has no UTF-8 form.
pub(super) fn from_json(value: &RawValue) -> Message {
    let json = value.get();
    if let Ok(text) = serde_json::from_str::<String>(json) {
        return Message::text(&text);
    }
    match bytes_from_json(json) {
        Some(bytes) => Message::bytes(&bytes),
        None => Message::json(json),
    }
}

/// Decodes the object of a message of kind bytes. Accepts only the canonical Base64 of RFC 4648,
/// section 4, because any other form would change when the message is encoded again.
fn bytes_from_json(json: &str) -> Option<Vec<u8>> {
    let Bytes { base64 } = parse_object(json)?;
    BASE64_STANDARD.decode(base64).ok()
}

/// Parses a JSON object into a struct.
pub(super) fn parse_object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    // Serde would also accept an array of the fields' values.
    let object = Some(json).filter(|json| json.trim_ascii_start().starts_with('{'))?;
    serde_json::from_str(object).ok()
}

/// Returns the JSON value of a message. The value of a JSON message is its body.
pub(super) fn to_json(kind: Kind, body: &[u8]) -> Cow<'_, str> {
    match kind {
        Kind::Json => String::from_utf8_lossy(body),
        // serde_json uses the same escapes as `JSON.stringify`.
        Kind::Text => Cow::Owned(Value::from(String::from_utf8_lossy(body)).to_string()),
        Kind::Bytes => {
            Cow::Owned(format!(r#"{{"clacks:base64":"{}"}}"#, BASE64_STANDARD.encode(body)))
        }
    }
}

/// Returns whether a JavaScript tower would keep a message and not crash, regardless of its length.
///
/// A JavaScript tower drops falsy values, and crashes when it encodes a deeply nested value.
/// Invalid JSON would make the whole payload invalid.
pub(super) fn suits_javascript(kind: Kind, body: &[u8]) -> bool {
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

/// Returns whether JavaScript treats a JSON value as false. A number that is too large is also
/// treated as false: it becomes `Infinity`, which `JSON.stringify` encodes as `null`.
fn is_falsy(json: &str) -> bool {
    matches!(json, "null" | "false" | "\"\"")
        || json.parse::<f64>().is_ok_and(|number| number == 0.0 || number.is_infinite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(json: &str) -> Message {
        from_json(serde_json::from_str(json).unwrap())
    }

    fn written(message: &Message) -> Cow<'_, str> {
        to_json(message.kind(), message.body())
    }

    #[test]
    fn other_values_keep_their_exact_text() {
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
            r#"{"clacks:base64":"Zg==","clacks:base64":"Zg=="}"#,
            r#"{"clacks:base64":5}"#,
            r#"["Zg=="]"#,
        ] {
            let message = parsed(&format!(" \t{json}\r\n"));
            assert_eq!((message.kind(), &*written(&message)), (Kind::Json, json));
        }
    }

    #[test]
    fn strings_are_text_and_the_base64_object_is_bytes() {
        let text = parsed(r#""\u00e9\u20ac \ud83d\ude00\u0000\/""#);
        assert_eq!((text.kind(), text.as_text()), (Kind::Text, Some("é€ 😀\0/")));
        assert_eq!(written(&text), "\"é€ 😀\\u0000/\"");
        let bytes = parsed(r#"{ "clacks:base64" : "AP8=" }"#);
        assert_eq!((bytes.kind(), bytes.body()), (Kind::Bytes, &[0, 255][..]));
        assert_eq!(written(&bytes), r#"{"clacks:base64":"AP8="}"#);
    }

    #[test]
    fn text_is_escaped_like_json_stringify() {
        let text = Message::text("\u{8}\t\n\u{c}\r\"\\/<\u{1f}\u{7f}\u{2028}");
        assert_eq!(written(&text), "\"\\b\\t\\n\\f\\r\\\"\\\\/<\\u001f\u{7f}\u{2028}\"");
    }

    #[test]
    fn falsy_deep_and_invalid_values_do_not_suit_javascript() {
        let nested = |depth: u32| {
            let (open, close) = ("[".repeat(depth as usize), "]".repeat(depth as usize));
            format!("{open}{close}")
        };
        for json in [
            "null",
            "false",
            "0",
            "-0",
            "0.0e5",
            "1e-400",
            "1e400",
            "\"\"",
            "{",
            "[1,]",
            "",
            &nested(MAX_DEPTH + 1),
        ] {
            assert!(!suits_javascript(Kind::Json, json.as_bytes()), "{json}");
        }
        for json in ["true", "1", "-1e-3", "\"0\"", "{}", "[]", "[0]", &nested(MAX_DEPTH)] {
            assert!(suits_javascript(Kind::Json, json.as_bytes()), "{json}");
        }
        assert!(!suits_javascript(Kind::Text, b"") && suits_javascript(Kind::Text, b"0"));
        assert!(suits_javascript(Kind::Bytes, b""));
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn text_and_bytes_survive_a_round_trip(text in any::<String>(), bytes: Vec<u8>) {
            for sent in [Message::text(&text), Message::bytes(&bytes)] {
                prop_assert_eq!(parsed(&written(&sent)), sent);
            }
        }
    }
}
