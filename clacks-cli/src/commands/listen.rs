//! `clacks listen`: the messages that come to a running tower.

use std::io::{self, IsTerminal, Write};

use clacks_proto::{Kind, Message, Notice};
use wildmatch::WildMatch;

use crate::args::ListenArgs;
use crate::control::Request;
use crate::control::socket::client::{Client, Received};
use crate::error::Failure;
use crate::output::Output;
use crate::output::text::{escape, quote};
use crate::output::wrap;
use crate::output::writer::write_to_stdout;

/// Writes messages until the tower ends, or until the first one with `--once`.
pub(crate) fn run(args: &ListenArgs) -> Result<(), Failure> {
    let filter = Filter::new(args);
    let mut client = Client::connect(args.reach.control.as_deref())?;
    if args.once && io::stderr().is_terminal() {
        explain_silence(&mut client)?;
    }
    client.send(&Request::Watch { after: None })?;
    client.wait_for_ever()?;
    while let Some(event) = client.next()? {
        if let Some(Output::Notice(Notice::Missed { count })) = event.output() {
            tracing::warn!("{count} events came faster than they were read");
        }
        let Some(message) = filter.message(&event) else { continue };
        if args.reach.json {
            write_to_stdout(format!("{}\n", event.line).as_bytes())?;
        } else {
            let is_escaped = !args.raw && io::stdout().is_terminal();
            write_to_stdout(&shown(message, is_escaped))?;
        }
        if args.once {
            return Ok(());
        }
    }
    if args.once {
        return Err(Failure::failed("The tower ended before such a message came."));
    }
    Ok(())
}

/// Writes a line to a person if no message can come.
fn explain_silence(client: &mut Client) -> Result<(), Failure> {
    let answer = client.request(&Request::Status)?;
    if let Some(Output::Status(status)) = answer.output()
        && status.peers.alive == 0
    {
        let _ = writeln!(
            wrap::stderr(),
            "No other tower is alive, and messages come from other towers. `clacks announce \
             HOST:PORT` adds one. Waiting for the first message."
        );
    }
    Ok(())
}

/// Which messages are written.
struct Filter {
    only_new: bool,
    kind: Option<Kind>,
    pattern: Option<WildMatch>,
}

impl Filter {
    fn new(args: &ListenArgs) -> Self {
        Self {
            only_new: args.new,
            kind: args.kind.map(Kind::from),
            pattern: args.pattern.as_deref().map(WildMatch::new),
        }
    }

    /// Returns the message of an event if it is to be written.
    fn message<'a>(&self, event: &'a Received) -> Option<&'a Message> {
        let Some(Output::Notice(Notice::MessageReceived { message, again, .. })) = event.output()
        else {
            return None;
        };
        let is_wanted = !(self.only_new && *again)
            && self.kind.is_none_or(|kind| kind == message.kind())
            && self.pattern.as_ref().is_none_or(|pattern| {
                std::str::from_utf8(message.body()).is_ok_and(|body| pattern.matches(body))
            });
        is_wanted.then_some(message)
    }
}

/// Returns the bytes that are written for a message.
fn shown(message: &Message, is_escaped: bool) -> Vec<u8> {
    let mut bytes = match (message.as_text(), is_escaped) {
        (Some(text), true) => escape(text).into_bytes(),
        (None, true) => quote(message).into_bytes(),
        (None, false) => return message.body().to_vec(),
        (Some(_), false) => message.body().to_vec(),
    };
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;
    use serde_json::json;

    fn is_wanted(options: &[&str], kind: &str, body: &str, again: bool) -> bool {
        let line = ["clacks", "listen"].iter().chain(options);
        let Verb::Listen(args) = Cli::try_parse_from(line).unwrap().verb else { panic!() };
        let line = json!({
            "event": "message_received", "id": [0, 1], "nonce": "0".repeat(32),
            "message": {"kind": kind, "body": body}, "from": null, "again": again,
            "coalesced": false, "seq": 1, "time": "2000-01-01T00:00:00Z",
        });
        let line = line.to_string();
        let entry = serde_json::from_str(&line).unwrap();
        Filter::new(&args).message(&Received { line, entry }).is_some()
    }

    #[test]
    fn options_choose_messages() {
        assert!(is_wanted(&[], "text", "x", true));
        assert!(is_wanted(&["--new"], "text", "x", false));
        assert!(!is_wanted(&["--new"], "text", "x", true));
        assert!(is_wanted(&["--kind", "json"], "json", "1", true));
        assert!(!is_wanted(&["--kind", "json"], "text", "1", true));
        for (body, matches) in [("tide 3", true), ("tide ", true), ("the tide 3", false)] {
            assert_eq!(is_wanted(&["--match", "tide *"], "text", body, true), matches, "{body}");
        }
        assert!(!is_wanted(&["--match", "*"], "bytes", "/wA=", true), "bytes that are no text");
    }

    #[test]
    fn a_message_reaches_a_terminal_only_escaped() {
        let text = Message::text("a\u{1b}[2J\n");
        assert_eq!(shown(&text, true), b"a\\u{1b}[2J\\n\n");
        assert_eq!(shown(&text, false), b"a\x1b[2J\n\n");
        let bytes = Message::bytes(&[0xff, 0x1b]);
        assert_eq!(shown(&bytes, true), b"binary data of 2 bytes\n");
        assert_eq!(shown(&bytes, false), [0xff, 0x1b]);
    }
}
