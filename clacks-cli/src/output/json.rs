//! Events as JSON: one object a line, the event's name first.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clacks_proto::{Dialect, Kind, Message, Origin, Report};
use serde_json::{Map, Value, json};

use crate::console::COMMANDS;
use crate::output::{Said, counters};

/// Writes one line, and flushes it: who reads a pipe wants the event now.
pub(crate) fn write(event: &Value) -> io::Result<()> {
    let mut line = event.to_string();
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// What is said, when it is an event.
pub(crate) fn event(said: &Said<'_>) -> Option<Value> {
    Some(match said {
        Said::Listening { address, fingerprint } => json!({
            "event": "listening",
            "address": address.to_string(),
            "fingerprint": fingerprint.map(|fingerprint| fingerprint.to_string()),
        }),
        Said::Report(happened) => return report(happened),
        Said::Peek(held) => {
            let messages: Vec<_> = held
                .iter()
                .map(|held| {
                    json!({
                        "nonce": held.nonce.to_string(),
                        "kind": kind(held.message.kind()),
                        "message": message(&held.message),
                        "in_flight": held.in_flight.is_some(),
                    })
                })
                .collect();
            json!({"event": "peek", "messages": messages})
        }
        Said::Survey(peers) => {
            let towers: Vec<_> = peers
                .iter()
                .map(|peer| {
                    json!({
                        "address": peer.address.to_string(),
                        "status": peer.status.as_str(),
                        "since_ms": u64::try_from(peer.since.as_millis()).unwrap_or(u64::MAX),
                        "fingerprint": peer.fingerprint.map(|fingerprint| fingerprint.to_string()),
                        "dialect": peer.dialect.map(Dialect::as_str),
                    })
                })
                .collect();
            json!({"event": "survey", "towers": towers})
        }
        Said::Stats { stats, held: (messages, bytes) } => {
            let mut event = Map::new();
            event.insert("event".into(), "stats".into());
            event.insert("held_messages".into(), (*messages).into());
            event.insert("held_bytes".into(), (*bytes).into());
            event.extend(counters(stats).map(|(name, count)| (name.to_owned(), count.into())));
            Value::Object(event)
        }
        Said::Done { verb, tower } => {
            json!({"event": "done", "verb": verb, "tower": tower.to_string()})
        }
        Said::Help => {
            let commands: Map<String, Value> = COMMANDS
                .iter()
                .map(|(usage, meaning)| ((*usage).to_owned(), (*meaning).into()))
                .collect();
            json!({"event": "help", "commands": commands})
        }
        Said::ShuttingDown { messages, .. } => {
            json!({"event": "shutting_down", "messages": messages})
        }
        Said::ShutDown { left } => json!({"event": "shut_down", "left": left}),
        Said::Error(sentence) => json!({"event": "error", "message": sentence}),
        Said::Note(_) => return None,
    })
}

/// What happened to a tower.
pub(crate) fn report(report: &Report) -> Option<Value> {
    Some(match report {
        Report::TowerDiscovered { tower } => {
            json!({"event": "tower_discovered", "tower": tower.to_string()})
        }
        Report::StatusChanged { tower, from, to } => json!({
            "event": "tower_updated",
            "tower": tower.to_string(),
            "from": from.as_str(),
            "to": to.as_str(),
        }),
        Report::MessageReceived { from, nonce, message: received } => json!({
            "event": "message_received",
            "from": from.as_ref().map(ToString::to_string),
            "nonce": nonce.to_string(),
            "kind": kind(received.kind()),
            "message": message(received),
        }),
        Report::MessageQueued { nonce, origin } => json!({
            "event": "message_queued",
            "nonce": nonce.to_string(),
            "origin": match origin {
                Origin::Local => "local",
                Origin::Peer => "peer",
                Origin::Returned => "returned",
                _ => "other",
            },
        }),
        Report::MessageDelivered { to, nonce } => json!({
            "event": "message_delivered",
            "to": to.to_string(),
            "nonce": nonce.to_string(),
        }),
        Report::Announced { to } => json!({"event": "announced", "to": to.to_string()}),
        Report::KeyChanged { tower, seen } => json!({
            "event": "key_changed",
            "tower": tower.to_string(),
            "seen": seen.map(|seen| seen.to_string()),
        }),
        Report::LinkClosed { tower, why } => json!({
            "event": "link_closed",
            "tower": tower.as_ref().map(ToString::to_string),
            "why": why.to_string(),
        }),
        Report::Missed { count } => json!({"event": "missed", "count": count}),
        // The end is told by whoever waited for it.
        _ => return None,
    })
}

/// A body: a string when it is UTF-8, whatever its kind, so that it stays byte for byte what it was.
fn message(message: &Message) -> Value {
    match std::str::from_utf8(message.body()) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": STANDARD.encode(message.body())}),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Json => "json",
        _ => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Address, Nonce, Status};

    fn line(said: &Said<'_>) -> String {
        event(said).unwrap().to_string()
    }

    #[test]
    fn events_have_their_name_first() {
        let address: Address = "tower.example:8001".parse().unwrap();
        let updated =
            Report::StatusChanged { tower: address, from: Status::New, to: Status::Alive };
        assert_eq!(
            line(&Said::Report(&updated)),
            r#"{"event":"tower_updated","tower":"tower.example:8001","from":"new","to":"alive"}"#
        );
        assert_eq!(line(&Said::ShutDown { left: 2 }), r#"{"event":"shut_down","left":2}"#);
    }

    #[test]
    fn any_body_survives() {
        let received = |message| {
            let report = Report::MessageReceived { from: None, nonce: Nonce(1), message };
            event(&Said::Report(&report)).unwrap()["message"].clone()
        };
        assert_eq!(received(Message::text("a\n\"b\"\u{1b}")), json!("a\n\"b\"\u{1b}"));
        assert_eq!(received(Message::json("1.00")), json!("1.00"), "not parsed, not rounded");
        assert_eq!(received(Message::bytes(b"plain")), json!("plain"));
        assert_eq!(received(Message::bytes(&[0xff, 0x00])), json!({"base64": "/wA="}));
    }

    #[test]
    fn one_event_is_one_line() {
        let sentence = "two\nlines";
        assert_eq!(line(&Said::Error(sentence)).lines().count(), 1);
    }
}
