//! Events as sentences for people: the time, a word in colour, and the rest.

use std::fmt::Display;
use std::io::{self, Stdout, Write};
use std::time::{Duration, SystemTime};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clacks_proto::{
    Address, CloseReason, Dialect, Held, Message, Origin, Peer, Report, Stats, Status,
};

use crate::console::COMMANDS;
use crate::output::{Said, counters};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const NEWS: Style = AnsiColor::Cyan.on_default();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// The most characters of a message that a line shows.
const SHOWN: usize = 120;

/// Writes sentences to standard output; anstream takes the colours off when it is no terminal or `NO_COLOR` is set.
pub(crate) struct Plain {
    out: AutoStream<Stdout>,
    /// It was said that messages come back. With nobody to take them they do so again and again, which is no news.
    is_returning: bool,
}

impl Plain {
    pub(crate) fn new() -> Self {
        Self { out: anstream::stdout(), is_returning: false }
    }

    /// One sentence, or a sentence and a table.
    pub(crate) fn say(&mut self, said: &Said<'_>) -> io::Result<()> {
        match said {
            Said::Listening { address, fingerprint } => {
                self.line(GOOD, "listening", format_args!("on {address}"))?;
                match fingerprint {
                    Some(own) => self.line(QUIET, "identity", own),
                    None => Ok(()),
                }
            }
            Said::Report(report) => self.report(report),
            Said::Peek(held) => self.peek(held),
            Said::Survey(peers) => self.survey(peers),
            Said::Stats { stats, held } => self.stats(stats, *held),
            Said::Done { verb, tower } => self.line(GOOD, "done", format_args!("{verb} {tower}")),
            Said::Help => COMMANDS
                .iter()
                .try_for_each(|(usage, meaning)| self.row(format_args!("{usage:<19} {meaning}"))),
            Said::ShuttingDown { messages: 0, .. } => {
                self.line(WARN, "leaving", "with no messages held")
            }
            Said::ShuttingDown { messages, within } => {
                let messages = count(*messages, "message");
                let within = humantime::format_duration(*within);
                self.line(WARN, "leaving", format_args!(
                    "handing {messages} to peers first, for at most {within}; Ctrl-C again leaves at once"
                ))
            }
            Said::ShutDown { left: 0 } => self.line(GOOD, "gone", "nothing was left behind"),
            Said::ShutDown { left } => {
                let left = count(*left, "message");
                self.line(
                    BAD,
                    "gone",
                    format_args!("{left} that no peer took in time went with this tower"),
                )
            }
            Said::Note(note) => self.line(QUIET, "note", note),
            Said::Error(error) => self.line(BAD, "error", error),
        }
    }

    fn report(&mut self, report: &Report) -> io::Result<()> {
        if !self.is_news(report) {
            return Ok(());
        }
        match report {
            Report::TowerDiscovered { tower } => {
                self.line(NEWS, "discovered", format_args!("{tower}"))
            }
            Report::StatusChanged { tower, from, to } => {
                self.line(colour(*to), to.as_str(), format_args!("{tower} (was {from})"))
            }
            Report::MessageReceived { from, message, .. } => {
                let (message, from) = (quote(message), name(from.as_ref()));
                self.line(NEWS, "received", format_args!("{message} from {from}"))
            }
            Report::MessageQueued { origin: Origin::Local, .. } => {
                self.line(NEWS, "queued", "your message")
            }
            Report::MessageQueued { origin: Origin::Returned, .. } => self.line(
                WARN,
                "returned",
                "a message came back to the queue: its peer did not take it; it is tried until one does",
            ),
            Report::MessageDelivered { to, .. } => {
                self.line(NEWS, "delivered", format_args!("a message to {to}"))
            }
            Report::Announced { to } => {
                self.line(GOOD, "announced", format_args!("this tower to {to}"))
            }
            Report::KeyChanged { tower, seen } => {
                let seen =
                    seen.map_or_else(|| "no key".to_owned(), |seen| format!("the key {seen}"));
                self.line(
                    BAD,
                    "stranger",
                    format_args!(
                        "at {tower}: it has {seen}, and not the one that was found there before"
                    ),
                )
            }
            Report::LinkClosed { tower, why } if is_telling(*why) => {
                let tower = name(tower.as_ref());
                self.line(WARN, "closed", format_args!("the link with {tower}: {why}"))
            }
            Report::Missed { count: missed } => self.line(
                WARN,
                "missed",
                format_args!("{missed} events came faster than they could be shown"),
            ),
            // A message from a peer is told when it is received, and the end by whoever waited for it.
            _ => Ok(()),
        }
    }

    fn is_news(&mut self, report: &Report) -> bool {
        match report {
            Report::MessageQueued { origin: Origin::Returned, .. } => {
                !std::mem::replace(&mut self.is_returning, true)
            }
            Report::StatusChanged { .. } | Report::MessageDelivered { .. } => {
                self.is_returning = false;
                true
            }
            _ => true,
        }
    }

    fn peek(&mut self, held: &[Held]) -> io::Result<()> {
        self.line(STRONG, "holds", count(held.len(), "message"))?;
        for held in held {
            let place = if held.in_flight.is_some() { "in flight" } else { "waiting" };
            self.row(format_args!("{place:<9}  {}", quote(&held.message)))?;
        }
        Ok(())
    }

    fn survey(&mut self, peers: &[Peer]) -> io::Result<()> {
        self.line(STRONG, "knows", count(peers.len(), "tower"))?;
        let addresses: Vec<_> = peers.iter().map(|peer| peer.address.to_string()).collect();
        let width = addresses.iter().map(String::len).max().unwrap_or(0);
        for (peer, address) in peers.iter().zip(addresses) {
            let (style, status) = (colour(peer.status), peer.status);
            let since = humantime::format_duration(Duration::from_secs(peer.since.as_secs()));
            let key = peer.fingerprint.map(|key| key.to_string()).unwrap_or_default();
            let key = key.get(..16).unwrap_or_default();
            let since = format!("for {since}");
            let dialect = peer.dialect.map_or("", Dialect::as_str);
            self.row(format_args!(
                "{address:<width$}  {style}{status:<7}{style:#}  {since:<14}  {dialect:<6}  {QUIET}{key}{QUIET:#}"
            ))?;
        }
        Ok(())
    }

    fn stats(&mut self, stats: &Stats, (messages, bytes): (usize, usize)) -> io::Result<()> {
        let held = count(messages, "message");
        self.line(STRONG, "holds", format_args!("{held} of {} altogether", count(bytes, "byte")))?;
        counters(stats).iter().try_for_each(|(name, count)| {
            self.row(format_args!("{:<20} {count:>10}", name.replace('_', " ")))
        })
    }

    fn line(&mut self, style: Style, word: &str, rest: impl Display) -> io::Result<()> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let time = now.get(11..).unwrap_or_default();
        writeln!(self.out, "{QUIET}{time}{QUIET:#}  {style}{word:<10}{style:#}  {rest}")
    }

    fn row(&mut self, row: impl Display) -> io::Result<()> {
        writeln!(self.out, "{:<21}  {row}", "")
    }
}

/// The colour of a status.
pub(crate) fn colour(status: Status) -> Style {
    match status {
        Status::New => NEWS,
        Status::Alive => GOOD,
        Status::Lost | Status::Dead => BAD,
        Status::Ignored => QUIET,
    }
}

/// Links come and go; a person hears of those that end for a reason that somebody could do something about.
fn is_telling(why: CloseReason) -> bool {
    matches!(
        why,
        CloseReason::Wire(_)
            | CloseReason::Protocol(_)
            | CloseReason::Tls(_)
            | CloseReason::WrongNetwork
            | CloseReason::OwnAddress
    )
}

fn name(tower: Option<&Address>) -> String {
    tower.map_or_else(|| "a stranger".to_owned(), ToString::to_string)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A message as a line can show it. It comes from anybody: what could move a terminal's cursor or turn its text
/// around is written as an escape.
pub(crate) fn quote(message: &Message) -> String {
    let Ok(text) = std::str::from_utf8(message.body()) else {
        return format!("binary data of {}", count(message.body().len(), "byte"));
    };
    let mut quoted = String::from("\"");
    for c in text.chars().take(SHOWN) {
        if c.is_control() || is_invisible(c) {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('"');
    if text.chars().nth(SHOWN).is_some() {
        quoted.push_str(&format!("… ({})", count(text.len(), "byte")));
    }
    quoted
}

/// Characters that show nothing and change what is shown: marks of direction, joiners, separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number with its digits in groups of three.
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
        let long = quote(&Message::text(&"é".repeat(SHOWN + 1)));
        assert!(long.ends_with("é\"… (242 bytes)"), "{long}");
        assert!(!quote(&Message::text(&"é".repeat(SHOWN))).contains('…'));
        assert_eq!(quote(&Message::bytes(&[0xff])), "binary data of 1 byte");
    }

    #[test]
    fn that_messages_come_back_is_told_once_until_something_changes() {
        let tower: Address = "127.0.0.1:8001".parse().expect("an address");
        let nonce = clacks_proto::Nonce(1);
        let returned = Report::MessageQueued { nonce, origin: Origin::Returned };
        let delivered = Report::MessageDelivered { to: tower.clone(), nonce };
        let lost = Report::StatusChanged { tower, from: Status::Alive, to: Status::Lost };
        let mut plain = Plain::new();
        let mut told = |report| plain.is_news(report);
        assert_eq!([&returned, &returned, &returned].map(&mut told), [true, false, false]);
        for change in [&delivered, &lost] {
            assert_eq!(
                [change, change, &returned, &returned].map(&mut told),
                [true, true, true, false]
            );
        }
    }
}
