//! Commands on standard input.

use std::io::{self, BufRead, Read};
use std::thread;

use clacks_proto::{Address, Message};
use smol::channel::Sender;

use super::Request;
use crate::output::counters::{COUNTERS, WORDS};

/// Each command with its description.
const COMMANDS: [(&str, &str); 14] = [
    ("enqueue TEXT", "put a message into the queue"),
    ("peek", "show the messages held here"),
    ("survey", "show the towers known here"),
    ("expand HOST:PORT", "know another tower"),
    ("announce HOST:PORT", "know another tower, and make this one known to it"),
    ("ignore HOST:PORT", "have nothing to do with a tower"),
    ("unignore HOST:PORT", "undo ignore"),
    ("forget HOST:PORT", "forget a tower and its key"),
    ("status", "show the state of this tower"),
    ("stats", "show what has been counted"),
    ("help", "list the commands"),
    ("help stats", "explain each counter"),
    ("help events", "explain the first words of the lines"),
    ("quit", "hand the queue to peers, and stop"),
];

/// A line of the console after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Request(Request),
    Help(Topic),
}

/// What `help` explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Commands,
    /// The counters of `stats`.
    Stats,
    /// The words of the events.
    Events,
}

impl Topic {
    /// Returns pairs of a name and its meaning.
    pub(crate) fn pairs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Commands => &COMMANDS,
            Self::Stats => &COUNTERS,
            Self::Events => &WORDS,
        }
    }
}

/// Reads standard input on a thread of its own, which does not keep the process alive. A line that
/// is too long for a message of `max_message` bytes is refused and not kept in memory.
///
/// The end of the input ends the thread and nothing else.
pub(crate) fn listen(
    commands: Sender<Result<Command, String>>,
    max_message: usize,
) -> io::Result<()> {
    thread::Builder::new()
        .name("console".into())
        .spawn(move || read_lines(&commands, max_message))
        .map(drop)
}

/// Reads standard input to its end.
fn read_lines(commands: &Sender<Result<Command, String>>, max_message: usize) {
    // The longest line: a command, a space, a message and the end of the line.
    let limit = max_message.saturating_add(64);
    let mut lines = io::stdin().lock();
    while let Some(line) = next_line(&mut lines, limit) {
        let command = match line {
            Line::Whole(line) => match parse(&line) {
                Ok(None) => continue,
                Ok(Some(command)) => Ok(command),
                Err(sentence) => Err(sentence),
            },
            Line::TooLong => Err(format!(
                "That line is too long: a message may have {max_message} bytes here. Nothing was \
                 queued; send it in parts, or start the tower with a larger --max-message."
            )),
        };
        if commands.send_blocking(command).is_err() {
            return;
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// Returns the next line without its end, in whatever chunks it arrives. A line longer than `limit`
/// is skipped.
fn next_line(lines: &mut impl BufRead, limit: usize) -> Option<Line> {
    let mut line = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    match lines.take(most).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!("standard input cannot be read any more: {error}");
            return None;
        }
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() > limit {
        let _ = lines.skip_until(b'\n');
        return Some(Line::TooLong);
    }
    Some(Line::Whole(line))
}

/// Parses a line. Returns `None` for an empty one.
pub(crate) fn parse(line: &[u8]) -> Result<Option<Command>, String> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    // One blank separates. All further ones belong to the message.
    let rest = rest.get(1..).unwrap_or_default();
    let alone = |command| {
        if rest.trim_ascii().is_empty() {
            Ok(Some(command))
        } else {
            Err(format!("{} takes nothing after it.", String::from_utf8_lossy(word)))
        }
    };
    let request = |request| alone(Command::Request(request));
    let address = |request: fn(Address) -> Request| {
        let text = String::from_utf8_lossy(rest.trim_ascii());
        match text.parse() {
            Ok(address) => Ok(Some(Command::Request(request(address)))),
            Err(error) => Err(format!("{:?} is no address of a tower: {error}.", &*text)),
        }
    };
    match word {
        b"" => Ok(None),
        b"enqueue" | b"send" if rest.is_empty() => {
            Err("There is no message: write enqueue TEXT, for example enqueue Hello!".into())
        }
        b"enqueue" | b"send" => {
            let message = match std::str::from_utf8(rest) {
                Ok(text) => Message::text(text),
                Err(_) => Message::bytes(rest),
            };
            let enqueue = Request::Enqueue { message, lifetime_ms: None, wait: false };
            Ok(Some(Command::Request(enqueue)))
        }
        b"expand" => address(|tower| Request::Expand { tower }),
        b"announce" => address(|tower| Request::Announce { tower, wait: false }),
        b"ignore" => address(|tower| Request::Ignore { tower }),
        b"unignore" => address(|tower| Request::Unignore { tower }),
        b"forget" => address(|tower| Request::Forget { tower }),
        b"peek" => request(Request::Peek),
        b"survey" => request(Request::Survey),
        b"status" => request(Request::Status),
        b"stats" if rest.trim_ascii() == b"--help" => Ok(Some(Command::Help(Topic::Stats))),
        b"stats" => request(Request::Stats),
        b"help" => match rest.trim_ascii() {
            b"" => Ok(Some(Command::Help(Topic::Commands))),
            b"stats" => Ok(Some(Command::Help(Topic::Stats))),
            b"events" => Ok(Some(Command::Help(Topic::Events))),
            _ => Err("There is help stats, help events, and help alone for the commands.".into()),
        },
        b"quit" => request(Request::Stop),
        _ => Err(format!(
            "{:?} is no command: write help for the list.",
            String::from_utf8_lossy(&word[..word.len().min(40)])
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Command> {
        parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn commands_are_parsed() {
        let tower: Address = "127.0.0.1:1".parse().unwrap();
        let request = |request| Some(Command::Request(request));
        assert_eq!(parsed("peek "), request(Request::Peek));
        let expand = Request::Expand { tower: tower.clone() };
        assert_eq!(parsed("  expand  127.0.0.1:1 "), request(expand));
        assert_eq!(parsed("unignore\t127.0.0.1:1"), request(Request::Unignore { tower }));
        assert_eq!(parsed("stats --help"), Some(Command::Help(Topic::Stats)));
        assert_eq!(parsed("help events"), Some(Command::Help(Topic::Events)));
        assert_eq!(parsed(""), None);
        assert_eq!(parsed(" \t "), None);
    }

    #[test]
    fn a_message_is_all_that_follows_one_blank() {
        let enqueue = |message| {
            Some(Command::Request(Request::Enqueue { message, lifetime_ms: None, wait: false }))
        };
        let message = |text| enqueue(Message::text(text));
        assert_eq!(parsed("enqueue Hello Discworld! "), message("Hello Discworld! "));
        assert_eq!(parsed("enqueue   "), message("  "));
        assert_eq!(parse(b"enqueue \xff").unwrap(), enqueue(Message::bytes(&[0xff])));
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, words) in [
            ("enqueue", "no message"),
            ("enqueue ", "no message"),
            ("expand", "port is missing"),
            ("announce tower", "port is missing"),
            ("peek now", "nothing after it"),
            ("Peek", "no command"),
            ("\u{1b}[2J", r"\u{1b}"),
        ] {
            let sentence = parse(line.as_bytes()).unwrap_err();
            assert!(sentence.contains(words), "{line}: {sentence}");
        }
    }

    #[test]
    fn the_list_of_commands_is_what_is_parsed() {
        for (usage, _) in COMMANDS {
            let line = usage.replace("HOST:PORT", "127.0.0.1:1");
            assert!(matches!(parse(line.as_bytes()), Ok(Some(_))), "{usage}");
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut input = &b"12345\r\n123456\n1234\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input, 5) {
            lines.push(match line {
                Line::Whole(line) => String::from_utf8(line).unwrap(),
                Line::TooLong => "too long".into(),
            });
        }
        assert_eq!(lines, ["too long", "too long", "1234", "last"]);
    }
}
