//! Text for people: the time, a word in colour, and the details.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use clacks_proto::wire::RefusedReason;
use clacks_proto::{
    Address, Dialect, HeldMessage, Message, MessageState, Notice, Origin, Stats, Status,
    StatusReason,
};
use clacks_store::is_invisible;
use serde_json::Value;

use super::{Entry, Output, SurveyedPeer};
use crate::control::{TowerStatus, is_actionable};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const NEWS: Style = AnsiColor::Cyan.on_default();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// The most characters of a message that a line shows.
const MAX_QUOTED_CHARS: usize = 120;

/// Renders entries as lines, with colours.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// The last return of a message was written. While no peer takes them, messages return again
    /// and again.
    is_returning: bool,
    /// The lines so far.
    lines: String,
    /// The time of the entry.
    time: Option<SystemTime>,
}

impl Text {
    /// Returns the lines of an entry: one line, a line and a table, or none.
    pub(crate) fn render(&mut self, entry: &Entry) -> String {
        self.time = Some(entry.time);
        match &entry.output {
            Output::Listening { address, fingerprint, control } => {
                self.line(GOOD, "listening", format_args!("on {address}"));
                if let Some(own) = fingerprint {
                    self.line(QUIET, "identity", own);
                }
                if let Some(control) = control {
                    self.line(QUIET, "control", control.display());
                }
            }
            Output::Notice(notice) => self.notice(notice),
            Output::Peek { messages, left_out } => self.peek(messages, *left_out),
            Output::Survey { towers } => self.survey(towers),
            Output::Stats { held_messages, held_bytes, stats } => {
                self.stats(stats, *held_messages, *held_bytes);
            }
            Output::Status(status) => self.status(status),
            Output::History { points } => {
                self.line(STRONG, "history", count(points.len(), "point"));
                for point in points {
                    let time = humantime::format_rfc3339_seconds(point.time);
                    self.row(format_args!(
                        "{time}  {}, {:.1}/s in, {:.1}/s out",
                        count(point.messages, "message"),
                        point.received_per_s,
                        point.delivered_per_s
                    ));
                }
            }
            Output::Dashboard { url, .. } if url.contains('#') => {
                self.line(GOOD, "dashboard", url);
            }
            Output::Dashboard { url, token_file } => {
                let token = token_file.display().to_string();
                let rest = format!("{url} (the token is in {})", escape(&token));
                self.line(GOOD, "dashboard", rest);
            }
            Output::Enqueued { .. } => self.line(GOOD, "queued", "your message"),
            Output::Delivered { to } => {
                self.line(GOOD, "delivered", format_args!("your message to {}", name(to.as_ref())));
            }
            Output::Stopping => self.line(WARN, "stopping", "the tower"),
            Output::Announcing { tower } => {
                self.line(NEWS, "announcing", format_args!("this tower to {tower}"));
            }
            Output::Done { verb, tower } => self.line(GOOD, "done", format_args!("{verb} {tower}")),
            Output::Help { commands } => {
                for (usage, meaning) in *commands {
                    // Without the indent of rows, for narrow terminals.
                    let _ = writeln!(self.lines, "  {:<19}  {meaning}", usage.replace('_', " "));
                }
            }
            Output::ShuttingDown { messages: 0, .. } => {
                self.line(WARN, "leaving", "with no messages held");
            }
            Output::ShuttingDown { messages, within_ms } => {
                let messages = count(*messages, "message");
                let within = humantime::format_duration(Duration::from_millis(*within_ms));
                self.line(
                    WARN,
                    "leaving",
                    format_args!("handing {messages} to peers first, for at most {within}"),
                );
            }
            Output::Note(note) => self.line(QUIET, "note", note),
            Output::Reloaded { changes } => {
                self.line(STRONG, "reloaded", escape(&changes.sentence()));
            }
            Output::Error { message } => self.line(BAD, "error", escape(message)),
        }
        std::mem::take(&mut self.lines)
    }

    fn notice(&mut self, notice: &Notice) {
        if !self.is_news(notice) {
            return;
        }
        match notice {
            Notice::TowerDiscovered { peer } => self.line(NEWS, "discovered", peer),
            Notice::TowerForgotten { peer } => self.line(QUIET, "forgotten", peer),
            Notice::StatusChanged { peer, from, to, reason, retry_in } => {
                let (why, again) = (explain(*reason), again(*retry_in));
                self.line(
                    status_style(*to),
                    to.as_str(),
                    format_args!("{peer} (was {from}){why}{again}"),
                );
            }
            Notice::MessageReceived { message, from, again, .. } => {
                let (message, from) = (quote(message), name(from.as_ref()));
                let again = if *again { ", again" } else { "" };
                self.line(NEWS, "received", format_args!("{message} from {from}{again}"));
            }
            // It may be a piece of a file from a guest.
            Notice::MessageQueued { origin: Origin::Local, .. } => {
                self.line(NEWS, "queued", "a message");
            }
            Notice::MessageQueued { origin: Origin::Returned, .. } => self.line(
                WARN,
                "returned",
                "a message to the queue, because its peer did not take it; \
                 it is sent again until a peer takes it",
            ),
            Notice::MessageDelivered { message, to, .. } => {
                self.line(NEWS, "delivered", format_args!("{} to {to}", quote(message)));
            }
            Notice::Announced { to } => {
                self.line(GOOD, "announced", format_args!("this tower to {to}"));
            }
            Notice::KeyChanged { peer, seen } => {
                let seen =
                    seen.map_or_else(|| "no key".to_owned(), |seen| format!("the key {seen}"));
                self.line(
                    BAD,
                    "stranger",
                    format_args!(
                        "at {peer}: it has {seen} instead of the one that was seen there before"
                    ),
                );
            }
            Notice::Refused { by, reason, .. } if *reason != RefusedReason::Busy => {
                let reason = StatusReason::Refused(*reason);
                self.line(WARN, "refused", format_args!("by {by}: {reason}"));
            }
            Notice::LocalTrouble { cause } => self.line(
                WARN,
                "trouble",
                format_args!("{cause}; connections fail until this ends, and are tried again"),
            ),
            Notice::LinkClosed { peer, reason, .. } if is_actionable(*reason) => {
                let peer = name(peer.as_ref());
                self.line(WARN, "closed", format_args!("the link with {peer}: {reason}"));
            }
            Notice::Missed { count: missed } => self.line(
                WARN,
                "missed",
                format_args!("{missed} events that came faster than they could be shown"),
            ),
            Notice::HandOverEnded { left, reason } => {
                let left = count(*left, "message");
                self.line(BAD, "leaving", format_args!("with {left} not handed over: {reason}"));
            }
            Notice::ShutDown { left: 0 } => self.line(GOOD, "gone", "nothing was left behind"),
            Notice::ShutDown { left } => {
                let left = count(*left, "message");
                self.line(BAD, "gone", format_args!("no peer took {left}: lost with this tower"));
            }
            // That a message from a peer is queued follows from its receipt.
            _ => {}
        }
    }

    fn is_news(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::MessageQueued { origin: Origin::Returned, .. } => {
                !std::mem::replace(&mut self.is_returning, true)
            }
            Notice::StatusChanged { .. } | Notice::MessageDelivered { .. } => {
                self.is_returning = false;
                true
            }
            _ => true,
        }
    }

    fn peek(&mut self, messages: &[HeldMessage], left_out: usize) {
        self.line(STRONG, "holds", count(messages.len() + left_out, "message"));
        for held in messages {
            let state = match held.state {
                MessageState::InFlight { .. } => "in flight",
                MessageState::Held => "held",
                _ => "waiting",
            };
            self.row(format_args!("{state:<9}  {}", quote(&held.message)));
        }
        if left_out > 0 {
            self.row(format_args!("{left_out} more are not shown"));
        }
    }

    fn survey(&mut self, towers: &[SurveyedPeer]) {
        self.line(STRONG, "knows", count(towers.len(), "tower"));
        let addresses: Vec<_> = towers.iter().map(|tower| tower.peer.address.to_string()).collect();
        let width = addresses.iter().map(String::len).max().unwrap_or(0);
        for (SurveyedPeer { peer, since_ms }, address) in towers.iter().zip(addresses) {
            let (style, status) = (status_style(peer.status), peer.status);
            let since = humantime::format_duration(Duration::from_secs(since_ms / 1_000));
            let key = peer.fingerprint.map(|key| key.to_string()).unwrap_or_default();
            let key = key.get(..16).unwrap_or_default();
            let since = format!("for {since}");
            let dialect = peer.dialect.map_or("", Dialect::as_str);
            self.row(format_args!(
                "{address:<width$}  {style}{status:<7}{style:#}  {since:<14}  {dialect:<6}  \
                 {QUIET}{key}{QUIET:#}"
            ));
        }
    }

    fn stats(&mut self, stats: &Stats, messages: usize, bytes: usize) {
        let held = count(messages, "message");
        self.line(STRONG, "holds", format_args!("{held} of {} altogether", count(bytes, "byte")));
        if let Ok(Value::Object(counters)) = serde_json::to_value(stats) {
            for (name, count) in counters {
                self.row(format_args!("{:<20} {count:>10}", name.replace('_', " ")));
            }
        }
    }

    /// One screen: the tower, its queue, peers and rates, and the last troubles.
    fn status(&mut self, status: &TowerStatus) {
        let TowerStatus { queue, peers, rates, .. } = status;
        self.line(STRONG, "tower", &status.address);
        if let Some(own) = status.fingerprint {
            self.row(format_args!("{:<10}  {own}", "identity"));
        }
        let network = escape(&status.network);
        self.row(format_args!("{:<10}  {network}, version {}", "network", escape(&status.version)));
        let uptime = humantime::format_duration(Duration::from_secs(status.uptime_ms / 1_000));
        self.row(format_args!("{:<10}  {uptime}", "uptime"));
        self.row(format_args!(
            "{:<10}  {} of at most {}, {} of {}",
            "queue",
            count(queue.messages, "message"),
            queue.max_messages,
            binary_size(queue.bytes),
            binary_size(queue.max_bytes)
        ));
        self.row(format_args!(
            "{:<10}  {} alive, {} new, {} lost, {} dead, {} ignored; {} of {} links open",
            "peers",
            peers.alive,
            peers.new,
            peers.lost,
            peers.dead,
            peers.ignored,
            status.links,
            status.max_links
        ));
        let over = humantime::format_duration(Duration::from_secs(rates.over_ms / 1_000));
        self.row(format_args!(
            "{:<10}  {:.1} messages/s in, {:.1}/s out, in the last {over}",
            "rates", rates.received_per_s, rates.delivered_per_s
        ));
        if let Some(store) = status.store {
            self.row(format_args!(
                "{:<10}  {} held, {} published, {} fetched, {} refused; {} requests passed on",
                "store",
                count(usize::try_from(store.held).unwrap_or(usize::MAX), "piece"),
                store.published,
                store.fetched,
                store.refused,
                store.relayed
            ));
        }
        if status.troubles.is_empty() {
            self.row(format_args!("{:<10}  {GOOD}none{GOOD:#}", "troubles"));
        }
        for trouble in &status.troubles {
            let time = humantime::format_rfc3339_seconds(trouble.time).to_string();
            let peer = trouble.peer.as_ref().map_or(String::new(), |peer| format!("{peer}: "));
            let times = match trouble.count {
                1 => String::new(),
                times => format!(" ({times} times)"),
            };
            self.row(format_args!(
                "{BAD}{:<10}{BAD:#}  {time} {peer}{}{times}",
                "trouble",
                escape(&trouble.what)
            ));
            self.row(format_args!("{:<10}  {}", "", escape(&trouble.remedy)));
        }
    }

    fn line(&mut self, style: Style, word: &str, rest: impl Display) {
        let time = self.time.unwrap_or_else(SystemTime::now);
        let time = humantime::format_rfc3339_seconds(time).to_string();
        let time = time.get(11..).unwrap_or_default();
        // Writing to a `String` does not fail.
        let _ = writeln!(self.lines, "{QUIET}{time}{QUIET:#}  {style}{word:<10}{style:#}  {rest}");
    }

    fn row(&mut self, row: impl Display) {
        let _ = writeln!(self.lines, "{:<21}  {row}", "");
    }
}

/// Returns the colour of a status.
pub(crate) fn status_style(status: Status) -> Style {
    match status {
        Status::New => NEWS,
        Status::Alive => GOOD,
        Status::Lost | Status::Dead => BAD,
        Status::Ignored => QUIET,
    }
}

/// Returns the end of a line with the reason of a new status. Empty for success and for requests of
/// the application.
pub(crate) fn explain(reason: StatusReason) -> String {
    match reason {
        StatusReason::Success | StatusReason::Application => String::new(),
        reason => format!(": {reason}"),
    }
}

/// Returns the end of a line that says when a peer is tried again.
fn again(retry_in: Option<Duration>) -> String {
    let seconds = |time: Duration| Duration::from_secs(time.as_secs().max(1));
    retry_in.map_or_else(String::new, |time| {
        format!("; tried again in {} or later", humantime::format_duration(seconds(time)))
    })
}

fn name(peer: Option<&Address>) -> String {
    peer.map_or_else(|| "a stranger".to_owned(), ToString::to_string)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Returns a message as a line shows it. Anyone can have written it: characters that could move the
/// cursor of a terminal or change the direction of its text are escaped.
pub(crate) fn quote(message: &Message) -> String {
    let Ok(text) = std::str::from_utf8(message.body()) else {
        return format!("binary data of {}", count(message.len(), "byte"));
    };
    let shown: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let mut quoted = format!("\"{}\"", escape(&shown));
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        quoted.push_str(&format!("… ({})", count(text.len(), "byte")));
    }
    quoted
}

/// Returns a text with its invisible characters escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Returns a number of bytes with a unit.
fn binary_size(bytes: usize) -> String {
    match bytes {
        0..1_024 => count(bytes, "byte"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Returns a number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::CloseReason;
    use serde_json::json;

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_message_cannot_reach_the_terminal() {
        let quoted = quote(&Message::text("a\u{1b}[2J\r\nb\u{202e}\u{9b}c"));
        assert_eq!(quoted, r#""a\u{1b}[2J\r\nb\u{202e}\u{9b}c""#);
    }

    #[test]
    fn long_and_binary_messages_are_described() {
        let long = quote(&Message::text(&"é".repeat(MAX_QUOTED_CHARS + 1)));
        assert!(long.ends_with("é\"… (242 bytes)"), "{long}");
        assert!(!quote(&Message::text(&"é".repeat(MAX_QUOTED_CHARS))).contains('…'));
        assert_eq!(quote(&Message::bytes(&[0xff])), "binary data of 1 byte");
    }

    #[test]
    fn that_messages_return_is_written_once_until_something_changes() {
        let notice = |value| serde_json::from_value::<Notice>(value).unwrap();
        let (nonce, peer) = ("0".repeat(32), "127.0.0.1:8001");
        let returned = notice(json!({
            "event": "message_queued", "id": [0, 1], "nonce": nonce, "origin": "returned",
        }));
        let delivered = notice(json!({
            "event": "message_delivered", "id": [0, 1], "nonce": nonce, "to": peer,
            "kept": false, "message": {"kind": "text", "body": "x"},
        }));
        let lost = notice(json!({
            "event": "tower_updated", "peer": peer, "from": "alive", "to": "lost",
            "reason": "ignored_by_peer",
        }));
        let mut text = Text::default();
        let mut is_news = |notice| text.is_news(notice);
        assert_eq!([&returned, &returned, &returned].map(&mut is_news), [true, false, false]);
        for change in [&delivered, &lost] {
            assert_eq!(
                [change, change, &returned, &returned].map(&mut is_news),
                [true, true, true, false]
            );
        }
    }

    #[test]
    fn a_lost_tower_has_a_reason() {
        let closed = StatusReason::LinkClosed(CloseReason::ConnectTimeout);
        assert_eq!(explain(closed), ": the connection was not established in time");
        assert_eq!(explain(StatusReason::IgnoredByPeer), ": the peer ignores this tower");
        assert_eq!(explain(StatusReason::Success), "");
    }
}
